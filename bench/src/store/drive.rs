//! The measuring core: row after row, slices of the subject and of fio in turns (B1).

use std::rc::Rc;
use std::sync::{Arc, mpsc};

use engine_runtime::Env;
use engine_types::Rng;

use super::chunks::Chunks;
use super::device::Place;
use super::fio;
use super::raw::RawFile;
use super::shape::{Layer, Setting, Shape, Work};
use super::subject::{Counters, Subject};
use crate::cpu::{CpuUsed, KernelThreads, TaskTimes};
use crate::meter::{Measured, Meter, slice};
use crate::runtime::Main;
use crate::stats::{self, Division, Side};
use crate::suite::{Event, Row};

/// A row goes on for so many times its pairs at most until the journal has turned.
const ROUNDS_MORE: u32 = 4;

/// What one core measures.
pub(crate) struct Job {
    pub(crate) setting: Setting,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) division: Division,
    /// Where fio works.
    pub(crate) limit: Arc<Place>,
    /// Where the subject works, unless it works there as well.
    pub(crate) place: Option<Arc<Place>>,
    /// The CPU of subject and fio.
    pub(crate) cpu: Option<usize>,
}

/// Measures the rows of `job`. Nobody left to read `events` ends it.
pub(crate) struct Drive {
    pub(crate) job: Job,
    pub(crate) events: mpsc::Sender<Event>,
}

impl Main for Drive {
    type Output = Result<(), String>;

    async fn run<E: Env>(self, env: E) -> Result<(), String> {
        let Self { job, events } = self;
        match job.setting.layer {
            Layer::File => {
                let subject = RawFile::open(&env, &job.limit).await?;
                rows(&env, &job, &subject, &events).await
            }
            Layer::Store(_) => {
                let place = job.place.as_ref().ok_or("a store without a place")?;
                let subject = Chunks::open(&env, place).await?;
                rows(&env, &job, &subject, &events).await
            }
        }
    }
}

async fn rows<E: Env, S: Subject<E>>(
    env: &E,
    job: &Job,
    subject: &Rc<S>,
    events: &mpsc::Sender<Event>,
) -> Result<(), String> {
    for &shape in &job.shapes {
        let name = job.setting.heading(shape).name;
        if events.send(Event::Starting(name.clone())).is_err() {
            break;
        }
        let event = match row(env, job, subject, shape).await {
            Ok(row) => Event::Measured(row),
            Err(reason) => Event::Failed { name, reason },
        };
        if events.send(event).is_err() {
            break;
        }
    }
    subject.close().await
}

async fn row<E: Env, S: Subject<E>>(
    env: &E,
    job: &Job,
    subject: &Rc<S>,
    shape: Shape,
) -> Result<Row, String> {
    let division = &job.division;
    let (mut measured, mut limit) = (Side::new(), Side::new());
    // The first pair fills pools and caches and is not counted (B4). It begins with the subject,
    // so that fio flushes as often as the subject does.
    let (called, mut counters) = subject_slice(env, job, subject, shape).await?;
    drop(called);
    drop(fio_slice(env, job, shape, &counters).await?);
    let before = subject.counters();
    let enough = |round| match shape.work {
        // What overwrites cost is known when the journal has turned, however long that takes.
        Work::Overwrite if round <= division.pairs * ROUNDS_MORE => {
            division.pairs < round && (subject.counters() - before).has_turned()
        }
        _ => division.pairs < round,
    };
    for round in (1..).take_while(|&round| !enough(round)) {
        // Whoever comes second finds a warmer machine or a more tired one: they take turns (B1).
        if round.is_multiple_of(2) {
            let (called, counted) = subject_slice(env, job, subject, shape).await?;
            measured.add(called.slice, &called.latency);
            counters = counted;
        }
        let outcome = fio_slice(env, job, shape, &counters).await?;
        limit.add(outcome.slice, &outcome.latency);
        if !round.is_multiple_of(2) {
            let (called, counted) = subject_slice(env, job, subject, shape).await?;
            measured.add(called.slice, &called.latency);
            counters = counted;
        }
    }
    let device = (subject.counters() - before).device_bytes();
    let row = stats::row(job.setting.heading(shape), division, &measured, &limit);
    Ok(Row { device, ..row })
}

async fn fio_slice<E: Env>(
    env: &E,
    job: &Job,
    shape: Shape,
    counters: &Counters,
) -> Result<fio::Outcome, String> {
    #[expect(clippy::cast_possible_truncation, reason = "at most the operations in flight")]
    let writes_per_flush = counters.ops_per_flush().map_or(1, |ops| ops.round() as u32).max(1);
    let request = fio::Request {
        path: job.limit.path.clone(),
        bytes: job.limit.bytes,
        shape,
        writes_per_flush,
        cpu: job.cpu,
        division: job.division,
    };
    fio::run(env, &request).await
}

/// A slice of the subject, and what it counted in it.
async fn subject_slice<E: Env, S: Subject<E>>(
    env: &E,
    job: &Job,
    subject: &Rc<S>,
    shape: Shape,
) -> Result<(Measured<()>, Counters), String> {
    let failed = |error| format!("CPU time cannot be read: {error}");
    let mut threads = KernelThreads::default();
    let kernel = TaskTimes::of_kernel(&mut threads).map_err(failed)?;
    let before = subject.counters();
    let ops_before = subject.ops_put_off(shape.work);
    let flooded = subject.clone();
    let measured =
        slice(env, &job.division, ops_before, |meter| flood(flooded, shape, meter)).await;
    let kernel = TaskTimes::of_kernel(&mut threads).map_err(failed)?.since(&kernel);
    let counted = subject.counters() - before;
    subject.tidy().await?;
    let mut measured = measured?;
    measured.slice.cpu = shares(&measured, kernel);
    Ok((measured, counted))
}

/// The whole process, and what of the kernel's threads belongs to the operations that count: their
/// times were read before the slice and after it, because reading them takes milliseconds.
fn shares(measured: &Measured<()>, kernel: u64) -> CpuUsed {
    let share = measured.slice.ops as f64 / measured.all_ops.max(1) as f64;
    #[expect(clippy::cast_possible_truncation, reason = "less than it was")]
    let server_nanos = (kernel as f64 * share) as u64;
    CpuUsed { client_nanos: measured.slice.cpu.process_nanos(), server_nanos }
}

/// Keeps the shape's operations in flight for one slice, a task for each.
pub(crate) async fn flood<E: Env, S: Subject<E>>(
    subject: Rc<S>,
    shape: Shape,
    meter: Rc<Meter<E>>,
) {
    let env = meter.env();
    let worker = |_| {
        let random = Rng::new(env.random());
        env.spawn(work(subject.clone(), shape, random, meter.clone()))
    };
    let workers: Vec<_> = (0..shape.depth).map(worker).collect();
    for worker in workers {
        worker.await;
    }
}

/// One operation after the other.
async fn work<E: Env, S: Subject<E>>(
    subject: Rc<S>,
    shape: Shape,
    mut random: Rng,
    meter: Rc<Meter<E>>,
) {
    while !meter.stopping() {
        let start = meter.env().now();
        let done = subject.operate(shape.work, &mut random).await;
        if let Err(reason) = done {
            return meter.fail(reason);
        }
        meter.completed(1);
        meter.answered(start);
    }
}
