//! The command line as a whole: nouns, and how the program ends.

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::{Exit, Failure};
use crate::output::{Colour, Style};
use crate::{
    chain, chain_table, cluster, config, fsck, kv, meta, mgmt, node, routing, session, settings,
    storage, store, target,
};

#[cfg(test)]
mod tests;

const EXAMPLES: &str = "\
Examples:
  emberfs cluster create cluster.toml          what makes processes members of a cluster
  emberfs kv create --dir kv --cluster cluster.toml
  emberfs kv serve --dir kv --cluster cluster.toml
  emberfs mgmt serve --cluster cluster.toml    manage the cluster; start several with other --node
  export EMBERFS_CLUSTER=cluster.toml EMBERFS_MANAGERS=10.0.0.1:7200,10.0.0.2:7200
  emberfs mgmt status                          how the managers and the cluster are
  emberfs storage serve --config storage.toml  serve stores as a node of the cluster
  emberfs meta serve --cluster cluster.toml    serve metadata; start several with other --node
  emberfs fsck --repair                        check the file system, and repair it
  emberfs node drain node-3 --wait             take a node out of service
  emberfs chain list --unwhole                 what needs attention, and why
  emberfs store format /dev/nvme1n1            make a store of a whole disk
  emberfs store check /dev/nvme1n1 --deep      read all of it and verify every checksum
  emberfs store dump /dev/nvme1n1 --targets    what it holds replicas of

Exit codes: 0 done, nothing found wrong; 1 a problem was found (damage, foreign data, no store);
            2 wrong arguments or configuration; 3 the machine is in the way (no such file, in use,
            I/O error, nobody answers); fsck alone: 1 all that was wrong is repaired, 4 some is \
            left";

/// EmberFS: a distributed file system for flash.
#[derive(Debug, Parser)]
#[command(name = "emberfs", version, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// The file that makes processes members of one cluster, and what concerns all its chains.
    Cluster(cluster::Args),
    /// Configuration files.
    Config(config::Args),
    /// The embedded key-value store, which keeps the metadata.
    Kv(kv::Args),
    /// The cluster managers as processes.
    Mgmt(mgmt::Args),
    /// Registered nodes.
    Node(node::Args),
    /// Chains of replicas.
    Chain(chain::Args),
    /// Replicas of chains.
    Target(target::Args),
    /// Chain tables, which files are laid out over.
    Table(chain_table::Args),
    /// Sessions of clients.
    Session(session::Args),
    /// Settings of the whole cluster, which change while it runs.
    Settings(settings::Args),
    /// What managers publish: nodes, targets, chains, tables.
    Routing(routing::Args),
    /// Storage nodes as processes.
    Storage(storage::Args),
    /// Disks, partitions and files that hold chunks.
    Store(store::Args),
    /// Metadata services as processes.
    Meta(meta::Args),
    /// Check the file system, metadata and chunks, and repair it.
    Fsck(fsck::Args),
}

/// Parses the arguments, does what they say, and gives the exit code.
pub(crate) fn main() -> ExitCode {
    let done = match Args::parse().noun {
        Noun::Cluster(args) => cluster::run(args),
        Noun::Config(args) => config::run(&args),
        Noun::Kv(args) => kv::run(args),
        Noun::Mgmt(args) => mgmt::run(args),
        Noun::Node(args) => node::run(args),
        Noun::Chain(args) => chain::run(args),
        Noun::Target(args) => target::run(args),
        Noun::Table(args) => chain_table::run(args),
        Noun::Session(args) => session::run(args),
        Noun::Settings(args) => settings::run(args),
        Noun::Routing(args) => routing::run(args),
        Noun::Storage(args) => storage::run(args),
        Noun::Store(args) => store::run(args),
        Noun::Meta(args) => meta::run(args),
        Noun::Fsck(args) => fsck::run(args),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) if failure.is_unheard() => Exit::Ok.into(),
        Err(failure) => {
            eprintln!("{}", message(&failure, Style::of(&io::stderr())));
            failure.exit.into()
        }
    }
}

/// What is said of a failure: the error with its causes, and what can be done.
fn message(failure: &Failure, style: Style) -> String {
    let name = style.paint(Some(Colour::Red), "emberfs:");
    let mut text = format!("{name} {:#}", failure.error);
    if let Some(hint) = &failure.hint {
        text.push_str("\n  hint: ");
        text.push_str(hint);
    }
    text
}
