//! A plan that brings an existing table to a changed topology with few moves.
//!
//! Nodes join: members move from every old disk to the new ones until each disk carries its quota,
//! which takes as many moves as the new disks get targets. Nodes or disks leave, lose slots or join
//! another failure domain: their members have to move, by the same means; there must be free slots
//! for them. Chains stay the same and keep their ids: files refer to them.
//!
//! First each move is chosen among a few at random. Then moves are exchanged with others, or with
//! members that stay, as long as that evens out the pairs; their number may grow by
//! `EXTRA_MOVES_PERCENT`. Last, the moves are put into an order in which each of them finds a free
//! slot and no member of its failure domain (E300, E308). A move that never does is left out if its
//! member may stay. Members that the new topology itself has put into one failure domain are parted
//! first; until then their chain is as the change has left it.
//!
//! Crash: a plan is data. Whoever executes it may stop after any step, and plan anew from there.

mod schedule;

#[cfg(test)]
mod tests;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use engine_types::{ChainId, Rng, TargetId, reached};

use crate::limits::{CANDIDATES, EXTRA_MOVES_PERCENT, TRIES_MAX, TRIES_PER_MOVE};
use crate::quota;
use crate::report::{ABSENT, Report, seats_by_disk};
use crate::search::{Grid, Heat, Search};
use crate::shape::{Shape, below, narrow};
use crate::solve::{SolveError, check};
use crate::table::{Seat, Table};
use crate::topology::Topology;

/// How an existing table becomes one for another topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they have to be done.
    pub steps: Vec<Move>,
    /// What they lead to. Besides the moves, the preferred order of some chains differs (E306).
    pub table: Table,
    /// The balance of the old table in the new topology; members on disks that left do not count.
    pub before: Report,
    /// The balance of `table`.
    pub after: Report,
}

/// One target of one chain gets another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Whose member it is.
    pub chain: ChainId,
    /// The place it leaves, which is free after the step.
    pub from: Seat,
    /// The place it takes, which is free before the step.
    pub to: Seat,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtendError {
    /// No table of these replicas fits the topology.
    #[error(transparent)]
    Solve(#[from] SolveError),
    /// E301 does not hold in the old table.
    #[error("E301: {chain} has {found} members, {expected} are expected")]
    Members {
        /// Which.
        chain: ChainId,
        /// Its members.
        found: usize,
        /// Replicas of the table.
        expected: usize,
    },
    /// E303 does not hold in the old table.
    #[error("E303: {chain} occurs twice")]
    ChainTwice {
        /// Which.
        chain: ChainId,
    },
    /// E302 does not hold in the old table.
    #[error("E302: {target} occurs twice, the second time in {chain}")]
    SlotTwice {
        /// Which.
        target: TargetId,
        /// Where it occurs again.
        chain: ChainId,
    },
    /// The topology has too few slots, or too many of them in one domain.
    #[error("{chains} chains need {needed} slots, their failure domains offer {room}")]
    NoRoom {
        /// Chains of the table.
        chains: usize,
        /// Members of all of them.
        needed: usize,
        /// Slots that chains can use, at most one of each domain in a chain.
        room: usize,
    },
    /// There are slots, but this member finds none that its chain may use.
    #[error("{chain} finds no place for its member on {from:?}: free a slot in another domain")]
    Stuck {
        /// Which.
        chain: ChainId,
        /// The place that has to be left.
        from: Seat,
    },
}

/// Plans the way from `table` to `topology`.
///
/// # Errors
/// The table contradicts itself, or the topology has no place for all members.
pub fn extend(table: &Table, topology: &Topology, seed: u64) -> Result<Plan, ExtendError> {
    let shape = Shape::new(topology).map_err(SolveError::from)?;
    check(&shape, table.replicas)?;
    let old = adopt(&shape, table)?;
    let chains = old.chains();
    let (needed, room) = (old.members.len(), quota::room(&shape, chains));
    if room < needed {
        return Err(ExtendError::NoRoom { chains, needed, room });
    }
    let seats = seats_by_disk(&shape, &old);
    let loads: Vec<_> = seats.iter().map(|seats| narrow(seats.len())).collect();
    let quotas = quota::quotas(&shape, chains, table.replicas, &loads);
    let mut search = Search::new(&shape, old.clone(), &quotas);
    let mut rng = Rng::new(seed);
    let mut draft = Draft { search: &mut search, old: &old, seats, loads, quotas };
    if let Some(at) = draft.house(&mut rng) {
        let chain = &table.chains[at / table.replicas];
        let from = chain.members[at % table.replicas];
        return Err(ExtendError::Stuck { chain: chain.id, from });
    }
    draft.fill(&mut rng);
    draft.improve(&mut rng);
    schedule::plan(&shape, table, &old, &search.grid)
}

/// The table in numbers. A member is absent if it has to move: its disk or slot is gone, or an
/// earlier member of the chain is in its failure domain.
fn adopt(shape: &Shape, table: &Table) -> Result<Grid, ExtendError> {
    let places = shape.places();
    let (mut chains, mut targets) = (BTreeSet::new(), BTreeSet::new());
    let mut grid = Grid { replicas: table.replicas, members: Vec::new() };
    for entry in &table.chains {
        let chain = entry.id;
        if !chains.insert(chain) {
            return Err(ExtendError::ChainTwice { chain });
        }
        let (found, expected) = (entry.members.len(), table.replicas);
        if found != expected {
            return Err(ExtendError::Members { chain, found, expected });
        }
        let start = grid.members.len();
        grid.members.resize(start + found, ABSENT);
        for (at, seat) in (start..).zip(&entry.members) {
            let target = seat.target();
            if !targets.insert(target) {
                return Err(ExtendError::SlotTwice { target, chain });
            }
            if let Some(&disk) = places.get(&(seat.node, seat.disk))
                && u32::from(seat.slot) < shape.disks[disk as usize].targets
                && grid.admits(shape, at, disk)
            {
                grid.members[at] = disk;
            }
        }
    }
    Ok(grid)
}

/// A plan in the making: where members will be, regardless of the order of moves.
struct Draft<'a, 'b> {
    search: &'a mut Search<'b>,
    old: &'a Grid,
    /// Seats by disk, as they were.
    seats: Vec<Vec<u32>>,
    loads: Vec<u32>,
    quotas: Vec<u32>,
}

impl Draft<'_, '_> {
    /// Disks below their quota, once for each target that is missing, in random order.
    fn receivers(&self, rng: &mut Rng) -> Vec<u32> {
        let mut receivers = Vec::new();
        for (disk, (&load, &quota)) in (0..).zip(self.loads.iter().zip(&self.quotas)) {
            receivers.extend((load..quota).map(|_| disk));
        }
        rng.shuffle(&mut receivers);
        receivers
    }

    fn assign(&mut self, at: usize, disk: u32) {
        let was = self.search.grid.members[at];
        if was != ABSENT {
            self.loads[was as usize] -= 1;
        }
        self.loads[disk as usize] += 1;
        self.search.replace(at, disk);
    }

    /// What it would cost to put `disk` there, if the chain admits it.
    fn cost(&mut self, at: usize, disk: u32) -> Option<i64> {
        let was = self.search.grid.members[at];
        if was == disk || !self.search.grid.admits(self.search.shape, at, disk) {
            return None;
        }
        let cost = self.search.replace(at, disk);
        self.search.replace(at, was);
        Some(cost)
    }

    /// Gives absent members a place; the one that finds none, if any. Receivers suffice: what disks
    /// lack is what others have too much and what is absent.
    fn house(&mut self, rng: &mut Rng) -> Option<usize> {
        let mut receivers = self.receivers(rng);
        let members = 0..self.old.members.len();
        for at in members.filter(|&at| self.old.members[at] == ABSENT) {
            let samples = 0..CANDIDATES.min(receivers.len());
            let samples: Vec<_> = samples.map(|_| below(rng, receivers.len())).collect();
            let index = self
                .best_of(at, &receivers, samples.into_iter())
                .or_else(|| self.best_of(at, &receivers, 0..receivers.len()));
            if let Some(index) = index {
                self.assign(at, receivers.swap_remove(index));
            } else if let Some(index) = self.detour(at, &receivers, rng) {
                receivers.swap_remove(index);
            } else {
                return Some(at);
            }
        }
        None
    }

    /// The receiver that costs least, if any is admitted.
    fn best_of(
        &mut self,
        at: usize,
        receivers: &[u32],
        indices: impl Iterator<Item = usize>,
    ) -> Option<usize> {
        let costs = indices.filter_map(|index| Some((self.cost(at, receivers[index])?, index)));
        costs.min().map(|(_, index)| index)
    }

    /// No receiver is admitted at `at`: another member goes to one and leaves its place to this.
    fn detour(&mut self, at: usize, receivers: &[u32], rng: &mut Rng) -> Option<usize> {
        let start = below(rng, self.old.members.len());
        let mut seen = BTreeSet::new();
        for (index, &receiver) in receivers.iter().enumerate() {
            if !seen.insert(receiver) {
                continue;
            }
            for other in (start..self.old.members.len()).chain(0..start) {
                let (shape, grid) = (self.search.shape, &self.search.grid);
                let disk = grid.members[other];
                if disk != ABSENT
                    && disk != grid.members[at]
                    && disk != receiver
                    && grid.row(other) != grid.row(at)
                    && grid.admits(shape, other, receiver)
                    && grid.admits(shape, at, disk)
                {
                    reached!("E300: a plan takes a detour");
                    self.assign(other, receiver);
                    self.assign(at, disk);
                    return Some(index);
                }
            }
        }
        None
    }

    /// Moves members from disks above their quota to disks below it.
    fn fill(&mut self, rng: &mut Rng) {
        let mut donors = Vec::new();
        for (disk, (&load, &quota)) in (0u32..).zip(self.loads.iter().zip(&self.quotas)) {
            donors.extend((quota..load).map(|_| disk));
        }
        let mut skipped = Vec::new();
        for receiver in self.receivers(rng) {
            let samples = 0..if donors.is_empty() { 0 } else { CANDIDATES };
            let samples: Vec<_> = samples
                .map(|_| {
                    let index = below(rng, donors.len());
                    let seats = &self.seats[donors[index] as usize];
                    (index, seats[below(rng, seats.len())] as usize)
                })
                .collect();
            match self.best_donor(receiver, &donors, &samples).or_else(|| {
                let all = donors.iter().enumerate().flat_map(|(index, &donor)| {
                    self.seats[donor as usize].iter().map(move |&at| (index, at as usize))
                });
                let all: Vec<_> = all.collect();
                self.best_donor(receiver, &donors, &all)
            }) {
                Some((index, at)) => {
                    donors.swap_remove(index);
                    self.assign(at, receiver);
                }
                None => skipped.push(receiver),
            }
        }
        for donor in donors {
            let seats = self.seats[donor as usize].clone();
            let stays = |&&at: &&u32| self.search.grid.members[at as usize] == donor;
            let seats: Vec<_> = seats.iter().filter(stays).map(|&at| at as usize).collect();
            let index = seats.into_iter().find_map(|at| self.detour(at, &skipped, rng));
            if let Some(index) = index {
                skipped.swap_remove(index);
            }
        }
    }

    /// Of (donor, seat) the one whose move to `receiver` costs least, if any is possible.
    fn best_donor(
        &mut self,
        receiver: u32,
        donors: &[u32],
        seats: &[(usize, usize)],
    ) -> Option<(usize, usize)> {
        let costs = seats.iter().filter_map(|&(index, at)| {
            let stays = self.search.grid.members[at] == donors[index];
            if stays { Some((self.cost(at, receiver)?, index, at)) } else { None }
        });
        costs.min().map(|(_, index, at)| (index, at))
    }

    fn is_moved(&self, at: usize) -> bool {
        self.search.grid.members[at] != self.old.members[at]
    }

    /// Exchanges moves with each other and with members that stay, while that evens out pairs.
    /// Moves in chains with an excess have most turns.
    fn improve(&mut self, rng: &mut Rng) {
        let total = self.old.members.len();
        let moved = (0..total).filter(|&at| self.is_moved(at)).count() as u64;
        let mut budget =
            Budget { moves: moved, allowed: moved + moved * EXTRA_MOVES_PERCENT / 100 };
        let tries = (moved * TRIES_PER_MOVE).min(TRIES_MAX);
        let mut used = 0;
        while 0 < self.search.cost && used < tries {
            let moved: Vec<_> = (0..total).filter(|&at| self.is_moved(at)).collect();
            if moved.is_empty() {
                return;
            }
            let is_hot = |&&at: &&usize| self.search.exceeds(at / self.old.replicas);
            let mut turns: Vec<_> = moved.iter().filter(is_hot).copied().collect();
            turns.extend((0..=turns.len() / 4).map(|_| moved[below(rng, moved.len())]));
            for p in turns.into_iter().cycle().take(moved.len().max(ROUND_MIN)) {
                let q = self.partner(p, &moved, rng);
                let heat = IMPROVE_HEAT.left(used, tries);
                used += 1;
                if self.is_moved(p) {
                    self.try_exchange(p, q, &mut budget, heat, rng);
                }
            }
        }
    }

    /// Exchanges the places of a move and of another member, if that is worth it.
    fn try_exchange(&mut self, p: usize, q: usize, budget: &mut Budget, heat: Heat, rng: &mut Rng) {
        if !self.search.grid.exchangeable(self.search.shape, p, q) {
            return;
        }
        let moves = |this: &Self| u64::from(this.is_moved(p)) + u64::from(this.is_moved(q));
        let before = moves(self);
        let cost = self.search.exchange(p, q);
        let after = moves(self);
        let accepts = cost < 0 || after <= before && heat.accepts(cost, rng);
        if accepts && budget.moves + after <= budget.allowed + before {
            budget.moves = budget.moves + after - before;
        } else {
            self.search.exchange(p, q);
        }
    }

    /// With whom to exchange: another move, a member that stays where `p` was, or any.
    fn partner(&self, p: usize, moved: &[usize], rng: &mut Rng) -> usize {
        let seats = self.seats.get(self.old.members[p] as usize);
        match (rng.below(4), seats) {
            (0 | 1, _) => moved[below(rng, moved.len())],
            (2, Some(seats)) => seats[below(rng, seats.len())] as usize,
            _ => below(rng, self.old.members.len()),
        }
    }
}

/// Exchanges tried before moves are looked through again, which takes a while in large tables.
const ROUND_MIN: usize = 1_024;

/// Moves of a plan, and how many it may have.
struct Budget {
    moves: u64,
    allowed: u64,
}

/// Chance of an exchange that costs 1, in permille, at the start.
const IMPROVE_HEAT: Heat = Heat(100);
