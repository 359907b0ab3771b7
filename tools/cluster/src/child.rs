//! One process that runs, until it is known to have ended.

use core::net::SocketAddr;
use core::time::Duration;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

use crate::clock::{Stopwatch, pause};
use crate::error::ClusterError;
use crate::name::Name;
use crate::starter::Starter;
use crate::system::{self, Signal};
use crate::tail::Tail;

/// Between two looks at a process.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Longest first line of a process: it says where it listens.
const READY_BYTES_MAX: u64 = 64 << 10;
/// A log that has become longer is put aside when its process starts again, and what was put aside
/// before is removed.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// A process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    name: Name,
    child: Child,
    log: PathBuf,
    ready: PathBuf,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts a process of the cluster. Its standard output goes to the file `ready`, which is
    /// emptied, and its standard error to the end of `log`.
    pub(crate) fn start(
        name: Name,
        starter: &Starter,
        mut command: Command,
        ready: &Path,
        log: &Path,
    ) -> Result<Self, ClusterError> {
        rotate(log).map_err(ClusterError::file("rotate", log))?;
        let out = File::create(ready).map_err(ClusterError::file("create", ready))?;
        let err = OpenOptions::new().append(true).create(true).open(log);
        let err = err.map_err(ClusterError::file("open", log))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = starter.start(command);
        let child =
            child.map_err(|source| ClusterError::Start { what: name.to_string(), source })?;
        Ok(Self { name, child, log: log.to_path_buf(), ready: ready.to_path_buf(), ended: None })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process has said where it listens.
    pub(crate) fn until_ready(&mut self, patience: Duration) -> Result<SocketAddr, ClusterError> {
        const WHAT: &str = "it says where it listens";
        let watch = Stopwatch::start();
        loop {
            let line = self.first_line()?;
            let said = line.map(|line| {
                let said: Value = serde_json::from_str(&line).unwrap_or_default();
                (line, said)
            });
            // One that fails says so there, too; its log says it to people.
            if let Some((line, said)) = said.filter(|(_, said)| said["error"].is_null()) {
                let address = said["address"].as_str().and_then(|text| text.parse().ok());
                return address.ok_or_else(|| ClusterError::Answer {
                    command: format!("{} serve", self.name.noun()),
                    expected: "a document with an address",
                    found: line,
                });
            }
            if let Some(status) = self.ended() {
                let tail = self.tail();
                return Err(ClusterError::Ended { name: self.name, status, what: WHAT, tail });
            }
            if patience <= watch.elapsed() {
                return Err(ClusterError::Late {
                    who: self.name.to_string(),
                    what: WHAT,
                    waited: patience,
                    seen: "its log ends with:".to_owned(),
                    tail: self.tail(),
                });
            }
            pause(LOOK_EVERY);
        }
    }

    /// The first line, when all of it is there.
    fn first_line(&self) -> Result<Option<String>, ClusterError> {
        let failed = || ClusterError::file("read", &self.ready);
        let len = fs::metadata(&self.ready).map_err(failed())?.len();
        if READY_BYTES_MAX < len {
            let error = io::Error::new(ErrorKind::FileTooLarge, "it says too much");
            return Err(failed()(error));
        }
        let text = fs::read_to_string(&self.ready).map_err(failed())?;
        Ok(text.split_once('\n').map(|(line, _)| line.to_owned()))
    }

    /// Its last words.
    pub(crate) fn tail(&self) -> Tail {
        Tail::of(&self.log)
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            // A child that cannot be asked about runs as far as anybody knows.
            self.ended = self.child.try_wait().unwrap_or(None);
        }
        self.ended
    }

    /// Sends a signal, unless it has ended: its number may be another process's then. SIGKILL goes
    /// to whatever it has started, too.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            system::signal(&self.child, signal);
        }
    }

    /// Waits for its end; nothing if it still runs after `patience`.
    pub(crate) fn until_ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let watch = Stopwatch::start();
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if patience <= watch.elapsed() {
                return None;
            }
            pause(LOOK_EVERY);
        }
    }

    /// SIGKILL, and waits for the end, which the kernel does not refuse.
    pub(crate) fn kill(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::Kill);
        if self.ended.is_none() {
            self.ended = self.child.wait().ok();
        }
        self.ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Puts a long log aside.
fn rotate(log: &Path) -> io::Result<()> {
    match fs::metadata(log) {
        Ok(data) if LOG_BYTES_MAX < data.len() => fs::rename(log, log.with_extension("old")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod testing {
    use std::fs;
    use std::path::PathBuf;

    /// A folder of a test, removed at the end.
    pub(crate) struct Scratch(pub(crate) PathBuf);

    impl Scratch {
        /// `name` is unique among tests.
        pub(crate) fn new(name: &str) -> Self {
            let test = std::env::current_exe().unwrap();
            let folder = test.with_file_name(format!("cluster-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder); // of a former process of the same id
            fs::create_dir(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
