//! When a target that has left its chain offers itself again.
//!
//! A target that leaves by itself, because its store has no room for what the chain holds or cannot
//! read, would be taken in again with the next heartbeat, and leave again as soon as it is synced
//! that far: a dozen chain versions a second, for ever, each of which costs the whole chain its
//! leases and every client its routing. So it waits, longer each time, until it has served.

use core::time::Duration;

use engine_types::Instant;

/// First pause: about that of a heartbeat, so that what was wrong for a moment delays nobody.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause: two versions of the chain in so much time cost nothing, and an operator who made
/// room sees the target return while looking.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    /// How often it has left since it served.
    left: u32,
    /// Until when it is offline.
    until: Option<Instant>,
}

impl Pause {
    /// It leaves its chain at `now`. How long it stays away, if the chain wants it back.
    pub(crate) fn left(&mut self, now: Instant) -> Duration {
        let pause = PAUSE_MIN.saturating_mul(1 << self.left.min(16)).min(PAUSE_MAX);
        self.left = self.left.saturating_add(1);
        self.until = Some(now + pause);
        pause
    }

    /// It serves: whatever was wrong is over.
    pub(crate) fn served(&mut self) {
        *self = Self::default();
    }

    /// It may be taken in again.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests;
