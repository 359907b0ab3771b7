//! The file system as such, under `SUPR`: written once, when it is made.
//!
//! ```text
//! Superblock   format u32, fs u128, hash key u128, created u64, root layout row
//! ```

use core::fmt;

use engine_types::fields::{DecodeError, Reader, Writer};

use crate::codec::Field;
use crate::layout::LayoutTemplate;
use crate::slot::HashKey;
use crate::time::Timestamp;
use crate::{fields, records};

/// Format of the keys: what of them cannot be said by appending fields to values.
pub const FORMAT: u32 = 1;

/// A file system, by a random number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FsId(u128);

impl FsId {
    /// Wraps 128 random bits.
    pub const fn new(raw: u128) -> Self {
        Self(raw)
    }

    /// The raw number, for encoding.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for FsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fs-{:032x}", self.0)
    }
}

impl fmt::Debug for FsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a service has to know before it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// [`FORMAT`] when it was made; a service refuses others.
    pub format: u32,
    /// Which file system it is.
    pub fs: FsId,
    /// Key of the hash of names.
    pub hash_key: HashKey,
    /// When it was made.
    pub created: Timestamp,
    /// Layout of files for which no directory says another.
    pub root_layout: LayoutTemplate,
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl Field for $number {
            const BYTES_MIN: usize = 16;

            fn write(&self, out: &mut Writer) {
                out.u128(self.get());
            }

            fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                from.u128(field).map(Self::new)
            }
        })*
    };
}

numbers! { FsId HashKey }

fields! {
    Superblock { format, fs, hash_key, created, root_layout }
}

records! {
    Superblock = "superblock";
}
