//! `emberfs chain`: chains of replicas.

use clap::Subcommand;
use engine_runtime::{CoreSpec, Env};
use engine_types::{ChainId, TargetId};
use mgmt_cluster::command::Command;
use mgmt_protocol::Operation;

use crate::exit::{Exit, Failure};
use crate::manager::{Managers, did};
use crate::output::Output;
use crate::{ids, run};

mod create;
mod list;
mod show;

const ORDER_EXAMPLES: &str = "\
Examples:
  emberfs chain order chain-5 target-7 target-9 target-8
  emberfs chain order 5 7 9 8 --json
  emberfs chain order 5                      prefers no order any more

Nothing moves by that: `emberfs chain rotate` takes single steps towards the order, and the manager
takes them by itself if the setting chain.restore_order is true.";

const ROTATE_EXAMPLES: &str = "\
Examples:
  emberfs chain rotate chain-5
  emberfs chain rotate 5 --json

One member leaves its place and is synced again as the last one: the chain has one replica less for
that time. Repeat it when the chain is whole, until it is refused because the order is reached.
Refused unless all members serve.";

const GIVE_UP_EXAMPLES: &str = "\
Examples:
  emberfs chain give-up-to target-7                        says what would be lost
  emberfs chain give-up-to 7 --accept-data-loss

For a chain that nobody serves, because those who served last do not return. The target serves with
what it has: writes that were acknowledged after it served are lost, and files may hold older data
in this chain than in others. All other members are overwritten with its data.
Without --accept-data-loss nothing is done: what can be lost is said, and the exit code is 1. To
wait for the last servers, or to mend them, loses nothing; `emberfs chain show` names them.";

/// What to do with chains.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List all chains, or those whose members do not all serve.
    List(list::Args),
    /// Show one chain, and why it is not whole.
    Show(show::Args),
    /// Create chains of new, empty replicas.
    Create(create::Args),
    /// Say in which order the members of a chain are to stand.
    #[command(after_help = ORDER_EXAMPLES)]
    Order(OrderArgs),
    /// Take one step towards the preferred order of a chain.
    #[command(after_help = ROTATE_EXAMPLES)]
    Rotate(RotateArgs),
    /// Let a target with older data serve, and lose what was written since.
    #[command(after_help = GIVE_UP_EXAMPLES)]
    GiveUpTo(GiveUpArgs),
}

/// Arguments of `order`.
#[derive(Debug, clap::Args)]
struct OrderArgs {
    /// The chain: chain-5 or 5.
    #[arg(value_name = "CHAIN", value_parser = ids::parse::<ChainId>)]
    chain: ChainId,

    /// All members, the head first; none for no preferred order.
    #[arg(value_name = "TARGET", value_parser = ids::parse::<TargetId>)]
    order: Vec<TargetId>,

    #[command(flatten)]
    managers: Managers,
}

/// Arguments of `rotate`.
#[derive(Debug, clap::Args)]
struct RotateArgs {
    /// The chain: chain-5 or 5.
    #[arg(value_name = "CHAIN", value_parser = ids::parse::<ChainId>)]
    chain: ChainId,

    #[command(flatten)]
    managers: Managers,
}

/// Arguments of `give-up-to`.
#[derive(Debug, clap::Args)]
struct GiveUpArgs {
    /// Who is to serve: target-7 or 7.
    #[arg(value_name = "TARGET", value_parser = ids::parse::<TargetId>)]
    target: TargetId,

    /// Do it, although acknowledged writes are lost.
    #[arg(long)]
    accept_data_loss: bool,

    #[command(flatten)]
    managers: Managers,
}

impl Verb {
    const fn managers(&self) -> &Managers {
        match self {
            Self::List(args) => &args.managers,
            Self::Show(args) => &args.managers,
            Self::Create(args) => &args.managers,
            Self::Order(args) => &args.managers,
            Self::Rotate(args) => &args.managers,
            Self::GiveUpTo(args) => &args.managers,
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
    let done = match &verb {
        Verb::List(args) => list::run(&env, args, &mut out).await,
        Verb::Show(args) => show::run(&env, args, &mut out).await,
        Verb::Create(args) => create::run(&env, args, &mut out).await,
        Verb::Order(_) | Verb::Rotate(_) | Verb::GiveUpTo(_) => change(&env, &verb, &mut out).await,
    };
    out.flush()?;
    done
}

/// The verbs that are one command.
async fn change<E: Env>(env: &E, verb: &Verb, out: &mut Output) -> Result<Exit, Failure> {
    let access = verb.managers().access(env).await?;
    let (command, said, look) = match verb {
        Verb::Order(OrderArgs { chain, order, .. }) => (
            Command::SetPreferredOrder(*chain, order.clone()),
            format!("{chain}: the preferred order is set"),
            format!("emberfs chain show {chain}"),
        ),
        Verb::Rotate(RotateArgs { chain, .. }) => (
            Command::Rotate(*chain),
            format!("{chain}: one member moves to its end"),
            format!("emberfs chain show {chain}"),
        ),
        &Verb::GiveUpTo(GiveUpArgs { target, accept_data_loss, .. }) => (
            Command::GiveUpTo { target, accept_data_loss },
            format!("{target} serves with what it has; the other members are synced from it"),
            "emberfs chain list --unwhole".to_owned(),
        ),
        Verb::List(_) | Verb::Show(_) | Verb::Create(_) => unreachable!("these are no commands"),
    };
    let done = access.operate(Operation::Cluster(command), &look).await?;
    did(out, &done, &said)?;
    Ok(Exit::Ok)
}
