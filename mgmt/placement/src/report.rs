//! How even a table is, beside what integers allow.

use alloc::vec;
use alloc::vec::Vec;

use engine_types::NodeId;

use crate::caps::Peers;
use crate::search::Grid;
use crate::shape::{Shape, narrow};

/// The balance of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Chains of the table.
    pub chains: usize,
    /// Slots that carry a target.
    pub used: usize,
    /// Slots that carry none.
    pub unused: Unused,
    /// A disk fails: its busiest peer disk. Nothing if no chain has a second member, as below.
    pub disk_on_disk: Option<Spread>,
    /// A disk fails: the peer node whose disks together take most.
    pub disk_on_node: Option<Spread>,
    /// A node fails: its busiest peer disk.
    pub node_on_disk: Option<Spread>,
    /// A node fails: its busiest peer node.
    pub node_on_node: Option<Spread>,
    /// How often disks are heads.
    pub heads: Positions,
    /// How often disks are tails.
    pub tails: Positions,
}

/// Why slots are unused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unused {
    /// The domain has more slots than there are chains, and at most one member in each (E300).
    pub by_domain: usize,
    /// The rest: at most replicas - 1 in a fresh table, as the last chain would not be full; in an
    /// extended one also what new disks brought, since a plan moves targets and adds none.
    pub by_count: usize,
}

/// The worst of what can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The largest share of all.
    pub worst: Share,
    /// The share farthest above its own bound, as a quotient. The same where nodes are alike.
    pub farthest: Share,
}

/// What one peer takes of the reads of one failed disk or node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// What failed.
    pub node: NodeId,
    /// Its disk, or nothing for the node as a whole.
    pub disk: Option<u16>,
    /// Equal parts of its reads: the other members of all its chains.
    pub slots: u32,
    /// Disks or nodes outside of its failure domain.
    pub peers: u32,
    /// Parts that its busiest peer takes.
    pub parts: u32,
    /// Parts that the busiest peer takes at best: ceil(slots / peers).
    pub bound: u32,
}

impl Share {
    /// Of the reads of what failed: 0 to 1.
    pub fn share(&self) -> f64 {
        f64::from(self.parts) / f64::from(self.slots)
    }

    /// The bound of `share`.
    pub fn bound_share(&self) -> f64 {
        f64::from(self.bound) / f64::from(self.slots)
    }

    /// If `parts` is at most `percent` of the bound.
    pub fn is_within(&self, percent: u32) -> bool {
        u64::from(self.parts) * 100 <= u64::from(self.bound) * u64::from(percent)
    }
}

impl Spread {
    fn join(spread: &mut Option<Self>, share: Share) {
        let Some(spread) = spread else {
            *spread = Some(Self { worst: share, farthest: share });
            return;
        };
        let above = |a: (u32, u32), b: (u32, u32)| {
            u64::from(a.0) * u64::from(b.1) > u64::from(b.0) * u64::from(a.1)
        };
        let (worst, farthest) = (spread.worst, spread.farthest);
        if above((share.parts, share.slots), (worst.parts, worst.slots)) {
            spread.worst = share;
        }
        if above((share.parts, share.bound), (farthest.parts, farthest.bound)) {
            spread.farthest = share;
        }
    }
}

/// How often disks are at one position of their chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// The fewest times, of any disk that carries targets.
    pub min: u32,
    /// The most times.
    pub max: u32,
    /// The largest deviation beyond rounding from the disk's targets divided by replicas: 0 in
    /// every table made here (E306).
    pub imbalance: u32,
}

/// One kind of what fails, in turn the failed one.
struct Tally<'a> {
    grid: &'a Grid,
    shape: &'a Shape,
    disks: Vec<u32>,
    nodes: Vec<u32>,
}

impl Tally<'_> {
    /// Parts of the reads of the members at `seats`: all, most on a disk, most on a node.
    fn count(&mut self, seats: &[&[u32]]) -> [u32; 3] {
        let [mut slots, mut on_disk, mut on_node] = [0; 3];
        let others = |at: u32| {
            let grid = self.grid;
            let row = grid.row(at as usize).filter(move |&other| other != at as usize);
            row.map(|other| grid.members[other]).filter(|&disk| disk != ABSENT)
        };
        for disk in seats.iter().copied().flatten().flat_map(|&at| others(at)) {
            let node = self.shape.disks[disk as usize].node as usize;
            self.disks[disk as usize] += 1;
            self.nodes[node] += 1;
            slots += 1;
            on_disk = on_disk.max(self.disks[disk as usize]);
            on_node = on_node.max(self.nodes[node]);
        }
        for disk in seats.iter().copied().flatten().flat_map(|&at| others(at)) {
            self.disks[disk as usize] = 0;
            self.nodes[self.shape.disks[disk as usize].node as usize] = 0;
        }
        [slots, on_disk, on_node]
    }
}

/// A member whose disk is not in the topology any more.
pub(crate) const ABSENT: u32 = u32::MAX;

/// Seats of each disk, as positions in the grid.
pub(crate) fn seats_by_disk(shape: &Shape, grid: &Grid) -> Vec<Vec<u32>> {
    let mut seats = vec![Vec::new(); shape.disks.len()];
    for (at, &disk) in grid.members.iter().enumerate().filter(|&(_, &disk)| disk != ABSENT) {
        seats[disk as usize].push(narrow(at));
    }
    seats
}

/// Measures an arrangement.
pub(crate) fn report(shape: &Shape, grid: &Grid) -> Report {
    let seats = seats_by_disk(shape, grid);
    let peers = Peers::new(shape);
    let (disks, nodes) = (vec![0; shape.disks.len()], vec![0; shape.nodes.len()]);
    let mut tally = Tally { grid, shape, disks, nodes };
    let mut spreads = [None; 4];
    let mut note = |spread: usize, node: NodeId, disk, peers: usize, counts: [u32; 2]| {
        let [slots, parts] = counts;
        if slots != 0 {
            let peers = narrow(peers.max(1));
            let bound = slots.div_ceil(peers);
            let share = Share { node, disk, slots, peers, parts, bound };
            Spread::join(&mut spreads[spread], share);
        }
    };
    for node in &shape.nodes {
        let domain = node.domain as usize;
        let (on_disk, on_node) = (peers.disks[domain], peers.nodes[domain]);
        for at in node.disks.clone() {
            let [slots, d, n] = tally.count(&[&seats[at]]);
            let disk = Some(shape.disks[at].index);
            note(0, node.id, disk, on_disk, [slots, d]);
            note(1, node.id, disk, on_node, [slots, n]);
        }
        let all: Vec<_> = seats[node.disks.clone()].iter().map(Vec::as_slice).collect();
        let [slots, d, n] = tally.count(&all);
        note(2, node.id, None, on_disk, [slots, d]);
        note(3, node.id, None, on_node, [slots, n]);
    }
    let [disk_on_disk, disk_on_node, node_on_disk, node_on_node] = spreads;
    let used = seats.iter().map(Vec::len).sum();
    Report {
        chains: grid.chains(),
        used,
        unused: unused(shape, grid.chains(), used),
        disk_on_disk,
        disk_on_node,
        node_on_disk,
        node_on_node,
        heads: Positions::count(&seats, grid.replicas, 0),
        tails: Positions::count(&seats, grid.replicas, grid.replicas - 1),
    }
}

fn unused(shape: &Shape, chains: usize, used: usize) -> Unused {
    let surplus = |&slots: &u32| (slots as usize).saturating_sub(chains);
    let by_domain = shape.domain_slots.iter().map(surplus).sum::<usize>();
    // Seats in use fit into what domains can use, so this is no less than 0.
    Unused { by_domain, by_count: shape.slots().saturating_sub(by_domain + used) }
}

impl Positions {
    fn count(seats: &[Vec<u32>], replicas: usize, position: usize) -> Self {
        let mut this = Self { min: u32::MAX, max: 0, imbalance: 0 };
        for seats in seats.iter().filter(|seats| !seats.is_empty()) {
            let here = seats.iter().filter(|&&at| at as usize % replicas == position).count();
            let (low, high) = (seats.len() / replicas, seats.len().div_ceil(replicas));
            let beyond = here.saturating_sub(high).max(low.saturating_sub(here));
            let here = narrow(here);
            this.min = this.min.min(here);
            this.max = this.max.max(here);
            this.imbalance = this.imbalance.max(narrow(beyond));
        }
        this.min = this.min.min(this.max);
        this
    }
}

#[cfg(test)]
mod tests;
