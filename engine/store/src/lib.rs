//! The chunk store of one shard, as pure decisions: where bytes go, what is durable, what a crash
//! leaves. The driver (`engine-shard`) does the I/O; nothing here knows a clock, file or thread.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod address;
pub mod allocator;
pub mod entry;
pub mod format;
pub mod index;
pub mod overlay;
pub mod pins;
pub mod plan;
pub mod planted;
pub mod read;
pub mod record;
pub mod recover;
pub mod request;
pub mod ring;
pub mod store;
pub mod tables;

pub use address::{
    BlockAddress, BlockClass, ChunkKey, Lsn, SEGMENT_BYTES, SegmentId, Slot, TruncateEpoch,
};
pub use entry::{Entry, Fence, Put, SectorRange};
pub use record::{Head, Record, RecordError, RecordRef, removal_digest};
pub use request::{Change, Outcome, Tag, TargetPhase, TargetRecord, Update, UpdateError};
