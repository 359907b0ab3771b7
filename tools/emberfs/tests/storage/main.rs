//! Whole clusters as processes, by the library that `tools/cluster` is.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a step that fails is a test that fails")]

mod balance;
mod client;
mod exchange;
mod figures;
mod ground;
mod kills;
mod library;
mod load;
mod once;
mod operator;
mod proxy;
mod rot;
mod still;
#[path = "../support/mod.rs"]
mod support;
