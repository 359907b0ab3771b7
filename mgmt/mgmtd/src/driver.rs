//! The driver of a term: loads everything, then lets time pass and writes one change after the
//! other, until the lease is over.
//!
//! Whoever asked for a change is told the result of its own transaction, never that of what follows
//! from it (E327): a command that was done must not be repeated because a later write failed.
//!
//! What becomes of a change: committed, it takes effect in memory and is published; failed, it
//! never happened; with standbys' grants unknown to it (E324), it is made again with them; with an
//! unknown result, everything is loaded anew after a renewal of the lease has decided it.

use core::convert::Infallible;
use core::time::Duration;

use engine_runtime::{Env, First, first};
use engine_types::Instant;
use meta_kv::Kv;
use mgmt_cluster::cluster::{Change, Cluster};
use mgmt_cluster::lease::{Holder, Term};
use mgmt_cluster::record::{ClusterRecord, RecordKey};
use mgmt_cluster::session::SessionSummary;
use mgmt_protocol::{Refusal, RefusalCode};

use crate::manager::Manager;
use crate::records::{self, Grants, RecordsError, WriteError};
use crate::tenure::{Settings, TakeoverError, Tenure};

/// Time for what has arrived to be read before a tick (E326): a turn of the executor and of the
/// ring takes far less.
const INPUT_TIME: Duration = Duration::from_millis(2);
/// Polls are told of new routing info this often at most: while a cluster starts or fails over
/// there may be hundreds of versions a second, and thousands who follow each.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(20);
/// Pause after a transaction that failed: the KV is away or overloaded.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// A manager that distrusts its clock leaves the lease to others for so long, unless it is started
/// anew: the next term would need more than a minute to find the same again.
const DISTRUST_PAUSE: Duration = Duration::from_secs(600);
/// How often sessions are looked after: a revoked one is fenced that much later at most.
pub(crate) const SESSIONS_EVERY: Duration = Duration::from_millis(100);

/// Why a term is driven no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The lease is over.
    Over,
    /// The result of a change is unknown: load again.
    Reload,
}

/// What became of a change that is decided.
pub(crate) enum Written {
    /// It has happened.
    Committed,
    /// It has not, and may be tried again: standbys granted leases meanwhile.
    Again,
    /// It has not, and this is why.
    Failed(Refusal),
}

impl<E: Env, K: Kv> Manager<E, K> {
    /// One term, from the moment at which the lease was taken.
    pub(crate) async fn reign(&self) -> Result<(), TakeoverError> {
        let Some(term) = self.election.with_holder(Holder::term) else { return Ok(()) };
        let result = self.reign_in(term).await;
        self.lay_down();
        self.queue.refuse_all(&self.not_primary());
        if let Err(error) = &result {
            tracing::error!(%term, %error, "this manager cannot be primary");
            *self.trouble.borrow_mut() = Some(error.to_string());
            self.election.step_down(term);
        }
        result.or_else(|error| match error {
            TakeoverError::OtherCluster { .. } => Err(error),
            // A newer manager may make sense of it, or the operator mends it.
            _ => Ok(()),
        })
    }

    async fn reign_in(&self, term: Term) -> Result<(), TakeoverError> {
        while self.holder(term).is_some() {
            let Some(tenure) = self.take_over(term).await? else {
                self.env.sleep_until(self.env.now() + RETRY_PAUSE).await;
                continue;
            };
            *self.trouble.borrow_mut() = None;
            *self.tenure.borrow_mut() = Some(tenure);
            let end = match first(self.drive(term), self.keep_time(term)).await {
                First::Left(end) => end,
                First::Right(never) => match never {},
            };
            self.lay_down();
            if end == End::Over || !self.election.settle().await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Forgets everything that was in memory; whoever waits for routing info is told.
    fn lay_down(&self) {
        *self.tenure.borrow_mut() = None;
        self.images.borrow_mut().clear();
        self.published.notify();
    }

    /// Loads everything; founds a cluster where there is none. Nothing when that has to be tried
    /// again.
    async fn take_over(&self, term: Term) -> Result<Option<Tenure>, TakeoverError> {
        let loaded = match records::load(&self.kv).await {
            Ok(loaded) => loaded,
            Err(RecordsError::Kv(error)) => {
                tracing::warn!(%term, %error, "the records cannot be loaded yet");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let settings = Settings::load(&loaded.settings, self.config.times)?;
        self.election.set_times(settings.rules.times);
        let Some(holder) = self.holder(term) else { return Ok(None) };
        if loaded.records.is_empty() && loaded.summary.is_none() {
            self.found(&holder).await?;
            return Ok(None);
        }
        let now = self.env.now(); // after the load (E323)
        let leases = (term, holder.storage_leases(now));
        Tenure::load(loaded, settings, self.config.cluster, leases, now).map(Some)
    }

    async fn found(&self, holder: &Holder) -> Result<(), TakeoverError> {
        let record = ClusterRecord::new(self.config.cluster, self.config.name.clone());
        let summary = SessionSummary::new(record.timeline);
        let records = Cluster::found(record).map_err(TakeoverError::Name)?;
        match records::write_first(&self.kv, holder, &records, &summary).await {
            Ok(()) => tracing::info!(cluster = %self.config.cluster, "a cluster is founded"),
            Err(WriteError::Unknown(_)) => drop(self.election.settle().await),
            Err(error) => tracing::warn!(%error, "the cluster could not be founded yet"),
        }
        Ok(())
    }

    async fn drive(&self, term: Term) -> End {
        let mut sessions_at = Instant::ZERO;
        while self.attend(term).await {
            // After the change that raised the timeline, before anything else is written.
            if let Err(end) = self.follow_timeline(term).await {
                return end;
            }
            let proposed = self.with_tenure(|tenure, now| tenure.cluster.propose(now)).flatten();
            let busy = proposed.is_some();
            if let Some(change) = proposed {
                match self.commit(term, change).await {
                    Ok(Written::Committed | Written::Again) => {}
                    Ok(Written::Failed(_)) => self.rest().await,
                    Err(end) => return end,
                }
            }
            if sessions_at <= self.env.now() {
                sessions_at = self.env.now() + SESSIONS_EVERY;
                if !self.trusts_own_clock(term) {
                    return End::Over;
                }
                if let Err(end) = self.look_after_sessions(term).await {
                    return end;
                }
            }
            match self.queue.pop() {
                Some(item) => {
                    if let Err(end) = self.perform(term, item).await {
                        return end;
                    }
                }
                None if busy => {}
                None => self.idle(sessions_at).await,
            }
        }
        End::Over
    }

    /// Waits while the lease has lapsed; false when it is over.
    async fn attend(&self, term: Term) -> bool {
        let now = self.env.now();
        let Some(holder) = self.holder(term) else { return false };
        if !holder.valid(now) {
            tracing::warn!(%term, "the lease has lapsed: nothing is answered until it is renewed");
            let decided = || self.holder(term).is_none_or(|h| h.valid(self.env.now()));
            self.election.changed().until(decided).await;
            if self.holder(term).is_none() {
                return false;
            }
            self.with_tenure(|tenure, now| tenure.cluster.resumed(now));
        }
        self.with_tenure(|tenure, now| {
            tenure.cluster.set_lease(holder.storage_leases(now).lasts);
        });
        true
    }

    /// False when most clocks run away from this manager's: it is this one that does (E290). The
    /// lease goes to another manager, and this one wants it no more for a while.
    fn trusts_own_clock(&self, term: Term) -> bool {
        let suspect = self.with_tenure(|tenure, _| tenure.cluster.own_clock_is_suspect());
        if suspect == Some(true) {
            tracing::error!(%term, "most clocks run away from this manager's: it steps down");
            self.election.hand_over(DISTRUST_PAUSE);
        }
        suspect != Some(true)
    }

    /// The memory of the term, for the driver.
    pub(crate) fn with_tenure<T>(&self, work: impl FnOnce(&mut Tenure, Instant) -> T) -> Option<T> {
        let mut tenure = self.tenure.borrow_mut();
        let tenure = tenure.as_mut()?;
        let before = tenure.cluster.routing().version;
        let result = work(tenure, self.env.now());
        self.announce(tenure.cluster.routing().version != before);
        Some(result)
    }

    /// Lets time pass beside the driver, which may wait for the KV for seconds: nodes die, withheld
    /// versions are published, and polls are told of new routing info. What has arrived is taken in
    /// first (E326).
    async fn keep_time(&self, term: Term) -> Infallible {
        let mut announced = Instant::ZERO;
        loop {
            let due = self.with_tenure(|tenure, now| tenure.cluster.next_due().max(now));
            let due = due.unwrap_or_else(|| self.env.now() + SESSIONS_EVERY);
            let tells = announced.max(self.env.now()) + ANNOUNCE_EVERY;
            let at = if self.unannounced.get() { due.min(tells) } else { due };
            first(self.time.notified(), self.env.sleep_until(at)).await;
            let now = self.env.now();
            if self.unannounced.get() && announced + ANNOUNCE_EVERY <= now {
                self.unannounced.set(false);
                announced = now;
                self.published.notify();
            }
            if due <= now {
                self.env.sleep_until(now + INPUT_TIME).await;
                let valid = self.holder(term).is_some_and(|h| h.valid(self.env.now()));
                if valid {
                    self.with_tenure(|tenure, now| tenure.cluster.tick(now));
                    self.wake();
                } else {
                    self.rest().await; // what is due stays due until the lease is renewed
                }
            }
        }
    }

    /// Waits until there may be something to do.
    async fn idle(&self, at: Instant) {
        let over = self.election.changed().notified();
        let woken = self.wake.until(|| self.woken.take());
        first(first(woken, over), self.env.sleep_until(at)).await;
    }

    /// Nothing can be done now: not at once again.
    pub(crate) async fn rest(&self) {
        let over = self.election.changed().notified();
        first(over, self.env.sleep_until(self.env.now() + RETRY_PAUSE)).await;
    }

    /// Writes a change of the cluster.
    pub(crate) async fn commit(&self, term: Term, change: Change) -> Result<Written, End> {
        let holder = self.holder(term).ok_or(End::Over)?;
        let known = self.with_tenure(|tenure, _| {
            let of = change.demoted.iter();
            of.filter_map(|node| tenure.grants.get_key_value(node))
                .map(|(node, grant)| (*node, grant.clone()))
                .collect::<Grants>()
        });
        let known = known.ok_or(End::Over)?;
        let result = records::write(&self.kv, &holder, &change, &known).await;
        self.decide(term, result, |tenure, now, committed| {
            if !committed {
                return tenure.cluster.abort();
            }
            for (key, record) in &change.writes {
                if let (RecordKey::Node(node), None) = (key, record) {
                    tenure.grants.remove(node);
                    tenure.sessions.fences_mut().forget(*node);
                }
            }
            tenure.cluster.committed(now);
        })
    }

    /// What the result of a transaction means for the term; `apply` is told whether it happened.
    pub(crate) fn decide(
        &self,
        term: Term,
        result: Result<(), WriteError>,
        apply: impl FnOnce(&mut Tenure, Instant, bool),
    ) -> Result<Written, End> {
        let until = self.holder(term).map(|h| h.storage_leases(self.env.now()).until);
        match result {
            Ok(()) => {
                self.with_tenure(|tenure, now| {
                    tenure.changes += 1;
                    apply(tenure, now, true);
                });
                Ok(Written::Committed)
            }
            Err(WriteError::Granted(moved)) => {
                engine_types::reached!("L5: a standby had granted a lease that a change would end");
                let until = until.ok_or(End::Over)?;
                self.with_tenure(|tenure, now| {
                    apply(tenure, now, false);
                    tenure.standbys_granted(moved, until, now);
                });
                Ok(Written::Again)
            }
            Err(WriteError::Failed(error)) => {
                tracing::warn!(%term, %error, "a change was not written");
                self.with_tenure(|tenure, now| apply(tenure, now, false));
                let text = format!("nothing was changed: {error}");
                Ok(Written::Failed(Refusal::new(RefusalCode::KvUnavailable, text)))
            }
            Err(WriteError::Unknown(error)) => {
                engine_types::reached!("E323: everything is loaded anew after an unknown result");
                tracing::warn!(%term, %error, "whether a change was written is unknown");
                Err(End::Reload)
            }
            Err(WriteError::NotPrimary(error)) => {
                tracing::warn!(%term, %error, "a change was refused");
                self.election.step_down(term);
                Err(End::Over)
            }
        }
    }
}
