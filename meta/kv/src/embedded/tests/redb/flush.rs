//! What happens while a group is being flushed, with real threads.
//!
//! The engine's thread waits in the middle of its `apply` until the test lets it go on; everything
//! in between is known to happen during the flush, without a clock.

use std::sync::{Arc, Mutex, mpsc};

use engine_runtime::monoio::{self, MonoioEnv};
use engine_runtime::{CoreSpec, Env, Receiver, Sender, yield_now};

use super::*;
use crate::api::{Committed, Page};
use crate::embedded::EmbeddedView;
use crate::engine::memory::{MemoryEngine, MemorySnapshot};
use crate::engine::{Batch, EngineError, EngineSnapshot, KvEngine};
use crate::source::{CommitRequest, Source, View};

/// An engine whose content changes at once, and whose flush ends when it is told. When nobody is
/// left to tell it, it goes on.
struct Slow {
    engine: Arc<MemoryEngine>,
    began: Sender<u64>,
    end: Mutex<mpsc::Receiver<()>>,
}

impl KvEngine for Slow {
    type Snapshot = MemorySnapshot;
    const BLOCKS: bool = true;

    fn version(&self) -> u64 {
        self.engine.version()
    }

    fn snapshot(&self) -> Result<MemorySnapshot, EngineError> {
        self.engine.snapshot()
    }

    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        self.engine.apply(batch)?;
        let _ = self.began.try_send(batch.version);
        let _ = self.end.lock().unwrap().recv();
        Ok(())
    }
}

/// What may be wrong with a store; the scenario has to see each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    SeenEarly,
    AnsweredEarly,
    ConflictMissed,
}

#[derive(Clone)]
struct Buggy {
    env: MonoioEnv,
    store: Embedded<MonoioEnv, Slow>,
    engine: Arc<MemoryEngine>,
    bug: Bug,
}

#[derive(Clone)]
struct BuggyView {
    of: Buggy,
    view: EmbeddedView<MonoioEnv, Slow>,
}

impl Source for Buggy {
    type View = BuggyView;

    async fn view(&self) -> Result<BuggyView, KvError> {
        Ok(BuggyView { of: self.clone(), view: self.store.view().await? })
    }

    async fn commit(&self, mut request: CommitRequest) -> Result<Committed, KvError> {
        if self.bug == Bug::ConflictMissed {
            request.read_conflicts.clear();
        }
        let store = self.store.clone();
        let answer = self.env.spawn(async move { store.commit(request).await });
        if self.bug == Bug::AnsweredEarly {
            return Ok(Committed { version: self.store.version() + 1, stamp: None });
        }
        answer.await
    }
}

impl View for BuggyView {
    fn version(&self) -> u64 {
        self.view.version()
    }

    async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, KvError> {
        match self.of.bug {
            Bug::SeenEarly => Ok(self.of.engine.snapshot()?.get(&key)?),
            _ => self.view.get(key).await,
        }
    }

    async fn range(&self, read: RangeRead) -> Result<Page, KvError> {
        self.view.range(read).await
    }
}

type Events = Rc<RefCell<Vec<&'static str>>>;

/// A store with a flush under control.
struct Stage {
    env: MonoioEnv,
    kv: OwnKv<MonoioEnv, Buggy>,
    began: Receiver<u64>,
    end: mpsc::Sender<()>,
    events: Events,
}

impl Stage {
    fn new(env: MonoioEnv, bug: Bug) -> Self {
        let (sender, began) = env.mailbox(8);
        let (end, ended) = mpsc::channel();
        let engine = Arc::new(MemoryEngine::new());
        let slow = Slow { engine: engine.clone(), began: sender, end: Mutex::new(ended) };
        let (store, _task) = Embedded::start(&env, slow).unwrap();
        let kv = OwnKv::new(env.clone(), Buggy { env: env.clone(), store, engine, bug });
        Self { env, kv, began, end, events: Events::default() }
    }

    fn begin(&self) -> <OwnKv<MonoioEnv, Buggy> as Kv>::Transaction {
        self.kv.begin(TransactionOptions::default())
    }

    /// Hands in a commit; its answer is noted as an event.
    fn commit<T: Transaction>(
        &self,
        transaction: T,
        done: &'static str,
        refused: &'static str,
    ) -> <MonoioEnv as Env>::Join<()> {
        let events = self.events.clone();
        self.env.spawn(async move {
            let event = match transaction.commit().await {
                Ok(_) => done,
                Err(KvError::Conflict) => refused,
                Err(error) => panic!("{error}"),
            };
            events.borrow_mut().push(event);
        })
    }

    fn let_go(&self, event: &'static str) {
        self.events.borrow_mut().push(event);
        self.end.send(()).unwrap();
    }

    async fn seen(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.begin().get(key, ReadMode::Snapshot).await.unwrap()
    }

    /// Much happens on this core and in the threads that read; who sees `key` meanwhile?
    async fn seen_meanwhile(&self, key: &[u8]) -> bool {
        let mut seen = false;
        for _ in 0..20 {
            seen |= self.seen(key).await.is_some();
            yield_now().await;
        }
        seen
    }
}

/// Two groups, each held in its flush; what happened, in order.
async fn scenario(env: MonoioEnv, bug: Bug) -> Vec<&'static str> {
    let stage = Stage::new(env, bug);
    let (first, late, blind) = (stage.begin(), stage.begin(), stage.begin());
    assert_eq!(late.get(b"k", ReadMode::Conflict).await, Ok(None));
    first.set(b"k", b"1").unwrap();
    late.set(b"late", b"1").unwrap();
    blind.set(b"blind", b"1").unwrap();
    let first = stage.commit(first, "first", "first refused");
    let version = stage.began.recv().await.unwrap();
    // The group is being flushed.
    let late = stage.commit(late, "late", "late refused");
    let blind = stage.commit(blind, "blind", "blind refused");
    if stage.seen_meanwhile(b"k").await {
        stage.events.borrow_mut().push("seen");
    }
    assert!(stage.begin().read_version().await.unwrap() < version);
    if !stage.events.borrow().is_empty() && bug == Bug::AnsweredEarly {
        return stage.events.take();
    }
    stage.let_go("flushed");
    first.await;
    assert!(stage.seen(b"k").await.is_some(), "E201");
    // What came meanwhile is judged by what was flushed, and is the next group.
    assert_eq!(stage.began.recv().await, Some(version + 1));
    if stage.seen_meanwhile(b"blind").await {
        stage.events.borrow_mut().push("seen");
    }
    stage.let_go("flushed");
    late.await;
    blind.await;
    assert!(stage.seen(b"blind").await.is_some(), "E201");
    stage.events.take()
}

fn run_scenario(bug: Bug) -> Vec<&'static str> {
    let spec = CoreSpec { pool_bytes: 1 << 20, ..CoreSpec::new("kv-flush") };
    monoio::run(spec, move |env| scenario(env, bug)).unwrap()
}

/// E202, E200: nobody is answered and nobody sees a group before its flush has ended; who read what
/// the group writes conflicts.
#[test]
fn a_group_counts_when_its_flush_has_ended() {
    let expected = ["flushed", "first", "late refused", "flushed", "blind"];
    for round in 0..5 {
        assert_eq!(run_scenario(Bug::None), expected, "round {round}");
    }
}

#[test]
fn the_scenario_sees_each_planted_bug() {
    let seen = run_scenario(Bug::SeenEarly);
    assert_eq!(seen, ["seen", "flushed", "first", "late refused", "seen", "flushed", "blind"]);
    let answered = run_scenario(Bug::AnsweredEarly);
    assert!(answered.contains(&"first") && !answered.contains(&"flushed"), "{answered:?}");
    let missed = run_scenario(Bug::ConflictMissed);
    assert!(missed.contains(&"late") && !missed.contains(&"late refused"), "{missed:?}");
}
