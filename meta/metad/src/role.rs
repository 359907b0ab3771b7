//! The meta role: what `emberfs meta serve` runs, and what simulation runs.
//!
//! ```text
//!   start ── counted in the KV ── superblock and root ── session ── routing ──> term: files,
//!     ^                                                                         collector, driver
//!     └───────────────────────── the session is lost <──────────────────────────────┘
//! ```
//! A term is what hangs on one session with the storage nodes. If managers have ended it (nobody
//! heard of this process for the session's timeout) a new one begins in the same process, like a
//! new start: what the former one had under way is refused everywhere by then (L6).
//!
//! The managers know a service as a node without replicas: its heartbeats keep it in the routing
//! info, by which clients find it.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::rc::Rc;

use client_storage::{Storage, StorageConfig};
use engine_net::{NetConfig, Server};
use engine_runtime::{CancelToken, Env, First, Listener as _, first};
use engine_types::limits::DRAIN_TIME_MAX;
use engine_types::{
    ChainTable, ChainTableId, ChunkSize, Incarnation, InodeId, Instant, NodeId, NodeRole, Timeline,
};
use meta_kv::Kv;
use meta_schema::{LayoutTemplate, Superblock};
use mgmt_client::{Agent, AgentEnd, Follower, ManagerError, Managers, NodeState, Report, Session};
use mgmt_cluster::heartbeat::Move;
use mgmt_cluster::lease::Grant;
use mgmt_cluster::registry::Registration;
use mgmt_cluster::session::Client;
use mgmt_protocol::RefusalCode;

use crate::call::Store;
use crate::chunks::NodeChunks;
use crate::ctx::{Table, Tables};
use crate::deletion::{Collector, DeletionSettings};
use crate::driver::{Driver, turn};
use crate::files::Files;
use crate::mkfs::{self, OpenError};
use crate::service::{MetaService, REQUESTS_DEFAULT};
use crate::starts::{self, Start, StartError};

/// What the role is given.
pub struct Role<K> {
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Who it is, and the cluster and secret that peers have to have.
    pub net: Rc<NetConfig>,
    /// The KV with the namespace.
    pub kv: K,
    /// The managers.
    pub managers: Vec<SocketAddr>,
    /// Its number among the metadata services. Two processes with one number end each other.
    pub number: u32,
    /// Its process, for people.
    pub process: u32,
    /// Where it runs, for people.
    pub host: String,
    /// `host:port` that others are told; empty for where it listens.
    pub addresses: Vec<String>,
    /// What may be set.
    pub settings: Settings,
}

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What files are made of in a file system that is made by this start.
    pub root_layout: LayoutTemplate,
    /// Requests that are worked on at the same time.
    pub requests: u32,
    /// How fast removal goes.
    pub deletion: DeletionSettings,
}

impl Default for Settings {
    fn default() -> Self {
        let chunk_size = ChunkSize::new(4 << 20).expect("a power of two");
        let root_layout = LayoutTemplate { chunk_size, stripe: 16, table: ChainTableId::new(1) };
        Self { root_layout, requests: REQUESTS_DEFAULT, deletion: DeletionSettings::default() }
    }
}

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// A listener cannot be had.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The KV does not hold what it should.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The record of the service's starts is damaged, or full.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The managers do not let it take part.
    #[error("the cluster refuses this service: {why}")]
    Refused {
        /// In their words.
        why: String,
    },
}

/// First pause before something is tried again that failed; it doubles.
const AGAIN_MIN: Duration = Duration::from_millis(100);
/// Longest pause: what a restart of the KV or of the managers takes.
const AGAIN_MAX: Duration = Duration::from_secs(2);
/// Time for one attempt to open a session.
const SESSION_TIME: Duration = Duration::from_secs(10);
/// How long a service that stops tries to end its session: else it runs out.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// Serves metadata until `stop` ends; `ready` is told where it listens. Afterwards requests that
/// were under way are answered, and its session has ended.
///
/// # Errors
/// [`RoleError`]. A KV or managers that do not answer are waited for.
pub async fn run<E: Env, K: Kv>(
    env: &E,
    role: Role<K>,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<(), RoleError> {
    let listener = env.listen(role.listen)?;
    let managers = Managers::new(env, role.net.clone(), role.managers.clone());
    let follower = Follower::start(&managers);
    let routing = follower.clone();
    let revoked = move |session| routing.routing().is_revoked(session);
    let service = MetaService::new(env, role.settings.requests, Box::new(revoked));
    let address = listener.address();
    let server = Server::start(env, role.net.clone(), listener, service.clone());
    tracing::info!(%address, number = role.number, "meta listens");
    ready(address);
    let addresses = match role.addresses.is_empty() {
        true => vec![address.to_string()],
        false => role.addresses.clone(),
    };
    let life = Life {
        env: env.clone(),
        role,
        managers: managers.clone(),
        follower,
        service: service.clone(),
        addresses,
        me: Rc::default(),
        open: RefCell::default(),
        closing: CancelToken::default(),
    };
    let lives = Box::pin(life.run());
    let ended = match first(stop, lives).await {
        First::Left(()) => Ok(()),
        First::Right(error) => Err(error),
    };
    tracing::info!("meta drains");
    service.stop();
    server.drain(env.now() + DRAIN_TIME_MAX).await;
    service.end();
    life.farewell().await;
    managers.close(env.now() + FAREWELL_TIME).await;
    ended
}

/// The service of one process.
struct Life<E: Env, K: Kv> {
    env: E,
    role: Role<K>,
    managers: Managers<E>,
    follower: Rc<Follower<E>>,
    service: Rc<MetaService<E, K, NodeChunks<E>>>,
    addresses: Vec<String>,
    me: Rc<Cell<Option<NodeId>>>,
    /// The session that was opened last.
    open: RefCell<Option<Rc<Session<E>>>>,
    closing: CancelToken,
}

/// What hangs on one session.
struct Term<E: Env, K: Kv> {
    start: Start,
    session: Rc<Session<E>>,
    files: Files<E, K, NodeChunks<E>>,
    _collector: Collector<E, K, NodeChunks<E>>,
    _driver: Driver<E, K, NodeChunks<E>>,
}

/// Pauses between attempts, longer and longer.
struct Pauses(Duration);

impl Pauses {
    const fn new() -> Self {
        Self(AGAIN_MIN)
    }

    async fn pause<E: Env>(&mut self, env: &E) {
        let nanos = u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(env.random() % (nanos / 2).max(1));
        env.sleep_until(env.now() + (self.0 - jitter)).await;
        self.0 = (self.0 * 2).min(AGAIN_MAX);
    }
}

impl<E: Env, K: Kv> Life<E, K> {
    /// Ends only when the service may not go on.
    async fn run(&self) -> RoleError {
        let term = match self.begin().await {
            Ok(term) => term,
            Err(error) => return error,
        };
        let wanted = Registration {
            node: None,
            uuid: term.start.uuid,
            role: NodeRole::Meta,
            addresses: self.addresses.clone(),
            incarnation: Incarnation::new(term.start.count),
            domain: String::new(),
        };
        let agent = Agent::new(&self.managers, wanted, Rc::new(NoReplicas));
        let mut beats = self.env.spawn(agent.clone().run(self.closing.clone()));
        let me = self.me.clone();
        drop(self.env.spawn(async move { me.set(Some(agent.until_registered().await)) }));
        match first(&mut beats, self.terms(term)).await {
            First::Left(end) => RoleError::Refused { why: why_ended(end) },
            First::Right(error) => error,
        }
    }

    /// One term after the other.
    async fn terms(&self, mut term: Term<E, K>) -> RoleError {
        loop {
            tracing::info!(start = term.start.count, session = %term.session.id(), "meta serves");
            self.service.begin(&term.files);
            let lost = term.session.lost().until(|| term.session.is_lost());
            first(lost, self.follow_tables(&term.files)).await;
            engine_types::reached!("a metadata service begins anew after its session was lost");
            tracing::warn!(session = %term.session.id(), "the session is lost");
            self.service.end();
            drop(term);
            term = match self.begin().await {
                Ok(term) => term,
                Err(error) => return error,
            };
        }
    }

    /// Gives new files the chain tables that there are; never ends.
    async fn follow_tables(&self, files: &Files<E, K, NodeChunks<E>>) {
        loop {
            let changed = self.follower.changed().notified();
            let routing = self.follower.routing();
            let table = |info: &ChainTable| Table {
                version: info.version,
                chains: u32::try_from(info.chains.len()).unwrap_or(u32::MAX),
            };
            let tables = routing.tables.iter().map(|(&id, info)| (id, table(info)));
            files.store().set_tables(tables.collect::<Tables>());
            drop(routing);
            changed.await;
        }
    }

    /// A new term. What does not answer is waited for.
    async fn begin(&self) -> Result<Term<E, K>, RoleError> {
        let (start, session) = self.open().await?;
        let superblock = self.superblock().await?;
        // Without routing info every file that is created would be refused.
        let mut pauses = Pauses::new();
        while self.follower.last_heard() == Instant::ZERO {
            pauses.pause(&self.env).await;
        }
        let (net, follower) = (self.role.net.clone(), self.follower.clone());
        let config = StorageConfig::default();
        let storage = Storage::new(&self.env, net, follower.clone(), session.id(), config);
        let chunks = NodeChunks::new(storage, follower.clone(), self.managers.clone());
        let store = Store::new(&self.env, &self.role.kv, superblock);
        let files = Files::new(&self.env, store, &chunks);
        let (routing, me) = (follower.clone(), self.me.clone());
        let rank = move |ino: InodeId| turn::rank(&routing.routing(), me.get(), ino.get());
        let collector = Collector::ranked(&files, self.role.settings.deletion.clone(), rank);
        let driver = Driver::start(&files, follower, self.me.clone());
        Ok(Term { start, session, files, _collector: collector, _driver: driver })
    }

    /// Counts a start, and opens its session, which ends that of the former start.
    async fn open(&self) -> Result<(Start, Rc<Session<E>>), RoleError> {
        let mut pauses = Pauses::new();
        loop {
            let start = match starts::count(&self.env, &self.role.kv, self.role.number).await {
                Ok(start) => start,
                Err(StartError::Store(error)) => {
                    tracing::warn!(%error, "waiting for the kv");
                    pauses.pause(&self.env).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if let Some(session) = self.session(start).await {
                return Ok((start, session));
            }
            pauses.pause(&self.env).await;
        }
    }

    /// The session of a start; nothing if a later one has begun.
    async fn session(&self, start: Start) -> Option<Rc<Session<E>>> {
        let epoch = u32::try_from(start.count).expect("E457: counts have 32 bits");
        let (uuid, process) = (start.uuid, self.role.process);
        let (name, host) = (format!("meta-{}", self.role.number), self.role.host.clone());
        let client = Client { uuid, epoch, process, name, host };
        let mut pauses = Pauses::new();
        loop {
            let deadline = self.env.now() + SESSION_TIME;
            match Session::open(&self.managers, client.clone(), deadline).await {
                Ok(session) => {
                    *self.open.borrow_mut() = Some(session.clone());
                    return Some(session);
                }
                Err(ManagerError::Refused(refusal))
                    if matches!(
                        refusal.code,
                        RefusalCode::SessionEpoch | RefusalCode::SessionRevoked
                    ) =>
                {
                    tracing::warn!(%refusal, "another start of this service has a session");
                    return None;
                }
                Err(error) => tracing::warn!(%error, "waiting for a session"),
            }
            pauses.pause(&self.env).await;
        }
    }

    async fn superblock(&self) -> Result<Superblock, RoleError> {
        let (kv, cluster) = (&self.role.kv, self.role.net.local.cluster);
        let layout = self.role.settings.root_layout;
        let mut pauses = Pauses::new();
        loop {
            match mkfs::open(&self.env, kv, cluster, layout).await {
                Ok(superblock) => return Ok(superblock),
                Err(OpenError::Store(error)) => tracing::warn!(%error, "waiting for the kv"),
                Err(error) => return Err(error.into()),
            }
            pauses.pause(&self.env).await;
        }
    }

    /// Ends the session, so that nobody waits until it has run out, and the heartbeats.
    async fn farewell(&self) {
        let session = self.open.borrow_mut().take();
        if let Some(session) = session
            && let Err(error) = session.close(self.env.now() + FAREWELL_TIME).await
        {
            tracing::warn!(%error, "the session is not closed, and runs out");
        }
        self.closing.cancel();
    }
}

fn why_ended(end: AgentEnd) -> String {
    match end {
        AgentEnd::Stopped => "the connections to the managers are closed".to_owned(),
        AgentEnd::Unregistered => "it is not registered any more".to_owned(),
        AgentEnd::Replaced { why } | AgentEnd::ClockAway { why } => why,
        AgentEnd::Refused(refusal) => refusal.to_string(),
    }
}

/// A node without replicas: it says that it lives, and is granted nothing.
struct NoReplicas;

impl NodeState for NoReplicas {
    fn report(&self) -> Report {
        Report::default()
    }

    fn granted(&self, _: Grant, _: Instant) {}

    async fn install(&self, _: Timeline, _: Vec<Move>) -> bool {
        false
    }
}
