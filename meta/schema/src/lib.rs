//! The namespace as keys, values and rules: what the metadata service keeps in the KV, and what
//! POSIX and Linux say about it.
//!
//! Pure: no clock, no random number and no I/O. The service (`metad`) reads and writes these
//! values in transactions, the model (`meta/model`) judges it by the same rules, clients compute
//! with layouts.
//!
//! ```text
//!   key    names of everything in the KV          name    names, paths and targets of links
//!   codec  bytes of values and messages           access  who may do what to an inode
//!   inode  inodes, and what of them stands        acl     access control lists, in Linux' form
//!          in the side keys of a directory        change  chmod, chown, utimens, and what follows
//!   layout which chunk of a file lies where       xattr   namespaces of extended attributes
//!   slot   places of names in a directory         lock    locks of byte ranges and whole files
//! ```
//!
//! Invariants
//!   E400  what was encoded decodes to the same value, with any tail behind the known fields; no
//!         bytes make a decoder panic, or take more memory than a small multiple of their length
//!   E401  every key parses to what it was made of, and keys of different things differ
//!   E402  the place of a chunk is a function of its layout and index alone, for ever; chunks of
//!         one stripe lie on different chains
//!   E403  no two owners hold locks of one family that conflict, nor does one owner hold two
//!         locks of a family on one byte
//!   E404  no waiter could be granted what it waits for when a change of the lock table returns
//!   E405  an ACL that is kept is valid; one of access says more than the mode, whose group class
//!         is its mask
//!   E406  a slot is never below 8, and below 2^63; a name has eight of them
//!   E407  times of an inode stay within what 64 bits of nanoseconds say, and an event moves none
//!         back, unless somebody had set it
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod access;
pub mod acl;
pub mod change;
pub mod codec;
pub mod create;
pub mod delete;
pub mod dirent;
pub mod errno;
pub mod fallocate;
pub mod id;
pub mod inode;
pub mod key;
pub mod layout;
pub mod limits;
pub mod lock;
pub mod mode;
pub mod name;
#[cfg(any(test, feature = "samples"))]
pub mod sample;
pub mod session;
pub mod side;
pub mod slot;
pub mod superblock;
pub mod time;
pub mod xattr;

pub use access::Caller;
pub use acl::{Acl, AclEntry, AclTag};
pub use delete::{Deletion, DeletionClass, Shrink};
pub use dirent::Dirent;
pub use errno::Errno;
pub use id::{Gid, INODE_ROOT, InodeIds, TruncateEpoch, Uid};
pub use inode::{AllocatedBytes, DirectoryData, FileData, Inode, InodeKind};
pub use key::Key;
pub use layout::{Layout, LayoutTemplate};
pub use lock::{LockFamily, LockKind, LockOwner, LockRange, LockTable};
pub use mode::{AccessMask, FileType, Mode};
pub use session::{RequestRecord, WriteSession};
pub use side::{SideCounts, SideTimes};
pub use slot::{HashKey, Slot};
pub use superblock::Superblock;
pub use time::Timestamp;
