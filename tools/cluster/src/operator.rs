//! Commands of `emberfs` as an operator gives them.

use core::net::SocketAddr;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use serde_json::Value;

use crate::error::ClusterError;
use crate::system::bind_to_parent;
use crate::tail::Tail;

/// What a command said.
#[derive(Clone, Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// The JSON documents on its standard output, one per line; what is none is left out.
    pub fn documents(&self) -> Vec<Value> {
        self.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// Who gives commands: with which program, to which cluster.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    binary: PathBuf,
    cluster: PathBuf,
    managers: String,
}

impl Operator {
    pub(crate) fn new(binary: &Path, cluster: PathBuf, managers: &[SocketAddr]) -> Self {
        let managers: Vec<String> = managers.iter().map(SocketAddr::to_string).collect();
        Self { binary: binary.to_path_buf(), cluster, managers: managers.join(",") }
    }

    /// Runs a command to its end, whatever that is.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Said, ClusterError> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).stdin(Stdio::null());
        command.env("EMBERFS_CLUSTER", &self.cluster).env("EMBERFS_MANAGERS", &self.managers);
        bind_to_parent(&mut command);
        let output = command.output().map_err(|source| ClusterError::Start {
            what: self.binary.display().to_string(),
            source,
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        Ok(Said { status: output.status, out, err })
    }

    /// Runs a command, with `--json`; it must succeed. Gives its documents.
    pub(crate) fn ask<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Vec<Value>, ClusterError> {
        let mut all: Vec<OsString> = arguments.iter().map(|a| a.as_ref().to_owned()).collect();
        all.push("--json".into());
        let said = self.run(&all)?;
        if said.status.success() {
            return Ok(said.documents());
        }
        let (command, tail) = (shown(arguments), Tail::last(&said.err, false));
        Err(ClusterError::Command { command, status: said.status, tail })
    }
}

/// Arguments, for people.
pub(crate) fn shown<A: AsRef<OsStr>>(arguments: &[A]) -> String {
    let all: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy()).collect();
    all.join(" ")
}

/// The text of a field of a document.
pub(crate) fn text(document: &Value, field: &str) -> Option<String> {
    document[field].as_str().map(str::to_owned)
}
