//! How the program ends, and what it says then.

use std::io;
use std::process::ExitCode;

use engine_runtime::{FileError, RunError};
use engine_shard::StoreError;

/// The exit codes, which scripts rely on. clap uses the same number for wrong arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and nothing was found wrong.
    Ok = 0,
    /// What was looked at is not as it should be: damaged, foreign, no store.
    Problem = 1,
    /// The arguments, or the configuration they name, do not make sense, by themselves or for what
    /// they name.
    Usage = 2,
    /// Something around it is in the way: no such file, no permission, in use, an I/O error, nobody
    /// who answers.
    Environment = 3,
    /// Something that is wrong was left as it is, as fsck(8) says it; `emberfs fsck` alone.
    Left = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that came to no result.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What kind of failure it is.
    pub(crate) exit: Exit,
    /// What happened.
    pub(crate) error: anyhow::Error,
    /// What the operator can do.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// Something is wrong with what was looked at.
    pub(crate) fn problem(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Problem, error: error.into(), hint: None }
    }

    /// The arguments are wrong.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into(), hint: None }
    }

    /// The machine is in the way.
    pub(crate) fn environment(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Environment, error: error.into(), hint: None }
    }

    /// Adds what the operator can do.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Whether the reader of our output has gone, as `head` does: nobody is left to complain to.
    pub(crate) fn is_unheard(&self) -> bool {
        let unheard = |error: &OutputError| error.0.kind() == io::ErrorKind::BrokenPipe;
        self.error.downcast_ref::<OutputError>().is_some_and(unheard)
    }
}

/// Standard output could not be written.
#[derive(Debug)]
pub(crate) struct OutputError(pub(crate) io::Error);

impl core::fmt::Display for OutputError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "standard output: {}", self.0)
    }
}

impl core::error::Error for OutputError {}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        Self::environment(error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let hint = match error.source.kind() {
            io::ErrorKind::PermissionDenied => Some("run it as the owner of the file, or as root"),
            io::ErrorKind::WouldBlock => Some("stop what uses it first: its owner alone may"),
            _ => None,
        };
        // As text: its message names its source already.
        let error = anyhow::Error::msg(error.to_string());
        Self { hint: hint.map(str::to_owned), ..Self::environment(error) }
    }
}

/// A store that is not as it should be is a problem; what keeps us from seeing that is not.
impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io(error) => error.into(),
            StoreError::Layout(_) => Self::usage(error),
            StoreError::Occupied { .. }
            | StoreError::Superblock(_)
            | StoreError::OtherCluster { .. }
            | StoreError::Retired { .. }
            | StoreError::TooShort { .. }
            | StoreError::Checkpoint { .. }
            | StoreError::Recovery(_) => Self::problem(error),
            _ => Self::environment(error),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::environment(error)
    }
}
