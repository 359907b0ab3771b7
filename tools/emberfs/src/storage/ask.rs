//! Asks a node where its shards listen, and each shard how much room its stores have.

use core::net::SocketAddr;
use core::time::Duration;
use std::net::TcpStream;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, anyhow};
use engine_net::{Call, CallError, Client, NetConfig};
use engine_runtime::{Env, First, first};
use engine_types::Status;
use engine_wire::bodies::storage::{
    ShardAt, StorageShardsReply, StorageShardsRequest, StorageSpaceReply, StorageSpaceRequest,
    StoreSpace,
};
use engine_wire::bodies::{self, Body};

use super::listen_default;
use crate::cluster::ClusterFile;
use crate::config::{ClusterSection, Config, HostPort, duration};
use crate::exit::Failure;

/// How often a failed handshake is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What names the cluster file where no flag does.
const CLUSTER_VARIABLE: &str = "EMBERFS_CLUSTER";

/// Which node, and how it is asked.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct NodeArgs {
    /// Where the node, or one of its shards, listens; by default 127.0.0.1:7300.
    #[arg(value_name = "HOST:PORT")]
    address: Option<HostPort>,

    /// Cluster file; by default what the variable EMBERFS_CLUSTER says.
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// Take both from the configuration file of the node.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["address", "cluster"])]
    config: Option<PathBuf>,

    /// Give up after this time without an answer.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,

    /// Print JSON, one document per line.
    #[arg(long)]
    pub(super) json: bool,
}

/// A shard and what it said.
pub(super) struct Shard {
    /// Its core; nothing where an address answers for one shard alone.
    pub(super) core: Option<u16>,
    pub(super) address: SocketAddr,
    /// Its stores, or why it did not answer.
    pub(super) stores: Result<Vec<StoreSpace>, String>,
}

/// Why there is no answer.
enum AskError {
    /// It does not know the question.
    Unsupported,
    /// In words.
    Failed(String),
}

impl NodeArgs {
    /// All shards of the node, at least one; one that does not answer is among them. What is wrong
    /// with the node itself is a failure.
    pub(super) async fn ask<E: Env>(&self, env: &E) -> Result<Vec<Shard>, Failure> {
        let (named, file) = self.named()?;
        let cluster = ClusterFile::read(&file)?;
        let net = cluster.operator(env);
        let address = self.reach(&named)?;
        let timeout = self.timeout;
        let shards: Result<StorageShardsReply, _> =
            ask(env, &net, address, &StorageShardsRequest::default(), timeout).await;
        let places = match shards {
            Ok(reply) if !reply.shards.is_empty() => {
                let of =
                    |shard: &ShardAt| (Some(shard.core), SocketAddr::new(address.ip(), shard.port));
                reply.shards.iter().map(of).collect()
            }
            Ok(_) | Err(AskError::Unsupported) => vec![(None, address)],
            Err(AskError::Failed(why)) => {
                let file = file.display();
                let error = anyhow!("the process at {address} did not let us in: {why}");
                return Err(Failure::environment(error).hint(format!(
                    "is it a storage node of the cluster of {file}? compare with `emberfs cluster \
                     show` there; the secrets must be the same, too"
                )));
            }
        };
        let tasks: Vec<_> = places
            .into_iter()
            .map(|(core, address)| {
                env.spawn(room(env.clone(), net.clone(), core, address, timeout))
            })
            .collect();
        let mut found = Vec::new();
        for task in tasks {
            found.push(task.await);
        }
        if let [Shard { core: None, address, stores: Err(why) }] = &*found {
            return Err(Failure::environment(anyhow!("the process at {address}: {why}")));
        }
        Ok(found)
    }

    fn named(&self) -> Result<(HostPort, PathBuf), Failure> {
        if let Some(path) = &self.config {
            let shown = path.display();
            let config = Config::read(path)?;
            let Some(ClusterSection { file }) = config.cluster else {
                return Err(Failure::usage(anyhow!("{shown} has no section [cluster]")));
            };
            let Some(storage) = config.storage else {
                return Err(Failure::usage(anyhow!("{shown} has no section [storage]")));
            };
            let first = storage.shards.into_iter().next().map(|shard| shard.listen);
            let listen = first.or(storage.listen).unwrap_or_else(listen_default);
            return Ok((listen.reachable(), file));
        }
        let set = std::env::var_os(CLUSTER_VARIABLE).filter(|value| !value.is_empty());
        let file = self.cluster.clone().or(set.map(PathBuf::from)).ok_or_else(|| {
            Failure::usage(anyhow!("no cluster is named")).hint(
                "give --cluster, or set EMBERFS_CLUSTER, to the file that `emberfs cluster \
                 create` made; --config names the file of a storage node instead",
            )
        })?;
        Ok((self.address.clone().unwrap_or_else(listen_default), file))
    }

    /// The first address of the host that takes a connection.
    fn reach(&self, address: &HostPort) -> Result<SocketAddr, Failure> {
        let found = address.resolve().with_context(|| format!("cannot find {address}"));
        let mut last = None;
        for address in found.map_err(Failure::environment)? {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(_) => return Ok(address),
                Err(error) => last = Some(error),
            }
        }
        let last = last.expect("a host has an address");
        let refused = last.kind() == std::io::ErrorKind::ConnectionRefused;
        let error = anyhow::Error::new(last).context(format!("cannot connect to {address}"));
        let hint = if refused {
            "nothing listens there: is `emberfs storage serve` running, and on this port?"
        } else {
            "is the machine up, and does a firewall let it through?"
        };
        Err(Failure::environment(error).hint(hint))
    }
}

/// Asks one shard how much room its stores have.
async fn room<E: Env>(
    env: E,
    net: Rc<NetConfig>,
    core: Option<u16>,
    address: SocketAddr,
    timeout: Duration,
) -> Shard {
    let told: Result<StorageSpaceReply, _> =
        ask(&env, &net, address, &StorageSpaceRequest::default(), timeout).await;
    let stores = told.map(|reply| reply.stores).map_err(|error| match error {
        AskError::Unsupported => "it serves no stores".to_owned(),
        AskError::Failed(why) => why,
    });
    Shard { core, address, stores }
}

/// Asks once. What is wrong is found out at once, not when the request has been tried for as long
/// as it may take.
async fn ask<E: Env, Q: Body, A: Body>(
    env: &E,
    net: &Rc<NetConfig>,
    address: SocketAddr,
    question: &Q,
    timeout: Duration,
) -> Result<A, AskError> {
    let client = Client::new(env, net.clone(), address);
    let asked = client.call(Call::new(question, env.now() + timeout));
    let failed = async {
        loop {
            if let Some(why) = client.metrics().last_failure {
                return why;
            }
            env.sleep_until(env.now() + LOOK_EVERY).await;
        }
    };
    match first(asked, failed).await {
        First::Left(Ok(reply)) => {
            let told = reply.body::<A>().and_then(bodies::to_owned::<A>);
            told.map_err(|error| AskError::Failed(format!("its answer makes no sense: {error}")))
        }
        First::Left(Err(CallError::Refused(Status::UnsupportedKind))) => Err(AskError::Unsupported),
        First::Left(Err(error)) => Err(AskError::Failed(error.to_string())),
        First::Right(why) => Err(AskError::Failed(why)),
    }
}
