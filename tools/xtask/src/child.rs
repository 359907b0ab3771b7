//! Starting other programs: cargo, git, rustup.
//!
//! Children inherit the terminal unless their output is data. A program that is not there is a
//! [`Missing`] error, which names it and what to do, never a bare "No such file".

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Something the machine lacks; `main` turns it into an exit code of its own.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// The toolchain that runs us: `cargo run` names it in the environment, and rustup keeps to it.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(args);
    command
}

/// Runs with the terminal of the caller. `Ok(false)` is the child's own failure.
pub(crate) fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    let status = command.status().map_err(|error| not_started(command, error))?;
    Ok(status.success())
}

/// Standard output of a command that has to succeed; its error output reaches the terminal.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let done = command.output().map_err(|error| not_started(command, error))?;
    if !done.status.success() {
        bail!("`{}` failed ({})", shown(command), done.status);
    }
    String::from_utf8(done.stdout).with_context(|| format!("output of `{}`", shown(command)))
}

/// The command as a person would type it, without quoting.
pub(crate) fn shown(command: &Command) -> String {
    let envs = command.get_envs().filter_map(|(key, value)| {
        Some(format!("{}={:?}", key.to_string_lossy(), value?.to_string_lossy()))
    });
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    envs.chain(words.map(|word| word.to_string_lossy().into_owned())).collect::<Vec<_>>().join(" ")
}

fn not_started(command: &Command, error: std::io::Error) -> anyhow::Error {
    let program = command.get_program().to_string_lossy();
    match error.kind() {
        ErrorKind::NotFound => {
            Missing(format!("`{program}` is not installed or not in PATH")).into()
        }
        _ => anyhow::Error::new(error).context(format!("starting `{program}`")),
    }
}
