//! The order of moves: each finds its slot free and its chain free of the domain it goes to.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use engine_types::{Map, NodeId, reached};

use super::{ExtendError, Move, Plan};
use crate::order;
use crate::report::{ABSENT, report};
use crate::search::Grid;
use crate::shape::{Shape, narrow};
use crate::table::{Chain, Seat, Table};

/// The state between two steps.
struct State<'a> {
    shape: &'a Shape,
    table: &'a Table,
    grid: Grid,
    /// Where each member is.
    seats: Vec<Seat>,
    places: Map<(NodeId, u16), u32>,
    /// Free slots of each disk.
    free: Vec<BTreeSet<u16>>,
    steps: Vec<Move>,
}

/// Steps from `old` to `new`, and what they lead to.
pub(super) fn plan(
    shape: &Shape,
    table: &Table,
    old: &Grid,
    new: &Grid,
) -> Result<Plan, ExtendError> {
    let mut state = State::new(shape, table, old);
    let mut waiting: VecDeque<_> =
        (0..old.members.len()).filter(|&at| old.members[at] != new.members[at]).collect();
    // Members that have to move come first: their places may be going away.
    waiting.make_contiguous().sort_by_key(|&at| old.members[at] != ABSENT);
    let mut idle = 0;
    while let Some(at) = waiting.pop_front() {
        if state.step(at, new.members[at]) {
            idle = 0;
        } else if idle <= waiting.len() {
            idle += 1;
            waiting.push_back(at);
        } else if old.members[at] == ABSENT {
            reached!("E308: a member that has to move goes elsewhere");
            let mut disks = 0..narrow(shape.disks.len());
            if !disks.any(|disk| state.step(at, disk)) {
                let from = state.seats[at];
                let chain = table.chains[at / table.replicas].id;
                return Err(ExtendError::Stuck { chain, from });
            }
            idle = 0;
        } else {
            // Every move that is left waits for another: without this one, others may find a way.
            reached!("E308: a move is left out of a plan");
            idle = 0;
        }
    }
    let before = report(shape, old);
    Ok(state.finish(before))
}

impl<'a> State<'a> {
    fn new(shape: &'a Shape, table: &'a Table, old: &Grid) -> Self {
        let slots = |targets: u32| 0..u16::try_from(targets).expect("targets of a disk are u16");
        let mut free: Vec<BTreeSet<_>> =
            shape.disks.iter().map(|disk| slots(disk.targets).collect()).collect();
        let seats: Vec<_> = table.chains.iter().flat_map(|c| c.members.iter().copied()).collect();
        // Also of members that are absent because of their domain: they are there until they move.
        let places = shape.places();
        for seat in &seats {
            if let Some(&disk) = places.get(&(seat.node, seat.disk)) {
                free[disk as usize].remove(&seat.slot);
            }
        }
        Self { shape, table, grid: old.clone(), seats, places, free, steps: Vec::new() }
    }

    /// Moves a member, if there is a slot and its chain admits it (E300, E308).
    fn step(&mut self, at: usize, disk: u32) -> bool {
        let place = self.shape.disks[disk as usize];
        if !self.admits(at, place.domain) {
            return false;
        }
        let Some(slot) = self.free[disk as usize].pop_first() else { return false };
        let node = self.shape.nodes[place.node as usize].id;
        let to = Seat { node, disk: place.index, slot };
        let from = core::mem::replace(&mut self.seats[at], to);
        self.grid.members[at] = disk;
        if let Some(&left) = self.places.get(&(from.node, from.disk))
            && u32::from(from.slot) < self.shape.disks[left as usize].targets
        {
            self.free[left as usize].insert(from.slot);
        }
        let chain = self.table.chains[at / self.grid.replicas].id;
        self.steps.push(Move { chain, from, to });
        true
    }

    /// If no other member of the chain is in `domain`. Members that have to move count where they
    /// still are, also on nodes without slots.
    fn admits(&self, at: usize, domain: u32) -> bool {
        self.grid
            .row(at)
            .filter(|&other| other != at)
            .all(|other| self.shape.domain_of.get(&self.seats[other].node) != Some(&domain))
    }

    fn finish(self, before: crate::report::Report) -> Plan {
        let positions = order::positions(&self.grid, self.shape.disks.len());
        let mut grid = self.grid.clone();
        let mut table = Table { replicas: grid.replicas, chains: Vec::new() };
        for (row, chain) in self.table.chains.iter().enumerate() {
            let start = row * grid.replicas;
            let members = start..start + grid.replicas;
            for at in members.clone() {
                grid.members[at] = self.grid.members[start + positions[at] as usize];
            }
            let seat = |at: usize| self.seats[start + positions[at] as usize];
            table.chains.push(Chain { id: chain.id, members: members.map(seat).collect() });
        }
        let after = report(self.shape, &grid);
        Plan { steps: self.steps, table, before, after }
    }
}
