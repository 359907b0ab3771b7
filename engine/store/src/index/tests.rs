use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use std::ops::Bound;

use engine_types::{ChainVersion, ChunkSize, ChunkVersion, Rng};

use super::*;
use crate::address::{BlockClass, Slot, TruncateEpoch};
use crate::record::{HOLE, Record};

mod faults;
mod memory;

/// A record as a planner would make it: it passes its check.
pub(super) fn record(rng: &mut Rng, size: ChunkSize, data_end: u32) -> Record {
    let len = u32::try_from(rng.range(data_end.into()..=size.bytes().into())).unwrap();
    let class = BlockClass::holding(size.bytes().min(BlockClass::MAX.bytes())).unwrap();
    let head = Head {
        len,
        data_end,
        version: ChunkVersion::new(random(rng)),
        chain_version: ChainVersion::new(random(rng)),
        epoch: TruncateEpoch::new(random(rng)),
        size,
        class,
    };
    let block = |rng: &mut Rng| random(rng) % 1000 * class.sectors();
    let mut words: Vec<u32> = (1..head.place_count()).map(|_| block(rng)).collect();
    words.extend((0..head.checksum_count()).map(|_| random(rng).max(HOLE + 1)));
    let first = if data_end == 0 { BlockAddress::NONE } else { BlockAddress::new(block(rng)) };
    let record = Record { head, block: first, words };
    record.as_ref().check().unwrap();
    record
}

#[expect(clippy::cast_possible_truncation, reason = "any 32 bits")]
fn random(rng: &mut Rng) -> u32 {
    rng.next_u64() as u32
}

/// A full chunk: 1 word for 4 KiB, 8 up to 512 KiB, 64 for 4 MiB, 1,039 for 64 MiB.
pub(super) fn full(rng: &mut Rng, size: u32) -> Record {
    record(rng, ChunkSize::new(size).unwrap(), size)
}

pub(super) fn key(slot: u16, inode: u64, index: u32) -> ChunkKey {
    ChunkKey::new(Slot::new(slot), inode, index)
}

/// What one model test does, in thousandths of its operations; the rest are removals.
struct Shape {
    name: &'static str,
    operations: u32,
    insert: u32,
    /// Binary logarithms of chunk sizes.
    sizes: (u64, u64),
    slots: u64,
    inodes: u64,
    indices: u64,
}

const SHAPES: [Shape; 5] = [
    Shape {
        name: "small",
        operations: 60_000,
        insert: 500,
        sizes: (12, 12),
        slots: 1,
        inodes: 40,
        indices: 60,
    },
    Shape {
        name: "half MiB",
        operations: 80_000,
        insert: 600,
        sizes: (19, 19),
        slots: 3,
        inodes: 300,
        indices: 40,
    },
    Shape {
        name: "mixed",
        operations: 60_000,
        insert: 550,
        sizes: (12, 26),
        slots: 4,
        inodes: 100,
        indices: 20,
    },
    Shape {
        name: "large",
        operations: 12_000,
        insert: 500,
        sizes: (22, 26),
        slots: 1,
        inodes: 5,
        indices: 40,
    },
    Shape {
        name: "spread",
        operations: 60_000,
        insert: 800,
        sizes: (12, 14),
        slots: 65_536,
        inodes: 1 << 63,
        indices: 1 << 32,
    },
];

type Model = BTreeMap<ChunkKey, Record>;

fn random_key(rng: &mut Rng, shape: &Shape, model: &Model) -> ChunkKey {
    let slot = u16::try_from(rng.below(shape.slots)).unwrap();
    let at = key(slot, rng.below(shape.inodes), u32::try_from(rng.below(shape.indices)).unwrap());
    // A key that is there, half of the time: else wide shapes would never meet one.
    let found = model.range(at..).next().map(|(&key, _)| key);
    found.filter(|_| rng.chance(500)).unwrap_or(at)
}

fn random_record(rng: &mut Rng, shape: &Shape) -> Record {
    let size = ChunkSize::new(1 << rng.range(shape.sizes.0..=shape.sizes.1)).unwrap();
    let data_end = match rng.below(8) {
        0 => 0,
        1..=3 => size.bytes(),
        _ => u32::try_from(rng.range(0..=size.bytes().into())).unwrap(),
    };
    record(rng, size, data_end)
}

fn compare<'a>(
    found: impl Iterator<Item = (ChunkKey, RecordRef<'a>)>,
    expected: impl Iterator<Item = (ChunkKey, &'a Record)>,
    limit: usize,
) {
    let expected = expected.map(|(key, record)| (key, record.as_ref()));
    assert!(found.take(limit).eq(expected.take(limit)));
}

fn compare_ranges(rng: &mut Rng, shape: &Shape, index: &Index, model: &Model) {
    let (a, b) = (random_key(rng, shape, model), random_key(rng, shape, model));
    let (from, to) = (a.min(b), a.max(b));
    let pairs = |(key, record): (&ChunkKey, _)| (*key, record);
    let owned = |(key, record): (&ChunkKey, &'_ Record)| (*key, record.clone());
    compare(index.range_keys(from..to), model.range(from..to).map(pairs), 200);
    compare(index.range_keys(from..=to).rev(), model.range(from..=to).rev().map(pairs), 200);
    let above = (Bound::Excluded(from), Bound::Unbounded);
    compare(index.after(Some(from)), model.range(above).map(pairs), 100);
    // Both ends in turns, until they meet.
    let (mut found, mut expected) = (index.range_keys(from..to), model.range(from..to));
    for _ in 0..300 {
        let (next, other) = if rng.chance(500) {
            (found.next(), expected.next())
        } else {
            (found.next_back(), expected.next_back())
        };
        let next = next.map(|(key, record)| (key, record.to_owned()));
        assert_eq!(next, other.map(owned));
    }
}

fn step(rng: &mut Rng, shape: &Shape, index: &mut Index, model: &mut Model) {
    let at = random_key(rng, shape, model);
    if rng.chance(shape.insert) {
        let record = random_record(rng, shape);
        let found = index.insert(at, record.as_ref()).unwrap();
        let old = model.insert(at, record);
        let old = old.map(|old| Replaced { head: old.head, block: old.block });
        assert_eq!(found, old, "{at}");
    } else {
        assert_eq!(index.remove(&at), model.remove(&at).is_some(), "{at}");
    }
    let at = random_key(rng, shape, model);
    assert_eq!(index.get(&at), model.get(&at).map(Record::as_ref), "{at}");
}

fn run(shape: &Shape, seed: u64) {
    let mut rng = Rng::new(seed);
    let (mut index, mut model) = (Index::new(u64::MAX), Model::new());
    for round in 0..shape.operations {
        step(&mut rng, shape, &mut index, &mut model);
        if round % 64 == 0 {
            compare_ranges(&mut rng, shape, &index, &model);
        }
        if round % 4096 == 0 {
            index.check().unwrap();
            assert_eq!(index.len(), model.len() as u64);
        }
    }
    index.check().unwrap();
    compare(index.after(None), model.iter().map(|(&key, record)| (key, record)), usize::MAX);
    // Everything goes, in random order.
    let mut keys: Vec<ChunkKey> = model.keys().copied().collect();
    rng.shuffle(&mut keys);
    for (round, at) in keys.iter().enumerate() {
        assert!(index.remove(at) && !index.remove(at));
        if round % 4096 == 0 {
            index.check().unwrap();
        }
    }
    index.check().unwrap();
    assert!(index.is_empty() && index.after(None).next().is_none());
    // Only the list of page numbers stays: 24 bytes for each page that there was.
    let rest = index.bytes() - Index::new(0).bytes();
    assert!(rest <= 16 << 10, "{rest} bytes stay");
}

#[test]
fn it_answers_as_a_map_does() {
    for (shape, seed) in SHAPES.iter().zip(1..) {
        std::println!("shape {}, seed {seed}", shape.name);
        run(shape, seed);
    }
}

#[test]
fn replacing_tells_what_was_there() {
    let mut rng = Rng::new(1);
    let mut index = Index::new(u64::MAX);
    let (first, second) = (full(&mut rng, 1 << 19), full(&mut rng, 1 << 26));
    let at = key(1, 2, 3);
    assert_eq!(index.insert(at, first.as_ref()), Ok(None));
    let replaced = Replaced { head: first.head, block: first.block };
    assert_eq!(index.insert(at, second.as_ref()), Ok(Some(replaced)));
    assert_eq!((index.len(), index.get(&at)), (1, Some(second.as_ref())));
    index.check().unwrap();
}

#[test]
#[should_panic(expected = "E117")]
fn a_record_with_other_words_than_its_head_says_is_refused() {
    let mut record = full(&mut Rng::new(1), 1 << 19);
    record.words.pop();
    let _ = Index::new(u64::MAX).insert(key(0, 0, 0), record.as_ref());
}

/// The ends of the key space are keys like others.
#[test]
fn the_smallest_and_the_largest_key_are_found() {
    let mut rng = Rng::new(1);
    let mut index = Index::new(u64::MAX);
    let record = full(&mut rng, 1 << 12);
    for at in [ChunkKey::MAX, ChunkKey::MIN, key(u16::MAX, u64::MAX, 0), key(1, 0, u32::MAX)] {
        index.insert(at, record.as_ref()).unwrap();
    }
    let keys = |records: Records<'_>| records.map(|(key, _)| key).collect::<Vec<_>>();
    let all =
        [ChunkKey::MIN, key(1, 0, u32::MAX), key(u16::MAX, u64::MAX, 0), ChunkKey::MAX].to_vec();
    assert_eq!(keys(index.after(None)), all);
    assert_eq!(keys(index.after(Some(ChunkKey::MIN))), all[1..]);
    assert_eq!(keys(index.after(Some(ChunkKey::MAX))), []);
    assert_eq!(keys(index.range_keys(ChunkKey::MIN..ChunkKey::MAX)), all[..3]);
    assert_eq!(keys(index.range_keys(all[1]..=ChunkKey::MAX)), all[1..]);
    assert_eq!(keys(index.range(Slot::new(u16::MAX), u64::MAX, ..)), all[2..]);
    assert_eq!(keys(index.range(Slot::new(1), 0, 0..u32::MAX)), []);
    assert_eq!(index.range_keys(..).next_back().unwrap().0, ChunkKey::MAX);
}

#[test]
fn the_last_chunk_of_a_file_comes_first_from_behind() {
    let mut rng = Rng::new(1);
    let mut index = Index::new(u64::MAX);
    let record = full(&mut rng, 1 << 12);
    for (inode, indices) in [(6, 0..3), (7, 5..300), (8, 0..200)] {
        for at in indices {
            index.insert(key(2, inode, at), record.as_ref()).unwrap();
        }
    }
    let last = |inode, indices| {
        let found = index.range(Slot::new(2), inode, indices).next_back();
        found.map(|(key, _)| key.chunk.index)
    };
    assert_eq!(last(7, 0..u32::MAX), Some(299));
    assert_eq!(last(7, 0..250), Some(249));
    assert_eq!(last(7, 0..5), None);
    assert_eq!(last(9, 0..u32::MAX), None);
    // An empty range may be the wrong way round.
    #[expect(clippy::reversed_empty_ranges, reason = "that is the question")]
    let none = last(7, 20..10);
    assert_eq!(none, None);
}

/// A dump goes on behind a key although that key and its neighbours have gone.
#[test]
fn a_walk_resumes_behind_a_key_that_is_gone() {
    let mut rng = Rng::new(1);
    let mut index = Index::new(u64::MAX);
    let record = full(&mut rng, 1 << 19);
    (0..2000).for_each(|at| assert!(index.insert(key(0, 1, at), record.as_ref()).is_ok()));
    (500..800).for_each(|at| assert!(index.remove(&key(0, 1, at))));
    let next = |at| index.after(Some(key(0, 1, at))).next().unwrap().0.chunk.index;
    assert_eq!([next(499), next(500), next(700), next(799), next(800)], [800, 800, 800, 800, 801]);
}
