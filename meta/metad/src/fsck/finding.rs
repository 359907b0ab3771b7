//! What can be wrong, in words of the namespace.

use core::fmt;

use engine_types::{ChainId, InodeId, SessionId};
use meta_schema::{Key, Slot};

/// One thing that is wrong. Each kind is repaired as its text says; what of it cannot be is said
/// there, too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// A key that nobody knows. It is cleared: an fsck has to be as new as the newest service.
    UnknownKey {
        /// Its bytes.
        key: Vec<u8>,
    },
    /// A value that cannot be decoded. It is made anew where that is safe (sessions, cuts, marks,
    /// the deletion queue), and cleared else, which others of these may follow from. Counters of
    /// inode ids and fences are left.
    BadValue {
        /// Of which key.
        key: Key,
    },
    /// Entries of a directory without its inode, or no root. It is made anew, for root alone.
    LostDirectory {
        /// The directory.
        dir: InodeId,
    },
    /// An entry that names no inode. It is cleared.
    Dangling {
        /// The directory.
        dir: InodeId,
        /// Where in it.
        slot: Slot,
    },
    /// An entry in a slot that is not of its name, or with a name that cannot be. It is moved to
    /// its slot, if its name is free, and cleared else.
    Misplaced {
        /// The directory.
        dir: InodeId,
        /// Where in it.
        slot: Slot,
    },
    /// A name for the second time in its directory. It is cleared.
    NamedTwice {
        /// The directory.
        dir: InodeId,
        /// Where the later one is.
        slot: Slot,
    },
    /// An entry that says another type than its inode. It is set right.
    WrongKind {
        /// The directory.
        dir: InodeId,
        /// Where in it.
        slot: Slot,
    },
    /// Links of an inode that are not its names. They are set right.
    WrongLinks {
        /// The inode.
        ino: InodeId,
        /// Its links.
        found: u32,
        /// Its names.
        expected: u32,
    },
    /// Links of a directory that are not 2 and one for each subdirectory. They are set right.
    WrongSum {
        /// The directory.
        dir: InodeId,
        /// Its links.
        found: i64,
        /// What they should be.
        expected: i64,
    },
    /// An inode with links and without a name. It is named in `/lost+found`.
    Nameless {
        /// The inode.
        ino: InodeId,
    },
    /// An inode without links that does not wait for its removal (E450). It is queued.
    Unqueued {
        /// The inode.
        ino: InodeId,
    },
    /// An inode that waits for its removal and has links. It waits no more.
    QueuedWithLinks {
        /// Its place in the queue.
        key: Key,
    },
    /// An inode that waits for its removal twice (E450). The later place is cleared.
    QueuedTwice {
        /// The later place.
        key: Key,
        /// The earlier one.
        first: Key,
    },
    /// An inode that waits in a shard where nobody looks for it. It is moved.
    Misfiled {
        /// Its place.
        key: Key,
    },
    /// A further name of a directory. It is cleared.
    ManyNames {
        /// The directory that has it.
        ino: InodeId,
        /// The directory that it is in.
        dir: InodeId,
        /// Where in it.
        slot: Slot,
    },
    /// A directory whose parent is said to be another than the one that names it. It is set right.
    WrongParent {
        /// The directory.
        dir: InodeId,
        /// What is said, if anything is.
        found: Option<InodeId>,
        /// Who names it.
        expected: InodeId,
    },
    /// A directory below itself. It is taken out and named in `/lost+found`.
    Loop {
        /// One of those on the loop.
        dir: InodeId,
    },
    /// A key about an inode that is gone, or is no directory where only those have one. It is
    /// cleared.
    Stray {
        /// The key.
        key: Key,
    },
    /// One of the two keys of a session without the other (E446). That of the file is kept, and
    /// gets the other; that of the session alone is cleared.
    HalfSession {
        /// The file.
        ino: InodeId,
        /// The session.
        session: SessionId,
    },
    /// What says which locks a session has or waits for does not agree with them (E454). It is set
    /// right.
    LockIndex {
        /// The key that is wrong, or missing.
        key: Key,
        /// The inode of the locks.
        ino: InodeId,
    },
    /// Files, locks or requests of a session that is over, and that no service has ended. They are
    /// ended.
    EndedSession {
        /// The session.
        session: SessionId,
    },
    /// Chunks of an inode that is gone, or is no file. They are removed.
    OrphanChunks {
        /// Where they are.
        chain: ChainId,
        /// Whose they were.
        ino: InodeId,
    },
    /// Chunks of a file on a chain where nobody looks for them. They are removed.
    MisplacedChunks {
        /// Where they are.
        chain: ChainId,
        /// The file.
        ino: InodeId,
    },
    /// Chunks of a file beyond its length, though nobody writes it. It is cut to its length.
    ChunksBeyond {
        /// The file.
        ino: InodeId,
    },
    /// A file without any chunk that had some when it was last asked for, and did not change since.
    /// Bytes are lost, and nothing brings them back: it is left as it is.
    MissingChunks {
        /// The file.
        ino: InodeId,
        /// Bytes that its chunks had.
        bytes: u64,
    },
}

impl Finding {
    /// A word for it that programs may rely on.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::UnknownKey { .. } => "unknown-key",
            Self::BadValue { .. } => "bad-value",
            Self::LostDirectory { .. } => "lost-directory",
            Self::Dangling { .. } => "dangling-entry",
            Self::Misplaced { .. } => "misplaced-entry",
            Self::NamedTwice { .. } => "name-twice",
            Self::WrongKind { .. } => "wrong-type",
            Self::WrongLinks { .. } => "wrong-links",
            Self::WrongSum { .. } => "wrong-directory-links",
            Self::Nameless { .. } => "no-name",
            Self::Unqueued { .. } => "not-queued",
            Self::QueuedWithLinks { .. } => "queued-with-links",
            Self::QueuedTwice { .. } => "queued-twice",
            Self::Misfiled { .. } => "queued-in-wrong-shard",
            Self::ManyNames { .. } => "directory-with-two-names",
            Self::WrongParent { .. } => "wrong-parent",
            Self::Loop { .. } => "directory-loop",
            Self::Stray { .. } => "stray-key",
            Self::HalfSession { .. } => "half-session",
            Self::LockIndex { .. } => "lock-index",
            Self::EndedSession { .. } => "ended-session",
            Self::OrphanChunks { .. } => "orphan-chunks",
            Self::MisplacedChunks { .. } => "misplaced-chunks",
            Self::ChunksBeyond { .. } => "chunks-beyond-length",
            Self::MissingChunks { .. } => "missing-chunks",
        }
    }

    /// Whether there is a way to repair it.
    pub const fn is_mendable(&self) -> bool {
        !matches!(
            self,
            Self::MissingChunks { .. }
                | Self::BadValue { key: Key::InodeIds(_) | Key::FencedBelow | Key::Superblock }
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key } => {
                let shown = &key[..key.len().min(KEY_BYTES_SHOWN)];
                write!(f, "key \"{}\" is of no known kind", shown.escape_ascii())
            }
            Self::BadValue { key } => write!(f, "the value of {key:?} cannot be read"),
            Self::LostDirectory { dir } => write!(f, "{dir} has entries and no inode"),
            Self::Dangling { dir, slot } => write!(f, "{slot} of {dir} names no inode"),
            Self::Misplaced { dir, slot } => write!(f, "{slot} of {dir} is not that of its name"),
            Self::NamedTwice { dir, slot } => {
                write!(f, "the name at {slot} of {dir} is there before")
            }
            Self::WrongKind { dir, slot } => {
                write!(f, "{slot} of {dir} says another type than its inode")
            }
            Self::WrongLinks { ino, found, expected } => {
                write!(f, "{ino} has {found} links and {expected} names")
            }
            Self::WrongSum { dir, found, expected } => {
                write!(f, "{dir} has {found} links, expected {expected}")
            }
            Self::Nameless { ino } => write!(f, "{ino} has links and no name"),
            Self::Unqueued { ino } => write!(f, "{ino} has no links and is not queued"),
            Self::QueuedWithLinks { key } => write!(f, "{key:?}: its inode has links"),
            Self::QueuedTwice { key, first } => write!(f, "{key:?} is queued as {first:?}, too"),
            Self::Misfiled { key } => write!(f, "{key:?} is in another shard than its inode's"),
            Self::ManyNames { ino, dir, slot } => {
                write!(f, "{slot} of {dir} is a further name of the directory {ino}")
            }
            Self::WrongParent { dir, found: Some(found), expected } => {
                write!(f, "{dir} is said to be in {found}, and is in {expected}")
            }
            Self::WrongParent { dir, found: None, expected } => {
                write!(f, "{dir} is in {expected}, and nothing says so")
            }
            Self::Loop { dir } => write!(f, "{dir} is below itself"),
            Self::Stray { key } => write!(f, "{key:?}: its inode is gone, or of another type"),
            Self::HalfSession { ino, session } => {
                write!(f, "{session} on {ino} has one of its two keys")
            }
            Self::LockIndex { key, ino } => write!(f, "{key:?} does not agree with locks of {ino}"),
            Self::EndedSession { session } => {
                write!(f, "{session} is over and has files, locks or requests")
            }
            Self::OrphanChunks { chain, ino } => {
                write!(f, "{chain} has chunks of {ino}, which is gone")
            }
            Self::MisplacedChunks { chain, ino } => {
                write!(f, "{chain} has chunks of {ino} that belong to another chain")
            }
            Self::ChunksBeyond { ino } => write!(f, "{ino} has chunks beyond its length"),
            Self::MissingChunks { ino, bytes } => {
                write!(f, "{ino} had {bytes} bytes of chunks and has none")
            }
        }
    }
}

/// Bytes of an unknown key that are shown.
const KEY_BYTES_SHOWN: usize = 64;
