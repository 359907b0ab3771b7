//! A folder with a cluster file and a store, and the process that serves it.

use std::ops::Deref;

use serde_json::Value;

use crate::support::Process;
pub(crate) use crate::support::{Folder, bad, good, run, run_while};

/// A served store; killed when dropped.
pub(crate) struct Server(Process);

impl Server {
    /// Serves `dir` at `address`; port 0 is a free one.
    pub(crate) fn start(dir: &str, cluster: &str, address: &str) -> Self {
        let arguments =
            ["kv", "serve", "--dir", dir, "--cluster", cluster, "--listen", address, "--json"];
        Self(Process::start(&arguments))
    }

    /// SIGTERM; it must drain, close the store and end with 0.
    pub(crate) fn stop(self) {
        self.0.stop("emberfs kv: stopped, the store is closed\n");
    }

    /// SIGKILL.
    pub(crate) fn kill(self) {
        self.0.kill();
    }

    /// Waits for its end.
    pub(crate) fn wait(self) -> crate::support::Ended {
        self.0.wait()
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

/// A folder with a cluster file and an empty store.
pub(crate) struct Ground {
    pub(crate) folder: Folder,
    pub(crate) cluster: String,
    pub(crate) dir: String,
}

impl Ground {
    /// `name` is unique among tests.
    pub(crate) fn new(name: &str) -> Self {
        let folder = Folder::new(&format!("kv-{name}"));
        let (cluster, dir) = (folder.path("cluster.toml"), folder.path("kv"));
        good(&["cluster", "create", &cluster]);
        good(&["kv", "create", "--dir", &dir, "--cluster", &cluster]);
        Self { folder, cluster, dir }
    }

    /// Serves the store at a free port.
    pub(crate) fn serve(&self) -> Server {
        Server::start(&self.dir, &self.cluster, "127.0.0.1:0")
    }

    /// All keys that begin with `prefix`, with their values, in `dir`, which nobody serves.
    pub(crate) fn entries(dir: &str, prefix: &str) -> Vec<(String, String)> {
        let limit = "1000000";
        let ended = good(&["kv", "range", prefix, "--dir", dir, "--limit", limit, "--json"]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        ended.documents().iter().map(|entry| (text(&entry["key"]), text(&entry["value"]))).collect()
    }
}
