//! Worlds with other drift bounds.
//!
//! In every fourth world an operator changes the drift bound. Standbys, and primaries that have not
//! loaded the settings, know the default only. Clocks go up to a raised bound when a record has
//! announced it for `RELIED_AFTER`, and are within a lowered one before it is set.

use engine_types::Instant;

use super::{LeaseTimes, SECOND, World};

/// Longer than every lease and wait of these worlds.
const RELIED_AFTER: u64 = 25 * SECOND;
const DRIFTS_PPM: [u32; 2] = [10_000, 30_000];

/// The drift bound that the operator has set.
pub(super) struct Setting {
    pub(super) changes: bool,
    pub(super) drift_ppm: u32,
    /// Since when the stored record announces it.
    announced: Option<u64>,
    /// By how much clocks are off.
    pub(super) relied_ppm: u32,
}

impl Setting {
    pub(super) fn new(changes: bool) -> Self {
        let drift_ppm = DRIFTS_PPM[usize::from(changes)];
        Self { changes, drift_ppm, announced: None, relied_ppm: DRIFTS_PPM[0] }
    }
}

impl World {
    /// The settings are loaded, and changed, as far as they say by how much clocks differ.
    pub(super) fn operate(&mut self, m: usize, now: Instant, times: LeaseTimes) {
        let manager = &mut self.managers[m];
        let holder = manager.holder.as_mut().unwrap();
        if !self.setting.changes {
            manager.loaded = true;
        } else if !manager.loaded && self.rng.chance(20) {
            holder.set_times(times);
            manager.loaded = true;
        } else if manager.loaded && self.rng.chance(10) && holder.valid(now) {
            // Settings are written with the check on the lease record that all writes make.
            if self.kv_down || holder.guard(self.kv.as_ref()).is_err() {
                return;
            }
            let drift_ppm = *self.rng.pick(&DRIFTS_PPM).unwrap();
            let lowered = drift_ppm < self.setting.drift_ppm;
            if lowered {
                self.stats.lowered += 1;
                self.tame(drift_ppm);
            }
            self.setting.drift_ppm = drift_ppm;
            self.setting.announced = None;
            let LeaseTimes { beat, storage, primary, .. } = times;
            let holder = self.managers[m].holder.as_mut().unwrap();
            holder.set_times(LeaseTimes { beat, storage, primary, drift_ppm });
        }
    }

    /// No clock is off by more than `ppm` any more.
    fn tame(&mut self, ppm: u32) {
        let clocks = self.managers.iter_mut().map(|manager| &mut manager.clock);
        for clock in clocks.chain(self.nodes.iter_mut().map(|node| &mut node.clock)) {
            clock.adjust(self.real, clock.ppm.min(999_999 + u64::from(ppm)), 0);
        }
        self.setting.relied_ppm = self.setting.relied_ppm.min(ppm);
    }

    /// Clocks may be off by what has been announced for long enough.
    pub(super) fn rely(&mut self) {
        let Setting { drift_ppm, relied_ppm, announced, .. } = &mut self.setting;
        if self.kv.as_ref().is_none_or(|record| record.drift_ppm < *drift_ppm) {
            *announced = None;
            return;
        }
        let long = *announced.get_or_insert(self.real) + RELIED_AFTER <= self.real;
        if long && *relied_ppm < *drift_ppm {
            *relied_ppm = *drift_ppm;
            self.stats.raised += 1;
        }
    }
}
