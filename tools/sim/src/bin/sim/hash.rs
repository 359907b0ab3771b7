//! Trace hashes of a range of seeds: the same in every process and build profile, or something
//! outside the seed has reached the world.

use tools_sim::scenario::Scenario;

/// Arguments of `sim hash`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// First seed and the one after the last
    #[arg(long, value_name = "A..B", value_parser = super::range)]
    seeds: (u64, u64),
    /// This scenario only
    #[arg(long, value_parser = super::scenario)]
    scenario: Option<&'static Scenario>,
}

/// One line per seed and scenario; `Ok(false)` when a check failed on the way.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let mut passed = true;
    for seed in args.seeds.0..args.seeds.1 {
        for scenario in super::chosen(args.scenario) {
            let run = scenario.run(seed);
            println!("seed {seed} {} trace hash {:016x}", scenario.name, run.trace_hash);
            passed &= run.failure.is_none();
        }
    }
    Ok(passed)
}
