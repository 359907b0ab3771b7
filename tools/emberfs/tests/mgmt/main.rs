//! The cluster manager as processes: what operators see, kills of managers and of their KV.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a step that fails is a test that fails")]

mod ground;
mod kills;
mod nodes;
mod operator;
#[path = "../support/mod.rs"]
mod support;
