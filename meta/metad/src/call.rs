//! The frame around an operation: one request, one transaction, done at most once.
//!
//! ```text
//!   request ── number for a new inode ──> transaction: version
//!                                           │ at the same time
//!                                           ├─ fence (SESX) and record (REQU) of the request
//!                                           └─ the operation's reads, then its writes
//!                                         the record decides first: done before? its answer
//!                                         else write the record with the answer, commit
//!   conflict, too old: again after a pause  unknown result: again, the record tells (M9, M11)
//! ```
//! Invariants
//!   E425  operations that create an inode are given a number that was never given before
//!   E426  a request that changes something is done at most once: its record is read in conflict
//!         mode and written by the transaction that does it (M9, M11)
//!   E427  nothing is done for a session that is fenced: the fence is read in conflict mode (L6)
//!
//! A refusal is not recorded, because nothing happened: by E421 a later attempt refuses only if
//! something that an earlier one read was changed since, and then that one can no longer land.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Env;
use engine_types::{InodeId, reached};
use futures_lite::future::zip;
use meta_kv::{Abort, Kv, KvError, Policy, ReadMode, Transaction, TransactionOptions, transact};
use meta_protocol::{Answer, Refusal, Request, Tag};
use meta_schema::codec::Record;
use meta_schema::{Errno, Key, RequestRecord, Superblock, Timestamp, key};

use crate::ctx::{Ctx, Limits, Tables};
use crate::halt::{Halt, Stop, damaged, refused};
use crate::join::three;
use crate::op;
use crate::view::View;

/// What operations stand on: a namespace in a store.
pub struct Store<E, K> {
    env: E,
    kv: K,
    superblock: Superblock,
    tables: RefCell<Rc<Tables>>,
    limits: Cell<Limits>,
    attempts: Cell<Attempts>,
}

/// What transactions took beyond their first attempts, since the service began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Transactions that were run again: after a conflict, as too old, or with an unknown result.
    pub retries: u64,
    /// Of them those that then found themselves committed: an answer was lost (M9).
    pub unknown: u64,
}

/// Attempts of one request. Conflicts with others in a hot directory are not expected (E424); who
/// meets one that often competes for one name or one file, and is better told.
const ATTEMPTS_MAX: u32 = 64;
/// Pause after the first attempt: about one commit of a store on a disk.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Longest pause: a restart of the store takes about a second.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Limits of the attempts of one request that is to be answered within `time_max`.
fn policy(time_max: Duration) -> Policy {
    Policy {
        options: TransactionOptions::default(),
        time_max,
        attempts_max: ATTEMPTS_MAX,
        pause_min: PAUSE_MIN,
        pause_max: PAUSE_MAX,
        // Requests that change something recognise themselves (E426), others change nothing.
        idempotent: true,
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The service's own decision.
    #[error("{0}")]
    Halted(#[from] Halt),
    /// The store does not answer, or not in time: whether the request was done is not known.
    #[error("{0}")]
    Store(#[from] KvError),
}

impl<E: Env, K: Kv> Store<E, K> {
    /// Over `kv`, whose superblock was read.
    pub fn new(env: &E, kv: &K, superblock: Superblock) -> Self {
        let (env, kv) = (env.clone(), kv.clone());
        let (tables, attempts) = (RefCell::default(), Cell::default());
        let limits = Cell::new(Limits::DEFAULT);
        Self { env, kv, superblock, tables, limits, attempts }
    }

    /// Chain tables of newer routing info: what layouts are made of from now on.
    pub fn set_tables(&self, tables: Tables) {
        *self.tables.borrow_mut() = Rc::new(tables);
    }

    /// Lowers how far operations look.
    #[cfg(test)]
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.limits.set(limits);
    }

    /// The file system.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// What was counted.
    pub fn attempts(&self) -> Attempts {
        self.attempts.get()
    }

    /// A transaction was run `runs` times; `before`, if the last one found it committed.
    pub(crate) fn ran(&self, runs: u64, before: bool) {
        let again = runs.saturating_sub(1);
        let Attempts { retries, unknown } = self.attempts.get();
        let unknown = unknown + u64::from(before && 0 < again);
        self.attempts.set(Attempts { retries: retries + again, unknown });
    }

    /// The store below.
    pub(crate) fn kv(&self) -> &K {
        &self.kv
    }

    /// Does `request`, or answers what it was answered when it was done; `fresh` is the number of
    /// the inode it may create (E425).
    ///
    /// # Errors
    /// Why it is not done, or that it is not known whether it was.
    pub async fn call(
        &self,
        request: &Request,
        fresh: Option<InodeId>,
        time_max: Duration,
    ) -> Result<Answer, CallError> {
        let tables = self.tables.borrow().clone();
        let policy = policy(time_max);
        let runs = Cell::new(0);
        let done = transact(&self.kv, &policy, async |transaction: &K::Transaction| {
            runs.set(runs.get() + 1);
            transaction.read_version().await?;
            let view = View::new(transaction, &self.superblock);
            let ctx = Ctx {
                caller: &request.caller,
                session: request.session,
                now: Timestamp::from_wall(self.env.wall()),
                fresh,
                random: self.env.random(),
                tables: &tables,
                limits: self.limits.get(),
            };
            attempt(&view, &ctx, request).await
        });
        let done = done.await;
        self.ran(runs.get(), matches!(done, Err(Abort::Own(End::Before(_)))));
        match done {
            Ok(answer) | Err(Abort::Own(End::Before(answer))) => Ok(answer),
            Err(Abort::Own(End::Halted(halt))) => Err(CallError::Halted(halt)),
            Err(Abort::Kv(error)) => Err(CallError::Store(error)),
        }
    }
}

/// How an attempt ends without a commit.
enum End {
    /// It was done by an earlier one, and answered so.
    Before(Answer),
    Halted(Halt),
}

fn ended(stop: Stop) -> Abort<End> {
    match stop {
        Abort::Kv(error) => Abort::Kv(error),
        Abort::Own(halt) => Abort::Own(End::Halted(halt)),
    }
}

async fn attempt<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    request: &Request,
) -> Result<Answer, Abort<End>> {
    if !request.operation.mutates() {
        return op::run(view, ctx, &request.operation).await.map_err(ended);
    }
    // At the same time, and the record decides first: what the operation makes of a state that has
    // its own result in it is nothing to look at.
    let (before, done) = zip(recorded(view, request), op::run(view, ctx, &request.operation)).await;
    if let Some(answer) = before.map_err(ended)? {
        reached!("E426: a request was done before");
        return Err(Abort::Own(End::Before(answer)));
    }
    let answer = done.map_err(ended)?;
    record(view, request, &answer).map_err(ended)?;
    Ok(answer)
}

/// What `request` was answered when it was done; nothing if it was not. Reads record and fence, in
/// conflict mode (E426, E427): one round trip.
pub(crate) async fn recorded<T: Transaction>(
    view: &View<'_, T>,
    request: &Request,
) -> Result<Option<Answer>, Stop> {
    let session = request.session;
    let tag = tag(request)?;
    let key = Key::Request { session, channel: tag.channel };
    let (fenced, below) = (Key::Fenced(session), Key::FencedBelow);
    let reads = three(
        view.get::<RequestRecord>(&key, ReadMode::Conflict),
        view.get_raw(&fenced, ReadMode::Conflict),
        view.get_raw(&below, ReadMode::Conflict),
    );
    let (record, fenced, below) = reads.await?;
    let below = match below {
        Some(raw) => key::decode_number(&raw).ok_or_else(|| damaged("fence", "not 8 bytes"))?,
        None => 0,
    };
    if fenced.is_some() || session.get() < below {
        return Err(own(Refusal::fenced(format!("{session} is fenced"))));
    }
    match record {
        Some(record) if record.seq == tag.seq => {
            let answer = Answer::decode(&record.answer);
            answer.map(Some).map_err(|error| damaged(format_args!("{key:?}"), error))
        }
        Some(record) if tag.seq < record.seq => {
            let (asked, newest) = (tag.seq, record.seq);
            let why = format!("request {asked} of {key:?}: {newest} was answered already");
            Err(own(Refusal::old_request(why)))
        }
        _ => Ok(None),
    }
}

fn tag(request: &Request) -> Result<Tag, Stop> {
    let name = request.operation.name();
    let why = format_args!("{name} changes something and has no tag, so it cannot be done once");
    request.tag.ok_or_else(|| refused(Errno::EINVAL, why))
}

fn own(refusal: Refusal) -> Stop {
    Abort::Own(Halt::Refused(refusal))
}

/// Records that `request` is done and answered so (M11), in the transaction that does it.
pub(crate) fn record<T: Transaction>(
    view: &View<'_, T>,
    request: &Request,
    answer: &Answer,
) -> Result<(), Stop> {
    let tag = tag(request)?;
    let key = Key::Request { session: request.session, channel: tag.channel };
    view.put(&key, &RequestRecord { seq: tag.seq, answer: answer.encode() })
}
