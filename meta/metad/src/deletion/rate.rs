//! How fast chunks and entries are removed.

use core::time::Duration;

use engine_types::Instant;

#[cfg(test)]
mod tests;

/// Time for which unused allowance is kept: a pause of the collector does not turn into a storm.
const BURST: Duration = Duration::from_secs(1);
const SECOND: u128 = 1_000_000_000;

/// An allowance per second. What is taken may pass it once; later takers wait for that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Things per second; 0 is no limit.
    per_second: u32,
    /// When all that was taken so far will have been allowed.
    paid: Instant,
}

impl Rate {
    /// `per_second` 0 is no limit.
    pub(crate) const fn new(per_second: u32) -> Self {
        Self { per_second, paid: Instant::ZERO }
    }

    /// When the next may be taken; not before `now`.
    pub(crate) fn ready(&self, now: Instant) -> Instant {
        if self.per_second == 0 { now } else { self.paid.max(now) }
    }

    /// Takes `count`, which have been done or are about to be.
    pub(crate) fn take(&mut self, now: Instant, count: u64) {
        if self.per_second == 0 {
            return;
        }
        let nanos = u128::from(count) * SECOND / u128::from(self.per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let kept = Instant::from_nanos(now.nanos().saturating_sub(nanos_of(BURST)));
        self.paid = self.paid.max(kept).saturating_add(cost);
    }
}

fn nanos_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
