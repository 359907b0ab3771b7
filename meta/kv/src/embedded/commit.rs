//! The one task that commits.

use core::sync::atomic::{AtomicU64, Ordering};
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

/// A commit and where its answer goes.
pub(super) struct Job {
    pub(super) request: CommitRequest,
    pub(super) reply: Sender<Result<Committed, KvError>>,
}

type Reply = (Sender<Result<Committed, KvError>>, Committed);

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
    pub(super) queue: Receiver<Job>,
    /// A commit that did not fit into the group before.
    pub(super) left: Option<Job>,
}

impl<E: Env, G: KvEngine> Committer<E, G> {
    pub(super) async fn run(mut self) {
        loop {
            let first = match self.left.take() {
                Some(job) => Some(job),
                None => self.queue.recv().await,
            };
            let Some(first) = first else { return };
            for _ in 0..GATHER_TURNS {
                yield_now().await;
            }
            let (group, replies) = self.form(first).await;
            if 0 < group.commits() && !self.write(group, replies).await {
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
        while let Some(job) = next.take().or_else(|| self.queue.try_recv()) {
            if !group.has_room(job.request.size()) {
                self.left = Some(job);
                break;
            }
            match self.judge(&mut group, job.request, now) {
                Ok(committed) => replies.push((job.reply, committed)),
                // Nobody waits for it any more, or it has room: it is the only answer.
                Err(error) => drop(job.reply.send(Err(error)).await),
            }
        }
        (group, replies)
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
            engine.apply(&batch)?;
            engine.snapshot()
        });
        let written = written.await;
        let Some(shared) = self.shared.upgrade() else { return true };
        let refused = match written {
            Ok(snapshot) => {
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
            Err(full @ EngineError::Full { .. }) => {
                // Nothing was applied, so the old state is that of the new version as well; without
                // it, readers would conflict with writes that never happened.
                shared.published().version = version;
                Some(KvError::from(full))
            }
            Err(error) => {
                let reason = error.to_string();
                tracing::error!(version, %reason, "a group could not be written: closed (E206)");
                shared.published().failed = Some(reason.clone());
                Some(KvError::UnknownResult { reason })
            }
        };
        let failed = shared.published().failed.is_some();
        drop(shared);
        for (reply, committed) in replies {
            // Who gave up waiting needs no answer.
            drop(reply.send(refused.clone().map_or(Ok(committed), Err)).await);
        }
        !failed
    }
}

/// Answers commits of a store that has failed (E206), until nobody is left to send one.
async fn refuse(queue: Receiver<Job>, left: Option<Job>, reason: String) {
    let mut next = left;
    loop {
        let Some(job) = (match next.take() {
            Some(job) => Some(job),
            None => queue.recv().await,
        }) else {
            return;
        };
        let refused = KvError::Unavailable { reason: reason.clone() };
        drop(job.reply.send(Err(refused)).await);
    }
}

fn closed() -> KvError {
    KvError::Unavailable { reason: "the store is being closed".to_owned() }
}
