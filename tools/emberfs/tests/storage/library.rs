//! The library itself: what it promises of processes, with a cluster that stores nothing.

use core::time::Duration;
use std::path::Path;

use tools_cluster::{Cluster, ClusterError, Name, News, Plan};

use crate::ground::{plan, start};
use crate::support::{Folder, pause};

/// Managers alone: enough for everything that is not about data.
fn managers(folder: &Folder) -> Plan {
    Plan { managers: 2, nodes: 0, replicas: 1, chains: 0, ..plan(folder) }
}

fn pids(cluster: &mut Cluster) -> Vec<u32> {
    cluster.names().into_iter().map(|name| cluster.pid(name).unwrap()).collect()
}

fn runs(pid: &u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[test]
fn a_cluster_comes_back_at_its_addresses_and_leaves_nothing_behind() {
    let folder = Folder::new("cluster-back");
    let mut cluster = start(managers(&folder));
    let names = [Name::Kv, Name::Manager(1), Name::Manager(2)];
    assert_eq!(cluster.names(), names);
    let before: Vec<_> = names.map(|name| cluster.address(name).unwrap()).to_vec();
    let other = Cluster::start(managers(&folder)).unwrap_err();
    assert!(matches!(other, ClusterError::InUse { .. }), "{other}");
    let mut all = pids(&mut cluster);
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
    let mut cluster = start(managers(&folder));
    let after: Vec<_> = names.map(|name| cluster.address(name).unwrap()).to_vec();
    assert_eq!(before, after);
    all.extend(pids(&mut cluster));
    drop(cluster);
    assert!(!all.iter().any(runs), "{all:?}");
}

#[test]
fn processes_are_killed_frozen_and_started_again() {
    let folder = Folder::new("cluster-kills");
    let mut cluster = start(managers(&folder));
    cluster.kill(Name::Manager(1)).unwrap();
    assert!(cluster.kill(Name::Manager(1)).is_err());
    cluster.until_primary().unwrap_or_else(|error| panic!("{error}"));
    cluster.start_one(Name::Manager(1)).unwrap();
    assert!(cluster.start_one(Name::Manager(1)).is_err());
    cluster.freeze(Name::Manager(2)).unwrap();
    cluster.until_primary().unwrap_or_else(|error| panic!("{error}"));
    cluster.thaw(Name::Manager(2)).unwrap();
    cluster.freeze(Name::Kv).unwrap();
    cluster.stop_one(Name::Kv).unwrap_or_else(|error| panic!("{error}"));
    assert!(cluster.dead().is_empty(), "what was stopped is not missed");
    cluster.start_one(Name::Kv).unwrap();
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}

/// Kills a process behind the back of the library.
fn murder(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn who_ends_by_himself_is_noticed_and_started_again() {
    let folder = Folder::new("cluster-tend");
    let mut cluster = start(managers(&folder));
    assert!(cluster.tend().is_empty());
    murder(cluster.pid(Name::Manager(2)).unwrap());
    let mut told = Vec::new();
    for _ in 0..1000 {
        told.extend(cluster.tend());
        if 2 <= told.len() {
            break;
        }
        pause(Duration::from_millis(10));
    }
    match &told[..] {
        [News::Ended { name, tail, .. }, News::Started { name: again, address }] => {
            assert_eq!((*name, *again), (Name::Manager(2), Name::Manager(2)));
            assert_eq!(cluster.address(Name::Manager(2)), Some(*address));
            assert!(!tail.lines().is_empty());
        }
        other => panic!("{other:?}"),
    }
    murder(cluster.pid(Name::Kv).unwrap());
    let noticed = (0..1000).any(|_| {
        pause(Duration::from_millis(10));
        !cluster.dead().is_empty()
    });
    assert!(noticed);
}

#[test]
fn a_process_that_cannot_serve_is_told_with_its_log() {
    let folder = Folder::new("cluster-told");
    let cluster = start(managers(&folder));
    let kv = cluster.path(Name::Kv, "data");
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
    for entry in std::fs::read_dir(kv).unwrap().flatten() {
        std::fs::write(entry.path(), b"nothing").unwrap();
    }
    let error = Cluster::start(managers(&folder)).unwrap_err().to_string();
    assert!(error.starts_with("kv ended (exit status: "), "{error}");
    assert!(error.contains("before it says where it listens; its log ends with:\n"), "{error}");
    assert!(error.contains("\n    emberfs: "), "{error}");
}
