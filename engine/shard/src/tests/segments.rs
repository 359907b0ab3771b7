//! Stores that have hardly any segments left: who gets one, and who is told that there is none.

use engine_runtime::sim::{Count, CrashMode};
use engine_store::UpdateError;

use super::*;
use crate::compaction::Compaction;
use crate::metrics::Io;

/// More than the metadata of these stores, less than a segment beside it.
const METADATA: u64 = 60 << 20;
const SEGMENT: u64 = 64 << 20;
/// Chunks whose second block is of 4 MiB, 16 to a segment.
const LARGE: u32 = 8 * MIB;
/// Segments that writes leave alone in a store of a few.
const RESERVE: u64 = 2;

fn store_options(segments: u64) -> CreateOptions {
    let size = Some(METADATA + segments * SEGMENT);
    CreateOptions { size, index_bytes: Some(1 << 20), force: true, ..options() }
}

async fn create_on(env: &SimEnv, options: &CreateOptions) -> ChunkStore<SimEnv> {
    ChunkStore::format(env, Path::new(PATH), options).await.unwrap();
    let (store, _) = open(env).await;
    store.set_target(SLOT, Some(target())).await.unwrap();
    store
}

/// A device with so many segments that writes may use.
fn device(ground: &Ground, usable: u64) -> CreateOptions {
    let options = store_options(usable + RESERVE);
    ground.sim.add_device(ground.node, PATH, options.size.unwrap(), 512);
    options
}

/// One block of 4 MiB per chunk, with hardly any data.
async fn write_large(env: &SimEnv, store: &ChunkStore<SimEnv>, chunks: core::ops::Range<u32>) {
    for index in chunks {
        put_large(env, store, index, 1).await.unwrap();
        store.commit(&key(index), ChunkVersion::new(1)).unwrap();
    }
}

async fn put_large(
    env: &SimEnv,
    store: &ChunkStore<SimEnv>,
    index: u32,
    version: u32,
) -> Result<Stored, UpdateError> {
    let data = bytes(env, &pattern(5000, index as u8)).await;
    let offset = 4 * MIB;
    let change = Change::Write { offset, len: 5000 };
    store.update(update(key(index), version, LARGE, change), Payload::new(offset, data)).await
}

/// The first chunk of another class.
async fn put_small(env: &SimEnv, store: &ChunkStore<SimEnv>) -> Result<Stored, UpdateError> {
    put_of(env, store, 9000, 4 * KIB).await
}

/// A whole chunk.
async fn put_of(
    env: &SimEnv,
    store: &ChunkStore<SimEnv>,
    index: u32,
    len: u32,
) -> Result<Stored, UpdateError> {
    let data = bytes(env, &pattern(len, 1)).await;
    let change = Change::Write { offset: 0, len };
    store.update(update(key(index), 1, len, change), Payload::new(0, data)).await
}

/// Segments with 1, 2 and 1 blocks in use, the last of them the one that is filled.
async fn three_segments(env: &SimEnv, store: &ChunkStore<SimEnv>) {
    write_large(env, store, 0..33).await;
    for index in (1..16).chain(18..32) {
        assert!(store.erase(&key(index)).await.unwrap());
    }
    store.sync().await.unwrap();
}

fn segment_of(store: &ChunkStore<SimEnv>, index: u32) -> engine_store::SegmentId {
    let state = store.inner.state.borrow();
    let record = state.committed(&key(index)).unwrap();
    record.blocks().next().unwrap().1.segment()
}

/// Bytes of the chunk are no longer what was written.
async fn rot(env: &SimEnv, store: &ChunkStore<SimEnv>, index: u32) {
    let position = {
        let state = store.inner.state.borrow();
        let block = state.committed(&key(index)).unwrap().blocks().next().unwrap().1;
        store.inner.block_start(block)
    };
    let data = bytes(env, &[0xee; 4096]).await;
    store.inner.device.write(Io::Data, position, data).await.unwrap();
}

/// Finding a place for a small chunk takes a segment: the emptiest cannot be had.
#[test]
fn e155_compaction_passes_over_a_damaged_chunk() {
    let ground = Ground::new(1);
    let options = device(&ground, 3);
    ground.run(move |env| async move {
        let store = create_on(&env, &options).await;
        three_segments(&env, &store).await;
        let (first, second) = (segment_of(&store, 0), segment_of(&store, 16));
        rot(&env, &store, 0).await;
        put_small(&env, &store).await.expect("another segment can be emptied");
        assert_eq!(segment_of(&store, 0), first, "the damaged chunk stays where it is");
        assert_ne!(segment_of(&store, 16), second, "this one made room");
        store.audit().unwrap();
    });
}

#[test]
fn e155_compaction_passes_over_a_version_that_stays_pending() {
    let ground = Ground::new(2);
    let options = device(&ground, 3);
    ground.run(move |env| async move {
        let store = create_on(&env, &options).await;
        three_segments(&env, &store).await;
        let first = segment_of(&store, 0);
        put_large(&env, &store, 0, 2).await.unwrap(); // and no commit
        put_small(&env, &store).await.expect("another segment can be emptied");
        assert_eq!(segment_of(&store, 0), first);
        store.commit(&key(0), ChunkVersion::new(2)).unwrap();
        store.sync().await.unwrap();
        store.audit().unwrap();
    });
}

/// Two segments, of which only the one with a chunk in use could be emptied.
async fn two_segments(env: &SimEnv, store: &ChunkStore<SimEnv>) {
    write_large(env, store, 0..17).await;
    for index in 1..16 {
        store.erase(&key(index)).await.unwrap();
    }
    store.sync().await.unwrap();
}

#[test]
fn e155_compaction_waits_for_an_update_of_a_chunk_in_its_way() {
    let ground = Ground::new(3);
    let options = device(&ground, 2);
    ground.run(move |env| async move {
        let store = create_on(&env, &options).await;
        two_segments(&env, &store).await;
        put_large(&env, &store, 0, 2).await.unwrap();
        let (later, handle) = (env.clone(), store.clone());
        let committed = env.spawn(async move {
            later.sleep_until(later.now().saturating_add(Duration::from_millis(20))).await;
            handle.commit(&key(0), ChunkVersion::new(2)).unwrap();
        });
        put_small(&env, &store).await.expect("the chunk was in use for a moment only");
        committed.await;
        store.audit().unwrap();
    });
}

/// What stands in the way of the only candidate ends: then there is space again.
#[test]
fn e155_a_segment_is_tried_again_when_its_chunk_has_changed() {
    let ground = Ground::new(4);
    let options = device(&ground, 2);
    ground.run(move |env| async move {
        let store = create_on(&env, &options).await;
        write_large(&env, &store, 0..17).await;
        for index in 2..16 {
            store.erase(&key(index)).await.unwrap();
        }
        rot(&env, &store, 0).await;
        for _ in 0..2 {
            let refused = put_small(&env, &store).await;
            assert!(
                matches!(refused, Err(UpdateError::NoSpace { needed: 4096, .. })),
                "{refused:?}"
            );
        }
        store.repair(key(0), ChunkVersion::new(1), &[(64, &pattern(5000, 0))]).await.unwrap();
        put_small(&env, &store).await.expect("nothing damaged is in the way any more");
        store.audit().unwrap();
    });
}

/// A round that found nothing answers those who had asked before it began, and nobody else.
#[test]
fn rounds_answer_those_who_asked_for_them() {
    let compaction = Compaction::default();
    assert_eq!(compaction.begin(), None, "nobody asked");
    let first = compaction.ask(None);
    assert_eq!(compaction.ask(None), first, "two updates share a round");
    assert_eq!(compaction.ask(Some(first)), first, "one that looks again waits for its round");
    assert_eq!(compaction.begin(), Some(first));
    assert_eq!(compaction.ask(Some(first)), first, "also while it goes on");
    assert_eq!(compaction.begin(), None, "so that it is no wish for another");
    let late = compaction.ask(None);
    compaction.exhaust(first);
    compaction.end(first);
    assert!(compaction.is_exhausted(first));
    assert!(!compaction.is_exhausted(late), "that round had begun before");
    assert_eq!(compaction.begin(), Some(late));
    assert_eq!(compaction.begin(), None);
    compaction.end(late);
    assert_eq!(compaction.ask(Some(late)), late + 1, "another segment is needed");
    assert!(!compaction.is_exhausted(late + 1));
}

/// The host gives no more space, but what the store has can be put to another use.
#[test]
fn a_full_host_lets_a_store_use_what_it_has() {
    let ground = Ground::new(5);
    // Of ten segments the host has room for four; one of them stays in reserve.
    ground.sim.set_space(ground.node, Some(METADATA + 4 * SEGMENT));
    ground.run(move |env| async move {
        let store = create_on(&env, &store_options(10)).await;
        three_segments(&env, &store).await;
        let usage = store.inner.state.borrow().allocator().usage();
        assert_eq!(usage.pool_segments + usage.draining_segments, 1, "the host is full: {usage:?}");
        put_small(&env, &store).await.expect("a segment can be emptied");
        store.audit().unwrap();
        put_of(&env, &store, 9001, 16 * KIB).await.expect("a second one");
        // Each class has one segment now, and nothing can be moved together.
        let refused = put_of(&env, &store, 9002, 64 * KIB).await;
        assert!(matches!(refused, Err(UpdateError::NoSpace { .. })), "{refused:?}");
    });
}

/// How far a history has come.
type Stage = std::rc::Rc<core::cell::Cell<u32>>;

/// A segment is emptied for a small chunk; then a version is aborted and a chunk erased.
async fn emptied(env: SimEnv, options: CreateOptions, stage: Stage) {
    let store = create_on(&env, &options).await;
    three_segments(&env, &store).await;
    stage.set(1);
    put_small(&env, &store).await.unwrap();
    stage.set(2);
    store.commit(&key(9000), ChunkVersion::new(1)).unwrap();
    put_large(&env, &store, 16, 2).await.unwrap();
    store.abort(&key(16), ChunkVersion::new(2)).await.unwrap();
    stage.set(3);
    assert!(store.erase(&key(17)).await.unwrap());
    stage.set(4);
    store.close().await.unwrap();
}

/// What must be there when a crash ended a history at `stage`.
async fn check_emptied(env: SimEnv, stage: u32) {
    let (store, opened) = open(&env).await;
    assert!(!opened.damaged);
    store.audit().unwrap();
    for index in [0, 16, 32] {
        assert_eq!(
            store.state(&key(index)).committed,
            Some((ChunkVersion::new(1), 4 * MIB + 5000))
        );
        assert_eq!(read_large(&store, index).await, pattern(5000, index as u8), "chunk {index}");
    }
    assert!(stage < 3 || store.state(&key(16)).pending.is_none(), "the abort was acknowledged");
    let erased = store.state(&key(17)).committed.is_none();
    assert!(if erased { 3 <= stage } else { stage < 4 }, "erased {erased} at stage {stage}");
    if !erased {
        assert_eq!(read_large(&store, 17).await, pattern(5000, 17));
    }
    let small = store.state(&key(9000));
    if small.committed.is_none() {
        if small.pending.is_none() {
            assert!(stage < 2, "the small chunk was acknowledged");
            put_small(&env, &store).await.unwrap();
        }
        store.commit(&key(9000), ChunkVersion::new(1)).unwrap();
    }
    assert_eq!(read_all(&store, key(9000)).await, pattern(4 * KIB, 1));
    store.sync().await.unwrap();
    store.audit().unwrap();
}

async fn read_large(store: &ChunkStore<SimEnv>, index: u32) -> Vec<u8> {
    let read = Read {
        key: key(index),
        offset: 4 * MIB,
        len: 5000,
        version: Which::Committed,
        verify: true,
    };
    store.read(read).await.unwrap().to_vec()
}

/// Operations that the device has ended.
fn operations(sim: &Sim) -> u64 {
    let report = sim.report();
    [Count::Read, Count::Write, Count::Flush].map(|count| report.count(count)).iter().sum()
}

#[test]
fn e155_a_crash_at_any_step_of_compaction_takes_nothing() {
    let mut crashes = 0;
    for mode in [CrashMode::LoseAll, CrashMode::KeepAll, CrashMode::PerSector] {
        for step in 1.. {
            let ground = Ground::new(50);
            let (options, stage) = (device(&ground, 3), Stage::default());
            let inner = stage.clone();
            ground.sim.start(ground.node, move |env| emptied(env, options, inner));
            let begun = ground.sim.run_while(HOUR, |_| stage.get() == 0);
            assert!(begun.unwrap(), "hangs:\n{}", ground.sim.trace_tail());
            let last = operations(&ground.sim) + step;
            let going = |sim: &Sim| operations(sim) < last && sim.is_running(ground.node);
            assert!(ground.sim.run_while(HOUR, going).unwrap());
            if !ground.sim.is_running(ground.node) {
                break;
            }
            ground.sim.crash_as(ground.node, mode);
            let stage = stage.get();
            ground.run(move |env| check_emptied(env, stage));
            crashes += 1;
        }
    }
    assert!(60 < crashes, "{crashes} crashes: copies, their entries, the decisions behind them");
}
