//! Shards of storage nodes: where they listen, the connection to each, and what it bears.
//!
//! Owner: one storage client. A shard is asked for by (node, core). Its address comes from the
//! node: whoever answers at one of the node's addresses knows the ports of all its shards. That is
//! asked once per start of the node, and again after a shard could not be reached (E376): a process
//! that starts again may have other ports before anybody has heard of it.
//!
//! One connection per shard (W4), and a window for it: requests and bytes that are under way.
//! Whoever finds it full waits in line, so a large request is not starved by small ones. Requests
//! that were given up leave this window at once; that of the connection (E51) they keep filled, so
//! a shard that does not answer is not sent more and more.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_net::{Call, Client, NetConfig};
use engine_runtime::{Env, Gate, Notify, all, until};
use engine_types::{CoreId, Incarnation, Instant, NodeId, NodeInfo, Status};
use engine_wire::bodies;
use engine_wire::bodies::storage::{StorageShardsReply, StorageShardsRequest};

use crate::config::StorageConfig;
use crate::drive::Failed;
use crate::health::Health;

/// Addresses of a node that are tried for one answer.
const ADDRESSES_TRIED_MAX: usize = 4;

/// A shard, with what it bears now.
pub(crate) struct Shard<E: Env> {
    pub(crate) node: NodeId,
    pub(crate) core: CoreId,
    of: Rc<Node<E>>,
    client: RefCell<Option<Client<E>>>,
    requests: Gate,
    bytes: Gate,
    bytes_max: u64,
    /// Attempts that have chosen this shard and have not ended.
    pub(crate) outstanding: Cell<u32>,
    /// When its connection was asked for last.
    used: Cell<Instant>,
    pub(crate) health: Health,
}

/// What is known of the ports of a node.
enum Ports {
    Unknown,
    Asking,
    Known { at: SocketAddr, ports: BTreeMap<u16, u16> },
    Failed { why: String },
}

struct Node<E: Env> {
    incarnation: Incarnation,
    addresses: RefCell<Vec<String>>,
    ports: RefCell<Ports>,
    changed: Notify,
    /// The connection that was asked; one of the shards has the same address.
    asked: RefCell<Option<Client<E>>>,
}

type ByCore<E> = BTreeMap<(NodeId, CoreId), Rc<Shard<E>>>;

/// All shards that were ever asked for.
pub(crate) struct Shards<E: Env> {
    env: E,
    net: Rc<NetConfig>,
    config: Rc<StorageConfig>,
    nodes: RefCell<BTreeMap<NodeId, Rc<Node<E>>>>,
    shards: RefCell<ByCore<E>>,
}

/// Room in the window of a shard; given back when dropped.
pub(crate) struct Room<'a> {
    gate: &'a Gate,
    amount: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.gate.give(self.amount);
    }
}

impl<E: Env> Shards<E> {
    pub(crate) fn new(env: &E, net: Rc<NetConfig>, config: Rc<StorageConfig>) -> Self {
        let (nodes, shards) = (RefCell::default(), RefCell::default());
        Self { env: env.clone(), net, config, nodes, shards }
    }

    /// The shard of a node in its present start.
    pub(crate) fn shard(&self, node: NodeId, info: &NodeInfo, core: CoreId) -> Rc<Shard<E>> {
        let mut nodes = self.nodes.borrow_mut();
        let known = nodes.get(&node).filter(|known| known.incarnation == info.incarnation).cloned();
        let of = known.unwrap_or_else(|| {
            let of = Rc::new(Node {
                incarnation: info.incarnation,
                addresses: RefCell::new(info.addresses.clone()),
                ports: RefCell::new(Ports::Unknown),
                changed: Notify::default(),
                asked: RefCell::default(),
            });
            // The connections to its former start close with the last call on them.
            self.shards.borrow_mut().retain(|&(former, _), _| former != node);
            nodes.insert(node, of.clone());
            of
        });
        if *of.addresses.borrow() != info.addresses {
            of.addresses.borrow_mut().clone_from(&info.addresses);
            of.forget();
        }
        let mut shards = self.shards.borrow_mut();
        let shard = shards.entry((node, core)).or_insert_with(|| {
            Rc::new(Shard {
                node,
                core,
                of: of.clone(),
                client: RefCell::default(),
                requests: Gate::new(self.config.window_requests.into()),
                bytes: Gate::new(self.config.window_bytes.into()),
                bytes_max: self.config.window_bytes.into(),
                outstanding: Cell::new(0),
                used: Cell::new(self.env.now()),
                health: Health::default(),
            })
        });
        shard.clone()
    }

    /// The connection to a shard, once its address is known.
    pub(crate) async fn client(&self, shard: &Shard<E>, by: Instant) -> Result<Client<E>, Failed> {
        let of = &shard.of;
        shard.used.set(self.env.now());
        let mut asked = false;
        loop {
            match &*of.ports.borrow() {
                Ports::Known { at, ports } => match ports.get(&shard.core.get()) {
                    Some(&port) => {
                        let mut address = *at;
                        address.set_port(port);
                        return Ok(self.connection(shard, address));
                    }
                    None if asked => {
                        let why = format!("{} has no {}", shard.node, shard.core);
                        return Err(Failed::unreachable(why));
                    }
                    None => {}
                },
                // What was asked before tells whoever comes later nothing.
                Ports::Failed { why } if asked => {
                    let why = format!("its shards are not known: {why}");
                    return Err(Failed::unreachable(why));
                }
                Ports::Unknown | Ports::Asking | Ports::Failed { .. } => {}
            }
            let changed = of.changed.notified();
            self.ask_unless_asked(of);
            asked = true;
            if until(&self.env, by, changed).await.is_err() {
                return Err(Failed::unreachable("its node does not say where its shards are"));
            }
        }
    }

    fn connection(&self, shard: &Shard<E>, address: SocketAddr) -> Client<E> {
        let mut kept = shard.client.borrow_mut();
        if let Some(client) = kept.as_ref().filter(|client| client.peer() == address) {
            return client.clone();
        }
        let asked = shard.of.asked.borrow().clone();
        let same = asked.filter(|client| client.peer() == address);
        let client = same.unwrap_or_else(|| Client::new(&self.env, self.net.clone(), address));
        *kept = Some(client.clone());
        client
    }

    /// Starts to ask the node, unless somebody did. A task does it, so that nobody who gives up
    /// takes the answer away from the others.
    fn ask_unless_asked(&self, of: &Rc<Node<E>>) {
        if matches!(&*of.ports.borrow(), Ports::Asking) {
            return;
        }
        *of.ports.borrow_mut() = Ports::Asking;
        let (env, net, of) = (self.env.clone(), self.net.clone(), of.clone());
        let patience = self.config.read_patience;
        drop(self.env.spawn(async move {
            let addresses: Vec<SocketAddr> =
                of.addresses.borrow().iter().filter_map(|text| text.parse().ok()).collect();
            let mut found = Ports::Failed { why: "no address of its node is usable".to_owned() };
            // Together they take no longer than one attempt does.
            let tried = addresses.len().clamp(1, ADDRESSES_TRIED_MAX);
            let each = patience / u32::try_from(tried).expect("a handful");
            for &at in addresses.iter().take(tried) {
                let client = of.to_ask(&env, &net, at);
                found = ask(&client, env.now() + each).await;
                if matches!(found, Ports::Known { .. }) {
                    break;
                }
            }
            *of.ports.borrow_mut() = found;
            of.changed.notify();
        }));
    }

    /// Drops what nobody has used for `idle` (W4): connections, and what is known of nodes.
    pub(crate) fn sweep(&self, idle: Duration) {
        let now = self.env.now();
        let mut shards = self.shards.borrow_mut();
        shards.retain(|_, shard| 0 < shard.outstanding.get() || now < shard.used.get() + idle);
        let in_use = |node: NodeId| {
            shards.range((node, CoreId::new(0))..=(node, CoreId::new(u16::MAX))).next().is_some()
        };
        self.nodes.borrow_mut().retain(|&node, _| in_use(node));
    }

    /// Shards that something is known of.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.shards.borrow().len()
    }

    /// Ends all connections, after what is under way or at `deadline`.
    pub(crate) async fn close(&self, deadline: Instant) {
        let (nodes, shards) = (self.nodes.take(), self.shards.take());
        let kept = shards.values().filter_map(|shard| shard.client.take());
        let asked = nodes.values().filter_map(|node| node.asked.take());
        let clients: Vec<Client<E>> = kept.chain(asked).collect();
        all(clients.iter().map(|client| client.close(deadline))).await;
    }
}

async fn ask<E: Env>(client: &Client<E>, by: Instant) -> Ports {
    let at = client.peer();
    let asked = StorageShardsRequest::default();
    if let Err(error) = client.ready(by).await {
        return Ports::Failed { why: format!("{at}: {error}") };
    }
    let reply = match client.call(Call::new(&asked, by)).await {
        Ok(reply) => reply,
        Err(error) => return Ports::Failed { why: format!("{at}: {error}") },
    };
    let told = reply.body::<StorageShardsReply>().and_then(bodies::to_owned::<StorageShardsReply>);
    match told {
        Ok(told) => {
            let ports = told.shards.iter().map(|shard| (shard.core, shard.port)).collect();
            tracing::debug!(%at, shards = told.shards.len(), "shards of a node");
            Ports::Known { at, ports }
        }
        Err(error) => Ports::Failed { why: format!("{at}: {error}") },
    }
}

impl<E: Env> Node<E> {
    /// What is known of the ports may be wrong (E376).
    fn forget(&self) {
        let mut ports = self.ports.borrow_mut();
        if matches!(&*ports, Ports::Known { .. }) {
            *ports = Ports::Unknown;
        }
    }

    fn to_ask(&self, env: &E, net: &Rc<NetConfig>, at: SocketAddr) -> Client<E> {
        let mut asked = self.asked.borrow_mut();
        match &*asked {
            Some(client) if client.peer() == at => client.clone(),
            _ => asked.insert(Client::new(env, net.clone(), at)).clone(),
        }
    }
}

impl<E: Env> Shard<E> {
    /// Room for a message, in line.
    pub(crate) async fn enter(&self, bytes: u32) -> (Room<'_>, Room<'_>) {
        self.requests.take(1).await.expect("windows are never closed");
        let request = Room { gate: &self.requests, amount: 1 };
        // What is larger than the window passes when it is alone.
        let amount = u64::from(bytes).min(self.bytes_max);
        self.bytes.take(amount).await.expect("windows are never closed");
        (request, Room { gate: &self.bytes, amount })
    }

    /// It could not be reached, or its connection broke: it may listen elsewhere now (E376).
    pub(crate) fn lost(&self, status: Status) {
        if matches!(status, Status::Unreachable | Status::UnknownResult | Status::WrongNode) {
            self.of.forget();
        }
    }
}
