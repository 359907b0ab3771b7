//! `emberfs meta serve`: serves metadata, in the foreground, until it is told to stop.
//!
//! One line on standard output says that it listens, and where; requests are done from the moment
//! on at which the key-value store and the managers have answered. SIGTERM and SIGINT answer what
//! is under way, end the service's session and end with 0; a second one ends at once, which costs
//! nobody anything but the time to ask another service.

use core::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, anyhow};
use engine_net::NetConfig;
use engine_runtime::{CancelToken, Env};
use engine_types::{Incarnation, NodeId, NodeRole};
use engine_wire::handshake::Identity;
use meta_kv::OwnKv;
use meta_kvd::Remote;
use meta_metad::{Role, RoleError, Settings as Work};
use serde::Serialize;

use super::{NODE_DEFAULT, listen_default};
use crate::cluster::{ClusterFile, random_process};
use crate::config::{ClusterSection, Config, HostPort, Needs, check_addresses};
use crate::exit::{Exit, Failure};
use crate::log;
use crate::output::Output;
use crate::serve;
use crate::size::ByteSize;

const EXAMPLES: &str = "\
Examples:
  emberfs meta serve --config /etc/emberfs/meta.toml
  emberfs meta serve --cluster cluster.toml       with kv and manager of this machine
  emberfs meta serve --cluster cluster.toml --node 2 --listen 10.0.0.2:7400 \\
      --kv 10.0.0.5:7100 --managers 10.0.0.6:7200,10.0.0.7:7200
  emberfs meta serve --config meta.toml --listen 127.0.0.1:0 --json     a free port, told as JSON

Start as many as you like, each with another --node: two with the same one end each other. The very
first makes the file system; its chunk size and stripe are those of all files, unless a directory
says otherwise, and later ones change nothing. One line says that it listens. Ctrl-C or SIGTERM
answer what is under way and end it; a second one ends it at once. Flags override the file, whose
keys `emberfs config validate --help` shows.";

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Configuration file; its sections cluster and meta count.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Cluster file.
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// Where it listens; port 0 is a free one. By default 127.0.0.1:7400, for this machine alone.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<HostPort>,

    /// What others are told instead of where it listens; needed if that is 0.0.0.0 or ::.
    #[arg(long, value_name = "HOST:PORT,..", value_delimiter = ',')]
    advertise: Vec<HostPort>,

    /// Where the key-value store is served; by default 127.0.0.1:7100.
    #[arg(long, value_name = "HOST:PORT")]
    kv: Option<HostPort>,

    /// Some or all managers; by default 127.0.0.1:7200.
    #[arg(long, value_name = "HOST:PORT,..", value_delimiter = ',')]
    managers: Vec<HostPort>,

    /// Number of this service, which no other one has; by default 1.
    #[arg(long, value_name = "N")]
    node: Option<u32>,

    /// Requests that are worked on at the same time; by default 1024.
    #[arg(long, value_name = "N")]
    requests: Option<u32>,

    /// Chunk size of a file system that is made now; by default 4MiB.
    #[arg(long, value_name = "SIZE")]
    chunk_size: Option<ByteSize>,

    /// Chains of a file of a file system that is made now; by default 16.
    #[arg(long, value_name = "N")]
    stripe: Option<u32>,

    /// Print the line that says it listens as JSON.
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    log: log::LogArgs,
}

/// What flags and file come to.
struct Settings {
    cluster: ClusterFile,
    listen: SocketAddr,
    advertise: Vec<HostPort>,
    kv: SocketAddr,
    managers: Vec<SocketAddr>,
    node: u32,
    work: Work,
}

impl Settings {
    fn new(args: &Args) -> Result<Self, Failure> {
        let config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        let of_file = config.cluster.map(|ClusterSection { file }| file);
        let cluster = args.cluster.clone().or(of_file);
        let needs = Needs { file: args.config.as_deref(), flags: "--cluster" };
        let cluster = cluster.ok_or_else(|| needs.missing("cluster", "--cluster"))?;
        let mut section = config.meta.unwrap_or_default();
        let listen = args.listen.clone().or(section.listen.take()).unwrap_or_else(listen_default);
        if !args.advertise.is_empty() {
            section.advertise.clone_from(&args.advertise);
        }
        check_addresses(&listen, &section.advertise)
            .map_err(|(key, why)| Failure::usage(anyhow!("--{key}: {why}")))?;
        if !args.managers.is_empty() {
            section.managers.clone_from(&args.managers);
        }
        if section.managers.is_empty() {
            section.managers.push(crate::mgmt::listen_default());
        }
        section.requests = args.requests.or(section.requests);
        section.chunk_size = args.chunk_size.or(section.chunk_size);
        section.stripe = args.stripe.or(section.stripe);
        let work = section
            .settings()
            .map_err(|(key, why)| Failure::usage(anyhow!("--{}: {why}", key.replace('_', "-"))))?;
        let kv = args.kv.clone().or(section.kv).unwrap_or_else(crate::kv::listen_default);
        let first = |address: &HostPort, what: &str| {
            let found = address.resolve().with_context(|| format!("{what} {address}"));
            Ok::<_, Failure>(found.map_err(Failure::environment)?[0])
        };
        let managers = section.managers.iter();
        let managers = managers.map(|manager| first(manager, "cannot find the manager"));
        Ok(Self {
            cluster: ClusterFile::read(&cluster)?,
            listen: first(&listen, "cannot listen on")?,
            advertise: section.advertise,
            kv: first(&kv, "cannot find the kv")?,
            managers: managers.collect::<Result<_, _>>()?,
            node: args.node.or(section.node).unwrap_or(NODE_DEFAULT),
            work,
        })
    }

    fn net<E: Env>(&self, env: &E) -> Rc<NetConfig> {
        // Which start this is the role counts in the store; peers tell processes apart by this.
        let incarnation = Incarnation::new(env.wall().nanos());
        let (role, node, process) = (NodeRole::Meta, NodeId::new(self.node), random_process(env));
        self.cluster.net(Identity { role, node, process, incarnation })
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
    let cut = "clients ask another service";
    drop(env.spawn(serve::obey("meta", cut, signals, stop.clone())));
    let net = settings.net(env);
    let role = Role {
        listen: settings.listen,
        kv: OwnKv::new(env.clone(), Remote::new(env, net.clone(), settings.kv)),
        net: net.clone(),
        managers: settings.managers.clone(),
        number: settings.node,
        process: std::process::id(),
        host: host(),
        addresses: settings.advertise.iter().map(HostPort::to_string).collect(),
        settings: settings.work.clone(),
    };
    let mut told = Ok(());
    let ready = |address| {
        told = ready(out, &settings, address);
        drop(env.spawn(crate::mgmt::watch_kv("meta", env.clone(), net, settings.kv)));
    };
    let ended = meta_metad::run(env, role, ready, stop.cancelled()).await;
    ended.map_err(|error| refused(error, settings.listen))?;
    told?;
    eprintln!("emberfs meta: stopped");
    Ok(Exit::Ok)
}

/// Letters of a host's name that managers are told; Linux allows as many.
const HOST_CHARS_MAX: usize = 64;

/// The name of this machine, for people; empty if it has none.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().chars().take(HOST_CHARS_MAX).collect()
}

/// Why it does not serve, or no longer.
fn refused(error: RoleError, listen: SocketAddr) -> Failure {
    match error {
        RoleError::Io(source) => serve::refused(&source, listen),
        error @ RoleError::Open(_) => Failure::problem(error)
            .hint("each cluster has a kv of its own, and a format its version; see --kv"),
        error @ RoleError::Start(_) => {
            Failure::problem(error).hint("start it with another --node, which no service has")
        }
        error @ RoleError::Refused { .. } => Failure::problem(error).hint(
            "another process with the same --node has started; emberfs node list shows services",
        ),
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
        out.document(&Ready { address, advertise, node: *node, cluster, kv, process })?;
    } else {
        let told = advertise.join(", ");
        out.line(&format!(
            "emberfs meta: ready on {address}: service {node} of cluster {cluster}, told as \
             {told}, kv at {kv} (process {process})"
        ))?;
    }
    Ok(out.flush()?)
}
