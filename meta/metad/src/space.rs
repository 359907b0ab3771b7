//! Room of the file system, as df shows it: what storage nodes said of their stores, replicas
//! counted out.
//!
//! ```text
//!   a replica has its part of its store: what is free there, divided by the replicas on it
//!   a chain has as much free as the least of its replicas: that one ends its growth (R18)
//!   the file system: the sum over all chains that are in a table
//! ```
//! What is used is the mean over the serving replicas of each chain, so it is the bytes of all
//! stores by the number of replicas. Capacity is the sum of both: the reserve of stores, and blocks
//! on their way from used to free, are neither.
//!
//! Files: used is how many inodes there are, counted or estimated ([`census`]); free is for how
//! many more there are blocks and room in the indices of stores, if each has one chunk.
//!
//! Everything here is pure; who asks the nodes is `chunks::rooms`.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use client_storage::StoreRoom;
use engine_types::{ChainId, Instant, PublicState, RoutingInfo, StoreId};
use meta_protocol::FsSpace;

pub(crate) mod census;
#[cfg(test)]
mod tests;

/// Bytes of a store that a chunk takes at least: the smallest chunk size.
const CHUNK_BYTES_MIN: u64 = 4 << 10;
/// Bytes of an index that a chunk takes: a record has 32 to 44, and leaves are not quite full.
const INDEX_BYTES_PER_CHUNK: u64 = 64;

/// What a store said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) room: StoreRoom,
    pub(crate) at: Instant,
    /// It was asked again since, and did not answer.
    pub(crate) silent: bool,
}

/// Room of all chains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes of data.
    pub used: u64,
    /// Bytes that more data may take.
    pub free: u64,
    /// Chunks that more data may consist of.
    pub chunks_free: u64,
    /// When the oldest of the figures that count was told.
    pub since: Option<Instant>,
    /// Stores that count.
    pub stores: u32,
    /// Stores that did not answer when they were asked last: their last figures count, and nothing
    /// does if there are none.
    pub silent: u32,
}

/// Parts of stores have so many bits behind the point, so that their sums are whole again.
const FRACTION_BITS: u32 = 32;

/// The parts of a store that belong to one of its replicas, with a fraction.
#[derive(Clone, Copy)]
struct Part {
    live: u128,
    free: u128,
    chunks_free: u128,
    serves: bool,
}

/// What the chains in tables have together. Stores that have failed have nothing.
pub(crate) fn usable(routing: &RoutingInfo, heard: &BTreeMap<StoreId, Heard>) -> Space {
    let chains: BTreeSet<ChainId> =
        routing.tables.values().flat_map(|table| &table.chains).copied().collect();
    let members = |chain: &ChainId| {
        let members = routing.chains.get(chain).map_or(&[][..], |info| &info.members);
        members.iter().filter_map(|member| {
            let store = routing.targets.get(&member.target)?.store;
            Some((store, member.state == PublicState::Serving))
        })
    };
    let mut replicas: BTreeMap<StoreId, u128> = BTreeMap::new();
    for (store, _) in chains.iter().flat_map(members) {
        *replicas.entry(store).or_default() += 1;
    }
    let mut sums = [0_u128; 3];
    for chain in &chains {
        let parts = members(chain).filter_map(|(store, serves)| {
            let room = heard.get(&store).map(|heard| heard.room).filter(|room| !room.failed)?;
            let part = |whole: u64| (u128::from(whole) << FRACTION_BITS) / replicas[&store];
            let chunks_free = part(room.index_free / INDEX_BYTES_PER_CHUNK);
            Some(Part { live: part(room.live), free: part(room.free), chunks_free, serves })
        });
        let of_chain = of_chain(&parts.collect::<Vec<_>>());
        sums.iter_mut().zip(of_chain).for_each(|(sum, one)| *sum += one);
    }
    let whole = |sum: u128| {
        let rounded = (sum + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
        u64::try_from(rounded).unwrap_or(u64::MAX)
    };
    let [used, free, chunks_free] = sums.map(whole);
    let mut space = Space { used, free, chunks_free, ..Space::default() };
    let count = |of: &dyn Fn(Option<&Heard>) -> bool| {
        let stores = replicas.keys().filter(|store| of(heard.get(store))).count();
        u32::try_from(stores).unwrap_or(u32::MAX)
    };
    space.stores = count(&|heard| heard.is_some());
    space.silent = count(&|heard| heard.is_none_or(|heard| heard.silent));
    space.since = replicas.keys().filter_map(|store| heard.get(store)).map(|one| one.at).min();
    space
}

/// Used, free, and chunks free, with fractions.
fn of_chain(parts: &[Part]) -> [u128; 3] {
    let least = |of: fn(&Part) -> u128| parts.iter().map(of).min().unwrap_or(0);
    let anybody_serves = parts.iter().any(|part| part.serves);
    let (mut sum, mut count) = (0_u128, 0);
    for part in parts.iter().filter(|part| part.serves || !anybody_serves) {
        sum += part.live;
        count += 1;
    }
    let mean = sum.checked_div(count).unwrap_or(0);
    [mean, least(|part| part.free), least(|part| part.chunks_free)]
}

impl Space {
    /// What is told at `now`, of a file system with so many inodes.
    pub(crate) fn told(&self, inodes: u64, now: Instant) -> FsSpace {
        let files_free = self.chunks_free.min(self.free / CHUNK_BYTES_MIN);
        let age = self.since.map_or(Duration::ZERO, |since| now.saturating_since(since));
        FsSpace {
            bytes: self.used.saturating_add(self.free),
            bytes_free: self.free,
            bytes_available: self.free,
            files: inodes.saturating_add(files_free),
            files_free,
            age_ms: u32::try_from(age.as_millis()).unwrap_or(u32::MAX),
            stores: self.stores,
            stores_silent: self.silent,
        }
    }
}
