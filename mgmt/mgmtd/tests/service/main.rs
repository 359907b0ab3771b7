//! Managers, a served KV, nodes and operators in one simulated world, through the RPC layer.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a step that fails is a test that fails")]

mod commands;
mod ground;
mod nodes;
mod sessions;
mod takeover;
