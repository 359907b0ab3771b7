//! Bugs planted in the metadata service: each takes a rule of the namespace away, between the
//! service that ships and its store, or its chunks. `tests/meta_planted.rs` plants them.

use meta_kv::mutation::Mutation;
use meta_kv::{CommitRequest, KeyRange};

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// M11: the record of a request is not in its transaction.
    RecordNotWritten,
    /// M11: the record is read, and not in the conflict set.
    RecordNotRead,
    /// L6: the fence of the session is not looked at.
    FenceNotRead,
    /// L6: a session is pruned before its fence.
    FenceNotWritten,
    /// E421: the slots of a name are a snapshot.
    SlotsSnapshot,
    /// M8: that a directory is empty is a snapshot.
    EmptySnapshot,
    /// M8: the parent's inode is a snapshot.
    InodeSnapshot,
    /// M7: the parents of a rename's target are a snapshot.
    ParentsSnapshot,
    /// E440: a batch of inode ids is used before it is reserved.
    IdsNotReserved,
    /// M6: a directory's sums are not added to.
    CountsNotAdded,
    /// M6: the times of a directory's events are not raised.
    TimesNotRaised,
    /// E446: the session's own side of a session is not cleared.
    SideNotCleared,
    /// E450: what loses its last link is not queued.
    NotQueued,
    /// E451: the collector does not see the sessions of a file.
    SessionsNotSeen,
    /// E454: the locks of a session cannot be found from it.
    SessionLocksNotWritten,
    /// E454: the table of locks is a snapshot.
    LocksSnapshot,
    /// M2: the work item of a cut is not written.
    CutNotWritten,
    /// M2: the item of a cut is cleared before its chunks are gone.
    CutNotDone,
    /// M3: a hint of an older epoch raises the length.
    OldHintRaises,
    /// M4: a session that ended without a close leaves no mark.
    MarkNotWritten,
}

impl Bug {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::RecordNotWritten,
        Self::RecordNotRead,
        Self::FenceNotRead,
        Self::FenceNotWritten,
        Self::SlotsSnapshot,
        Self::EmptySnapshot,
        Self::InodeSnapshot,
        Self::ParentsSnapshot,
        Self::IdsNotReserved,
        Self::CountsNotAdded,
        Self::TimesNotRaised,
        Self::SideNotCleared,
        Self::NotQueued,
        Self::SessionsNotSeen,
        Self::SessionLocksNotWritten,
        Self::LocksSnapshot,
        Self::CutNotWritten,
        Self::CutNotDone,
        Self::OldHintRaises,
        Self::MarkNotWritten,
    ];

    /// Whether a range that was read in conflict mode is left out of the conflict set.
    fn drops_read(self, range: &KeyRange) -> bool {
        let letters = range.begin.get(..4).unwrap_or_default();
        let is_point = range.begin.len() + 1 == range.end.len();
        match self {
            Self::RecordNotRead => letters == b"REQU",
            Self::FenceNotRead => letters == b"SESX",
            // Slots are asked by the ends of their range, a whole directory by its prefix.
            Self::SlotsSnapshot => letters == b"DENT" && 12 < range.begin.len(),
            Self::EmptySnapshot => letters == b"DENT" && range.begin.len() == 12,
            Self::InodeSnapshot => letters == b"INOD" && is_point,
            Self::ParentsSnapshot => letters == b"PARE",
            Self::LocksSnapshot => letters == b"LOCK",
            Self::IdsNotReserved => letters == b"IDAL",
            _ => false,
        }
    }

    fn drops_write(self, mutation: &Mutation) -> bool {
        let (key, is_set) = match mutation {
            Mutation::Set { key, .. } => (key, true),
            Mutation::Atomic { key, .. } => (key, true),
            Mutation::Clear { range } => (&range.begin, false),
            Mutation::StampedKey { key, .. } | Mutation::StampedValue { key, .. } => (key, true),
        };
        let letters = key.get(..4).unwrap_or_default();
        match self {
            Self::RecordNotWritten => is_set && letters == b"REQU",
            Self::FenceNotWritten => is_set && letters == b"SESX",
            Self::IdsNotReserved => is_set && letters == b"IDAL",
            Self::CountsNotAdded => letters == b"INOD" && key.len() == 13 && key[12] == b'A',
            Self::TimesNotRaised => letters == b"INOD" && key.len() == 13 && key[12] == b'T',
            Self::SideNotCleared => !is_set && letters == b"SESI",
            Self::NotQueued => is_set && letters == b"DELQ",
            Self::SessionLocksNotWritten => is_set && letters == b"LOCS",
            Self::CutNotWritten => is_set && letters == b"TRUN",
            Self::MarkNotWritten => is_set && letters == b"LENQ",
            _ => false,
        }
    }

    /// Takes out of a commit what the bug leaves out.
    pub(super) fn spoil(self, commit: &mut CommitRequest) {
        commit.read_conflicts.retain(|range| !self.drops_read(range));
        commit.mutations.retain(|mutation| !self.drops_write(mutation));
    }

    /// Whether a read of this key finds nothing.
    pub(super) fn hides(self, key: &[u8]) -> bool {
        match self {
            Self::FenceNotRead => key.starts_with(b"SESX"),
            Self::SessionsNotSeen => key.starts_with(b"SESS"),
            _ => false,
        }
    }
}
