//! A source that notes what crosses it, and loses answers when told to.
//!
//! Round trips of an operation are the length of its longest chain of reads in which each was
//! asked for when the answer of the one before was there: a read has depth 1 + the greatest depth
//! among the reads of its view that had ended when it began. Every read waits for a moment of
//! virtual time, so reads of one batch are all asked for before the first of them ends. That is an
//! upper bound of the true dependency and what a store with equal latencies shows. The version of
//! a view and the commit are one round trip each and counted apart; reads that own writes answer
//! never come here.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;

use engine_runtime::Env;
use meta_kv::source::{CommitRequest, Source, View};
use meta_kv::{Committed, KvError, Page, RangeRead};

/// What happens to a commit instead of what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    Passes,
    /// Refused, not applied.
    Conflict,
    /// Applied; the answer is lost.
    LostApplied,
    /// Not applied; the answer is lost.
    LostDropped,
    /// The answer is lost; applied after this time, if it still passes.
    LostLate(Duration),
}

/// What has crossed since the log was cleared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// Views handed out.
    pub(crate) views: u64,
    /// Reads, of keys and of pages.
    pub(crate) reads: u64,
    /// The most round trips of one view.
    pub(crate) rounds: u64,
    /// Every commit, and what it was answered.
    pub(crate) commits: Vec<(CommitRequest, Result<(), KvError>)>,
}

impl Log {
    /// Commits that were refused because of what others had written.
    pub(crate) fn conflicts(&self) -> usize {
        self.commits.iter().filter(|(_, end)| *end == Err(KvError::Conflict)).count()
    }
}

#[derive(Default)]
struct Shared {
    log: RefCell<Log>,
    fates: RefCell<VecDeque<Fate>>,
    always: Cell<Option<Fate>>,
}

/// A source that is watched.
pub(crate) struct Seen<E, S> {
    env: E,
    inner: S,
    shared: Rc<Shared>,
}

impl<E: Clone, S: Clone> Clone for Seen<E, S> {
    fn clone(&self) -> Self {
        let (env, inner) = (self.env.clone(), self.inner.clone());
        Self { env, inner, shared: self.shared.clone() }
    }
}

impl<E: Env, S: Source> Seen<E, S> {
    pub(crate) fn new(env: E, inner: S) -> Self {
        Self { env, inner, shared: Rc::default() }
    }

    /// The log so far; a new one begins.
    pub(crate) fn take_log(&self) -> Log {
        self.shared.log.take()
    }

    /// Commits since the log was taken.
    pub(crate) fn commits(&self) -> usize {
        self.shared.log.borrow().commits.len()
    }

    /// What happens to the next commits, in order.
    pub(crate) fn script(&self, fates: impl IntoIterator<Item = Fate>) {
        self.shared.fates.borrow_mut().extend(fates);
    }

    /// What happens to every other commit from the next one on, beside those that are scripted: of
    /// requests that come one by one to the first attempt of each.
    pub(crate) fn every_other(&self, fate: Option<Fate>) {
        self.shared.always.set(fate);
    }

    fn fate(&self) -> Fate {
        let mut fates = self.shared.fates.borrow_mut();
        if let Some(fate) = fates.pop_front() {
            return fate;
        }
        match self.shared.always.get() {
            Some(fate) => {
                fates.push_back(Fate::Passes);
                fate
            }
            None => Fate::Passes,
        }
    }

    async fn meet(&self, fate: Fate, request: CommitRequest) -> Result<Committed, KvError> {
        let lost = |what: &str| KvError::UnknownResult { reason: format!("lost, {what}") };
        match fate {
            Fate::Passes => self.inner.commit(request).await,
            Fate::Conflict => Err(KvError::Conflict),
            Fate::LostApplied => {
                self.inner.commit(request).await?;
                Err(lost("applied"))
            }
            Fate::LostDropped => Err(lost("dropped")),
            Fate::LostLate(after) => {
                let (env, inner) = (self.env.clone(), self.inner.clone());
                drop(self.env.spawn(async move {
                    env.sleep_until(env.now() + after).await;
                    // Nobody is told: it passes or fails by itself.
                    drop(inner.commit(request).await);
                }));
                Err(lost("late"))
            }
        }
    }
}

impl<E: Env, S: Source> Source for Seen<E, S> {
    type View = SeenView<E, S>;

    async fn view(&self) -> Result<Self::View, KvError> {
        let view = self.inner.view().await?;
        self.shared.log.borrow_mut().views += 1;
        Ok(SeenView { source: self.clone(), view, depth: Rc::default() })
    }

    async fn commit(&self, request: CommitRequest) -> Result<Committed, KvError> {
        let answer = self.meet(self.fate(), request.clone()).await;
        let end = answer.as_ref().map(|_| ()).map_err(Clone::clone);
        self.shared.log.borrow_mut().commits.push((request, end));
        answer
    }
}

/// A view that is watched.
pub(crate) struct SeenView<E: Env, S: Source> {
    source: Seen<E, S>,
    view: S::View,
    /// Greatest depth among the reads that have ended.
    depth: Rc<Cell<u64>>,
}

impl<E: Env, S: Source> Clone for SeenView<E, S> {
    fn clone(&self) -> Self {
        let (source, view) = (self.source.clone(), self.view.clone());
        Self { source, view, depth: self.depth.clone() }
    }
}

/// Time that a read takes at least: some of them begin before the first ends.
const READ_TIME: Duration = Duration::from_micros(100);

impl<E: Env, S: Source> SeenView<E, S> {
    async fn read<T>(&self, read: impl Future<Output = Result<T, KvError>>) -> Result<T, KvError> {
        let depth = self.depth.get() + 1;
        {
            let mut log = self.source.shared.log.borrow_mut();
            log.reads += 1;
            log.rounds = log.rounds.max(depth);
        }
        self.source.env.sleep_until(self.source.env.now() + READ_TIME).await;
        let answer = read.await;
        self.depth.set(self.depth.get().max(depth));
        answer
    }
}

impl<E: Env, S: Source> View for SeenView<E, S> {
    fn version(&self) -> u64 {
        self.view.version()
    }

    fn epoch(&self) -> u64 {
        self.view.epoch()
    }

    async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, KvError> {
        self.read(self.view.get(key)).await
    }

    async fn range(&self, read: RangeRead) -> Result<Page, KvError> {
        self.read(self.view.range(read)).await
    }
}
