//! Names of things. Raw integers stay inside this crate and `wire`.
//!
//! An id prints as a short prefix and its number (`node-7`, `chain-12`), 128-bit ids as UUIDs, so
//! that a log line can be searched for. Nothing here wraps around silently: `next` says so when a
//! counter has run out.

use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;

/// Declares the type of an id: a number of its own that prints with a prefix.
#[macro_export]
macro_rules! id {
    ($(#[$doc:meta])* $name:ident($raw:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($raw);

        impl $name {
            /// Wraps the raw number.
            pub const fn new(raw: $raw) -> Self {
                Self(raw)
            }

            /// The raw number, for encoding.
            pub const fn get(self) -> $raw {
                self.0
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($raw:ty), $prefix:literal) => {
        $crate::id!($(#[$doc])* $name($raw), $prefix);

        impl $name {
            /// The one after it, or nothing when the numbers have run out.
            #[must_use]
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }
        }
    };
}

crate::id!(/// A machine or process registered with the manager, for life.
    NodeId(u32), "node-");
crate::id!(/// A core of one node, and with it the shard that owns its data.
    CoreId(u16), "core-");
crate::id!(/// One replica of one chain: a slot of a store.
    TargetId(u64), "target-");
crate::id!(/// A table of chains that file layouts refer to.
    ChainTableId(u32), "table-");
crate::id!(/// One of a client session's exactly-once channels (R14).
    ChannelId(u32), "channel-");
crate::id!(/// Follows one operation through every process it touches; 0 means "not traced".
    TraceId(u64), "trace-");
crate::id!(/// A file, directory or link.
    InodeId(u64), "inode-");
counter!(/// Order of the members of a chain; every change of membership raises it.
    ChainVersion(u32), "v");
counter!(/// Contents of a chain table.
    ChainTableVersion(u32), "v");
counter!(/// Counts the starts of one process or store (R5): a lease belongs to one of them.
    Incarnation(u64), "start-");
counter!(/// Version of one chunk, ascending within the lineage of its chain (R19).
    ChunkVersion(u32), "v");
counter!(/// A client's session; ids ascend, so that revocation can name everything below one (L6).
    SessionId(u64), "session-");
counter!(/// Version of the routing info as a whole.
    RoutingVersion(u64), "r");
counter!(/// How often a file was cut (M1): writes and removals of chunks carry it, and a chunk
    /// keeps that of its newest write.
    TruncateEpoch(u32), "epoch-");
counter!(/// Raised when the KV is restored from a backup (R20).
    Timeline(u32), "timeline-");

impl TruncateEpoch {
    /// The one of a new file.
    pub const FIRST: Self = Self(0);
}

/// Names a chain for life; its members and their order change with `ChainVersion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(NonZeroU32);

impl ChainId {
    /// Nothing for 0: an uninitialised field never names a chain.
    pub const fn new(raw: u32) -> Option<Self> {
        match NonZeroU32::new(raw) {
            Some(raw) => Some(Self(raw)),
            None => None,
        }
    }

    /// The raw number, for encoding. Never 0.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chain-{}", self.0)
    }
}

/// A chunk: the inode it belongs to and its place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId {
    /// The file.
    pub inode: InodeId,
    /// Which chunk of the file, from 0.
    pub index: u32,
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chunk-{}.{}", self.inode.0, self.index)
    }
}

/// Names a request on one connection: a slot of the sender's slab and how often it was used, so
/// that a late answer to an earlier use is recognised and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    slot: u32,
    generation: u32,
}

impl RequestId {
    /// Carried by one-way frames, which nobody answers.
    pub const NONE: Self = Self { slot: u32::MAX, generation: u32::MAX };

    /// Generation `generation` of slot `slot`.
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// Index into the sender's slab.
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// How often the slot was used before.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Slot in the low half, generation in the high half.
    pub const fn to_u64(self) -> u64 {
        self.slot as u64 | (self.generation as u64) << 32
    }

    /// The inverse of `to_u64`; every number names a request.
    #[expect(clippy::cast_possible_truncation, reason = "each half is taken by itself")]
    pub const fn from_u64(raw: u64) -> Self {
        Self { slot: raw as u32, generation: (raw >> 32) as u32 }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request-{}.{}", self.slot, self.generation)
    }
}

/// Why a text is not the id it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// A UUID is 8-4-4-4-12 hexadecimal digits.
    #[error("expected a UUID of 36 characters (8-4-4-4-12), found {found} characters")]
    Length {
        /// Characters found.
        found: usize,
    },
    /// Something else where a digit or a dash belongs.
    #[error("expected {expected} at position {position} of a UUID, found {found:?}")]
    Character {
        /// Counted from 0.
        position: usize,
        /// What belongs there.
        expected: &'static str,
        /// What stands there.
        found: char,
    },
}

/// Positions of the dashes in a UUID's text.
const UUID_DASHES: [usize; 4] = [8, 13, 18, 23];
/// Characters of a UUID's text.
const UUID_CHARS: usize = 36;

fn parse_uuid(text: &str) -> Result<u128, ParseIdError> {
    let found = text.chars().count();
    if found != UUID_CHARS {
        return Err(ParseIdError::Length { found });
    }
    let mut raw = 0u128;
    for (position, found) in text.chars().enumerate() {
        if UUID_DASHES.contains(&position) {
            if found != '-' {
                return Err(ParseIdError::Character { position, expected: "a dash", found });
            }
            continue;
        }
        let digit = found.to_digit(16).ok_or(ParseIdError::Character {
            position,
            expected: "a hexadecimal digit",
            found,
        })?;
        raw = raw << 4 | u128::from(digit);
    }
    Ok(raw)
}

macro_rules! uuid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// Wraps 128 random bits; the first byte of the text is the most significant one.
            pub const fn new(raw: u128) -> Self {
                Self(raw)
            }

            /// The raw number, for encoding.
            pub const fn get(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let raw = self.0;
                write!(
                    f,
                    "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                    raw >> 96,
                    raw >> 80 & 0xffff,
                    raw >> 64 & 0xffff,
                    raw >> 48 & 0xffff,
                    raw & 0xffff_ffff_ffff
                )
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_uuid(text).map(Self)
            }
        }
    };
}

uuid!(/// A cluster, chosen at random when it is created. Members of different clusters never talk.
    ClusterId);
uuid!(/// A store (disk, slice or file) or, for peers without one, a process; chosen at random.
    StoreId);

#[cfg(test)]
mod tests;
