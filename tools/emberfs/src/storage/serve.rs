//! `emberfs storage serve`: serves stores as a node of a cluster, in the foreground, until it is
//! told to stop.
//!
//! One line on standard output says that it listens, and where. SIGTERM and SIGINT let others
//! serve in its place, answer what is under way, close the stores and end with 0; a second one
//! ends at once, which stores survive like a crash: chains go on without it when its leases have
//! run out, and it catches up when it is started again.
//!
//! Shards run on glommio (V2): a shard that is alone on the core of the node itself, several on a
//! core each, beside one that does nothing but talk to the managers.

use core::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, anyhow};
use engine_net::NetConfig;
use engine_runtime::{CancelToken, CoreSpec, Env};
use engine_shard::StoreConfig;
use engine_storaged::{Role, RoleError, Settings as Work, ShardSpec};
use engine_types::{Incarnation, NodeId, NodeRole};
use engine_wire::handshake::Identity;
use serde::Serialize;

use super::{POOL_DEFAULT, listen_default};
use crate::cluster::{ClusterFile, random_process};
use crate::config::{
    ClusterSection, Config, HostPort, Label, Needs, StorageSection, check_addresses, check_pool,
    check_stores,
};
use crate::exit::{Exit, Failure};
use crate::log;
use crate::output::Output;
use crate::serve;
use crate::size::ByteSize;

const EXAMPLES: &str = "\
Examples:
  emberfs storage serve --config /etc/emberfs/storage.toml
  emberfs storage serve --config storage.toml --listen 10.0.0.1:7300 --managers 10.0.0.5:7200
  emberfs storage serve --cluster cluster.toml --identity node.id --store /dev/nvme0n1
  emberfs storage serve --config storage.toml --listen 127.0.0.1:0 --json  a free port, as JSON

Stores are made by `emberfs store format --cluster ID`. The first start registers the node with the
managers; `emberfs node list` shows it, and `emberfs chain create` gives it something to hold. The
identity file is who it is: keep it with the stores, and never give a copy to another node. Several
shards, each on a core of its own, are written in the file. Flags override the file, whose keys
`emberfs config validate --help` shows. Ctrl-C or SIGTERM let others serve and end it; a second one
ends it at once.";

/// Memory of the core that does nothing but talk to the managers, where shards have their own:
/// routing info of a large cluster comes and is kept.
const NODE_POOL_BYTES: usize = 64 << 20;

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Configuration file; its sections cluster and storage count.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Cluster file.
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// Where it listens; port 0 is a free one. By default 127.0.0.1:7300, for this machine alone.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<HostPort>,

    /// What others are told instead of where it listens; needed if that is 0.0.0.0 or ::.
    #[arg(long, value_name = "HOST:PORT,..", value_delimiter = ',')]
    advertise: Vec<HostPort>,

    /// Some or all managers; by default 127.0.0.1:7200.
    #[arg(long, value_name = "HOST:PORT,..", value_delimiter = ',')]
    managers: Vec<HostPort>,

    /// Formatted store; may be given several times.
    #[arg(long, value_name = "PATH|DEVICE")]
    store: Vec<PathBuf>,

    /// File that keeps who the node is; made at the first start.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,

    /// Failure domain: replicas of a chain lie in different ones.
    #[arg(long, value_name = "NAME")]
    domain: Option<Label>,

    /// Memory for I/O of each shard; by default 128MiB.
    #[arg(long, value_name = "SIZE")]
    pool: Option<ByteSize>,

    /// Print the line that says it is ready as JSON.
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    log: log::LogArgs,
}

/// What flags and file come to.
#[derive(Debug)]
struct Settings {
    cluster: ClusterFile,
    shards: Vec<ShardSpec>,
    advertise: Vec<HostPort>,
    managers: Vec<SocketAddr>,
    identity: PathBuf,
    domain: Label,
    pool: usize,
    work: Work,
    store: StoreConfig,
}

/// The shards as they are written, and what others are told of the first one.
struct Places {
    shards: Vec<(Option<u32>, HostPort, Vec<PathBuf>)>,
    advertise: Vec<HostPort>,
}

impl Settings {
    fn new(args: &Args) -> Result<Self, Failure> {
        let config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        let needs =
            Needs { file: args.config.as_deref(), flags: "--cluster, --identity and --store" };
        let of_file = config.cluster.map(|ClusterSection { file }| file);
        let cluster = args.cluster.clone().or(of_file);
        let cluster =
            ClusterFile::read(&cluster.ok_or_else(|| needs.missing("cluster", "--cluster"))?)?;
        let section = config.storage.as_ref();
        let identity = args.identity.clone().or(section.map(|section| section.identity.clone()));
        let identity = identity.ok_or_else(|| needs.missing("storage", "--identity"))?;
        if section.is_none() && args.store.is_empty() {
            return Err(needs.missing("storage", "--store"));
        }
        let pool = args.pool.or(section.and_then(|section| section.pool)).unwrap_or(POOL_DEFAULT);
        check_pool(pool).map_err(|why| Failure::usage(anyhow!("--pool: {why}")))?;
        let pool = usize::try_from(pool.0).expect("it is bounded");
        let Places { shards, advertise } = Places::new(args, section)?;
        let shards = shards.into_iter().map(|(core, listen, stores)| {
            let listen = resolve(&listen, "cannot listen on")?;
            Ok(ShardSpec { core: core.map(|core| core_spec(core, pool)), listen, stores })
        });
        let shards = shards.collect::<Result<_, Failure>>()?;
        let domain = args.domain.clone().or(section.and_then(|section| section.domain.clone()));
        let mut store = section.map(|section| section.store.config()).unwrap_or_default();
        store.cluster = Some(cluster.id);
        Ok(Self {
            cluster,
            shards,
            advertise,
            managers: managers(args, section)?,
            identity,
            domain: domain.unwrap_or_default(),
            pool,
            work: section.map(StorageSection::settings).unwrap_or_default(),
            store,
        })
    }

    /// The core of the node: that of its only shard, too, unless shards have cores of their own.
    fn core(&self) -> CoreSpec {
        let own = self.shards.iter().all(|shard| shard.core.is_some());
        let pool_bytes = if own { NODE_POOL_BYTES } else { self.pool };
        CoreSpec { pool_bytes, ..CoreSpec::new("emberfs-storage") }
    }

    fn net<E: Env>(&self, env: &E) -> Rc<NetConfig> {
        // Which node it is, and which start of it, the role reads from the identity file.
        let incarnation = Incarnation::new(env.wall().nanos());
        let (role, node, process) = (NodeRole::Storage, NodeId::default(), random_process(env));
        self.cluster.net(Identity { role, node, process, incarnation })
    }
}

impl Places {
    fn new(args: &Args, section: Option<&StorageSection>) -> Result<Self, Failure> {
        let told = !args.advertise.is_empty();
        let of_file = || section.map(|section| section.advertise.clone()).unwrap_or_default();
        let advertise = if told { args.advertise.clone() } else { of_file() };
        let shards = match section {
            Some(section) if !section.shards.is_empty() => {
                if args.listen.is_some() || !args.store.is_empty() {
                    let why = anyhow!("--listen and --store do not go with a file that has shards");
                    return Err(Failure::usage(why).hint("change the shards in the file"));
                }
                let one = |shard: &crate::config::ShardSection| {
                    (Some(shard.core), shard.listen.clone(), shard.stores.clone())
                };
                section.shards.iter().map(one).collect()
            }
            section => {
                let listen = args.listen.clone().or(section.and_then(|s| s.listen.clone()));
                let stores = match section {
                    Some(section) if args.store.is_empty() => section.stores.clone(),
                    _ => args.store.clone(),
                };
                check_stores(&stores).map_err(|why| Failure::usage(anyhow!("--store: {why}")))?;
                vec![(None, listen.unwrap_or_else(listen_default), stores)]
            }
        };
        let first = &shards.first().expect("a file has one, and so have flags").1;
        check_addresses(first, &advertise)
            .map_err(|(key, why)| Failure::usage(anyhow!("--{key}: {why}")))?;
        Ok(Self { shards, advertise })
    }
}

fn resolve(address: &HostPort, what: &str) -> Result<SocketAddr, Failure> {
    let found = address.resolve().with_context(|| format!("{what} {address}"));
    Ok(found.map_err(Failure::environment)?[0])
}

fn managers(args: &Args, section: Option<&StorageSection>) -> Result<Vec<SocketAddr>, Failure> {
    let of_file = section.map(|section| section.managers.clone()).unwrap_or_default();
    let mut managers = if args.managers.is_empty() { of_file } else { args.managers.clone() };
    if managers.is_empty() {
        managers.push(crate::mgmt::listen_default());
    }
    managers.iter().map(|manager| resolve(manager, "cannot find the manager")).collect()
}

fn core_spec(core: u32, pool_bytes: usize) -> CoreSpec {
    let spec = CoreSpec::new(&format!("shard-{core}")).on_cpu(core as usize);
    CoreSpec { pool_bytes, ..spec }
}

/// That it listens.
#[derive(Serialize)]
struct Ready {
    address: String,
    /// What others are told.
    advertise: Vec<String>,
    shards: usize,
    stores: usize,
    cluster: String,
    process: u32,
}

/// Runs the verb. The file says how much memory the core has, so it is read before there is one.
pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    args.log.begin()?;
    let settings = Settings::new(&args)?;
    let spec = settings.core();
    let json = args.json;
    engine_runtime::glommio::run(spec, |env| async move {
        let mut out = Output::standard(json);
        let done = serve(&env, settings, &mut out).await;
        out.flush()?;
        done
    })?
}

async fn serve<E: Env>(env: &E, settings: Settings, out: &mut Output) -> Result<Exit, Failure> {
    let signals = env.signals().context("signals").map_err(Failure::environment)?;
    for shard in &settings.shards {
        serve::free(env, shard.listen).await?;
    }
    let stop = CancelToken::default();
    let cut = "chains go on without it when its leases have run out";
    drop(env.spawn(serve::obey("storage", cut, signals, stop.clone())));
    let role = Role {
        shards: settings.shards.clone(),
        net: settings.net(env),
        managers: settings.managers.clone(),
        identity: settings.identity.clone(),
        addresses: settings.advertise.iter().map(HostPort::to_string).collect(),
        domain: settings.domain.to_string(),
        store: settings.store.clone(),
    };
    let mut told = Ok(());
    let ready = |address| told = ready(out, &settings, address);
    let work = settings.work;
    let ended = engine_storaged::run_with(env, role, work, ready, stop.cancelled()).await;
    ended.map_err(|error| refused(error, settings.shards[0].listen))?;
    told?;
    eprintln!("emberfs storage: stopped, the stores are closed");
    Ok(Exit::Ok)
}

/// Why it does not serve, or no longer: a store that cannot be opened and a cluster that does not
/// want it are found problems, everything else is the machine.
fn refused(error: RoleError, listen: SocketAddr) -> Failure {
    match error {
        RoleError::Io { what, source } => {
            let failure = serve::refused(&source, listen);
            Failure { error: anyhow!(source).context(what), ..failure }
        }
        error @ RoleError::Store { .. } => Failure::problem(error)
            .hint("emberfs store check says what is wrong; emberfs store format makes a new one"),
        error @ RoleError::Panicked { .. } => Failure::environment(error)
            .hint("this is a mistake of the program: please report it with the log of the node"),
        error @ RoleError::Refused { .. } => {
            Failure::problem(error).hint("emberfs node list and emberfs mgmt status show more")
        }
    }
}

/// Says that it listens. Who does not read it any more does not end the service.
fn ready(out: &mut Output, settings: &Settings, address: SocketAddr) -> Result<(), Failure> {
    let (cluster, process) = (settings.cluster.id, std::process::id());
    let shards = settings.shards.len();
    let stores = settings.shards.iter().map(|shard| shard.stores.len()).sum();
    let address = address.to_string();
    let mut advertise: Vec<String> = settings.advertise.iter().map(HostPort::to_string).collect();
    if advertise.is_empty() {
        advertise.push(address.clone());
    }
    if out.json {
        let cluster = cluster.to_string();
        out.document(&Ready { address, advertise, shards, stores, cluster, process })?;
    } else {
        let told = advertise.join(", ");
        out.line(&format!(
            "emberfs storage: ready on {address}: {stores} stores in {shards} shards of cluster \
             {cluster}, told as {told} (process {process})"
        ))?;
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests;
