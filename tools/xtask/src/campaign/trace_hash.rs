//! The same seed in three build profiles: the simulator prints a hash over every message, I/O and
//! timer, and all three must agree. What differs between profiles (assertions, inlining, layout)
//! may not reach the trace.

use anyhow::{Context, bail};

use crate::child::{cargo, output, shown};
use crate::tree;

/// Profiles that are compared; the first is the reference.
const PROFILES: [&str; 3] = ["dev", "sim", "release"];

/// The words that precede the hash in the simulator's output.
const MARK: &str = "trace hash";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds to compare, counted up from --seed
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Prints one row per seed; `Ok(false)` when a row differs.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let root = tree::root()?;
    let end = args.seed.checked_add(args.seeds).context("the last seed is beyond u64")?;
    let mut equal = true;
    for seed in args.seed..end {
        let mut hashes = Vec::new();
        for profile in PROFILES {
            let mut command =
                cargo(&["run", "--quiet", "--profile", profile, "-p", "tools-sim", "--bin", "sim"]);
            command.args(["--", "--seed", &seed.to_string()]).current_dir(&root);
            let printed = output(&mut command)?;
            let found = hashes_in(&printed);
            if found.is_empty() {
                bail!("`{}` printed no `{MARK}`", shown(&command));
            }
            hashes.push(found);
        }
        let same = hashes.iter().all(|found| *found == hashes[0]);
        equal &= same;
        println!("seed {seed}: {}", verdict(same, &hashes));
    }
    Ok(equal)
}

/// Every hash of the output, in order: a run of several scenarios prints several.
fn hashes_in(printed: &str) -> Vec<String> {
    let after = printed.lines().filter_map(|line| {
        let at = line.to_ascii_lowercase().find(MARK)?;
        line.get(at + MARK.len()..)
    });
    let words = after.filter_map(|rest| {
        rest.split(|c: char| !c.is_ascii_alphanumeric()).find(|word| !word.is_empty())
    });
    words.map(str::to_owned).collect()
}

fn verdict(same: bool, hashes: &[Vec<String>]) -> String {
    if same {
        return format!("equal, {}", hashes[0].join(" "));
    }
    let rows =
        PROFILES.iter().zip(hashes).map(|(name, found)| format!("{name} {}", found.join(" ")));
    format!("DIFFERS: {}", rows.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests;
