//! A disk that is full at every kind of operation of a commit, and stays so for a while.

use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::*;
use crate::engine::file::Device;
use crate::engine::redb::{RedbOptions, RedbSnapshot};
use crate::engine::simdisk::Operation;
use crate::engine::{Batch, EngineError, KvEngine};

/// Values of one commit that makes the file grow.
const GROWTH: u8 = 60;

/// Takes so little memory that nearly every read goes to the disk.
fn engine_on(disk: &SimDisk) -> RedbEngine {
    drop(on_disk(disk));
    let options = RedbOptions { cache_bytes: 64 << 10, ..options() };
    RedbEngine::open_on(Arc::new(disk.clone()), options).unwrap()
}

/// A store, its disk, and what should be in it.
struct World<G: KvEngine> {
    kv: OwnKv<SimEnv, Embedded<SimEnv, G>>,
    disk: SimDisk,
    model: Map,
}

impl<G: KvEngine> World<G> {
    /// With some keys.
    async fn new(env: &SimEnv, wrapped: fn(RedbEngine) -> G) -> Self {
        let disk = SimDisk::new();
        let (store, _task) = Embedded::start(env, wrapped(engine_on(&disk))).unwrap();
        let mut world = Self { kv: OwnKv::new(env.clone(), store), disk, model: Map::new() };
        for tag in 0..3 {
            world.put(tag, 20).await.unwrap();
        }
        world
    }

    async fn put(&mut self, tag: u8, count: u8) -> Result<(), KvError> {
        let transaction = self.kv.begin(TransactionOptions::default());
        let entries = (0..count).map(|index| (vec![tag, index], vec![tag ^ index; 10_000]));
        let entries: Vec<_> = entries.collect();
        for (key, value) in &entries {
            transaction.set(key, value)?;
        }
        transaction.commit().await?;
        self.model.extend(entries);
        Ok(())
    }

    /// Reads see exactly what was committed.
    async fn check(&self, when: &str) -> Result<(), String> {
        match all(&self.kv).await {
            Ok(found) if found == self.model => Ok(()),
            Ok(found) => Err(format!("{when}: {} of {} keys", found.len(), self.model.len())),
            Err(error) => Err(format!("{when}: {error}")),
        }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Done,
    Refused,
    Failed,
}

/// The disk is full at its operation `at`, in the middle of a commit, and stays full for a while.
async fn fills_up<G: KvEngine>(mut world: World<G>, at: usize) -> Result<Outcome, String> {
    let old = world.kv.begin(TransactionOptions::default());
    old.read_version().await.unwrap();
    world.disk.fail_at(at, Errno::NOSPC);
    let outcome = match world.put(3, GROWTH).await {
        Ok(()) => Outcome::Done,
        Err(KvError::Unavailable { .. }) => Outcome::Refused,
        Err(KvError::UnknownResult { .. }) => Outcome::Failed,
        Err(error) => return Err(error.to_string()),
    };
    world.disk.set_capacity(Some(world.disk.len().unwrap()));
    if outcome == Outcome::Failed {
        return match (world.kv.source().failure(), all(&world.kv).await) {
            (Some(_), Err(KvError::Unavailable { .. })) => Ok(outcome),
            (failure, read) => Err(format!("E206: {failure:?}, then {:?}", read.map(drop))),
        };
    }
    world.check("while the disk is full").await?;
    // A view from before may have lost its file. It says so, and no more comes of it.
    match old.get(&[0, 7], ReadMode::Snapshot).await {
        Ok(Some(value)) if value == world.model[&[0, 7][..]] => {}
        Err(KvError::Unavailable { .. }) => {}
        other => return Err(format!("an old view: {other:?}")),
    }
    world.check("after the old view").await?;
    match world.put(4, 4 * GROWTH).await {
        Err(KvError::Unavailable { .. }) => {}
        other => return Err(format!("the disk is full: {other:?}")),
    }
    world.check("after another refusal").await?;
    world.disk.set_capacity(None);
    world.put(4, 4 * GROWTH).await.map_err(|error| format!("with room: {error}"))?;
    world.check("with room").await?;
    Ok(outcome)
}

/// Every kind of operation of the commit; pages are many and alike.
async fn at_operations<G: KvEngine>(
    env: &SimEnv,
    wrapped: fn(RedbEngine) -> G,
) -> Result<BTreeMap<Outcome, u32>, String> {
    let mut world = World::new(env, wrapped).await;
    let first = world.disk.operations();
    world.put(3, GROWTH).await.unwrap();
    let mut outcomes = BTreeMap::new();
    for (at, operation) in world.disk.log().iter().enumerate().skip(first) {
        if matches!(operation, Operation::Write { .. }) && at % 61 != 0 {
            continue;
        }
        let world = World::new(env, wrapped).await;
        assert_eq!(world.disk.operations(), first, "the same history");
        let outcome = fills_up(world, at).await;
        let is_flush = *operation == Operation::Sync;
        let outcome = outcome.map_err(|error| format!("{at}, flush {is_flush}: {error}"))?;
        if outcome == Outcome::Failed && !is_flush {
            return Err(format!("{at}: only a failed flush ends the store"));
        }
        *outcomes.entry(outcome).or_default() += 1;
    }
    Ok(outcomes)
}

/// E215, E206: a full disk refuses what grows, and nothing else.
#[test]
fn reads_and_later_commits_work_when_the_disk_was_full() {
    let outcomes = on_node(1, |env| async move { at_operations(&env, |engine| engine).await });
    let outcomes = outcomes.unwrap();
    let count = |outcome| outcomes.get(&outcome).copied().unwrap_or(0);
    assert!(5 < count(Outcome::Refused) && 0 < count(Outcome::Failed), "{outcomes:?}");
}

/// E206: a read that fails ends the store; commits are refused then, before anything is written.
#[test]
fn a_failed_read_ends_the_store() {
    on_node(2, |env| async move {
        let mut world = World::new(&env, |engine| engine).await;
        world.disk.fail_reads(true);
        assert!(matches!(all(&world.kv).await, Err(KvError::Unavailable { .. })));
        world.disk.fail_reads(false);
        let operations = world.disk.operations();
        for _ in 0..3 {
            let refused = world.put(3, 1).await;
            assert!(matches!(refused, Err(KvError::Unavailable { .. })), "{refused:?}");
        }
        assert!(matches!(all(&world.kv).await, Err(KvError::Unavailable { .. })));
        let failure = world.kv.source().failure();
        assert!(failure.is_some_and(|reason| reason.contains("cannot read")));
        assert_eq!(world.disk.operations(), operations);
    });
}

/// A planted fault: after a refused batch it hands out the snapshot from before it.
struct Lagging {
    engine: RedbEngine,
    last: Mutex<Option<RedbSnapshot>>,
}

impl KvEngine for Lagging {
    type Snapshot = RedbSnapshot;
    const BLOCKS: bool = true;

    fn version(&self) -> u64 {
        self.engine.version()
    }

    fn snapshot(&self) -> Result<RedbSnapshot, EngineError> {
        let mut last = self.last.lock().unwrap();
        if last.is_none() {
            *last = Some(self.engine.snapshot()?);
        }
        Ok(last.clone().unwrap())
    }

    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        self.engine.apply(batch)?;
        *self.last.lock().unwrap() = None;
        Ok(())
    }

    fn failed(&self) -> bool {
        self.engine.failed()
    }
}

#[test]
fn the_check_sees_snapshots_of_a_closed_file() {
    let wrapped = |engine| Lagging { engine, last: Mutex::default() };
    let outcomes = on_node(1, move |env| async move { at_operations(&env, wrapped).await });
    let error = outcomes.expect_err("a planted fault");
    assert!(error.contains("while the disk is full"), "{error}");
}
