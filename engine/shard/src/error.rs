//! What can go wrong with a store as a whole, and with a read.

use engine_runtime::{FileError, PoolExhausted};
use engine_store::index::{IndexFull, NotAscending};
use engine_store::tables::TableError;
use engine_store::{ChunkKey, Slot, UpdateError};
use engine_types::{ChunkVersion, ClusterId, Retry};

/// Why a store could not be formatted, opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The device or file answered with an error.
    #[error(transparent)]
    Io(#[from] FileError),
    /// Something else is on the device.
    #[error("{found}, which formatting would destroy; force it if that is meant")]
    Occupied {
        /// What was recognised.
        found: crate::probe::Foreign,
    },
    /// The size or an option does not make a store.
    #[error(transparent)]
    Layout(#[from] engine_store::format::LayoutError),
    /// Neither copy of the superblock can be used.
    #[error("no usable superblock: {0}")]
    Superblock(#[from] engine_store::format::NoSuperblock),
    /// The store belongs to another cluster.
    #[error("the store belongs to cluster {found}, expected {expected}")]
    OtherCluster {
        /// In the superblock.
        found: ClusterId,
        /// By the configuration.
        expected: ClusterId,
    },
    /// An operator took the store out of its cluster: it serves nothing any more (W10).
    #[error("the store was retired from cluster {cluster}; format it to use it again")]
    Retired {
        /// In the superblock.
        cluster: ClusterId,
    },
    /// A setting with which the store would wait for ever.
    #[error("{name} is {found}, expected at least {min} and at most {max}")]
    Config {
        /// Which one.
        name: &'static str,
        /// As given.
        found: u64,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// A file or device that is shorter than its store.
    #[error("{found} bytes long, the store needs {expected}")]
    TooShort {
        /// As found.
        found: u64,
        /// In the superblock.
        expected: u64,
    },
    /// The device's unit of writing is larger than the store's.
    #[error("the device writes in units of {found} bytes, a store in 4096")]
    Alignment {
        /// Of the device.
        found: u32,
    },
    /// Features of a later version forbid writing.
    #[error(
        "it has read-only compatible features of a later version ({bits:#x}): open it read-only"
    )]
    ReadOnly {
        /// Bits unknown here.
        bits: u64,
    },
    /// A checkpoint that its superblock names cannot be read back.
    #[error("checkpoint {generation}: {why}")]
    Checkpoint {
        /// Its number.
        generation: u64,
        /// What is wrong.
        why: String,
    },
    /// Records that contradict each other, or more than the budget holds.
    #[error("recovery: {0}")]
    Recovery(String),
    /// The pool of the core is too small.
    #[error(transparent)]
    Memory(#[from] PoolExhausted),
    /// The store left service while it was in use.
    #[error("the store is out of service: {0}")]
    OutOfService(String),
}

impl From<IndexFull> for StoreError {
    fn from(why: IndexFull) -> Self {
        Self::Recovery(why.to_string())
    }
}

impl From<NotAscending> for StoreError {
    fn from(why: NotAscending) -> Self {
        Self::Recovery(why.to_string())
    }
}

/// Why a read gave no bytes. Only `OutOfService` says that the store has failed
/// ([`Self::is_failure`]).
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No target has this slot, or it is being dropped. The store is well; this replica is none.
    #[error("{slot} holds no active target")]
    NoTarget {
        /// As asked.
        slot: Slot,
    },
    /// The chunk, or the pending version asked for, is not there. The store is well.
    #[error("{key} is not there")]
    NoSuchChunk {
        /// As asked.
        key: ChunkKey,
    },
    /// More bytes than one read may ask for. The store is well.
    #[error("{key}: {found} bytes asked for, at most {max}")]
    TooLarge {
        /// As asked.
        key: ChunkKey,
        /// As asked.
        found: u32,
        /// The limit.
        max: u32,
    },
    /// The bytes are not what was written. The store serves on, but these bytes are lost here: the
    /// chunk has to be replaced from another replica. A comparison of digests does not show that,
    /// as they are those of the record.
    #[error("{key}: checksum block {block} of version {version} is damaged")]
    Corrupt {
        /// As asked.
        key: ChunkKey,
        /// The checksum block.
        block: u32,
        /// The version that was read.
        version: ChunkVersion,
    },
    /// The device answered with an error: perhaps the next read succeeds. The store serves on;
    /// meanwhile another replica has the bytes.
    #[error("{key}: {source}")]
    Io {
        /// As asked.
        key: ChunkKey,
        /// The device's answer.
        source: FileError,
    },
    /// Too many reads are under way. The store has not failed, but its device hangs, or somebody
    /// keeps what he began.
    #[error("{max} reads are under way, no more fit")]
    TooManyReads {
        /// The limit.
        max: usize,
    },
    /// No memory for the answer. The store is well.
    #[error(transparent)]
    Memory(#[from] PoolExhausted),
    /// The store has left service: a write or flush failed, and what it says may be behind what it
    /// has acknowledged.
    #[error("the store is out of service")]
    OutOfService,
}

impl ReadError {
    /// Whether the store has failed: the replica's part in its chain is over.
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::OutOfService)
    }

    /// What a caller does next.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::NoTarget { .. } => Retry::RefreshRouting,
            Self::NoSuchChunk { .. } | Self::TooLarge { .. } => Retry::Never,
            Self::Corrupt { .. } | Self::Io { .. } | Self::OutOfService => Retry::OtherTarget,
            Self::Memory(_) | Self::TooManyReads { .. } => Retry::AfterBackoff,
        }
    }
}

/// Why a decision about targets, sessions or chunks was not taken. The store has failed if
/// [`UpdateError::is_failure`] says so of `Update`; it is well with every `Table`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// By the rules of the tables.
    #[error(transparent)]
    Table(#[from] TableError),
    /// By the rules of updates.
    #[error(transparent)]
    Update(#[from] UpdateError),
}
