//! `cargo x ci`: the steps of continuous integration, as data, in the order in which they run.
//!
//! One profile (`dev`) serves all steps: clippy and rustdoc share the checked dependencies, the
//! tests are the only full build. A failed step does not hide the ones after it.

use std::io::{Write, stdout};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::finding::Paint;
use crate::{child, tidy, tree};

/// Arguments of `cargo x ci`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only these steps; without any, all of them
    #[arg(value_name = "STEP", value_parser = STEPS.map(|step| step.name))]
    steps: Vec<String>,
    /// End at the first step that fails
    #[arg(long)]
    fail_fast: bool,
}

enum Action {
    Cargo { words: &'static [&'static str], env: &'static [(&'static str, &'static str)] },
    Tidy,
}

struct Step {
    name: &'static str,
    action: Action,
}

const fn cargo(name: &'static str, words: &'static [&'static str]) -> Step {
    Step { name, action: Action::Cargo { words, env: &[] } }
}

const TEST: &[&str] = &["test", "--workspace"];

/// One version of FoundationDB's API is linted with everything optional, the other only checked:
/// they differ in the crate's headers. Neither can be linked without FoundationDB's library.
const OPTIONAL: &[&str] = &[
    "clippy",
    "--package",
    "meta-kv",
    "--all-targets",
    "--features",
    "fdb-7_3,fjall",
    "--",
    "-D",
    "warnings",
];
const OPTIONAL_OLD: &[&str] = &["check", "--package", "meta-kv", "--features", "fdb-6_3"];

const STEPS: [Step; 7] = [
    cargo("fmt", &["fmt", "--all", "--check"]),
    Step { name: "tidy", action: Action::Tidy },
    cargo("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    cargo("optional", OPTIONAL),
    cargo("fdb-6_3", OPTIONAL_OLD),
    Step {
        name: "doc",
        action: Action::Cargo {
            words: &["doc", "--workspace", "--no-deps"],
            env: &[("RUSTDOCFLAGS", "-D warnings")],
        },
    },
    cargo("test", TEST),
];

struct Done {
    name: &'static str,
    passed: bool,
    took: Duration,
}

/// The command of the test step as the README shows it.
pub(crate) fn test_command() -> String {
    format!("cargo {}", TEST.join(" "))
}

/// Runs the steps and prints one row for each; `Ok(false)` when one failed.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let paint = Paint::stdout();
    let mut done: Vec<Done> = Vec::new();
    for step in STEPS.iter().filter(|step| wanted(step.name, &args.steps)) {
        let watch = Stopwatch::start();
        let passed = perform(step, paint)?;
        done.push(Done { name: step.name, passed, took: watch.elapsed() });
        if args.fail_fast && !passed {
            break;
        }
    }
    if done.is_empty() {
        bail!("no step ran");
    }
    let failed: Vec<&str> = done.iter().filter(|done| !done.passed).map(|done| done.name).collect();
    let mut out = stdout().lock();
    write!(out, "\n{}", table(&done, paint)).context("printing the summary")?;
    if !failed.is_empty() {
        let again = format!("cargo x ci {}", failed.join(" "));
        writeln!(out, "{}; again: {again}", paint.red(&format!("failed: {}", failed.join(", "))))?;
    }
    Ok(failed.is_empty())
}

fn wanted(name: &str, chosen: &[String]) -> bool {
    chosen.is_empty() || chosen.iter().any(|step| step == name)
}

fn perform(step: &Step, paint: Paint) -> anyhow::Result<bool> {
    match &step.action {
        Action::Tidy => {
            announce(step.name, "cargo x tidy", paint)?;
            tidy::run(&tidy::Args::default())
        }
        Action::Cargo { words, env } => {
            let mut command = child::cargo(words);
            command.envs(env.iter().copied()).current_dir(tree::root()?);
            announce(step.name, &child::shown(&command), paint)?;
            child::succeeds(&mut command)
        }
    }
}

/// Flushed, because the child writes to the same place.
fn announce(name: &str, command: &str, paint: Paint) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "\n{} {command}", paint.bold(&format!("==> {name}:")))?;
    out.flush().context("flushing")
}

fn table(done: &[Done], paint: Paint) -> String {
    let mut text = String::new();
    for Done { name, passed, took } in done {
        let verdict = if *passed { paint.green("passed") } else { paint.red("FAILED") };
        text.push_str(&format!("{name:<8} {verdict} {:>7.1} s\n", took.as_secs_f64()));
    }
    let total: Duration = done.iter().map(|done| done.took).sum();
    text.push_str(&format!("{:<8} {:<6} {:>7.1} s\n", "total", "", total.as_secs_f64()));
    text
}

/// Wall time of a step. Automation is never simulated, so it may read the clock of the machine.
pub(crate) struct Stopwatch(
    #[expect(clippy::disallowed_types, reason = "no Env here: automation is not simulated")]
    std::time::Instant,
);

impl Stopwatch {
    /// Starts now.
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "no Env here: automation is not simulated"
    )]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests;
