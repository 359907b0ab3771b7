//! Whom reads avoid: who failed a short while ago.
//!
//! After a failure nobody reads from there for a while, unless there is no other; then one read
//! tries it, and until it is known what came of that, the others go on avoiding it. So a replica
//! that does not answer costs one read its patience now and then, not every third one.

use core::cell::Cell;
use core::time::Duration;

use engine_types::Instant;

use crate::config::StorageConfig;

/// 1 s doubled six times exceeds the longest time; the bound keeps the shift in range.
const DOUBLINGS_MAX: u32 = 6;

#[derive(Default)]
pub(crate) struct Health {
    failures: Cell<u32>,
    /// Avoided until then; counts while there are failures.
    avoid: Cell<Instant>,
    /// Somebody is finding out how it is now.
    tried: Cell<bool>,
}

impl Health {
    pub(crate) fn is_avoided(&self, now: Instant) -> bool {
        0 < self.failures.get() && now < self.avoid.get()
    }

    /// It is chosen: if that is to find out how it is, others keep away for `patience`.
    pub(crate) fn chosen(&self, now: Instant, patience: Duration) {
        if 0 < self.failures.get() {
            self.avoid.set(self.avoid.get().max(now + patience));
            self.tried.set(true);
        }
    }

    pub(crate) fn failed(&self, now: Instant, config: &StorageConfig) {
        if self.is_avoided(now) && !self.tried.take() {
            return; // one of many that were under way when it failed
        }
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        let time = config.avoid_min.saturating_mul(1 << failures.min(DOUBLINGS_MAX));
        self.avoid.set(now + time.min(config.avoid_max));
    }

    pub(crate) fn answered(&self) {
        self.failures.set(0);
    }
}
