//! Jobs about one inode that wait at this process are done together.
//!
//! The first one runs at once. What comes while it is under way waits, and runs as one batch when
//! it has ended: 64 writers that sync one file cost two transactions instead of 64 that conflict.
//!
//! Owner: one core. A batch runs in a task of its own, so that a caller who gives up takes nothing
//! with him: his job is done, and nobody hears of it.
//!
//! Invariants
//!   E445  of one inode one batch is under way, and each job is in one batch and gets one outcome

use core::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use engine_runtime::{Env, Notify};
use engine_types::{InodeId, Map};

#[cfg(test)]
mod tests;

/// Jobs of one batch: each adds some reads of its own and some hundred bytes to the transaction.
pub(crate) const BATCH_MAX: usize = 64;
/// Jobs that wait for one inode: 16 batches, about a tenth of a second. Further ones wait outside,
/// in no order.
const WAITING_MAX: usize = 1024;

struct Job<J, O> {
    job: J,
    outcome: Rc<Outcome<O>>,
}

struct Outcome<O> {
    value: RefCell<Option<O>>,
    there: Notify,
}

type Lane<J, O> = VecDeque<Job<J, O>>;

struct Inner<J, O> {
    /// Of inodes with a batch under way: the jobs behind it.
    lanes: RefCell<Map<InodeId, Lane<J, O>>>,
    room: Notify,
}

/// The jobs of one core. Clones share them.
pub(crate) struct Merge<J, O>(Rc<Inner<J, O>>);

impl<J, O> Clone for Merge<J, O> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<J, O> Default for Merge<J, O> {
    fn default() -> Self {
        Self(Rc::new(Inner { lanes: RefCell::default(), room: Notify::default() }))
    }
}

impl<J: 'static, O: 'static> Merge<J, O> {
    /// Has `job` done in a batch of jobs about `ino`. `run` gives an outcome for each job of a
    /// batch, in their order.
    pub(crate) async fn run<E: Env, F: Future<Output = Vec<O>> + 'static>(
        &self,
        env: &E,
        ino: InodeId,
        job: J,
        run: impl Fn(Vec<J>) -> F + 'static,
    ) -> O {
        let waiting = |lanes: &Map<InodeId, Lane<J, O>>| lanes.get(&ino).map(VecDeque::len);
        self.0.room.until(|| waiting(&self.0.lanes.borrow()) < Some(WAITING_MAX)).await;
        let outcome = Rc::new(Outcome { value: RefCell::new(None), there: Notify::default() });
        let job = Job { job, outcome: outcome.clone() };
        let first = {
            let mut lanes = self.0.lanes.borrow_mut();
            match lanes.get_mut(&ino) {
                Some(lane) => {
                    lane.push_back(job);
                    None
                }
                None => {
                    lanes.insert(ino, Lane::new());
                    Some(job)
                }
            }
        };
        if let Some(job) = first {
            drop(env.spawn(self.clone().lead(ino, job, run)));
        }
        outcome.there.until(|| outcome.value.borrow().is_some()).await;
        let value = outcome.value.borrow_mut().take();
        value.expect("E445: it is there, and nobody else takes it")
    }

    /// Runs batches until no jobs wait.
    async fn lead<F: Future<Output = Vec<O>>>(
        self,
        ino: InodeId,
        first: Job<J, O>,
        run: impl Fn(Vec<J>) -> F,
    ) {
        let mut batch = vec![first];
        while !batch.is_empty() {
            let (jobs, waiting): (Vec<J>, Vec<_>) =
                batch.into_iter().map(|job| (job.job, job.outcome)).unzip();
            let outcomes = run(jobs).await;
            assert_eq!(outcomes.len(), waiting.len(), "E445: an outcome for each job");
            for (waiting, outcome) in waiting.into_iter().zip(outcomes) {
                let former = waiting.value.replace(Some(outcome));
                assert!(former.is_none(), "E445: one outcome");
                waiting.there.notify();
            }
            batch = self.next_batch(ino);
            self.0.room.notify();
        }
    }

    /// What waits; if nothing does, no batch of `ino` is under way any more.
    fn next_batch(&self, ino: InodeId) -> Vec<Job<J, O>> {
        let mut lanes = self.0.lanes.borrow_mut();
        let lane = lanes.get_mut(&ino).expect("E445: its batch is under way");
        let count = lane.len().min(BATCH_MAX);
        let batch: Vec<_> = lane.drain(..count).collect();
        if batch.is_empty() {
            lanes.remove(&ino);
        }
        batch
    }
}
