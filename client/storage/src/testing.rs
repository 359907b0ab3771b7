//! Storage nodes that answer from a script, in a simulated world.
//!
//! All replicas of a chain share one state: what is tested is the client, not replication. What a
//! replica does with a request instead of serving it is said by a script.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_net::{NetConfig, NetLimits, Part, Request, Server, Service};
use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_runtime::{Bytes, Env, Notify};
use engine_types::{
    ChainId, ChainInfo, ChainVersion, ChunkId, ChunkSize, ClusterId, CoreId, Incarnation, InodeId,
    Instant, Member, NodeId, NodeInfo, NodeRole, NodeState, PublicState, RoutingInfo, SessionId,
    Status, StoreId, TargetId, TargetInfo,
};
use engine_wire::Kind;
use engine_wire::bodies::storage::{
    READ_BYTES, READ_MAP, ReadAnswer, ReadItem, ShardAt, StorageQueryReply, StorageQueryRequest,
    StorageReadReply, StorageReadRequest, StorageShardsReply, StorageUpdateReply,
    StorageUpdateRequest, UPDATE_COPY, UPDATE_EXTEND, UPDATE_REMOVE, UPDATE_TRUNCATE, UPDATE_WRITE,
    UPDATE_ZERO, UpdateAnswer, UpdateItem,
};
use engine_wire::bodies::{Body, to_owned};
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};

use crate::{At, Routing, Storage, StorageConfig};

pub(crate) const CLUSTER: ClusterId = ClusterId::new(7);
pub(crate) const SESSION: SessionId = SessionId::new(77);
pub(crate) const SIZE: ChunkSize = ChunkSize::new(64 << 10).unwrap();
const PORT: u16 = 7000;

pub(crate) type SimBytes = Bytes<<SimEnv as Env>::Memory>;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn chain(number: u32) -> ChainId {
    ChainId::new(number).unwrap()
}

pub(crate) fn chunk(index: u32) -> ChunkId {
    ChunkId { inode: InodeId::new(5), index }
}

/// A chunk of chain 1.
pub(crate) fn at(index: u32) -> At {
    At { chain: chain(1), chunk: chunk(index), size: SIZE, epoch: 3 }
}

fn small(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap()
}

/// What an item of a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Read(ReadItem),
    Update(UpdateItem),
    Query(StorageQueryRequest),
}

/// An item that has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) when: Instant,
    pub(crate) node: u32,
    pub(crate) target: u64,
    /// Number of the message.
    pub(crate) message: u64,
    /// CRCs of the message's payload.
    pub(crate) crcs: Vec<u32>,
    pub(crate) what: What,
}

impl Asked {
    pub(crate) fn update(&self) -> UpdateItem {
        let What::Update(item) = self.what else { panic!("{self:?}") };
        item
    }
}

/// What a replica does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Serve,
    /// The item is answered with this.
    Say(Status),
    /// The item is answered so, and with this chain version.
    Stale(u32),
    /// The message is refused.
    Refuse(Status),
    /// Nobody answers the message, ever.
    Silence,
    /// The message is served, and not answered.
    ServeSilently,
    /// The process ends.
    Die,
    Later(Duration, Box<Self>),
}

type Script = Box<dyn FnMut(&Asked) -> Act>;

#[derive(Default)]
struct Chunk {
    version: u32,
    bytes: Vec<u8>,
}

/// The newest request of each channel.
type Done = BTreeMap<(u32, u64, u32), (u64, UpdateAnswer)>;

/// The state of all replicas, and what they were asked.
pub(crate) struct Fake {
    chunks: RefCell<BTreeMap<(u32, u64, u32), Chunk>>,
    /// By chain, session and channel: the newest request and what came of it.
    done: RefCell<Done>,
    pub(crate) executed: RefCell<Vec<UpdateItem>>,
    script: RefCell<Script>,
    log: RefCell<Vec<Asked>>,
    messages: Cell<u64>,
    under_way: RefCell<BTreeMap<(u32, u16), (u32, u32)>>,
    /// Most messages under way at once at one shard.
    pub(crate) peak: Cell<u32>,
    pub(crate) asked_shards: Cell<u32>,
    chain_of: RefCell<BTreeMap<u64, u32>>,
    ports: RefCell<BTreeMap<u32, Vec<u16>>>,
}

impl Fake {
    pub(crate) fn script(&self, script: impl FnMut(&Asked) -> Act + 'static) {
        *self.script.borrow_mut() = Box::new(script);
    }

    pub(crate) fn log(&self) -> Vec<Asked> {
        self.log.borrow().clone()
    }

    /// Updates that arrived, fences aside.
    pub(crate) fn updates(&self) -> Vec<UpdateItem> {
        let update = |asked: &Asked| match asked.what {
            What::Update(item) if item.inode != u64::MAX => Some(item),
            _ => None,
        };
        self.log.borrow().iter().filter_map(update).collect()
    }

    pub(crate) fn fences(&self) -> Vec<UpdateItem> {
        let log = self.log.borrow();
        let updates = log.iter().filter(|asked| matches!(asked.what, What::Update(_)));
        updates.map(Asked::update).filter(|item| item.inode == u64::MAX).collect()
    }

    pub(crate) fn content(&self, chain: u32, index: u32) -> Option<(u32, Vec<u8>)> {
        let chunks = self.chunks.borrow();
        chunks.get(&(chain, 5, index)).map(|chunk| (chunk.version, chunk.bytes.clone()))
    }

    fn read(&self, item: &ReadItem) -> (ReadAnswer, Vec<u8>) {
        let chain = self.chain_of.borrow()[&item.target];
        let chunks = self.chunks.borrow();
        let status = Status::NotFound.code();
        let Some(chunk) = chunks.get(&(chain, item.inode, item.index)) else {
            let absent =
                ReadAnswer { status, chain_version: item.chain_version, ..ReadAnswer::default() };
            return (absent, vec![]);
        };
        let len = chunk.bytes.len();
        let from = (item.offset as usize).min(len);
        let to = (item.offset as usize + item.len as usize).min(len);
        let bytes = match item.what {
            READ_BYTES => chunk.bytes[from..to].to_vec(),
            READ_MAP => {
                [small(from), small(to - from)].iter().flat_map(|w| w.to_le_bytes()).collect()
            }
            _ => vec![],
        };
        let answer = ReadAnswer {
            version: chunk.version,
            chunk_len: small(len),
            bytes: small(bytes.len()),
            chain_version: item.chain_version,
            ..ReadAnswer::default()
        };
        (answer, bytes)
    }

    fn update(&self, item: &UpdateItem, data: &[u8]) -> UpdateAnswer {
        let chain = self.chain_of.borrow()[&item.target];
        let chain_version = item.chain_version;
        let mut done = self.done.borrow_mut();
        let key = (chain, item.session, item.channel);
        match done.get(&key) {
            Some((seq, answer)) if *seq == item.seq => return *answer,
            Some((seq, _)) if item.seq < *seq => {
                let status = Status::OldRequest.code();
                return UpdateAnswer { status, chain_version, ..UpdateAnswer::default() };
            }
            _ => {}
        }
        self.executed.borrow_mut().push(*item);
        let mut chunks = self.chunks.borrow_mut();
        let from = chunks.get(&(chain, item.from_inode, item.from_index));
        let from = from.map(|chunk| chunk.bytes.clone()).unwrap_or_default();
        let place = (chain, item.inode, item.index);
        let chunk = chunks.entry(place).or_default();
        chunk.version += 1;
        let (offset, len) = (item.offset as usize, item.len as usize);
        let mut put = |at: usize, data: &[u8]| {
            let end = chunk.bytes.len().max(at + data.len());
            chunk.bytes.resize(end, 0);
            chunk.bytes[at..at + data.len()].copy_from_slice(data);
        };
        match item.change {
            UPDATE_WRITE => put(offset, data),
            UPDATE_COPY => put(item.to_offset as usize, &from[offset..offset + len]),
            UPDATE_ZERO => put(offset, &vec![0; len]),
            UPDATE_TRUNCATE => chunk.bytes.resize(len, 0),
            UPDATE_EXTEND => chunk.bytes.resize(chunk.bytes.len().max(len), 0),
            UPDATE_REMOVE => chunk.bytes.clear(),
            other => panic!("change {other}"),
        }
        let (version, chunk_len) = (chunk.version, small(chunk.bytes.len()));
        if item.change == UPDATE_REMOVE {
            chunks.remove(&place);
        }
        let answer = UpdateAnswer { version, chunk_len, chain_version, ..UpdateAnswer::default() };
        done.insert(key, (item.seq, answer));
        answer
    }

    fn query(&self, asked: &StorageQueryRequest) -> (StorageQueryReply, Vec<u8>) {
        let chain = self.chain_of.borrow()[&asked.target];
        let chunks = self.chunks.borrow();
        let range = (chain, asked.inode, asked.first)..(chain, asked.inode, asked.end);
        let mut reply =
            StorageQueryReply { chain_version: asked.chain_version, ..Default::default() };
        let mut list = vec![];
        for (&(_, _, index), chunk) in chunks.range(range) {
            let len = small(chunk.bytes.len());
            reply.chunks += 1;
            reply.bytes += u64::from(len);
            reply.allocated += 4096;
            (reply.last_index, reply.last_len) = (index, len);
            if asked.list == 1 {
                list.extend([index, chunk.version, len, 4096].iter().flat_map(|w| w.to_le_bytes()));
            }
        }
        (reply, list)
    }
}

struct Scripted {
    env: SimEnv,
    fake: Rc<Fake>,
    node: u32,
    core: u16,
}

impl Service<SimEnv> for Scripted {
    async fn call(self: Rc<Self>, request: Request<SimEnv>) {
        if request.kind() == Kind::STORAGE_SHARDS {
            self.fake.asked_shards.set(self.fake.asked_shards.get() + 1);
            let ports = self.fake.ports.borrow()[&self.node].clone();
            let shards = (0..).zip(ports).map(|(core, port)| ShardAt { core, port }).collect();
            return request.respond(&StorageShardsReply { shards }, &[]).await;
        }
        self.enter(1);
        self.serve(request).await;
        self.enter(-1);
    }
}

impl Scripted {
    fn enter(&self, change: i32) {
        let mut all = self.fake.under_way.borrow_mut();
        let (now, _) = all.entry((self.node, self.core)).or_default();
        *now = now.checked_add_signed(change).unwrap();
        self.fake.peak.set(self.fake.peak.get().max(*now));
    }

    async fn serve(&self, mut request: Request<SimEnv>) {
        let message = self.fake.messages.get();
        self.fake.messages.set(message + 1);
        let Ok(segments) = request.collect().await else {
            return request.refuse(Status::Aborted).await;
        };
        let crcs: Vec<u32> = segments.iter().flat_map(|s| s.crcs.as_slice().to_vec()).collect();
        let payload: Vec<u8> = segments.iter().flat_map(|s| s.bytes.to_vec()).collect();
        let whats = whats(&request);
        let mut acts = vec![];
        for what in &whats {
            let target = match what {
                What::Read(item) => item.target,
                What::Update(item) => item.target,
                What::Query(item) => item.target,
            };
            let (when, node, crcs, what) = (self.env.now(), self.node, crcs.clone(), *what);
            let asked = Asked { when, node, target, message, crcs, what };
            self.fake.log.borrow_mut().push(asked.clone());
            let mut act = (self.fake.script.borrow_mut())(&asked);
            while let Act::Later(pause, then) = act {
                self.env.sleep_until(self.env.now() + pause).await;
                act = *then;
            }
            acts.push(act);
        }
        for act in &acts {
            match act {
                Act::Refuse(status) => return request.refuse(*status).await,
                Act::Silence => core::future::pending().await,
                Act::Die => {
                    let node = self.node;
                    DYING.with(|dying| dying.set(Some(node)));
                    core::future::pending().await
                }
                _ => {}
            }
        }
        self.answer(request, &whats, &acts, &payload).await;
    }

    async fn answer(
        &self,
        request: Request<SimEnv>,
        whats: &[What],
        acts: &[Act],
        mut payload: &[u8],
    ) {
        let (mut reads, mut updates, mut out) = (vec![], vec![], vec![]);
        let mut silent = false;
        for (what, act) in whats.iter().zip(acts) {
            let said = match act {
                Act::Say(status) => Some((status.code(), None)),
                Act::Stale(version) => Some((Status::StaleChain.code(), Some(*version))),
                act => {
                    silent |= matches!(act, Act::ServeSilently);
                    None
                }
            };
            match (what, said) {
                (What::Read(item), Some((status, version))) => {
                    let chain_version = version.unwrap_or(item.chain_version);
                    reads.push(ReadAnswer { status, chain_version, ..ReadAnswer::default() });
                }
                (What::Read(item), None) => {
                    let (answer, bytes) = self.fake.read(item);
                    reads.push(answer);
                    out.extend(bytes);
                }
                (What::Update(item), said) => {
                    let (mine, rest) = payload.split_at(item.bytes as usize);
                    payload = rest;
                    updates.push(match said {
                        Some((status, version)) => {
                            let chain_version = version.unwrap_or(item.chain_version);
                            UpdateAnswer { status, chain_version, ..UpdateAnswer::default() }
                        }
                        None => self.fake.update(item, mine),
                    });
                }
                (What::Query(item), said) => {
                    let (mut reply, list) = self.fake.query(item);
                    if let Some((status, version)) = said {
                        reply.status = status;
                        reply.chain_version = version.unwrap_or(item.chain_version);
                    }
                    return self.respond(request, &reply, &list).await;
                }
            }
        }
        if silent {
            core::future::pending::<()>().await;
        }
        if updates.is_empty() {
            self.respond(request, &StorageReadReply { items: reads }, &out).await;
        } else {
            self.respond(request, &StorageUpdateReply { items: updates }, &[]).await;
        }
    }

    async fn respond<B: Body>(&self, request: Request<SimEnv>, body: &B, bytes: &[u8]) {
        if bytes.is_empty() {
            return request.respond(body, &[]).await;
        }
        let bytes = buffer(&self.env, bytes);
        request.respond(body, &[Part::plain(bytes)]).await;
    }
}

thread_local! {
    /// The node whose process is to end: a process cannot end itself from a handler.
    static DYING: Cell<Option<u32>> = const { Cell::new(None) };
}

fn whats(request: &Request<SimEnv>) -> Vec<What> {
    match request.kind() {
        Kind::STORAGE_READ => {
            let body =
                to_owned::<StorageReadRequest>(request.body::<StorageReadRequest>().unwrap());
            body.unwrap().items.into_iter().map(What::Read).collect()
        }
        Kind::STORAGE_UPDATE => {
            let body = request.body::<StorageUpdateRequest>().unwrap();
            let body = to_owned::<StorageUpdateRequest>(body);
            body.unwrap().items.into_iter().map(What::Update).collect()
        }
        Kind::STORAGE_QUERY => {
            let body = request.body::<StorageQueryRequest>().unwrap();
            vec![What::Query(to_owned::<StorageQueryRequest>(body).unwrap())]
        }
        kind => panic!("{kind}"),
    }
}

pub(crate) fn buffer(env: &SimEnv, bytes: &[u8]) -> SimBytes {
    let mut buf = env.pool().alloc(bytes.len()).unwrap();
    buf.extend_from_slice(bytes);
    buf.freeze()
}

fn net(role: NodeRole, node: NodeId) -> Rc<NetConfig> {
    let process = StoreId::new(u128::from(node.get()) + 1);
    let identity = Identity { role, node, process, incarnation: Incarnation::new(1) };
    let secret = ClusterSecret::new([7; 32]).unwrap();
    let local = Local { cluster: CLUSTER, identity, secret, versions: Versions::BUILD };
    Rc::new(NetConfig { local, limits: NetLimits::default() })
}

/// Routing info that the test publishes.
pub(crate) struct Published {
    info: RefCell<Rc<RoutingInfo>>,
    changed: Notify,
    pub(crate) refreshes: Cell<u32>,
}

impl Published {
    pub(crate) fn change(&self, change: impl FnOnce(&mut RoutingInfo)) {
        let mut info = RoutingInfo::clone(&self.info.borrow());
        change(&mut info);
        info.version = info.version.next().unwrap();
        info.validate().unwrap();
        *self.info.borrow_mut() = Rc::new(info);
        self.changed.notify();
    }

    /// Makes the members of a chain these; those that are missing are offline.
    pub(crate) fn members(&self, number: u32, serving: &[u64]) {
        self.change(|info| {
            let chain = info.chains.get_mut(&chain(number)).unwrap();
            chain.version = chain.version.next().unwrap();
            let all: Vec<u64> = chain.members.iter().map(|member| member.target.get()).collect();
            let gone = all.into_iter().filter(|target| !serving.contains(target));
            let gone = gone.map(|target| (target, PublicState::Offline));
            let there = serving.iter().map(|&target| (target, PublicState::Serving));
            chain.members =
                there.chain(gone).map(|(target, state)| member(target, state)).collect();
        });
    }
}

impl Routing for Rc<Published> {
    fn current(&self) -> Rc<RoutingInfo> {
        self.info.borrow().clone()
    }

    fn changed(&self) -> Notify {
        self.changed.clone()
    }

    fn refresh(&self) {
        self.refreshes.set(self.refreshes.get() + 1);
    }
}

fn member(target: u64, state: PublicState) -> Member {
    Member { target: TargetId::new(target), state, incarnation: Incarnation::new(1) }
}

/// A node whose clock shows the time of the world, so that times can be compared.
fn spec(name: &str) -> NodeSpec {
    let mut spec = NodeSpec::new(name);
    spec.clock.boot = Some(Duration::ZERO);
    spec
}

/// A world: nodes with one shard per core, a client, and chains. Target `10 c + n` is the replica
/// of chain `c` on node `n`, on core `c` modulo the number of cores.
pub(crate) struct Ground {
    pub(crate) sim: Sim,
    pub(crate) fake: Rc<Fake>,
    pub(crate) routing: Rc<Published>,
    client: NodeId,
}

impl Ground {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, 3, 1, 1)
    }

    pub(crate) fn with(seed: u64, nodes: u32, cores: u16, chains: u32) -> Self {
        let sim = Sim::new(SimConfig::new(seed));
        let mut info = RoutingInfo::empty(CLUSTER);
        let fake = Fake {
            chunks: RefCell::default(),
            done: RefCell::default(),
            executed: RefCell::default(),
            script: RefCell::new(Box::new(|_| Act::Serve)),
            log: RefCell::default(),
            messages: Cell::new(0),
            under_way: RefCell::default(),
            peak: Cell::new(0),
            asked_shards: Cell::new(0),
            chain_of: RefCell::default(),
            ports: RefCell::default(),
        };
        for node in 0..nodes {
            let id = sim.add_node(spec(&format!("storage-{node}")));
            assert_eq!(id.get(), node);
            let addresses = vec![sim.address(id, PORT).to_string()];
            let incarnation = Incarnation::new(1);
            let (role, state) = (NodeRole::Storage, NodeState::Alive);
            info.nodes.insert(id, NodeInfo { role, addresses, incarnation, state });
            fake.ports.borrow_mut().insert(node, (0..cores).map(|core| PORT + core).collect());
        }
        for number in 1..=chains {
            let mut members = vec![];
            for node in 0..nodes {
                let target = u64::from(10 * number + node);
                let core = CoreId::new(u16::try_from(number).unwrap() % cores);
                let (at, store) = (NodeId::new(node), StoreId::new(target.into()));
                let place = TargetInfo { node: at, core, store, chain: chain(number) };
                info.targets.insert(TargetId::new(target), place);
                fake.chain_of.borrow_mut().insert(target, number);
                members.push(member(target, PublicState::Serving));
            }
            let version = ChainVersion::new(1);
            info.chains.insert(chain(number), ChainInfo { version, members });
        }
        info.validate().unwrap();
        let (info, changed) = (RefCell::new(Rc::new(info)), Notify::default());
        let routing = Rc::new(Published { info, changed, refreshes: Cell::new(0) });
        let client = sim.add_node(spec("client"));
        let ground = Self { sim, fake: Rc::new(fake), routing, client };
        (0..nodes).for_each(|node| ground.start(node));
        ground
    }

    /// Starts the process of a node, with the ports that it has now.
    pub(crate) fn start(&self, node: u32) {
        let id = NodeId::new(node);
        let ports = self.fake.ports.borrow()[&node].clone();
        let addresses: Vec<_> = ports.iter().map(|&port| self.sim.address(id, port)).collect();
        let fake = self.fake.clone();
        fake.under_way.borrow_mut().retain(|&(of, _), _| of != node);
        self.sim.start(id, move |env| async move {
            let mut servers = vec![];
            for (core, address) in (0..).zip(addresses) {
                let listener = env.listen(address).unwrap();
                let service = Scripted { env: env.clone(), fake: fake.clone(), node, core };
                let net = net(NodeRole::Storage, id);
                servers.push(Server::start(&env, net, listener, Rc::new(service)));
            }
            core::future::pending::<()>().await;
        });
    }

    /// Other ports for the next start of a node.
    pub(crate) fn move_ports(&self, node: u32, ports: &[u16]) {
        self.fake.ports.borrow_mut().insert(node, ports.to_vec());
    }

    pub(crate) fn config() -> StorageConfig {
        StorageConfig::default()
    }

    /// Runs `main` on the client's node to its end.
    pub(crate) fn run<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        config: StorageConfig,
        main: impl FnOnce(SimEnv, Storage<SimEnv>) -> F + 'static,
    ) -> T {
        let result = self.begin(config, main);
        self.finish(&result)
    }

    /// Starts `main` on the client's node.
    pub(crate) fn begin<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        config: StorageConfig,
        main: impl FnOnce(SimEnv, Storage<SimEnv>) -> F + 'static,
    ) -> Rc<RefCell<Option<T>>> {
        let result = Rc::new(RefCell::new(None));
        let (slot, routing) = (result.clone(), self.routing.clone());
        let net = net(NodeRole::Client, self.client);
        self.sim.start(self.client, move |env| async move {
            let storage = Storage::new(&env, net, routing, SESSION, config);
            let value = main(env.clone(), storage).await;
            *slot.borrow_mut() = Some(value);
        });
        result
    }

    pub(crate) fn finish<T>(&self, result: &RefCell<Option<T>>) -> T {
        for _ in 0..100_000 {
            let going =
                |_: &Sim| result.borrow().is_none() && DYING.with(|dying| dying.get().is_none());
            self.sim.run_while(Duration::from_secs(600), going).unwrap();
            if let Some(node) = DYING.with(Cell::take) {
                self.sim.kill(NodeId::new(node));
                continue;
            }
            break;
        }
        let ended = result.take();
        ended.unwrap_or_else(|| panic!("the client did not end: {}", self.sim.trace_tail()))
    }
}
