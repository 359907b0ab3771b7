//! Blocking calls outside the executor, a bounded number of each core at a time.
//!
//! Owner: one per core; the threads are the process-wide pool of the crate `blocking`. The line of
//! waiting calls lives outside every executor: a call that was handed over runs, whether or not
//! anybody still waits for its answer and whether or not its core still lives (E34).
//!
//! Failure: a call that panics hands its panic to whoever awaits the answer.

use core::any::Any;
use core::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::place::roam;

type Call = Box<dyn FnOnce() + Send>;

struct Line {
    running: usize,
    waiting: VecDeque<Call>,
}

struct Shared {
    max: usize,
    line: Mutex<Line>,
}

/// The blocking calls of one core.
#[derive(Clone)]
pub(crate) struct Blocking {
    shared: Arc<Shared>,
}

impl Blocking {
    /// At most `max` calls run at once.
    pub(crate) fn new(max: usize) -> Self {
        let line = Mutex::new(Line { running: 0, waiting: VecDeque::new() });
        Self { shared: Arc::new(Shared { max: max.max(1), line }) }
    }

    /// Starts `call`, or puts it in line, before it returns; the future only waits for the answer.
    pub(crate) fn run<T, C>(&self, call: C) -> impl Future<Output = T> + use<T, C>
    where
        T: Send + 'static,
        C: FnOnce() -> T + Send + 'static,
    {
        let (sender, receiver) = async_channel::bounded::<Result<T, Box<dyn Any + Send>>>(1);
        let call: Call = Box::new(move || {
            let answer = catch_unwind(AssertUnwindSafe(call));
            // Nobody waits any more: the work was done, its answer is dropped.
            let _ = sender.try_send(answer);
        });
        self.shared.clone().admit(call);
        async move {
            match receiver.recv().await.expect("a call answers before its sender is dropped") {
                Ok(answer) => answer,
                Err(panic) => resume_unwind(panic),
            }
        }
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        // Nothing panics while the lock is held: the state is whole even if it is poisoned.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(self: Arc<Self>, call: Call) {
        let mut line = self.line();
        if line.running == self.max {
            line.waiting.push_back(call);
            return;
        }
        line.running += 1;
        drop(line);
        blocking::unblock(move || self.work(call)).detach();
    }

    /// Runs `call` and then those in line, first come first served.
    fn work(&self, mut call: Call) {
        thread_local!(static ROAMS: Cell<bool> = const { Cell::new(false) });
        if !ROAMS.replace(true) {
            roam();
        }
        loop {
            call();
            let mut line = self.line();
            match line.waiting.pop_front() {
                Some(next) => call = next,
                None => {
                    line.running -= 1;
                    return;
                }
            }
        }
    }
}
