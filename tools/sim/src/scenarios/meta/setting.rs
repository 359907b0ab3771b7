//! What a world is like: drawn from its seed.

use core::time::Duration;
use std::collections::BTreeSet;

use engine_types::{ChainId, Rng};
use meta_kv::Faults;
use meta_model::Weights;

use super::chunks::CHAINS;

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Random operations, of which the model judges every answer.
    Names {
        /// Of all clients.
        steps: u32,
        weights: Weights,
    },
    /// Writers, appenders and truncaters of a few files, whose content is checked.
    Data {
        /// Operations of each client.
        operations: u32,
        files: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) work: Work,
    pub(super) services: usize,
    pub(super) clients: u32,
    /// The store of the KV is redb on a disk.
    pub(super) on_disk: bool,
    /// Its disk fails by itself now and then.
    pub(super) disk_fails: bool,
    /// Clients are killed, so that sessions are pruned.
    pub(super) clients_die: bool,
    /// Between services and store.
    pub(super) trouble: Faults,
    pub(super) chunk_delay: Duration,
    pub(super) dead_chains: BTreeSet<ChainId>,
    pub(super) faults_for: Duration,
    pub(super) pause_us: u64,
}

impl Setting {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let is_data = rng.chance(350);
        let clients_die = rng.chance(400);
        let steps = u32::try_from(rng.range(80..=320)).expect("few");
        let weights = [
            Weights { names: 1, attributes: 0, files: 0, locks: 0 },
            Weights { names: 70, attributes: 0, files: 30, locks: 0 },
            Weights { names: 30, attributes: 60, files: 10, locks: 0 },
            Weights { names: 15, attributes: 0, files: 15, locks: 70 },
            Weights::ALL,
        ];
        let weights = *rng.pick(&weights).expect("some");
        let work = if is_data {
            let operations = u32::try_from(rng.range(15..=60)).expect("few");
            let files = usize::try_from(rng.range(1..=3)).expect("few");
            Work::Data { operations, files }
        } else {
            Work::Names { steps, weights }
        };
        let calm = rng.chance(150);
        let mut rate = |most: u64| {
            if calm { 0 } else { u32::try_from(rng.below(most + 1)).expect("permille") }
        };
        let trouble = Faults {
            conflict: rate(60),
            too_old: rate(15),
            lost_applied: rate(50),
            lost_dropped: rate(40),
            lost_late: rate(40),
            unavailable: rate(20),
            late_max: Duration::from_millis(400),
            latency_max: Duration::from_millis(4),
        };
        let dead = if rng.chance(300) { rng.range(1..=2) } else { 0 };
        let chain = |rng: &mut Rng| ChainId::new(u32::try_from(rng.below(CHAINS.into())).ok()? + 1);
        Self {
            work,
            services: usize::try_from(rng.range(1..=3)).expect("few"),
            clients: if is_data { u32::try_from(rng.range(2..=4)).expect("few") } else { 3 },
            on_disk: rng.chance(500),
            disk_fails: rng.chance(500),
            clients_die,
            trouble,
            chunk_delay: Duration::from_micros(rng.range(100..=80_000)),
            dead_chains: (0..dead).filter_map(|_| chain(rng)).collect(),
            faults_for: Duration::from_millis(rng.range(1_500..=6_000)),
            pause_us: rng.range(200..=40_000),
        }
    }
}
