//! What a world is like: drawn from its seed.

use core::time::Duration;

use client_storage::StorageConfig;
use engine_net::NetLimits;
use engine_shard::{CreateOptions, StoreConfig};
use engine_storaged::Settings;
use engine_types::{ChunkSize, ClusterId, Rng};

const MIB: u64 = 1 << 20;
/// Metadata of the smallest store.
const METADATA: u64 = 18 * MIB;
const SEGMENT: u64 = engine_store::SEGMENT_BYTES as u64;
const JOURNAL: u64 = 4 * MIB;
/// Of chunks. Large ones cost the most time, and show the least that is new.
const SIZES: [u32; 5] = [16 << 10, 16 << 10, 64 << 10, 64 << 10, 256 << 10];
/// A payload of several segments, between which links end.
const LONG: u32 = 1 << 20;
/// Of the cluster that the shared roles belong to.
pub(super) const CLUSTER: ClusterId = ClusterId::new(1);

/// Worlds with operators, permille.
const OPERATED: u32 = 300;
/// Worlds whose KV comes back from a backup, permille. Operators do nothing else there: the backup
/// does not know of it.
const RESTORED: u32 = 40;
/// Worlds whose clients close their sessions and open others, permille.
const COMING_AND_GOING: u32 = 100;
/// How long a session lasts there, in milliseconds.
const SESSION_MS: core::ops::RangeInclusive<u64> = 50..=800;
/// Worlds whose shards do little at once, permille.
const FEW_RUN: u32 = 100;
/// What all chunks take to a replica that catches up in a world of slow resyncs, seconds at most:
/// long enough for something to happen to it, and short beside the time for all to be whole.
const RESYNC_SECONDS: u64 = 3;
const RESYNC_LEAST: u64 = 64 << 10;
/// Faults of a world in which links end under resyncs: until the links stand again.
const LOST_FOR: Duration = Duration::from_secs(7);
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

fn store(rng: &mut Rng, overlay: u64, rots: bool) -> StoreConfig {
    StoreConfig {
        cluster: Some(CLUSTER),
        overlay_bytes_max: usize::try_from(overlay).expect("small"),
        commit_delay: Duration::from_micros(rng.range(100..=20_000)),
        // Small reads are not verified by default, and would show what has rotten.
        verify_small_reads: rng.chance(300) || rots,
        ..StoreConfig::default()
    }
}

/// Few and long ones where connections end under payloads.
fn long_chunks(comes_and_goes: bool, bytes: u32, count: u64) -> (u32, u64) {
    if comes_and_goes { (LONG, count.min(2)) } else { (bytes, count) }
}

/// Bytes per second of a resync of so many bytes, and whether links end under it.
fn resync(rng: &mut Rng, bytes: u64) -> (u64, bool) {
    if rng.chance(750) {
        return (Settings::default().resync_bytes_per_second, false);
    }
    ((bytes / RESYNC_SECONDS).max(RESYNC_LEAST), rng.chance(400))
}

/// Mostly more than all clients have under way, sometimes so little that they, a resync and a scrub
/// wait for their turns (W3, R12).
fn running(rng: &mut Rng) -> u32 {
    let usual = Settings::default().admission.running_max;
    if rng.chance(FEW_RUN) { u32::try_from(rng.range(1..=8)).expect("small") } else { usual }
}

fn restores(rng: &mut Rng) -> u32 {
    if rng.chance(RESTORED) { u32::try_from(rng.range(1..=2)).expect("small") } else { 0 }
}

/// A store keeps two segments in reserve, and a segment has blocks of one size: with fewer than
/// this, a replica of chunks of so many bytes can be without room for what its chain holds.
fn least_segments(chunk_bytes: u32) -> u64 {
    const BLOCK: u32 = 4096;
    let sizes = (chunk_bytes / BLOCK).ilog2() + 1;
    2 + u64::from(sizes)
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
    /// So often the KV comes back from a backup when faults have stopped, each time the same one.
    pub(super) restores: u32,
    /// Operators drain, exchange and rotate while clients write.
    pub(super) operates: bool,
    /// Clients close their sessions and open others, and connections end.
    pub(super) comes_and_goes: bool,
    /// The links of a node end while it is brought up to date.
    pub(super) loses_resync: bool,
    /// Bytes per second that a replica which catches up gets.
    pub(super) resync: u64,
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
    /// Cost of the work that a shard does at once.
    pub(super) running_max: u32,
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
        let bytes = *rng.pick(if is_tight { &SIZES[3..] } else { &SIZES }).expect("some");
        let comes_and_goes = rng.chance(COMING_AND_GOING) && !rots;
        let (bytes, chunks_each) = long_chunks(comes_and_goes, bytes, chunks_each);
        let chunks = chains.len() as u64 * chunks_each;
        let (resync, loses_resync) = resync(rng, chunks * u64::from(bytes));
        let operates = rng.chance(OPERATED) && !rots;
        Self {
            nodes,
            stores: small(rng, 1, 2),
            users: small(rng, 2, 4),
            chunks: u32::try_from(chunks).expect("small"),
            chains,
            size: ChunkSize::new(bytes).expect("powers of two"),
            in_flight: small(rng, if is_tight { 3 } else { 1 }, 4),
            pause_ms: *rng
                .pick(if is_short { &[20, 40, 80] } else { &[20, 100, 400] })
                .expect("there are some"),
            operation_time: Duration::from_millis(rng.range(2_000..=15_000)),
            reads: u32::try_from(rng.range(350..=650)).expect("small"),
            removals: *rng.pick(&[0, 0, 10, 40, 150]).expect("there are some"),
            epochs: rng.chance(300),
            loses_resync,
            faults_for: if loses_resync {
                LOST_FOR
            } else if is_short {
                Duration::from_millis(rng.range(1_500..=5_000))
            } else {
                Duration::from_secs(rng.range(6..=15))
            },
            patient: rng.chance(500),
            operates,
            restores: if rots || operates { 0 } else { restores(rng) },
            resync,
            scrub: if rots { 256 * MIB } else { *rng.pick(&[0, 0, 64 * MIB]).expect("some") },
            rots: rots.then(|| small(rng, 0, nodes as u64 - 1)),
            is_tight,
            client: client(rng, is_tight),
            segments: if small_store {
                least_segments(bytes) + rng.below(2)
            } else {
                rng.range(15..=20)
            },
            config: store(rng, overlay, rots),
            running_max: running(rng),
            comes_and_goes,
        }
    }

    /// Windows of connections, if not the usual ones.
    pub(super) fn limits(&self, usual: &NetLimits) -> NetLimits {
        if !self.is_tight {
            return usual.clone();
        }
        NetLimits { credit_bytes: TIGHT_CREDIT, credit_bytes_idle: MIB, ..usual.clone() }
    }

    /// How long a client keeps a session, if it does not keep it to the end.
    pub(super) fn session_time(&self, draw: u64) -> Option<Duration> {
        let ms = Rng::new(draw).range(SESSION_MS);
        self.comes_and_goes.then(|| Duration::from_millis(ms))
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
