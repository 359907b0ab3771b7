//! What can go wrong, in words for whoever runs a cluster.

use core::time::Duration;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::name::Name;
use crate::tail::Tail;

/// A cluster cannot be started, or does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// What was planned makes no sense.
    #[error("{what}: found {found}, expected {min} to {max}")]
    Plan {
        /// Of what.
        what: &'static str,
        /// How many.
        found: u64,
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// The directory has other nodes than planned.
    #[error("{} was made for another plan: {what} was {found}, now {expected}", .dir.display())]
    OtherPlan {
        /// The directory.
        dir: PathBuf,
        /// What differs.
        what: &'static str,
        /// As it was made.
        found: String,
        /// As it is planned now.
        expected: String,
    },
    /// Somebody else runs a cluster from the directory.
    #[error("{} is in use by another process", .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A file or folder.
    #[error("cannot {what} {}: {source}", .path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// A program cannot be run at all.
    #[error("cannot start {what}: {source}")]
    Start {
        /// The program, or the process of the cluster.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A process ended while it was waited for.
    #[error("{name} ended ({status}) before {what}; its log ends with:{tail}")]
    Ended {
        /// Which.
        name: Name,
        /// How.
        status: ExitStatus,
        /// What was waited for.
        what: &'static str,
        /// Its last words.
        tail: Tail,
    },
    /// Something does not happen.
    #[error("{who}: waited {waited:?} until {what}; {seen}{tail}")]
    Late {
        /// Who was waited for.
        who: String,
        /// What for.
        what: &'static str,
        /// How long.
        waited: Duration,
        /// What was seen last.
        seen: String,
        /// The last words of its log, or of the last command.
        tail: Tail,
    },
    /// A process did not end in order when it was told to.
    #[error("{name} did not stop in order ({status}); its log ends with:{tail}")]
    Unclean {
        /// Which.
        name: Name,
        /// How it ended.
        status: ExitStatus,
        /// Its last words.
        tail: Tail,
    },
    /// A command failed.
    #[error("emberfs {command}: {status}{tail}")]
    Command {
        /// Its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        tail: Tail,
    },
    /// A command, or a process, says something that is not understood.
    #[error("emberfs {command}: expected {expected}, found {found:?}")]
    Answer {
        /// Its arguments.
        command: String,
        /// What it should say.
        expected: &'static str,
        /// What it says.
        found: String,
    },
    /// It is not there, or does not run.
    #[error("{name} {what}")]
    State {
        /// Which.
        name: Name,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl ClusterError {
    /// For `map_err` of file operations.
    pub(crate) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
