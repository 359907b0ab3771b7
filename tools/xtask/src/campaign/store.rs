//! The chunk store in numbers: tests that `cargo test` runs for seconds, in full length.
//!
//! The tests read from the environment how much is enough; simulations run in the profile of the
//! simulator, processes that are killed in the profile `dev`.

use crate::{child, tree};

/// Would make a test run one seed only, and the campaign prove nothing.
const ONE_SEED: &str = "EMBERFS_SIM_SEED";

/// Worlds allocate and free megabytes; given back to the system in between, they cost three times
/// the processor time of short lives. Other C libraries do not look at it.
pub(super) const KEEP_MEMORY: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296",
);

#[derive(clap::Args)]
pub(crate) struct CrashArgs {
    /// Lives of a store that end badly
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    cycles: u64,
}

#[derive(clap::Args)]
pub(crate) struct ModelArgs {
    /// Operations, half of them with crashes
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    operations: u64,
}

#[derive(clap::Args)]
pub(crate) struct KillArgs {
    /// Processes that are killed
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    cycles: u64,
}

/// A test with its package and the variable that says how much is enough.
struct Test {
    profile: &'static str,
    package: &'static str,
    binary: &'static str,
    /// The tests whose names begin so.
    name: &'static str,
    variable: &'static str,
}

const CRASH: Test = Test {
    profile: "sim",
    package: "tools-sim",
    binary: "store",
    name: "crash_cycles",
    variable: "EMBERFS_STORE_CYCLES",
};
/// Ahead of the random crashes: one after each step of some histories.
const STEPS: Test = Test {
    profile: "sim",
    package: "tools-sim",
    binary: "store_steps",
    name: "a_crash_after_any_step",
    variable: "EMBERFS_STORE_HISTORIES",
};
/// A history has a thousand crashes and more: a fifth of the campaign's.
const CYCLES_PER_HISTORY: u64 = 5_000;
const MODEL: Test = Test {
    profile: "sim",
    package: "tools-sim",
    binary: "store",
    name: "the_model_holds",
    variable: "EMBERFS_STORE_OPERATIONS",
};
const KILL: Test = Test {
    profile: "dev",
    package: "engine-shard",
    binary: "io",
    name: "kill::what_a_killed_process",
    variable: "EMBERFS_STORE_KILLS",
};

/// `Ok(false)` when a crash took something that was acknowledged.
pub(crate) fn crash(args: &CrashArgs) -> anyhow::Result<bool> {
    let histories = (args.cycles / CYCLES_PER_HISTORY).max(2);
    Ok(run(&STEPS, histories)? && run(&CRASH, args.cycles)?)
}

/// `Ok(false)` when the store and the reference disagreed.
pub(crate) fn model(args: &ModelArgs) -> anyhow::Result<bool> {
    run(&MODEL, args.operations)
}

/// `Ok(false)` when a killed process took something that was acknowledged.
pub(crate) fn kill(args: &KillArgs) -> anyhow::Result<bool> {
    run(&KILL, args.cycles)
}

fn run(test: &Test, enough: u64) -> anyhow::Result<bool> {
    let Test { profile, package, binary, name, variable } = test;
    let words = ["test", "--profile", profile, "-p", package, "--test", binary, name];
    let mut command = child::cargo(&words);
    command.args(["--", "--nocapture", "--test-threads", "1"]);
    command.env(variable, enough.to_string()).env_remove(ONE_SEED);
    command.env(KEEP_MEMORY.0, KEEP_MEMORY.1);
    command.current_dir(tree::root()?);
    println!("==> {}", child::shown(&command));
    child::succeeds(&mut command)
}
