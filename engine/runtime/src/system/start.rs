//! Starting the thread of a core, and telling how it ended.

use core::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use super::place::place;
use crate::core_spec::{CoreEnd, CoreSpec};

/// Why a core did not start, or did not end well. A panic is not among them: it goes on in the
/// caller of `run`.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The kernel refuses io_uring; the text says what to change.
    #[error("core {core}: io_uring is not available: {reason}")]
    Ring {
        /// Name of the core.
        core: String,
        /// What the kernel answered and what to do about it.
        reason: String,
    },
    /// The thread, its CPU or its memory cannot be had.
    #[error("core {core} cannot start: {source}")]
    Start {
        /// Name of the core.
        core: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The main function returned, but I/O did not complete. Its memory is leaked, because the
    /// kernel may still write into it.
    #[error("core {core}: {operations} operations had not completed {seconds} s after its end")]
    InFlight {
        /// Name of the core.
        core: String,
        /// Operations still in flight.
        operations: usize,
        /// Seconds that were waited.
        seconds: u64,
    },
}

/// Says to the thread that started a core that the core runs.
pub(crate) struct Started(mpsc::SyncSender<Result<(), RunError>>);

impl Started {
    /// The executor is built and about to run its main function.
    pub(crate) fn report(self) {
        // The starter waits for this and nothing else; if it died, so does the process.
        let _ = self.0.send(Ok(()));
    }
}

/// How a core that was started elsewhere ends.
pub(crate) struct CoreEnded(async_channel::Receiver<CoreEnd>);

impl CoreEnded {
    /// Waits for the end of the core.
    pub(crate) async fn wait(self) -> CoreEnd {
        self.0
            .recv()
            .await
            .expect("the thread of a core reports its end before it drops the sender")
    }
}

/// Runs `body` as a core on a new, placed thread. It calls [`Started::report`] when its executor
/// is up; this function returns then. A panic in `body` becomes [`CoreEnd::Panicked`].
///
/// # Errors
/// What kept the core from starting.
pub(crate) fn start_core<B>(spec: &CoreSpec, body: B) -> io::Result<CoreEnded>
where
    B: FnOnce(Started) -> Result<(), RunError> + Send + 'static,
{
    let (end_sender, end) = async_channel::bounded(1);
    let (sender, started) = mpsc::sync_channel(1);
    let (name, cpu) = (spec.name.clone(), spec.cpu);
    let thread = move || {
        let report = Started(sender.clone());
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let placed = place(cpu);
            let _placed = placed.map_err(|source| RunError::Start { core: name, source })?;
            body(report)
        }));
        let end = match outcome {
            Ok(Ok(())) => CoreEnd::Finished,
            Ok(Err(error)) => {
                let text = error.to_string();
                // Full when the core had started: then the end carries the text.
                let _ = sender.try_send(Err(error));
                CoreEnd::Panicked(text)
            }
            Err(panic) => CoreEnd::Panicked(panic_text(&*panic)),
        };
        let _ = end_sender.try_send(end); // nobody waits: the end of this core is nobody's concern
    };
    std::thread::Builder::new().name(spec.name.clone()).spawn(thread)?;
    match started.recv() {
        Ok(Ok(())) => Ok(CoreEnded(end)),
        Ok(Err(error)) => Err(io::Error::other(error)),
        Err(mpsc::RecvError) => Err(io::Error::other("the core panicked while it started")),
    }
}

/// The text that a panic carries.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without text".to_owned()
    }
}
