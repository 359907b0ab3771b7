//! Removal of what has no name any more, in the background.
//!
//! ```text
//!   last unlink ─┐                                   ┌─ sessions left, cut unfinished ─> later
//!   rm -r ───────┴─> DELQ class shard due ino ──> judge ─ chunks removed ─> one transaction:
//!                    small · large · tree            │                     inode, entry, all keys
//!                                                    └─ a directory: its entries, a page at a time
//! ```
//! The caller of unlink pays for one key. Three classes have workers of their own, so that files
//! of one chunk per chain do not wait behind large ones, and neither behind trees; each has its own
//! allowance per second ([`DeletionSettings`]). The queue is cut into 16 shards by inode, which
//! processes claim ([`claim`]).
//!
//! Invariants
//!   E450  every inode without links has one entry in the queue, written by the transaction that
//!         took its last link, until the one that removes the inode
//!   E451  the record of a file goes after its chunks, and chunks are removed when no session of it
//!         is left: nobody writes to it any more (E447), and who wrote is fenced or has closed (L6)
//!   E452  whatever a process does for an entry is right if another does the same at the same time
//!   E453  a directory in removal has base links 0, so that nothing is created in it any more; its
//!         record goes with the transaction that finds it empty (M8)
//!
//! Crash at any point: the entry is still there, and what was done is not there to be done again.

use core::time::Duration;

use engine_types::InodeId;
use meta_kv::Transaction;
use meta_schema::delete::deletion_shard;
use meta_schema::{Deletion, DeletionClass, Inode, InodeKind, Key, Timestamp};

use crate::halt::Stop;
use crate::view::View;

pub use worker::Collector;

pub(crate) mod claim;
pub(crate) mod collect;
pub(crate) mod judge;
mod rate;
mod worker;

/// How fast removal goes, and how much of it at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionSettings {
    /// Small files per second and process; 0 is no limit. 2,000 remove a tree of 200,000 files in
    /// 100 s and cost a store of 30 disks less than one update in a hundred.
    pub small_per_second: u32,
    /// Chunks of large files per second and process; 0 is no limit. 2,000 chunks of 4 MiB give
    /// 8 GB/s of space back.
    pub large_chunks_per_second: u32,
    /// Entries of trees per second and process; 0 is no limit. Each is a part of a transaction on
    /// the KV, and half of what one served KV takes should be left to callers.
    pub tree_entries_per_second: u32,
    /// Time between unlink and removal: 0, since there is no way back.
    pub delay: Duration,
    /// Time until an entry is looked at again whose inode has sessions.
    pub session_wait: Duration,
    /// Time until an entry is looked at again whose chains did not answer.
    pub chunk_wait: Duration,
    /// Pause of a worker that found nothing due.
    pub idle: Duration,
}

impl Default for DeletionSettings {
    fn default() -> Self {
        Self {
            small_per_second: 2000,
            large_chunks_per_second: 2000,
            tree_entries_per_second: 4000,
            delay: Duration::ZERO,
            session_wait: Duration::from_secs(10),
            chunk_wait: Duration::from_secs(30),
            idle: Duration::from_secs(1),
        }
    }
}

impl DeletionSettings {
    /// Without limits.
    #[must_use]
    pub fn unlimited(self) -> Self {
        Self { small_per_second: 0, large_chunks_per_second: 0, tree_entries_per_second: 0, ..self }
    }

    fn per_second(&self, class: DeletionClass) -> u32 {
        match class {
            DeletionClass::Small => self.small_per_second,
            DeletionClass::Large => self.large_chunks_per_second,
            DeletionClass::Tree => self.tree_entries_per_second,
        }
    }
}

/// In which queue an inode waits.
fn class_of(inode: &Inode) -> DeletionClass {
    match &inode.kind {
        InodeKind::File(file) => DeletionClass::of_file(&file.layout, file.length),
        InodeKind::Directory(_) => DeletionClass::Tree,
        _ => DeletionClass::Small,
    }
}

/// Queues an inode whose last link goes in this transaction (E450). Writes only.
pub(crate) fn enqueue<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
    inode: &Inode,
    now: Timestamp,
) -> Result<(), Stop> {
    let entry = Deletion { queued_at: now, attempts: 0, length: inode.size() };
    put(view, class_of(inode), ino, now.millis(), &entry)
}

/// Puts an entry into the queue, due at `due_ms`.
fn put<T: Transaction>(
    view: &View<'_, T>,
    class: DeletionClass,
    ino: InodeId,
    due_ms: u64,
    entry: &Deletion,
) -> Result<(), Stop> {
    let shard = deletion_shard(ino);
    view.put(&Key::Deletion { class, shard, due_ms, ino }, entry)
}
