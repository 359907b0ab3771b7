//! `emberfs cluster`: the file that makes processes members of one cluster.

use std::path::PathBuf;

use clap::Subcommand;
use engine_runtime::{CoreSpec, Env};
use engine_types::ClusterId;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::run;
use crate::table::facts;
pub(crate) use file::{ClusterFile, sync_directory};

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

/// What to do with a cluster file.
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
}

/// Arguments of both verbs.
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
        Verb::Create(args) => {
            run::on_core(args.json, CoreSpec::new("emberfs"), |env| create(env, args))
        }
        Verb::Show(args) => run::told(args.json, show(&args)),
    }
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
