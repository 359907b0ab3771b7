//! Chain-table solver: nodes, disks and a seed become a chain table whose reads survive the loss of
//! any disk or node with the load spread as evenly as integers allow.
//!
//! Owner: the cluster manager, which runs [`verify`] before it installs a table and executes a
//! [`Plan`] step by step. Nothing here has a clock, a file or state between calls.
//!
//! The measure. A chain of r replicas serves reads from all of them, so a lost member's reads fall
//! on the r - 1 others in equal parts. A disk with t targets has `slots` = t (r - 1) such parts;
//! the share of a peer is the number of them it receives, which is the number of chains both are
//! in, divided by `slots`. No table can stay below ceil(slots / peers) / slots, and a table is
//! good when it is not above. The same holds for nodes, whose parts are those of all their disks.
//! For 2-replicated pairs this is a regular graph, for lambda chains per pair of disks a balanced
//! incomplete block design (BIBD); designs do not exist for all numbers, near ones always do.
//!
//! ```text
//!   topology --> chain count --> quota of each disk --+--> difference family (nodes alike) --+
//!   seed                                              +--> random start (nodes differ) ------+
//!                                                                                            |
//!   table <-- slots, ids <-- order in each chain (edge colouring) <-- exchanges of members <-+
//! ```
//!
//! Invariants
//!   E300  no two members of a chain are in one failure domain, in no table and after no step
//!   E301  every chain has as many members as the table has replicas
//!   E302  a slot of a disk carries at most one target, and its number is below the disk's targets
//!   E303  each chain and each target id occurs once in a table
//!   E304  the same topology (nodes in any order), replica count and seed give the same table
//!   E305  quotas add up to chains times replicas; none is above its disk's slots, and those of a
//!         failure domain are not above the number of chains
//!   E306  every disk is at each position of its chains equally often, up to one
//!   E307  counts kept during a search are those of the arrangement (`Search::audit`)
//!   E308  a step of a plan moves one member of one chain to a slot that is free at that time
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod caps;
mod counts;
mod cyclic;
mod extend;
mod limits;
mod order;
mod quota;
mod report;
mod search;
mod shape;
mod solve;
mod table;
mod topology;
mod verify;

pub use extend::{ExtendError, Move, Plan, extend};
pub use limits::{DISKS_PER_NODE_MAX, TARGETS_PER_DISK_MAX};
pub use report::{Positions, Report, Share, Spread, Unused};
pub use solve::{Solution, SolveError, solve};
pub use table::{Chain, Seat, Table};
pub use topology::{Disk, Node, Topology, TopologyError};
pub use verify::{VerifyError, verify};

#[cfg(test)]
mod tests;
