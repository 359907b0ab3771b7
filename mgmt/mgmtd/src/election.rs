//! Who is primary: the loop around the arithmetic of `mgmt_cluster::lease`.
//!
//! ```text
//!   standby: read the record every POLL_EVERY ── may take (L2)? ── take ──> primary
//!      ^                                                                       │ renew every D_p/5
//!      └────── refused, or stepped down, or released (planned handover) <──────┘
//! ```
//!
//! The loop only reads and writes one record; what may be concluded from that, and from when, is
//! decided by `Observer` and `Holder` with readings of this process's clock, taken here before a
//! transaction begins or after a read has ended, as they ask.
//!
//! Owner: one core. Others look at [`Election::valid`] before each answer (L2) and wait on
//! [`Election::changed`].
//!
//! Whoever does not know what became of a transaction of its own calls [`Election::settle`]: the
//! transaction has read the record, so a renewal that was begun later and is committed decides it.
//!
//! Invariants
//!   E320 `valid` is asked of the clock at the moment of acting, never remembered
//!   E321 each lease record is written in one transaction that reads the record with conflict and
//!        makes the check of the attempt on it; unknown results prolong nothing
//!
//! Crash: a restarted manager is a standby of another incarnation.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::{CancelToken, Env, Notify, first};
use engine_types::{Instant, reached};
use meta_kv::{Abort, Kv, KvError, KvRetry, Policy, ReadMode, Transaction, TransactionOptions};
use mgmt_cluster::lease::{
    Contact, Holder, LeaseConflict, LeaseTimes, Observer, PrimaryLease, Taking, Term, WriteResult,
};

use crate::keys::LEASE_KEY;
use crate::records::{RecordsError, decode_lease};

#[cfg(test)]
mod tests;

/// How often a standby reads the record: it adds to the time until a takeover.
pub const POLL_EVERY: Duration = Duration::from_millis(200);
/// Pause before a renewal that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Shortest time for one transaction on the record. It is an interval of renewals if that is
/// longer: two seconds with the defaults, so that a renewal has several attempts, and a KV that is
/// slow but works deposes nobody.
const TRANSACTION_TIME_MIN: Duration = Duration::from_secs(1);
/// Longest: what a transaction may take at all.
const TRANSACTION_TIME_MAX: Duration = Duration::from_secs(5);
/// After a planned handover a manager leaves the lease to others for so long: a poll, a read and a
/// take of every standby, several times over. If nobody wants it, it is taken back.
pub const HANDOVER_PAUSE: Duration = Duration::from_secs(2);
/// Attempts to write "released"; without it the successor waits for the lease to run out.
const RELEASE_ATTEMPTS: u32 = 3;

/// What a manager is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Somebody else is primary, or nobody; the record that was read last.
    Standby(Option<PrimaryLease>),
    /// This one is, or was until its lease ran out: ask [`Election::valid`].
    Primary,
}

/// One manager's part in the election.
pub struct Election<E: Env, K: Kv> {
    env: E,
    kv: K,
    me: Contact,
    times: Cell<LeaseTimes>,
    standing: RefCell<Standing>,
    holder: RefCell<Option<Holder>>,
    /// What this manager knows about the record as a standby.
    observer: RefCell<Observer>,
    /// Calls of `settle`, and how many of them a renewal has answered.
    asked: Cell<u64>,
    settled: Cell<u64>,
    /// To be handed over, and left to others for so long then.
    handing_over: Cell<Option<Duration>>,
    changed: Notify,
}

impl<E: Env, K: Kv> Election<E, K> {
    /// A standby, `me`; nothing happens before [`run`](Self::run).
    pub fn new(env: &E, kv: K, me: Contact, times: LeaseTimes) -> Rc<Self> {
        Rc::new(Self {
            env: env.clone(),
            kv,
            me,
            times: Cell::new(times),
            standing: RefCell::new(Standing::Standby(None)),
            holder: RefCell::new(None),
            observer: RefCell::new(Observer::new(times)),
            asked: Cell::new(0),
            settled: Cell::new(0),
            handing_over: Cell::new(None),
            changed: Notify::default(),
        })
    }

    /// What this manager is.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Told when the standing has changed.
    pub fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Whether this manager may act as primary at this moment (E320).
    pub fn valid(&self) -> bool {
        let now = self.env.now();
        self.holder.borrow().as_ref().is_some_and(|holder| holder.valid(now))
    }

    /// Looks at the lease of this term, if this manager has taken one.
    pub fn with_holder<T>(&self, look: impl FnOnce(&Holder) -> T) -> Option<T> {
        self.holder.borrow().as_ref().map(look)
    }

    /// The times that count here.
    pub fn times(&self) -> LeaseTimes {
        self.times.get()
    }

    /// Other times, from the next record on.
    pub fn set_times(&self, times: LeaseTimes) {
        self.times.set(times);
        if let Some(holder) = &mut *self.holder.borrow_mut() {
            holder.set_times(times);
        }
    }

    /// The record that was read last as a standby.
    pub fn observed(&self) -> Option<PrimaryLease> {
        self.observer.borrow().record().cloned()
    }

    /// The record that this standby may renew storage leases by, as no primary seems to be at work
    /// (L5).
    pub fn stands_in(&self) -> Option<PrimaryLease> {
        let now = self.env.now();
        let holds = self.holder.borrow().is_some();
        self.observer.borrow().stands_in(now).filter(|_| !holds).cloned()
    }

    /// Writes a renewal and waits until it is committed: a transaction of this manager that was
    /// sent before, and whose result is not known, has taken effect by then or never will. False
    /// when the lease is over before that.
    pub async fn settle(&self) -> bool {
        let mine = self.asked.get() + 1;
        self.asked.set(mine);
        self.changed.notify();
        let over = || self.with_holder(Holder::is_over) != Some(false);
        self.changed.until(|| mine <= self.settled.get() || over()).await;
        mine <= self.settled.get()
    }

    /// Hands the lease to whoever wants it, now and not at the end of the process, and does not
    /// take it for `pause`. Nothing happens unless this manager holds it.
    pub fn hand_over(&self, pause: Duration) {
        if self.with_holder(Holder::is_over) == Some(false) {
            self.handing_over.set(Some(pause));
            self.changed.notify();
        }
    }

    /// Gives the lease of a term up at once: another manager was seen with it, or this one cannot
    /// act.
    pub fn step_down(&self, term: Term) {
        if let Some(holder) = self.holder.borrow_mut().as_mut().filter(|h| h.term() == term) {
            holder.step_down();
        }
        self.changed.notify();
    }

    /// Takes part until `stop`; a primary hands over then.
    pub async fn run(self: Rc<Self>, stop: CancelToken) {
        while !stop.is_cancelled() {
            self.observer.borrow_mut().set_times(self.times.get());
            match self.read().await {
                Ok(record) => {
                    // After the read: time before it proves nothing (L2).
                    self.observer.borrow_mut().observe(self.env.now(), record.clone());
                    self.stand(Standing::Standby(record));
                }
                Err(error) => tracing::debug!(%error, "the lease record cannot be read"),
            }
            if let Some(taking) = self.try_take().await {
                self.reign(taking, &stop).await;
                if let Some(pause) = self.handing_over.take() {
                    let others = self.env.now() + pause;
                    first(self.env.sleep_until(others), stop.cancelled()).await;
                }
                continue;
            }
            let poll = self.env.now() + POLL_EVERY;
            let may_take_at = self.observer.borrow().may_take_at();
            let at = may_take_at.filter(|at| self.env.now() < *at).map_or(poll, |at| at.min(poll));
            first(self.env.sleep_until(at), stop.cancelled()).await;
        }
    }

    fn stand(&self, standing: Standing) {
        if *self.standing.borrow() != standing {
            *self.standing.borrow_mut() = standing;
            self.changed.notify();
        }
    }

    async fn try_take(&self) -> Option<Taking> {
        let taking = self.observer.borrow().begin_take(self.env.now(), self.me.clone());
        let taking = taking.ok()?;
        match self.write(&taking.record, |stored| taking.check(stored)).await {
            WriteResult::Committed => Some(taking),
            WriteResult::Unknown => {
                reached!("E321: a takeover with unknown result");
                let stored = self.read().await.ok()?;
                taking.is_stored(stored.as_ref()).then_some(taking)
            }
            WriteResult::Refused | WriteResult::Failed => None,
        }
    }

    /// Holds the lease until it is over.
    async fn reign(&self, taking: Taking, stop: &CancelToken) {
        let term = taking.record.term;
        tracing::info!(%term, "this manager is primary");
        let holder = Holder::taken(taking, self.times.get(), self.env.now());
        *self.holder.borrow_mut() = Some(holder);
        // What was observed before says nothing about those who come after this term.
        *self.observer.borrow_mut() = Observer::new(self.times.get());
        self.handing_over.set(None);
        self.settled.set(self.asked.get());
        self.stand(Standing::Primary);
        loop {
            let due = self.with_holder(Holder::renewal_due).expect("set above, cleared below");
            if self.wait(due, stop).await || self.handing_over.get().is_some() {
                self.release().await;
                break;
            }
            if self.with_holder(Holder::is_over) != Some(false) || !self.renew(stop).await {
                break;
            }
        }
        tracing::info!(%term, "this manager is primary no more");
        *self.holder.borrow_mut() = None;
        self.stand(Standing::Standby(None));
    }

    /// Waits for `at`, for `stop` (true), for a call of `settle` or `hand_over`, or for the lease
    /// to be given up.
    async fn wait(&self, at: Instant, stop: &CancelToken) -> bool {
        let over = self.changed.until(|| {
            self.with_holder(Holder::is_over) != Some(false)
                || self.settled.get() < self.asked.get()
                || self.handing_over.get().is_some()
        });
        first(first(self.env.sleep_until(at), over), stop.cancelled()).await;
        stop.is_cancelled()
    }

    /// Renews, trying again while that may succeed. False when the lease is over.
    async fn renew(&self, stop: &CancelToken) -> bool {
        loop {
            let (now, asked) = (self.env.now(), self.asked.get());
            let begun = self.holder.borrow_mut().as_mut().and_then(|h| h.begin_renewal(now));
            let Some(write) = begun else { return false };
            let result = self.write(&write.record, |stored| write.check(stored)).await;
            if let Some(holder) = &mut *self.holder.borrow_mut() {
                holder.renewed(&write, result);
            }
            match result {
                WriteResult::Committed => {
                    self.settled.set(asked);
                    self.changed.notify();
                    return true;
                }
                WriteResult::Refused => {
                    self.changed.notify();
                    return false;
                }
                WriteResult::Failed | WriteResult::Unknown => {}
            }
            if self.handing_over.get().is_some() {
                return true; // the loop of `reign` sees it
            }
            tracing::warn!(?result, "the lease could not be renewed");
            first(self.env.sleep_until(self.env.now() + RETRY_PAUSE), stop.cancelled()).await;
            if stop.is_cancelled() {
                return true; // the loop of `reign` sees it
            }
        }
    }

    /// Hands over: whoever reads the record may take at once.
    async fn release(&self) {
        for _ in 0..RELEASE_ATTEMPTS {
            let now = self.env.now();
            let Some(write) = self.holder.borrow_mut().as_mut().map(|h| h.begin_release(now))
            else {
                return;
            };
            match self.write(&write.record, |stored| write.check(stored)).await {
                WriteResult::Committed | WriteResult::Refused => return,
                WriteResult::Failed | WriteResult::Unknown => {}
            }
        }
        tracing::warn!("the lease could not be released: the next manager waits for its end");
    }

    fn options(&self) -> TransactionOptions {
        let renewal = self.times.get().renewal_interval();
        let timeout = renewal.clamp(TRANSACTION_TIME_MIN, TRANSACTION_TIME_MAX);
        TransactionOptions { timeout, ..TransactionOptions::default() }
    }

    async fn read(&self) -> Result<Option<PrimaryLease>, RecordsError> {
        let transaction = self.kv.begin(self.options());
        decode_lease(transaction.get(LEASE_KEY, ReadMode::Snapshot).await?)
    }

    /// Writes `record` if `check` lets it (E321).
    async fn write(
        &self,
        record: &PrimaryLease,
        check: impl Fn(Option<&PrimaryLease>) -> Result<(), LeaseConflict>,
    ) -> WriteResult {
        let options = self.options();
        let policy =
            Policy { time_max: options.timeout, options, attempts_max: 1, ..Policy::default() };
        let body = async |t: &K::Transaction| -> Result<(), Abort<RecordsError>> {
            let stored = t.get(LEASE_KEY, ReadMode::Conflict).await?;
            let stored = decode_lease(stored).map_err(Abort::Own)?;
            check(stored.as_ref()).map_err(|conflict| Abort::Own(conflict.into()))?;
            t.set(LEASE_KEY, &record.encode())?;
            Ok(())
        };
        match meta_kv::transact(&self.kv, &policy, body).await {
            Ok(()) => WriteResult::Committed,
            Err(Abort::Own(error)) => {
                tracing::debug!(%error, "the lease record was not written");
                WriteResult::Refused
            }
            Err(Abort::Kv(error)) => write_result(&error),
        }
    }
}

/// What the KV's answer says about a write.
fn write_result(error: &KvError) -> WriteResult {
    match error.retry() {
        KvRetry::IfIdempotent => WriteResult::Unknown,
        KvRetry::Again | KvRetry::Never => WriteResult::Failed,
    }
}
