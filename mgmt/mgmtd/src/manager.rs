//! One manager: a standby, or the primary with everything it keeps in memory.
//!
//! ```text
//!   requests ──> handlers ── heartbeats, questions, polls ──> Tenure (memory) ──> answers
//!                   │ registrations, commands, sessions            ^    │ propose, plans
//!                   v                                              │    v
//!                 Queue ───────────────> driver ── one transaction at a time ──> KV
//! ```
//! Owner: one core. Handlers and the driver borrow the tenure for a moment and never across a
//! wait. A heartbeat changes memory alone; whatever has to be durable is written by the driver.
//!
//! Invariants
//!   E320 (see `election`) is asked in the turn in which an answer is made
//!   E325 nothing is answered from memory, and no lease is granted, before the first change of the
//!        term is committed, while the lease has lapsed, or while the result of a change is unknown
//!   E326 what has arrived is taken in before time is let pass (`Cluster::tick`)

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use engine_runtime::{CancelToken, Env, Gate, Notify, first};
use engine_types::{ClusterId, Instant};
use meta_kv::Kv;
use mgmt_cluster::lease::{Contact, Holder, LeaseTimes, PrimaryLease, Term};
use mgmt_protocol::{Refusal, RefusalCode};

use crate::election::Election;
use crate::routing::{Images, PIECES_AT_ONCE};
use crate::tenure::{TakeoverError, Tenure};
use crate::work::Queue;

/// What a manager is told about itself.
#[derive(Clone, Debug)]
pub struct ManagerConfig {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Name of the cluster, if this manager founds it.
    pub name: String,
    /// Who it is, and where others reach it.
    pub me: Contact,
    /// Lease times instead of those of the stored settings: for tests that do not want to wait.
    pub times: Option<LeaseTimes>,
}

/// One manager.
pub struct Manager<E: Env, K: Kv> {
    pub(crate) env: E,
    pub(crate) kv: K,
    pub(crate) election: Rc<Election<E, K>>,
    pub(crate) config: ManagerConfig,
    pub(crate) tenure: RefCell<Option<Tenure>>,
    pub(crate) queue: Queue,
    /// The driver has something to do.
    pub(crate) wake: Notify,
    pub(crate) woken: Cell<bool>,
    /// Routing info has another version, or there is no primary here any more; told by the keeper
    /// of time, some milliseconds after `unannounced` was set.
    pub(crate) published: Notify,
    pub(crate) unannounced: Cell<bool>,
    pub(crate) time: Notify,
    pub(crate) images: RefCell<Images>,
    /// Room for pieces of images on their way.
    pub(crate) pieces: Gate,
    /// Since when it is what it is.
    pub(crate) since: Cell<Instant>,
    /// Why the last takeover failed.
    pub(crate) trouble: RefCell<Option<String>>,
}

impl<E: Env, K: Kv> Manager<E, K> {
    /// A standby; nothing happens before [`run`](Self::run).
    pub fn new(env: &E, kv: K, config: ManagerConfig) -> Rc<Self> {
        let times = config.times.unwrap_or_default();
        let election = Election::new(env, kv.clone(), config.me.clone(), times);
        Rc::new(Self {
            env: env.clone(),
            kv,
            election,
            config,
            tenure: RefCell::new(None),
            queue: Queue::default(),
            wake: Notify::default(),
            woken: Cell::new(false),
            published: Notify::default(),
            unannounced: Cell::new(false),
            time: Notify::default(),
            images: RefCell::default(),
            pieces: Gate::new(PIECES_AT_ONCE),
            since: Cell::new(env.now()),
            trouble: RefCell::new(None),
        })
    }

    /// The election it takes part in.
    pub fn election(&self) -> &Election<E, K> {
        &self.election
    }

    /// Takes part until `stop`; a primary hands over then.
    ///
    /// # Errors
    /// The KV belongs to another cluster.
    pub async fn run(self: Rc<Self>, stop: CancelToken) -> Result<(), TakeoverError> {
        let ended = CancelToken::default();
        let elects = {
            let (election, stop, ended) = (self.election.clone(), stop.clone(), ended.clone());
            let both = CancelToken::default();
            let told = both.clone();
            drop(self.env.spawn(async move {
                first(stop.cancelled(), ended.cancelled()).await;
                told.cancel();
            }));
            self.env.spawn(election.run(both))
        };
        let mut result = Ok(());
        while !stop.is_cancelled() {
            let primary = self.election.changed().until(|| self.election.valid());
            first(primary, stop.cancelled()).await;
            if !self.election.valid() {
                continue;
            }
            self.since.set(self.env.now());
            result = self.reign().await;
            self.since.set(self.env.now());
            if result.is_err() {
                break;
            }
        }
        ended.cancel();
        elects.await;
        result
    }

    /// The lease of the term, while it is not over.
    pub(crate) fn holder(&self, term: Term) -> Option<Holder> {
        self.election.with_holder(|h| (h.term() == term && !h.is_over()).then(|| h.clone()))?
    }

    /// Tells the driver that there is something to do.
    pub(crate) fn wake(&self) {
        self.woken.set(true);
        self.wake.notify();
    }

    /// Works with the memory of a primary that may answer (E325).
    ///
    /// # Errors
    /// The refusal to answer with.
    pub(crate) fn as_primary<T>(
        &self,
        work: impl FnOnce(&mut Tenure, Instant) -> T,
    ) -> Result<T, Refusal> {
        if self.election.with_holder(Holder::is_over) != Some(false) {
            return Err(self.not_primary());
        }
        let not_ready = || {
            let lapsed = self.election.with_holder(|h| !h.valid(self.env.now())) == Some(true);
            let trouble = self.trouble.borrow();
            let text = match (lapsed, &*trouble) {
                (true, _) => "the manager's lease has lapsed: the KV does not answer".to_owned(),
                (false, Some(why)) => format!("the manager cannot take over: {why}"),
                (false, None) => "the manager is taking over".to_owned(),
            };
            Refusal::new(RefusalCode::NotReady, text)
        };
        let mut tenure = self.tenure.borrow_mut();
        let tenure = tenure.as_mut().ok_or_else(not_ready)?;
        let now = self.env.now();
        let valid = self.election.with_holder(|h| h.term() == tenure.term && h.valid(now));
        if valid != Some(true) || !tenure.cluster.is_published() {
            return Err(not_ready());
        }
        let before = tenure.cluster.routing().version;
        let result = work(tenure, now);
        self.announce(tenure.cluster.routing().version != before);
        Ok(result)
    }

    /// Routing info was published: whoever waits for it is told soon.
    pub(crate) fn announce(&self, published: bool) {
        if published && !self.unannounced.replace(true) {
            self.time.notify();
        }
    }

    /// The lease record that was read or written last.
    pub(crate) fn lease(&self) -> Option<PrimaryLease> {
        let held = self.election.with_holder(|h| h.record().clone());
        held.or_else(|| self.election.observed())
    }

    /// Somebody else is to be asked.
    pub(crate) fn not_primary(&self) -> Refusal {
        let primary = self.election.observed();
        let primary = primary.filter(|lease| !lease.released).map(|lease| lease.holder);
        let primary = primary.filter(|contact| contact != &self.config.me);
        let message = match &primary {
            Some(contact) => {
                format!("this manager is a standby, {} is primary", contact.node)
            }
            None => match &*self.trouble.borrow() {
                Some(why) => format!("nobody is primary; this manager cannot be: {why}"),
                None => "this manager is a standby, nobody is primary".to_owned(),
            },
        };
        let code = RefusalCode::NotPrimary;
        Refusal { primary, ..Refusal::new(code, message) }
    }
}
