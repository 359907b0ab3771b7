//! What the solver is given: nodes, their failure domains and disks.

use alloc::string::String;
use alloc::vec::Vec;

use engine_types::NodeId;

/// The nodes that may carry targets. Their order does not matter (E304).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Each node once.
    pub nodes: Vec<Node>,
}

/// A machine, which fails as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name for life.
    pub id: NodeId,
    /// What fails together with it (a rack, a power feed); nothing: the node is a domain of its
    /// own. At most one member of a chain is placed in a domain (E300).
    pub domain: Option<String>,
    /// Each disk once.
    pub disks: Vec<Disk>,
}

/// What fails as one device below a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Names the disk within its node for life; a number is not given to a later disk.
    pub index: u16,
    /// Slots for targets, at most `TARGETS_PER_DISK_MAX`; 0 empties the disk.
    pub targets: u16,
}

/// Why a topology is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// More nodes than a cluster has.
    #[error("{found} nodes, at most {limit} are possible")]
    TooManyNodes {
        /// Nodes given.
        found: usize,
        /// `NODES_MAX`.
        limit: usize,
    },
    /// A node is listed again.
    #[error("{node} is listed twice")]
    NodeTwice {
        /// Which.
        node: NodeId,
    },
    /// More disks than a node has.
    #[error("{node} has {found} disks, at most {limit} are possible")]
    TooManyDisks {
        /// Where.
        node: NodeId,
        /// Disks given.
        found: usize,
        /// `DISKS_PER_NODE_MAX`.
        limit: usize,
    },
    /// A disk is listed again.
    #[error("{node} lists disk {disk} twice")]
    DiskTwice {
        /// Where.
        node: NodeId,
        /// Its index.
        disk: u16,
    },
    /// More targets than a disk carries.
    #[error("disk {disk} of {node} has {found} targets, at most {limit} are possible")]
    TooManyTargetsOfDisk {
        /// Where.
        node: NodeId,
        /// Its index.
        disk: u16,
        /// Targets given.
        found: u16,
        /// `TARGETS_PER_DISK_MAX`.
        limit: u16,
    },
    /// More targets than a cluster has.
    #[error("{found} targets, at most {limit} are possible")]
    TooManyTargets {
        /// Of all disks.
        found: usize,
        /// `TARGETS_MAX`.
        limit: usize,
    },
}

impl Topology {
    /// `nodes` nodes, numbered from 1 and each a failure domain, with `disks` disks of `targets`.
    pub fn uniform(nodes: u32, disks: u16, targets: u16) -> Self {
        let disks: Vec<_> = (0..disks).map(|index| Disk { index, targets }).collect();
        let node = |id| Node { id: NodeId::new(id), domain: None, disks: disks.clone() };
        Self { nodes: (1..=nodes).map(node).collect() }
    }
}
