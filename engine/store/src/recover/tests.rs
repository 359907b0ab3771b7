//! Images of random histories, compared with what the whole history says.

use alloc::vec;

use engine_types::{ChainVersion, ChunkSize, Rng};

use super::*;
use crate::address::{BlockAddress, BlockClass, TruncateEpoch};
use crate::record::{Head, Record};

const SECTORS: u16 = 16;
const BLOCK_SECTORS: u16 = 2;

fn sum(lsn: Lsn, sector: u16) -> Crc32c {
    Crc32c::new(u32::try_from(lsn.get()).unwrap() << 8 | u32::from(sector))
}

fn number(rng: &mut Rng, below: u16) -> u16 {
    u16::try_from(rng.below(below.into())).unwrap()
}

/// A record of a chunk of 64 KiB with holes.
fn record(rng: &mut Rng, version: u32) -> Record {
    let size = ChunkSize::new(64 << 10).unwrap();
    let blocks = u32::from(number(rng, SECTORS / BLOCK_SECTORS + 1));
    let data_end = blocks * size.checksum_block_bytes();
    let mut words: Vec<u32> = (0..blocks).map(|_| u32::from(rng.chance(800))).collect();
    if let Some(last) = words.last_mut() {
        *last = 1; // E101
    }
    let head = Head {
        len: size.bytes(),
        data_end,
        version: ChunkVersion::new(version),
        chain_version: ChainVersion::new(1),
        epoch: TruncateEpoch::new(0),
        size,
        class: BlockClass::holding(size.bytes()).unwrap(),
    };
    Record { head, block: BlockAddress::new(version * 16), words }
}

fn put(rng: &mut Rng, key: ChunkKey, version: u32) -> Rc<Put> {
    let record = rng.chance(900).then(|| record(rng, version));
    let mut direct = Vec::new();
    let mut images = Vec::new();
    if let Some(record) = &record {
        let written: Vec<u16> =
            (0..SECTORS).filter(|&s| !is_dead(&record.as_ref(), s) && rng.chance(300)).collect();
        let wants_images = rng.chance(500);
        for sector in written {
            match wants_images && rng.chance(500) {
                true => images.push(sector),
                false => direct.push(SectorRange { first: sector, count: 1 }),
            }
        }
    }
    let (version, chain_version) = (ChunkVersion::new(version), ChainVersion::new(1));
    Rc::new(Put { key, version, chain_version, record, direct, images, tag: None })
}

/// Everything that was ever said about the images of a chunk, kept to the end.
#[derive(Default)]
struct Naive {
    committed: Vec<Image>,
    pending: Option<(Rc<Put>, Vec<Image>)>,
    record: Option<Record>,
}

impl Naive {
    fn commit(&mut self) {
        let Some((put, images)) = self.pending.take() else { return };
        self.record = put.record.clone();
        let Some(record) = &put.record else { return self.committed.clear() };
        let written = |sector| {
            images.iter().any(|image| image.sector == sector)
                || put.direct.iter().any(|range| range.contains(sector))
        };
        self.committed
            .retain(|image| !written(image.sector) && !is_dead(&record.as_ref(), image.sector));
        self.committed.extend(images);
    }

    fn entry(&mut self, lsn: Lsn, entry: &Entry) {
        let is_pending = |naive: &Self, version: ChunkVersion| {
            naive.pending.as_ref().is_some_and(|(put, _)| put.version == version)
        };
        match entry {
            Entry::Put(put) => {
                if !is_pending(self, put.version) {
                    self.commit();
                }
                let image = |(nth, &sector): (u64, &u16)| Image {
                    sector,
                    lsn,
                    position: lsn.get() << 20 | nth << 12,
                    sum: sum(lsn, sector),
                };
                let images = (0..).zip(&put.images).map(image).collect();
                self.pending = Some((put.clone(), images));
            }
            Entry::Commit { version, .. } if is_pending(self, *version) => self.commit(),
            Entry::Abort { version, .. } if is_pending(self, *version) => self.pending = None,
            Entry::Move { record, direct, .. } => {
                self.commit();
                self.record = Some((**record).clone());
                let moved = |s| direct.iter().any(|range| range.contains(s));
                self.committed.retain(|image| !moved(image.sector));
            }
            Entry::Erase { .. } => *self = Self::default(),
            _ => {}
        }
    }
}

fn draw(rng: &mut Rng, key: ChunkKey, naive: &Naive) -> Entry {
    let committed = naive.record.as_ref().map_or(0, |record| record.head.version.get());
    let Some((pending, _)) = &naive.pending else {
        return match rng.below(12) {
            0 => Entry::Erase { key },
            1 | 2 if naive.record.is_some() => {
                let mut record = naive.record.clone().unwrap();
                record.block = BlockAddress::new(1 << 20);
                let mut direct = Vec::new();
                for sector in 0..SECTORS {
                    if !is_dead(&record.as_ref(), sector) {
                        direct.push(SectorRange { first: sector, count: 1 });
                    }
                }
                Entry::Move { key, record: record.into(), direct }
            }
            _ => Entry::Put(put(rng, key, committed + 1)),
        };
    };
    match rng.below(10) {
        0 => Entry::Erase { key },
        1 => Entry::Abort { key, version: pending.version },
        2 | 3 => Entry::Put(put(rng, key, pending.version.get() + 1)), // E148
        4 => Entry::Put(pending.clone()),                              // logged again (S9)
        _ => Entry::Commit { key, version: pending.version },
    }
}

fn history(seed: u64, applied: u64) {
    let mut rng = Rng::new(seed);
    let keys: Vec<ChunkKey> = (0..6).map(|index| ChunkKey::new(Slot::new(1), 7, index)).collect();
    let mut naives: Vec<Naive> = keys.iter().map(|_| Naive::default()).collect();
    let dedup = || Dedup::new(4, 4096);
    let [mut at_once, mut in_turns] =
        [(), ()].map(|()| Replay::new(Lsn::new(1), Lsn::ZERO, 1 << 20, dedup()));
    at_once.loaded();
    in_turns.loaded();
    for lsn in (1..300).map(Lsn::new) {
        let index = usize::from(number(&mut rng, 6));
        let entry = draw(&mut rng, keys[index], &naives[index]);
        let sums: Vec<Crc32c> = match &entry {
            Entry::Put(put) => put.images.iter().map(|&sector| sum(lsn, sector)).collect(),
            _ => vec![],
        };
        for replay in [&mut at_once, &mut in_turns] {
            replay.entry(lsn, &entry, lsn.get() << 20, &sums).unwrap();
            let needless = |chunk: &ChunkImages| {
                let pending = chunk.pending.as_ref().map_or(0, |(_, images)| images.len());
                chunk.committed.len() + pending == 0
            };
            let chunks = &replay.images.chunks;
            assert!(!chunks.values().any(needless), "E158: seed {seed} {lsn}: {chunks:?}");
        }
        naives[index].entry(lsn, &entry);
    }
    for replay in [&mut at_once, &mut in_turns] {
        replay.applied(Lsn::new(applied));
    }
    while in_turns.settle(1).unwrap() {}
    let (mut homeward, mut overlaid) = (Vec::new(), Vec::new());
    for (key, naive) in keys.iter().zip(&mut naives) {
        naive.committed.sort_by_key(|image| image.sector);
        let alive = |image: &&Image| Lsn::new(applied) < image.lsn;
        homeward.extend(naive.committed.iter().filter(alive).map(|image| (*key, *image)));
        let pending = naive.pending.iter().flat_map(|(_, images)| images);
        overlaid.extend(pending.map(|image| (*key, *image)));
    }
    for replay in [at_once, in_turns] {
        let found = replay.finish().unwrap();
        assert_eq!(found.homeward, homeward, "seed {seed}");
        assert_eq!(found.overlaid, overlaid, "seed {seed}");
        for (key, naive) in keys.iter().zip(&naives) {
            let expected = naive.record.as_ref().map(|record| record.as_ref());
            assert_eq!(found.index.get(key), expected, "seed {seed} {key}");
        }
    }
}

#[test]
fn images_are_those_of_the_whole_history() {
    for seed in 0..300 {
        history(seed, 0);
        history(seed, 150);
    }
}

/// E158: fifteen million PUTs without images fit beside the index.
#[test]
fn chunks_without_images_take_no_memory() {
    let mut rng = Rng::new(1);
    let mut replay = Replay::new(Lsn::new(1), Lsn::ZERO, 1 << 20, Dedup::new(4, 4096));
    replay.loaded();
    for index in 0..1000 {
        let key = ChunkKey::new(Slot::new(1), 7, index);
        let mut put = (*put(&mut rng, key, 1)).clone();
        put.images.clear();
        replay.entry(Lsn::new(1), &Entry::Put(put.into()), 0, &[]).unwrap();
        let version = ChunkVersion::new(1);
        replay.entry(Lsn::new(2), &Entry::Commit { key, version }, 0, &[]).unwrap();
    }
    assert!(replay.images.chunks.is_empty());
}
