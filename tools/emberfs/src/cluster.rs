//! `emberfs cluster`: the file that makes processes members of one cluster, and what concerns all
//! chains at once.

use std::path::PathBuf;

use clap::Subcommand;
use engine_runtime::monoio::MonoioEnv;
use engine_runtime::{CoreSpec, Env};
use engine_types::ClusterId;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::run;
use crate::table::facts;
pub(crate) use file::{ClusterFile, random_process, sync_directory};

mod control;
mod file;

const CREATE_EXAMPLES: &str = "\
Examples:
  emberfs cluster create /etc/emberfs/cluster.toml
  emberfs cluster create cluster.toml --json

The file holds the id of the cluster and the secret by which its processes know each other. Copy it,
mode 0600, to every machine of the cluster; whoever can read it has all rights in the cluster.";

const SHOW_EXAMPLES: &str = "\
Examples:
  emberfs cluster show /etc/emberfs/cluster.toml
  emberfs cluster show cluster.toml --json";

/// What to do with a cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the file of a new cluster: its id and its secret.
    #[command(after_help = CREATE_EXAMPLES)]
    Create(FileArgs),
    /// Print the id in a cluster file. The secret is never printed.
    #[command(after_help = SHOW_EXAMPLES)]
    Show(FileArgs),
    /// Stop all chains for a planned shutdown. This interrupts all clients.
    #[command(after_help = control::STOP_EXAMPLES)]
    Stop(control::ControlArgs),
    /// Start all chains again.
    #[command(after_help = control::START_EXAMPLES)]
    Start(control::ControlArgs),
    /// Let the cluster go on with a key-value store that came back from a backup.
    RaiseTimeline(control::RaiseArgs),
}

/// Arguments of the verbs that concern the file.
#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The cluster file.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    path: String,
    cluster: String,
}

/// Runs a verb.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Create(args) => on_core(args.json, |env| create(env, args)),
        Verb::Show(args) => run::told(args.json, show(&args)),
        Verb::Stop(args) => on_core(args.managers.json, |env| control::stop(env, args, true)),
        Verb::Start(args) => on_core(args.managers.json, |env| control::stop(env, args, false)),
        Verb::RaiseTimeline(args) => on_core(args.managers.json, |env| control::raise(env, args)),
    }
}

fn on_core<F>(json: bool, verb: impl FnOnce(MonoioEnv) -> F + 'static) -> Result<Exit, Failure>
where
    F: Future<Output = Result<Exit, Failure>> + 'static,
{
    run::on_core(json, CoreSpec::new("emberfs"), verb)
}

async fn create<E: Env>(env: E, args: FileArgs) -> Result<Exit, Failure> {
    let (mut id, mut secret) = ([0; 16], [0; 32]);
    env.random_secret(&mut id);
    env.random_secret(&mut secret);
    let id = ClusterId::new(u128::from_le_bytes(id));
    file::create(&args.file, id, &secret)?;
    print(&args, id)
}

fn show(args: &FileArgs) -> Result<Exit, Failure> {
    let file = ClusterFile::read(&args.file)?;
    print(args, file.id)
}

fn print(args: &FileArgs, id: ClusterId) -> Result<Exit, Failure> {
    let mut out = Output::standard(args.json);
    let (path, cluster) = (args.file.display().to_string(), id.to_string());
    if out.json {
        out.document(&Report { path, cluster })?;
    } else {
        facts(&mut out, &[("cluster", cluster.into()), ("file", path.into())])?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}
