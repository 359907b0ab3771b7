//! The scenarios that `cargo x sim` runs, each over code that ships.

use crate::scenario::Scenario;

pub mod disk;
pub mod election;
pub mod kv;
pub mod manager;
pub mod meta;
pub mod rpc;
pub mod storage;
pub mod store;
pub mod takeover;

/// All of them, in the order in which seeds visit them.
pub const ALL: &[Scenario] = &[
    rpc::SCENARIO,
    disk::SCENARIO,
    store::SCENARIO,
    store::damage::SCENARIO,
    store::ring::SCENARIO,
    store::limits::SCENARIO,
    kv::SCENARIO,
    election::SCENARIO,
    manager::SCENARIO,
    takeover::SCENARIO,
    storage::SCENARIO,
    meta::SCENARIO,
];
