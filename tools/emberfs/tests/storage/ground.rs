//! What clusters of tests have in common.

use core::time::Duration;
use std::path::PathBuf;

use tools_cluster::{Cluster, Plan};

use crate::support::Folder;

/// Lease of the primary: what operators run with is ten seconds, for which no test wants to wait.
const PRIMARY_LEASE: Duration = Duration::from_secs(1);

/// A plan of a test: small, in a folder of its own.
pub(crate) fn plan(folder: &Folder) -> Plan {
    Plan {
        test_primary_lease: Some(PRIMARY_LEASE),
        store_bytes: 1 << 30,
        pool_bytes: Some(64 << 20),
        ..Plan::new(env!("CARGO_BIN_EXE_emberfs"), PathBuf::from(folder.path("cluster")))
    }
}

/// Starts it; what went wrong is told in words.
pub(crate) fn start(plan: Plan) -> Cluster {
    Cluster::start(plan).unwrap_or_else(|error| panic!("{error}"))
}
