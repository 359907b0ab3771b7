//! Ordered links between the shards of storage nodes.

mod item;
mod links;

pub use item::{Arrived, Chunklet, Description, Held, Item, OutcomeSaid, Owner, ShardId, StreamId};
pub use links::Links;
