//! What operators see of storage nodes.

use core::time::Duration;
use std::fs;

use tools_cluster::{Name, Plan};

use crate::client::{sum, targets, told};
use crate::ground::{plan, start};
use crate::load::Load;
use crate::support::{Folder, pause};

const NODE: Name = Name::Storage(1);

/// Shards on cores of their own, with two stores each: a load goes to all of them.
#[test]
fn a_node_with_shards_tells_of_each_and_of_its_stores() {
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return eprintln!("one core has one shard");
    }
    let folder = Folder::new("storage-shards");
    let wide =
        Plan { shards: 2, stores: 2, chains: 12, pool_bytes: Some(32 << 20), ..plan(&folder) };
    let mut cluster = start(wide);
    let load = Load::start(&cluster, 4);
    load.until_writes(500);
    load.stop("shards");
    let address = cluster.address(NODE).unwrap().to_string();
    let shards = told(&cluster, &["storage", "status", &address], 0);
    assert_eq!(shards.len(), 2, "{shards:?}");
    for shard in &shards {
        assert_eq!((&shard["stores"], &shard["targets"]), (&2.into(), &6.into()), "{shard}");
        assert!(0 < shard["chunks"].as_u64().unwrap(), "{shard}");
    }
    let stores = told(&cluster, &["storage", "space", &address], 0);
    assert_eq!(stores.len(), 4, "{stores:?}");
    assert!(stores.iter().all(|store| store["state"] == "good" && store["targets"] == 3));
    let targets = targets(&cluster, NODE);
    assert_eq!(targets.len(), 12, "{targets:?}");
    for target in &targets {
        assert_eq!((&target["state"], &target["leased"]), (&"serving".into(), &true.into()));
    }
    assert!(0 < sum(&targets, "reads") && 0 < sum(&targets, "updates"), "{targets:?}");
    let store = stores[0]["store"].as_str().unwrap();
    let begun = told(&cluster, &["storage", "scrub", &address, "--store", store], 0);
    assert_eq!((begun.len(), &begun[0]["running"]), (1, &true.into()), "{begun:?}");
    let begun = told(&cluster, &["storage", "scrub", &address], 0);
    assert_eq!(begun.len(), 4, "{begun:?}");
    let passes = sum(&begun, "passes") + 4;
    let nobody = "00000000-0000-0000-0000-000000000001";
    told(&cluster, &["storage", "scrub", &address, "--store", nobody], 1);
    let mut looks = (0..600).map(|_| {
        pause(Duration::from_millis(100));
        told(&cluster, &["storage", "status", &address], 0)
    });
    let verified = looks.find(|shards| passes <= sum(shards, "scrub_passes")).unwrap();
    assert!(0 < sum(&verified, "scrubbed_bytes"), "{verified:?}");
    assert_eq!(sum(&verified, "damaged_blocks") + sum(&verified, "repaired_blocks"), 0);
    cluster.kill(NODE).unwrap();
    cluster.start_one(NODE).unwrap_or_else(|error| panic!("{error}"));
    cluster.until_whole(Duration::from_secs(60)).unwrap();
    assert_eq!(told(&cluster, &["storage", "status", &address], 0).len(), 2);
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn what_keeps_a_node_from_serving_is_told() {
    let folder = Folder::new("storage-told");
    let mut cluster = start(Plan { nodes: 1, replicas: 1, chains: 1, ..plan(&folder) });
    let address = cluster.address(NODE).unwrap().to_string();
    // Who asks the wrong process is told so.
    let manager = cluster.managers()[0].to_string();
    told(&cluster, &["storage", "status", &manager], 3);
    let config = cluster.path(NODE, "config.toml").display().to_string();
    let line = ["storage", "status", "--config", &config];
    assert_eq!(told(&cluster, &line, 0).len(), 1);
    told(&cluster, &["config", "validate", &config], 0);
    // The store is in use, and so is the address.
    let second = cluster.emberfs(&["storage", "serve", "--config", &config]).unwrap();
    assert_eq!(second.status.code(), Some(3), "{}", second.err);
    let line = ["storage", "serve", "--config", &config, "--listen", "127.0.0.1:0"];
    let second = cluster.emberfs(&line).unwrap();
    assert!(!second.status.success(), "{}", second.out);
    cluster.stop_one(NODE).unwrap_or_else(|error| panic!("{error}"));
    told(&cluster, &["storage", "space", &address, "--timeout", "1s"], 3);
    // What is no store is a problem that was found.
    let store = cluster.path(NODE, "store-0.img");
    fs::write(&store, vec![7; 1 << 20]).unwrap();
    let said = cluster.emberfs(&["storage", "serve", "--config", &config]).unwrap();
    assert_eq!(said.status.code(), Some(1), "{}", said.err);
    assert!(said.err.contains("store-0.img"), "{}", said.err);
    assert!(said.err.contains("hint: emberfs store check"), "{}", said.err);
}
