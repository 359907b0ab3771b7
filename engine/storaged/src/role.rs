//! The storage role: what `emberfs storage serve` runs, and what simulation runs.

use core::future::Future;
use core::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use engine_net::NetConfig;
use engine_runtime::{CoreSpec, Env};
use engine_shard::StoreConfig;

/// One shard of a node.
#[derive(Clone, Debug)]
pub struct ShardSpec {
    /// The core that it runs on; nothing: the core that runs the node itself, for one shard alone.
    pub core: Option<CoreSpec>,
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Its stores, formatted.
    pub stores: Vec<PathBuf>,
}

/// What the role is given.
#[derive(Clone)]
pub struct Role {
    /// Its shards, at least one. Where the first one listens is where the node is found.
    pub shards: Vec<ShardSpec>,
    /// Who it is, and the cluster and secret that peers have to have.
    pub net: Rc<NetConfig>,
    /// The managers.
    pub managers: Vec<SocketAddr>,
    /// The file that keeps the node's name and counts its starts; made if it is not there.
    pub identity: PathBuf,
    /// `host:port` that others are told; empty for where the first shard listens.
    pub addresses: Vec<String>,
    /// Failure domain: targets of one chain lie in different ones.
    pub domain: String,
    /// Settings of every store.
    pub store: StoreConfig,
}

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// A listener, a core or the identity file cannot be had.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What came of it.
        source: std::io::Error,
    },
    /// A store cannot be opened.
    #[error("store {path}: {why}")]
    Store {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// The managers do not let it take part.
    #[error("the cluster refuses this node: {why}")]
    Refused {
        /// In their words.
        why: String,
    },
}

/// Serves the stores until `stop` ends; `ready` is told where the first shard listens. Afterwards
/// nothing is served, the managers know that, and the stores are closed.
///
/// # Errors
/// [`RoleError`].
pub async fn run<E: Env>(
    _env: &E,
    _role: Role,
    _ready: impl FnOnce(SocketAddr),
    _stop: impl Future<Output = ()>,
) -> Result<(), RoleError> {
    Err(RoleError::Refused { why: "not built yet".to_owned() })
}
