//! How long a cluster takes to get over a death: the test of `tools-sim` over many worlds, in the
//! profile of the simulator.

use crate::{child, tree};

/// Would make the test run one seed only, and the campaign prove nothing.
const ONE_SEED: &str = "EMBERFS_SIM_SEED";
/// Says how many seeds are enough.
const SEEDS: &str = "EMBERFS_SIM_SEEDS";
const TEST: &[&str] =
    &["test", "--profile", "sim", "-p", "tools-sim", "--test", "takeover", "--", "--nocapture"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Worlds
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
}

/// `Ok(false)` when a bound was not kept.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let mut command = child::cargo(TEST);
    command.env(SEEDS, args.seeds.to_string()).env_remove(ONE_SEED);
    child::succeeds(command.current_dir(tree::root()?))
}
