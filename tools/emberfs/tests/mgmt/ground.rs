//! A cluster on one machine: a KV and two managers, as processes.

use core::net::SocketAddr;

use serde_json::Value;

use crate::support::{Ended, Folder, Process, good, pause, run};

/// Lease of the primary: what operators run with is ten seconds, for which no test wants to wait.
const PRIMARY_LEASE: &str = "1s";
pub(crate) const MANAGERS: usize = 2;

/// What runs; killed when dropped.
pub(crate) struct Ground {
    _folder: Folder,
    pub(crate) cluster: String,
    dir: String,
    kv: Option<Process>,
    managers: [Option<Process>; MANAGERS],
    kv_address: SocketAddr,
    addresses: [SocketAddr; MANAGERS],
}

impl Ground {
    /// `name` is unique among tests.
    pub(crate) fn new(name: &str) -> Self {
        let folder = Folder::new(&format!("mgmt-{name}"));
        let (cluster, dir) = (folder.path("cluster.toml"), folder.path("kv"));
        good(&["cluster", "create", &cluster]);
        good(&["kv", "create", "--dir", &dir, "--cluster", &cluster]);
        let kv = serve_kv(&dir, &cluster, "127.0.0.1:0");
        let kv_address = kv.address;
        let managers = [1, 2].map(|node| manage(node, &cluster, kv_address, "127.0.0.1:0"));
        let addresses = [managers[0].address, managers[1].address];
        let managers = managers.map(Some);
        Self { _folder: folder, cluster, dir, kv: Some(kv), managers, kv_address, addresses }
    }

    /// Addresses of the managers.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.to_vec()
    }

    /// SIGKILL, and another start at the same address.
    pub(crate) fn kill_kv(&mut self) {
        self.kv.take().unwrap().kill();
        self.kv = Some(serve_kv(&self.dir, &self.cluster, &self.kv_address.to_string()));
    }

    /// SIGKILL.
    pub(crate) fn kill_manager(&mut self, index: usize) {
        self.managers[index].take().unwrap().kill();
    }

    /// SIGTERM: it hands over.
    pub(crate) fn stop_manager(&mut self, index: usize) {
        self.managers[index].take().unwrap().stop("emberfs mgmt: stopped\n");
    }

    pub(crate) fn start_manager(&mut self, index: usize) {
        let listen = self.addresses[index].to_string();
        self.managers[index] = Some(manage(index + 1, &self.cluster, self.kv_address, &listen));
    }

    /// Runs an operator's command.
    pub(crate) fn emberfs(&self, arguments: &[&str]) -> Ended {
        let managers = self.addresses.map(|address| address.to_string()).join(",");
        let operator = ["--managers", &managers, "--cluster", &self.cluster];
        run(&[arguments, &operator].concat())
    }

    /// Waits until somebody is primary, and gives his row of the status.
    pub(crate) fn until_primary(&self) -> Value {
        for _ in 0..500 {
            let status = self.emberfs(&["mgmt", "status", "--json"]);
            let mut told = status.documents();
            let told = told.pop().unwrap_or_default();
            let managers = told["managers"].as_array().cloned().unwrap_or_default();
            if let Some(primary) = managers.iter().find(|row| row["standing"] == "primary") {
                return primary.clone();
            }
            pause(core::time::Duration::from_millis(50));
        }
        panic!("nobody becomes primary")
    }

    /// The one JSON document that a command prints, which succeeds.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.emberfs(&[arguments, &["--json"]].concat());
        assert_eq!(ended.code, Some(0), "{arguments:?}: {} {}", ended.out, ended.err);
        ended.documents().remove(0)
    }
}

fn serve_kv(dir: &str, cluster: &str, address: &str) -> Process {
    Process::start(&[
        "kv",
        "serve",
        "--dir",
        dir,
        "--cluster",
        cluster,
        "--listen",
        address,
        "--json",
    ])
}

fn manage(node: usize, cluster: &str, kv: SocketAddr, listen: &str) -> Process {
    Process::start(&[
        "mgmt",
        "serve",
        "--cluster",
        cluster,
        "--kv",
        &kv.to_string(),
        "--listen",
        listen,
        "--node",
        &node.to_string(),
        "--test-primary-lease",
        PRIMARY_LEASE,
        "--json",
    ])
}
