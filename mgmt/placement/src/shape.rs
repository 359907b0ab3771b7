//! A topology in numbers: nodes, disks and failure domains are indices from 0.
//!
//! Nodes ascend by id and disks by (node, index), so that the order of the input has no effect
//! (E304). Disks without slots, and nodes without disks, are left out.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use engine_types::limits::{NODES_MAX, TARGETS_MAX};
use engine_types::{Map, NodeId, Rng};

use crate::limits::{DISKS_PER_NODE_MAX, TARGETS_PER_DISK_MAX};
use crate::topology::{Node, Topology, TopologyError};

/// The indexed form of a topology.
pub(crate) struct Shape {
    pub(crate) nodes: Vec<NodeShape>,
    pub(crate) disks: Vec<DiskShape>,
    /// Slots of each failure domain.
    pub(crate) domain_slots: Vec<u32>,
    /// The domain of every node that is in one with slots, also if it has none itself.
    pub(crate) domain_of: BTreeMap<NodeId, u32>,
}

pub(crate) struct NodeShape {
    pub(crate) id: NodeId,
    pub(crate) domain: u32,
    /// Its disks.
    pub(crate) disks: Range<usize>,
}

#[derive(Clone, Copy)]
pub(crate) struct DiskShape {
    pub(crate) node: u32,
    pub(crate) domain: u32,
    /// `Disk::index`.
    pub(crate) index: u16,
    pub(crate) targets: u32,
}

impl Shape {
    pub(crate) fn new(topology: &Topology) -> Result<Self, TopologyError> {
        let nodes = sorted(topology)?;
        let mut shape = Self {
            nodes: Vec::new(),
            disks: Vec::new(),
            domain_slots: Vec::new(),
            domain_of: BTreeMap::new(),
        };
        let mut domains = BTreeMap::new();
        for &node in &nodes {
            check_disks(node)?;
            if node.disks.iter().all(|disk| disk.targets == 0) {
                continue;
            }
            let fresh = narrow(shape.domain_slots.len());
            let domain = match &node.domain {
                Some(name) => *domains.entry(name.as_str()).or_insert(fresh),
                None => fresh,
            };
            if domain == fresh {
                shape.domain_slots.push(0);
            }
            shape.push(node, domain)?;
            shape.domain_of.insert(node.id, domain);
        }
        for node in nodes {
            if let Some(&domain) = node.domain.as_deref().and_then(|name| domains.get(name)) {
                shape.domain_of.insert(node.id, domain);
            }
        }
        Ok(shape)
    }

    fn push(&mut self, node: &Node, domain: u32) -> Result<(), TopologyError> {
        let first = self.disks.len();
        let index = narrow(self.nodes.len());
        for disk in node.disks.iter().filter(|disk| 0 < disk.targets) {
            let targets = u32::from(disk.targets);
            self.disks.push(DiskShape { node: index, domain, index: disk.index, targets });
            // No overflow: the sum over all domains is checked below after every node.
            self.domain_slots[domain as usize] += targets;
        }
        self.disks[first..].sort_unstable_by_key(|disk| disk.index);
        self.nodes.push(NodeShape { id: node.id, domain, disks: first..self.disks.len() });
        let found = self.slots();
        if TARGETS_MAX < found {
            return Err(TopologyError::TooManyTargets { found, limit: TARGETS_MAX });
        }
        Ok(())
    }

    /// Slots of all disks.
    pub(crate) fn slots(&self) -> usize {
        self.domain_slots.iter().map(|&slots| slots as usize).sum()
    }

    /// Where each (node, disk index) is.
    pub(crate) fn places(&self) -> Map<(NodeId, u16), u32> {
        let place = |(at, disk): (usize, &DiskShape)| {
            ((self.nodes[disk.node as usize].id, disk.index), narrow(at))
        };
        self.disks.iter().enumerate().map(place).collect()
    }
}

fn sorted(topology: &Topology) -> Result<Vec<&Node>, TopologyError> {
    let found = topology.nodes.len();
    if NODES_MAX < found {
        return Err(TopologyError::TooManyNodes { found, limit: NODES_MAX });
    }
    let mut nodes: Vec<_> = topology.nodes.iter().collect();
    nodes.sort_by_key(|node| node.id);
    match nodes.windows(2).find(|pair| pair[0].id == pair[1].id) {
        Some(pair) => Err(TopologyError::NodeTwice { node: pair[0].id }),
        None => Ok(nodes),
    }
}

fn check_disks(node: &Node) -> Result<(), TopologyError> {
    let found = node.disks.len();
    if DISKS_PER_NODE_MAX < found {
        let limit = DISKS_PER_NODE_MAX;
        return Err(TopologyError::TooManyDisks { node: node.id, found, limit });
    }
    let mut indices: Vec<_> = node.disks.iter().map(|disk| disk.index).collect();
    indices.sort_unstable();
    if let Some(pair) = indices.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(TopologyError::DiskTwice { node: node.id, disk: pair[0] });
    }
    match node.disks.iter().find(|disk| TARGETS_PER_DISK_MAX < disk.targets) {
        Some(disk) => Err(TopologyError::TooManyTargetsOfDisk {
            node: node.id,
            disk: disk.index,
            found: disk.targets,
            limit: TARGETS_PER_DISK_MAX,
        }),
        None => Ok(()),
    }
}

/// An index as 32 bits.
pub(crate) fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("limits keep every index below 2^32")
}

/// An index below `bound`.
pub(crate) fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a usize")
}
