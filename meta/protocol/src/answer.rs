//! What is told.

use alloc::vec::Vec;

use engine_types::InodeId;
use meta_schema::codec::Field;
use meta_schema::fallocate::FallocatePlan;
use meta_schema::limits::{
    NAME_BYTES_MAX, SYMLINK_BYTES_MAX, XATTR_LIST_BYTES_MAX, XATTR_VALUE_BYTES_MAX,
};
use meta_schema::lock::Lock;
use meta_schema::{FileType, Layout, LayoutTemplate, choices, fields, records};

use crate::attr::Attr;
use crate::call::ROOM_BYTES;
use crate::op::{READDIR_ENTRIES_MAX, STAT_BATCH_MAX};

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the next page goes on: see `meta_schema::slot`.
    pub cookie: u64,
    /// What it names.
    pub ino: InodeId,
    /// What that is.
    pub kind: FileType,
    /// The name.
    pub name: Vec<u8>,
    /// Its attributes, if they were asked for and the inode was still there.
    pub attr: Option<Attr>,
}

/// What became of a request of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockTold {
    /// The owner has it, or has given back what it wanted to.
    Granted,
    /// The owner waits.
    Waiting {
        /// Under this ticket.
        ticket: u64,
    },
    /// Somebody else has it: EAGAIN. What was to be converted may be gone (flock(2)).
    Busy,
    /// The owner waited, and no longer does: EINTR.
    Cancelled,
}

/// A layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutTold {
    /// Of a file.
    File(Layout),
    /// Which a directory gives, its own or that of the file system.
    Directory(LayoutTemplate),
}

/// Room of the file system, of which replicas and the reserve are already counted out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FsSpace {
    /// Bytes that it can hold.
    pub bytes: u64,
    /// Of them free.
    pub bytes_free: u64,
    /// Of them free for others than root.
    pub bytes_available: u64,
    /// Inodes that it can hold; how many there are is an estimate where they are many.
    pub files: u64,
    /// Of them free.
    pub files_free: u64,
    /// How old the oldest figure is that counts, in milliseconds.
    pub age_ms: u32,
    /// Stores whose figures count.
    pub stores: u32,
    /// Stores that did not answer when they were asked last: their last figures count, and nothing
    /// does if there are none.
    pub stores_silent: u32,
}

/// What is told when it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// Attributes of the inode that it is about.
    Attr(Attr),
    /// Attributes of several; nothing for one that is not there.
    Attrs(Vec<Option<Attr>>),
    /// Where a path led.
    Walked {
        /// The directory of the last name; the start if the path had none.
        parent: InodeId,
        /// What the last name names.
        attr: Attr,
    },
    /// A file that is open now.
    Opened {
        /// Its attributes.
        attr: Attr,
        /// True if it was made by this.
        created: bool,
    },
    /// Where a symbolic link leads.
    Target(Vec<u8>),
    /// Entries of a directory, in the order of cookies.
    Entries {
        /// They.
        entries: Vec<Entry>,
        /// True if there are no further ones.
        end: bool,
    },
    /// What the caller of a fallocate has to do.
    Fallocated {
        /// Attributes afterwards.
        attr: Attr,
        /// What.
        plan: FallocatePlan,
    },
    /// An extended attribute.
    Value(Vec<u8>),
    /// Names of extended attributes, each with a NUL behind it.
    Names(Vec<u8>),
    /// What is in the way of a lock.
    Conflict {
        /// A lock, if there is one.
        lock: Option<Lock>,
    },
    /// What became of a request of a lock.
    Lock(LockTold),
    /// A layout.
    Layout(LayoutTold),
    /// The bytes from here on belong to the caller.
    Appended {
        /// The first of them.
        offset: u64,
        /// Attributes afterwards.
        attr: Attr,
    },
    /// A part of a session's things is gone.
    Pruned {
        /// True if there are further ones: ask again.
        more: bool,
    },
    /// Room of the file system.
    Space(FsSpace),
}

fields! {
    Entry { cookie, ino, kind, name: bytes(NAME_BYTES_MAX), attr }
    FsSpace {
        bytes, bytes_free, bytes_available, files, files_free, age_ms, stores, stores_silent
    }
}

choices! {
    LockTold, "lock" {
        0 = Granted,
        1 = Waiting { ticket },
        2 = Busy,
        3 = Cancelled,
    }
    LayoutTold, "layout" {
        1 = File(layout),
        2 = Directory(layout),
    }
    Answer, "answer" {
        1 = Done,
        2 = Attr(attr),
        3 = Attrs(attrs: list(STAT_BATCH_MAX)),
        4 = Walked { parent, attr },
        5 = Opened { attr, created },
        6 = Target(target: bytes(SYMLINK_BYTES_MAX)),
        7 = Entries { entries: list(READDIR_ENTRIES_MAX as usize), end },
        8 = Fallocated { attr, plan },
        9 = Value(value: bytes(XATTR_VALUE_BYTES_MAX)),
        10 = Names(names: bytes(XATTR_LIST_BYTES_MAX)),
        11 = Conflict { lock },
        12 = Lock(told),
        13 = Layout(told),
        14 = Appended { offset, attr },
        15 = Pruned { more },
        16 = Space(space),
    }
}

records! {
    Answer = "answer";
}

impl Entry {
    /// Bytes that it takes in an answer: what a page counts against [`Answer::ENTRIES_BYTES_MAX`].
    pub fn encoded_bytes(&self) -> usize {
        let attr = self.attr.map_or(0, |attr| Field::encoded_bytes(&attr));
        let fixed = <Self as Field>::BYTES_MIN;
        fixed + self.name.len() + attr
    }
}

impl Answer {
    /// Bytes that the entries of one answer may take together (E412).
    pub const ENTRIES_BYTES_MAX: usize = ROOM_BYTES as usize - HEAD_BYTES_MAX;
}

/// What stands around the entries of an answer, generously.
const HEAD_BYTES_MAX: usize = 64;
