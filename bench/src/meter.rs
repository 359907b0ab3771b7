//! Counts what a flood of operations achieves, in the measured part of a slice only.
//!
//! Owner: the measuring core. A flood is whatever keeps a shape's operations in flight until
//! [`Meter::stopping`]; it then lets those in flight end, so that the next slice finds everything
//! quiet (B4).

use core::cell::{Cell, RefCell};
use core::fmt::Display;
use core::future::Future;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Env;
use engine_types::Instant;
use hdrhistogram::Histogram;

use crate::cpu::CpuReading;
use crate::stats::{Division, Slice, latency_histogram};

/// An operation that takes longer than this ends its row; an idle machine answers in microseconds.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// How often a stalled flood is looked at: a part of the shortest slice.
const STALL_POLL: Duration = Duration::from_millis(10);

/// What one slice has done so far.
pub(crate) struct Meter<E: Env> {
    env: E,
    completed: Cell<u64>,
    stopping: Cell<bool>,
    /// Latencies count in the measured part only.
    measuring: Cell<bool>,
    latency: RefCell<Histogram<u64>>,
    failure: RefCell<Option<String>>,
}

/// Time, operations so far, CPU time so far.
type Reading = (Instant, u64, CpuReading);

/// A slice that was measured.
pub(crate) struct Measured<T> {
    pub(crate) slice: Slice,
    pub(crate) latency: Histogram<u64>,
    /// Operations of the whole slice, those outside its measured part included.
    pub(crate) all_ops: u64,
    /// What the flood gave back: its connections.
    pub(crate) output: T,
}

/// The same without what the flood gave back, for another thread.
pub(crate) struct Taken {
    pub(crate) slice: Slice,
    pub(crate) latency: Histogram<u64>,
    /// Operations of the whole slice.
    pub(crate) all_ops: u64,
}

impl Taken {
    /// Of something that was not measured.
    pub(crate) fn nothing() -> Self {
        Self { slice: Slice::default(), latency: latency_histogram(), all_ops: 0 }
    }
}

impl<T> From<Measured<T>> for Taken {
    fn from(measured: Measured<T>) -> Self {
        let Measured { slice, latency, all_ops, output: _ } = measured;
        Self { slice, latency, all_ops }
    }
}

impl<E: Env> Meter<E> {
    fn new(env: &E) -> Rc<Self> {
        Rc::new(Self {
            env: env.clone(),
            completed: Cell::new(0),
            stopping: Cell::new(false),
            measuring: Cell::new(false),
            latency: RefCell::new(latency_histogram()),
            failure: RefCell::new(None),
        })
    }

    /// The core's environment.
    pub(crate) fn env(&self) -> &E {
        &self.env
    }

    /// Whether no further operation should be started.
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.get()
    }

    /// `count` operations have ended.
    pub(crate) fn completed(&self, count: u64) {
        self.completed.set(self.completed.get() + count);
    }

    /// One operation has ended that was started at `sent`.
    pub(crate) fn answered(&self, sent: Instant) {
        if self.measuring.get() {
            let nanos = self.env.now().saturating_since(sent).as_nanos();
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
            self.latency.borrow_mut().saturating_record(nanos);
        }
    }

    /// The flood cannot go on; the first reason is kept.
    pub(crate) fn fail(&self, why: impl Display) {
        self.stopping.set(true);
        self.failure.borrow_mut().get_or_insert_with(|| why.to_string());
    }

    fn reading(&self) -> Reading {
        (self.env.now(), self.completed.get(), CpuReading::now())
    }

    /// Waits until more than `ops` operations have ended, or the flood has given up.
    async fn wait_for_more_than(&self, ops: u64) -> Result<(), String> {
        let give_up_at = self.env.now() + ANSWER_TIME_MAX;
        while self.completed.get() <= ops && !self.stopping() {
            if give_up_at <= self.env.now() {
                return Err(format!("no answer within {} s", ANSWER_TIME_MAX.as_secs()));
            }
            self.env.sleep_until(self.env.now() + STALL_POLL).await;
        }
        Ok(())
    }
}

/// Runs a flood for one slice of `division`. It is measured after its settling time, and not
/// before `ops_before` operations have ended.
///
/// # Errors
/// The reason when the flood failed.
pub(crate) async fn slice<E: Env, F: Future + 'static>(
    env: &E,
    division: &Division,
    ops_before: u64,
    flood: impl FnOnce(Rc<Meter<E>>) -> F,
) -> Result<Measured<F::Output>, String>
where
    F::Output: 'static,
{
    let meter = Meter::new(env);
    let flood = env.spawn(flood(meter.clone()));
    loop {
        let before = meter.completed.get();
        env.sleep_until(env.now() + division.settle).await;
        if ops_before <= meter.completed.get() || meter.stopping() {
            break;
        }
        meter.wait_for_more_than(before).await?;
    }
    meter.measuring.set(true);
    let (start, completed_before, cpu_before) = meter.reading();
    env.sleep_until(env.now() + division.measured).await;
    // A stall may outlast a short slice: it becomes longer, because nothing is no figure (B9).
    meter.wait_for_more_than(completed_before).await?;
    let (end, completed_after, cpu_after) = meter.reading();
    meter.measuring.set(false);
    meter.stopping.set(true);
    let output = flood.await;
    if let Some(failure) = meter.failure.take() {
        return Err(failure);
    }
    let nanos = u64::try_from(end.saturating_since(start).as_nanos()).unwrap_or(u64::MAX);
    let ops = completed_after - completed_before;
    let slice = Slice { ops, nanos, cpu: cpu_after.since(cpu_before) };
    let latency = meter.latency.replace(latency_histogram());
    Ok(Measured { slice, latency, all_ops: meter.completed.get(), output })
}
