//! Exchanges members between chains until every pair of disks and nodes meets as often as it
//! should, or the tries are used up.
//!
//! Simulated annealing (Kirkpatrick, Gelatt, Vecchi, 1983) on chains that hold a pair with an
//! excess: small designs need a few steps uphill, large tables are improved downhill only. Every
//! exchange keeps the load of each disk and one member per failure domain (E300), so the search may
//! stop at any time.

use alloc::vec::Vec;

use engine_types::Rng;

use crate::counts::Balance;
use crate::limits::RESTART_CHAINS_MAX;
use crate::report::ABSENT;
use crate::shape::{Shape, below};

/// Disks of all chains, `replicas` in a row for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) replicas: usize,
    /// `ABSENT` where the disk has left the topology.
    pub(crate) members: Vec<u32>,
}

impl Grid {
    pub(crate) fn chains(&self) -> usize {
        self.members.len() / self.replicas
    }

    /// Where the chain of the member at `at` lies.
    pub(crate) fn row(&self, at: usize) -> core::ops::Range<usize> {
        let start = at - at % self.replicas;
        start..start + self.replicas
    }

    /// If `disk` may take the place of the member at `at`, as far as the others are concerned.
    pub(crate) fn admits(&self, shape: &Shape, at: usize, disk: u32) -> bool {
        let domain = shape.disks[disk as usize].domain;
        self.row(at).all(|other| {
            let member = self.members[other];
            other == at || member == ABSENT || shape.disks[member as usize].domain != domain
        })
    }

    /// If two members may exchange their chains (E300).
    pub(crate) fn exchangeable(&self, shape: &Shape, p: usize, q: usize) -> bool {
        let (x, y) = (self.members[p], self.members[q]);
        x != y && self.row(p) != self.row(q) && self.admits(shape, p, y) && self.admits(shape, q, x)
    }
}

/// An arrangement under improvement.
pub(crate) struct Search<'a> {
    pub(crate) shape: &'a Shape,
    pub(crate) grid: Grid,
    balance: Balance,
    /// Of all counts together.
    pub(crate) cost: i64,
}

/// How willingly a search goes uphill at its start: the chance, in permille, of accepting a step
/// that costs 1. It falls to 0 as the tries are used up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heat(pub(crate) u32);

/// Exchanges tried for a chain before the next one has its turn.
const TRIES_PER_TURN: u64 = 8;

impl<'a> Search<'a> {
    pub(crate) fn new(shape: &'a Shape, grid: Grid, loads: &[u32]) -> Self {
        let mut balance = Balance::new(shape, loads, grid.replicas);
        let mut cost = 0;
        for chain in grid.members.chunks(grid.replicas) {
            for (at, &a) in chain.iter().enumerate() {
                for &b in chain[..at].iter().filter(|&&b| a != ABSENT && b != ABSENT) {
                    cost += balance.add(a, b);
                }
            }
        }
        Self { shape, grid, balance, cost }
    }

    /// Puts `disk` where another member was; what that costs.
    pub(crate) fn replace(&mut self, at: usize, disk: u32) -> i64 {
        let mut cost = 0;
        let old = core::mem::replace(&mut self.grid.members[at], disk);
        for other in self.grid.row(at).filter(|&other| other != at) {
            let other = self.grid.members[other];
            if old != ABSENT && other != ABSENT {
                cost += self.balance.remove(old, other);
            }
            if disk != ABSENT && other != ABSENT {
                cost += self.balance.add(disk, other);
            }
        }
        self.cost += cost;
        cost
    }

    /// Two members exchange their chains; what that costs.
    pub(crate) fn exchange(&mut self, p: usize, q: usize) -> i64 {
        let (x, y) = (self.grid.members[p], self.grid.members[q]);
        self.replace(p, y) + self.replace(q, x)
    }

    /// What an exchange would cost if its pairs had no counts in common, as is the rule in large
    /// tables. Looking takes a quarter of the time of doing and undoing.
    fn estimate(&self, p: usize, q: usize) -> i64 {
        let members = &self.grid.members;
        let of = |at: usize, new: u32| -> i64 {
            let others = self.grid.row(at).filter(|&other| other != at);
            let cost = |other: usize| {
                self.balance.peek(members[at], members[other], false)
                    + self.balance.peek(new, members[other], true)
            };
            others.map(cost).sum()
        };
        of(p, members[q]) + of(q, members[p])
    }

    /// A member of the chain at `row` that meets another one too often.
    fn excess_member(&self, row: usize, rng: &mut Rng) -> Option<usize> {
        let replicas = self.grid.replicas;
        let chain = &self.grid.members[row * replicas..][..replicas];
        let start = below(rng, replicas);
        let exceeds = |&at: &usize| {
            (0..replicas).any(|other| other != at && self.balance.exceeds(chain[at], chain[other]))
        };
        let mut turns = (0..replicas).map(|step| (start + step) % replicas);
        turns.find(exceeds).map(|at| row * replicas + at)
    }

    /// If the chain at `row` holds a pair that meets too often.
    pub(crate) fn exceeds(&self, row: usize) -> bool {
        let chain = &self.grid.members[row * self.grid.replicas..][..self.grid.replicas];
        let meets =
            |(at, &a): (usize, &u32)| chain[..at].iter().any(|&b| self.balance.exceeds(a, b));
        chain.iter().enumerate().any(meets)
    }

    /// Improves the chains from `first` on; the best arrangement found stays.
    pub(crate) fn run(&mut self, rng: &mut Rng, first: usize, tries: u64, heat: Heat) {
        let mut used = 0;
        let mut best = (self.cost, self.grid.members.clone());
        let mut since_best = 0;
        let mut hot: Vec<usize> = Vec::new();
        while 0 < self.cost && used < tries && since_best < tries / 3 + 1 {
            let whole = hot.is_empty();
            if whole {
                hot.extend(first..self.grid.chains());
            }
            hot.retain(|&row| self.excess_member(row, rng).is_some());
            if hot.is_empty() && whole {
                break; // what remains is between chains before `first`
            }
            rng.shuffle(&mut hot);
            let before = used;
            for at in 0..hot.len() {
                if used < tries {
                    let (tried, other) = self.turn(hot[at], first, rng, heat.left(used, tries));
                    used += tried;
                    hot.extend(other);
                }
            }
            // An exchange makes excesses in its two chains only: others are looked at when these
            // are settled.
            hot.sort_unstable();
            hot.dedup();
            since_best += used - before;
            if self.cost < best.0 {
                since_best = 0;
                best = (self.cost, self.grid.members.clone());
            }
        }
        if best.0 < self.cost {
            self.restore(&best.1);
        }
    }

    /// Tries exchanges for one chain until one improves it. How many were tried, and the chain that
    /// was changed beside it.
    fn turn(
        &mut self,
        row: usize,
        first: usize,
        rng: &mut Rng,
        heat: Heat,
    ) -> (u64, Option<usize>) {
        let start = first * self.grid.replicas;
        let is_large = RESTART_CHAINS_MAX < self.grid.chains();
        for tried in 1..=TRIES_PER_TURN {
            let Some(p) = self.excess_member(row, rng) else { return (tried, None) };
            let q = start + below(rng, self.grid.members.len() - start);
            if !self.grid.exchangeable(self.shape, p, q) {
                continue;
            }
            if heat == Heat(0) && is_large && 0 < self.estimate(p, q) {
                continue;
            }
            let cost = self.exchange(p, q);
            if heat.accepts(cost, rng) {
                return (tried, Some(q / self.grid.replicas));
            }
            self.exchange(p, q);
        }
        (TRIES_PER_TURN, None)
    }

    /// Goes back to an arrangement of the same chains.
    pub(crate) fn restore(&mut self, members: &[u32]) {
        for (at, &disk) in members.iter().enumerate() {
            if self.grid.members[at] != disk {
                self.replace(at, disk);
            }
        }
    }

    /// Counts everything anew (E307).
    #[cfg(test)]
    pub(crate) fn audit(&self, loads: &[u32]) {
        let fresh = Search::new(self.shape, self.grid.clone(), loads);
        assert_eq!(fresh.cost, self.cost, "E307: the cost is that of the arrangement");
    }
}

impl Heat {
    /// What is left of it: the square of the time that is left.
    pub(crate) fn left(self, used: u64, tries: u64) -> Self {
        let left = 1_000 - used.min(tries) * 1_000 / tries.max(1);
        let heat = u64::from(self.0) * left * left / 1_000_000;
        Self(u32::try_from(heat).expect("it only falls"))
    }

    /// Whether to take a step of this cost: always when it costs nothing, else with the chance of
    /// as many successes in a row, which is Boltzmann's factor.
    pub(crate) fn accepts(self, cost: i64, rng: &mut Rng) -> bool {
        (0..cost).all(|_| rng.chance(self.0))
    }
}

#[cfg(test)]
mod tests;
