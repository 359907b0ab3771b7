//! Room that is not there: what is waited for, what is refused, and that nothing waits for ever.

use engine_store::UpdateError;
use engine_store::pins::{PLANS_MAX, READS_MAX};
use engine_types::limits::BLOCK_BYTES_MAX;

use super::*;
use crate::ReadError;

/// A store with five segments, of which writes get three.
async fn create_small(env: &SimEnv) -> ChunkStore<SimEnv> {
    let options = CreateOptions { size: Some(360 << 20), ..options() };
    ChunkStore::format(env, Path::new(PATH), &options).await.unwrap();
    let config = StoreConfig { full_permille: 1000, ..config() };
    let (store, _) = ChunkStore::open(env, Path::new(PATH), config).await.unwrap();
    store.set_target(SLOT, Some(target())).await.unwrap();
    store
}

/// Asks for version 1 of a chunk that is one block.
async fn fill(
    env: &SimEnv,
    store: &ChunkStore<SimEnv>,
    key: ChunkKey,
    size: u32,
) -> Result<Stored, UpdateError> {
    let data = bytes(env, &vec![7; size as usize]).await;
    let change = Change::Write { offset: 0, len: size };
    let stored = store.update(update(key, 1, size, change), Payload::new(0, data)).await?;
    store.commit(&key, stored.version).unwrap();
    Ok(stored)
}

async fn remove(store: &ChunkStore<SimEnv>, key: ChunkKey, size: u32) {
    let removal = update(key, 2, size, Change::Remove);
    store.update(removal, Payload::NONE).await.unwrap();
    store.commit(&key, ChunkVersion::new(2)).unwrap();
}

#[test]
fn a_full_store_waits_for_what_was_dropped() {
    let ground = Ground::new(1);
    ground.run(move |env| async move {
        let store = create_small(&env).await;
        let size = BLOCK_BYTES_MAX;
        let mut count = 0;
        let refused = loop {
            match fill(&env, &store, key(count), size).await {
                Ok(_) => count += 1,
                Err(why) => break why,
            }
        };
        assert_eq!(count, 48, "three segments of 16 blocks");
        let needed = u64::from(size);
        assert_eq!(refused, UpdateError::NoSpace { free: 0, needed });
        // The commit of the removal is not durable when its block is wanted.
        for round in 0..8 {
            remove(&store, key(round), size).await;
            fill(&env, &store, key(count + round), size).await.unwrap();
        }
        // Nor has a read come to its end that was under way.
        let read =
            Read { key: key(20), offset: 0, len: MIB, version: Which::Committed, verify: true };
        let reader = store.clone();
        let reading = env.spawn(async move { reader.read(read).await.unwrap().len() });
        engine_runtime::yield_now().await;
        remove(&store, key(20), size).await;
        fill(&env, &store, key(99), size).await.unwrap();
        assert_eq!(reading.await, MIB as usize);
        let refused = fill(&env, &store, key(100), size).await;
        assert_eq!(refused, Err(UpdateError::NoSpace { free: 0, needed }));
        store.audit().unwrap();
    });
}

#[test]
fn what_compaction_cannot_help_is_refused_with_its_size() {
    let ground = Ground::new(2);
    ground.run(move |env| async move {
        let store = create_small(&env).await;
        for chunk in 0..48 {
            fill(&env, &store, key(chunk), BLOCK_BYTES_MAX).await.unwrap();
        }
        // Room for a small chunk, but in segments of large blocks, and too little to empty one.
        remove(&store, key(0), BLOCK_BYTES_MAX).await;
        remove(&store, key(20), BLOCK_BYTES_MAX).await;
        let refused = fill(&env, &store, key(100), 64 * KIB).await;
        let Err(UpdateError::NoSpace { needed, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(needed, u64::from(64 * KIB));
        fill(&env, &store, key(101), BLOCK_BYTES_MAX).await.unwrap();
        store.audit().unwrap();
    });
}

/// Chunks with an overwrite of one sector each.
async fn overwrite(
    env: &SimEnv,
    store: &ChunkStore<SimEnv>,
    key: ChunkKey,
    version: u32,
) -> Result<Stored, UpdateError> {
    let payload = Payload::new(0, bytes(env, &[version as u8; 100]).await);
    let change = Change::Write { offset: 0, len: 100 };
    store.update(update(key, version, 64 * KIB, change), payload).await
}

#[test]
fn e149_undecided_versions_leave_room_and_nobody_waits_for_ever() {
    let ground = Ground::new(3);
    ground.run(move |env| async move {
        let store = create(&env).await;
        for chunk in 0..140 {
            fill(&env, &store, key(chunk), 64 * KIB).await.unwrap();
        }
        // A quarter of the ring: 128 images.
        for chunk in 0..128 {
            overwrite(&env, &store, key(chunk), 2).await.unwrap();
        }
        let began = env.now();
        let refused = overwrite(&env, &store, key(130), 2).await;
        assert_eq!(refused, Err(UpdateError::TooManyPending { max: 128 }));
        let waited = env.now().saturating_since(began);
        assert!(config().room_wait <= waited && waited < 2 * config().room_wait, "{waited:?}");
        // What needs no image goes on, and so does the journal, turn by turn.
        for chunk in 200..400 {
            fill(&env, &store, key(chunk), 64 * KIB).await.unwrap();
            store.sync().await.unwrap();
        }
        // One that waits is admitted with the next decision.
        for decision in 0..3 {
            let (waiting, again) = (store.clone(), env.clone());
            let waiting =
                env.spawn(async move { overwrite(&again, &waiting, key(130 + decision), 2).await });
            env.sleep_until(env.now().saturating_add(Duration::from_secs(1))).await;
            match decision {
                0 => store.commit(&key(0), ChunkVersion::new(2)).unwrap(),
                1 => store.abort(&key(1), ChunkVersion::new(2)).await.unwrap(),
                _ => assert!(store.erase(&key(2)).await.unwrap()),
            }
            waiting.await.unwrap();
        }
        store.audit().unwrap();
        store.close().await.unwrap();
    });
    ground.run(move |env| async move {
        let (store, opened) = open(&env).await;
        assert_eq!(opened.pendings.len(), 128);
        for (key, version) in opened.pendings {
            store.commit(&key, version).unwrap();
        }
        for chunk in 3..128 {
            assert_eq!(read_all(&store, key(chunk)).await[..100], [2; 100]);
        }
        store.audit().unwrap();
    });
}

#[test]
fn e154_groups_and_checkpoints_need_no_memory_of_callers() {
    let ground = Ground::new(4);
    ground.run(move |env| async move {
        let store = create(&env).await;
        for chunk in 0..8 {
            fill(&env, &store, key(chunk), 64 * KIB).await.unwrap();
        }
        overwrite(&env, &store, key(0), 2).await.unwrap();
        let mut all = Vec::new();
        for len in [1 << 20, 64 << 10, 4 << 10] {
            while let Ok(buf) = env.pool().alloc(len) {
                all.push(buf);
            }
        }
        store.commit(&key(0), ChunkVersion::new(2)).unwrap();
        for round in 3..40 {
            assert!(store.erase(&key(round % 8)).await.is_ok());
            store.sync().await.unwrap();
            crate::checkpoint::checkpoint(&store.inner, false).await.unwrap();
            store.set_timeline(engine_types::Timeline::new(round)).await.unwrap();
        }
        store.close().await.unwrap();
        drop(all);
    });
    ground.run(move |env| async move { open(&env).await.0.audit().unwrap() });
}

#[test]
fn e181_reads_beyond_the_limit_are_refused_and_updates_wait() {
    let ground = Ground::new(5);
    ground.run(move |env| async move {
        let store = create(&env).await;
        fill(&env, &store, key(0), 64 * KIB).await.unwrap();
        let read = Read { key: key(0), offset: 0, len: 1, version: Which::Committed, verify: true };
        let take = |count: usize| -> Vec<_> {
            (0..count).map(|_| store.inner.state.borrow().take_pin()).collect()
        };
        let mut pins = take(READS_MAX - 1);
        store.read(read).await.unwrap();
        pins.extend(take(1));
        let refused = store.read(read).await;
        assert!(matches!(refused, Err(ReadError::TooManyReads { max: READS_MAX })), "{refused:?}");
        // Updates and the store itself have room left.
        overwrite(&env, &store, key(0), 2).await.unwrap();
        pins.extend(take(PLANS_MAX / 8));
        let refused = fill(&env, &store, key(1), 64 * KIB).await;
        assert_eq!(refused, Err(UpdateError::TooManyPlans { max: PLANS_MAX }));
        store.commit(&key(0), ChunkVersion::new(2)).unwrap();
        let (again, other) = (env.clone(), store.clone());
        let waiting = env.spawn(async move { fill(&again, &other, key(1), 64 * KIB).await });
        env.sleep_until(env.now().saturating_add(Duration::from_secs(1))).await;
        pins.into_iter().for_each(|pin| store.inner.state.borrow().give_pin(pin));
        waiting.await.unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn e144_an_overwrite_that_does_not_grow_needs_no_record_room() {
    let ground = Ground::new(6);
    ground.run(move |env| async move {
        create(&env).await.close().await.unwrap();
        let config = StoreConfig { index_bytes_max: Some(256 << 10), ..config() };
        let (store, _) = ChunkStore::open(&env, Path::new(PATH), config).await.unwrap();
        let small = |index| key(index);
        let write = async |index, version, len: u32| {
            let data = bytes(&env, &vec![3; len as usize]).await;
            let change = Change::Write { offset: 0, len };
            let asked = update(small(index), version, 64 * KIB, change);
            store.update(asked, Payload::new(0, data)).await
        };
        let mut count = 0;
        let refused = loop {
            match write(count, 1, 4 * KIB).await {
                Ok(stored) => store.commit(&small(count), stored.version).unwrap(),
                Err(why) => break why,
            }
            count += 1;
        };
        assert!(matches!(refused, UpdateError::NoRecords { .. }), "{refused:?}");
        let full = store.space().index_bytes;
        // Overwrites of the same size, pending side by side, promise nothing.
        for index in 0..20 {
            write(index, 2, 4 * KIB).await.unwrap();
        }
        store.audit().unwrap();
        let refused = write(20, 2, 64 * KIB).await;
        assert!(matches!(refused, Err(UpdateError::NoRecords { .. })), "{refused:?}");
        for index in 0..20 {
            store.commit(&small(index), ChunkVersion::new(2)).unwrap();
        }
        assert_eq!(store.space().index_bytes, full);
        // What was removed is room for growth, once the removal is committed.
        for index in 0..8 {
            let removal = update(small(index), 3, 64 * KIB, Change::Remove);
            store.update(removal, Payload::NONE).await.unwrap();
        }
        assert!(write(20, 2, 64 * KIB).await.is_err());
        for index in 0..8 {
            store.commit(&small(index), ChunkVersion::new(3)).unwrap();
        }
        while store.space().index_bytes + 100 > store.space().index_bytes_max {
            count -= 1;
            assert!(store.erase(&small(count)).await.unwrap());
        }
        write(20, 2, 64 * KIB).await.unwrap();
        store.commit(&small(20), ChunkVersion::new(2)).unwrap();
        store.audit().unwrap();
        store.close().await.unwrap();
    });
}
