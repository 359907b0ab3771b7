//! The cluster manager as a pure machine: heartbeats, leases and target states become routing info.
//!
//! `Cluster` is what the primary manager keeps in memory. Records come from the KV, events come
//! from nodes and operators with the time of the manager's clock, and what must be written comes
//! out as one `Change`; the manager writes it in one transaction and says `committed`. Nothing here
//! reads a clock, sends or stores.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod chain;
pub mod cluster;
pub mod command;
pub mod delta;
pub mod explain;
pub mod heartbeat;
mod publish;
pub mod record;
pub mod registry;
pub mod restore;
pub mod rules;
mod slots;
#[cfg(test)]
mod testing;

pub mod config;
pub mod fields;
pub mod lease;
pub mod session;
pub mod standby;
pub mod tags;
pub mod words;
