//! How often each pair of disks and nodes meets in the chains of an arrangement, and its cost.
//!
//! The cost is the sum of squares of what each count has above its cap: 0 when the arrangement is
//! as even as integers allow, and lower for many small excesses than for one large one.

use alloc::vec;
use alloc::vec::Vec;

use engine_types::Map;

use crate::caps::Caps;
use crate::limits::DENSE_CELLS_MAX;
use crate::shape::Shape;

/// What an excess of two disks or two nodes weighs beside one of a disk and a node: who loses a
/// disk looks at disks, who loses a node at nodes.
const WEIGHT: i64 = 2;

/// Counts of pairs at three levels.
pub(crate) struct Balance {
    caps: Caps,
    node_of: Vec<u32>,
    /// Absent where the count of a disk with nodes implies it.
    disks: Option<Cells>,
    node_disk: Cells,
    nodes: Cells,
}

/// A count for each pair of numbers.
enum Cells {
    Dense { counts: Vec<u32>, width: usize },
    Sparse(Map<u64, u32>),
}

impl Cells {
    fn new(height: usize, width: usize) -> Self {
        if height * width <= DENSE_CELLS_MAX {
            Self::Dense { counts: vec![0; height * width], width }
        } else {
            Self::Sparse(Map::default())
        }
    }

    fn get(&self, a: u32, b: u32) -> u32 {
        match self {
            Self::Dense { counts, width } => counts[a as usize * width + b as usize],
            Self::Sparse(counts) => counts.get(&key(a, b)).copied().unwrap_or(0),
        }
    }

    fn at(&mut self, a: u32, b: u32) -> &mut u32 {
        match self {
            Self::Dense { counts, width } => &mut counts[a as usize * *width + b as usize],
            Self::Sparse(counts) => counts.entry(key(a, b)).or_insert(0),
        }
    }

    fn add(&mut self, a: u32, b: u32, cap: u32) -> i64 {
        let count = self.at(a, b);
        *count += 1;
        rise(*count - 1, cap)
    }

    fn remove(&mut self, a: u32, b: u32, cap: u32) -> i64 {
        let count = self.at(a, b);
        let was = *count;
        assert!(0 < was, "E307: a pair leaves once for each time it came");
        *count -= 1;
        if was == 1
            && let Self::Sparse(counts) = self
        {
            counts.remove(&key(a, b));
        }
        fall(was, cap)
    }
}

/// What one pair more costs.
fn rise(count: u32, cap: u32) -> i64 {
    // e^2 - (e - 1)^2, for an excess of e then.
    if cap <= count { 2 * i64::from(count - cap) + 1 } else { 0 }
}

/// What one pair less costs.
fn fall(count: u32, cap: u32) -> i64 {
    if cap < count { 1 - 2 * i64::from(count - cap) } else { 0 }
}

fn key(a: u32, b: u32) -> u64 {
    u64::from(a) << 32 | u64::from(b)
}

impl Balance {
    /// No pairs yet, of disks that are in `loads` chains each.
    pub(crate) fn new(shape: &Shape, loads: &[u32], replicas: usize) -> Self {
        let (disks, nodes) = (shape.disks.len(), shape.nodes.len());
        let caps = Caps::new(shape, loads, replicas);
        let implied = caps.disks_follow_nodes() && DENSE_CELLS_MAX < disks * disks;
        Self {
            caps,
            node_of: shape.disks.iter().map(|disk| disk.node).collect(),
            disks: (!implied).then(|| Cells::new(disks, disks)),
            node_disk: Cells::new(nodes, disks),
            nodes: Cells::new(nodes, nodes),
        }
    }

    /// Two disks meet in one more chain; how much that costs.
    pub(crate) fn add(&mut self, a: u32, b: u32) -> i64 {
        let (a, b) = (a.min(b), a.max(b));
        let (m, n) = (self.node_of[a as usize], self.node_of[b as usize]);
        let mut cost = WEIGHT * self.nodes.add(m, n, self.caps.nodes(m, n));
        cost += self.node_disk.add(m, b, self.caps.node_disk(m, b));
        cost += self.node_disk.add(n, a, self.caps.node_disk(n, a));
        if let Some(disks) = &mut self.disks {
            cost += WEIGHT * disks.add(a, b, self.caps.disks(a, b));
        }
        cost
    }

    /// Two disks meet in one chain less; what that costs, which is at most 0.
    pub(crate) fn remove(&mut self, a: u32, b: u32) -> i64 {
        let (a, b) = (a.min(b), a.max(b));
        let (m, n) = (self.node_of[a as usize], self.node_of[b as usize]);
        let mut cost = WEIGHT * self.nodes.remove(m, n, self.caps.nodes(m, n));
        cost += self.node_disk.remove(m, b, self.caps.node_disk(m, b));
        cost += self.node_disk.remove(n, a, self.caps.node_disk(n, a));
        if let Some(disks) = &mut self.disks {
            cost += WEIGHT * disks.remove(a, b, self.caps.disks(a, b));
        }
        cost
    }

    /// What `add` or `remove` would say.
    pub(crate) fn peek(&self, a: u32, b: u32, comes: bool) -> i64 {
        let (a, b) = (a.min(b), a.max(b));
        let (m, n) = (self.node_of[a as usize], self.node_of[b as usize]);
        let cost = |count: u32, cap: u32| if comes { rise(count, cap) } else { fall(count, cap) };
        let mut sum = WEIGHT * cost(self.nodes.get(m, n), self.caps.nodes(m, n));
        sum += cost(self.node_disk.get(m, b), self.caps.node_disk(m, b));
        sum += cost(self.node_disk.get(n, a), self.caps.node_disk(n, a));
        if let Some(disks) = &self.disks {
            sum += WEIGHT * cost(disks.get(a, b), self.caps.disks(a, b));
        }
        sum
    }

    /// If these two disks, or their nodes, meet more often than they should.
    pub(crate) fn exceeds(&self, a: u32, b: u32) -> bool {
        let (a, b) = (a.min(b), a.max(b));
        let (m, n) = (self.node_of[a as usize], self.node_of[b as usize]);
        self.caps.nodes(m, n) < self.nodes.get(m, n)
            || self.caps.node_disk(m, b) < self.node_disk.get(m, b)
            || self.caps.node_disk(n, a) < self.node_disk.get(n, a)
            || self.disks.as_ref().is_some_and(|d| self.caps.disks(a, b) < d.get(a, b))
    }
}
