//! Counts what a flood of messages achieves, in the measured part of a slice only.
//!
//! Owner: the client's core. A flood is whatever keeps a shape's messages in flight until
//! [`Meter::stopping`]; it then lets those in flight end, so that the next slice finds the
//! connections quiet (B4).

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

/// A message that takes longer than this ends its row; an idle machine answers in microseconds.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// What one slice has done so far.
pub(super) struct Meter<E: Env> {
    env: E,
    completed: Cell<u64>,
    stopping: Cell<bool>,
    /// Latencies count in the measured part only.
    measuring: Cell<bool>,
    latency: RefCell<Histogram<u64>>,
    failure: RefCell<Option<String>>,
}

/// A slice that was measured.
pub(super) struct Measured<T> {
    pub(super) slice: Slice,
    pub(super) latency: Histogram<u64>,
    /// What the flood gave back: its connections.
    pub(super) output: T,
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
    pub(super) fn env(&self) -> &E {
        &self.env
    }

    /// Whether no further message should be sent.
    pub(super) fn stopping(&self) -> bool {
        self.stopping.get()
    }

    /// `count` messages were answered.
    pub(super) fn completed(&self, count: u64) {
        self.completed.set(self.completed.get() + count);
    }

    /// One message was answered that had been sent at `sent`.
    pub(super) fn answered(&self, sent: Instant) {
        if self.measuring.get() {
            let nanos = self.env.now().saturating_since(sent).as_nanos();
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
            self.latency.borrow_mut().saturating_record(nanos);
        }
    }

    /// The flood cannot go on; the first reason is kept.
    pub(super) fn fail(&self, why: impl Display) {
        self.stopping.set(true);
        self.failure.borrow_mut().get_or_insert_with(|| why.to_string());
    }

    fn reading(&self) -> (Instant, u64, CpuReading) {
        (self.env.now(), self.completed.get(), CpuReading::now())
    }
}

/// Runs a flood for one slice of `division`.
///
/// # Errors
/// The reason when the flood failed.
pub(super) async fn slice<E: Env, F: Future + 'static>(
    env: &E,
    division: &Division,
    flood: impl FnOnce(Rc<Meter<E>>) -> F,
) -> Result<Measured<F::Output>, String>
where
    F::Output: 'static,
{
    let meter = Meter::new(env);
    let flood = env.spawn(flood(meter.clone()));
    env.sleep_until(env.now() + division.settle).await;
    meter.measuring.set(true);
    let (start, completed_before, cpu_before) = meter.reading();
    let (end, completed_after, cpu_after) = loop {
        env.sleep_until(env.now() + division.measured).await;
        let reading = meter.reading();
        let (now, completed, _) = reading;
        // A stall may outlast a short slice: it becomes longer, because nothing is no figure (B9).
        if completed_before < completed || meter.stopping() {
            break reading;
        }
        if start + ANSWER_TIME_MAX <= now {
            return Err(format!("no answer within {} s", ANSWER_TIME_MAX.as_secs()));
        }
    };
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
    Ok(Measured { slice, latency, output })
}
