//! The server's side: accepts connections, authenticates them, hands requests to a service.
//!
//! Owner: one core. Connections are limited in number, those not yet authenticated more tightly
//! (W12); beyond the limits they wait in the kernel's queue. Bulk memory is limited by credit for
//! all peers together (E52); a storage node keeps half of it for other storage nodes (W2).

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::{Closer, Env, Gate, Listener, Notify, Stream, until};
use engine_types::{Instant, NodeRole};
use engine_wire::handshake::Windows;
use slab::Slab;

use crate::config::NetConfig;
use crate::connect::{self, Established};
use crate::credit::CreditPool;
use crate::keeper::{self, Alarm, Patience};
use crate::link::{self, EndReason, Link};
use crate::metrics::{Metrics, MetricsSnapshot};
use crate::outbox::Control;
use crate::receive;
use crate::request::Service;

mod peer;
mod workers;

pub(crate) use peer::Peer;
use peer::Serving;

/// Pause after an accept that failed for lack of descriptors or memory: they come back when other
/// connections end, and trying at once would only burn the core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How long a drained server waits for its peers to close: they answer a goodbye at once, unless
/// they are gone.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// A listening server. Clones are handles to the same one; dropping them does not stop it.
pub struct Server<E: Env> {
    shared: Rc<Shared<E>>,
}

impl<E: Env> Clone for Server<E> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

pub(crate) struct Shared<E: Env> {
    env: E,
    config: Rc<NetConfig>,
    address: SocketAddr,
    closer: E::Closer,
    share: Share,
    /// Of a storage node: what other storage nodes get. What clients hold may wait for it, and it
    /// waits for no client, so that the one must never use up the other (W2).
    relays: Option<Share>,
    peers: RefCell<Slab<Rc<Peer<E>>>>,
    /// Connections that may still be accepted, and of them those not yet authenticated.
    connections: Gate,
    unauthenticated: Gate,
    draining: Cell<bool>,
    pub(crate) changed: Notify,
    metrics: Rc<Metrics>,
}

/// Memory for what some of the peers send.
pub(crate) struct Share {
    pub(crate) credit: CreditPool,
    /// Pool bytes that payloads without credit may hold: a quarter of the pool for all peers.
    pub(crate) small: Gate,
}

impl Share {
    /// One of `parts` equal ones.
    fn new(config: &NetConfig, pool_bytes: usize, parts: u64) -> Self {
        let limits = &config.limits;
        Self {
            credit: CreditPool::new(limits.credit_bytes / parts, limits.credit_bytes_idle),
            small: Gate::new(pool_bytes as u64 / 4 / parts),
        }
    }
}

impl<E: Env> Server<E> {
    /// Starts to accept connections of `listener` and to serve their requests.
    ///
    /// # Panics
    /// When the limits fail [`NetLimits::check`](crate::NetLimits::check): whoever reads a
    /// configuration checks it before.
    pub fn start<S: Service<E>>(
        env: &E,
        config: Rc<NetConfig>,
        listener: E::Listener,
        service: Rc<S>,
    ) -> Self {
        let limits = &config.limits;
        if let Err(error) = limits.check() {
            panic!("a server was given limits that nobody checked: {error}");
        }
        let stores = config.local.identity.role == NodeRole::Storage;
        let share = || Share::new(&config, env.pool().limit(), if stores { 2 } else { 1 });
        let shared = Rc::new(Shared {
            env: env.clone(),
            address: listener.address(),
            closer: listener.closer(),
            share: share(),
            relays: stores.then(share),
            peers: RefCell::new(Slab::new()),
            connections: Gate::new(limits.connections as u64),
            unauthenticated: Gate::new(limits.unauthenticated as u64),
            draining: Cell::new(false),
            changed: Notify::default(),
            metrics: Rc::new(Metrics::default()),
            config,
        });
        drop(env.spawn(shared.clone().accept(listener, service)));
        Self { shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Connections that are authenticated and alive.
    pub fn connection_count(&self) -> usize {
        self.shared.peers.borrow().len()
    }

    /// What it has counted.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.shared.metrics.snapshot()
    }

    /// Stops accepting, asks peers to go elsewhere, refuses new requests with `Draining`, answers
    /// those in flight, and closes; what is left at `deadline` is cut (E57).
    pub async fn drain(&self, deadline: Instant) {
        let shared = &self.shared;
        shared.draining.set(true);
        shared.closer.close();
        shared.connections.close();
        let peers: Vec<_> = shared.peers.borrow().iter().map(|(_, peer)| peer.clone()).collect();
        for peer in &peers {
            peer.link.outbox.control(Control::Goodbye);
        }
        let idle = || {
            let peers = shared.peers.borrow();
            peers.iter().all(|(_, peer)| peer.open_count() == 0 || peer.link.is_ended())
        };
        let in_flight = until(&shared.env, deadline, shared.changed.until(idle)).await;
        if in_flight.is_err() {
            tracing::warn!("drained with requests in flight at the deadline");
        }
        for peer in &peers {
            let _sent_or_late = until(&shared.env, deadline, peer.link.flushed()).await;
        }
        // A peer that has read the goodbye closes by itself; cutting it before could discard
        // answers that it has not read.
        let farewell = deadline.min(shared.env.now() + FAREWELL_TIME);
        let gone = shared.changed.until(|| shared.peers.borrow().is_empty());
        let _gone_or_late = until(&shared.env, farewell, gone).await;
        self.stop();
    }

    /// Ends all connections at once.
    pub fn stop(&self) {
        let shared = &self.shared;
        shared.draining.set(true);
        shared.closer.close();
        shared.connections.close();
        let peers: Vec<_> = shared.peers.borrow().iter().map(|(_, peer)| peer.clone()).collect();
        for peer in peers {
            peer.link.end(EndReason::Closed);
        }
    }
}

/// A connection's place in the list of peers. It goes with its task, also when the executor ends
/// before the connection does: the list refers to the peer and the peer to the list's owner.
struct Listed<'a, E: Env> {
    shared: &'a Shared<E>,
    key: usize,
    peer: Rc<Peer<E>>,
}

impl<E: Env> Drop for Listed<'_, E> {
    fn drop(&mut self) {
        self.shared.peers.borrow_mut().remove(self.key);
        self.peer.forget_waiting();
    }
}

impl<E: Env> Shared<E> {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    async fn accept<S: Service<E>>(self: Rc<Self>, mut listener: E::Listener, service: Rc<S>) {
        while !self.draining.get() {
            // First room, then the connection: strangers beyond the limits wait in the kernel.
            if self.connections.take(1).await.is_err() {
                return;
            }
            let stranger = self.unauthenticated.take(1).await;
            assert!(stranger.is_ok(), "only the other gate is ever closed");
            match listener.accept().await {
                Ok(stream) => {
                    drop(self.env.spawn(self.clone().connection(stream, service.clone())));
                }
                Err(error) => {
                    self.connections.give(1);
                    self.unauthenticated.give(1);
                    if self.draining.get() {
                        return;
                    }
                    tracing::warn!(address = %self.address, %error, "accepting failed");
                    self.env.sleep_until(self.env.now() + ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// One connection from its first byte to its end.
    async fn connection<S: Service<E>>(self: Rc<Self>, stream: Stream<E>, service: Rc<S>) {
        let env = self.env.clone();
        let address = stream.peer;
        let link = Link::new(env, address, stream.closer.clone(), self.metrics.clone());
        let link = Rc::new(link);
        let windows = Windows {
            inflight_requests: self.config.limits.requests,
            small_bytes: self.config.limits.small_bytes,
            ..Windows::default()
        };
        let (reader, writer) = (stream.reader, stream.writer);
        let established = connect::as_server(&link, &self.config, windows, reader, writer).await;
        self.unauthenticated.give(1);
        match established {
            Ok(established) if !self.draining.get() => {
                self.metrics.count(|counters| counters.connections += 1);
                self.serve(link, established, service).await;
            }
            Ok(_) => link.end(EndReason::Closed),
            Err(reason) => {
                tracing::warn!(peer = %address, %reason, "handshake failed");
                self.metrics.connection_failed(&reason);
                link.end(reason);
            }
        }
        self.connections.give(1);
    }

    async fn serve<S: Service<E>>(
        self: &Rc<Self>,
        link: Rc<Link<E>>,
        established: Established<E>,
        service: Rc<S>,
    ) {
        let Established { incoming, writer, session } = established;
        let peer = Rc::new(Peer::new(self.clone(), link.clone(), &session));
        let key = self.peers.borrow_mut().insert(peer.clone());
        let listed = Listed { shared: self, key, peer: peer.clone() };
        let limits = &self.config.limits;
        let patience =
            Patience { ping_after: None, silence: limits.keepalive_time, frame: limits.frame_time };
        let alarm = Rc::new(Alarm::default());
        let due = peer.clone();
        let kept = keeper::keep(link.clone(), patience, alarm, move |now| due.check_payloads(now));
        drop(self.env.spawn(kept));
        drop(self.env.spawn(link::write(link.clone(), writer)));
        let serving = Serving { peer: peer.clone(), service };
        let reason = receive::run(&link, incoming, &serving).await;
        link.end(reason);
        let why = link.reason();
        if !matches!(*why, EndReason::Closed | EndReason::PeerClosed) {
            tracing::warn!(peer = %peer.identity, reason = %why, "connection ended");
            self.metrics.connection_failed(&why);
        }
        peer.ended();
        drop(listed);
        self.changed.notify();
    }

    /// The share of who asks as `role`.
    pub(crate) fn share_of(&self, role: NodeRole) -> &Share {
        let relays = self.relays.as_ref().filter(|_| role == NodeRole::Storage);
        relays.unwrap_or(&self.share)
    }

    pub(crate) fn frame_time(&self) -> Duration {
        self.config.limits.frame_time
    }

    pub(crate) fn small_bytes(&self) -> u64 {
        u64::from(self.config.limits.small_bytes)
    }

    pub(crate) fn window(&self) -> u32 {
        self.config.limits.requests
    }
}
