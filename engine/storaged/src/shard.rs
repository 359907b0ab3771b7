//! A shard: one core with its stores, its listener and its links (thread per core, nothing shared).
//!
//! ```text
//!   clients ──reads, updates──> service ─┐                      ┌─> store: update, commit, read
//!   other shards ──link, relay──> links ─┼─> target ── step ────┼─> links: to the neighbours
//!   node ──routing, leases──> control ───┘   (pure machine)     └─> answers
//! ```
//!
//! Owner: one core. The node is told what the targets are by reports that follow the facts: none
//! calls a target offline before its lease is dropped, or names a version before it is durable.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use engine_craq::{Event, Payload, Peer};
use engine_links::{Links, ShardId, StreamId};
use engine_net::NetConfig;
use engine_runtime::{Env, Notify, first, until, yield_now};
use engine_store::{TargetPhase, TargetRecord};
use engine_types::{
    ChainInfo, ChainVersion, CoreId, Incarnation, Instant, Map, NodeId, RoutingInfo,
    RoutingVersion, SessionId, TargetId, Timeline,
};
use engine_wire::bodies::storage::ShardAt;
use mgmt_cluster::heartbeat::{Move, TargetReport};
use mgmt_cluster::lease::Grant;

use crate::addresses::Addresses;
use crate::admission::Admission;
use crate::home::Home;
use crate::lanes::Lanes;
use crate::repair::Repairs;
use crate::role::Settings;
use crate::stream::Stream;
use crate::target::Target;

/// Pause before neighbours are looked for again that could not be found.
pub(crate) const PEERS_PAUSE: Duration = Duration::from_millis(200);

/// What a shard is, for the heartbeat.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardState {
    pub(crate) timeline: Timeline,
    pub(crate) drained: RoutingVersion,
    pub(crate) targets: Vec<TargetReport>,
    /// Newer routing info is wanted.
    pub(crate) nudge: bool,
    /// Revoked sessions of which it is to be told whether they have ended everywhere (R16).
    pub(crate) asks: Vec<SessionId>,
}

/// A payload that comes over a link.
pub(crate) struct Arriving<E: Env> {
    pub(crate) target: Rc<Target<E>>,
    pub(crate) payload: Payload,
    pub(crate) stream: Rc<Stream<E>>,
}

/// A payload, and the target that it is for.
type Owned<E> = (TargetId, Rc<Stream<E>>);

/// What happened to the shard since it started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Replicas that left their chain by themselves.
    pub(crate) left: Cell<u64>,
}

/// See the module.
pub(crate) struct Shard<E: Env> {
    pub(crate) env: E,
    pub(crate) core: CoreId,
    pub(crate) net: Rc<NetConfig>,
    pub(crate) homes: Vec<Rc<Home<E>>>,
    pub(crate) targets: RefCell<BTreeMap<TargetId, Rc<Target<E>>>>,
    pub(crate) counters: Counters,
    routing: RefCell<Arc<RoutingInfo>>,
    pub(crate) routing_changed: Notify,
    node: Cell<Option<NodeId>>,
    links: RefCell<Option<Rc<Links<E, Self>>>>,
    /// Room for payloads, here and at the peers (W2).
    pub(crate) lanes: Rc<Lanes>,
    /// The line before clients' requests, and what competes with them (W3).
    pub(crate) admission: Rc<Admission>,
    streams: RefCell<Map<u64, Owned<E>>>,
    arriving: RefCell<BTreeMap<(ShardId, StreamId), Arriving<E>>>,
    ids: Cell<u64>,
    pub(crate) addresses: Addresses<E>,
    pub(crate) repairs: Repairs<E>,
    pub(crate) settings: Settings,
    /// When the next bytes of a resync may leave.
    resync_next: Cell<Instant>,
    peers_wanted: Notify,
    shards: RefCell<Vec<ShardAt>>,
    pub(crate) drained: Cell<(Timeline, RoutingVersion)>,
    report_wanted: Notify,
    nudge: Cell<bool>,
    /// For the next state.
    asks: RefCell<Vec<SessionId>>,
    creating: RefCell<BTreeSet<TargetId>>,
}

impl<E: Env> Clone for Arriving<E> {
    fn clone(&self) -> Self {
        let (target, stream) = (self.target.clone(), self.stream.clone());
        Self { target, payload: self.payload, stream }
    }
}

impl<E: Env> Shard<E> {
    pub(crate) fn new(
        env: &E,
        core: CoreId,
        net: Rc<NetConfig>,
        homes: Vec<Rc<Home<E>>>,
        settings: Settings,
    ) -> Rc<Self> {
        let routing = Arc::new(RoutingInfo::empty(net.local.cluster));
        Rc::new(Self {
            env: env.clone(),
            core,
            addresses: Addresses::new(env, net.clone()),
            repairs: Repairs::default(),
            settings,
            resync_next: Cell::new(Instant::ZERO),
            net,
            homes,
            targets: RefCell::default(),
            counters: Counters::default(),
            routing: RefCell::new(routing),
            routing_changed: Notify::default(),
            node: Cell::new(None),
            links: RefCell::default(),
            lanes: Lanes::new(env.pool().limit() as u64),
            admission: Admission::new(settings.admission),
            streams: RefCell::default(),
            arriving: RefCell::default(),
            ids: Cell::new(0),
            peers_wanted: Notify::default(),
            shards: RefCell::default(),
            drained: Cell::default(),
            report_wanted: Notify::default(),
            nudge: Cell::new(false),
            asks: RefCell::default(),
            creating: RefCell::default(),
        })
    }

    /// A number that this start of the shard gives once; never 0.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.set(self.ids.get() + 1);
        self.ids.get()
    }

    pub(crate) fn links(&self) -> Option<Rc<Links<E, Self>>> {
        self.links.borrow().clone()
    }

    pub(crate) fn routing(&self) -> Arc<RoutingInfo> {
        self.routing.borrow().clone()
    }

    pub(crate) fn target(&self, target: TargetId) -> Option<Rc<Target<E>>> {
        self.targets.borrow().get(&target).cloned()
    }

    /// Each of them, so that nothing is borrowed while they step.
    pub(crate) fn all_targets(&self) -> Vec<Rc<Target<E>>> {
        self.targets.borrow().values().cloned().collect()
    }

    /// Where a target lives.
    pub(crate) fn shard_of(&self, target: TargetId) -> Option<ShardId> {
        let routing = self.routing.borrow();
        let info = routing.targets.get(&target)?;
        Some(ShardId { node: info.node, core: info.core })
    }

    pub(crate) fn new_stream(&self, target: TargetId, stream: Rc<Stream<E>>) -> Payload {
        let payload = Payload(self.next_id());
        self.streams.borrow_mut().insert(payload.0, (target, stream));
        payload
    }

    /// Nobody wants the payloads of a target any more.
    pub(crate) fn discard_all(&self, target: TargetId) {
        let mut streams = self.streams.borrow_mut();
        streams.retain(|_, (of, stream)| {
            if *of == target {
                stream.discard();
            }
            *of != target
        });
    }

    /// Whether no other member of its chain serves.
    pub(crate) fn serves_alone(&self, target: &Target<E>) -> bool {
        let routing = self.routing();
        let chain = routing.chains.get(&target.chain);
        let other = |chain: &ChainInfo| chain.serving().any(|m| m.target != target.own.target);
        !chain.is_some_and(other)
    }

    pub(crate) fn stream(&self, payload: Payload) -> Option<Rc<Stream<E>>> {
        self.streams.borrow().get(&payload.0).map(|(_, stream)| stream.clone())
    }

    pub(crate) fn take_stream(&self, payload: Payload) -> Option<Rc<Stream<E>>> {
        self.streams.borrow_mut().remove(&payload.0).map(|(_, stream)| stream)
    }

    /// Nobody here wants a payload any more.
    pub(crate) fn discard(&self, payload: Payload) {
        if let Some(stream) = self.take_stream(payload) {
            stream.discard();
        }
    }

    pub(crate) fn arriving(&self, from: ShardId, id: StreamId, arriving: Arriving<E>) {
        self.arriving.borrow_mut().insert((from, id), arriving);
    }

    pub(crate) fn arrives(&self, from: ShardId, id: StreamId, last: bool) -> Option<Arriving<E>> {
        let mut all = self.arriving.borrow_mut();
        let found = all.get(&(from, id))?;
        let found = found.clone();
        if last {
            all.remove(&(from, id));
        }
        Some(found)
    }

    /// What was arriving over a link that is gone.
    pub(crate) fn take_arriving(&self, from: ShardId) -> Vec<Arriving<E>> {
        let mut all = self.arriving.borrow_mut();
        let first = (from, StreamId(0));
        let keys: Vec<_> = all.range(first..).map(|(key, _)| *key).collect();
        let keys = keys.into_iter().take_while(|key| key.0 == from);
        keys.filter_map(|key| all.remove(&key)).collect()
    }

    pub(crate) fn report_now(&self) {
        self.report_wanted.notify();
    }

    pub(crate) fn report_wanted(&self) -> &Notify {
        &self.report_wanted
    }

    /// Asks the managers, by way of the node, which of these sessions have ended everywhere.
    pub(crate) fn ask_ended(&self, sessions: Vec<SessionId>) {
        *self.asks.borrow_mut() = sessions;
        self.report_now();
    }

    /// Somebody speaks of newer routing info.
    pub(crate) fn nudge(&self) {
        self.nudge.set(true);
        self.report_now();
    }

    pub(crate) fn peers_changed(&self) {
        self.peers_wanted.notify();
    }

    /// Whether `bytes` of a resync may leave now, which puts off what comes next; else when to ask
    /// again.
    pub(crate) fn resync_turn(&self, bytes: u32) -> Result<(), Instant> {
        let rate = u128::from(self.settings.resync_bytes_per_second);
        let Some(nanos) = (u128::from(bytes) * 1_000_000_000).checked_div(rate) else {
            return Ok(()); // no limit
        };
        let (now, next) = (self.env.now(), self.resync_next.get());
        if now < next {
            return Err(next);
        }
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.resync_next.set(now + time);
        Ok(())
    }

    /// Takes a link down, outside of the present turn.
    pub(crate) fn cut_later(self: &Rc<Self>, there: ShardId) {
        let shard = self.clone();
        drop(self.env.spawn(async move {
            yield_now().await;
            if let Some(links) = shard.links() {
                links.cut(there);
            }
        }));
    }

    /// Takes the link to a replica down.
    pub(crate) fn cut_peer(self: &Rc<Self>, target: TargetId) {
        if let Some(there) = self.shard_of(target) {
            self.cut_later(there);
        }
    }

    /// What waits, for people who look for the reason of a delay.
    pub(crate) fn log_load(&self) {
        let ((waiting, running), waited) = (self.admission.load(), self.lanes.waited.take());
        if 0 < waiting || 0 < waited {
            tracing::debug!(core = %self.core, waiting, running, waited,
                "requests wait for their turn, payloads have waited for room");
        }
    }

    /// A store has left service: none of its targets serves any more.
    pub(crate) fn store_failed(&self, home: &Rc<Home<E>>) {
        let why = home.store.failure().unwrap_or_default();
        tracing::error!(store = %home.id, why, "a store is out of service");
        for target in self.all_targets() {
            if Rc::ptr_eq(&target.home, home) {
                target.close();
            }
        }
        self.report_now();
    }

    /// For the heartbeat.
    pub(crate) fn state(&self) -> ShardState {
        for home in &self.homes {
            let open = |t: &Rc<Target<E>>| Rc::ptr_eq(&t.home, home) && !t.is_closed();
            if home.store.failure().is_some() && self.targets.borrow().values().any(open) {
                self.store_failed(home);
            }
        }
        self.clear_damage();
        let targets = self.targets.borrow();
        let (timeline, drained) = self.drained.get();
        let targets = targets.values().map(|target| target.report(self.core)).collect();
        let (nudge, asks) = (self.nudge.replace(false), self.asks.take());
        ShardState { timeline, drained, targets, nudge, asks }
    }

    /// A store has everything again once each of its targets was brought up to date (S8).
    fn clear_damage(&self) {
        for home in self.homes.iter().filter(|home| home.store.is_damaged()) {
            let targets = self.targets.borrow();
            let mut own = targets.values().filter(|target| Rc::ptr_eq(&target.home, home));
            let any = own.clone().next().is_some();
            if any && own.all(|target| target.is_whole()) {
                let (store, id) = (home.store.clone(), home.id);
                drop(self.env.spawn(async move {
                    yield_now().await;
                    match store.clear_damage().await {
                        Ok(()) => tracing::info!(store = %id, "damage is made good"),
                        Err(error) => tracing::warn!(store = %id, %error, "still damaged"),
                    }
                }));
            }
        }
    }

    pub(crate) fn set_shards(&self, shards: Vec<ShardAt>) {
        *self.shards.borrow_mut() = shards;
    }

    pub(crate) fn shards(&self) -> Vec<ShardAt> {
        self.shards.borrow().clone()
    }

    /// The node has its name: links may be made.
    pub(crate) fn registered(self: &Rc<Self>, node: NodeId) {
        if self.node.replace(Some(node)).is_some() {
            return;
        }
        let me = ShardId { node, core: self.core };
        let mut net = NetConfig::clone(&self.net);
        net.local.identity.node = node;
        let links = Links::new(&self.env, Rc::new(net), me, Rc::downgrade(self));
        *self.links.borrow_mut() = Some(links);
        drop(self.env.spawn(self.clone().keep_peers()));
        drop(self.env.spawn(self.clone().keep_fences()));
        drop(self.env.spawn(self.clone().forget_ended()));
        self.adopt();
    }

    /// Newer routing info.
    pub(crate) fn follow(self: &Rc<Self>, routing: Arc<RoutingInfo>) {
        let before = self.places();
        *self.routing.borrow_mut() = routing;
        self.tell_places(&before);
        self.adopt();
        self.routing_changed.notify();
        self.peers_changed();
    }

    /// Where the peers of all targets live, as far as that is known.
    fn places(&self) -> BTreeMap<(TargetId, Peer), Option<ShardId>> {
        let targets = self.all_targets();
        let each = targets.iter().flat_map(|target| {
            let peers = target.peers().into_iter();
            peers.map(|peer| ((target.own.target, peer), self.shard_of(peer.target)))
        });
        each.collect()
    }

    /// A peer is found on another shard than before, or at all: what was said to it went elsewhere.
    fn tell_places(&self, before: &BTreeMap<(TargetId, Peer), Option<ShardId>>) {
        let Some(links) = self.links() else { return };
        for ((target, peer), now) in self.places() {
            let former = before.get(&(target, peer)).copied().flatten();
            let Some(target) = self.target(target).filter(|_| now != former) else { continue };
            if former.is_some_and(|former| links.is_up(former)) {
                target.step(Event::LinkDown { peer });
            }
            if now.is_some_and(|now| links.is_up(now)) {
                target.step(Event::LinkUp { peer });
            }
        }
    }

    /// A lease was granted.
    pub(crate) fn granted(&self, grant: Grant) {
        if let Some(target) = self.target(grant.target) {
            target.granted(grant);
        }
    }

    /// Chain versions that an answer to a heartbeat wants installed.
    pub(crate) fn moved(&self, timeline: Timeline, moves: &[Move]) {
        for step in moves {
            if let Some(target) = self.target(step.target) {
                target.chain_arrived(timeline, &step.info);
            }
        }
    }

    /// Tells each target its chain, and creates those that are new here.
    fn adopt(self: &Rc<Self>) {
        let routing = self.routing();
        for target in self.all_targets() {
            if routing.targets.contains_key(&target.own.target) {
                target.named.set(Some(routing.timeline));
            }
            let Some(chain) = routing.chains.get(&target.chain) else { continue };
            if was_removed(&routing, chain, &target) {
                self.drop_target(&target);
            } else {
                target.chain_arrived(routing.timeline, chain);
            }
        }
        let Some(me) = self.node.get() else { return };
        for (&target, info) in routing.targets.iter().filter(|(_, info)| info.node == me) {
            let known = self.targets.borrow().contains_key(&target);
            if known || !self.creating.borrow_mut().insert(target) {
                continue;
            }
            let Some(home) = self.home_for(&routing, target) else {
                self.creating.borrow_mut().remove(&target);
                continue;
            };
            let chain = info.chain;
            let shard = self.clone();
            drop(self.env.spawn(async move {
                yield_now().await;
                shard.create(&home, target, chain).await;
                shard.creating.borrow_mut().remove(&target);
            }));
        }
    }

    /// An operator has removed a target from its chain: what its store holds of it goes.
    fn drop_target(self: &Rc<Self>, target: &Rc<Target<E>>) {
        tracing::warn!(target = %target.own.target, chain = %target.chain, "was removed: dropped");
        target.close();
        self.targets.borrow_mut().remove(&target.own.target);
        target.home.drop_slot(target.slot);
        self.report_now();
        self.peers_changed();
    }

    /// The store that a target belongs into: the registered one, or a new one in its place, of
    /// which nobody has heard (a disk that was exchanged).
    fn home_for(&self, routing: &RoutingInfo, target: TargetId) -> Option<Rc<Home<E>>> {
        let info = routing.targets.get(&target)?;
        if let Some(home) = self.homes.iter().find(|home| home.id == info.store) {
            return Some(home.clone());
        }
        let named: BTreeSet<_> = routing.targets.values().map(|info| info.store).collect();
        let new = |home: &&Rc<Home<E>>| !named.contains(&home.id);
        self.homes.iter().find(new).filter(|_| info.core == self.core).cloned()
    }

    async fn create(
        self: &Rc<Self>,
        home: &Rc<Home<E>>,
        target: TargetId,
        chain: engine_types::ChainId,
    ) {
        let Some(slot) = home.store.vacant_slot() else {
            return tracing::error!(%target, store = %home.id, "no slot is free for a target");
        };
        let record = TargetRecord {
            target,
            chain,
            chain_version: ChainVersion::default(),
            incarnation: Incarnation::new(1),
            named: Some(self.routing().timeline),
            phase: TargetPhase::Active,
        };
        if let Err(error) = home.store.set_target(slot, Some(record)).await {
            return tracing::error!(%target, store = %home.id, %error, "cannot create a target");
        }
        tracing::info!(%target, %chain, store = %home.id, "target created");
        let created = Target::new(self, home, slot, record);
        self.targets.borrow_mut().insert(target, created.clone());
        created.measure_space();
        if let Some(info) = self.routing().chains.get(&chain) {
            created.chain_arrived(self.routing().timeline, info);
        }
        self.report_now();
    }

    /// Where these shards listen, and whether those are all.
    pub(crate) fn find_shards(
        &self,
        routing: &RoutingInfo,
        wanted: &BTreeSet<ShardId>,
    ) -> (BTreeMap<ShardId, SocketAddr>, bool) {
        let shards = self.shards.borrow();
        let own = self.node.get().map(|node| (node, &shards[..]));
        self.addresses.find(routing, wanted, own)
    }

    /// Keeps links to the shards of all neighbours.
    async fn keep_peers(self: Rc<Self>) {
        loop {
            let changed = self.peers_wanted.notified();
            let routing = self.routing();
            let mut wanted = BTreeSet::new();
            for target in self.all_targets() {
                let peers = target.peers();
                wanted.extend(peers.iter().filter_map(|peer| self.shard_of(peer.target)));
            }
            let learned = self.addresses.learned().notified();
            let (found, whole) = self.find_shards(&routing, &wanted);
            if let Some(links) = self.links() {
                links.want(found);
            }
            let more = first(changed, learned);
            if whole {
                more.await;
            } else {
                let again = self.env.now() + PEERS_PAUSE;
                let _ = until(&self.env, again, more).await;
            }
        }
    }
}

/// Whether its chain goes on without it. That routing info does not name a target is not enough: a
/// KV that came back from a backup may not know of it (R20). Its chain in a version that is newer
/// than what the target has installed does, if routing info of this timeline has named it before.
fn was_removed<E: Env>(routing: &RoutingInfo, chain: &ChainInfo, target: &Target<E>) -> bool {
    let id = target.own.target;
    let listed = chain.members.iter().any(|member| member.target == id);
    let newer = target.version() < chain.version;
    // It was named in the same timeline: nothing was restored since.
    let was_named = target.named.get() == Some(routing.timeline);
    was_named && newer && !listed && !routing.targets.contains_key(&id)
}
