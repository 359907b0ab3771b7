//! An inode as one transaction sees it: its own key with the side keys of a directory.

use engine_types::InodeId;
use meta_protocol::Attr;
use meta_schema::side::DirectoryStat;
use meta_schema::{Inode, SideCounts, SideTimes, Timestamp};

/// An inode and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Its number.
    pub(crate) ino: InodeId,
    /// Its own key.
    pub(crate) inode: Inode,
    /// What was added to it, if it is a directory.
    pub(crate) counts: SideCounts,
    /// Its last event, if it is a directory.
    pub(crate) times: SideTimes,
}

impl Loaded {
    /// Of an inode without side keys: one that is new, or no directory.
    pub(crate) fn plain(ino: InodeId, inode: Inode) -> Self {
        Self { ino, inode, counts: SideCounts::default(), times: SideTimes::default() }
    }

    /// As `stat` shows it.
    pub(crate) fn attr(&self) -> Attr {
        Attr::of(self.ino, &self.inode, self.counts, self.times)
    }

    /// Links, times and changes as everybody sees them.
    pub(crate) fn stat(&self) -> DirectoryStat {
        DirectoryStat::of(&self.inode, self.counts, self.times)
    }

    /// The stamp of a change of this inode at `now`: its ctime does not go back, whichever of its
    /// keys has it.
    pub(crate) fn stamp(&self, now: Timestamp) -> Timestamp {
        now.touched(self.stat().ctime)
    }
}
