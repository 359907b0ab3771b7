//! Whole clusters as processes, by the library that `tools/cluster` is.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a step that fails is a test that fails")]

mod exchange;
mod ground;
mod kills;
mod library;
mod load;
mod operator;
#[path = "../support/mod.rs"]
mod support;
