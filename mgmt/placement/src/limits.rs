//! Limits of the solver, with the reason for each number.
//!
//! Nodes, chains, targets and members of a chain are limited in `engine_types::limits`.

/// Disks of one node: ten times the largest enclosures in use (102 drives).
pub const DISKS_PER_NODE_MAX: usize = 1_024;
/// Targets of one disk: 3FS uses 6 to 32; every target is a store's slot with its own resync, and
/// more than this spreads nothing further even over the largest cluster.
pub const TARGETS_PER_DISK_MAX: u16 = 4_096;

/// Pair counts are kept in an array up to this many cells, which is 64 MiB and holds 1,000 nodes of
/// 16 disks; above it in a map, whose size follows the pairs that occur.
pub(crate) const DENSE_CELLS_MAX: usize = 1 << 24;
/// Exchanges tried for each chain of one search: tables of up to 100 chains settle within it.
pub(crate) const TRIES_PER_CHAIN: u64 = 400;
/// Exchanges tried at least: tiny tables need luck more than time, and this takes milliseconds.
pub(crate) const TRIES_MIN: u64 = 20_000;
/// Exchanges tried at most: 8 s in the largest tables, whose counts do not fit into a cache. A
/// table that cannot reach its bound stops here.
pub(crate) const TRIES_MAX: u64 = 4_000_000;
/// Independent searches for a table that misses its bound; most that reach it do so in the first.
pub(crate) const RESTARTS_MAX: u64 = 4;
/// Tables above this many chains are searched once: a second search would find what the first did.
pub(crate) const RESTART_CHAINS_MAX: usize = 2_000;
/// Changes tried for each member of a family of base blocks.
pub(crate) const FAMILY_TRIES_PER_MEMBER: u64 = 2_000;
/// Changes tried for a family at most: under a second.
pub(crate) const FAMILY_TRIES_MAX: u64 = 1_000_000;
/// Moves a plan may spend on balance, in percent of those that quotas demand. A sixth node takes a
/// sixth of all targets; the plan is meant to stay within 1.2 of that, quotas round up by less
/// than the rest.
pub(crate) const EXTRA_MOVES_PERCENT: u64 = 15;
/// Places compared for each target that has to move: twice as many improve a plan no further than
/// the exchanges that follow.
pub(crate) const CANDIDATES: usize = 16;
/// Exchanges tried for each move of a plan.
pub(crate) const TRIES_PER_MOVE: u64 = 1_000;
