//! A disk that is exchanged under load: its replicas are filled again.

use core::time::Duration;
use std::fs;

use serde_json::Value;
use tools_cluster::{Cluster, Name};

use crate::client::{good, text};
use crate::ground::{plan, start};
use crate::load::Load;
use crate::support::Folder;

const NODE: Name = Name::Storage(2);

/// Targets whose replicas lie in a store.
fn targets(cluster: &Cluster, store: &str) -> Vec<String> {
    let chains = good(cluster, &["chain", "list"]);
    let members = chains.iter().flat_map(|chain| chain["members"].as_array().unwrap());
    members.filter(|m| m["store"] == store).map(|m| text(&m["target"])).collect()
}

#[test]
fn an_exchanged_disk_is_filled_again_under_load() {
    let folder = Folder::new("storage-exchange");
    let mut cluster = start(plan(&folder));
    let load = Load::start(&cluster, 5);
    load.until_writes(200);
    let address = cluster.address(NODE).unwrap().to_string();
    let lost = text(&good(&cluster, &["storage", "space", &address])[0]["store"]);
    let targets = targets(&cluster, &lost);
    assert_eq!(targets.len(), 6, "{targets:?}");
    cluster.kill(NODE).unwrap();
    let path = cluster.path(NODE, "store-0.img");
    fs::remove_file(&path).unwrap();
    let file = cluster.cluster_file().display().to_string();
    let id = text(&good(&cluster, &["cluster", "show", &file])[0]["cluster"]);
    let path = path.display().to_string();
    let line = ["store", "format", &path, "--size", "1GiB", "--cluster", &id];
    let fresh = text(&good(&cluster, &line)[0]["store"]);
    load.until_writes(100);
    cluster.start_one(NODE).unwrap_or_else(|error| panic!("{error}"));
    for target in &targets {
        good(&cluster, &["target", "adopt-store", target, &fresh]);
    }
    cluster.until_whole(Duration::from_secs(60)).unwrap_or_else(|error| panic!("{error}"));
    load.until_writes(100);
    let space = &good(&cluster, &["storage", "space", &address])[0];
    assert_eq!((&space["store"], &space["targets"]), (&Value::from(fresh), &6.into()), "{space}");
    assert_eq!(space["chunks"], 24, "{space}");
    load.stop("exchange");
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
