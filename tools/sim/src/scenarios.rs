//! The scenarios that `cargo x sim` runs, each over code that ships.

use crate::scenario::Scenario;

pub mod disk;
pub mod rpc;

/// All of them, in the order in which seeds visit them.
pub const ALL: &[Scenario] = &[rpc::SCENARIO, disk::SCENARIO];
