//! What is measured beside fio: something that keeps data on a device and answers operations.

use core::ops::Sub;
use std::rc::Rc;

use engine_runtime::Env;
use engine_types::Rng;

use super::device::Place;
use super::shape::Work;
use crate::suite::{DeviceBytes, JournalTurns};

#[cfg(test)]
mod tests;

/// A layer on one core.
pub(crate) trait Subject<E: Env>: Sized + 'static {
    /// Opens what lies at `place`, which holds its data.
    async fn open(env: &E, place: &Place) -> Result<Rc<Self>, String>;

    /// Does one operation; a write is durable when it ends.
    async fn operate(&self, work: Work, random: &mut Rng) -> Result<(), String>;

    /// Operations whose work may be put off at most. A slice is measured when more have ended:
    /// from then on each pays for an earlier one.
    fn ops_put_off(&self, work: Work) -> u64;

    /// Does what was put off, and gives the room of what was appended back. Not measured, and
    /// before fio has its turn.
    async fn tidy(&self) -> Result<(), String>;

    /// What was asked of the device so far.
    fn counters(&self) -> Counters;

    /// Ends orderly.
    async fn close(&self) -> Result<(), String>;
}

/// Counts of a subject since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Bytes that operations moved.
    pub(crate) user_bytes: u64,
    /// Durable operations that ended.
    pub(crate) writes: u64,
    /// Bytes read from the device.
    pub(crate) read_bytes: u64,
    /// Bytes written to the device.
    pub(crate) written_bytes: u64,
    /// Flushes that made something durable.
    pub(crate) flushes: u64,
    /// Bytes written to the journal.
    pub(crate) journal_bytes: u64,
    /// Bytes of the journal's ring; 0 without one.
    pub(crate) ring_bytes: u64,
}

/// Turns of the ring after which what overwrites cost is final: everything was applied, dumped and
/// overwritten by then.
const TURNS: f64 = 2.0;

impl Counters {
    /// Operations per flush, where there were flushes.
    pub(crate) fn ops_per_flush(&self) -> Option<f64> {
        let per = self.writes as f64 / self.flushes as f64;
        (self.writes != 0 && self.flushes != 0).then_some(per)
    }

    /// Whether the ring was filled as often as figures of writes need.
    pub(crate) fn has_turned(&self) -> bool {
        self.journal().is_none_or(|journal| TURNS <= journal.turns)
    }

    fn journal(&self) -> Option<JournalTurns> {
        let Self { writes, journal_bytes, ring_bytes, .. } = *self;
        let turns = journal_bytes as f64 / ring_bytes as f64;
        // Commits of writes before may have followed.
        (writes != 0 && ring_bytes != 0).then_some(JournalTurns { ring_bytes, turns })
    }

    /// Shares for a row; nothing when nothing was done.
    pub(crate) fn device_bytes(&self) -> Option<DeviceBytes> {
        let per_byte = |bytes: u64| bytes as f64 / self.user_bytes as f64;
        (self.user_bytes != 0).then(|| DeviceBytes {
            read_per_byte: per_byte(self.read_bytes),
            written_per_byte: per_byte(self.written_bytes),
            ops_per_flush: self.ops_per_flush(),
            journal: self.journal(),
        })
    }
}

impl Sub for Counters {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            user_bytes: self.user_bytes - earlier.user_bytes,
            writes: self.writes - earlier.writes,
            read_bytes: self.read_bytes - earlier.read_bytes,
            written_bytes: self.written_bytes - earlier.written_bytes,
            flushes: self.flushes - earlier.flushes,
            journal_bytes: self.journal_bytes - earlier.journal_bytes,
            ring_bytes: self.ring_bytes,
        }
    }
}
