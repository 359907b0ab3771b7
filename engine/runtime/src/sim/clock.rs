//! The clocks of a node: straight lines over world time, bent when somebody sets them.

use engine_types::{Instant, WallTime};

/// Time of day when every world begins: 2026-01-01T00:00:00Z, nanoseconds.
const WALL_ORIGIN_NS: u64 = 1_767_225_600_000_000_000;

/// Parts of which a drift counts.
const MILLION: i128 = 1_000_000;

/// Both clocks of one node since they were last set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    set_at: u64,
    boot: u64,
    wall: u64,
    drift_ppm: i32,
}

impl Clock {
    pub(super) fn new(now: u64, boot: u64, wall_skew_ns: i64, drift_ppm: i32) -> Self {
        assert!(-MILLION < i128::from(drift_ppm), "a clock that stands still: {drift_ppm} ppm");
        let wall = (WALL_ORIGIN_NS + now).saturating_add_signed(wall_skew_ns);
        Self { set_at: now, boot, wall, drift_ppm }
    }

    fn passed(&self, now: u64) -> u64 {
        assert!(self.set_at <= now, "E43: world time {now} before {}", self.set_at);
        let passed = now - self.set_at;
        if self.drift_ppm == 0 {
            return passed;
        }
        let scaled = i128::from(passed) * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    /// What the monotonic clock shows at world time `now`.
    pub(super) fn now(&self, now: u64) -> Instant {
        Instant::from_nanos(self.boot.saturating_add(self.passed(now)))
    }

    /// What the wall clock shows at world time `now`.
    pub(super) fn wall(&self, now: u64) -> WallTime {
        WallTime::from_nanos(self.wall.saturating_add(self.passed(now)))
    }

    /// First world time at which the monotonic clock has reached `at`; `None` when that is never.
    pub(super) fn world_time(&self, at: Instant) -> Option<u64> {
        let ahead = i128::from(at.nanos().saturating_sub(self.boot));
        let rate = MILLION + i128::from(self.drift_ppm);
        let passed = u64::try_from((ahead * MILLION + rate - 1) / rate).ok()?;
        self.set_at.checked_add(passed)
    }

    pub(super) fn set_drift(&mut self, now: u64, drift_ppm: i32) {
        assert!(-MILLION < i128::from(drift_ppm), "a clock that stands still: {drift_ppm} ppm");
        let passed = self.passed(now);
        self.boot += passed;
        self.wall += passed;
        self.set_at = now;
        self.drift_ppm = drift_ppm;
    }

    pub(super) fn jump(&mut self, by: u64) {
        self.boot += by;
        self.wall += by;
    }

    pub(super) fn set_wall(&mut self, now: u64, skew_ns: i64) {
        let true_wall = (WALL_ORIGIN_NS + now).saturating_add_signed(skew_ns);
        // Chosen so that it shows `true_wall` now; the line begins at `set_at`.
        self.wall = true_wall.saturating_sub(self.passed(now));
    }

    /// The machine starts again: the monotonic clock begins anew, the time of day goes on.
    pub(super) fn boot(&mut self, now: u64, boot: u64) {
        self.set_drift(now, self.drift_ppm);
        self.boot = boot;
    }
}
