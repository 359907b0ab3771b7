//! Nodes with one shard each, which talk over links, and the checker of what arrives.
//!
//! Every link life of a sender has a number, and what it sends counts up within that life. The
//! checker thus sees at the receiver alone whether a life arrived in order, from its beginning,
//! without a gap, and in one life of the receiver only (E360, E361).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::time::Duration;

use engine_craq::{Digest, Message, Peer, Version, Walk};
use engine_links::{Arrived, Chunklet, Description, Item, Links, Owner, ShardId, StreamId};
use engine_net::{NetConfig, NetLimits, Request, Server, Service};
use engine_runtime::Env;
use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_store::Change;
use engine_store::address::TruncateEpoch;
use engine_types::{
    ChainVersion, ChunkId, ChunkSize, ChunkVersion, ClusterId, CoreId, Incarnation, InodeId,
    NodeId, NodeRole, Status, StoreId, TargetId,
};
use engine_wire::Kind;
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};

pub(crate) const PORT: u16 = 7000;

pub(crate) fn shard(node: u32) -> ShardId {
    ShardId { node: NodeId::new(node), core: CoreId::new(0) }
}

fn config(node: NodeId, start: u64) -> Rc<NetConfig> {
    let identity = Identity {
        role: NodeRole::Storage,
        node,
        process: StoreId::new(u128::from(node.get()) + 1),
        incarnation: Incarnation::new(start),
    };
    let local = Local {
        cluster: ClusterId::new(7),
        identity,
        secret: ClusterSecret::new([7; 32]).unwrap(),
        versions: Versions::BUILD,
    };
    Rc::new(NetConfig { local, limits: NetLimits::default() })
}

/// What one side has seen of a life of its link.
#[derive(Debug, Default)]
struct Life {
    /// The sender's life, and the number that is next.
    from: Option<(u64, u64)>,
    /// Streams that are arriving: the bytes so far.
    streams: BTreeMap<u64, usize>,
}

/// What all nodes have seen.
#[derive(Default)]
pub(crate) struct Log {
    next_life: Cell<u64>,
    /// Lives of senders of which something has arrived.
    seen: RefCell<BTreeSet<u64>>,
    pub(crate) arrived: Cell<u64>,
    /// Whatever else arrived.
    pub(crate) lists: RefCell<Vec<Item>>,
    pub(crate) bytes: Cell<u64>,
    pub(crate) ups: Cell<u64>,
    pub(crate) downs: Cell<u64>,
    /// Streams that ended: complete, given up.
    pub(crate) complete: Cell<u64>,
    pub(crate) given_up: Cell<u64>,
}

fn count(cell: &Cell<u64>, by: u64) {
    cell.set(cell.get() + by);
}

/// The owner of a shard's links.
pub(crate) struct Shard {
    pub(crate) env: SimEnv,
    pub(crate) me: ShardId,
    log: Rc<Log>,
    links: RefCell<Option<Rc<Links<SimEnv, Self>>>>,
    /// Of the present link to each peer: the own life with the next number, and what arrives.
    up: RefCell<BTreeMap<ShardId, (u64, u64, Life)>>,
    next_stream: Cell<u64>,
    /// Pause between two pieces of a stream.
    pub(crate) pause: Cell<Duration>,
}

impl Owner<SimEnv> for Shard {
    fn link_up(&self, peer: ShardId) {
        let life = self.log.next_life.get() + 1;
        self.log.next_life.set(life);
        count(&self.log.ups, 1);
        self.env.note(format!("{} has link {life} to {peer}", self.me));
        let before = self.up.borrow_mut().insert(peer, (life, 0, Life::default()));
        assert!(before.is_none(), "E362: up twice");
        assert!(self.links().is_up(peer));
    }

    fn link_down(&self, peer: ShardId) {
        count(&self.log.downs, 1);
        let before = self.up.borrow_mut().remove(&peer);
        self.env.note(format!("{} loses link to {peer}", self.me));
        assert!(before.is_some(), "E362: down twice");
        assert!(!self.links().is_up(peer));
    }

    fn arrived(&self, from: ShardId, arrived: Arrived<SimEnv>) {
        let mut up = self.up.borrow_mut();
        let (_, _, life) = up.get_mut(&from).expect("E361: something arrives without a link");
        let Arrived { item, segments } = arrived;
        match item {
            Item::Message { message, payload, .. } => {
                self.message(life, message);
                if let Some((stream, _)) = payload {
                    let before = life.streams.insert(stream.0, 0);
                    assert!(before.is_none(), "a stream begins twice");
                }
            }
            Item::Piece { stream, end } => {
                let before = life.streams.get_mut(&stream.0).expect("a stream begins first");
                for segment in &segments {
                    for (index, byte) in segment.bytes.iter().enumerate() {
                        assert_eq!(*byte, pattern(stream.0, *before + index), "bytes in order");
                    }
                    *before += segment.bytes.len();
                    count(&self.log.bytes, segment.bytes.len() as u64);
                }
                if let Some(complete) = end {
                    let len = life.streams.remove(&stream.0).unwrap();
                    assert!(!complete || len == stream_len(stream.0), "all of a stream");
                    count(if complete { &self.log.complete } else { &self.log.given_up }, 1);
                }
            }
            list => self.log.lists.borrow_mut().push(list),
        }
    }
}

impl Shard {
    fn message(&self, life: &mut Life, message: Message) {
        let (Message::Stored { walk, digest, .. }
        | Message::Forward { walk, digest: Some(digest), .. }) = message
        else {
            panic!("nobody sends {message:?}");
        };
        let (number, sender) = (walk.0, digest.0);
        match life.from {
            None => {
                assert_eq!(number, 0, "E360: the first one is missing");
                assert!(self.log.seen.borrow_mut().insert(sender), "E361: a life arrives twice");
            }
            Some(expected) => assert_eq!((sender, number), expected, "E360: in order, no gap"),
        }
        life.from = Some((sender, number + 1));
        count(&self.log.arrived, 1);
    }

    pub(crate) fn links(&self) -> Rc<Links<SimEnv, Self>> {
        self.links.borrow().clone().unwrap()
    }

    pub(crate) fn is_up(&self, peer: ShardId) -> bool {
        self.links().is_up(peer)
    }

    /// Names of what is sent next.
    fn next(&self, to: ShardId) -> Option<(u64, u64)> {
        if !self.is_up(to) {
            return None;
        }
        let mut up = self.up.borrow_mut();
        let (life, number, _) = up.get_mut(&to)?;
        *number += 1;
        Some((*life, *number - 1))
    }

    /// Says something small. False without a link.
    pub(crate) fn say(&self, to: ShardId) -> bool {
        let Some((life, number)) = self.next(to) else { return false };
        let digest = Digest(life);
        let message = Message::Stored { walk: Walk(number), at: at(), digest };
        self.links().send(to, self.item(to, message, None), Vec::new());
        true
    }

    /// Announces a stream and gives its name.
    pub(crate) fn begin(&self, to: ShardId) -> Option<StreamId> {
        let (life, number) = self.next(to)?;
        self.next_stream.set(self.next_stream.get() + 1);
        let stream = StreamId(self.next_stream.get());
        let digest = Some(Digest(life));
        let (walk, removal, tag) = (Walk(number), false, None);
        let message = Message::Forward { walk, at: at(), removal, tag, digest };
        let change = Change::Write { offset: 0, len: stream_len(stream.0) as u32 };
        let epoch = TruncateEpoch::default();
        let description = Description { change, size: ChunkSize::MAX, epoch, extents: vec![] };
        let item = self.item(to, message, Some((stream, description)));
        self.links().send(to, item, Vec::new());
        Some(stream)
    }

    /// Sends the bytes of a stream in pieces; false when the link went meanwhile.
    pub(crate) async fn stream(&self, to: ShardId, stream: StreamId, give_up: bool) -> bool {
        let len = stream_len(stream.0);
        let mut sent = 0;
        let mut step = 1 + self.env.random() as usize % (256 << 10);
        while sent < len {
            let piece = step.min(len - sent);
            let bytes = bytes(&self.env, stream.0, sent, piece).await;
            self.env.sleep_until(self.env.now() + self.pause.get()).await;
            self.links().room(to, 1 << 20).await;
            if !self.is_up(to) {
                return false; // if another link is up by now, it drops the pieces (E368)
            }
            if give_up && len / 2 < sent {
                let end = Some(false);
                self.links().send(to, Item::Piece { stream, end }, vec![]);
                return true;
            }
            let phase = (sent & 0xffff) as u32;
            let offset = sent as u32;
            sent += piece;
            let chunklet = Chunklet { bytes, offset, block_shift: 16, phase, crcs: None };
            let end = (sent == len).then_some(true);
            self.links().send(to, Item::Piece { stream, end }, vec![chunklet]);
            step = 1 + self.env.random() as usize % (256 << 10);
        }
        true
    }

    fn item(
        &self,
        to: ShardId,
        message: Message,
        payload: Option<(StreamId, Description)>,
    ) -> Item {
        let (from, to, chain) = (peer(self.me), peer(to), ChainVersion::new(3));
        Item::Message { from, to, chain, message, payload }
    }
}

pub(crate) fn peer(shard: ShardId) -> Peer {
    let target = TargetId::new(u64::from(shard.node.get()) + 100);
    Peer { target, incarnation: Incarnation::new(1) }
}

fn at() -> Version {
    let chunk = ChunkId { inode: InodeId::new(1), index: 0 };
    Version { chunk, version: ChunkVersion::new(1) }
}

/// Streams have lengths of all magnitudes, by their name.
pub(crate) fn stream_len(stream: u64) -> usize {
    [1, 100, 4096, 20_000, 70_000, 300_000, 1 << 20, 5 << 20][stream as usize % 8]
}

fn pattern(stream: u64, offset: usize) -> u8 {
    (stream as usize).wrapping_mul(31).wrapping_add(offset.wrapping_mul(7) >> 3) as u8
}

async fn bytes(
    env: &SimEnv,
    stream: u64,
    from: usize,
    len: usize,
) -> engine_runtime::Bytes<<SimEnv as Env>::Memory> {
    let mut buf = env.pool().alloc_wait(len).await.unwrap();
    buf.set_len(len);
    for (index, byte) in buf.whole_mut()[..len].iter_mut().enumerate() {
        *byte = pattern(stream, from + index);
    }
    buf.freeze()
}

struct Relay(Rc<Shard>);

impl Service<SimEnv> for Relay {
    async fn call(self: Rc<Self>, request: Request<SimEnv>) {
        match request.kind() {
            Kind::STORAGE_LINK => self.0.links().serve_link(request).await,
            Kind::STORAGE_RELAY => self.0.links().serve_relay(request).await,
            _ => request.refuse(Status::UnsupportedKind).await,
        }
    }
}

/// The world, and the shards that run in it now.
pub(crate) struct Ground {
    pub(crate) sim: Sim,
    pub(crate) log: Rc<Log>,
    pub(crate) shards: Rc<RefCell<BTreeMap<u32, Rc<Shard>>>>,
    count: u32,
}

impl Ground {
    /// `count` nodes, all of which want links to all, also to themselves.
    pub(crate) fn new(seed: u64, count: u32) -> Self {
        Self::with(seed, count, |_| {})
    }

    pub(crate) fn with(seed: u64, count: u32, edit: impl FnOnce(&mut SimConfig)) -> Self {
        let mut config = SimConfig::new(seed);
        edit(&mut config);
        let sim = Sim::new(config);
        for node in 0..count {
            assert_eq!(sim.add_node(NodeSpec::new(&format!("node-{node}"))).get(), node);
        }
        let ground = Self { sim, log: Rc::default(), shards: Rc::default(), count };
        for node in 0..count {
            ground.start(node);
        }
        ground
    }

    pub(crate) fn start(&self, node: u32) {
        let (log, shards) = (self.log.clone(), self.shards.clone());
        let id = NodeId::new(node);
        let address = |node| self.sim.address(NodeId::new(node), PORT);
        let peers: BTreeMap<_, _> =
            (0..self.count).map(|peer| (shard(peer), address(peer))).collect();
        let (own, start) = (address(node), self.sim.starts(id) + 1);
        self.sim.start(id, move |env| async move {
            let listener = env.listen(own).expect("the port is free");
            let net = config(id, start);
            let shard = Rc::new(Shard {
                env: env.clone(),
                me: shard(node),
                log,
                links: RefCell::new(None),
                up: RefCell::default(),
                next_stream: Cell::new(env.random() >> 8),
                pause: Cell::new(Duration::ZERO),
            });
            let weak: Weak<Shard> = Rc::downgrade(&shard);
            *shard.links.borrow_mut() = Some(Links::new(&env, net.clone(), shard.me, weak));
            let server = Server::start(&env, net, listener, Rc::new(Relay(shard.clone())));
            shard.links().want(peers);
            shards.borrow_mut().insert(node, shard.clone());
            while let Some(_signal) = env.signals().expect("simulated signals").recv().await {}
            server.stop();
        });
    }

    pub(crate) fn stop(&self, node: u32, crash: bool) {
        self.shards.borrow_mut().remove(&node);
        match crash {
            true => self.sim.crash(NodeId::new(node)),
            false => self.sim.kill(NodeId::new(node)),
        }
    }

    pub(crate) fn shard(&self, node: u32) -> Rc<Shard> {
        self.shards.borrow()[&node].clone()
    }

    pub(crate) fn run(&self, time: Duration) {
        if let Err(failure) = self.sim.run_for(time) {
            panic!("{failure}\n{}", self.sim.trace_tail());
        }
    }

    /// Runs until `done`, which must be soon.
    pub(crate) fn until(&self, limit: Duration, what: &str, done: impl Fn(&Self) -> bool) {
        match self.sim.run_while(limit, |_| !done(self)) {
            Ok(true) => {}
            Ok(false) => panic!("not {what} after {limit:?}\n{}", self.sim.trace_tail()),
            Err(failure) => panic!("{failure}\n{}", self.sim.trace_tail()),
        }
    }

    /// Whether all have links to all.
    pub(crate) fn is_whole(&self) -> bool {
        let shards = self.shards.borrow();
        let pairs = (0..self.count).flat_map(|a| (0..self.count).map(move |b| (a, b)));
        let mut apart = pairs.filter(|(a, b)| a != b);
        apart.all(|(a, b)| shards.get(&a).is_some_and(|one| one.is_up(shard(b))))
    }

    pub(crate) fn until_whole(&self) {
        self.until(Duration::from_secs(20), "connected", Self::is_whole);
    }
}

/// Runs a case in worlds with different seeds.
pub(crate) fn worlds(case: impl Fn(u64)) {
    for seed in 0..12 {
        case(seed);
    }
}
