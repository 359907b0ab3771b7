//! Random histories of the metadata service against the model, in simulation, on the store in
//! memory, with and without trouble of the store.
//!
//! `EMBERFS_SIM_SEEDS` says how many seeds run besides those of every build.
#![expect(clippy::unwrap_used, reason = "a test")]

use core::cell::RefCell;
use core::fmt::Write as _;
use core::ops::Range;
use core::time::Duration;
use std::rc::Rc;

use client_storage::{At, Holding};
use engine_runtime::Env;
use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_types::{
    ChainId, ChainTableId, ChainTableVersion, ChunkSize, ClusterId, InodeId, Instant, SessionId,
};
use meta_kv::engine::memory::MemoryEngine;
use meta_kv::{Embedded, Faults, Faulty, OwnKv};
use meta_metad::chunks::{Chunks, ChunksError};
use meta_metad::files::Files;
use meta_metad::{CallError, Halt, Store, Table, Tables, mkfs};
use meta_model::{Binding, Model, Root, Step, Weights, When, generate, shrink, simpler};
use meta_protocol::op::LockWait;
use meta_protocol::{Answer, Caller, Operation, Refusal, Request, op};
use meta_schema::{FileType, INODE_ROOT, LayoutTemplate};

/// Chains of the only table.
const CHAINS: u32 = 12;
const TABLE: ChainTableId = ChainTableId::new(1);
const LAYOUT: LayoutTemplate = LayoutTemplate {
    chunk_size: ChunkSize::new(1 << 20).expect("a power of two"),
    stripe: 4,
    table: TABLE,
};
/// What mkfs makes.
const ROOT: Root = Root { ino: INODE_ROOT.get(), mode: 0o755, uid: 0, gid: 0, layout: LAYOUT };
/// Steps of a history.
const STEPS: u32 = 250;
/// Steps of histories that are told with their answers: those that were shrunk.
const ANSWERS_TOLD_MAX: usize = 16;
/// Time for one request.
const TIME_MAX: Duration = Duration::from_secs(60);

/// A cluster without chunks: nobody writes.
#[derive(Clone)]
struct NoChunks;

impl Chunks for NoChunks {
    fn session(&self) -> SessionId {
        SessionId::new(1 << 40)
    }

    fn with_table<T>(&self, table: ChainTableId, read: impl FnOnce(&[ChainId]) -> T) -> T {
        let chains: Vec<ChainId> = (1..=CHAINS).filter_map(ChainId::new).collect();
        read(if table == TABLE { &chains } else { &[] })
    }

    async fn holding(
        &self,
        _: ChainId,
        _: InodeId,
        _: Range<u32>,
        _: bool,
        _: Instant,
    ) -> Result<Holding, ChunksError> {
        let list = Vec::new();
        Ok(Holding { chunks: 0, bytes: 0, allocated: 0, last: None, list, resume: None })
    }

    async fn cut(&self, _: At, _: u32, _: Instant) -> Result<(), ChunksError> {
        Ok(())
    }

    async fn remove(&self, _: Vec<At>, _: Instant) -> Result<(), ChunksError> {
        Ok(())
    }

    async fn is_over(&self, _: SessionId, _: Instant) -> Result<bool, ChunksError> {
        Ok(true)
    }
}

type Kv = OwnKv<SimEnv, Faulty<SimEnv, Embedded<SimEnv, MemoryEngine>>>;

/// A service, and the model beside it.
struct Pair {
    env: SimEnv,
    files: Files<SimEnv, Kv, NoChunks>,
    model: Model,
}

impl Pair {
    async fn new(env: &SimEnv, faults: Faults) -> Self {
        let (store, task) = Embedded::start(env, MemoryEngine::new()).unwrap();
        drop(task); // detached: it runs as long as the node
        let faulty = Faulty::new(env.clone(), store, Faults::default());
        let kv: Kv = OwnKv::new(env.clone(), faulty);
        let superblock = mkfs::open(env, &kv, ClusterId::new(7), LAYOUT).await.unwrap();
        kv.source().set(faults);
        let store = Store::new(env, &kv, superblock);
        let table = Table { version: ChainTableVersion::new(3), chains: CHAINS };
        store.set_tables(Tables::from([(TABLE, table)]));
        let files = Files::new(env, store, &NoChunks);
        Self { env: env.clone(), files, model: Model::new(&ROOT) }
    }

    /// Asks until there is an answer or a refusal: the tag makes it once (M11).
    async fn ask(&self, request: &Request) -> Result<Answer, Refusal> {
        for _ in 0..100 {
            match self.files.call(request, TIME_MAX).await {
                Ok(answer) => return Ok(answer),
                Err(CallError::Halted(Halt::Refused(refusal))) => return Err(refusal),
                Err(_) => self.env.sleep_until(self.env.now() + Duration::from_millis(100)).await,
            }
        }
        panic!("no answer to {request:?}");
    }

    /// Asks, and lets the model judge.
    async fn judge(&mut self, request: &Request) -> Result<Result<Answer, Refusal>, String> {
        let nanos = |env: &SimEnv| i64::try_from(env.wall().nanos()).unwrap();
        let earliest = nanos(&self.env);
        let found = self.ask(request).await;
        let when = When { earliest, latest: nanos(&self.env) };
        match self.model.check(request, &found, when) {
            Ok(()) => Ok(found),
            Err(divergence) => Err(divergence.to_string()),
        }
    }

    /// Looks at everything that can be reached.
    async fn audit(&mut self) -> Result<(), String> {
        let mut dirs = vec![INODE_ROOT];
        while let Some(dir) = dirs.pop() {
            let look = |operation: Operation| Request {
                caller: Caller::root(),
                session: SessionId::new(77),
                tag: None,
                operation,
            };
            self.judge(&look(op::Stat { ino: dir }.into())).await?.map_err(|r| r.to_string())?;
            let page = op::Readdir { dir, cookie: 0, limit: 1000, plus: true };
            if let Ok(Answer::Entries { entries, .. }) = self.judge(&look(page.into())).await? {
                let inner = entries.iter().filter(|entry| entry.kind == FileType::Directory);
                dirs.extend(inner.map(|entry| entry.ino));
            }
        }
        Ok(())
    }
}

/// Runs a history; what is wrong with it.
fn play(seed: u64, steps: &[Step], faults: Faults) -> Result<(), String> {
    let sim = Sim::new(SimConfig::new(seed));
    let node = sim.add_node(NodeSpec::new("metad"));
    let end = Rc::new(RefCell::new(None));
    let (told, steps) = (end.clone(), steps.to_vec());
    sim.start(node, move |env| async move {
        let mut pair = Pair::new(&env, faults).await;
        *told.borrow_mut() = Some(history(&mut pair, &steps).await);
    });
    match sim.run_for(Duration::from_secs(24 * 3600)) {
        Ok(()) => {}
        Err(failure) => return Err(format!("{failure:?}")),
    }
    end.take().unwrap_or_else(|| Err("the history did not end".into()))
}

async fn history(pair: &mut Pair, steps: &[Step]) -> Result<(), String> {
    let mut binding = Binding::new();
    let mut answers = String::new();
    for step in steps {
        let request = binding.request(step);
        if is_second_wait(&pair.model, &request) {
            continue;
        }
        let found = pair.judge(&request).await;
        let found = found.map_err(|why| format!("{answers}step {}: {why}", step.id))?;
        if steps.len() < ANSWERS_TOLD_MAX {
            writeln!(answers, "  {} was answered {found:?}", step.id).unwrap();
        }
        binding.learn(step, &request, &found);
    }
    pair.audit().await.map_err(|why| format!("audit: {why}"))
}

/// Whether an owner that waits would wait for another lock besides.
fn is_second_wait(model: &Model, request: &Request) -> bool {
    match &request.operation {
        Operation::SetLock(op::SetLock { lock, wait: LockWait::Queue, .. }) => {
            model.may_wait(request.session, lock.owner)
        }
        _ => false,
    }
}

/// Fails with the smallest history found.
fn check(seed: u64, weights: Weights, faults: Faults) {
    let steps = generate(seed, STEPS, weights, &ROOT);
    let Err(first) = play(seed, &steps, faults) else { return };
    let small = shrink(&steps, simpler, |steps| play(seed, steps, faults).is_err());
    let why = play(seed, &small, faults).expect_err("what shrank still fails");
    let mut text = String::new();
    for Step { id, client, request } in &small {
        let Caller { uid, gid, groups, .. } = &request.caller;
        let operation = &request.operation;
        writeln!(text, "  {id}: client {client}, {uid} {gid} {groups:?}: {operation:?}").unwrap();
    }
    panic!("seed {seed}, {weights:?}, {faults:?}\n{text}{why}\n--- at first: {first}");
}

/// Seeds of every build, and those that were asked for.
fn seeds(fixed: u64) -> Range<u64> {
    let more = std::env::var("EMBERFS_SIM_SEEDS").ok().and_then(|text| text.parse().ok());
    0..fixed + more.unwrap_or(0)
}

const NO_FAULTS: Faults = Faults {
    conflict: 0,
    too_old: 0,
    lost_applied: 0,
    lost_dropped: 0,
    lost_late: 0,
    unavailable: 0,
    late_max: Duration::ZERO,
    latency_max: Duration::ZERO,
};

#[test]
fn names_are_as_posix_says() {
    let weights = Weights { names: 1, attributes: 0, files: 0, locks: 0 };
    seeds(60).for_each(|seed| check(seed, weights, NO_FAULTS));
}

#[test]
fn attributes_are_as_posix_says() {
    let weights = Weights { names: 40, attributes: 60, files: 0, locks: 0 };
    seeds(60).for_each(|seed| check(seed, weights, NO_FAULTS));
}

#[test]
fn files_are_as_posix_says() {
    let weights = Weights { names: 30, attributes: 10, files: 60, locks: 0 };
    seeds(60).for_each(|seed| check(seed, weights, NO_FAULTS));
}

#[test]
fn locks_are_as_linux_says() {
    let weights = Weights { names: 15, attributes: 0, files: 5, locks: 80 };
    seeds(40).for_each(|seed| check(seed, weights, NO_FAULTS));
}

#[test]
fn trouble_of_the_store_is_not_seen() {
    let faults = Faults {
        conflict: 60,
        too_old: 20,
        lost_applied: 30,
        lost_dropped: 30,
        lost_late: 20,
        unavailable: 20,
        late_max: Duration::from_millis(300),
        latency_max: Duration::from_millis(5),
    };
    seeds(40).for_each(|seed| check(seed, Weights::ALL, faults));
}
