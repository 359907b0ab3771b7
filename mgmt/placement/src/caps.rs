//! How often a pair of disks or nodes should meet at most: what the searches aim at.

use alloc::vec;
use alloc::vec::Vec;

use crate::shape::Shape;

/// Aims of one arrangement.
pub(crate) struct Caps {
    disks: Vec<Side>,
    nodes: Vec<Side>,
    /// Slots of reads outside of each domain.
    outside: Vec<u64>,
}

/// One disk or node, as what fails.
#[derive(Clone, Copy)]
struct Side {
    domain: u32,
    /// Parts of its reads.
    slots: u64,
    /// ceil(slots / peers), for disks and for nodes as peers.
    on_disk: u64,
    on_node: u64,
}

impl Caps {
    /// For disks that are in `loads` chains each.
    pub(crate) fn new(shape: &Shape, loads: &[u32], replicas: usize) -> Self {
        let peers = Peers::new(shape);
        let parts = replicas as u64 - 1;
        let slots: Vec<_> = loads.iter().map(|&load| u64::from(load) * parts).collect();
        let mut outside = vec![slots.iter().sum::<u64>(); shape.domain_slots.len()];
        for (disk, slots) in shape.disks.iter().zip(&slots) {
            outside[disk.domain as usize] -= slots;
        }
        let side = |domain: u32, slots: u64| Side {
            domain,
            slots,
            on_disk: slots.div_ceil((peers.disks[domain as usize] as u64).max(1)),
            on_node: slots.div_ceil((peers.nodes[domain as usize] as u64).max(1)),
        };
        let disks = shape.disks.iter().zip(&slots).map(|(disk, &slots)| side(disk.domain, slots));
        let node_slots =
            shape.nodes.iter().map(|node| (node.domain, slots[node.disks.clone()].iter().sum()));
        Self {
            disks: disks.collect(),
            nodes: node_slots.map(|(domain, slots)| side(domain, slots)).collect(),
            outside,
        }
    }

    /// Chains that two disks should share.
    pub(crate) fn disks(&self, a: u32, b: u32) -> u32 {
        let (a, b) = (self.disks[a as usize], self.disks[b as usize]);
        self.cap(a, b, a.on_disk.min(b.on_disk))
    }

    /// Chains that a node and a disk elsewhere should share.
    pub(crate) fn node_disk(&self, node: u32, disk: u32) -> u32 {
        let (node, disk) = (self.nodes[node as usize], self.disks[disk as usize]);
        self.cap(node, disk, node.on_disk.min(disk.on_node))
    }

    /// Chains that two nodes should share.
    pub(crate) fn nodes(&self, a: u32, b: u32) -> u32 {
        let (a, b) = (self.nodes[a as usize], self.nodes[b as usize]);
        self.cap(a, b, a.on_node.min(b.on_node))
    }

    /// If no disk meets a node twice: then no two disks meet twice either.
    pub(crate) fn disks_follow_nodes(&self) -> bool {
        self.disks.iter().all(|side| side.on_node <= 1)
    }

    /// Between unequal sides the proportional part, which no peer can be much below: a large one
    /// has to put its reads somewhere. A twentieth is left off, because the slots that division
    /// leaves unused would otherwise raise an exact part to the next integer.
    fn cap(&self, a: Side, b: Side, least: u64) -> u32 {
        let outside = self.outside[a.domain as usize].min(self.outside[b.domain as usize]).max(1);
        let part = (a.slots * b.slots * 95).div_ceil(outside * 100);
        u32::try_from(part.max(least)).unwrap_or(u32::MAX)
    }
}

/// Disks and nodes outside of each failure domain.
pub(crate) struct Peers {
    pub(crate) disks: Vec<usize>,
    pub(crate) nodes: Vec<usize>,
}

impl Peers {
    pub(crate) fn new(shape: &Shape) -> Self {
        let mut disks = vec![shape.disks.len(); shape.domain_slots.len()];
        let mut nodes = vec![shape.nodes.len(); shape.domain_slots.len()];
        for node in &shape.nodes {
            disks[node.domain as usize] -= node.disks.len();
            nodes[node.domain as usize] -= 1;
        }
        Self { disks, nodes }
    }
}
