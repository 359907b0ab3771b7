//! Questions about many chunks, and reads that are answered together.

use engine_store::index::RangeDigest;

use super::*;
use crate::{LIST_COUNT_MAX, LIST_WORDS_MAX, ReadError};

/// Chunks without data of the given lengths.
async fn extend(
    env: &SimEnv,
    store: &ChunkStore<SimEnv>,
    slot: Slot,
    lens: impl Iterator<Item = u32>,
) {
    let mut under_way = Vec::new();
    for (index, len) in (0..).zip(lens) {
        let key = ChunkKey::new(slot, 100, index);
        let handle = store.clone();
        under_way.push(env.spawn(async move {
            let change = Change::Extend { len };
            handle.update(update(key, 1, 4 * KIB, change), Payload::NONE).await.unwrap();
            handle.commit(&key, ChunkVersion::new(1)).unwrap();
        }));
        if under_way.len() == 1000 {
            for one in under_way.drain(..) {
                one.await;
            }
        }
    }
    for one in under_way {
        one.await;
    }
}

#[test]
fn counts_and_lists_go_through_every_turn() {
    let ground = Ground::new(1);
    ground.run(|env| async move {
        let store = create(&env).await;
        let count = 9000;
        extend(&env, &store, SLOT, (0..count).map(|index| index % 4096)).await;
        let bytes = |range: core::ops::Range<u32>| range.map(|index| u64::from(index % 4096)).sum();
        for range in [0..count, 0..u32::MAX, 10..11, 4000..8500, 9000..9100] {
            let inside = range.start..range.end.min(count);
            let answer = store.query(SLOT, 100, range).await;
            assert_eq!(answer.chunks, u64::from(inside.end - inside.start));
            assert_eq!(answer.bytes, bytes(inside.clone()), "{inside:?}");
            let last = inside.clone().last().map(|index| (index, index % 4096));
            assert_eq!((answer.last, answer.resume, answer.allocated), (last, None, 0));
        }
        assert_eq!(store.query(SLOT, 101, 0..u32::MAX).await.chunks, 0);
        let (mut after, mut seen) = (None, 0);
        loop {
            let listed = store.list(SLOT, after, usize::MAX);
            assert!(listed.len() <= LIST_COUNT_MAX);
            let Some(last) = listed.last() else { break };
            after = Some(last.key);
            for one in &listed {
                assert_eq!(one.key, ChunkKey::new(SLOT, 100, seen));
                seen += 1;
            }
        }
        assert_eq!(seen, count);
    });
}

fn all_of(slot: Slot) -> core::ops::Range<ChunkKey> {
    ChunkKey::new(slot, 0, 0)..ChunkKey::new(slot, u64::MAX, u32::MAX)
}

fn digest(store: &ChunkStore<SimEnv>, slot: Slot) -> (RangeDigest, u32) {
    let (mut digest, mut steps) = (RangeDigest::default(), 1);
    let mut range = all_of(slot);
    while let Some(next) = store.digest_step(range.clone(), &mut digest) {
        assert!(range.start < next, "a step goes on");
        range.start = next;
        steps += 1;
    }
    (digest, steps)
}

/// Two targets with the same chunks have the same digest, wherever their bytes are.
#[test]
fn digests_compare_targets_in_steps() {
    let ground = Ground::new(2);
    ground.run(|env| async move {
        let store = create(&env).await;
        let other = Slot::new(5);
        let record = TargetRecord { target: TargetId::new(12), ..target() };
        store.set_target(other, Some(record)).await.unwrap();
        for slot in [SLOT, other] {
            extend(&env, &store, slot, (0..5000).map(|index| index % 4096)).await;
        }
        let (one, steps) = digest(&store, SLOT);
        assert_eq!((one, steps), digest(&store, other));
        assert_eq!((one.chunks, steps), (5000, 2));
        write(&env, &store, ChunkKey::new(other, 7, 1), 1, (0, &pattern(5000, 1))).await;
        let (differs, _) = digest(&store, other);
        assert!(differs.chunks == 5001 && differs.sum != one.sum);
        write(&env, &store, ChunkKey::new(SLOT, 7, 1), 1, (0, &pattern(5000, 1))).await;
        assert_eq!(digest(&store, SLOT).0, differs);
        // Another byte is another digest.
        write(&env, &store, ChunkKey::new(SLOT, 7, 1), 2, (0, &[9])).await;
        write(&env, &store, ChunkKey::new(other, 7, 1), 2, (0, &[8])).await;
        assert_ne!(digest(&store, SLOT).0, digest(&store, other).0);
    });
}

/// A turn of a list is bounded by what it mixes, not only by the number of chunks.
#[test]
fn lists_of_large_chunks_are_short() {
    let ground = Ground::new(3);
    ground.run(|env| async move {
        let store = create(&env).await;
        let size = 64 * MIB;
        let words = 1024;
        let count = 2 * LIST_WORDS_MAX as u32 / words + 3;
        for index in 0..count {
            let data = bytes(&env, &[1; 4096]).await;
            let offset = size - 4096;
            let change = Change::Write { offset, len: 4096 };
            let asked = update(key(index), 1, size, change);
            store.update(asked, Payload::new(offset, data)).await.unwrap();
            store.commit(&key(index), ChunkVersion::new(1)).unwrap();
        }
        let (mut after, mut lens) = (None, Vec::new());
        loop {
            let listed = store.list(SLOT, after, usize::MAX);
            let Some(last) = listed.last() else { break };
            after = Some(last.key);
            lens.push(listed.len());
        }
        assert_eq!(lens.iter().sum::<usize>(), count as usize);
        assert!(lens.iter().all(|len| *len <= LIST_WORDS_MAX / words as usize + 1), "{lens:?}");
        assert_eq!(store.allocated_bytes(&key(0)), Some(4 << 20), "one block of sixteen");
        assert_eq!(store.query(SLOT, 100, 0..2).await.allocated, 8 << 20);
    });
}

#[test]
fn allocated_bytes_follow_the_blocks() {
    let ground = Ground::new(4);
    ground.run(|env| async move {
        let store = create(&env).await;
        assert_eq!(store.allocated_bytes(&key(0)), None);
        let rows = [(100, 4 * KIB), (5000, 8 * KIB), (300 * KIB, 512 * KIB), (MIB, MIB)];
        for (index, (len, allocated)) in (0..).zip(rows) {
            write(&env, &store, key(index), 1, (0, &pattern(len, 1))).await;
            let found = store.allocated_bytes(&key(index));
            assert_eq!(found, Some(u64::from(allocated)), "{len} bytes");
        }
        let change = Change::Truncate { len: 0 };
        store.update(update(key(3), 2, MIB, change), Payload::NONE).await.unwrap();
        assert_eq!(store.allocated_bytes(&key(3)), Some(1 << 20), "pending does not count");
        store.commit(&key(3), ChunkVersion::new(2)).unwrap();
        assert_eq!(store.allocated_bytes(&key(3)), Some(0));
    });
}

#[test]
fn reads_of_a_batch_are_answered_in_order() {
    let ground = Ground::new(5);
    ground.run(|env| async move {
        let store = create(&env).await;
        for index in 0..4 {
            write(&env, &store, key(index), 1, (0, &pattern(40_000, index as u8))).await;
        }
        let read = |index, offset, len| Read {
            key: key(index),
            offset,
            len,
            version: Which::Committed,
            verify: true,
        };
        let reads = [
            read(3, 100, 5000),
            read(9, 0, 1),
            read(0, 0, 100_000),
            read(1, 39_999, 10),
            Read { key: ChunkKey::new(Slot::new(77), 1, 1), ..read(0, 0, 1) },
            read(2, 50_000, 10),
            read(3, 100, 5000),
        ];
        let before = store.metrics().io(crate::Io::Read).operations;
        let answers = store.read_batch(&reads).await;
        assert_eq!(answers.len(), reads.len());
        let right =
            |index: u8, range: core::ops::Range<usize>| pattern(40_000, index)[range].to_vec();
        let bytes: Vec<Option<Vec<u8>>> =
            answers.iter().map(|answer| answer.as_ref().ok().map(|it| it.to_vec())).collect();
        assert_eq!(bytes[0], Some(right(3, 100..5100)));
        assert!(matches!(answers[1], Err(ReadError::NoSuchChunk { .. })));
        assert_eq!(bytes[2], Some(right(0, 0..40_000)));
        assert_eq!(bytes[3], Some(right(1, 39_999..40_000)));
        assert!(matches!(answers[4], Err(ReadError::NoTarget { .. })));
        assert_eq!(bytes[5], Some(Vec::new()));
        assert_eq!(bytes[6], bytes[0]);
        assert_eq!(store.metrics().io(crate::Io::Read).operations - before, 4);
        assert!(store.read_batch(&[]).await.is_empty());
    });
}
