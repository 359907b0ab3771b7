//! Three nodes with three replicas of everything, under load: kills, a restart of all, a rolling
//! restart. No acknowledged write is lost, and no operation fails.

use core::time::Duration;

use serde_json::json;
use tools_cluster::{Cluster, Name};

use crate::figures::figure;
use crate::ground::{plan, start};
use crate::load::{Load, Longest};
use crate::support::{Folder, pause};

const NODES: [Name; 3] = [Name::Storage(1), Name::Storage(2), Name::Storage(3)];
/// Longest wait until replicas that were away have caught up.
const WHOLE: Duration = Duration::from_secs(60);

fn until_whole(cluster: &mut Cluster) {
    cluster.until_whole(WHOLE).unwrap_or_else(|error| panic!("{error}"));
}

fn start_one(cluster: &mut Cluster, name: Name) {
    cluster.start_one(name).unwrap_or_else(|error| panic!("{error}"));
}

fn stop(cluster: Cluster) {
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}

/// Each node is head of some chains, in the middle of others, and tail of others.
#[test]
fn a_node_that_is_killed_under_load_costs_nothing() {
    let folder = Folder::new("storage-one");
    let mut cluster = start(plan(&folder));
    let load = Load::start(&cluster, 1);
    load.until_writes(200);
    for name in NODES {
        cluster.kill(name).unwrap();
        load.until_writes(200);
        start_one(&mut cluster, name);
        load.until_writes(50);
        until_whole(&mut cluster);
        load.until_writes(50);
    }
    load.stop("one by one");
    stop(cluster);
}

#[test]
fn all_nodes_that_are_killed_at_once_come_back_with_everything() {
    let folder = Folder::new("storage-all");
    let mut cluster = start(plan(&folder));
    let load = Load::start(&cluster, 2);
    for round in 0..2 {
        load.until_writes(300);
        cluster.kill_all(&NODES).unwrap();
        pause(Duration::from_millis(round * 500));
        for name in NODES {
            start_one(&mut cluster, name);
        }
        load.until_writes(100);
        until_whole(&mut cluster);
    }
    load.stop("all at once");
    stop(cluster);
}

#[test]
fn a_rolling_restart_fails_no_operation() {
    let folder = Folder::new("storage-rolling");
    let mut cluster = start(plan(&folder));
    let load = Load::start(&cluster, 3);
    load.until_each(1);
    load.take_longest();
    for name in NODES {
        load.until_writes(100);
        cluster.stop_one(name).unwrap_or_else(|error| panic!("{error}"));
        load.until_writes(50);
        start_one(&mut cluster, name);
        until_whole(&mut cluster);
    }
    load.until_each(1);
    let Longest { write, read } = load.stop("rolling");
    let (write_ms, read_ms) = (write.as_millis(), read.as_millis());
    figure(&json!({ "rolling": { "write_ms": write_ms, "read_ms": read_ms } }));
    stop(cluster);
}
