//! Metadata services as processes, with everything that they stand on.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a step that fails is a test that fails")]

#[path = "../storage/client.rs"]
#[allow(dead_code, reason = "the clients of storage nodes; a part of them is used here")]
mod client;
mod figures;
mod fsck;
mod ground;
mod kills;
mod load;
mod locks;
mod operator;
mod space;
#[path = "../support/mod.rs"]
mod support;
