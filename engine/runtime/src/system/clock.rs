//! The two clocks of a node, read through the vDSO.

use core::time::Duration;

use engine_types::{Instant, WallTime};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// CLOCK_BOOTTIME: it counts suspend, so that a lease does not outlive a closed lid (R8).
pub(crate) fn now() -> Instant {
    Instant::from_nanos(nanos(clock_gettime(ClockId::Boottime)))
}

/// CLOCK_REALTIME; a clock set before 1970 reads as 1970.
pub(crate) fn wall() -> WallTime {
    WallTime::from_nanos(nanos(clock_gettime(ClockId::Realtime)))
}

fn nanos(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let part = u32::try_from(time.tv_nsec).expect("the kernel keeps nanoseconds below a second");
    u64::try_from(Duration::new(seconds, part).as_nanos()).unwrap_or(u64::MAX)
}
