//! A check of a cluster by an operator: it comes with a session of its own, so that what it removes
//! or cuts is fenced like anybody's (L6), and gives it back.

use core::net::SocketAddr;
use std::rc::Rc;

use client_storage::{Storage, StorageConfig};
use engine_net::NetConfig;
use engine_types::{Instant, StoreId};
use mgmt_client::{Client, Follower, ManagerError, Managers, Session};

use super::*;
use crate::call::Store;
use crate::chunks::NodeChunks;
use crate::mkfs::{self, OpenError};

/// What a check needs to know of a cluster.
pub struct Cluster<K> {
    /// Who asks, and the cluster and secret that peers have to have.
    pub net: Rc<NetConfig>,
    /// The KV with the namespace.
    pub kv: K,
    /// The managers.
    pub managers: Vec<SocketAddr>,
    /// The process, for people.
    pub process: u32,
    /// Where it runs, for people.
    pub host: String,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The namespace is that of another cluster, or version, or cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store is empty.
    #[error("the key-value store has no file system")]
    NoFileSystem,
    /// Managers did not let it in, or tell of chains.
    #[error("the managers: {0}")]
    Managers(String),
    /// The check itself.
    #[error(transparent)]
    Fsck(#[from] FsckError),
}

/// Time for managers to open a session and to tell of chains.
const BEGIN_TIME: Duration = Duration::from_secs(30);
/// Pause between looks for what they told.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Checks the file system of `cluster`.
///
/// # Errors
/// [`ClusterError`].
pub async fn fsck_cluster<E: Env, K: Kv>(
    env: &E,
    cluster: Cluster<K>,
    settings: FsckSettings,
    progress: impl FnMut(Progress),
) -> Result<FsckReport, ClusterError> {
    let found = mkfs::existing(&cluster.kv, cluster.net.local.cluster).await?;
    let superblock = found.ok_or(ClusterError::NoFileSystem)?;
    let managers = Managers::new(env, cluster.net.clone(), cluster.managers);
    let by = env.now() + BEGIN_TIME;
    let mut uuid = [0; 16];
    env.random_secret(&mut uuid);
    let client = Client {
        uuid: StoreId::new(u128::from_le_bytes(uuid)),
        epoch: 1,
        process: cluster.process,
        name: "fsck".to_owned(),
        host: cluster.host,
    };
    let refused = |error: ManagerError| ClusterError::Managers(error.to_string());
    let session = Session::open(&managers, client, by).await.map_err(refused)?;
    let follower = Follower::start(&managers);
    while follower.last_heard() == Instant::ZERO && env.now() < by {
        env.sleep_until(env.now() + LOOK_EVERY).await;
    }
    let done = match follower.last_heard() == Instant::ZERO {
        true => Err(ClusterError::Managers("they do not tell which chains there are".to_owned())),
        false => {
            let config = StorageConfig::default();
            let storage = Storage::new(env, cluster.net, follower.clone(), session.id(), config);
            let chunks = NodeChunks::new(storage.clone(), follower, managers.clone());
            let files = Files::new(env, Store::new(env, &cluster.kv, superblock), &chunks);
            let done = fsck(&files, settings, progress).await;
            storage.close(env.now() + BEGIN_TIME).await;
            done.map_err(ClusterError::from)
        }
    };
    if let Err(error) = session.close(env.now() + BEGIN_TIME).await {
        tracing::warn!(%error, "the session is not closed, and runs out");
    }
    managers.close(env.now() + BEGIN_TIME).await;
    done
}
