//! What compaction knows between its rounds: who asked, what was found, which segments it has to
//! pass over for the time being.
//!
//! A round ends when one segment is empty, or when none can be emptied. Rounds have numbers, so
//! that an update is told "no space" by a round that began after it had asked, and by no other: not
//! by one that was under way already, nor by one that somebody else was told of.
//!
//! Invariants
//!   E155  a segment that could not be emptied is passed over until what stood in the way has
//!         changed: the update that held its chunk is decided, the damaged version is repaired or
//!         replaced, the pause after a failed read is over

use core::cell::{Cell, RefCell};

use engine_store::store::Store;
use engine_store::{ChunkKey, SegmentId};
use engine_types::{ChunkVersion, Instant, Map};

/// Segments that are passed over at a time. Each holds a chunk that is damaged or held by an
/// update, which are few; beyond this number compaction gives up until some of them change.
const PASSED_OVER_MAX: usize = 1024;

/// What stands in the way of emptying a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocker {
    /// An update of this chunk is under way, or its version pending.
    Busy(ChunkKey, ChunkVersion),
    /// The chunk's committed version cannot be copied: it is damaged.
    Damaged(ChunkKey, ChunkVersion),
    /// A read failed, or something was not to be had: another attempt from this moment on.
    Failed(Instant),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Compaction {
    wanted: Cell<bool>,
    /// Rounds that have begun.
    begun: Cell<u64>,
    /// Rounds that have ended.
    ended: Cell<u64>,
    /// The newest round that found nothing.
    exhausted: Cell<u64>,
    passed_over: RefCell<Map<SegmentId, Blocker>>,
    /// Frozen segments whose last blocks only wait for the end of their quarantine.
    vacating: RefCell<Vec<SegmentId>>,
}

impl Compaction {
    /// Asks for a round, and returns its number; the one asked for before while that has not ended.
    pub(crate) fn ask(&self, before: Option<u64>) -> u64 {
        if let Some(round) = before.filter(|&round| self.ended.get() < round) {
            return round;
        }
        self.wanted.set(true);
        self.begun.get() + 1
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.get()
    }

    /// Whether a round with this number or a later one found nothing.
    pub(crate) fn is_exhausted(&self, asked: u64) -> bool {
        asked <= self.exhausted.get()
    }

    /// Begins a round if one is wanted.
    pub(crate) fn begin(&self) -> Option<u64> {
        self.wanted.take().then(|| {
            self.begun.set(self.begun.get() + 1);
            self.begun.get()
        })
    }

    /// The round found nothing.
    pub(crate) fn exhaust(&self, round: u64) {
        self.exhausted.set(round);
    }

    /// The round is over: who still needs a segment asks for another.
    pub(crate) fn end(&self, round: u64) {
        self.ended.set(round);
    }

    /// Looks again at what was passed over; keeps what is still blocked (E155). Says whether a
    /// segment has become empty by itself since the last time.
    pub(crate) fn look_again<T: Clone>(&self, state: &Store<T>, now: Instant) -> bool {
        let mut vacating = self.vacating.borrow_mut();
        let before = vacating.len();
        vacating.retain(|&segment| state.allocator().is_vacating(segment));
        let is_empty = vacating.len() < before;
        let mut passed_over = self.passed_over.borrow_mut();
        passed_over.retain(|&segment, blocker| is_blocked(state, segment, *blocker, now));
        is_empty
    }

    /// Whether a segment becomes empty soon by itself.
    pub(crate) fn is_vacating(&self) -> bool {
        !self.vacating.borrow().is_empty()
    }

    /// A segment becomes empty soon by itself: it stays frozen.
    pub(crate) fn vacate(&self, segment: SegmentId) {
        self.vacating.borrow_mut().push(segment);
    }

    pub(crate) fn pass_over(&self, segment: SegmentId, blocker: Blocker) {
        self.passed_over.borrow_mut().insert(segment, blocker);
    }

    /// The segment to empty next.
    pub(crate) fn candidate<T: Clone>(&self, state: &Store<T>) -> Option<SegmentId> {
        let passed_over = self.passed_over.borrow();
        if PASSED_OVER_MAX <= passed_over.len() {
            return None;
        }
        let is_eligible = |segment| !passed_over.contains_key(&segment);
        let candidate = state.allocator().compaction_candidate_where(is_eligible)?;
        Some(candidate.segment)
    }
}

fn is_blocked<T: Clone>(
    state: &Store<T>,
    segment: SegmentId,
    blocker: Blocker,
    now: Instant,
) -> bool {
    match blocker {
        Blocker::Busy(key, version) => state.occupied_by(&key) == Some(version),
        Blocker::Damaged(key, version) => state.committed(&key).is_some_and(|record| {
            let here = record.blocks().any(|(_, block)| block.segment() == segment);
            record.head.version == version && here
        }),
        Blocker::Failed(until) => now < until,
    }
}
