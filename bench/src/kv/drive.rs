//! The measuring core: row after row, slices of the subject and of its limit in turns (B1).

use core::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, mpsc};

use engine_runtime::Env;
use engine_types::NodeRole;
use meta_kv::{Embedded, KvEngine};
use meta_kvd::Remote;

use super::keys::Task;
use super::place::{Store, Watch};
use super::shape::{Layer, Setting, Shape, Work};
use super::work::{Bare, Counters, Log, Subject, Transactions, text};
use crate::loopback;
use crate::meter::{ANSWER_TIME_MAX, Measured, Meter, slice};
use crate::runtime::Main;
use crate::stats::{self, Division, Side};
use crate::suite::{Commits, DeviceBytes, Event, KvTold, Row};

/// What one core measures.
pub(super) struct Job {
    pub(super) setting: Setting,
    pub(super) shapes: Vec<Shape>,
    pub(super) division: Division,
    /// Where files go.
    pub(super) folder: PathBuf,
    /// Keys of each store.
    pub(super) keys: u64,
    /// Where the subject is served.
    pub(super) served: Option<SocketAddr>,
}

/// An open store, for another thread.
pub(super) struct Opened<G> {
    engine: Arc<G>,
    watch: Arc<Watch>,
}

impl<G> From<&Store<G>> for Opened<G> {
    fn from(store: &Store<G>) -> Self {
        Self { engine: store.engine.clone(), watch: store.watch.clone() }
    }
}

/// Measures the rows of `job`. Nobody left to read `events` ends it.
pub(super) struct Drive<G> {
    pub(super) job: Job,
    /// The subject's and the limit's, where there are stores at all.
    pub(super) stores: Option<[Opened<G>; 2]>,
    pub(super) events: mpsc::Sender<Event>,
}

impl<G: KvEngine> Main for Drive<G> {
    type Output = ();

    async fn run<E: Env>(self, env: E) {
        let Self { job, stores, events } = self;
        let config = loopback::config(NodeRole::Meta);
        let remote = job.served.map(|address| Remote::new(&env, config, address));
        for &shape in &job.shapes {
            let name = job.setting.heading(shape).name;
            if events.send(Event::Starting(name.clone())).is_err() {
                break;
            }
            let event = match row(&env, &job, stores.as_ref(), remote.as_ref(), shape).await {
                Ok(row) => Event::Measured(row),
                Err(reason) => Event::Failed { name, reason },
            };
            if events.send(event).is_err() {
                break;
            }
        }
        if let Some(remote) = remote {
            remote.close(env.now() + ANSWER_TIME_MAX).await;
        }
    }
}

async fn row<E: Env, G: KvEngine>(
    env: &E,
    job: &Job,
    stores: Option<&[Opened<G>; 2]>,
    remote: Option<&Remote<E>>,
    shape: Shape,
) -> Result<Row, String> {
    let Shape { work, tasks } = shape;
    let log = |ops, round| Log::new(&job.folder, work, ops, round);
    if job.setting.layer == Layer::Flush {
        return pairs(env, job, shape, &log(1, false)?, &log(1, true)?).await;
    }
    let [subject, limit] = stores.ok_or("there is no store")?;
    let bare = |opened: &Opened<G>| {
        let task = |number| Task::new(job.keys, number, tasks, env.random());
        let all = (0..tasks).map(task).collect();
        Bare::new(opened.engine.clone(), opened.watch.clone(), work, all)
    };
    if job.setting.layer == Layer::Bare {
        return pairs(env, job, shape, &bare(subject), &log(tasks, true)?).await;
    }
    let embedded = if remote.is_some() { limit } else { subject };
    let (store, ended) = Embedded::start(env, embedded.engine.clone()).map_err(text)?;
    let here = Transactions::new(env, store, embedded.watch.clone(), work, tasks);
    let row = match remote {
        None => pairs(env, job, shape, &here, &bare(limit)).await,
        Some(remote) => {
            let watch = subject.watch.clone();
            let there = Transactions::new(env, remote.clone(), watch, work, tasks);
            pairs(env, job, shape, &there, &here).await
        }
    };
    drop(here);
    ended.await;
    row
}

async fn pairs<E: Env, S: Subject<E>, L: Subject<E>>(
    env: &E,
    job: &Job,
    shape: Shape,
    subject: &Rc<S>,
    limit: &Rc<L>,
) -> Result<Row, String> {
    let division = &job.division;
    let (mut measured, mut bound) = (Side::new(), Side::new());
    let (mut counted, mut ops) = (Counters::default(), 0);
    for round in 0..=division.pairs {
        let mut taken = None;
        for first in [true, false] {
            // Whoever comes second finds a warmer machine or a more tired one: they take turns.
            if first == round.is_multiple_of(2) {
                let before = subject.counters().await?;
                let slice = slice_of(env, job, subject).await?;
                taken = Some((slice, subject.counters().await? - before));
            } else {
                let slice = slice_of(env, job, limit).await?;
                if 0 < round {
                    bound.add(slice.slice, &slice.latency);
                }
            }
        }
        let (slice, counts) = taken.expect("each round has both sides");
        // The first pair filled pools and caches (B4).
        if 0 < round {
            measured.add(slice.slice, &slice.latency);
            counted += counts;
            ops += slice.all_ops;
        }
    }
    let row = stats::row(job.setting.heading(shape), division, &measured, &bound);
    Ok(Row {
        device: Some(device(shape, ops, &counted)),
        kv: Some(Box::new(told(job.setting, shape, &counted))),
        ..row
    })
}

fn device(shape: Shape, ops: u64, counted: &Counters) -> DeviceBytes {
    let bytes = (ops * shape.work.bytes() as u64).max(1) as f64;
    let shared = shape.work.is_write() && 0 < counted.groups;
    DeviceBytes {
        read_per_byte: counted.read_bytes as f64 / bytes,
        written_per_byte: counted.written_bytes as f64 / bytes,
        ops_per_flush: shared.then(|| counted.commits as f64 / counted.groups as f64),
        journal: None,
    }
}

fn told(setting: Setting, shape: Shape, counted: &Counters) -> KvTold {
    let &Counters { commits, groups, flushes, .. } = counted;
    let shown = shape.work.is_write() && shape.work != Work::Append;
    KvTold {
        value_goal: setting.value_goal(shape),
        commits: shown.then_some(Commits { commits, groups, flushes }),
        reopening: None,
    }
}

async fn slice_of<E: Env, S: Subject<E>>(
    env: &E,
    job: &Job,
    subject: &Rc<S>,
) -> Result<Measured<()>, String> {
    let (subject, keys) = (subject.clone(), job.keys);
    slice(env, &job.division, 0, |meter| flood(subject, keys, meter)).await
}

/// Keeps the tasks of a subject busy for one slice.
async fn flood<E: Env, S: Subject<E>>(subject: Rc<S>, keys: u64, meter: Rc<Meter<E>>) {
    let env = meter.env();
    let worker = |number| {
        let task = Task::new(keys, number, subject.tasks(), env.random());
        env.spawn(work(subject.clone(), task, meter.clone()))
    };
    let workers: Vec<_> = (0..subject.tasks()).map(worker).collect();
    for worker in workers {
        worker.await;
    }
}

/// One operation after the other.
async fn work<E: Env, S: Subject<E>>(subject: Rc<S>, mut task: Task, meter: Rc<Meter<E>>) {
    while !meter.stopping() {
        let start = meter.env().now();
        match subject.operate(meter.env(), &mut task).await {
            Ok(ops) => meter.completed(ops),
            Err(reason) => return meter.fail(reason),
        }
        meter.answered(start);
    }
}
