//! The embedded store in simulation: groups, order of acknowledgement, failures.

use core::time::Duration;
use std::collections::BTreeMap;

use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};

use super::*;
use crate::api::{Kv, Policy, ReadMode, Transaction, TransactionOptions};
use crate::conformance::{Suite, random, run};
use crate::engine::Batch;
use crate::faulty::{Faults, Faulty};
use crate::transaction::OwnKv;
use crate::{Abort, transact};

mod redb;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// An engine that keeps every version, and fails when told to.
#[derive(Clone, Default)]
struct Plain {
    state: Arc<Mutex<(u64, Arc<Map>)>>,
    fail: Arc<Mutex<Option<EngineError>>>,
    applied: Arc<Mutex<Vec<u64>>>,
}

impl KvEngine for Plain {
    type Snapshot = PlainSnapshot;
    const BLOCKS: bool = true;

    fn version(&self) -> u64 {
        self.state.lock().unwrap().0
    }

    fn snapshot(&self) -> Result<PlainSnapshot, EngineError> {
        Ok(PlainSnapshot(self.state.lock().unwrap().1.clone()))
    }

    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        if let Some(error) = self.fail.lock().unwrap().clone() {
            return Err(error);
        }
        let mut state = self.state.lock().unwrap();
        let mut map = (*state.1).clone();
        for write in &batch.mutations {
            random::apply(&mut map, write);
        }
        *state = (batch.version, Arc::new(map));
        self.applied.lock().unwrap().push(batch.version);
        Ok(())
    }
}

#[derive(Clone)]
struct PlainSnapshot(Arc<Map>);

impl EngineSnapshot for PlainSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.0.get(key).cloned())
    }

    fn range(&self, read: &RangeRead) -> Result<Page, EngineError> {
        // Pages of three, to meet every seam.
        let limit = read.limit.min(3);
        let entries = random::page(&self.0, &RangeRead { limit: limit + 1, ..read.clone() });
        let more = limit < entries.len();
        Ok(Page { entries: entries.into_iter().take(limit).collect(), more })
    }
}

type Store = Embedded<SimEnv, Plain>;

/// Runs `main` on one simulated node, with an engine that it may also make fail; whether it came
/// to its end.
fn ends<F: Future<Output = ()> + 'static>(
    seed: u64,
    main: impl FnOnce(SimEnv, Store, Plain) -> F + 'static,
) -> bool {
    let sim = Sim::new(SimConfig::new(seed));
    let node = sim.add_node(NodeSpec::new("kv"));
    let done = Rc::new(Cell::new(false));
    let seen = done.clone();
    sim.start(node, move |env| async move {
        let engine = Plain::default();
        let (store, _task) = Embedded::start(&env, engine.clone()).unwrap();
        main(env, store, engine).await;
        seen.set(true);
    });
    sim.run_for(Duration::from_secs(3600)).is_ok() && done.get()
}

fn with_store<F: Future<Output = ()> + 'static>(
    seed: u64,
    main: impl FnOnce(SimEnv, Store, Plain) -> F + 'static,
) {
    assert!(ends(seed, main), "seed {seed}: the test failed or did not end");
}

fn suite(seed: u64) -> Suite {
    Suite { prefix: b"suite/".to_vec(), slow: true, rounds: 1500, seed }
}

#[test]
fn the_suite_passes_in_simulation() {
    for seed in 0..4 {
        with_store(seed, move |env, store, _| async move {
            let mut passed = 0;
            run(&OwnKv::new(env, store), &suite(seed), |_| passed += 1).await;
            assert!(30 <= passed, "{passed} cases");
        });
    }
}

/// A store with a bug. The suite has to find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    Absent,
    NoConflicts,
    PointsOnly,
    NoWriteConflicts,
    ReadsAlwaysConflict,
    ViewsLag,
    ViewsMove,
    WritesReversed,
    LimitIgnored,
    StampsRepeat,
    AcknowledgedUnwritten,
}

#[derive(Clone)]
struct Buggy {
    store: Store,
    bug: Bug,
    last: Rc<RefCell<Option<EmbeddedView<SimEnv, Plain>>>>,
}

#[derive(Clone)]
struct BuggyView {
    of: Buggy,
    view: EmbeddedView<SimEnv, Plain>,
}

impl Source for Buggy {
    type View = BuggyView;

    async fn view(&self) -> Result<BuggyView, KvError> {
        let mut view = self.store.view().await?;
        if self.bug == Bug::ViewsLag {
            let before = self.last.replace(Some(view.clone()));
            view = before.unwrap_or(view);
        }
        Ok(BuggyView { of: self.clone(), view })
    }

    async fn commit(&self, mut request: CommitRequest) -> Result<Committed, KvError> {
        match self.bug {
            Bug::NoConflicts => request.read_conflicts.clear(),
            Bug::PointsOnly => request.read_conflicts.retain(crate::KeyRange::is_single),
            Bug::NoWriteConflicts => request.write_conflicts.clear(),
            Bug::WritesReversed => request.mutations.reverse(),
            Bug::ReadsAlwaysConflict if request.read_version.is_some() => {
                request.read_conflicts.push(crate::KeyRange::all());
            }
            Bug::AcknowledgedUnwritten if request.mutations.len() == 1 => {
                return Ok(Committed { version: self.store.version() + 1, stamp: None });
            }
            _ => {}
        }
        let mut committed = self.store.commit(request).await?;
        if self.bug == Bug::StampsRepeat {
            committed.stamp = Some(crate::Versionstamp::new(1, 1));
        }
        Ok(committed)
    }
}

impl View for BuggyView {
    fn version(&self) -> u64 {
        self.view.version()
    }

    async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, KvError> {
        if self.of.bug == Bug::ViewsMove {
            return self.of.store.view().await?.get(key).await;
        }
        self.view.get(key).await
    }

    async fn range(&self, mut read: RangeRead) -> Result<Page, KvError> {
        if self.of.bug == Bug::LimitIgnored {
            read.limit += 1;
        }
        let mut page = self.view.range(read).await?;
        if self.of.bug == Bug::LimitIgnored {
            page.more = false;
        }
        Ok(page)
    }
}

#[test]
fn the_suite_finds_each_planted_bug() {
    use Bug::*;
    let bugs = [
        NoConflicts,
        PointsOnly,
        NoWriteConflicts,
        ReadsAlwaysConflict,
        ViewsLag,
        ViewsMove,
        WritesReversed,
        LimitIgnored,
        StampsRepeat,
        AcknowledgedUnwritten,
    ];
    for bug in [&[Absent][..], &bugs].concat() {
        let passes = ends(3, move |env, store, _| async move {
            let buggy = Buggy { store, bug, last: Rc::default() };
            run(&OwnKv::new(env, buggy), &suite(3), |_| ()).await;
        });
        assert_eq!(passes, bug == Absent, "{bug:?}");
    }
}

/// E202: an answer comes after the engine has applied the group, and readers see it then.
#[test]
fn commits_share_groups_and_are_seen_once_durable() {
    with_store(7, |env, store, engine| async move {
        let kv = OwnKv::new(env.clone(), store.clone());
        let tasks: Vec<_> = (0..64u8)
            .map(|n| {
                let (kv, engine) = (kv.clone(), engine.clone());
                env.spawn(async move {
                    for round in 0..10u8 {
                        let t = kv.begin(TransactionOptions::default());
                        t.set(&[n, round], b"v").unwrap();
                        let committed = t.commit().await.unwrap();
                        let applied = engine.applied.lock().unwrap().contains(&committed.version);
                        assert!(applied, "E202: {committed:?} was answered before it was applied");
                        let t = kv.begin(TransactionOptions::default());
                        let seen = t.get(&[n, round], ReadMode::Snapshot).await.unwrap();
                        assert!(seen.is_some(), "E201: an acknowledged commit is not seen");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let stats = store.stats();
        assert_eq!(stats.commits, 640);
        assert!(stats.groups < 200, "{stats:?}: groups are shared");
    });
}

#[test]
fn a_full_disk_refuses_commits_and_nothing_else() {
    with_store(8, |env, store, engine| async move {
        let kv = OwnKv::new(env, store);
        let full = EngineError::Full { reason: "no space left".to_owned() };
        *engine.fail.lock().unwrap() = Some(full);
        let t = kv.begin(TransactionOptions::default());
        t.set(b"k", b"v").unwrap();
        let refused = t.commit().await.unwrap_err();
        assert!(matches!(&refused, KvError::Unavailable { reason } if reason.contains("no space")));
        *engine.fail.lock().unwrap() = None;
        let t = kv.begin(TransactionOptions::default());
        assert_eq!(t.get(b"k", ReadMode::Conflict).await, Ok(None));
        t.set(b"k", b"v").unwrap();
        t.commit().await.unwrap();
    });
}

#[test]
fn after_a_failed_write_nothing_is_served() {
    with_store(9, |env, store, engine| async move {
        let kv = OwnKv::new(env, store);
        let begin = || kv.begin(TransactionOptions::default());
        let t = begin();
        t.set(b"k", b"v").unwrap();
        *engine.fail.lock().unwrap() = Some(EngineError::Io { reason: "EIO".to_owned() });
        assert!(matches!(t.commit().await, Err(KvError::UnknownResult { .. })));
        *engine.fail.lock().unwrap() = None;
        let read = begin().get(b"k", ReadMode::Snapshot).await;
        assert!(matches!(read, Err(KvError::Unavailable { .. })), "E206: {read:?}");
        let t = begin();
        t.set(b"k", b"v").unwrap();
        let written = t.commit().await;
        assert!(matches!(written, Err(KvError::Unavailable { .. })), "E206: {written:?}");
    });
}

/// Counters incremented by many under every injected failure: with a record of what was done, the
/// sum is exact; without one it is not, which shows that the failures are real.
#[test]
fn the_loop_survives_injected_failures() {
    let mut wrong = 0;
    for seed in 0..6 {
        for recorded in [true, false] {
            let sum = Rc::new(Cell::new(0));
            let told = sum.clone();
            with_store(100 + seed, move |env, store, _| async move {
                told.set(contended(env, store, recorded).await);
            });
            if recorded {
                assert_eq!(sum.get(), 80, "seed {seed}");
            } else if sum.get() != 80 {
                wrong += 1;
            }
        }
    }
    assert!(0 < wrong, "unrecorded increments were never lost or doubled");
}

/// Eight clients add ten each to one counter.
async fn contended(env: SimEnv, store: Store, recorded: bool) -> u64 {
    let faults = Faults {
        conflict: 50,
        too_old: 50,
        lost_applied: 100,
        lost_dropped: 50,
        lost_late: 100,
        unavailable: 50,
        late_max: Duration::from_millis(300),
        latency_max: Duration::from_millis(5),
    };
    let kv = OwnKv::new(env.clone(), Faulty::new(env.clone(), store, faults));
    let tasks: Vec<_> = (0..8u8)
        .map(|client| {
            let kv = kv.clone();
            env.spawn(async move {
                for round in 0..10u8 {
                    add(&kv, client, round, recorded).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    env.sleep_until(env.now() + Duration::from_secs(5)).await; // late commits have landed or failed
    kv.source().set(Faults::default());
    let t = kv.begin(TransactionOptions::default());
    let value = t.get(b"sum", ReadMode::Snapshot).await.unwrap().unwrap();
    u64::from_le_bytes(value.try_into().unwrap())
}

async fn add<K: Kv>(kv: &K, client: u8, round: u8, recorded: bool) {
    let policy = Policy { idempotent: true, attempts_max: 10_000, ..Policy::default() };
    let policy = Policy { time_max: Duration::from_secs(600), ..policy };
    let body = async |t: &K::Transaction| -> Result<(), Abort<()>> {
        // M9, M11: a channel's record holds the number of the last operation that was done.
        let record = [b'r', client];
        if recorded && t.get(&record, ReadMode::Conflict).await? == Some(vec![round]) {
            return Ok(());
        }
        let sum = t.get(b"sum", ReadMode::Conflict).await?;
        let sum = sum.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        t.set(b"sum", &(sum + 1).to_le_bytes())?;
        t.set(&record, &[round])?;
        Ok(())
    };
    transact(kv, &policy, body).await.unwrap();
}
