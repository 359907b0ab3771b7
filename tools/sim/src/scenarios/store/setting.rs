//! Draws a store: its medium, its sizes, its chunks, how it is opened.

use core::time::Duration;

use engine_shard::{CreateOptions, StoreConfig};
use engine_store::{ChunkKey, Slot};
use engine_types::{ChunkSize, ClusterId, NodeId, Rng};

use super::Shape;
use super::life::Setting;
use crate::world::World;

const PATH: &str = "data/store";
const MIB: u64 = 1 << 20;
/// Metadata of the smallest store.
const METADATA: u64 = 18 * MIB;
const SEGMENT: u64 = engine_store::SEGMENT_BYTES as u64;

/// What a store lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A sparse file.
    File,
    /// A device with a cache that is lost with the power.
    Device,
    /// A device without one: flushes are skipped.
    WriteThrough,
}

impl Medium {
    /// Puts it into the world.
    pub fn add(self, world: &World, node: NodeId, setting: &Setting) {
        let size = setting.create.size.expect("drawn");
        if self != Self::File {
            world.sim().add_device(node, setting.path, size, 512);
        }
        if self == Self::WriteThrough {
            world.sim().set_volatile_cache(node, setting.path, false);
        }
    }
}

/// A store of a world.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// Where it lies.
    pub medium: Medium,
    /// How it is made and opened.
    pub setting: Setting,
    /// Its chunks.
    pub chunks: Vec<(ChunkKey, ChunkSize)>,
    /// Whether every chunk finds room, whatever the others do.
    pub room: bool,
}

/// What a world is rich in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// A dozen chunks of all sizes.
    Mixed,
    /// Large chunks that are overwritten in small pieces: images, and a ring that fills.
    Images,
    /// So few segments that classes starve.
    Tight,
    /// More sparse chunks than one segment has blocks for, and hardly any other segments.
    Crowded,
    /// Large sparse chunks, a dozen of whose blocks fill a segment: classes starve while segments
    /// of the largest are half empty, so that they are moved together.
    Gaps,
}

/// A store, determined by the numbers.
pub fn draw(rng: &mut Rng, shape: &Shape) -> Drawn {
    let medium = match rng.below(10) {
        0..=4 => Medium::File,
        5..=8 => Medium::Device,
        _ => Medium::WriteThrough,
    };
    let drawn = rng.below(100);
    let flavour = match drawn {
        _ if shape.flavour.is_some() => shape.flavour.expect("it is there"),
        0..=64 => Flavour::Mixed,
        65..=89 => Flavour::Images,
        _ if !shape.troubles => Flavour::Mixed,
        90..=95 => Flavour::Tight,
        96..=97 => Flavour::Crowded,
        _ => Flavour::Gaps,
    };
    let segments = match flavour {
        // Every class of blocks takes a segment of its own; some stay in reserve.
        Flavour::Mixed | Flavour::Images => rng.range(15..=20),
        Flavour::Tight => rng.range(4..=9),
        Flavour::Crowded => rng.range(5..=7),
        Flavour::Gaps => rng.range(5..=8),
    };
    let journal = if rng.chance(600) { 2 * MIB } else { rng.range(512..=1024) * 4096 };
    let create = CreateOptions {
        cluster: ClusterId::new(7),
        size: Some(METADATA + journal + segments * SEGMENT),
        journal_bytes: Some(journal),
        index_bytes: Some(MIB),
        dedup_channels: Some(4096),
        force: true,
    };
    let setting = Setting {
        path: PATH,
        create,
        config: config(rng, flavour),
        in_flight_max: 8,
        pause_us_max: *rng.pick(&[0, 20, 100, 400]).expect("there are some"),
        stubborn: rng.chance(250),
    };
    let room = matches!(flavour, Flavour::Mixed | Flavour::Images);
    Drawn { medium, setting, chunks: chunks(rng, flavour), room }
}

/// Chunks on one or two targets.
fn chunks(rng: &mut Rng, flavour: Flavour) -> Vec<(ChunkKey, ChunkSize)> {
    let slots = u16::try_from(rng.range(1..=2)).expect("small");
    let mut sizes = match flavour {
        Flavour::Mixed | Flavour::Tight => {
            vec![4 << 10, 4 << 10, 4 << 10, 16 << 10, 16 << 10, 64 << 10, 64 << 10, 64 << 10]
        }
        Flavour::Images => vec![4 << 10, 16 << 10, 64 << 10, 256 << 10, 256 << 10, 1 << 20],
        Flavour::Crowded => vec![1 << 20; 100],
        Flavour::Gaps => vec![8 << 20; 26],
    };
    sizes.extend(match flavour {
        Flavour::Crowded => [4 << 10, 4 << 10, 64 << 10],
        Flavour::Gaps => [4 << 10, 16 << 10, 64 << 10],
        _ => [128 << 10, 1 << 20, 1 << 20],
    });
    if flavour == Flavour::Mixed && rng.chance(60) {
        sizes.push(8 << 20); // several blocks
    }
    let place = |(index, size): (u32, u32)| {
        let slot = Slot::new(u16::try_from(index).expect("few") % slots);
        let key = ChunkKey::new(slot, 1000 + u64::from(index / 4), index % 4);
        (key, ChunkSize::new(size).expect("a chunk size"))
    };
    (0..).zip(sizes).map(place).collect()
}

/// Small memories and short patience, so that everything that is rare happens.
fn config(rng: &mut Rng, flavour: Flavour) -> StoreConfig {
    // The largest update of a chunk of several blocks makes 128 images.
    let several = matches!(flavour, Flavour::Mixed | Flavour::Gaps);
    let least = if several { 130 } else { 128 };
    let images = rng.range(least..=300);
    let small = |rng: &mut Rng, most: u64| usize::try_from(rng.range(1..=most)).expect("small");
    StoreConfig {
        verify_small_reads: rng.chance(300),
        overlay_bytes_max: usize::try_from(images * 4096).expect("small"),
        apply_inflight_max: small(rng, 8),
        apply_backlog: small(rng, 60),
        commit_delay: Duration::from_micros(rng.range(100..=20_000)),
        always_flush: false,
        ..StoreConfig::default()
    }
}
