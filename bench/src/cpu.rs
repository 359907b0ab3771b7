//! CPU time of the measuring process, of another one, and of the kernel's own threads.
//!
//! Client and server of a measurement are threads of one process. The client reads its own
//! thread's clock; everything else that the process used in the same time, kernel workers of its
//! rings and helper threads included, is the server's share (B5). Nothing can hide.
//!
//! Another process, and threads of the kernel that work for a device (a loop device has such), are
//! read task by task from /proc, where the scheduler counts nanoseconds. A task that ends between
//! two readings is missed.

use std::fs;
use std::io;
use std::path::Path;

use engine_types::Map;
use rustix::time::{ClockId, clock_gettime};

#[cfg(test)]
mod tests;

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

impl CpuUsed {
    /// Of the whole process.
    pub(crate) fn process_nanos(self) -> u64 {
        self.client_nanos + self.server_nanos
    }
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

/// Nanoseconds since some moment, on any thread.
pub(crate) fn monotonic_nanos() -> u64 {
    nanos(ClockId::Monotonic)
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let valid = "the kernel gives a time after the start of the process";
    u64::try_from(time.tv_sec).expect(valid) * 1_000_000_000
        + u64::try_from(time.tv_nsec).expect(valid)
}

/// `PF_KTHREAD` in the flags of a task.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// CPU time of tasks up to a moment, nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskTimes {
    at: u64,
    used: Map<u32, u64>,
}

/// Which processes are threads of the kernel: asked once for each, because a reading should not
/// disturb what it reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct KernelThreads(Map<u32, bool>);

impl TaskTimes {
    /// Every thread of process `pid`, its io_uring workers included.
    ///
    /// # Errors
    /// When there is no such process, or the kernel does not count.
    pub(crate) fn of_process(pid: u32) -> io::Result<Self> {
        let folder = format!("/proc/{pid}/task");
        let mut used = Map::default();
        for (task, folder) in numbered(Path::new(&folder))? {
            if let Some(nanos) = run_time(&folder)? {
                used.insert(task, nanos);
            }
        }
        Ok(Self { at: nanos(ClockId::Monotonic), used })
    }

    /// Every thread of the kernel; none of them can be seen from within a container.
    ///
    /// # Errors
    /// When the kernel does not count.
    pub(crate) fn of_kernel(threads: &mut KernelThreads) -> io::Result<Self> {
        let mut used = Map::default();
        for (task, folder) in numbered(Path::new("/proc"))? {
            if threads.contains(task, &folder)?
                && let Some(nanos) = run_time(&folder)?
            {
                used.insert(task, nanos);
            }
        }
        Ok(Self { at: nanos(ClockId::Monotonic), used })
    }

    /// Whether there is no task.
    pub(crate) fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    /// What was used since `earlier`, nanoseconds; tasks that are new since then started at 0.
    pub(crate) fn since(&self, earlier: &Self) -> u64 {
        let used = |(task, now): (&u32, &u64)| {
            now.saturating_sub(earlier.used.get(task).copied().unwrap_or(0))
        };
        self.used.iter().map(used).sum()
    }

    /// CPUs that were kept busy since `earlier`.
    pub(crate) fn rate_since(&self, earlier: &Self) -> f64 {
        self.since(earlier) as f64 / self.at.saturating_sub(earlier.at).max(1) as f64
    }
}

impl KernelThreads {
    fn contains(&mut self, task: u32, folder: &Path) -> io::Result<bool> {
        if let Some(&known) = self.0.get(&task) {
            return Ok(known);
        }
        let stat = if_there(fs::read_to_string(folder.join("stat")))?;
        let flags = stat.and_then(|stat| flags(&stat));
        let is_kernel = flags.is_some_and(|flags| flags & KERNEL_THREAD != 0);
        self.0.insert(task, is_kernel);
        Ok(is_kernel)
    }
}

/// Folders whose name is a number.
fn numbered(folder: &Path) -> io::Result<Vec<(u32, std::path::PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    Ok(found)
}

/// Nanoseconds that a task has run; nothing when it has ended.
fn run_time(task: &Path) -> io::Result<Option<u64>> {
    let Some(text) = if_there(fs::read_to_string(task.join("schedstat")))? else { return Ok(None) };
    let first = text.split(' ').next().and_then(|number| number.parse().ok());
    let unknown = || io::Error::other("/proc/*/schedstat has no time in it");
    first.map(Some).ok_or_else(unknown)
}

/// Tasks end at any time, before their file is opened or while it is.
fn if_there(read: io::Result<String>) -> io::Result<Option<String>> {
    const NO_SUCH_PROCESS: i32 = 3;
    match read {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(NO_SUCH_PROCESS) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The ninth field of `stat`; the second one, a name in brackets, may hold anything.
fn flags(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(6)?.parse().ok()
}
