//! The driver of the chunk store over `Env`.
//!
//! [`ChunkStore`] opens a file or device, recovers what a crash left, and serves reads and updates
//! of chunks; see `store` for its tasks and invariants, and `engine/DESIGN.md` for the format.

mod admission;
mod applier;
mod checkpoint;
mod compaction;
mod config;
mod create;
mod deciding;
mod device;
mod error;
mod fetch;
mod journal;
mod metrics;
mod open;
pub mod probe;
mod query;
mod read;
mod replication;
mod reserve;
mod scrub;
mod shipment;
mod space;
mod store;
mod update;
mod waiters;

#[cfg(test)]
mod tests;

pub use config::StoreConfig;
pub use create::CreateOptions;
pub use deciding::Deciding;
pub use error::{DecisionError, ReadError, StoreError};
pub use metrics::{Io, IoFigures, Metrics};
pub use open::{CLASH_LIST_MAX, Clash, Opened};
pub use query::{LIST_COUNT_MAX, LIST_WORDS_MAX, Listed};
pub use read::{Content, Read, Reading, Which};
pub use replication::{Local, Recovered};
pub use scrub::{DAMAGE_LIST_MAX, Damage, DamageKind, RepairError, ScrubLimits, ScrubProgress};
pub use shipment::{PIECE_BYTES_MAX, Piece, Shipment, Shipped};
pub use store::{ChunkStore, Space};
pub use update::{Payload, Stored};
