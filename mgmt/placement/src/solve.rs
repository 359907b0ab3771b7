//! From a topology to a table: count, arrange, order, number.

use alloc::vec;
use alloc::vec::Vec;

use engine_types::limits::{CHAIN_MEMBERS_MAX, CHAINS_MAX};
use engine_types::{ChainId, Rng};

use crate::limits::{RESTART_CHAINS_MAX, RESTARTS_MAX, TRIES_MAX, TRIES_MIN, TRIES_PER_CHAIN};
use crate::report::{Report, report};
use crate::search::{Grid, Heat, Search};
use crate::shape::{Shape, below, narrow};
use crate::table::{Chain, Seat, Table};
use crate::topology::{Topology, TopologyError};
use crate::{cyclic, order, quota};

/// A fresh table and how even it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution {
    /// Passes `verify`.
    pub table: Table,
    /// Its balance.
    pub report: Report,
}

/// Why there is no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SolveError {
    /// The topology contradicts itself or is too large.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// Chains without members, or longer than the system has.
    #[error("{found} replicas, 1 to {limit} are possible")]
    Replicas {
        /// Asked for.
        found: usize,
        /// `CHAIN_MEMBERS_MAX`.
        limit: usize,
    },
    /// E300 cannot be kept.
    #[error("{found} failure domains have disks, {expected} replicas need as many")]
    TooFewDomains {
        /// Domains with slots.
        found: usize,
        /// Replicas asked for.
        expected: usize,
    },
    /// More chains than a cluster has.
    #[error("{found} chains, at most {limit} are possible: lower the targets of each disk")]
    TooManyChains {
        /// What the slots make.
        found: usize,
        /// `CHAINS_MAX`.
        limit: usize,
    },
}

/// The table of the largest number of chains that `topology` holds, with `replicas` members each.
/// Slots that remain are reported (`Unused`); a single replica makes a chain of every slot.
///
/// # Errors
/// Nothing can be placed, or too much; the text says what to change.
pub fn solve(topology: &Topology, replicas: usize, seed: u64) -> Result<Solution, SolveError> {
    let shape = Shape::new(topology)?;
    check(&shape, replicas)?;
    let chains = quota::chain_count(&shape, replicas);
    if CHAINS_MAX < chains {
        return Err(SolveError::TooManyChains { found: chains, limit: CHAINS_MAX });
    }
    let rng = Rng::new(seed);
    let mut best: Option<Search<'_>> = None;
    let runs = if chains <= RESTART_CHAINS_MAX { RESTARTS_MAX } else { 1 };
    for run in 0..runs {
        let mut rng = Rng::new(rng.clone().next_u64() ^ run);
        let search = arrange(&shape, chains, replicas, &mut rng, run);
        if best.as_ref().is_none_or(|best| search.cost < best.cost) {
            best = Some(search);
        }
        if best.as_ref().is_some_and(|best| best.cost == 0) {
            break;
        }
    }
    let mut grid = best.expect("at least one search was made").grid;
    put_in_order(&shape, &mut grid);
    let table = number(&shape, &grid);
    Ok(Solution { table, report: report(&shape, &grid) })
}

pub(crate) fn check(shape: &Shape, replicas: usize) -> Result<(), SolveError> {
    if replicas == 0 || CHAIN_MEMBERS_MAX < replicas {
        return Err(SolveError::Replicas { found: replicas, limit: CHAIN_MEMBERS_MAX });
    }
    let found = shape.domain_slots.len();
    if found < replicas {
        return Err(SolveError::TooFewDomains { found, expected: replicas });
    }
    Ok(())
}

/// One arrangement: a family where nodes are alike (even runs), else a random start; then a search.
fn arrange<'a>(
    shape: &'a Shape,
    chains: usize,
    replicas: usize,
    rng: &mut Rng,
    run: u64,
) -> Search<'a> {
    let family = if run.is_multiple_of(2) { cyclic::start(shape, replicas, rng) } else { None };
    let (mut members, rest, loads) = match family {
        Some(start) => (start.members, start.rest, start.loads),
        None => {
            let loads = quota::quotas(shape, chains, replicas, &vec![0; shape.disks.len()]);
            (Vec::new(), loads.clone(), loads)
        }
    };
    let covered = members.len() / replicas;
    members.extend(random_start(shape, &rest, replicas, rng));
    assert_eq!(members.len(), chains * replicas, "E305: every chain is full");
    let mut search = Search::new(shape, Grid { replicas, members }, &loads);
    if 0 < covered && covered < chains {
        // What the family leaves over is fitted in beside its chains before those are touched.
        search.run(rng, covered, tries(chains - covered), WARM);
    }
    let heat = if chains <= RESTART_CHAINS_MAX && covered * 2 < chains { WARM } else { COOL };
    search.run(rng, 0, tries(chains), heat);
    search
}

fn tries(chains: usize) -> u64 {
    (chains as u64 * TRIES_PER_CHAIN).clamp(TRIES_MIN, TRIES_MAX)
}

/// Chance of going uphill by 1 at the start of a search in a small table, in permille.
const WARM: Heat = Heat(300);
/// The same where most is settled, or there is too much to settle.
const COOL: Heat = Heat(0);

/// Chains of random members that use `slots` of each disk. Slots in a row, those of a domain side
/// by side, are dealt to the chains in turn: a domain has no more of them than there are chains
/// (E305), so none has two in one (E300). Random exchanges remove the pattern that this leaves.
fn random_start(shape: &Shape, slots: &[u32], replicas: usize, rng: &mut Rng) -> Vec<u32> {
    let mut disks: Vec<_> = (0..shape.disks.len()).collect();
    disks.sort_by_key(|&disk| shape.disks[disk].domain);
    let deal = disks.iter().flat_map(|&disk| (0..slots[disk]).map(move |_| narrow(disk)));
    let deal: Vec<_> = deal.collect();
    let chains = deal.len() / replicas;
    let mut grid = Grid { replicas, members: vec![0; deal.len()] };
    for (at, &disk) in deal.iter().enumerate() {
        grid.members[at % chains * replicas + at / chains] = disk;
    }
    for _ in 0..EXCHANGES_PER_MEMBER {
        for p in 0..grid.members.len() {
            let q = below(rng, grid.members.len());
            if grid.exchangeable(shape, p, q) {
                grid.members.swap(p, q);
            }
        }
    }
    grid.members
}

/// After four rounds nothing of the dealing is left that a search would notice.
const EXCHANGES_PER_MEMBER: usize = 4;

/// Brings the members of each chain into the order of E306.
pub(crate) fn put_in_order(shape: &Shape, grid: &mut Grid) {
    let positions = order::positions(grid, shape.disks.len());
    let old = grid.members.clone();
    for (at, &position) in positions.iter().enumerate() {
        grid.members[at] = old[grid.row(at).start + position as usize];
    }
}

/// Names chains from 1 and gives the slots of each disk to its chains in their order.
fn number(shape: &Shape, grid: &Grid) -> Table {
    let mut next = vec![0u16; shape.disks.len()];
    let chains = grid.members.chunks(grid.replicas).zip(1..).map(|(members, id)| {
        let seat = |&disk: &u32| {
            let place = shape.disks[disk as usize];
            let slot = next[disk as usize];
            assert!(u32::from(slot) < place.targets, "E302: a slot below the disk's targets");
            next[disk as usize] += 1;
            Seat { node: shape.nodes[place.node as usize].id, disk: place.index, slot }
        };
        Chain {
            id: ChainId::new(id).expect("counted from 1"),
            members: members.iter().map(seat).collect(),
        }
    });
    Table { replicas: grid.replicas, chains: chains.collect() }
}
