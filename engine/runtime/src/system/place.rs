//! Which CPU a thread runs on.
//!
//! A thread inherits the affinity of the thread that started it. Helper threads (blocking calls,
//! signals, watchers, unpinned cores) are started from pinned cores and must not share their CPU,
//! so every thread that starts says where it wants to be, and "anywhere" means where the process
//! was before it pinned its first core.

use std::io;
use std::sync::OnceLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// CPUs of the process before any of its threads was pinned.
static ANYWHERE: OnceLock<CpuSet> = OnceLock::new();

/// Puts the thread back where it was when dropped; `run` may be called on a borrowed thread.
pub(crate) struct Placed {
    before: CpuSet,
}

impl Drop for Placed {
    fn drop(&mut self) {
        // A CPU that went offline meanwhile leaves the thread where it is: no harm.
        let _ = sched_setaffinity(None, &self.before);
    }
}

/// Pins the calling thread to `cpu`, or frees it from an inherited pin.
///
/// # Errors
/// When the CPU does not exist or this process may not use it; names those that it may.
pub(crate) fn place(cpu: Option<usize>) -> io::Result<Placed> {
    let before = sched_getaffinity(None)?;
    let anywhere = ANYWHERE.get_or_init(|| before);
    let Some(cpu) = cpu else {
        sched_setaffinity(None, anywhere)?;
        return Ok(Placed { before });
    };
    let mut only = CpuSet::new();
    if cpu < CpuSet::MAX_CPU {
        only.set(cpu);
    }
    if !(cpu < CpuSet::MAX_CPU && anywhere.is_set(cpu)) {
        return Err(no_such_cpu(cpu, anywhere));
    }
    sched_setaffinity(None, &only).map_err(|_| no_such_cpu(cpu, anywhere))?;
    Ok(Placed { before })
}

/// Lets a helper thread run anywhere for the rest of its life.
pub(super) fn roam() {
    if let Some(anywhere) = ANYWHERE.get() {
        // Failing leaves it on the CPU of its parent: slower, not wrong.
        let _ = sched_setaffinity(None, anywhere);
    }
}

fn no_such_cpu(cpu: usize, allowed: &CpuSet) -> io::Error {
    let allowed: Vec<String> = (0..CpuSet::MAX_CPU)
        .filter(|&cpu| allowed.is_set(cpu))
        .map(|cpu| cpu.to_string())
        .collect();
    let message = format!(
        "CPU {cpu} does not exist or is not allowed to this process; allowed: {}",
        allowed.join(", ")
    );
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
