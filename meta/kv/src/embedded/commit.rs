//! The one task that commits.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use engine_runtime::{Env, Receiver, Sender, yield_now};
use engine_types::Instant;

use super::{EmbeddedStats, Published, Shared};
use crate::api::Committed;
use crate::engine::{EngineError, KvEngine};
use crate::error::KvError;
use crate::sequencer::{Group, Sequencer};
use crate::source::CommitRequest;

/// How often the task lets others run before it closes a group, so that those whose commits were
/// just acknowledged can hand in their next: without it, groups of one and of all others alternate.
const GATHER_TURNS: u32 = 2;

/// Commits judged before others may run: some tens of microseconds each when ranges are wide.
const JUDGED_PER_TURN: usize = 32;

/// What the task is told.
pub(super) enum Message {
    Commit(Job),
    /// A read has found that the engine has failed.
    Failed,
}

/// A commit and where its answer goes.
pub(super) struct Job {
    pub(super) request: CommitRequest,
    pub(super) reply: Sender<Result<Committed, KvError>>,
    pub(super) held: Held,
}

/// Bytes counted as waiting, until it is dropped with the answer.
pub(super) struct Held {
    counter: Arc<AtomicUsize>,
    bytes: usize,
}

impl Held {
    pub(super) fn new(counter: &Arc<AtomicUsize>, bytes: usize) -> Self {
        counter.fetch_add(bytes, Ordering::Relaxed);
        Self { counter: counter.clone(), bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An answer that waits for its group.
struct Reply {
    to: Sender<Result<Committed, KvError>>,
    committed: Committed,
    _held: Held,
}

/// What became of a group.
enum Written<S> {
    Done(S),
    /// Nothing of it is there; the state as it was.
    Full(EngineError, S),
    /// The engine had failed before; nothing of it is there.
    Refused,
    /// What is there is unknown.
    Failed(EngineError),
}

/// Counters, written by the task alone.
#[derive(Default)]
pub(super) struct Stats {
    commits: AtomicU64,
    groups: AtomicU64,
    conflicts: AtomicU64,
    too_old: AtomicU64,
    remembered: AtomicU64,
}

impl Stats {
    pub(super) fn read(&self) -> EmbeddedStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EmbeddedStats {
            commits: get(&self.commits),
            groups: get(&self.groups),
            conflicts: get(&self.conflicts),
            too_old: get(&self.too_old),
            remembered: get(&self.remembered),
        }
    }
}

pub(super) struct Committer<E: Env, G: KvEngine> {
    pub(super) env: E,
    pub(super) engine: Arc<G>,
    pub(super) sequencer: Sequencer,
    /// Weak: the handles of readers decide how long the store lives.
    pub(super) shared: Weak<Shared<G>>,
    pub(super) queue: Receiver<Message>,
    /// A commit that did not fit into the group before.
    pub(super) left: Option<Job>,
}

impl<E: Env, G: KvEngine> Committer<E, G> {
    pub(super) async fn run(mut self) {
        loop {
            let first = match self.left.take() {
                Some(job) => Message::Commit(job),
                None => match self.queue.recv().await {
                    Some(message) => message,
                    None => return,
                },
            };
            for _ in 0..GATHER_TURNS {
                yield_now().await;
            }
            let works = match first {
                Message::Failed => false,
                Message::Commit(first) => {
                    let (group, replies) = self.form(first).await;
                    group.commits() == 0 || self.write(group, replies).await
                }
            };
            if !works {
                // This task's end tells its owner; commits that wait or come are refused.
                let Self { env, queue, left, shared, .. } = self;
                let reason = shared.upgrade().and_then(|shared| shared.published().failed.clone());
                drop(env.spawn(refuse(queue, left, reason.unwrap_or_default())));
                return;
            }
        }
    }

    /// Judges what waits, up to a group's limits.
    async fn form(&mut self, first: Job) -> (Group, Vec<Reply>) {
        let now = self.env.now();
        let mut group = self.sequencer.open_group(now);
        let mut replies = Vec::new();
        let mut next = Some(first);
        let mut judged = 0;
        while let Some(job) = next.take().or_else(|| self.next_commit()) {
            judged += 1;
            if judged % JUDGED_PER_TURN == 0 {
                yield_now().await;
            }
            if !group.has_room(job.request.size()) {
                self.left = Some(job);
                break;
            }
            match self.judge(&mut group, job.request, now) {
                Ok(committed) => {
                    replies.push(Reply { to: job.reply, committed, _held: job.held });
                }
                // Nobody waits for it any more, or it has room: it is the only answer.
                Err(error) => drop(job.reply.send(Err(error)).await),
            }
        }
        (group, replies)
    }

    /// The next commit that waits. What a failed read reports, the write of the group finds too.
    fn next_commit(&self) -> Option<Job> {
        loop {
            match self.queue.try_recv()? {
                Message::Commit(job) => return Some(job),
                Message::Failed => {}
            }
        }
    }

    fn judge(
        &mut self,
        group: &mut Group,
        request: CommitRequest,
        now: Instant,
    ) -> Result<Committed, KvError> {
        let Some(shared) = self.shared.upgrade() else {
            return Err(closed());
        };
        let judged = self.sequencer.admit(group, request, now);
        let counter = match &judged {
            Err(KvError::Conflict) => &shared.stats.conflicts,
            Err(KvError::TooOld) => &shared.stats.too_old,
            _ => return judged,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        judged
    }

    /// Makes a group durable, publishes it, then answers (E202). False when the store has failed.
    async fn write(&self, group: Group, replies: Vec<Reply>) -> bool {
        let commits = group.commits();
        let batch = group.into_batch();
        let version = batch.version;
        let engine = self.engine.clone();
        let written = self.env.blocking(move || {
            if engine.failed() {
                return Written::Refused;
            }
            let applied = engine.apply(&batch);
            // Also when the disk is full: the engine may have had to open its file again.
            match (applied, engine.snapshot()) {
                (Ok(()), Ok(snapshot)) => Written::Done(snapshot),
                (Err(full @ EngineError::Full { .. }), Ok(snapshot)) => {
                    Written::Full(full, snapshot)
                }
                (Err(error), _) | (Ok(()), Err(error)) => Written::Failed(error),
            }
        });
        let written = written.await;
        let Some(shared) = self.shared.upgrade() else { return true };
        let refused = match written {
            Written::Done(snapshot) => {
                let mut published = shared.published();
                assert!(published.version < version, "E201: versions rise");
                *published = Published { version, snapshot, failed: None };
                drop(published);
                shared.stats.commits.fetch_add(commits as u64, Ordering::Relaxed);
                shared.stats.groups.fetch_add(1, Ordering::Relaxed);
                let remembered = self.sequencer.remembered() as u64;
                shared.stats.remembered.store(remembered, Ordering::Relaxed);
                None
            }
            Written::Full(full, snapshot) => {
                // Nothing was applied, so the old state is that of the new version as well; without
                // it, readers would conflict with writes that never happened.
                *shared.published() = Published { version, snapshot, failed: None };
                Some(KvError::from(full))
            }
            Written::Refused => {
                let reason = "the engine has failed before".to_owned();
                shared.published().failed.get_or_insert_with(|| reason.clone());
                Some(KvError::Unavailable { reason })
            }
            Written::Failed(error) => {
                let reason = error.to_string();
                tracing::error!(version, %reason, "a group could not be written: closed (E206)");
                shared.published().failed = Some(reason.clone());
                Some(KvError::UnknownResult { reason })
            }
        };
        let failed = shared.published().failed.is_some();
        drop(shared);
        for Reply { to, committed, .. } in replies {
            // Who gave up waiting needs no answer.
            drop(to.send(refused.clone().map_or(Ok(committed), Err)).await);
        }
        !failed
    }
}

/// Answers commits of a store that has failed (E206), until nobody is left to send one.
async fn refuse(queue: Receiver<Message>, left: Option<Job>, reason: String) {
    let mut next = left.map(Message::Commit);
    loop {
        let message = match next.take() {
            Some(message) => message,
            None => match queue.recv().await {
                Some(message) => message,
                None => return,
            },
        };
        if let Message::Commit(job) = message {
            let refused = KvError::Unavailable { reason: reason.clone() };
            drop(job.reply.send(Err(refused)).await);
        }
    }
}

fn closed() -> KvError {
    KvError::Unavailable { reason: "the store is being closed".to_owned() }
}
