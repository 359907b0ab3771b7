//! Ordered links between the shards of storage nodes.
