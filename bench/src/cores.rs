//! The threads that measure: each a core of a runtime, placed on a CPU of its own.
//!
//! Owner: the main thread, which sleeps while they work. A core that says nothing for too long
//! ends the process, because a thread cannot be ended from outside.

use core::time::Duration;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};

use engine_runtime::CoreSpec;
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::runtime::{Main, Runtime};
use crate::suite::Event;

/// Filling a disk with several GiB takes a minute at the speed of a slow one, and some more.
const PREPARE_TIME_MAX: Duration = Duration::from_secs(600);

/// An operation on the namespace takes up to 2 MB of stack in builds with assertions.
const STACK_BYTES: usize = 16 << 20;

/// The first two CPUs that this process may use, or one for both.
pub(crate) fn two_cpus() -> (Option<usize>, Option<usize>) {
    let Ok(allowed) = sched_getaffinity(None) else { return (None, None) };
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    let first = cpus.next();
    (first, cpus.next().or(first))
}

/// A thread that runs a core.
pub(crate) type Core<T> = JoinHandle<Result<T, String>>;

/// Starts a core that runs `main`, on `cpu` where there is one.
///
/// # Errors
/// When the thread cannot start.
pub(crate) fn spawn<M: Main + Send>(
    name: &str,
    cpu: Option<usize>,
    runtime: Runtime,
    main: M,
) -> Result<Core<M::Output>, String>
where
    M::Output: Send,
{
    let spec = CoreSpec { cpu, ..CoreSpec::new(name) };
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || runtime.run(spec, main))
        .map_err(|error| format!("{name} cannot start: {error}"))
}

/// Waits for the end of a core.
///
/// # Errors
/// When it could not start, did not end well, or panicked.
pub(crate) fn join<T>(core: Core<T>) -> Result<T, String> {
    core.join().unwrap_or_else(|_panic| Err("a core panicked; see its message above".to_owned()))
}

/// Reports until a core is done. One that says nothing for `row_time_max` ends the process.
pub(crate) fn pass_on(
    reported: &Receiver<Event>,
    row_time_max: Duration,
    report: &mut dyn FnMut(Event),
) {
    let (mut last, mut patience) = (String::new(), row_time_max);
    loop {
        match reported.recv_timeout(patience) {
            Ok(event) => {
                patience = row_time_max;
                match &event {
                    Event::Starting(name) => last.clone_from(name),
                    Event::Preparing(what) => {
                        last.clone_from(what);
                        patience = PREPARE_TIME_MAX;
                    }
                    Event::Measured(_) | Event::Failed { .. } => {}
                }
                report(event);
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => stuck(&format!("{last} does not end")),
        }
    }
}

/// Gives up on a core that hangs.
pub(crate) fn stuck(what: &str) -> ! {
    eprintln!("bench: {what}; giving up");
    std::process::exit(1)
}
