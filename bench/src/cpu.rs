//! CPU time of the measuring process.
//!
//! Client and server of a measurement are threads of one process. The client reads its own
//! thread's clock; everything else that the process used in the same time, kernel workers of its
//! rings and helper threads included, is the server's share (B5). Nothing can hide.

use rustix::time::{ClockId, clock_gettime};

/// CPU time used up to now, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuReading {
    process: u64,
    thread: u64,
}

/// CPU time between two readings, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuUsed {
    /// The thread that took both readings.
    pub(crate) client_nanos: u64,
    /// The rest of the process.
    pub(crate) server_nanos: u64,
}

impl CpuReading {
    /// Reads both clocks; the caller is the client's thread.
    pub(crate) fn now() -> Self {
        Self { process: nanos(ClockId::ProcessCPUTime), thread: nanos(ClockId::ThreadCPUTime) }
    }

    /// What was used since `earlier`, which the same thread has read.
    pub(crate) fn since(self, earlier: Self) -> CpuUsed {
        let process = self.process.saturating_sub(earlier.process);
        let client_nanos = self.thread.saturating_sub(earlier.thread);
        CpuUsed { client_nanos, server_nanos: process.saturating_sub(client_nanos) }
    }
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let valid = "the kernel gives a time after the start of the process";
    u64::try_from(time.tv_sec).expect(valid) * 1_000_000_000
        + u64::try_from(time.tv_nsec).expect(valid)
}
