//! The storage node: one shard per core, each with its stores, its listener and its links to the
//! shards of other nodes.

mod role;

pub use role::{Role, RoleError, ShardSpec, run};
