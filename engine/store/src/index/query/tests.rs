use alloc::vec::Vec;

use engine_types::Rng;

use super::*;
use crate::index::tests::{full, key, record};
use crate::index::{Builder, ChunkKey};
use crate::record::Record;
use engine_types::ChunkSize;

fn built(records: &[(ChunkKey, Record)]) -> Index {
    let mut builder = Builder::new(u64::MAX);
    for (key, record) in records {
        builder.push(*key, record.as_ref()).unwrap();
    }
    builder.finish()
}

fn some(seed: u64, slot: u16, count: u32) -> Vec<(ChunkKey, Record)> {
    let mut rng = Rng::new(seed);
    let size = ChunkSize::new(1 << 24).unwrap();
    let record = |at: u32| record(&mut rng, size, at % 300 * 1000);
    (0..count).map(|at| key(slot, 9, at * 3)).zip((0..count).map(record)).collect()
}

#[test]
fn a_query_counts_chunks_and_bytes() {
    let records = some(1, 4, 400);
    let index = built(&records);
    for range in [0..u32::MAX, 0..1, 1..3, 30..600, 1197..1198, 1198..5000] {
        let mut inside = records.iter().filter(|(key, _)| range.contains(&key.chunk.index));
        let expected = QueryAnswer {
            chunks: inside.clone().count() as u64,
            bytes: inside.clone().map(|(_, record)| u64::from(record.head.len)).sum(),
            allocated: inside.clone().map(|(_, record)| record.as_ref().allocated_bytes()).sum(),
            last: inside.next_back().map(|(key, record)| (key.chunk.index, record.head.len)),
            resume: None,
        };
        assert_eq!(index.query(Slot::new(4), 9, range.clone()), expected, "{range:?}");
    }
    assert_eq!(index.query(Slot::new(4), 8, 0..u32::MAX), QueryAnswer::default());
}

#[test]
fn a_long_query_is_done_in_steps() {
    let record = full(&mut Rng::new(1), 1 << 12);
    let records: Vec<_> = (0..10_000).map(|at| (key(0, 1, at), record.clone())).collect();
    let index = built(&records);
    let mut answer = index.query(Slot::new(0), 1, 100..u32::MAX);
    assert_eq!((answer.chunks, answer.resume), (QUERY_CHUNKS_MAX, Some(4196)));
    while let Some(next) = answer.resume {
        answer.join(&index.query(Slot::new(0), 1, next..u32::MAX));
    }
    assert_eq!((answer.chunks, answer.bytes), (9900, 9900 << 12));
    assert_eq!(answer.last, Some((9999, 1 << 12)));
    // A last step that finds nothing keeps what was found before.
    answer.join(&QueryAnswer::default());
    assert_eq!(answer.last, Some((9999, 1 << 12)));
}

fn digest(index: &Index, slot: u16) -> (RangeDigest, u32) {
    let (mut digest, mut steps) = (RangeDigest::default(), 0);
    let mut next = Some(key(slot, 0, 0));
    while let Some(from) = next {
        next = index.digest_step(from..key(slot + 1, 0, 0), &mut digest);
        steps += 1;
    }
    (digest, steps)
}

/// R13: what two replicas compare does not depend on slots, blocks or chain versions.
#[test]
fn equal_content_has_equal_digests() {
    let records = some(2, 4, 300);
    let (mut elsewhere, mut order) = (records.clone(), Rng::new(3));
    for (key, record) in &mut elsewhere {
        key.slot = Slot::new(7);
        record.head.chain_version = engine_types::ChainVersion::new(77);
        if record.block.is_some() {
            record.block = crate::address::BlockAddress::new(1024 * 5000);
        }
    }
    order.shuffle(&mut elsewhere);
    let mut other = Index::new(u64::MAX);
    for (key, record) in &elsewhere {
        other.insert(*key, record.as_ref()).unwrap();
    }
    let expected = digest(&built(&records), 4).0;
    assert_eq!(expected, digest(&other, 7).0);
    assert_eq!(expected.chunks, 300);
    // One that is missing, or one bit of one checksum, is seen.
    let (at, record) = &mut elsewhere[5];
    let mut record = record.clone();
    if record.words.is_empty() {
        record.head.len ^= 1;
    } else {
        *record.words.last_mut().unwrap() ^= 1 << 31;
    }
    other.insert(*at, record.as_ref()).unwrap();
    assert_ne!(expected, digest(&other, 7).0);
    other.remove(at);
    assert_ne!(expected, digest(&other, 7).0);
}

#[test]
fn a_digest_step_is_bounded_in_chunks_and_words() {
    let mut rng = Rng::new(4);
    let small = full(&mut rng, 1 << 12);
    let records: Vec<_> = (0..9000).map(|at| (key(0, 1, at), small.clone())).collect();
    let (found, steps) = digest(&built(&records), 0);
    assert_eq!((found.chunks, steps), (9000, 3));
    let large = full(&mut rng, 1 << 26);
    let records: Vec<_> = (0..300).map(|at| (key(0, 1, at), large.clone())).collect();
    let (found, steps) = digest(&built(&records), 0);
    assert_eq!((found.chunks, steps), (300, 3));
}
