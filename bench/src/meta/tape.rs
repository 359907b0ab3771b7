//! A store that notes which transactions its users make.
//!
//! Operations on the namespace read and commit through it as through any store. While it takes
//! notes, each transaction that carries the record of a client's request (M11), and each that reads
//! nothing but inodes and entries, is kept with its reads in rounds: those that were asked for
//! before any of the same round had ended. What services do for themselves is neither.

use core::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use meta_kv::{CommitRequest, Committed, KvError, Mutation, Page, RangeRead, Source, View};

/// Most transactions that are kept: some 50 MB.
const KEPT_MAX: usize = 40_000;
/// First letters of the record of a request.
pub(super) const REQUEST: &[u8] = b"REQU";
/// First letters of what operations that change nothing read.
const READ_ALONE: [&[u8]; 2] = [b"INOD", b"DENT"];

/// A read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Get(Vec<u8>),
    Range(RangeRead),
}

impl Read {
    fn key(&self) -> &[u8] {
        match self {
            Self::Get(key) => key,
            Self::Range(read) => &read.range.begin,
        }
    }
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Taped {
    /// Its reads, each round at the same time.
    pub(super) rounds: Vec<Vec<Read>>,
    /// What it committed.
    pub(super) commit: Option<CommitRequest>,
}

/// What was noted.
#[derive(Default)]
pub(super) struct Tape {
    on: Cell<bool>,
    /// Reads of transactions that will commit, by their records.
    open: RefCell<BTreeMap<Vec<u8>, Rc<Reads>>>,
    done: RefCell<Vec<Taped>>,
}

/// Reads of one view.
#[derive(Default)]
struct Reads {
    rounds: RefCell<Vec<Vec<Read>>>,
    /// Rounds that have ended.
    ended: Cell<usize>,
    /// It carries the record of a request.
    changes: Cell<bool>,
}

impl Tape {
    /// Takes notes from now on.
    pub(super) fn begin(&self) {
        self.done.borrow_mut().clear();
        self.on.set(true);
    }

    /// Takes none any more; gives what was noted.
    pub(super) fn end(&self) -> Vec<Taped> {
        self.on.set(false);
        self.open.borrow_mut().clear();
        self.done.take()
    }

    fn keep(&self, taped: Taped) {
        let mut done = self.done.borrow_mut();
        if self.on.get() && done.len() < KEPT_MAX {
            done.push(taped);
        }
    }

    fn committed(&self, request: CommitRequest) {
        let record = request.mutations.iter().find_map(|mutation| match mutation {
            Mutation::Set { key, .. } if key.starts_with(REQUEST) => Some(key),
            _ => None,
        });
        let reads = record.and_then(|key| self.open.borrow_mut().remove(key));
        if let Some(reads) = reads {
            self.keep(Taped { rounds: reads.rounds.take(), commit: Some(request) });
        }
    }
}

/// A store whose transactions are noted.
pub(super) struct Noted<S> {
    inner: S,
    tape: Rc<Tape>,
}

impl<S: Clone> Clone for Noted<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), tape: self.tape.clone() }
    }
}

impl<S: Source> Noted<S> {
    pub(super) fn new(inner: S, tape: Rc<Tape>) -> Self {
        Self { inner, tape }
    }
}

impl<S: Source> Source for Noted<S> {
    type View = NotedView<S::View>;

    async fn view(&self) -> Result<Self::View, KvError> {
        let view = self.inner.view().await?;
        let notes = self.tape.on.get().then(|| {
            let tape = self.tape.clone();
            Rc::new(Notes { reads: Rc::default(), tape })
        });
        Ok(NotedView { view, notes })
    }

    async fn commit(&self, request: CommitRequest) -> Result<Committed, KvError> {
        if !self.tape.on.get() {
            return self.inner.commit(request).await;
        }
        let committed = self.inner.commit(request.clone()).await?;
        self.tape.committed(request);
        Ok(committed)
    }
}

/// The notes of one view. Those of a transaction that only reads end with it.
struct Notes {
    reads: Rc<Reads>,
    tape: Rc<Tape>,
}

impl Drop for Notes {
    fn drop(&mut self) {
        if self.reads.changes.get() {
            return; // its commit takes the reads
        }
        let rounds = self.reads.rounds.take();
        let plain = |key: &[u8]| READ_ALONE.iter().any(|letters| key.starts_with(letters));
        if !rounds.is_empty() && rounds.iter().flatten().all(|read| plain(read.key())) {
            self.tape.keep(Taped { rounds, commit: None });
        }
    }
}

impl Notes {
    /// Notes a read; its round.
    fn begun(&self, read: Read) -> usize {
        if read.key().starts_with(REQUEST) {
            self.reads.changes.set(true);
            self.tape.open.borrow_mut().insert(read.key().to_vec(), self.reads.clone());
        }
        let round = self.reads.ended.get();
        let mut rounds = self.reads.rounds.borrow_mut();
        let count = rounds.len().max(round + 1);
        rounds.resize_with(count, Vec::new);
        rounds[round].push(read);
        round
    }

    fn ended(&self, round: usize) {
        self.reads.ended.set(self.reads.ended.get().max(round + 1));
    }
}

/// A view whose reads are noted.
pub(super) struct NotedView<V> {
    view: V,
    notes: Option<Rc<Notes>>,
}

impl<V: Clone> Clone for NotedView<V> {
    fn clone(&self) -> Self {
        Self { view: self.view.clone(), notes: self.notes.clone() }
    }
}

impl<V: View> NotedView<V> {
    fn begun(&self, read: impl FnOnce() -> Read) -> Option<usize> {
        self.notes.as_ref().map(|notes| notes.begun(read()))
    }

    fn ended(&self, round: Option<usize>) {
        if let (Some(notes), Some(round)) = (&self.notes, round) {
            notes.ended(round);
        }
    }
}

impl<V: View> View for NotedView<V> {
    fn version(&self) -> u64 {
        self.view.version()
    }

    fn epoch(&self) -> u64 {
        self.view.epoch()
    }

    async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, KvError> {
        let round = self.begun(|| Read::Get(key.clone()));
        let found = self.view.get(key).await;
        self.ended(round);
        found
    }

    async fn range(&self, read: RangeRead) -> Result<Page, KvError> {
        let round = self.begun(|| Read::Range(read.clone()));
        let found = self.view.range(read).await;
        self.ended(round);
        found
    }
}
