//! The kv commands as processes: what scripts and operators see, kills, full disks, wrong paths.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a step that fails is a test that fails")]

mod client;
mod crash;
mod full;
mod ground;
mod life;
mod paths;
#[path = "../support/mod.rs"]
mod support;
