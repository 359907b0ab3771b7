//! Time as this crate measures it: processes of a real machine are waited for, nothing is
//! simulated, so the clock of the machine is read.
#![expect(clippy::disallowed_types, reason = "no Env here: real processes are waited for")]

use core::time::Duration;
use std::time::Instant;

/// How long something has taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "no Env here: real processes are waited for")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Since it was started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Lets other threads work for about `time`.
pub(crate) fn pause(time: Duration) {
    std::thread::park_timeout(time);
}
