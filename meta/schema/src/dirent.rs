//! Entries of directories, under `DENT`.
//!
//! ```text
//! Dirent     ino u64, kind u8, name bytes
//! ```

use alloc::vec::Vec;

use engine_types::InodeId;

use crate::limits::NAME_BYTES_MAX;
use crate::mode::FileType;
use crate::{fields, records};

/// A name in a directory. Its key has the hash of the name, the value the name itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirent {
    /// What it names.
    pub ino: InodeId,
    /// What that is, for `readdir`; it never changes.
    pub kind: FileType,
    /// 1 to 255 bytes, see [`crate::name`].
    pub name: Vec<u8>,
}

fields! {
    Dirent { ino, kind, name: bytes(NAME_BYTES_MAX) }
}

records! {
    Dirent = "directory entry";
}
