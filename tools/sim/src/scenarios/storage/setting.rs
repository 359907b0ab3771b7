//! What a world is like: drawn from its seed.

use core::time::Duration;

use client_storage::StorageConfig;
use engine_net::NetLimits;
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

/// Worlds with operators, permille. None in those that every change runs, until what they found is
/// understood: one of twenty does not come to its end in time (seed 2 at 400).
const OPERATED: u32 = 0;
/// Pool of a storage node with little memory, and the half of it that peers may fill.
pub(super) const TIGHT_POOL: usize = 16 << 20;
const TIGHT_CREDIT: u64 = 8 * MIB;

/// Settings of a client: sometimes with few channels and small windows, and with little patience,
/// so that what is slow is repeated.
fn client(rng: &mut Rng, is_tight: bool) -> StorageConfig {
    let mut config = StorageConfig::default();
    if rng.chance(400) {
        config.read_patience = Duration::from_millis(rng.range(50..=500));
        config.update_patience = Duration::from_millis(rng.range(100..=1_000));
    }
    if is_tight || rng.chance(100) {
        let few = u32::try_from(rng.range(1..=3)).expect("small");
        config.channels = 0..few;
        config.window_requests = few;
    }
    config
}

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
    /// Files are truncated: updates have epochs.
    pub(super) epochs: bool,
    pub(super) faults_for: Duration,
    /// Connections have the times that ship.
    pub(super) patient: bool,
    /// Operators drain, exchange and rotate while clients write.
    pub(super) operates: bool,
    /// Bytes per second that a store verifies.
    pub(super) scrub: u64,
    /// Bits rot on the disk of this node, and the others that hold data do not fail: one replica
    /// of a chunk at a time is damaged, and the data stays.
    pub(super) rots: Option<usize>,
    /// Storage nodes have little memory: peers wait for each other's.
    pub(super) is_tight: bool,
    pub(super) client: StorageConfig,
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
        let rots = rng.chance(80);
        let mut chains = vec![3];
        for _ in 0..rng.below(3) {
            let replicas = *rng.pick(&[1, 2, 3, nodes]).expect("there are some");
            chains.push(if rots { replicas.max(2) } else { replicas });
        }
        let small_store = rng.chance(150);
        let overlay = rng.range(300..=1_000) * 4096;
        // Many short worlds see more beginnings, long ones more of what follows from what.
        let is_short = rng.chance(850);
        // A resync takes long enough for something to happen to it.
        let chunks_each = if rng.chance(150) { rng.range(10..=24) } else { rng.range(1..=3) };
        let is_tight = rng.chance(120);
        Self {
            nodes,
            stores: small(rng, 1, 2),
            users: small(rng, 2, 4),
            chunks: u32::try_from(chains.len() as u64 * chunks_each).expect("small"),
            chains,
            size: ChunkSize::new(*rng.pick(&SIZES).expect("some")).expect("powers of two"),
            in_flight: small(rng, 1, 4),
            pause_ms: *rng
                .pick(if is_short { &[20, 40, 80] } else { &[20, 100, 400] })
                .expect("there are some"),
            operation_time: Duration::from_millis(rng.range(2_000..=15_000)),
            reads: u32::try_from(rng.range(350..=650)).expect("small"),
            removals: *rng.pick(&[0, 0, 10, 40]).expect("there are some"),
            epochs: rng.chance(300),
            faults_for: if is_short {
                Duration::from_millis(rng.range(1_500..=5_000))
            } else {
                Duration::from_secs(rng.range(6..=18))
            },
            patient: rng.chance(500),
            operates: rng.chance(OPERATED) && !rots,
            scrub: if rots { 256 * MIB } else { *rng.pick(&[0, 0, 64 * MIB]).expect("some") },
            rots: rots.then(|| small(rng, 0, nodes as u64 - 1)),
            is_tight,
            client: client(rng, is_tight),
            segments: if small_store { rng.range(4..=6) } else { rng.range(15..=20) },
            config: StoreConfig {
                cluster: Some(CLUSTER),
                overlay_bytes_max: usize::try_from(overlay).expect("small"),
                commit_delay: Duration::from_micros(rng.range(100..=20_000)),
                // Small reads are not verified by default, and would show what has rotten.
                verify_small_reads: rng.chance(300) || rots,
                ..StoreConfig::default()
            },
        }
    }

    /// Windows of connections, if not the usual ones.
    pub(super) fn limits(&self, usual: &NetLimits) -> NetLimits {
        if !self.is_tight {
            return usual.clone();
        }
        NetLimits { credit_bytes: TIGHT_CREDIT, credit_bytes_idle: MIB, ..usual.clone() }
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
