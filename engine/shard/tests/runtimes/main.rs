//! The chunk store on every runtime that ships: one life with all main operations, a second one
//! after it was left without closing, a third after it was closed. What is simulated is what ships
//! only if the same code does the same here.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a step that fails is a test that fails")]

#[path = "../io/common.rs"]
mod common;

use std::path::{Path, PathBuf};

use engine_runtime::monoio::{Driver, run_on};
use engine_runtime::{Bytes, Env};
use engine_shard::{
    ChunkStore, Io, Opened, Payload, Read, ReadError, ScrubLimits, StoreConfig, Which,
};
use engine_store::{
    Change, ChunkKey, Fence, Outcome, Tag, TargetRecord, TruncateEpoch, Update, UpdateError,
};
use engine_types::{ChainVersion, ChannelId, ChunkSize, ChunkVersion, SessionId, TargetId};

use common::{SLOT, Unnamed, bytes, core, options, target};

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;
/// Chunks that are written at once.
const CROWD: u32 = 64;

fn key(index: u32) -> ChunkKey {
    ChunkKey::new(SLOT, 9, index)
}

fn tag(seq: u64) -> Tag {
    Tag { session: SessionId::new(40), channel: ChannelId::new(2), seq }
}

fn update(index: u32, version: u32, size: u32, change: Change) -> Update {
    Update {
        key: key(index),
        version: ChunkVersion::new(version),
        chain_version: ChainVersion::new(1),
        epoch: TruncateEpoch::default(),
        size: ChunkSize::new(size).unwrap(),
        change,
        tag: None,
    }
}

fn pattern(len: u32, salt: u32) -> Vec<u8> {
    (0..len).map(|at| ((at / 5) ^ (at >> 9) ^ salt).to_le_bytes()[0]).collect()
}

async fn open<E: Env>(env: &E, path: &Path) -> (ChunkStore<E>, Opened) {
    let config = StoreConfig { apply_backlog: 8, ..StoreConfig::default() };
    ChunkStore::open(env, path, config).await.unwrap()
}

async fn put<E: Env>(
    env: &E,
    store: &ChunkStore<E>,
    asked: Update,
    data: &[u8],
) -> Result<(), UpdateError> {
    let payload = match asked.change {
        Change::Write { offset, .. } => Payload::new(offset, bytes(env, data).await),
        _ => Payload::NONE,
    };
    store.update(asked, payload).await.map(drop)
}

/// Writes a piece and commits it.
async fn write<E: Env>(
    env: &E,
    store: &ChunkStore<E>,
    index: u32,
    version: u32,
    (offset, data): (u32, &[u8]),
) {
    let change = Change::Write { offset, len: u32::try_from(data.len()).unwrap() };
    put(env, store, update(index, version, MIB, change), data).await.unwrap();
    store.commit(&key(index), ChunkVersion::new(version)).unwrap();
}

async fn read<E: Env>(store: &ChunkStore<E>, index: u32, version: Which) -> Vec<u8> {
    let read = Read { key: key(index), offset: 0, len: MIB, version, verify: true };
    store.read(read).await.unwrap().to_vec()
}

/// What chunk 0 is after the first life.
fn first_chunk() -> Vec<u8> {
    let mut content = pattern(300 * KIB, 1);
    content[5_000..9_000].copy_from_slice(&pattern(4_000, 2));
    content.extend(pattern(20_000, 3));
    content[100_000..164_000].fill(0);
    content.truncate(310 * KIB as usize);
    content
}

/// Everything that callers ask of a store.
async fn first_life<E: Env>(env: E, path: PathBuf) {
    ChunkStore::format(&env, &path, &options()).await.unwrap();
    let (store, opened) = open(&env, &path).await;
    assert_eq!((opened.chunks, opened.damaged), (0, false));
    let absent = Read { key: key(0), offset: 0, len: 1, version: Which::Committed, verify: false };
    assert!(matches!(store.read(absent).await, Err(ReadError::NoTarget { .. })));
    store.set_target(SLOT, Some(target())).await.unwrap();
    assert!(matches!(store.read(absent).await, Err(ReadError::NoSuchChunk { .. })));
    // Data, an overwrite as images, an append, a hole, a truncation.
    write(&env, &store, 0, 1, (0, &pattern(300 * KIB, 1))).await;
    write(&env, &store, 0, 2, (5_000, &pattern(4_000, 2))).await;
    write(&env, &store, 0, 3, (300 * KIB, &pattern(20_000, 3))).await;
    let rest = [Change::Zero { offset: 100_000, len: 64_000 }, Change::Truncate { len: 310 * KIB }];
    for (version, change) in (4..).zip(rest) {
        put(&env, &store, update(0, version, MIB, change), &[]).await.unwrap();
        store.commit(&key(0), ChunkVersion::new(version)).unwrap();
    }
    assert!(read(&store, 0, Which::Committed).await == first_chunk());
    pendings(&env, &store).await;
    crowd(&env, &store).await;
    // A request that is answered from memory the second time, and a fenced one.
    let change = Change::Extend { len: 77 };
    let asked = Update { tag: Some(tag(6)), ..update(300, 1, 4 * KIB, change) };
    put(&env, &store, asked, &[]).await.unwrap();
    store.commit(&key(300), ChunkVersion::new(1)).unwrap();
    assert!(store.update(asked, Payload::NONE).await.unwrap().repeated);
    store.fence(Fence::One(SessionId::new(41))).await.unwrap();
    let stranger = Tag { session: SessionId::new(41), ..tag(1) };
    let asked = Update { tag: Some(stranger), ..update(301, 1, 4 * KIB, change) };
    let refused = put(&env, &store, asked, &[]).await;
    assert!(matches!(refused, Err(UpdateError::Fenced { .. })));
    store.drop_session(SessionId::new(41)).await.unwrap();
    let outcome = Outcome { seq: 9, key: key(0), version: ChunkVersion::new(1), len: 5 };
    store.put_outcome(SLOT, tag(9), outcome).await.unwrap();
    let found = store.scrub(None, ScrubLimits::default(), |_| {}).await.unwrap();
    assert_eq!((found.finished, found.damaged, found.errors), (true, 0, 0));
    store.sync().await.unwrap();
    store.audit().unwrap();
    let metrics = store.metrics();
    assert!(0 < metrics.io(Io::Data).bytes && 0 < metrics.io(Io::Flush).operations);
    // Left as a process is that is killed: commits are durable, images may not be home.
}

/// Versions that are not committed, one to stay and one that is aborted.
async fn pendings<E: Env>(env: &E, store: &ChunkStore<E>) {
    write(env, store, 1, 1, (0, &pattern(5_000, 4))).await;
    let change = Change::Write { offset: 0, len: 3_000 };
    put(env, store, update(1, 2, MIB, change), &pattern(3_000, 5)).await.unwrap();
    assert!(read(store, 1, Which::Pending).await[..3_000] == pattern(3_000, 5));
    assert!(read(store, 1, Which::Committed).await == pattern(5_000, 4));
    store.abort(&key(1), ChunkVersion::new(2)).await.unwrap();
    put(env, store, update(1, 2, MIB, change), &pattern(3_000, 6)).await.unwrap();
    write(env, store, 2, 1, (0, &pattern(100, 7))).await;
    assert!(store.erase(&key(2)).await.unwrap() && !store.erase(&key(2)).await.unwrap());
}

/// Many at a time, and all of them read together.
async fn crowd<E: Env>(env: &E, store: &ChunkStore<E>) {
    let tasks: Vec<_> = (0..CROWD)
        .map(|one| {
            let (inner, handle) = (env.clone(), store.clone());
            env.spawn(async move {
                write(&inner, &handle, 100 + one, 1, (one * 100, &pattern(9_000, one))).await;
                write(&inner, &handle, 100 + one, 2, (one * 100 + 50, &[0xaa; 100])).await;
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    check_crowd(store).await;
}

async fn check_crowd<E: Env>(store: &ChunkStore<E>) {
    let which = Which::Committed;
    let read =
        |one| Read { key: key(100 + one), offset: 0, len: MIB, version: which, verify: true };
    let reads: Vec<Read> = (0..CROWD).map(read).collect();
    for (one, answer) in (0..).zip(store.read_batch(&reads).await) {
        let start = one as usize * 100;
        let mut right = vec![0; start];
        right.extend(pattern(9_000, one));
        right[start + 50..start + 150].fill(0xaa);
        assert!(answer.unwrap().to_vec() == right, "chunk {one}");
    }
    let answer = store.query(SLOT, 9, 100..100 + CROWD).await;
    assert_eq!((answer.chunks, answer.last.unwrap().0), (u64::from(CROWD), 100 + CROWD - 1));
    let listed = store.list(SLOT, Some(key(99)), CROWD as usize);
    assert_eq!(listed.last().unwrap().key, key(100 + CROWD - 1));
}

/// What was acknowledged is there; then the store is closed.
async fn second_life<E: Env>(env: E, path: PathBuf) {
    let (store, opened) = open(&env, &path).await;
    assert!(!opened.damaged);
    assert_eq!(opened.pendings, [(key(1), ChunkVersion::new(2))]);
    assert!(read(&store, 0, Which::Committed).await == first_chunk());
    assert!(read(&store, 1, Which::Pending).await[..3_000] == pattern(3_000, 6));
    store.commit(&key(1), ChunkVersion::new(2)).unwrap();
    check_crowd(&store).await;
    assert_eq!(store.outcome(SLOT, tag(9)).unwrap().len, 5);
    assert!(store.is_fenced(SessionId::new(41)) && !store.is_fenced(SessionId::new(40)));
    assert_eq!(store.state(&key(2)).committed, None);
    store.audit().unwrap();
    store.close().await.unwrap();
}

/// After an end in order nothing is left to do; then the target goes, and another comes.
async fn third_life<E: Env>(env: E, path: PathBuf) {
    let (store, opened) = open(&env, &path).await;
    assert_eq!((opened.damaged, opened.images, opened.pendings.len()), (false, 0, 0));
    let mut right = pattern(5_000, 4);
    right[..3_000].copy_from_slice(&pattern(3_000, 6));
    assert!(read(&store, 1, Which::Committed).await == right);
    check_crowd(&store).await;
    store.drop_target(SLOT).await.unwrap();
    assert_eq!((store.space().chunks, store.target(SLOT)), (0, None));
    let next = TargetRecord { target: TargetId::new(99), ..target() };
    store.set_target(SLOT, Some(next)).await.unwrap();
    let data: Bytes<E::Memory> = bytes(&env, &pattern(4 * KIB, 8)).await;
    let change = Change::Write { offset: 0, len: 4 * KIB };
    store.update(update(0, 1, 4 * KIB, change), Payload::new(0, data)).await.unwrap();
    store.commit(&key(0), ChunkVersion::new(1)).unwrap();
    store.audit().unwrap();
    store.close().await.unwrap();
}

fn on_monoio(name: &str, driver: Driver) {
    let file = Unnamed::new(name);
    let path = || file.path();
    let (first, second, third) = (path(), path(), path());
    run_on(driver, core("first"), |env| first_life(env, first)).unwrap();
    run_on(driver, core("second"), |env| second_life(env, second)).unwrap();
    run_on(driver, core("third"), |env| third_life(env, third)).unwrap();
}

#[test]
fn a_store_lives_on_glommio() {
    let file = Unnamed::new("runtimes-glommio");
    let path = || file.path();
    let (first, second, third) = (path(), path(), path());
    engine_runtime::glommio::run(core("first"), |env| first_life(env, first)).unwrap();
    engine_runtime::glommio::run(core("second"), |env| second_life(env, second)).unwrap();
    engine_runtime::glommio::run(core("third"), |env| third_life(env, third)).unwrap();
}

#[test]
fn a_store_lives_on_monoio_with_io_uring() {
    on_monoio("runtimes-uring", Driver::Uring);
}

#[test]
fn a_store_lives_on_monoio_with_epoll() {
    on_monoio("runtimes-epoll", Driver::Legacy);
}
