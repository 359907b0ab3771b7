//! Words every other crate speaks: time, ids, units, limits, status codes, checksums, routing info.
//!
//! Layer 0: no clock, file, thread or random seed can be reached from here; the compiler proves it
//! by `no_std`. Everything is plain data that a shard, a client or the simulator may own.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod checksum;
pub mod chunk;
pub mod fields;
pub mod ids;
pub mod limits;
pub mod map;
pub mod reached;
pub mod rng;
pub mod routing;
pub mod status;
pub mod time;
pub mod units;

pub use checksum::{Crc32c, Crc32cState, crc32c};
pub use chunk::{ChecksumBlock, ChunkOffset, ChunkSize, SectorIndex};
pub use ids::{
    ChainId, ChainTableId, ChainTableVersion, ChainVersion, ChannelId, ChunkId, ChunkVersion,
    ClusterId, CoreId, Incarnation, InodeId, NodeId, ParseIdError, RequestId, RoutingVersion,
    SessionId, StoreId, TargetId, Timeline, TraceId, TruncateEpoch,
};
pub use map::{FixedHasher, Map, Set};
pub use rng::Rng;
pub use routing::{
    ChainInfo, ChainTable, Member, NodeInfo, NodeRole, NodeState, PublicState, RoutingError,
    RoutingInfo, TargetInfo,
};
pub use status::{Retry, Status};
pub use time::{Deadline, Instant, WallTime};
pub use units::{BlockSize, SECTOR_BYTES};
