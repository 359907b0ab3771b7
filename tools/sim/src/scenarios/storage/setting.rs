//! What a world is like: drawn from its seed.

use core::time::Duration;

use engine_shard::{CreateOptions, StoreConfig};
use engine_types::{ChunkSize, ClusterId, Rng};

const MIB: u64 = 1 << 20;
/// Metadata of the smallest store.
const METADATA: u64 = 18 * MIB;
const SEGMENT: u64 = engine_store::SEGMENT_BYTES as u64;
const JOURNAL: u64 = 4 * MIB;
/// Of chunks. Large ones cost the most time, and show the least that is new.
const SIZES: [u32; 5] = [16 << 10, 16 << 10, 64 << 10, 64 << 10, 256 << 10];
/// Of the cluster that the shared roles belong to.
pub(super) const CLUSTER: ClusterId = ClusterId::new(1);

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// Storage nodes.
    pub(super) nodes: usize,
    /// Stores of each.
    pub(super) stores: usize,
    /// Clients.
    pub(super) users: usize,
    /// Replicas of each chain.
    pub(super) chains: Vec<usize>,
    /// Chunks of all chains together, dealt round.
    pub(super) chunks: u32,
    pub(super) size: ChunkSize,
    /// Operations of one client at a time.
    pub(super) in_flight: usize,
    /// Longest pause of a client between two operations of one line, milliseconds.
    pub(super) pause_ms: u64,
    /// Time for one operation.
    pub(super) operation_time: Duration,
    /// Of operations, permille.
    pub(super) reads: u32,
    /// Of updates, permille.
    pub(super) removals: u32,
    pub(super) faults_for: Duration,
    /// Connections have the times that ship.
    pub(super) patient: bool,
    /// Segments of a store: with few of them it becomes full.
    pub(super) segments: u64,
    pub(super) config: StoreConfig,
}

impl Setting {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let small = |rng: &mut Rng, least: u64, most: u64| {
            usize::try_from(rng.range(least..=most)).expect("small")
        };
        let nodes = small(rng, 3, 4);
        let mut chains = vec![3];
        for _ in 0..rng.below(3) {
            chains.push(*rng.pick(&[1, 2, 3, nodes]).expect("there are some"));
        }
        let small_store = rng.chance(150);
        let overlay = rng.range(300..=1_000) * 4096;
        // Many short worlds see more beginnings, long ones more of what follows from what.
        let is_short = rng.chance(600);
        Self {
            nodes,
            stores: small(rng, 1, 2),
            users: small(rng, 2, 4),
            chunks: u32::try_from(chains.len() as u64 * rng.range(1..=3)).expect("small"),
            chains,
            size: ChunkSize::new(*rng.pick(&SIZES).expect("some")).expect("powers of two"),
            in_flight: small(rng, 1, 4),
            pause_ms: *rng
                .pick(if is_short { &[10, 20, 40] } else { &[20, 100, 400] })
                .expect("there are some"),
            operation_time: Duration::from_millis(rng.range(2_000..=15_000)),
            reads: u32::try_from(rng.range(350..=650)).expect("small"),
            removals: *rng.pick(&[0, 0, 10, 40]).expect("there are some"),
            faults_for: if is_short {
                Duration::from_millis(rng.range(2_000..=6_000))
            } else {
                Duration::from_secs(rng.range(8..=20))
            },
            patient: rng.chance(500),
            segments: if small_store { rng.range(4..=6) } else { rng.range(15..=20) },
            config: StoreConfig {
                cluster: Some(CLUSTER),
                overlay_bytes_max: usize::try_from(overlay).expect("small"),
                commit_delay: Duration::from_micros(rng.range(100..=20_000)),
                verify_small_reads: rng.chance(300),
                ..StoreConfig::default()
            },
        }
    }

    /// How a store is made.
    pub(super) fn create(&self) -> CreateOptions {
        CreateOptions {
            cluster: CLUSTER,
            size: Some(METADATA + JOURNAL + self.segments * SEGMENT),
            journal_bytes: Some(JOURNAL),
            index_bytes: Some(MIB),
            dedup_channels: Some(4096),
            force: true,
        }
    }
}
