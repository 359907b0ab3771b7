//! The managers of one cluster: where they are, which is primary, and how to ask it.
//!
//! Owner: one core; clones share addresses and connections. One connection per address is kept,
//! made on first use. Who answered as primary last is asked first; a refusal that names another
//! one is followed; else all are asked in turn until the deadline.
//!
//! A connection that cannot be made is waited for until the deadline of its call, and a call that
//! was sent must not be given up early if it cannot be repeated. So an address of which nothing is
//! known, or nothing good, is asked for its status first, with little patience (E333): only then
//! the call itself is sent.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_net::{Client, NetConfig};
use engine_runtime::Env;
use engine_types::{ClusterId, Instant};
use engine_wire::Kind;
use engine_wire::bodies::Body;
use mgmt_cluster::lease::Contact;
use mgmt_protocol::{Call, Refusal, StatusAsk};

use crate::ask::{Failed, ask};

mod list;
mod search;

use list::{List, MANAGERS_MAX};
use search::Search;
pub(crate) use search::jittered;

/// Time for an address to say that somebody is there: connecting, proving and answering take a few
/// round trips, across continents too.
const PROBE_TIME: Duration = Duration::from_secs(1);
/// Time for one answer to a call that can be repeated; then another manager is asked. Most are one
/// transaction of the KV and take milliseconds. One may go on for ten seconds while the KV is away:
/// the repetition then finds what it has done, or waits behind it.
const ATTEMPT_TIME: Duration = Duration::from_secs(3);
/// Before a call that must not be repeated, the manager has to have answered so recently: a machine
/// that died is found by a probe, not by a call of unknown effect.
const FRESH_TIME: Duration = Duration::from_secs(1);

/// What came of a call instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManagerError {
    /// A manager said no, or the primary did not get to it until the deadline.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was sent once, and may have had its effect (E332).
    #[error("nobody knows whether {address} has done it: {why}")]
    Unknown {
        /// The manager that was asked.
        address: SocketAddr,
        /// Why there is no answer.
        why: String,
    },
    /// No manager did it until the deadline. A call that can be repeated may have had its effect.
    #[error("no manager could be asked{}", listed(tried))]
    Unreachable {
        /// Where it was tried, and what came of it there last.
        tried: Vec<(SocketAddr, String)>,
    },
    /// The answer, or the request, makes no sense.
    #[error("{address}: {why}")]
    Malformed {
        /// The manager that was asked.
        address: SocketAddr,
        /// What makes no sense.
        why: String,
    },
    /// The request is larger than a message can be; it was not sent.
    #[error("a request of {found} bytes, at most {limit}")]
    TooLarge {
        /// Its bytes.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// [`Managers::close`] was called.
    #[error("the connections to the managers are closed")]
    Closed,
}

fn listed(tried: &[(SocketAddr, String)]) -> String {
    let each = tried.iter().map(|(address, why)| format!("; {address}: {why}"));
    each.collect()
}

impl ManagerError {
    pub(crate) fn of(address: SocketAddr, failed: Failed) -> Self {
        match failed {
            Failed::Refused(refusal) => Self::Refused(refusal),
            Failed::NotDone(why) => Self::Unreachable { tried: vec![(address, why)] },
            Failed::Unknown(why) => Self::Unknown { address, why },
            Failed::Malformed(why) => Self::Malformed { address, why },
            Failed::TooLarge { found, limit } => Self::TooLarge { found, limit },
            Failed::Closed => Self::Closed,
        }
    }
}

/// A manager's address, with the connection to it.
struct Peer<E: Env> {
    client: Client<E>,
    /// When it answered last, unless something went wrong since.
    heard: Cell<Option<Instant>>,
    /// Counts uses of all peers: the lowest was not used for the longest time.
    used: Cell<u64>,
}

struct Inner<E: Env> {
    env: E,
    net: Rc<NetConfig>,
    list: RefCell<List>,
    peers: RefCell<BTreeMap<SocketAddr, Rc<Peer<E>>>>,
    uses: Cell<u64>,
    closed: Cell<bool>,
}

/// The managers of one cluster. Clones share connections.
pub struct Managers<E: Env> {
    inner: Rc<Inner<E>>,
}

impl<E: Env> Clone for Managers<E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<E: Env> Managers<E> {
    /// The managers that are reached by way of `seeds`; the first 16 of them count. Nothing is
    /// sent before the first call.
    ///
    /// # Panics
    /// Without an address.
    pub fn new(env: &E, net: Rc<NetConfig>, seeds: Vec<SocketAddr>) -> Self {
        let inner = Inner {
            env: env.clone(),
            net,
            list: RefCell::new(List::new(seeds)),
            peers: RefCell::default(),
            uses: Cell::new(0),
            closed: Cell::new(false),
        };
        Self { inner: Rc::new(inner) }
    }

    /// All addresses known, those given first.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.inner.list.borrow().addresses().to_vec()
    }

    /// Who answered as primary last, unless something went wrong since.
    pub fn primary(&self) -> Option<SocketAddr> {
        self.inner.list.borrow().primary()
    }

    /// Where this runs.
    pub fn env(&self) -> &E {
        &self.inner.env
    }

    /// The cluster that this process belongs to.
    pub fn cluster(&self) -> ClusterId {
        self.inner.net.local.cluster
    }

    /// Asks the primary, wherever it is, until `deadline`. A call that is not `REPEATABLE` is never
    /// sent again once its effect is unknown (E332). [`StatusAsk`] is answered by any manager.
    ///
    /// # Errors
    /// [`ManagerError`]; refusals that are not transient at once.
    pub async fn call<C: Call>(
        &self,
        asked: &C,
        deadline: Instant,
    ) -> Result<C::Answer, ManagerError> {
        let answered = self.call_within(asked, deadline, ATTEMPT_TIME).await;
        answered.map(|(answer, _)| answer)
    }

    /// Asks the manager at `address` until `deadline`, and follows nothing. An address that cannot
    /// be connected to is tried again and again until then.
    ///
    /// # Errors
    /// [`ManagerError`]; every refusal is one.
    pub async fn call_at<C: Call>(
        &self,
        address: SocketAddr,
        asked: &C,
        deadline: Instant,
    ) -> Result<C::Answer, ManagerError> {
        let answered = self.ask(address, asked, deadline).await;
        answered.map_err(|failed| ManagerError::of(address, failed))
    }

    /// Takes no new calls, waits for those in flight until `deadline`, then closes all connections.
    pub async fn close(&self, deadline: Instant) {
        self.inner.closed.set(true);
        let peers = self.inner.peers.take();
        for peer in peers.values() {
            peer.client.close(deadline).await;
        }
    }

    /// As [`call`](Self::call), with `patience` for one answer; says who gave it.
    pub(crate) async fn call_within<C: Call>(
        &self,
        asked: &C,
        deadline: Instant,
        patience: Duration,
    ) -> Result<(C::Answer, SocketAddr), ManagerError> {
        let Inner { env, list, closed, .. } = &*self.inner;
        let mut search = Search::default();
        loop {
            if closed.get() {
                return Err(ManagerError::Closed);
            }
            let now = env.now();
            if deadline <= now {
                return Err(search.give_up());
            }
            let next = search.next(&list.borrow());
            let Some(address) = next else {
                let pause = search.pause(env.random());
                env.sleep_until(deadline.min(now + pause)).await;
                continue;
            };
            match self.attempt(address, asked, deadline, patience).await {
                Ok(answer) => {
                    if C::Ask::KIND != Kind::MGMT_STATUS {
                        self.found_primary(address);
                    }
                    return Ok((answer, address));
                }
                Err(failed) => {
                    let list = &mut list.borrow_mut();
                    search.failed(address, failed, C::REPEATABLE, list)?;
                }
            }
        }
    }

    /// It answered as primary.
    pub(crate) fn found_primary(&self, address: SocketAddr) {
        let mut list = self.inner.list.borrow_mut();
        if list.primary() != Some(address) {
            tracing::info!(%address, "found the primary manager");
            list.set_primary(address);
        }
    }

    /// It said that it is not primary; gives the addresses of the one that it named.
    pub(crate) fn not_primary(
        &self,
        address: SocketAddr,
        named: Option<&Contact>,
    ) -> Vec<SocketAddr> {
        let mut list = self.inner.list.borrow_mut();
        list.unset_primary(address);
        named.map(|contact| list.learn(contact)).unwrap_or_default()
    }

    /// One step of a search: a probe if need be, and the call.
    async fn attempt<C: Call>(
        &self,
        address: SocketAddr,
        asked: &C,
        deadline: Instant,
        patience: Duration,
    ) -> Result<C::Answer, Failed> {
        let env = &self.inner.env;
        let heard = self.peer(address).heard.get();
        let known_good = match heard {
            Some(_) if C::REPEATABLE => true,
            Some(at) => env.now() < at + FRESH_TIME,
            None => false,
        };
        if !known_good && C::Ask::KIND != Kind::MGMT_STATUS {
            self.probe(address, deadline).await?;
        }
        let patient_until = deadline.min(env.now() + patience);
        let until = if C::REPEATABLE { patient_until } else { deadline };
        self.ask(address, asked, until).await
    }

    /// Finds out whether somebody answers at `address`.
    async fn probe(&self, address: SocketAddr, deadline: Instant) -> Result<(), Failed> {
        let now = self.inner.env.now();
        // With little time left, half of it is for those who answer.
        let patience = PROBE_TIME.min(deadline.saturating_since(now) / 2);
        match self.ask(address, &StatusAsk::default(), now + patience).await {
            Ok(status) => {
                if let Some(lease) = &status.lease {
                    self.inner.list.borrow_mut().learn(&lease.holder);
                }
                Ok(())
            }
            // Whatever it means by that: it is there.
            Err(Failed::Refused(_) | Failed::Malformed(_)) => Ok(()),
            // Asking how it is does nothing.
            Err(Failed::Unknown(why)) => Err(Failed::NotDone(why)),
            Err(other) => Err(other),
        }
    }

    /// Asks one manager, and remembers whether it answers.
    async fn ask<C: Call>(
        &self,
        address: SocketAddr,
        asked: &C,
        deadline: Instant,
    ) -> Result<C::Answer, Failed> {
        if self.inner.closed.get() {
            return Err(Failed::Closed);
        }
        let env = &self.inner.env;
        let peer = self.peer(address);
        let told = ask(env, &peer.client, asked, deadline).await;
        match &told {
            Ok(_) | Err(Failed::Refused(_) | Failed::Malformed(_)) => {
                peer.heard.set(Some(env.now()));
            }
            Err(Failed::NotDone(_) | Failed::Unknown(_)) => peer.heard.set(None),
            Err(Failed::TooLarge { .. } | Failed::Closed) => {}
        }
        told
    }

    /// The connection to `address`; the one that was not used for the longest time goes for it.
    fn peer(&self, address: SocketAddr) -> Rc<Peer<E>> {
        let Inner { env, net, peers, uses, .. } = &*self.inner;
        let mut peers = peers.borrow_mut();
        let used = uses.get() + 1;
        uses.set(used);
        if MANAGERS_MAX <= peers.len() && !peers.contains_key(&address) {
            let oldest = peers.iter().min_by_key(|(_, peer)| peer.used.get());
            let oldest = *oldest.expect("there are as many as the limit").0;
            peers.remove(&oldest);
        }
        let peer = peers.entry(address).or_insert_with(|| {
            let client = Client::new(env, net.clone(), address);
            Rc::new(Peer { client, heard: Cell::new(None), used: Cell::new(0) })
        });
        peer.used.set(used);
        peer.clone()
    }
}

#[cfg(test)]
mod tests;
