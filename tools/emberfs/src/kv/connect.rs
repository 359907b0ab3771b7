//! The way to a served store.

use core::net::SocketAddr;
use core::time::Duration;
use std::net::TcpStream;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use engine_net::{Call, CallError, Client};
use engine_runtime::{Env, First, first};
use engine_types::{ClusterId, Status};
use engine_wire::bodies::{self, KvStatusReply, KvStatusRequest};
use meta_kvd::Remote;

use super::listen_default;
use crate::cluster::ClusterFile;
use crate::config::{ClusterSection, Config, HostPort, duration};
use crate::exit::Failure;

/// How often a failed handshake is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Which served store.
#[derive(Debug, clap::Args)]
pub(super) struct Served {
    /// Address of the store's process; by default 127.0.0.1:7100.
    #[arg(long, value_name = "HOST:PORT", requires = "cluster")]
    address: Option<HostPort>,

    /// Cluster file.
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
        self.cluster.is_some() || self.config.is_some()
    }

    /// Connects and asks for the status. What is wrong is found out at once, not when a request
    /// has been tried for as long as it may take.
    pub(super) async fn connect<E: Env>(&self, env: &E) -> Result<Connected<E>, Failure> {
        let (address, file) = self.target()?;
        let cluster = ClusterFile::read(&file)?;
        let address = self.reach(&address)?;
        let remote = Remote::new(env, cluster.operator(env), address);
        let status = ask(env, remote.client(), self.timeout).await.map_err(|why| {
            let file = file.display();
            let error = anyhow!("the process at {address} did not let us in: {why}");
            Failure::environment(error).hint(format!(
                "is it a kv of the cluster of {file}? compare with `emberfs cluster show` there; \
                 the secrets must be the same, too"
            ))
        })?;
        Ok(Connected { address, cluster: cluster.id, remote, status })
    }

    fn target(&self) -> Result<(HostPort, PathBuf), Failure> {
        let Some(path) = &self.config else {
            let address = self.address.clone().unwrap_or_else(listen_default);
            let file = self.cluster.clone().ok_or_else(|| {
                Failure::usage(anyhow!("no store is named"))
                    .hint("give --cluster, with --address unless it is 127.0.0.1:7100, or --config")
            })?;
            return Ok((address, file));
        };
        let config = Config::read(path)?;
        let Some(ClusterSection { file }) = config.cluster else {
            return Err(Failure::usage(anyhow!("{} has no section [cluster]", path.display())));
        };
        let listen = config.kv.and_then(|kv| kv.listen).unwrap_or_else(listen_default);
        Ok((listen.reachable(), file))
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
            "nothing listens there: is `emberfs kv serve` running, and on this port?"
        } else {
            "is the machine up, and does a firewall let it through?"
        };
        Err(Failure::environment(error).hint(hint))
    }
}

/// Asks a served store how it is. What is wrong is found out at once, as in `Served::connect`.
pub(crate) async fn ask<E: Env>(
    env: &E,
    client: &Client<E>,
    timeout: Duration,
) -> Result<KvStatusReply, String> {
    let body = KvStatusRequest { reserved: 0 };
    let asked = client.call(Call::new(&body, env.now() + timeout));
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
            let told = reply.body::<KvStatusReply>();
            let told = told.and_then(bodies::to_owned::<KvStatusReply>);
            told.map_err(|error| format!("its answer makes no sense: {error}"))
        }
        First::Left(Err(CallError::Refused(Status::UnsupportedKind))) => {
            Err("it serves no key-value store".to_owned())
        }
        First::Left(Err(error)) => Err(error.to_string()),
        First::Right(why) => Err(why),
    }
}
