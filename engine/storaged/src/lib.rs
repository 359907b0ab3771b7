//! The storage node: one shard per core, each with its stores, its listener and its links to the
//! shards of other nodes.
//!
//! `role` is what runs; `node` is what managers know of; `life` is that of a shard, `shard` and
//! `target` what it holds, `service` and `peers` what it is asked. Decisions are those of
//! `engine-craq`.
//!
//! Invariants of the crate; each assertion names its number
//!   E380  a target takes one step at a time
//!   E381  every update and read is answered once
//!   E382  a payload that was given up never counts as complete (R3)
//!   E383  no byte of a payload lies outside of what its description names
//!   E384  a lease is dropped before anybody is told that its target is offline
//!   E385  a start is counted durably before anybody hears of it (R5)
//!   E386  the store holds, as it is named, whatever the machine has committed or sent from it
//!   E387  what is remembered of a session goes only when no node can do anything of it (R16)
//!   E388  bytes of a payload leave for another shard only with room for all of them there (W2)
//!   E389  work waits only while enough is running, and is then chosen in turn (W3)
//!   E390  a replica knows of every revocation that its store has noted (L6)

mod addresses;
mod admission;
mod fair;
mod home;
mod identity;
mod lanes;
mod life;
mod node;
mod peers;
mod promise;
mod refusals;
mod relay;
mod repair;
mod role;
mod scrub;
mod service;
mod sessions;
mod shard;
mod stream;
mod target;

pub use fair::AdmissionSettings;
pub use role::{Role, RoleError, Settings, ShardSpec, run, run_with};
