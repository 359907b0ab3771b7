//! What a checkpoint consists of, and what a durable one allows.
//!
//! The dump is fuzzy: targets, fences and pending versions are those of the moment `start`; the
//! dedup table and the committed records are dumped in turns afterwards, each item once, while they
//! change. Replay from `start` overwrites every item that a later entry names, so any mixture is
//! right (S-d).

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::Store;
use crate::address::{Lsn, Slot};
use crate::entry::{Fence, Put};
use crate::request::TargetRecord;
use crate::ring::Position;

/// The part of a checkpoint that is taken at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The first group that is to be replayed over the dump.
    pub start: Lsn,
    /// Every target.
    pub targets: Vec<(Slot, TargetRecord)>,
    /// Revoked sessions.
    pub fences: Vec<Fence>,
    /// Every durable pending version, with the group of its PUT, in chunk order.
    pub pendings: Vec<(Rc<Put>, Lsn)>,
}

impl<T: Clone> Store<T> {
    /// Whether the journal has grown enough since the last checkpoint.
    pub fn checkpoint_due(&self) -> bool {
        self.ring.checkpoint_due()
    }

    /// Begins a checkpoint.
    ///
    /// # Panics
    /// While a group is in flight: its PUTs are neither durable nor after the start.
    pub fn snapshot(&self) -> Snapshot {
        assert!(self.in_flight.is_none(), "S-d: a checkpoint starts between groups");
        let durable = self.pending.values().filter(|pending| pending.durable);
        let mut pendings: Vec<_> = durable
            .map(|pending| (pending.put.clone(), pending.lsn.expect("a durable PUT has a group")))
            .collect();
        pendings.sort_unstable_by_key(|(put, _)| put.key);
        let start = self.next_lsn();
        Snapshot {
            start,
            targets: self.targets.iter().collect(),
            fences: self.fences.iter().collect(),
            pendings,
        }
    }

    /// Whether a superblock alone would let the tail move: images were released since the last one.
    pub fn can_tail_move(&self) -> bool {
        self.ring.tail_lsn() < self.ring.oldest_held().unwrap_or_else(|| self.next_lsn())
    }

    /// Where the ring may begin once a superblock says so: nothing before is needed with the
    /// checkpoint that starts at `start` (S-d).
    pub fn tail_candidate(&self, start: Lsn) -> Position {
        self.ring.tail_candidate(start)
    }

    /// The tail that a superblock alone may name, beside the checkpoint that is durable already:
    /// images before it were released since. With the checkpoint's start, both for
    /// [`Self::superblock_durable`].
    pub fn tail_alone(&self) -> Option<(Lsn, Position)> {
        let start = self.ring.start();
        let tail = self.ring.tail_candidate(start);
        (self.ring.tail_lsn() < tail.lsn).then_some((start, tail))
    }

    /// A superblock with this checkpoint start and tail is durable.
    pub fn superblock_durable(&mut self, start: Lsn, tail: Position) {
        self.ring.advance_tail(start, tail);
    }
}
