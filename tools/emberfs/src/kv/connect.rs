//! The way to a served store.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use engine_net::Client;
use engine_runtime::Env;
use engine_types::ClusterId;
use engine_wire::bodies::{KvStatusReply, KvStatusRequest};
use meta_kvd::Remote;

use super::listen_default;
use crate::cluster::ClusterFile;
use crate::config::{Config, HostPort, duration};
use crate::exit::Failure;
use crate::reach::{self, AskError};

/// Which served store.
#[derive(Debug, clap::Args)]
pub(super) struct Served {
    /// Address of the store's process; by default 127.0.0.1:7100.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<HostPort>,

    /// Cluster file; by default what the variable EMBERFS_CLUSTER says.
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// Take both from the configuration file of that process.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["address", "cluster"])]
    config: Option<PathBuf>,

    /// Give up after this time without an answer.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(super) timeout: Duration,
}

/// A connection that has answered.
pub(super) struct Connected<E: Env> {
    pub(super) address: SocketAddr,
    pub(super) cluster: ClusterId,
    pub(super) remote: Remote<E>,
    /// What it answered.
    pub(super) status: KvStatusReply,
}

impl Served {
    /// Whether a served store is meant.
    pub(super) fn is_given(&self) -> bool {
        let told = self.address.is_some() || self.cluster.is_some() || self.config.is_some();
        told || reach::cluster_variable().is_some()
    }

    /// Connects and asks for the status. What is wrong is found out at once, not when a request
    /// has been tried for as long as it may take.
    pub(super) async fn connect<E: Env>(&self, env: &E) -> Result<Connected<E>, Failure> {
        let (address, file) = self.target()?;
        let cluster = ClusterFile::read(&file)?;
        let address = reach::connect(&address, self.timeout, "kv")?;
        let remote = Remote::new(env, cluster.operator(env), address);
        let status = ask(env, remote.client(), self.timeout).await;
        let status = status.map_err(|error| error.failure(address, "kv", &file))?;
        Ok(Connected { address, cluster: cluster.id, remote, status })
    }

    fn target(&self) -> Result<(HostPort, PathBuf), Failure> {
        let Some(path) = &self.config else {
            let address = self.address.clone().unwrap_or_else(listen_default);
            let file = self.cluster.clone().or_else(reach::cluster_variable);
            let file = file.ok_or_else(|| reach::no_cluster("kv"))?;
            return Ok((address, file));
        };
        let config = Config::read(path)?;
        let file = config.cluster_file(path)?;
        let listen = config.kv.and_then(|kv| kv.listen).unwrap_or_else(listen_default);
        Ok((listen.reachable(), file))
    }
}

/// Asks a served store how it is. What is wrong is found out at once, as in `Served::connect`.
pub(crate) async fn ask<E: Env>(
    env: &E,
    client: &Client<E>,
    timeout: Duration,
) -> Result<KvStatusReply, AskError> {
    reach::ask(env, client, &KvStatusRequest { reserved: 0 }, timeout).await
}
