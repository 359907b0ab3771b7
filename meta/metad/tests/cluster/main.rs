//! The metadata role in simulation, with the KV, manager, storage nodes and clients that ship.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod chunks;
mod ends;
mod ground;
mod kills;
mod room;
