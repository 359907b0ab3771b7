//! Asks a node where its shards listen, and then each shard something.

use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::anyhow;
use engine_net::{Client, NetConfig};
use engine_runtime::Env;
use engine_wire::bodies::Body;
use engine_wire::bodies::storage::{
    StorageShardsReply, StorageShardsRequest, StorageSpaceReply, StorageSpaceRequest, StoreSpace,
};

use super::listen_default;
use crate::cluster::ClusterFile;
use crate::config::{Config, HostPort, duration, no_section};
use crate::exit::Failure;
use crate::reach::{self, AskError};

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
pub(super) struct Shard<T> {
    /// Its core; nothing where an address answers for one shard alone.
    pub(super) core: Option<u16>,
    pub(super) address: SocketAddr,
    /// What it was asked for, or why it did not answer.
    pub(super) told: Result<T, String>,
}

/// A connection to one shard.
pub(super) struct Line<E: Env> {
    env: E,
    client: Client<E>,
    timeout: Duration,
}

impl<E: Env> Line<E> {
    /// Asks once.
    pub(super) async fn ask<Q: Body, A: Body>(&self, question: &Q) -> Result<A, String> {
        let told = reach::ask(&self.env, &self.client, question, self.timeout).await;
        told.map_err(|error| {
            error.words("it does not know the question: compare `emberfs --version` there")
        })
    }
}

impl NodeArgs {
    /// The stores of all shards of the node.
    pub(super) async fn stores<E: Env>(
        &self,
        env: &E,
    ) -> Result<Vec<Shard<Vec<StoreSpace>>>, Failure> {
        let room = async |line: Line<E>| {
            let told: StorageSpaceReply = line.ask(&StorageSpaceRequest::default()).await?;
            Ok(told.stores)
        };
        self.each(env, room).await
    }

    /// Asks all shards of the node, at least one; one that does not answer is among them. What is
    /// wrong with the node itself is a failure.
    pub(super) async fn each<E: Env, T: 'static, F>(
        &self,
        env: &E,
        question: impl Fn(Line<E>) -> F,
    ) -> Result<Vec<Shard<T>>, Failure>
    where
        F: Future<Output = Result<T, String>> + 'static,
    {
        let (named, file) = self.named()?;
        let net = ClusterFile::read(&file)?.operator(env);
        let address = reach::connect(&named, self.timeout, "storage")?;
        let places = self.places(env, &net, address).await;
        let places = places.map_err(|error| error.failure(address, "storage node", &file))?;
        let tasks = places.into_iter().map(|(core, address)| {
            let client = Client::new(env, net.clone(), address);
            let line = Line { env: env.clone(), client, timeout: self.timeout };
            (core, address, env.spawn(question(line)))
        });
        let tasks: Vec<_> = tasks.collect();
        let mut found = Vec::new();
        for (core, address, task) in tasks {
            found.push(Shard { core, address, told: task.await });
        }
        if let [Shard { core: None, address, told: Err(why) }] = &*found {
            return Err(Failure::environment(anyhow!("the process at {address}: {why}")));
        }
        Ok(found)
    }

    /// The shards of the node that listens at `address`.
    async fn places<E: Env>(
        &self,
        env: &E,
        net: &Rc<NetConfig>,
        address: SocketAddr,
    ) -> Result<Vec<(Option<u16>, SocketAddr)>, AskError> {
        let client = Client::new(env, net.clone(), address);
        let question = StorageShardsRequest::default();
        let told: StorageShardsReply = reach::ask(env, &client, &question, self.timeout).await?;
        if told.shards.is_empty() {
            return Ok(vec![(None, address)]);
        }
        let at = |port| SocketAddr::new(address.ip(), port);
        Ok(told.shards.iter().map(|shard| (Some(shard.core), at(shard.port))).collect())
    }

    fn named(&self) -> Result<(HostPort, PathBuf), Failure> {
        if let Some(path) = &self.config {
            let config = Config::read(path)?;
            let file = config.cluster_file(path)?;
            let storage = config.storage.ok_or_else(|| no_section(path, "storage"))?;
            let first = storage.shards.into_iter().next().map(|shard| shard.listen);
            let listen = first.or(storage.listen).unwrap_or_else(listen_default);
            return Ok((listen.reachable(), file));
        }
        let file = self.cluster.clone().or_else(reach::cluster_variable);
        let file = file.ok_or_else(|| reach::no_cluster("storage node"))?;
        Ok((self.address.clone().unwrap_or_else(listen_default), file))
    }
}
