//! Injected failures, for tests and simulation: what a client of FoundationDB meets on bad days.
//!
//! Wraps any [`Source`]. Each failure is one that callers have to survive: a conflict that nobody
//! caused, a version that has become too old, a store that cannot be reached, a commit whose answer
//! is lost, applied or not. A lost commit may also be applied later, while its owner retries (M9).

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Env;

use crate::api::{Committed, Page, RangeRead};
use crate::error::KvError;
use crate::source::{CommitRequest, Source, View};

/// How often what fails, in permille of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Commits answered with a conflict, not applied.
    pub conflict: u32,
    /// Reads and commits answered with "too old", not applied.
    pub too_old: u32,
    /// Commits whose answer is lost; applied.
    pub lost_applied: u32,
    /// Commits whose answer is lost; not applied.
    pub lost_dropped: u32,
    /// Commits whose answer is lost; applied up to [`Faults::late_max`] later, if they still pass.
    pub lost_late: u32,
    /// Views and commits refused, as by a store that restarts.
    pub unavailable: u32,
    /// Most time by which a lost commit comes late.
    pub late_max: Duration,
    /// Most time that a call takes.
    pub latency_max: Duration,
}

/// A source that fails now and then.
pub struct Faulty<E, S> {
    env: E,
    inner: S,
    faults: Rc<Cell<Faults>>,
    down: Rc<Cell<bool>>,
}

impl<E: Clone, S: Clone> Clone for Faulty<E, S> {
    fn clone(&self) -> Self {
        let (env, inner) = (self.env.clone(), self.inner.clone());
        Self { env, inner, faults: self.faults.clone(), down: self.down.clone() }
    }
}

impl<E: Env, S: Source> Faulty<E, S> {
    /// Wraps `inner`; randomness and time come from `env`.
    pub fn new(env: E, inner: S, faults: Faults) -> Self {
        Self { env, inner, faults: Rc::new(Cell::new(faults)), down: Rc::default() }
    }

    /// Changes what fails, for every clone.
    pub fn set(&self, faults: Faults) {
        self.faults.set(faults);
    }

    /// Makes the store unreachable, or reachable again, for every clone.
    pub fn set_down(&self, down: bool) {
        self.down.set(down);
    }

    fn hit(&self, permille: u32) -> bool {
        self.env.random() % 1000 < u64::from(permille)
    }

    async fn delay(&self, longest: Duration) {
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        if let Some(wait) = self.env.random().checked_rem(nanos) {
            self.env.sleep_until(self.env.now() + Duration::from_nanos(wait)).await;
        }
    }

    fn reachable(&self) -> Result<(), KvError> {
        if self.down.get() || self.hit(self.faults.get().unavailable) {
            return Err(KvError::Unavailable { reason: "injected".to_owned() });
        }
        Ok(())
    }
}

fn lost(what: &str) -> KvError {
    KvError::UnknownResult { reason: format!("injected: the answer was lost, {what}") }
}

impl<E: Env, S: Source> Source for Faulty<E, S> {
    type View = FaultyView<E, S>;

    async fn view(&self) -> Result<Self::View, KvError> {
        self.delay(self.faults.get().latency_max).await;
        self.reachable()?;
        Ok(FaultyView { source: self.clone(), view: self.inner.view().await? })
    }

    async fn commit(&self, request: CommitRequest) -> Result<Committed, KvError> {
        let faults = self.faults.get();
        self.delay(faults.latency_max).await;
        self.reachable()?;
        if self.hit(faults.conflict) {
            return Err(KvError::Conflict);
        }
        if self.hit(faults.too_old) {
            return Err(KvError::TooOld);
        }
        if self.hit(faults.lost_dropped) {
            return Err(lost("not applied"));
        }
        if self.hit(faults.lost_late) {
            let source = self.clone();
            drop(self.env.spawn(async move {
                source.delay(faults.late_max).await;
                // Nobody is told: the commit passes or fails by itself.
                drop(source.inner.commit(request).await);
            }));
            return Err(lost("it comes late"));
        }
        let answer = self.inner.commit(request).await;
        self.delay(faults.latency_max).await;
        if answer.is_ok() && (self.hit(faults.lost_applied) || self.down.get()) {
            return Err(lost("applied"));
        }
        answer
    }
}

/// A view of a source that fails now and then.
pub struct FaultyView<E: Env, S: Source> {
    source: Faulty<E, S>,
    view: S::View,
}

impl<E: Env, S: Source> Clone for FaultyView<E, S> {
    fn clone(&self) -> Self {
        Self { source: self.source.clone(), view: self.view.clone() }
    }
}

impl<E: Env, S: Source> FaultyView<E, S> {
    async fn before_read(&self) -> Result<(), KvError> {
        self.source.delay(self.source.faults.get().latency_max).await;
        if self.source.down.get() {
            return Err(KvError::Unavailable { reason: "injected".to_owned() });
        }
        if self.source.hit(self.source.faults.get().too_old) {
            return Err(KvError::TooOld);
        }
        Ok(())
    }
}

impl<E: Env, S: Source> View for FaultyView<E, S> {
    fn version(&self) -> u64 {
        self.view.version()
    }

    fn epoch(&self) -> u64 {
        self.view.epoch()
    }

    async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, KvError> {
        self.before_read().await?;
        self.view.get(key).await
    }

    async fn range(&self, read: RangeRead) -> Result<Page, KvError> {
        self.before_read().await?;
        self.view.range(read).await
    }
}
