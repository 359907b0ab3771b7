//! How many chains there are, and how many of its slots each disk gives to them.

use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::shape::{Shape, narrow};

/// The largest number of chains: a domain has at most one member in each (E300), so it contributes
/// no more slots than there are chains.
pub(crate) fn chain_count(shape: &Shape, replicas: usize) -> usize {
    let (mut low, mut high) = (0, shape.slots() / replicas);
    // What fits is an interval from 0: the sum below is concave in the number of chains.
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if middle * replicas <= room(shape, middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// Slots that `chains` chains can use.
pub(crate) fn room(shape: &Shape, chains: usize) -> usize {
    shape.domain_slots.iter().map(|&slots| chains.min(slots as usize)).sum()
}

/// The share of each disk in `chains` chains, in proportion to its slots (E305): divided among
/// domains, then among the nodes of each, then among their disks, so that not only every disk but
/// also every node has its proportion up to one. A domain whose proportion would be more than one
/// member of every chain is held to that, and the others take over. Where rounding leaves a choice,
/// who already holds a target keeps it.
///
/// # Panics
/// If the slots do not suffice: `chains` times `replicas` is more than `room`.
pub(crate) fn quotas(shape: &Shape, chains: usize, replicas: usize, held: &[u32]) -> Vec<u32> {
    assert!(chains * replicas <= room(shape, chains), "E305: {chains} chains do not fit");
    let mut nodes = vec![Vec::new(); shape.domain_slots.len()];
    for (at, node) in shape.nodes.iter().enumerate() {
        nodes[node.domain as usize].push(at);
    }
    let disk_claim =
        |at: usize| Claim { weight: shape.disks[at].targets as usize, held: held[at] as usize };
    let node_claim = |&at: &usize| shape.nodes[at].disks.clone().map(disk_claim).sum::<Claim>();
    let mut quotas = vec![0; shape.disks.len()];
    let domains: Vec<_> = nodes.iter().map(|nodes| nodes.iter().map(node_claim).sum()).collect();
    for (nodes, part) in nodes.iter().zip(among_domains(shape, chains, replicas, &domains)) {
        let claims: Vec<_> = nodes.iter().map(node_claim).collect();
        for (&node, part) in nodes.iter().zip(apportion(part, &claims)) {
            let disks = shape.nodes[node].disks.clone();
            let claims: Vec<_> = disks.clone().map(disk_claim).collect();
            for (disk, part) in disks.zip(apportion(part, &claims)) {
                let slots = shape.disks[disk].targets as usize;
                assert!(part <= slots, "E305: a quota within its disk's slots");
                quotas[disk] = narrow(part);
            }
        }
    }
    let sum: usize = quotas.iter().map(|&quota| quota as usize).sum();
    assert_eq!(sum, chains * replicas, "E305: quotas add up");
    quotas
}

/// What a part is measured by.
#[derive(Clone, Copy, Default)]
struct Claim {
    /// Slots.
    weight: usize,
    /// Slots that carry a target already.
    held: usize,
}

impl core::iter::Sum for Claim {
    fn sum<I: Iterator<Item = Self>>(claims: I) -> Self {
        claims.fold(Self::default(), |a, b| Self {
            weight: a.weight + b.weight,
            held: a.held + b.held,
        })
    }
}

/// Divides `total` in proportion to weights, each part rounded down or up: up for who holds more
/// than the part rounded down, then for the largest remainders.
fn apportion(total: usize, claims: &[Claim]) -> Vec<usize> {
    let whole = claims.iter().map(|claim| claim.weight).sum::<usize>().max(1);
    let mut parts: Vec<_> = claims.iter().map(|claim| claim.weight * total / whole).collect();
    let remainder = |at: usize| claims[at].weight * total % whole;
    let mut order: Vec<_> = (0..claims.len()).filter(|&at| remainder(at) != 0).collect();
    order.sort_by_key(|&at| Reverse((parts[at] < claims[at].held, remainder(at))));
    // Remainders add up to a whole number of parts, each less than one: there are enough of them.
    let missing = total - parts.iter().sum::<usize>();
    for at in order.into_iter().take(missing) {
        parts[at] += 1;
    }
    parts
}

/// The parts of failure domains.
fn among_domains(shape: &Shape, chains: usize, replicas: usize, claims: &[Claim]) -> Vec<usize> {
    let (full, rest) = full_domains(shape, chains, replicas);
    let open = |(&claim, &full): (&Claim, &bool)| if full { Claim::default() } else { claim };
    let open: Vec<_> = claims.iter().zip(&full).map(open).collect();
    let parts = apportion(rest, &open);
    parts.into_iter().zip(full).map(|(part, full)| if full { chains } else { part }).collect()
}

/// Domains that have a member in every chain, and what the others share.
fn full_domains(shape: &Shape, chains: usize, replicas: usize) -> (Vec<bool>, usize) {
    let mut full = vec![false; shape.domain_slots.len()];
    let mut rest = chains * replicas;
    let mut rest_slots = shape.slots();
    loop {
        let mut changed = false;
        for (full, &slots) in full.iter_mut().zip(&shape.domain_slots) {
            let slots = slots as usize;
            if !*full && chains * rest_slots < slots * rest {
                *full = true;
                rest -= chains;
                rest_slots -= slots;
                changed = true;
            }
        }
        if !changed {
            return (full, rest);
        }
    }
}

#[cfg(test)]
mod tests;
