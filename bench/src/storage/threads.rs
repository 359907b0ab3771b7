//! CPU time of the threads of this process, by name, and of all threads of the kernel.

use std::collections::BTreeMap;
use std::fs;

use crate::cpu::{KernelThreads, TaskTimes};

/// Workers that the kernel starts for a thread's ring carry its number.
const RING_WORKER: &str = "iou-wrk-";
/// What all threads of the kernel are called together.
const KERNEL: &str = "kernel";

/// Nanoseconds used up to now, by name of thread.
pub(crate) type Times = BTreeMap<String, u64>;

/// Reads all of them. A thread that ends between two readings is missed.
///
/// # Errors
/// When the kernel does not count.
pub(crate) fn read(kernel: &mut KernelThreads) -> Result<Times, String> {
    let failed = |error| format!("CPU time cannot be read: {error}");
    let all = TaskTimes::of_kernel(kernel).map_err(failed)?;
    let mut times = Times::new();
    times.insert(KERNEL.to_owned(), all.since(&TaskTimes::default()));
    for entry in fs::read_dir("/proc/self/task").map_err(failed)? {
        let folder = entry.map_err(failed)?.path();
        let read = |file| fs::read_to_string(folder.join(file)).ok();
        let (Some(name), Some(used)) = (read("comm"), read("schedstat")) else { continue };
        let used = used.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok());
        let owner = name.strip_prefix(RING_WORKER).map(str::trim_end);
        let owner = owner
            .and_then(|thread| fs::read_to_string(format!("/proc/self/task/{thread}/comm")).ok());
        let name = owner.unwrap_or(name).trim_end().to_owned();
        *times.entry(name).or_default() += used.unwrap_or(0);
    }
    Ok(times)
}

/// Adds what was used between two readings.
pub(crate) fn add(total: &mut Times, before: &Times, after: &Times) {
    for (name, now) in after {
        let used = now.saturating_sub(before.get(name).copied().unwrap_or(0));
        *total.entry(name.clone()).or_default() += used;
    }
}
