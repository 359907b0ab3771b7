//! Storage clients of tests, and what tests learn from the commands of operators.

use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use client_storage::{At, MetricsSnapshot, Routing, Storage, StorageConfig};
use engine_net::NetConfig;
use engine_runtime::monoio::MonoioEnv;
use engine_runtime::{Bytes, CoreSpec, Env};
use engine_types::{ChainId, ChunkId, ChunkSize, Incarnation, InodeId, NodeId, NodeRole, StoreId};
use engine_wire::handshake::Identity;
use mgmt_client::{Follower, Managers, Session};
use mgmt_cluster::session::Client;
use serde_json::Value;
use tools_cluster::{Cluster, Name};

use crate::support::net;

/// Every operation succeeds within this, whatever is killed meanwhile: leases of 2 s, a start and a
/// catch-up lie in between, on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Of every chunk that tests write.
pub(crate) const CHUNK_BYTES: u32 = 64 << 10;
/// Memory of a client's core.
const POOL_BYTES: usize = 64 << 20;

/// Which cluster a client is of; goes to other threads.
#[derive(Clone)]
pub(crate) struct Whereabouts {
    file: PathBuf,
    managers: Vec<SocketAddr>,
}

impl Whereabouts {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self { file: cluster.cluster_file(), managers: cluster.managers() }
    }
}

/// With EMBERFS_LOG in the environment, whatever it says, clients tell what they do: for whoever
/// looks for the reason of a figure.
fn log() {
    if std::env::var_os("EMBERFS_LOG").is_some() {
        let lines = tracing_subscriber::fmt().with_writer(std::io::stderr);
        let lines = lines.with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG);
        let _ = lines.try_init(); // another client did it already
    }
}

/// A member of the cluster with a session of its own; it lives as long as this.
pub(crate) struct Member {
    pub(crate) env: MonoioEnv,
    pub(crate) net: Rc<NetConfig>,
    pub(crate) session: Rc<Session<MonoioEnv>>,
    pub(crate) follower: Rc<Follower<MonoioEnv>>,
}

impl Member {
    /// Opens a session, and waits until there are chains.
    pub(crate) async fn new(env: &MonoioEnv, at: &Whereabouts, name: &str) -> Self {
        log();
        let uuid = StoreId::new(u128::from(env.random()));
        let identity = Identity {
            role: NodeRole::Client,
            node: NodeId::default(),
            process: uuid,
            incarnation: Incarnation::new(1),
        };
        let net = net(at.file.to_str().unwrap(), identity);
        let managers = Managers::new(env, net.clone(), at.managers.clone());
        let (name, host) = (name.to_owned(), "here".to_owned());
        let client = Client { uuid, epoch: 1, process: std::process::id(), name, host };
        let session = Session::open(&managers, client, env.now() + DEADLINE).await.unwrap();
        let follower = Follower::start(&managers);
        follower.until(|routing| !routing.chains.is_empty()).await;
        Self { env: env.clone(), net, session, follower }
    }

    /// A client that finds its way by `routing`.
    pub(crate) fn storage_by(&self, routing: impl Routing) -> Storage<MonoioEnv> {
        let config = StorageConfig { deadline: DEADLINE, ..StorageConfig::default() };
        Storage::new(&self.env, self.net.clone(), routing, self.session.id(), config)
    }

    /// A client.
    pub(crate) fn storage(&self) -> Storage<MonoioEnv> {
        self.storage_by(self.follower.clone())
    }

    /// All chains.
    pub(crate) fn chains(&self) -> Vec<ChainId> {
        self.follower.routing().chains.keys().copied().collect()
    }
}

/// Runs a client on a core of its own, in this thread, until it has done its part.
pub(crate) fn with_client<T: 'static, F: Future<Output = T> + 'static>(
    cluster: &Cluster,
    part: impl FnOnce(Member, Storage<MonoioEnv>) -> F + 'static,
) -> T {
    let at = Whereabouts::of(cluster);
    let spec = CoreSpec { pool_bytes: POOL_BYTES, ..CoreSpec::new("client") };
    let main = async move |env: MonoioEnv| {
        let member = Member::new(&env, &at, "client").await;
        let storage = member.storage();
        let told = part(member, storage.clone()).await;
        storage.close(env.now() + Duration::from_secs(1)).await;
        told
    };
    engine_runtime::monoio::run(spec, main).unwrap()
}

/// A chunk of a file that no other test has.
pub(crate) fn chunk(file: u64, chain: ChainId, index: u32) -> At {
    let inode = InodeId::new((file << 32) + u64::from(chain.get()));
    let size = ChunkSize::new(CHUNK_BYTES).unwrap();
    At { chain, chunk: ChunkId { inode, index }, size, epoch: 0 }
}

/// Bytes in memory that can be sent.
pub(crate) async fn lent(env: &MonoioEnv, bytes: &[u8]) -> Vec<Bytes<<MonoioEnv as Env>::Memory>> {
    let mut data = env.pool().alloc_wait(bytes.len()).await.unwrap();
    data.set_len(bytes.len());
    data.whole_mut()[..bytes.len()].copy_from_slice(bytes);
    vec![data.freeze()]
}

/// Attempts without success, of all classes.
pub(crate) fn retried(metrics: &MetricsSnapshot) -> u64 {
    metrics.retries.values().sum()
}

/// Documents of a command, which ends with `code`.
pub(crate) fn told(cluster: &Cluster, line: &[&str], code: i32) -> Vec<Value> {
    let said = cluster.emberfs(&[line, &["--json"]].concat()).unwrap();
    assert_eq!(said.status.code(), Some(code), "{line:?}: {} {}", said.out, said.err);
    said.documents()
}

/// Documents of a command, which succeeds.
pub(crate) fn good(cluster: &Cluster, line: &[&str]) -> Vec<Value> {
    told(cluster, line, 0)
}

/// A field that is text.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// What a node says of its targets, whatever they do.
pub(crate) fn targets(cluster: &Cluster, name: Name) -> Vec<Value> {
    let address = cluster.address(name).unwrap().to_string();
    let said = cluster.emberfs(&["storage", "targets", &address, "--json"]).unwrap();
    assert!(matches!(said.status.code(), Some(0 | 1)), "{name}: {} {}", said.out, said.err);
    said.documents()
}

/// A sum over the targets of a node.
pub(crate) fn sum(targets: &[Value], field: &str) -> u64 {
    targets.iter().map(|target| target[field].as_u64().unwrap()).sum()
}

/// Names of the nodes of a chain's members, in the order of the chain.
pub(crate) fn members(cluster: &Cluster, chain: ChainId) -> Vec<Name> {
    let nodes = good(cluster, &["node", "list", "--role", "storage"]);
    let number = |domain: &str| domain.strip_prefix("storage-").unwrap().parse().unwrap();
    let names = nodes
        .iter()
        .map(|node| (text(&node["node"]), Name::Storage(number(node["domain"].as_str().unwrap()))));
    let names: BTreeMap<String, Name> = names.collect();
    let chains = good(cluster, &["chain", "list"]);
    let chain = chains.iter().find(|row| row["chain"] == chain.to_string()).unwrap();
    let members = chain["members"].as_array().unwrap();
    members.iter().map(|member| names[member["node"].as_str().unwrap()]).collect()
}
