//! `emberfs mgmt serve`: takes part as a cluster manager, in the foreground, until it is told to
//! stop.
//!
//! One line on standard output says that it listens, and where; it becomes primary or stands by
//! from then on. SIGTERM and SIGINT hand the lease over, answer what is under way and end with 0;
//! a second one ends at once, and the next manager takes over when the lease has run out.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, anyhow};
use engine_net::NetConfig;
use engine_runtime::{CancelToken, Env};
use engine_types::{Incarnation, NodeId, NodeRole};
use engine_wire::handshake::Identity;
use meta_kv::OwnKv;
use meta_kvd::Remote;
use mgmt_cluster::lease::{BEAT_MIN, LeaseTimes};
use mgmt_mgmtd::{Role, TakeoverError};
use serde::Serialize;

use super::{NODE_DEFAULT, kv, listen_default, name_default};
use crate::cluster::{ClusterFile, random_process};
use crate::config::{
    ClusterSection, Config, HostPort, Label, MgmtSection, Needs, check_addresses, duration,
};
use crate::exit::{Exit, Failure};
use crate::log;
use crate::output::Output;
use crate::serve;

const EXAMPLES: &str = "\
Examples:
  emberfs mgmt serve --config /etc/emberfs/mgmt.toml
  emberfs mgmt serve --cluster cluster.toml                       with the kv at 127.0.0.1:7100
  emberfs mgmt serve --cluster cluster.toml --node 2 --listen 10.0.0.2:7200 --kv 10.0.0.5:7100
  emberfs mgmt serve --config mgmt.toml --listen 127.0.0.1:0 --json     a free port, told as JSON

Start as many as you like, each with another --node; one of them is primary. The very first founds
the cluster in the key-value store. One line says that it listens. Ctrl-C or SIGTERM hand over and
end it; a second one ends it at once. Flags override the file, whose keys `emberfs config validate
--help` shows.";

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Configuration file; its sections cluster and mgmt count.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Cluster file.
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// Where it listens; port 0 is a free one. By default 127.0.0.1:7200, for this machine alone.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<HostPort>,

    /// What others are told instead of where it listens; needed if that is 0.0.0.0 or ::.
    #[arg(long, value_name = "HOST:PORT,..", value_delimiter = ',')]
    advertise: Vec<HostPort>,

    /// Where the key-value store is served; by default 127.0.0.1:7100.
    #[arg(long, value_name = "HOST:PORT")]
    kv: Option<HostPort>,

    /// Number of this manager, which no other one has; by default 1.
    #[arg(long, value_name = "N")]
    node: Option<u32>,

    /// Name of the cluster, if this manager founds it; by default emberfs.
    #[arg(long, value_name = "NAME")]
    name: Option<Label>,

    /// Lease of the primary, shorter than any setting allows: for tests that kill managers.
    #[arg(long, value_name = "TIME", value_parser = test_times, hide = true)]
    test_primary_lease: Option<LeaseTimes>,

    /// Print the line that says it is ready as JSON.
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    log: log::LogArgs,
}

/// Times for tests: as short as they may be, with a storage lease of four heartbeats.
fn test_times(text: &str) -> Result<LeaseTimes, String> {
    let primary: Duration = duration(text)?;
    let drift = LeaseTimes::DEFAULT.drift_ppm();
    let times = LeaseTimes::new_for_tests(BEAT_MIN, BEAT_MIN * 4, primary, drift);
    times.map_err(|error| error.to_string())
}

/// What flags and file come to.
struct Settings {
    cluster: ClusterFile,
    listen: SocketAddr,
    advertise: Vec<HostPort>,
    kv: SocketAddr,
    node: NodeId,
    name: Label,
}

impl Settings {
    fn new(args: &Args) -> Result<Self, Failure> {
        let config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        let of_file = config.cluster.map(|ClusterSection { file }| file);
        let cluster = args.cluster.clone().or(of_file);
        let needs = Needs { file: args.config.as_deref(), flags: "--cluster" };
        let cluster = cluster.ok_or_else(|| needs.missing("cluster", "--cluster"))?;
        let MgmtSection { listen, advertise, kv, node, name } = config.mgmt.unwrap_or_default();
        let listen = args.listen.clone().or(listen).unwrap_or_else(listen_default);
        let told = !args.advertise.is_empty();
        let advertise = if told { args.advertise.clone() } else { advertise };
        check_addresses(&listen, &advertise)
            .map_err(|(key, why)| Failure::usage(anyhow!("--{key}: {why}")))?;
        let kv = args.kv.clone().or(kv).unwrap_or_else(crate::kv::listen_default);
        let first = |address: &HostPort, what: &str| {
            let found = address.resolve().with_context(|| format!("{what} {address}"));
            Ok::<_, Failure>(found.map_err(Failure::environment)?[0])
        };
        Ok(Self {
            cluster: ClusterFile::read(&cluster)?,
            listen: first(&listen, "cannot listen on")?,
            advertise,
            kv: first(&kv, "cannot find the kv")?,
            node: NodeId::new(args.node.or(node).unwrap_or(NODE_DEFAULT)),
            name: args.name.clone().or(name).unwrap_or_else(name_default),
        })
    }

    fn net<E: Env>(&self, env: &E, incarnation: Incarnation) -> Rc<NetConfig> {
        let (role, process) = (NodeRole::Manager, random_process(env));
        self.cluster.net(Identity { role, node: self.node, process, incarnation })
    }
}

/// That it listens.
#[derive(Serialize)]
struct Ready {
    address: String,
    /// What others are told.
    advertise: Vec<String>,
    node: u32,
    cluster: String,
    kv: String,
    process: u32,
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    args.log.begin()?;
    let settings = Settings::new(args)?;
    let signals = env.signals().context("signals").map_err(Failure::environment)?;
    serve::free(env, settings.listen).await?;
    let stop = CancelToken::default();
    let cut = "another manager takes over when the lease has run out";
    drop(env.spawn(serve::obey("mgmt", cut, signals, stop.clone())));
    // A clock that was set back gives a start an older number: managers with a lease count, and
    // none of them is told apart by order, so that is harmless.
    let incarnation = Incarnation::new(env.wall().nanos());
    let net = settings.net(env, incarnation);
    let remote = Remote::new(env, net.clone(), settings.kv);
    let role = Role {
        listen: settings.listen,
        net: net.clone(),
        kv: OwnKv::new(env.clone(), remote),
        me: settings.node,
        incarnation,
        addresses: settings.advertise.iter().map(HostPort::to_string).collect(),
        name: settings.name.to_string(),
        times: args.test_primary_lease,
    };
    let mut told = Ok(());
    let ready = |address| {
        told = ready(out, &settings, address);
        drop(env.spawn(kv::watch("mgmt", env.clone(), net, settings.kv)));
    };
    let ended = mgmt_mgmtd::role::run(env, role, ready, stop.cancelled()).await;
    ended.map_err(|error| refused(error, settings.listen))?;
    told?;
    eprintln!("emberfs mgmt: stopped");
    Ok(Exit::Ok)
}

/// Why it does not manage, or no longer: records that it cannot act on are a problem of the kv.
fn refused(error: io::Error, listen: SocketAddr) -> Failure {
    match error.downcast::<TakeoverError>() {
        Ok(error @ TakeoverError::OtherCluster { .. }) => {
            Failure::problem(error).hint("each cluster has a kv of its own; see --kv and --cluster")
        }
        Ok(error) => Failure::problem(error).hint("restore a backup of the kv: emberfs kv restore"),
        Err(error) => serve::refused(&error, listen),
    }
}

/// Says that it listens. Who does not read it any more does not end the service.
fn ready(out: &mut Output, settings: &Settings, address: SocketAddr) -> Result<(), Failure> {
    let (cluster, process) = (settings.cluster.id, std::process::id());
    let Settings { node, kv, .. } = settings;
    let address = address.to_string();
    let mut advertise: Vec<String> = settings.advertise.iter().map(HostPort::to_string).collect();
    if advertise.is_empty() {
        advertise.push(address.clone());
    }
    if out.json {
        let (cluster, kv) = (cluster.to_string(), kv.to_string());
        out.document(&Ready { address, advertise, node: node.get(), cluster, kv, process })?;
    } else {
        let told = advertise.join(", ");
        out.line(&format!(
            "emberfs mgmt: ready on {address}: manager {node} of cluster {cluster}, told as \
             {told}, kv at {kv} (process {process})"
        ))?;
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests;
