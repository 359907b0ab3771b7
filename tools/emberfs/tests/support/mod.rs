//! Folders and processes that leave nothing behind, however a test ends.
//!
//! Each file of tests is a program of its own and uses a part of this.
#![allow(dead_code, reason = "each program of tests uses a part")]

use core::net::SocketAddr;
use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;

use engine_net::{NetConfig, NetLimits};
use engine_types::ClusterId;
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};
use rustix::process::{Pid, Signal};
use serde_json::Value;

/// Longest life of a process of a test: one that hangs is killed, and its test fails.
const HANG: Duration = Duration::from_secs(60);

/// A folder that is removed at the end; the next run removes what a killed one left.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// `name` is unique among tests.
    pub(crate) fn new(name: &str) -> Self {
        let base = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let prefix = format!("emberfs-{name}-");
        for entry in fs::read_dir(&base).unwrap().flatten() {
            let left = entry.file_name().into_string().unwrap();
            let owner = left.strip_prefix(&prefix).filter(|id| id.parse::<u32>().is_ok());
            if owner.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
                remove(&entry.path());
            }
        }
        let folder = base.join(format!("{prefix}{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// A path in it, as arguments have it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes a folder, and what is mounted at `full` in it.
fn remove(folder: &Path) {
    let mount = folder.join("full");
    if mount.exists() {
        let _ = Command::new("umount").arg("--lazy").arg(&mount).stderr(Stdio::null()).status();
    }
    let _ = fs::remove_dir_all(folder);
}

/// Kills a process that lives too long, unless it is dropped before.
struct Guard {
    done: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Guard {
    fn new(child: &Child, what: String) -> Self {
        let pid = pid(child);
        let (done, waits) = channel();
        let watch = move || {
            if waits.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
                eprintln!("killed after {HANG:?}: {what}");
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        };
        let thread = std::thread::Builder::new().spawn(watch).unwrap();
        Self { done: Some(done), thread: Some(thread) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.done.take());
        let _ = self.thread.take().unwrap().join();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// `emberfs` that dies with the thread that starts it. (setpriv is in the Debian package
/// util-linux, which every system has.)
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_emberfs")]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("EMBERFS_CLUSTER").env_remove("EMBERFS_MANAGERS");
    command
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; nothing when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// The documents on standard output.
    pub(crate) fn documents(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs `emberfs` to its end.
pub(crate) fn run(arguments: &[&str]) -> Ended {
    run_while(arguments, || ())
}

/// Starts `emberfs`, does `meanwhile`, and waits for its end.
pub(crate) fn run_while(arguments: &[&str], meanwhile: impl FnOnce()) -> Ended {
    let child = command(arguments).spawn().unwrap();
    let guard = Guard::new(&child, arguments.join(" "));
    meanwhile();
    let output = child.wait_with_output().unwrap();
    drop(guard);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs it; it must succeed and say nothing on standard error.
pub(crate) fn good(arguments: &[&str]) -> Ended {
    let ended = run(arguments);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}: {}", ended.out);
    ended
}

/// Runs it; it must end with `code`, say `expected` on standard error, and nothing else.
pub(crate) fn bad(arguments: &[&str], code: i32, expected: &str) {
    let ended = run(arguments);
    assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.err);
    assert!(ended.err.contains(expected), "{arguments:?}: {}", ended.err);
    assert!(ended.err.starts_with("emberfs: "), "{arguments:?}: {}", ended.err);
    assert_eq!(ended.out, "", "{arguments:?}: {}", ended.err);
}

/// A process that serves; killed when dropped.
pub(crate) struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
    pub(crate) ready: Value,
    /// Before `child` ends it may not fire: it knows a number, not a process.
    guard: Option<Guard>,
}

impl Process {
    /// Starts `emberfs`, which tells in a JSON document where it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments).spawn().unwrap();
        let guard = Some(Guard::new(&child, arguments.join(" ")));
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        let Some(address) = ready["address"].as_str() else {
            let mut err = String::new();
            child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            let _ = child.wait();
            panic!("it does not serve: {line}{err}");
        };
        let address = address.parse().unwrap();
        Self { child, out, address, ready, guard }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(pid(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Ended {
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let code = self.child.wait().unwrap().code();
        Ended { code, out, err }
    }

    /// SIGTERM; it must end with 0, and `last` must be the end of what it says.
    pub(crate) fn stop(self, last: &str) {
        self.signal(Signal::TERM);
        let ended = self.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.err.ends_with(last), "{}", ended.err);
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.wait().code, None);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.take());
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

/// Who a client in the test's own process is, by a cluster file.
pub(crate) fn net(cluster: &str, identity: Identity) -> Rc<NetConfig> {
    let text = fs::read_to_string(cluster).unwrap();
    let value = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let id: ClusterId = value("id").parse().unwrap();
    let secret: ClusterSecret = value("secret").parse().unwrap();
    let local = Local { cluster: id, identity, secret, versions: Versions::BUILD };
    let limits = NetLimits { credit_bytes: 8 << 20, ..NetLimits::default() };
    Rc::new(NetConfig { local, limits })
}

/// Pauses without holding up anybody but this thread.
pub(crate) fn pause(time: Duration) {
    let (_open, never) = channel::<()>();
    assert_eq!(never.recv_timeout(time), Err(RecvTimeoutError::Timeout));
}
