//! `emberfs target`: replicas of chains.

use clap::Subcommand;
use engine_runtime::{CoreSpec, Env};
use engine_types::{ChainId, ParseIdError, StoreId, TargetId};
use mgmt_cluster::command::{Command, NewTarget};
use mgmt_protocol::{Done, Operation};

use crate::exit::{Exit, Failure};
use crate::manager::{Managers, did};
use crate::output::Output;
use crate::place::{self, PLACE_HELP};
use crate::{ids, run};

const ADD_EXAMPLES: &str = "\
Examples:
  emberfs target add chain-5 4/01234567-89ab-cdef-0123-456789abcdef
  emberfs target add 5 4/01234567-89ab-cdef-0123-456789abcdef/2/1 --json

The new member is offline at first. It is synced when its node has created it, which reads all data
of the chain once, and serves then.";

const REMOVE_EXAMPLES: &str = "\
Examples:
  emberfs target remove target-7
  emberfs target remove 7 --json

Only a member that does not serve and whose data the chain does not need: drain it first. What its
store holds of it is deleted by its node. The only member of a chain cannot be removed.";

const DRAIN_EXAMPLES: &str = "\
Examples:
  emberfs target drain target-7
  emberfs target drain 7 --json

It stops serving as soon as another member of its chain serves, and is not synced again until
`emberfs target undrain`. The chain has one replica less; the last one is not drained. `emberfs
chain list --unwhole` shows how far it is.";

const UNDRAIN_EXAMPLES: &str = "\
Examples:
  emberfs target undrain target-7
  emberfs target undrain 7 --json

It is synced and serves again. A target that is being replaced stays then, beside its replacement.";

const REPLACE_EXAMPLES: &str = "\
Examples:
  emberfs target replace target-7 4/01234567-89ab-cdef-0123-456789abcdef
  emberfs target replace 7 4/01234567-89ab-cdef-0123-456789abcdef/2/1 --json

A new member is added and synced, which reads all data of the chain once; when it serves, the old
one is removed. The chain never has fewer replicas than before. It is also the way to move a target
from one node to another.";

const ADOPT_EXAMPLES: &str = "\
Examples:
  emberfs target adopt-store target-7 01234567-89ab-cdef-0123-456789abcdef
  emberfs target adopt-store 7 01234567-89ab-cdef-0123-456789abcdef --json

For a disk that was exchanged: the node reports another store than the registered one, and the
target is not used until it is said that this is meant. What the old store held is given up, and the
target is synced. Refused if the chain needs what the old store holds.";

/// What to do with targets.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Add a member to a chain: one more replica.
    #[command(after_help = ADD_EXAMPLES)]
    Add(AddArgs),
    /// Remove a member that does not serve: one replica less.
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove(TargetArgs),
    /// Take a target out of service when another member of its chain serves.
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(TargetArgs),
    /// Let a drained target return, or one that is being replaced stay.
    #[command(after_help = UNDRAIN_EXAMPLES)]
    Undrain(TargetArgs),
    /// Add a member, and remove an old one when the new one serves.
    #[command(after_help = REPLACE_EXAMPLES)]
    Replace(ReplaceArgs),
    /// Accept another store in the place of a target's lost one.
    #[command(after_help = ADOPT_EXAMPLES)]
    AdoptStore(AdoptArgs),
}

/// Arguments of the verbs that name a target and nothing else.
#[derive(Debug, clap::Args)]
struct TargetArgs {
    /// The target: target-7 or 7.
    #[arg(value_name = "TARGET", value_parser = ids::parse::<TargetId>)]
    target: TargetId,

    #[command(flatten)]
    managers: Managers,
}

/// Arguments of `add`.
#[derive(Debug, clap::Args)]
struct AddArgs {
    /// The chain: chain-5 or 5.
    #[arg(value_name = "CHAIN", value_parser = ids::parse::<ChainId>)]
    chain: ChainId,

    #[arg(value_name = "PLACE", value_parser = place::parse, help = PLACE_HELP)]
    place: NewTarget,

    #[command(flatten)]
    managers: Managers,
}

/// Arguments of `replace`.
#[derive(Debug, clap::Args)]
struct ReplaceArgs {
    /// The target that leaves: target-7 or 7.
    #[arg(value_name = "TARGET", value_parser = ids::parse::<TargetId>)]
    target: TargetId,

    #[arg(value_name = "PLACE", value_parser = place::parse, help = PLACE_HELP)]
    place: NewTarget,

    #[command(flatten)]
    managers: Managers,
}

/// Arguments of `adopt-store`.
#[derive(Debug, clap::Args)]
struct AdoptArgs {
    /// The target: target-7 or 7.
    #[arg(value_name = "TARGET", value_parser = ids::parse::<TargetId>)]
    target: TargetId,

    /// UUID of the store that is there now.
    #[arg(value_name = "STORE", value_parser = store)]
    store: StoreId,

    #[command(flatten)]
    managers: Managers,
}

fn store(text: &str) -> Result<StoreId, ParseIdError> {
    text.parse()
}

impl Verb {
    const fn managers(&self) -> &Managers {
        match self {
            Self::Add(args) => &args.managers,
            Self::Remove(args) | Self::Drain(args) | Self::Undrain(args) => &args.managers,
            Self::Replace(args) => &args.managers,
            Self::AdoptStore(args) => &args.managers,
        }
    }

    fn command(&self) -> Command {
        match self {
            Self::Add(args) => Command::AddTarget(args.chain, args.place),
            Self::Remove(args) => Command::RemoveTarget(args.target),
            Self::Drain(args) => Command::DrainTarget(args.target, true),
            Self::Undrain(args) => Command::DrainTarget(args.target, false),
            Self::Replace(args) => Command::Replace(args.target, args.place),
            Self::AdoptStore(args) => Command::AdoptStore(args.target, args.store),
        }
    }

    /// What has begun, for people.
    fn said(&self, done: &Done) -> String {
        let new = done.targets.first().map_or_else(|| "a target".to_owned(), TargetId::to_string);
        match self {
            Self::Add(args) => format!("{new} is added to {} and will be synced", args.chain),
            Self::Remove(args) => format!("{} is removed", args.target),
            Self::Drain(args) => format!("{} leaves as soon as another member serves", args.target),
            Self::Undrain(args) => format!("{} stays; it is synced if it has to be", args.target),
            Self::Replace(args) => format!("{new} will be synced and replace {}", args.target),
            Self::AdoptStore(args) => {
                format!("{} is in {} from now on and will be synced", args.target, args.store)
            }
        }
    }
}

/// Runs a verb.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let json = args.verb.managers().json;
    run::on_core(json, CoreSpec::new("emberfs"), |env| perform(env, args.verb))
}

async fn perform<E: Env>(env: E, verb: Verb) -> Result<Exit, Failure> {
    let mut out = Output::standard(verb.managers().json);
    let access = verb.managers().access(&env).await?;
    let look = match &verb {
        Verb::Add(args) => format!("emberfs chain show {}", args.chain),
        _ => "emberfs chain list".to_owned(),
    };
    let done = access.operate(Operation::Cluster(verb.command()), &look).await?;
    did(&mut out, &done, &verb.said(&done))?;
    out.flush()?;
    Ok(Exit::Ok)
}
