//! Tables of clusters whose nodes are alike: a cyclic difference family.
//!
//! Number the n nodes by residues modulo n. A base block of residues {x, y, z}, shifted by each
//! residue in turn, makes n chains in which every node has the same part. Two nodes at distance d
//! meet once for each ordered pair of members in a base block whose difference is d, so even
//! counts for all pairs of nodes need even counts of n - 1 differences only (Bose, 1939: difference
//! families). Each member also names one of the m disks of a node, the same one under every shift,
//! and the same argument holds for differences with a given disk at one end or at both.
//!
//! So the search works on one chain of each n, and what it finds is exact for all of them. Nodes
//! of one failure domain have equal residues modulo the number of domains: differences divisible
//! by it do not occur (E300).

use alloc::vec;
use alloc::vec::Vec;

use engine_types::Rng;

use crate::caps::Caps;
use crate::limits::{DENSE_CELLS_MAX, FAMILY_TRIES_MAX, FAMILY_TRIES_PER_MEMBER};
use crate::search::Heat;
use crate::shape::{Shape, below, narrow};

/// Base blocks, `replicas` members in a row for each.
struct Family {
    replicas: usize,
    nodes: usize,
    domains: usize,
    /// Disks of a node.
    classes: usize,
    /// Residue and disk of each member.
    offsets: Vec<u32>,
    labels: Vec<u32>,
    /// Counts of differences: of nodes, of (disk, node), of (disk, disk).
    levels: [Level; 3],
    cost: i64,
}

/// Counts at one level, a cell for each combination of disks and difference.
struct Level {
    counts: Vec<u32>,
    /// By combination of disks.
    caps: Vec<u32>,
}

/// Chains of a family, and what they leave over.
pub(crate) struct Start {
    /// Members of whole chains, disks in a row.
    pub(crate) members: Vec<u32>,
    /// Slots that no base block covers, by disk.
    pub(crate) rest: Vec<u32>,
    /// Slots used in the end, by disk.
    pub(crate) loads: Vec<u32>,
}

/// Nothing unless all nodes have the same disks and all failure domains equally many nodes.
pub(crate) fn start(shape: &Shape, replicas: usize, rng: &mut Rng) -> Option<Start> {
    let order = residues(shape)?;
    let first = &shape.disks[shape.nodes[0].disks.clone()];
    let mut counts: Vec<_> = first.iter().map(|disk| disk.targets).collect();
    let per_node = counts.iter().map(|&count| count as usize).sum::<usize>();
    let mut loads: Vec<_> = shape.disks.iter().map(|disk| disk.targets).collect();
    let mut rest = vec![0; shape.disks.len()];
    let mut dropped = 0;
    for _ in 0..per_node % replicas {
        let most = (0..counts.len()).max_by_key(|&class| counts[class]);
        dropped = most.expect("a node has disks");
        counts[dropped] -= 1;
        for node in &shape.nodes {
            rest[node.disks.start + dropped] += 1;
        }
    }
    let unused = shape.nodes.len() * (per_node % replicas) % replicas;
    for node in shape.nodes.iter().rev().take(unused) {
        rest[node.disks.start + dropped] -= 1;
        loads[node.disks.start + dropped] -= 1;
    }
    let mut family = Family::new(shape, replicas, &order, &counts, &loads, rng);
    family.run(rng);
    Some(Start { members: family.chains(shape, &order), rest, loads })
}

/// The nodes by residue, domains in turn; nothing if they are not alike.
fn residues(shape: &Shape) -> Option<Vec<usize>> {
    let domains = shape.domain_slots.len();
    let first = &shape.disks[shape.nodes.first()?.disks.clone()];
    let mut members = vec![Vec::new(); domains];
    for (at, node) in shape.nodes.iter().enumerate() {
        let disks = &shape.disks[node.disks.clone()];
        if disks.iter().map(|disk| disk.targets).ne(first.iter().map(|disk| disk.targets)) {
            return None;
        }
        members[node.domain as usize].push(at);
    }
    let size = members[0].len();
    if members.iter().any(|nodes| nodes.len() != size) {
        return None;
    }
    Some((0..size).flat_map(|turn| members.iter().map(move |nodes| nodes[turn])).collect())
}

impl Family {
    fn new(
        shape: &Shape,
        replicas: usize,
        order: &[usize],
        counts: &[u32],
        loads: &[u32],
        rng: &mut Rng,
    ) -> Self {
        let (nodes, classes) = (order.len(), counts.len());
        let mut labels = Vec::new();
        for (class, &count) in counts.iter().enumerate() {
            labels.extend((0..count).map(|_| narrow(class)));
        }
        rng.shuffle(&mut labels);
        let domains = shape.domain_slots.len();
        let mut this = Self {
            replicas,
            nodes,
            domains,
            classes,
            offsets: (0..labels.len()).map(|at| narrow(at % replicas)).collect(),
            labels,
            levels: levels(shape, replicas, order, loads),
            cost: 0,
        };
        for at in 0..this.offsets.len() {
            if let Some(offset) = this.free_offset(at, rng) {
                this.offsets[at] = offset;
            }
        }
        for p in 0..this.offsets.len() {
            for q in p + 1..this.row(p).end {
                this.cost += this.count(p, q, true);
            }
        }
        assert!(classes <= shape.disks.len() && replicas <= domains, "E300: enough domains");
        this
    }

    fn row(&self, at: usize) -> core::ops::Range<usize> {
        let start = at - at % self.replicas;
        start..start + self.replicas
    }

    /// A random residue outside of the domains of the other members of the block, if one is found.
    fn free_offset(&self, at: usize, rng: &mut Rng) -> Option<u32> {
        let offset = below(rng, self.nodes);
        let domain = |offset: usize| offset % self.domains;
        let is_free = self
            .row(at)
            .all(|other| other == at || domain(self.offsets[other] as usize) != domain(offset));
        is_free.then(|| narrow(offset))
    }

    /// Both directions of a pair: the cells of each, by level.
    fn cells(&self, p: usize, q: usize) -> [(usize, [usize; 3]); 2] {
        [(p, q), (q, p)].map(|(p, q)| {
            let difference = self.offsets[q] as usize + self.nodes - self.offsets[p] as usize;
            let (a, b) = (self.labels[p] as usize, self.labels[q] as usize);
            (difference % self.nodes, [0, a, a * self.classes + b])
        })
    }

    /// A pair of members of one block comes or goes; what that costs.
    fn count(&mut self, p: usize, q: usize, comes: bool) -> i64 {
        let mut cost = 0;
        for (difference, combinations) in self.cells(p, q) {
            for (level, combination) in self.levels.iter_mut().zip(combinations) {
                if level.counts.is_empty() {
                    continue;
                }
                let count = &mut level.counts[combination * self.nodes + difference];
                let cap = level.caps[combination];
                if comes {
                    *count += 1;
                }
                let excess = i64::from(*count) - i64::from(cap);
                if 0 < excess {
                    cost += if comes { 2 * excess - 1 } else { 1 - 2 * excess };
                }
                if !comes {
                    *count -= 1;
                }
            }
        }
        cost
    }

    /// The pairs of a member come or go.
    fn count_member(&mut self, at: usize, comes: bool) -> i64 {
        let row = self.row(at);
        row.filter(|&other| other != at).map(|other| self.count(at, other, comes)).sum()
    }

    fn exceeds(&self, at: usize) -> bool {
        self.row(at).filter(|&other| other != at).any(|other| {
            self.cells(at, other).iter().any(|&(difference, combinations)| {
                self.levels.iter().zip(combinations).any(|(level, combination)| {
                    let cell = combination * self.nodes + difference;
                    level.counts.get(cell).is_some_and(|&n| level.caps[combination] < n)
                })
            })
        })
    }

    fn move_member(&mut self, at: usize, offset: u32) -> i64 {
        let mut cost = self.count_member(at, false);
        self.offsets[at] = offset;
        cost += self.count_member(at, true);
        self.cost += cost;
        cost
    }

    fn exchange_labels(&mut self, p: usize, q: usize) -> i64 {
        // One after the other: if both are in one block, their pair is counted once each time.
        let (a, b) = (self.labels[p], self.labels[q]);
        let mut cost = 0;
        for (at, label) in [(p, b), (q, a)] {
            cost += self.count_member(at, false);
            self.labels[at] = label;
            cost += self.count_member(at, true);
        }
        self.cost += cost;
        cost
    }

    /// Improves the family; the best one found stays.
    fn run(&mut self, rng: &mut Rng) {
        let members = self.offsets.len();
        let tries = (members as u64 * FAMILY_TRIES_PER_MEMBER).min(FAMILY_TRIES_MAX);
        let heat = Heat(HEAT);
        let mut used = 0;
        let mut best = (self.cost, self.offsets.clone(), self.labels.clone());
        let mut hot: Vec<usize> = Vec::new();
        while 0 < self.cost && used < tries {
            hot.clear();
            hot.extend((0..members).filter(|&at| self.exceeds(at)));
            rng.shuffle(&mut hot);
            for &at in &hot {
                used += 1;
                if self.exceeds(at) {
                    self.step(at, heat.left(used, tries), rng);
                }
            }
            if self.cost < best.0 {
                best = (self.cost, self.offsets.clone(), self.labels.clone());
            }
        }
        (self.cost, self.offsets, self.labels) = best;
    }

    /// Tries one change of a member.
    fn step(&mut self, at: usize, heat: Heat, rng: &mut Rng) {
        if 1 < self.classes && rng.chance(500) {
            let other = below(rng, self.labels.len());
            if self.labels[at] != self.labels[other] {
                let cost = self.exchange_labels(at, other);
                if !heat.accepts(cost, rng) {
                    self.exchange_labels(at, other);
                }
            }
        } else if let Some(offset) = self.free_offset(at, rng) {
            let old = self.offsets[at];
            let cost = self.move_member(at, offset);
            if !heat.accepts(cost, rng) {
                self.move_member(at, old);
            }
        }
    }

    /// All shifts of all blocks, as disks.
    fn chains(&self, shape: &Shape, order: &[usize]) -> Vec<u32> {
        let mut members = Vec::with_capacity(self.offsets.len() * self.nodes);
        for block in 0..self.offsets.len() / self.replicas {
            for shift in 0..self.nodes {
                for at in self.row(block * self.replicas) {
                    let residue = (self.offsets[at] as usize + shift) % self.nodes;
                    let first = shape.nodes[order[residue]].disks.start;
                    members.push(narrow(first) + self.labels[at]);
                }
            }
        }
        members
    }
}

/// Chance of going uphill by 1 at the start, in permille: found by trying 100 to 500 on the
/// clusters of the tests.
const HEAT: u32 = 200;

/// Empty counts with the caps of nodes in different domains, which are alike for all of them. The
/// last level has no counts where the one before implies it.
fn levels(shape: &Shape, replicas: usize, order: &[usize], loads: &[u32]) -> [Level; 3] {
    let caps = Caps::new(shape, loads, replicas);
    // Neighbours in the order are of different domains; without a second node there are no pairs.
    let (a, b) = (order[0], order[order.len().min(2) - 1]);
    let (first, second) = (shape.nodes[a].disks.clone(), shape.nodes[b].disks.clone());
    let (classes, nodes) = (first.len(), order.len());
    let level = |caps: Vec<u32>| Level { counts: vec![0; caps.len() * nodes], caps };
    let node_caps = vec![caps.nodes(narrow(a), narrow(b))];
    let disk_caps = first.clone().map(|disk| caps.node_disk(narrow(b), narrow(disk))).collect();
    let mut pairs = Vec::new();
    if !caps.disks_follow_nodes() && classes * classes * nodes <= DENSE_CELLS_MAX {
        for x in first {
            pairs.extend(second.clone().map(|y| caps.disks(narrow(x), narrow(y))));
        }
    }
    [level(node_caps), level(disk_caps), level(pairs)]
}
