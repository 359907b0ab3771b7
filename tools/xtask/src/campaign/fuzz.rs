//! Coverage-guided fuzzing with what the machine has: nothing is installed on the way.

use std::process::Command;

use anyhow::bail;

use crate::child::{Missing, output, shown, succeeds};
use crate::tree;

/// The package with the targets, outside the workspace because it needs nightly.
const FOLDER: &str = "tools/fuzz";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Time for each target, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only these targets; without any, all of them
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Runs each target for its time; `Ok(false)` when one crashed.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let root = tree::root()?;
    let nightly = nightly(&output(Command::new("rustup").args(["toolchain", "list"]))?)?;
    let fuzz = || {
        let mut command = Command::new("rustup");
        command.args(["run", &nightly, "cargo", "fuzz"]).current_dir(&root);
        command
    };
    if !fuzz().arg("--version").output().is_ok_and(|done| done.status.success()) {
        let why = "cargo-fuzz is not installed: `cargo install cargo-fuzz --locked` adds it";
        return Err(Missing(why.to_owned()).into());
    }
    let known = output(fuzz().args(["list", "--fuzz-dir", FOLDER]))?;
    let known: Vec<&str> = known.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let targets = chosen(&known, &args.targets)?;
    let mut failed = Vec::new();
    for target in targets {
        let mut command = fuzz();
        command.args(["run", "--fuzz-dir", FOLDER, target, "--"]);
        command.arg(format!("-max_total_time={}", args.seconds));
        println!("==> {}", shown(&command));
        if !succeeds(&mut command)? {
            failed.push(target);
        }
    }
    if !failed.is_empty() {
        eprintln!("failed: {}; the inputs lie in {FOLDER}/artifacts", failed.join(", "));
    }
    Ok(failed.is_empty())
}

/// The first nightly in the output of `rustup toolchain list`.
fn nightly(listed: &str) -> Result<String, Missing> {
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with("nightly")).map(str::to_owned).next().ok_or_else(|| {
        let add = "rustup toolchain install nightly --profile minimal";
        Missing(format!("fuzzing needs a nightly toolchain and there is none: `{add}` adds it"))
    })
}

/// An empty list of targets would prove nothing, so it is an error.
fn chosen<'a>(known: &[&'a str], wanted: &[String]) -> anyhow::Result<Vec<&'a str>> {
    if known.is_empty() {
        bail!("{FOLDER} lists no targets");
    }
    if wanted.is_empty() {
        return Ok(known.to_vec());
    }
    wanted
        .iter()
        .map(|name| match known.iter().find(|known| *known == name) {
            Some(found) => Ok(*found),
            None => bail!("no target `{name}`; there are {}", known.join(", ")),
        })
        .collect()
}

#[cfg(test)]
mod tests;
