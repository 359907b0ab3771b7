//! The services that the routing info shows: the connection to each, and how it is.
//!
//! A service that has failed is avoided for a while, unless there is no other; a new start of it is
//! as good as new. One that the managers do not hear of any more is the last resort, too: they may
//! be the ones who are cut off.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_net::{Client, NetConfig};
use engine_runtime::{Env, all};
use engine_types::{
    Incarnation, Instant, NodeId, NodeInfo, NodeRole, NodeState, RoutingVersion, Timeline,
};
use mgmt_client::Follower;

use crate::choose::Candidate;
use crate::config::MetaConfig;

/// 1 s doubled six times exceeds the longest time; the bound keeps the shift in range.
const DOUBLINGS_MAX: u32 = 6;

/// A service in one of its starts.
pub(crate) struct Server<E: Env> {
    pub(crate) node: NodeId,
    incarnation: Incarnation,
    addresses: Vec<SocketAddr>,
    /// Which of the addresses is in use.
    at: Cell<usize>,
    client: RefCell<Client<E>>,
    in_flight: Cell<u32>,
    failures: Cell<u32>,
    avoided_until: Cell<Instant>,
    /// The managers do not hear of it.
    is_dead: Cell<bool>,
}

/// While an attempt is under way.
pub(crate) struct InFlight<E: Env>(Rc<Server<E>>);

impl<E: Env> Drop for InFlight<E> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

impl<E: Env> Server<E> {
    pub(crate) fn client(&self) -> Client<E> {
        self.client.borrow().clone()
    }

    pub(crate) fn enter(self: &Rc<Self>) -> InFlight<E> {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(self.clone())
    }

    pub(crate) fn answered(&self) {
        self.failures.set(0);
        self.avoided_until.set(Instant::ZERO);
    }
}

/// All services that are known.
pub(crate) struct Servers<E: Env> {
    env: E,
    net: Rc<NetConfig>,
    follower: Rc<Follower<E>>,
    config: MetaConfig,
    known: RefCell<BTreeMap<NodeId, Rc<Server<E>>>>,
    /// Of the routing info that `known` is made from.
    version: Cell<(Timeline, RoutingVersion)>,
}

impl<E: Env> Servers<E> {
    pub(crate) fn new(
        env: &E,
        net: Rc<NetConfig>,
        follower: Rc<Follower<E>>,
        config: MetaConfig,
    ) -> Self {
        let version = Cell::new((Timeline::new(0), RoutingVersion::new(0)));
        Self { env: env.clone(), net, follower, config, known: RefCell::default(), version }
    }

    /// Told when the services may be others.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + use<E> {
        self.follower.changed().notified()
    }

    /// Asks the managers at once who serves.
    pub(crate) fn refresh(&self) {
        self.follower.nudge();
    }

    /// All that could be asked; `tried` are those that a call has asked in vain.
    pub(crate) fn candidates(&self, tried: &[NodeId]) -> Vec<Candidate> {
        self.learn();
        let now = self.env.now();
        let known = self.known.borrow();
        let candidate = |server: &Rc<Server<E>>| Candidate {
            node: server.node,
            in_flight: server.in_flight.get(),
            is_avoided: server.is_dead.get() || now < server.avoided_until.get(),
            is_tried: tried.contains(&server.node),
        };
        known.values().map(candidate).collect()
    }

    /// Takes over the services of newer routing info.
    fn learn(&self) {
        let routing = self.follower.routing();
        let version = (routing.timeline, routing.version);
        if self.version.replace(version) == version {
            return;
        }
        let mut known = self.known.borrow_mut();
        let is_service =
            |node: &NodeId| routing.nodes.get(node).is_some_and(|info| info.role == NodeRole::Meta);
        known.retain(|node, _| is_service(node));
        for (&node, info) in routing.nodes.iter().filter(|(node, _)| is_service(node)) {
            let same = known.get(&node).is_some_and(|server| server.is_of(info));
            if !same && let Some(server) = self.server(node, info) {
                known.insert(node, Rc::new(server));
            }
            if let Some(server) = known.get(&node) {
                server.is_dead.set(info.state == NodeState::Dead);
            }
        }
    }

    fn server(&self, node: NodeId, info: &NodeInfo) -> Option<Server<E>> {
        let addresses = addresses(info);
        let Some(&first) = addresses.first() else {
            tracing::warn!(%node, addresses = ?info.addresses, "no address of it is usable");
            return None;
        };
        Some(Server {
            node,
            incarnation: info.incarnation,
            addresses,
            at: Cell::new(0),
            client: RefCell::new(Client::new(&self.env, self.net.clone(), first)),
            in_flight: Cell::new(0),
            failures: Cell::new(0),
            avoided_until: Cell::new(Instant::ZERO),
            is_dead: Cell::new(false),
        })
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<Rc<Server<E>>> {
        self.known.borrow().get(&node).cloned()
    }

    /// A service has not done what it should: it is avoided for a while. One that could not be
    /// reached is tried at its next address.
    pub(crate) fn failed(&self, server: &Server<E>, unreachable: bool) {
        let now = self.env.now();
        if server.avoided_until.get() <= now {
            let failures = server.failures.get();
            server.failures.set(failures.saturating_add(1));
            let time = self.config.avoid_min.saturating_mul(1 << failures.min(DOUBLINGS_MAX));
            server.avoided_until.set(now + time.min(self.config.avoid_max));
        }
        if unreachable && 1 < server.addresses.len() {
            let at = (server.at.get() + 1) % server.addresses.len();
            server.at.set(at);
            let client = Client::new(&self.env, self.net.clone(), server.addresses[at]);
            *server.client.borrow_mut() = client;
        }
    }

    /// Ends all connections, after what is under way or at `deadline`.
    pub(crate) async fn close(&self, deadline: Instant) {
        let clients: Vec<_> = self.known.take().values().map(|server| server.client()).collect();
        all(clients.iter().map(|client| client.close(deadline))).await;
    }
}

impl<E: Env> Server<E> {
    fn is_of(&self, info: &NodeInfo) -> bool {
        self.incarnation == info.incarnation && self.addresses == addresses(info)
    }
}

fn addresses(info: &NodeInfo) -> Vec<SocketAddr> {
    info.addresses.iter().filter_map(|text| text.parse().ok()).collect()
}
