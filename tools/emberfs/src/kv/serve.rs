//! `emberfs kv serve`: serves a store in the foreground until it is told to stop.
//!
//! One line on standard output says that it is ready, and where. SIGTERM and SIGINT answer what is
//! under way, close the store and end with 0; a second one ends at once, which the store survives
//! like a crash. When a write fails, the process ends with what the disk said: nothing could be
//! served any more (E206), and whoever watches the process starts it again.

use core::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context as _, anyhow};
use engine_net::NetConfig;
use engine_runtime::{CancelToken, Env};
use engine_types::{ClusterId, Incarnation, NodeId, NodeRole, StoreId};
use engine_wire::handshake::Identity;
use meta_kv::engine::redb::RedbOptions;
use meta_kvd::{Role, ServedEngine};
use serde::Serialize;

use super::{CACHE_DEFAULT, NODE_DEFAULT, directory, listen_default};
use crate::cluster::ClusterFile;
use crate::config::{ClusterSection, Config, HostPort, KvSection, Needs};
use crate::exit::{Exit, Failure};
use crate::log;
use crate::output::Output;
use crate::serve;
use crate::size::ByteSize;

/// Least memory for pages: below it every read goes to the disk.
const CACHE_MIN: ByteSize = ByteSize(1 << 20);

const EXAMPLES: &str = "\
Examples:
  emberfs kv serve --config /etc/emberfs/kv.toml
  emberfs kv serve --dir kv --cluster cluster.toml
  emberfs kv serve --dir kv --cluster cluster.toml --listen 10.0.0.5:7100 --cache 4GiB
  emberfs kv serve --config kv.toml --listen 127.0.0.1:0 --json    a free port, told as JSON

One line says that it is ready. Ctrl-C or SIGTERM answer what is under way and end it; a second one
ends it at once. Flags override the file, whose keys `emberfs config validate --help` shows.";

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Configuration file; its sections cluster and kv count.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Directory of the store.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Cluster file.
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// Where it listens; port 0 is a free one. By default 127.0.0.1:7100, for this machine alone.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<HostPort>,

    /// Memory for pages of the store; by default 256MiB.
    #[arg(long, value_name = "SIZE")]
    cache: Option<ByteSize>,

    /// Number of this node in the cluster; by default 1.
    #[arg(long, value_name = "N")]
    node: Option<u32>,

    /// Print the line that says it is ready as JSON.
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    log: log::LogArgs,
}

/// What flags and file come to.
struct Settings {
    dir: PathBuf,
    cluster: ClusterFile,
    listen: SocketAddr,
    cache_bytes: usize,
    node: NodeId,
}

impl Settings {
    fn new(args: &Args) -> Result<Self, Failure> {
        let config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        let needs = Needs { file: args.config.as_deref(), flags: "--dir and --cluster" };
        let of_file = config.cluster.map(|ClusterSection { file }| file);
        let cluster = args.cluster.clone().or(of_file);
        let cluster = cluster.ok_or_else(|| needs.missing("cluster", "--cluster"))?;
        let (dir, rest) = match config.kv {
            Some(KvSection { dir, listen, cache, node }) => (Some(dir), (listen, cache, node)),
            None => (None, (None, None, None)),
        };
        let dir = args.dir.clone().or(dir).ok_or_else(|| needs.missing("kv", "--dir"))?;
        let listen = args.listen.clone().or(rest.0).unwrap_or_else(listen_default);
        let resolved = listen.resolve().with_context(|| format!("cannot listen on {listen}"));
        let resolved = resolved.map_err(Failure::environment)?;
        let cache = args.cache.or(rest.1).unwrap_or(CACHE_DEFAULT);
        let cache_bytes = usize::try_from(cache.0).ok().filter(|_| CACHE_MIN <= cache);
        let cache_bytes = cache_bytes.ok_or_else(|| {
            Failure::usage(anyhow!("the cache is {cache}, expected at least {CACHE_MIN}"))
        })?;
        Ok(Self {
            dir,
            cluster: ClusterFile::read(&cluster)?,
            listen: resolved[0],
            cache_bytes,
            node: NodeId::new(args.node.or(rest.2).unwrap_or(NODE_DEFAULT)),
        })
    }
}

/// That it serves.
#[derive(Serialize)]
struct Ready {
    address: String,
    store: String,
    cluster: String,
    dir: String,
    process: u32,
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    args.log.begin()?;
    let settings = Settings::new(args)?;
    let signals = env.signals().context("signals").map_err(Failure::environment)?;
    serve::free(env, settings.listen).await?;
    let dir = settings.dir.clone();
    let options = RedbOptions { cache_bytes: settings.cache_bytes, ..RedbOptions::default() };
    let engine = env.blocking(move || directory::open(&dir, options)).await?;
    directory::claim(&settings.dir, &settings.cluster)?;
    let stop = CancelToken::default();
    let cut = "the store recovers when it is opened";
    drop(env.spawn(serve::obey("kv", cut, signals, stop.clone())));
    let identity = engine.identity();
    let store = directory::store_id(&identity);
    let role = Role {
        listen: settings.listen,
        net: net(&settings, store, identity.starts),
        served: ServedEngine {
            store: identity.store,
            created: identity.created,
            starts: identity.starts,
            restores: identity.restores,
        },
        engine,
        bytes: {
            let dir = settings.dir.clone();
            Box::new(move || directory::disk_bytes(&dir))
        },
    };
    let mut told = Ok(());
    let (cluster, path) = (settings.cluster.id, &settings.dir);
    let ready = |address| told = ready(out, address, store, cluster, path);
    let ended = meta_kvd::run(env, role, ready, stop.cancelled()).await;
    ended.map_err(|error| serve::refused(&error, settings.listen))?;
    told?;
    eprintln!("emberfs kv: stopped, the store is closed");
    Ok(Exit::Ok)
}

/// Says that it serves. Who does not read it any more does not end the service.
fn ready(
    out: &mut Output,
    address: SocketAddr,
    store: StoreId,
    cluster: ClusterId,
    dir: &Path,
) -> Result<(), Failure> {
    let (dir, process) = (dir.display().to_string(), std::process::id());
    if out.json {
        let (store, cluster) = (store.to_string(), cluster.to_string());
        let address = address.to_string();
        out.document(&Ready { address, store, cluster, dir, process })?;
    } else {
        out.line(&format!(
            "emberfs kv: ready on {address}: store {store} of cluster {cluster} in {dir} \
             (process {process})"
        ))?;
    }
    Ok(out.flush()?)
}

fn net(settings: &Settings, process: StoreId, starts: u64) -> Rc<NetConfig> {
    let incarnation = Incarnation::new(starts);
    let identity = Identity { role: NodeRole::Kv, node: settings.node, process, incarnation };
    settings.cluster.net(identity)
}
