//! The store in this process: one task orders commits and writes them in groups, any number of
//! cores read snapshots and hand in commits.
//!
//! ```text
//!   core 0: Embedded ─┐ commits (bounded)   ┌─ group n+1 forms while group n is written
//!   core 1: Embedded ─┼──────────> task ────┤
//!   ...               │                     └─ engine.apply: one atomic write, one flush
//!        ^            └── reads: batches of blocking calls, or inline
//!        └── published (version, snapshot) ──── after the flush
//! ```
//!
//! Invariants E200 to E206 of the crate. The task forms a group from whatever waits when the group
//! before it is durable, so groups grow with the load and a lone commit waits for nobody.
//!
//! Failure: a full disk refuses the group and nothing else; any other failed write leaves the
//! store refusing everything (E206) until it is opened again.

use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine_runtime::{Env, Notify, Sender, yield_now};

use crate::api::{Committed, Page, RangeRead};
use crate::engine::{EngineError, EngineSnapshot, KvEngine};
use crate::error::KvError;
use crate::limits::{COMMIT_QUEUE_BYTES_MAX, COMMIT_QUEUE_MAX};
use crate::sequencer::Sequencer;
use crate::source::{CommitRequest, Source, View};

mod commit;
#[cfg(test)]
mod tests;

/// What readers see.
struct Published<S> {
    version: u64,
    snapshot: S,
    /// Why nothing is served any more (E206).
    failed: Option<String>,
}

/// What all cores share.
struct Shared<G: KvEngine> {
    published: Mutex<Published<G::Snapshot>>,
    commits: Sender<commit::Message>,
    /// Bytes of the commits that wait or are being written.
    waiting_bytes: Arc<AtomicUsize>,
    engine: Arc<G>,
    stats: commit::Stats,
}

impl<G: KvEngine> Shared<G> {
    fn published(&self) -> MutexGuard<'_, Published<G::Snapshot>> {
        // Nothing panics while it is held; the state is whole either way.
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a failed read: if the engine has failed, nothing more is served (E206).
    fn look_at_engine(&self, error: &EngineError) {
        if !self.engine.failed() {
            return;
        }
        let mut published = self.published();
        if published.failed.is_none() {
            let reason = error.to_string();
            tracing::error!(%reason, "a read has failed: closed (E206)");
            published.failed = Some(reason);
            drop(published);
            // A full queue has commits, which find the failure themselves.
            drop(self.commits.try_send(commit::Message::Failed));
        }
    }
}

/// Carries a store to another core: [`Handle::attach`].
pub struct Handle<G: KvEngine> {
    shared: Arc<Shared<G>>,
}

impl<G: KvEngine> Clone for Handle<G> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<G: KvEngine> Handle<G> {
    /// The store, seen from the core of `env`.
    pub fn attach<E: Env>(self, env: E) -> Embedded<E, G> {
        Embedded { env, shared: self.shared, reads: Rc::default() }
    }
}

/// The store, seen from one core.
pub struct Embedded<E: Env, G: KvEngine> {
    env: E,
    shared: Arc<Shared<G>>,
    reads: Rc<Reads<G::Snapshot>>,
}

impl<E: Env, G: KvEngine> Clone for Embedded<E, G> {
    fn clone(&self) -> Self {
        let (env, shared, reads) = (self.env.clone(), self.shared.clone(), self.reads.clone());
        Self { env, shared, reads }
    }
}

/// Counters of a store since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbeddedStats {
    /// Commits that are durable.
    pub commits: u64,
    /// Groups they were written in, each with one flush.
    pub groups: u64,
    /// Commits refused because of a conflict.
    pub conflicts: u64,
    /// Commits refused as too old.
    pub too_old: u64,
    /// Keys and ranges remembered to find conflicts.
    pub remembered: u64,
}

impl<E: Env, G: KvEngine> Embedded<E, G> {
    /// Starts serving `engine`. The returned task ends when every handle and view is gone, and then
    /// leaves nothing of the engine behind; or when the engine has failed (E206).
    ///
    /// # Errors
    /// When the engine gives no snapshot.
    pub fn start(env: &E, engine: G) -> Result<(Self, E::Join<()>), EngineError> {
        let (commits, queue) = env.mailbox(COMMIT_QUEUE_MAX);
        let version = engine.version();
        let snapshot = engine.snapshot()?;
        let published = Mutex::new(Published { version, snapshot, failed: None });
        let engine = Arc::new(engine);
        let waiting_bytes = Arc::default();
        let stats = commit::Stats::default();
        let shared =
            Arc::new(Shared { published, commits, waiting_bytes, engine: engine.clone(), stats });
        let committer = commit::Committer {
            env: env.clone(),
            engine,
            sequencer: Sequencer::new(version),
            shared: Arc::downgrade(&shared),
            queue,
            left: None,
        };
        let task = env.spawn(committer.run());
        Ok((Self { env: env.clone(), shared, reads: Rc::default() }, task))
    }

    /// Carries it to another core.
    pub fn handle(&self) -> Handle<G> {
        Handle { shared: self.shared.clone() }
    }

    /// Version of the newest durable group.
    pub fn version(&self) -> u64 {
        self.shared.published().version
    }

    /// The newest state, without the age limit of transactions: for backups.
    ///
    /// # Errors
    /// When the store has failed.
    pub fn snapshot(&self) -> Result<(u64, G::Snapshot), KvError> {
        let published = self.shared.published();
        match &published.failed {
            Some(reason) => Err(KvError::Unavailable { reason: reason.clone() }),
            None => Ok((published.version, published.snapshot.clone())),
        }
    }

    /// Why nothing is served any more, if so (E206).
    pub fn failure(&self) -> Option<String> {
        self.shared.published().failed.clone()
    }

    /// Counters.
    pub fn stats(&self) -> EmbeddedStats {
        self.shared.stats.read()
    }
}

impl<E: Env, G: KvEngine> Source for Embedded<E, G> {
    type View = EmbeddedView<E, G>;

    async fn view(&self) -> Result<Self::View, KvError> {
        let (version, snapshot) = self.snapshot()?;
        let (env, shared, reads) = (self.env.clone(), self.shared.clone(), self.reads.clone());
        Ok(EmbeddedView { env, shared, version, snapshot, reads })
    }

    async fn commit(&self, request: CommitRequest) -> Result<Committed, KvError> {
        let bytes = request.size();
        let waiting = self.shared.waiting_bytes.load(Ordering::Relaxed);
        if 0 < waiting && COMMIT_QUEUE_BYTES_MAX < waiting + bytes {
            let reason = format!("{waiting} bytes of commits wait, {bytes} came");
            return Err(KvError::Overloaded { reason });
        }
        let held = commit::Held::new(&self.shared.waiting_bytes, bytes);
        let (reply, answer) = self.env.mailbox(1);
        let job = commit::Job { request, reply, held };
        if self.shared.commits.send(commit::Message::Commit(job)).await.is_err() {
            let reason = "the store has been closed".to_owned();
            return Err(KvError::Unavailable { reason });
        }
        answer.recv().await.unwrap_or_else(|| {
            let reason = "the store was closed during the commit".to_owned();
            Err(KvError::UnknownResult { reason })
        })
    }
}

/// One version of a store, on one core. It keeps the store open.
pub struct EmbeddedView<E: Env, G: KvEngine> {
    env: E,
    shared: Arc<Shared<G>>,
    version: u64,
    snapshot: G::Snapshot,
    reads: Rc<Reads<G::Snapshot>>,
}

impl<E: Env, G: KvEngine> Clone for EmbeddedView<E, G> {
    fn clone(&self) -> Self {
        let (env, version) = (self.env.clone(), self.version);
        let (shared, snapshot) = (self.shared.clone(), self.snapshot.clone());
        Self { env, shared, version, snapshot, reads: self.reads.clone() }
    }
}

impl<E: Env, G: KvEngine> View for EmbeddedView<E, G> {
    fn version(&self) -> u64 {
        self.version
    }

    async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, KvError> {
        match self.ask(Ask::Get(key)).await? {
            Told::Value(value) => Ok(value),
            Told::Page(_) => unreachable!("a get is answered with a value"),
        }
    }

    async fn range(&self, read: RangeRead) -> Result<Page, KvError> {
        match self.ask(Ask::Range(read)).await? {
            Told::Page(page) => Ok(page),
            Told::Value(_) => unreachable!("a range is answered with a page"),
        }
    }
}

impl<E: Env, G: KvEngine> EmbeddedView<E, G> {
    async fn ask(&self, ask: Ask) -> Result<Told, KvError> {
        let told = if G::BLOCKS {
            self.reads.run(&self.env, self.snapshot.clone(), ask).await
        } else {
            answer((self.snapshot.clone(), ask))
        };
        Ok(told.inspect_err(|error| self.shared.look_at_engine(error))?)
    }
}

enum Ask {
    Get(Vec<u8>),
    Range(RangeRead),
}

impl Ask {
    /// What it counts for in a blocking call: a page may be a megabyte from a cold disk.
    fn weight(&self) -> usize {
        match self {
            Self::Get(_) => 1,
            Self::Range(_) => CALL_WEIGHT_MAX / 4,
        }
    }
}

enum Told {
    Value(Option<Vec<u8>>),
    Page(Page),
}

/// Where an answer arrives.
struct Slot {
    told: RefCell<Option<Result<Told, EngineError>>>,
    arrived: Notify,
}

/// Gets in one blocking call at most, so that none waits for many others.
const CALL_WEIGHT_MAX: usize = 64;
/// Blocking calls of one core for reads at a time, so that a cold page holds up only its own; half
/// of what an executor runs by default, as commits need one.
const CALLS_MAX: usize = 4;

/// Reads of one core. All that wait when a call has ended go into the next one, up to its limit: a
/// lone read costs one hand-over to a thread, many at a time share it.
struct Reads<S> {
    waiting: RefCell<VecDeque<(S, Ask, Rc<Slot>)>>,
    calls: Cell<usize>,
}

impl<S> Default for Reads<S> {
    fn default() -> Self {
        Self { waiting: RefCell::default(), calls: Cell::new(0) }
    }
}

impl<S: EngineSnapshot> Reads<S> {
    async fn run<E: Env>(
        self: &Rc<Self>,
        env: &E,
        snapshot: S,
        ask: Ask,
    ) -> Result<Told, EngineError> {
        let slot = Rc::new(Slot { told: RefCell::new(None), arrived: Notify::default() });
        self.waiting.borrow_mut().push_back((snapshot, ask, slot.clone()));
        let calls = self.calls.get();
        if calls == 0 || calls < CALLS_MAX && CALL_WEIGHT_MAX / 4 < self.waiting.borrow().len() {
            self.calls.set(calls + 1);
            drop(env.spawn(self.clone().drain(env.clone())));
        }
        slot.arrived.until(|| slot.told.borrow().is_some()).await;
        slot.told.take().expect("waited for above")
    }

    /// What the next call answers.
    fn next_call(&self) -> (Vec<(S, Ask)>, Vec<Rc<Slot>>) {
        let mut waiting = self.waiting.borrow_mut();
        let (mut asks, mut slots, mut weight) = (Vec::new(), Vec::new(), 0);
        while weight < CALL_WEIGHT_MAX {
            let Some((snapshot, ask, slot)) = waiting.pop_front() else { break };
            weight += ask.weight();
            asks.push((snapshot, ask));
            slots.push(slot);
        }
        (asks, slots)
    }

    async fn drain<E: Env>(self: Rc<Self>, env: E) {
        loop {
            // Tasks that are ready now may add their reads to this call.
            yield_now().await;
            let (asks, slots) = self.next_call();
            if asks.is_empty() {
                self.calls.set(self.calls.get() - 1);
                return;
            }
            let told = env.blocking(move || asks.into_iter().map(answer).collect::<Vec<_>>()).await;
            for (slot, told) in slots.into_iter().zip(told) {
                *slot.told.borrow_mut() = Some(told);
                slot.arrived.notify();
            }
        }
    }
}

fn answer<S: EngineSnapshot>((snapshot, ask): (S, Ask)) -> Result<Told, EngineError> {
    match ask {
        Ask::Get(key) => snapshot.get(&key).map(Told::Value),
        Ask::Range(read) => snapshot.range(&read).map(Told::Page),
    }
}
