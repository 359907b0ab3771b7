//! What a cluster consists of.

use core::time::Duration;
use std::path::PathBuf;

use crate::error::ClusterError;

/// Most managers: more than a few only cost heartbeats.
const MANAGERS_MAX: u64 = 7;
/// Most storage nodes of one machine: each has a process and its memory.
const NODES_MAX: u64 = 64;
/// Most metadata services: they share one key-value store, which a few of them keep busy.
const METAS_MAX: u64 = 16;
/// Most stores of a node.
const STORES_MAX: u64 = 64;
/// Most chains that are created at first: nobody has so many on one machine.
const CHAINS_MAX: u64 = 4096;
/// Least bytes of a store: `emberfs store format` needs room for its journal and its index.
const STORE_BYTES_MIN: u64 = 256 << 20;
/// Longest time until a process serves, and until something that it does has happened.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(30);
/// Longest time for an orderly end, until a process is killed.
const STOP_PATIENCE_DEFAULT: Duration = Duration::from_secs(15);

/// What a cluster consists of. What it says of stores and chains counts when they are made; a
/// directory that was used before keeps those that it has.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program `emberfs`.
    pub binary: PathBuf,
    /// Where everything lies; made if it is not there.
    pub dir: PathBuf,
    /// Managers.
    pub managers: usize,
    /// Storage nodes.
    pub nodes: usize,
    /// Metadata services; none are started if nobody says.
    pub metas: usize,
    /// Further lines of each `[meta]` section, as `emberfs config validate --help` shows them.
    pub meta_settings: String,
    /// Shards of each node; one alone is not pinned to a core.
    pub shards: usize,
    /// Stores of each shard.
    pub stores: usize,
    /// Bytes of each store, a sparse file.
    pub store_bytes: u64,
    /// Members of each chain.
    pub replicas: usize,
    /// Chains that are created at first.
    pub chains: usize,
    /// Memory for I/O of each shard; nothing: the default of `emberfs`.
    pub pool_bytes: Option<u64>,
    /// Further lines of each `[storage]` section, as `emberfs config validate --help` shows them.
    pub storage_settings: String,
    /// Lease of the primary manager, shorter than operators may set it: for tests that kill
    /// managers.
    pub test_primary_lease: Option<Duration>,
    /// Level of the logs; nothing: the default of `emberfs`.
    pub log: Option<String>,
    /// Longest time that is waited until a process serves, somebody is primary, chains are whole.
    pub patience: Duration,
    /// Longest time that is waited for an orderly end.
    pub stop_patience: Duration,
}

impl Plan {
    /// One manager, three nodes of one shard with one store of 2 GiB, six chains of three replicas.
    pub fn new(binary: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            dir: dir.into(),
            managers: 1,
            nodes: 3,
            metas: 0,
            meta_settings: String::new(),
            shards: 1,
            stores: 1,
            store_bytes: 2 << 30,
            replicas: 3,
            chains: 6,
            pool_bytes: None,
            storage_settings: String::new(),
            test_primary_lease: None,
            log: None,
            patience: PATIENCE_DEFAULT,
            stop_patience: STOP_PATIENCE_DEFAULT,
        }
    }

    /// Refuses what cannot be built.
    pub(crate) fn check(&self) -> Result<(), ClusterError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let chains_max = if self.nodes == 0 { 0 } else { CHAINS_MAX };
        let rows = [
            ("managers", self.managers as u64, 1, MANAGERS_MAX),
            ("storage nodes", self.nodes as u64, 0, NODES_MAX),
            ("metadata services", self.metas as u64, 0, METAS_MAX),
            ("shards of a node", self.shards as u64, 1, cores),
            ("stores of a shard", self.stores as u64, 1, STORES_MAX),
            ("bytes of a store", self.store_bytes, STORE_BYTES_MIN, u64::MAX),
            ("replicas", self.replicas as u64, 1, self.nodes.max(1) as u64),
            ("chains", self.chains as u64, 0, chains_max),
        ];
        for (what, found, min, max) in rows {
            if found < min || max < found {
                return Err(ClusterError::Plan { what, found, min, max });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_built_is_refused() {
        let good = || Plan::new("emberfs", "/nowhere");
        assert!(good().check().is_ok());
        assert!(Plan { nodes: 0, replicas: 1, chains: 0, ..good() }.check().is_ok());
        for (plan, expected) in [
            (Plan { managers: 0, ..good() }, "managers: found 0, expected 1 to 7"),
            (Plan { replicas: 4, ..good() }, "replicas: found 4, expected 1 to 3"),
            (Plan { nodes: 65, ..good() }, "storage nodes: found 65, expected 0 to 64"),
            (Plan { metas: 17, ..good() }, "metadata services: found 17, expected 0 to 16"),
            (Plan { shards: 0, ..good() }, "shards of a node: found 0"),
            (Plan { store_bytes: 1, ..good() }, "bytes of a store: found 1, expected 268435456"),
            (Plan { nodes: 0, replicas: 1, ..good() }, "chains: found 6, expected 0 to 0"),
        ] {
            let found = plan.check().unwrap_err().to_string();
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
