//! What stands on a device: encoding and decoding of every structure of a store, and nothing else.
//!
//! All integers are little-endian. The device, in bytes from its start:
//!
//! ```text
//!        0  superblock A, 4 KiB                    superblock: identity, geometry, where to begin
//!   64 KiB  superblock B, 4 KiB
//!  128 KiB  probe page, written and read to see whether the device still answers
//!    1 MiB  ring: journal groups                   group: entries and sector images, chained
//!       ..  checkpoint half A                      checkpoint: pages of 1 MiB, all tables and
//!       ..  checkpoint half B                                  every committed record
//!       ..  data: segments of 64 MiB               blocks carry nothing but data
//! ```
//!
//! Evolution (W1, W6): a decoder skips what a longer entry of a known kind brings, and does not
//! look at reserved bytes; both are for compatible additions. Whatever an old release must not
//! overlook (a new kind, a new flag) comes with an `incompat` or `ro_compat` bit of the superblock.
//! Golden bytes in the tests freeze version 1.
//!
//! Invariants
//!   E105  bytes are input: decoders never panic, look at nothing before its checksum matched
//!         (lengths are bounded first), and keep no more than a fixed multiple of what they read
//!   E106  a decoded superblock can be trusted: its regions lie inside the store and apart, its
//!         checkpoint inside its half, its tail inside the ring; of two copies the one with the
//!         higher sequence decides, and it alone, even if this release cannot read it
//!   E107  what is encoded passes the checks of its decoder; an entry is as long as its head says
//!   E108  a group is accepted only by store, salt, LSN, chain hash, body checksum, and a
//!         generation not below that of the group before it: neither a ghost (S7) nor a client's
//!         data that looks like a group is taken for one
//!   E109  a half holds the largest checkpoint; the pages of a checkpoint are of one generation,
//!         its sections in order, its chunk keys ascending, its counts and digest those of its end
//!
//! Crash: nothing here keeps state. A torn write shows as a checksum that does not match.

mod bytes;
pub mod checkpoint;
mod describe;
pub mod entry;
mod error;
pub mod group;
mod item;
pub mod layout;
pub mod limits;
pub mod superblock;

pub use checkpoint::{
    CheckpointError, CheckpointRef, Counts, Item, PAGE_BYTES, PageReader, PageWriter, Pushed,
};
pub use entry::{decode, encode, encoded_len};
pub use error::FormatError;
pub use group::{
    Expected, GROUP_HEADER_BYTES, Group, GroupError, GroupHeader, GroupIdentity, group_bytes, peek,
    put_bytes_max,
};
pub use item::Kind;
pub use layout::{Extent, FormatOptions, Layout, LayoutError};
pub use limits::GROUP_BYTES_MAX;
pub use superblock::{
    Access, Features, NoSuperblock, StoreFlags, Superblock, SuperblockError, newest,
};

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
#[cfg(any(test, feature = "fuzz"))]
mod testing;
