//! An independent check of a table: written for being obvious, it shares no code with the solver.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use engine_types::limits::CHAIN_MEMBERS_MAX;
use engine_types::{ChainId, NodeId, TargetId};

use crate::table::Table;
use crate::topology::Topology;

/// Why a table must not be installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A table of chains without members, or of longer ones than the system has.
    #[error("{found} replicas, 1 to {limit} are possible")]
    Replicas {
        /// Of the table.
        found: usize,
        /// `CHAIN_MEMBERS_MAX`.
        limit: usize,
    },
    /// E303.
    #[error("E303: {chain} occurs twice")]
    ChainTwice {
        /// Which.
        chain: ChainId,
    },
    /// E301.
    #[error("E301: {chain} has {found} members, {expected} are expected")]
    Members {
        /// Which.
        chain: ChainId,
        /// Its members.
        found: usize,
        /// Replicas of the table.
        expected: usize,
    },
    /// A member is on a disk that is not there.
    #[error("{chain} is on disk {disk} of {node}, which the topology does not have")]
    NoSuchDisk {
        /// Which.
        chain: ChainId,
        /// Machine named.
        node: NodeId,
        /// Disk named.
        disk: u16,
    },
    /// E302: the number is too high.
    #[error("E302: {chain} is on slot {slot} of disk {disk} of {node}, which has {targets}")]
    NoSuchSlot {
        /// Which.
        chain: ChainId,
        /// Where.
        node: NodeId,
        /// Its disk.
        disk: u16,
        /// The slot named.
        slot: u16,
        /// Slots there are.
        targets: u16,
    },
    /// E302: two targets share a place.
    #[error("E302: {target} belongs to {first} and {second}")]
    SlotTwice {
        /// Which.
        target: TargetId,
        /// Named first.
        first: ChainId,
        /// Named again.
        second: ChainId,
    },
    /// E300.
    #[error("E300: {chain} has members on {first} and {second}, which fail together")]
    DomainTwice {
        /// Which.
        chain: ChainId,
        /// One member's machine.
        first: NodeId,
        /// The other's, perhaps the same.
        second: NodeId,
    },
}

/// Checks a table against the topology it is for (E300 to E303).
///
/// # Errors
/// The first contradiction found.
pub fn verify(topology: &Topology, table: &Table) -> Result<(), VerifyError> {
    let (found, limit) = (table.replicas, CHAIN_MEMBERS_MAX);
    if found < 1 || limit < found {
        return Err(VerifyError::Replicas { found, limit });
    }
    let mut targets: BTreeMap<(NodeId, u16), u16> = BTreeMap::new();
    let mut domains: BTreeMap<NodeId, Option<&String>> = BTreeMap::new();
    for node in &topology.nodes {
        domains.insert(node.id, node.domain.as_ref());
        for disk in &node.disks {
            targets.insert((node.id, disk.index), disk.targets);
        }
    }
    let mut chains: BTreeSet<ChainId> = BTreeSet::new();
    let mut slots: BTreeMap<TargetId, ChainId> = BTreeMap::new();
    for entry in &table.chains {
        let chain = entry.id;
        if !chains.insert(chain) {
            return Err(VerifyError::ChainTwice { chain });
        }
        let (found, expected) = (entry.members.len(), table.replicas);
        if found != expected {
            return Err(VerifyError::Members { chain, found, expected });
        }
        for (at, seat) in entry.members.iter().enumerate() {
            let (node, disk, slot) = (seat.node, seat.disk, seat.slot);
            let Some(&targets) = targets.get(&(node, disk)) else {
                return Err(VerifyError::NoSuchDisk { chain, node, disk });
            };
            if targets <= slot {
                return Err(VerifyError::NoSuchSlot { chain, node, disk, slot, targets });
            }
            let target = seat.target();
            if let Some(first) = slots.insert(target, chain) {
                return Err(VerifyError::SlotTwice { target, first, second: chain });
            }
            for other in &entry.members[..at] {
                let (a, b) = (domains[&other.node], domains[&node]);
                if other.node == node || a.is_some() && a == b {
                    let first = other.node;
                    return Err(VerifyError::DomainTwice { chain, first, second: node });
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
