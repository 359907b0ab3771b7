//! What there is to ask for: one struct per operation.
//!
//! Names and paths are bytes as the caller has them: the service checks them. Times that nobody
//! names are those of the service.

use alloc::vec::Vec;

use engine_types::{InodeId, SessionId};
use meta_schema::access::OpenMode;
use meta_schema::change::AttrChange;
use meta_schema::fallocate::FallocateMode;
use meta_schema::limits::{
    NAME_WIRE_BYTES_MAX, SYMLINK_BYTES_MAX, XATTR_NAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX,
};
use meta_schema::lock::Lock;
use meta_schema::xattr::XattrSet;
use meta_schema::{
    AccessMask, LayoutTemplate, LockFamily, LockKind, LockOwner, LockRange, Mode, Timestamp,
    TruncateEpoch, choices, fields,
};

/// Inodes of one StatBatch: with attributes of 180 bytes the answer has 46 kB.
pub const STAT_BATCH_MAX: usize = 256;
/// Entries of one Readdir: what the KV gives as one page.
pub const READDIR_ENTRIES_MAX: u32 = 4096;
/// Bytes of a path that a message carries: one more than is valid, so that the service itself says
/// ENAMETOOLONG.
const PATH_WIRE_BYTES_MAX: usize = NAME_WIRE_BYTES_MAX;
/// Bytes of a target that a message carries; likewise.
const TARGET_WIRE_BYTES_MAX: usize = SYMLINK_BYTES_MAX + 1;
/// Bytes of an attribute's name that a message carries; likewise.
const XATTR_NAME_WIRE_BYTES_MAX: usize = XATTR_NAME_BYTES_MAX + 1;
/// Bytes of an attribute's value that a message carries; likewise.
const XATTR_VALUE_WIRE_BYTES_MAX: usize = XATTR_VALUE_BYTES_MAX + 1;

/// What a name leads to. Answer: Attr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The directory.
    pub parent: InodeId,
    /// A name in it.
    pub name: Vec<u8>,
}

/// Follows a path, with the permission to search on the way. Answer: Walked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Where a path without a slash in front begins.
    pub start: InodeId,
    /// The path.
    pub path: Vec<u8>,
    /// Whether a symbolic link at the end is followed.
    pub follow: bool,
}

/// Attributes of an inode. Answer: Attr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Of which.
    pub ino: InodeId,
}

/// Attributes of several. Answer: Attrs, in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatBatch {
    /// Of which: 256 at most.
    pub inos: Vec<InodeId>,
}

/// Whether the caller may do something (access(2), with the ids of the caller). Answer: Done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// To which.
    pub ino: InodeId,
    /// All of this.
    pub wanted: AccessMask,
}

/// Creates a file, or opens the one that is there. Answer: Opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// The directory.
    pub parent: InodeId,
    /// The name.
    pub name: Vec<u8>,
    /// Mode as the program said it.
    pub mode: Mode,
    /// The program's umask, which counts unless the directory has a default ACL.
    pub umask: Mode,
    /// `O_EXCL`: EEXIST if the name is taken.
    pub exclusive: bool,
    /// How it is opened at the same time. With `truncate`, one that is there is cut to nothing.
    pub open: Option<OpenMode>,
    /// A layout other than the directory's.
    pub layout: Option<LayoutTemplate>,
}

/// Opens a file. One that is only read leaves nothing behind. Answer: Opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Which.
    pub ino: InodeId,
    /// How.
    pub mode: OpenMode,
}

/// Creates a directory. Answer: Attr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mkdir {
    /// The directory.
    pub parent: InodeId,
    /// The name.
    pub name: Vec<u8>,
    /// Mode as the program said it.
    pub mode: Mode,
    /// The program's umask.
    pub umask: Mode,
    /// A layout for what is created in it, other than the directory's.
    pub layout: Option<LayoutTemplate>,
}

/// Creates a special file, or an ordinary one that is not opened. Answer: Attr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mknod {
    /// The directory.
    pub parent: InodeId,
    /// The name.
    pub name: Vec<u8>,
    /// Type and mode as in `st_mode`; no type means a file (mknod(2)).
    pub mode: u32,
    /// The program's umask.
    pub umask: Mode,
    /// Of a device: its number.
    pub rdev: u32,
}

/// Creates a symbolic link. Answer: Attr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symlink {
    /// The directory.
    pub parent: InodeId,
    /// The name.
    pub name: Vec<u8>,
    /// Where it leads.
    pub target: Vec<u8>,
}

/// Where a symbolic link leads. Answer: Target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readlink {
    /// Which.
    pub ino: InodeId,
}

/// Makes another name. Answer: Attr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Of which inode.
    pub ino: InodeId,
    /// The directory of the name.
    pub parent: InodeId,
    /// The name.
    pub name: Vec<u8>,
}

/// Removes a name of anything but a directory. Answer: Done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlink {
    /// The directory.
    pub parent: InodeId,
    /// The name.
    pub name: Vec<u8>,
    /// The caller has the inode open: if this is its last name, a hidden session keeps it (C5).
    pub hold: bool,
}

/// Removes an empty directory. Answer: Done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rmdir {
    /// The directory that it is in.
    pub parent: InodeId,
    /// Its name.
    pub name: Vec<u8>,
}

/// Renames. Answer: Done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// Directory of the old name.
    pub from: InodeId,
    /// The old name.
    pub from_name: Vec<u8>,
    /// Directory of the new name.
    pub to: InodeId,
    /// The new name.
    pub to_name: Vec<u8>,
    /// `RENAME_NOREPLACE`: EEXIST if the new name is taken.
    pub no_replace: bool,
    /// `RENAME_EXCHANGE`: both names are taken, and change places. Not with `no_replace`.
    pub exchange: bool,
    /// The caller has open what is replaced: as for Unlink.
    pub hold: bool,
}

/// Entries of a directory, without "." and "..". Answer: Entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readdir {
    /// Which.
    pub dir: InodeId,
    /// Those behind the entry of this cookie; 0 for the first.
    pub cookie: u64,
    /// At most so many, up to 4,096; a page also ends after about a megabyte.
    pub limit: u32,
    /// With their attributes.
    pub plus: bool,
}

/// chmod, chown, utimens, truncate. Answer: Attr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetAttr {
    /// Of which.
    pub ino: InodeId,
    /// What.
    pub change: AttrChange,
}

/// fallocate(2) on a file that is open for writing. Answer: Fallocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallocate {
    /// Which.
    pub ino: InodeId,
    /// What.
    pub mode: FallocateMode,
    /// From which byte.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

/// An extended attribute. Answer: Value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetXattr {
    /// Of which.
    pub ino: InodeId,
    /// Its name with its namespace.
    pub name: Vec<u8>,
}

/// Sets an extended attribute. Answer: Done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetXattr {
    /// Of which.
    pub ino: InodeId,
    /// Its name with its namespace.
    pub name: Vec<u8>,
    /// What it is to be.
    pub value: Vec<u8>,
    /// Whether it may or must be there.
    pub set: XattrSet,
}

/// Names of extended attributes. Answer: Names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListXattr {
    /// Of which.
    pub ino: InodeId,
}

/// Removes an extended attribute. Answer: Done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveXattr {
    /// Of which.
    pub ino: InodeId,
    /// Its name with its namespace.
    pub name: Vec<u8>,
}

/// What a request of a lock is about. Its owner is one of the request's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LockAsk {
    /// Of which calls.
    pub family: LockFamily,
    /// Within the session: a process or an open file, by the kernel's number.
    pub owner: u64,
    /// The process, for `F_GETLK`.
    pub pid: u32,
    /// What for; nothing unlocks.
    pub kind: Option<LockKind>,
    /// Which bytes; of a flock all.
    pub range: LockRange,
}

impl LockAsk {
    /// Whose.
    pub const fn owner(&self, session: SessionId) -> LockOwner {
        LockOwner { session, owner: self.owner }
    }

    /// The lock that is asked for; nothing if it unlocks.
    pub fn lock(&self, session: SessionId) -> Option<Lock> {
        let owner = self.owner(session);
        let Self { family, owner: _, pid, kind, range } = *self;
        kind.map(|kind| Lock { family, owner, pid, kind, range })
    }
}

/// What would keep a lock from being granted (`F_GETLK`). Answer: Conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetLock {
    /// Of which.
    pub ino: InodeId,
    /// The lock.
    pub lock: LockAsk,
}

/// Whether a request of a lock waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LockWait {
    /// It does not: EAGAIN.
    #[default]
    No,
    /// It does, and is told its ticket.
    Queue,
    /// It has waited, and asks how things are.
    Ticket {
        /// Under this ticket.
        ticket: u64,
    },
}

/// Locks or unlocks (`F_SETLK`, `F_SETLKW`, flock). Answer: Lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetLock {
    /// Of which.
    pub ino: InodeId,
    /// The lock.
    pub lock: LockAsk,
    /// Whether it waits.
    pub wait: LockWait,
}

/// Gives up waiting: the program was interrupted. Answer: Lock, which is granted if it came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelLock {
    /// Of which.
    pub ino: InodeId,
    /// Who waits.
    pub owner: u64,
    /// Under which ticket. [`TICKET_ANY`](meta_schema::lock::TICKET_ANY): all waits of the owner;
    /// whoever asked to wait and heard nothing knows no other.
    pub ticket: u64,
}

/// Gives back all locks of an owner: it has closed the file. Answer: Done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseLocks {
    /// Of which.
    pub ino: InodeId,
    /// Of which calls.
    pub family: LockFamily,
    /// Whose.
    pub owner: u64,
}

/// The layout of a file, or that which a directory gives. Answer: Layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetLayout {
    /// Of which.
    pub ino: InodeId,
}

/// Sets what a directory gives, or the layout of a file that has no bytes yet. Answer: Layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetLayout {
    /// Of which.
    pub ino: InodeId,
    /// Nothing: what the file system gives.
    pub layout: Option<LayoutTemplate>,
}

/// What a client has written of a file since it last said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hint {
    /// The epoch that it wrote with.
    pub truncate_epoch: TruncateEpoch,
    /// The byte behind the last that it wrote.
    pub end: u64,
    /// The contents have changed: mtime becomes now, and `change` rises.
    pub modified: bool,
    /// Nobody knows whether a write was done: the chains have to be asked for the length.
    pub in_doubt: bool,
}

/// The session has closed a file that it wrote. Answer: Attr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// Which.
    pub ino: InodeId,
    /// What it wrote.
    pub hint: Option<Hint>,
    /// When it last read.
    pub atime: Option<Timestamp>,
}

/// As Close, and the file stays open: fsync. Answer: Attr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Which.
    pub ino: InodeId,
    /// What it wrote.
    pub hint: Option<Hint>,
    /// When it last read.
    pub atime: Option<Timestamp>,
}

/// Reserves the next bytes behind the end (M5). Answer: Appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Append {
    /// Of which.
    pub ino: InodeId,
    /// How many.
    pub length: u64,
}

/// What the chains said of the bytes that a file takes. Answer: Done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetBlocks {
    /// Which.
    pub ino: InodeId,
    /// `change` when they were asked; if it has risen since, this says nothing.
    pub at_change: u64,
    /// What they said.
    pub bytes: u64,
}

/// Removes a directory with everything below it. Answer: Done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveTree {
    /// The directory that it is in.
    pub parent: InodeId,
    /// Its name.
    pub name: Vec<u8>,
}

/// Ends what a session that is fenced has left. Answer: Pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneSession {
    /// Which.
    pub session: SessionId,
}

/// All chunks of a cut are cut. Answer: Attr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishShrink {
    /// Of which file.
    pub ino: InodeId,
    /// Which cut.
    pub epoch: TruncateEpoch,
}

/// Room of the file system. Answer: Space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFs {}

choices! {
    LockWait, "wait" {
        0 = No,
        1 = Queue,
        2 = Ticket { ticket },
    }
}

fields! {
    Lookup { parent, name: bytes(NAME_WIRE_BYTES_MAX) }
    Walk { start, path: bytes(PATH_WIRE_BYTES_MAX), follow }
    Stat { ino }
    StatBatch { inos: list(STAT_BATCH_MAX) }
    Access { ino, wanted }
    Create { parent, name: bytes(NAME_WIRE_BYTES_MAX), mode, umask, exclusive, open, layout }
    Open { ino, mode }
    Mkdir { parent, name: bytes(NAME_WIRE_BYTES_MAX), mode, umask, layout }
    Mknod { parent, name: bytes(NAME_WIRE_BYTES_MAX), mode, umask, rdev }
    Symlink { parent, name: bytes(NAME_WIRE_BYTES_MAX), target: bytes(TARGET_WIRE_BYTES_MAX) }
    Readlink { ino }
    Link { ino, parent, name: bytes(NAME_WIRE_BYTES_MAX) }
    Unlink { parent, name: bytes(NAME_WIRE_BYTES_MAX), hold }
    Rmdir { parent, name: bytes(NAME_WIRE_BYTES_MAX) }
    Rename {
        from, from_name: bytes(NAME_WIRE_BYTES_MAX), to, to_name: bytes(NAME_WIRE_BYTES_MAX),
        no_replace, exchange, hold
    }
    Readdir { dir, cookie, limit, plus }
    SetAttr { ino, change }
    Fallocate { ino, mode, offset, length }
    GetXattr { ino, name: bytes(XATTR_NAME_WIRE_BYTES_MAX) }
    SetXattr {
        ino, name: bytes(XATTR_NAME_WIRE_BYTES_MAX), value: bytes(XATTR_VALUE_WIRE_BYTES_MAX), set
    }
    ListXattr { ino }
    RemoveXattr { ino, name: bytes(XATTR_NAME_WIRE_BYTES_MAX) }
    LockAsk { family, owner, pid, kind, range }
    GetLock { ino, lock }
    SetLock { ino, lock, wait }
    CancelLock { ino, owner, ticket }
    ReleaseLocks { ino, family, owner }
    GetLayout { ino }
    SetLayout { ino, layout }
    Hint { truncate_epoch, end, modified, in_doubt }
    Close { ino, hint, atime }
    Sync { ino, hint, atime }
    Append { ino, length }
    SetBlocks { ino, at_change, bytes }
    RemoveTree { parent, name: bytes(NAME_WIRE_BYTES_MAX) }
    PruneSession { session }
    FinishShrink { ino, epoch }
    StatFs {}
}
