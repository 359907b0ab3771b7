//! Bytes that change by themselves in one replica, and a store that is wiped, both under load:
//! clients read what was written, and in the end all replicas are whole and the same.

use core::time::Duration;
use std::fs::{self, OpenOptions};
use std::path::Path;

use engine_types::Retry;
use rustix::fs::FallocateFlags;
use tools_cluster::{Cluster, Name, Plan};

use crate::client::{good, sum, targets, text, told, with_client};
use crate::ground::{plan, start};
use crate::load::Load;
use crate::still;
use crate::support::{Folder, pause};

const NODES: [Name; 3] = [Name::Storage(1), Name::Storage(2), Name::Storage(3)];
const NODE: Name = Name::Storage(2);
/// Slow, so that a pass that begins with the start of a node is not over before the node takes
/// part: what is found at its end is repaired from others.
const SCRUB: &str = "scrub_rate = \"1MiB\"\n";
/// Each replica of a chain is asked for a chunk four times: reads are spread in turn.
const ROUNDS: usize = 12;
/// Chunks of which bytes are flipped, and that clients read; the others are read by nobody.
const fn is_read(index: u32) -> bool {
    index.is_multiple_of(2)
}

/// Repairs that the node has told of in its log.
fn repaired(cluster: &Cluster) -> usize {
    let log = fs::read_to_string(cluster.path(NODE, "log")).unwrap();
    log.lines().filter(|line| line.contains("repaired from a replica")).count()
}

/// Does something until there are so many repairs.
fn until_repaired(cluster: &Cluster, count: usize, mut meanwhile: impl FnMut()) {
    for _ in 0..6_000 {
        if count <= repaired(cluster) {
            return;
        }
        meanwhile();
        pause(Duration::from_millis(10));
    }
    panic!("{} of {count} are repaired", repaired(cluster));
}

/// What the store of a node holds of each chunk that clients can see, by `store dump`; the cluster
/// does not run.
fn holdings(cluster: &Cluster, name: Name) -> Vec<String> {
    let store = cluster.path(name, "store-0.img").display().to_string();
    let slots = good(cluster, &["store", "dump", &store, "--targets"]);
    let rows = good(cluster, &["store", "dump", &store, "--chunks"]);
    let of = |row: &serde_json::Value| {
        let slot = slots.iter().find(|slot| slot["slot"] == row["slot"]).unwrap();
        let fields = ["inode", "index", "version", "len", "digest", "pending"];
        let fields: Vec<String> = fields.iter().map(|field| row[*field].to_string()).collect();
        format!("chain {}: {}", slot["chain"], fields.join(" "))
    };
    let mut rows: Vec<String> = rows.iter().map(of).collect();
    rows.sort_unstable();
    rows
}

/// Ends the cluster. Every checksum of every store is right, and all have the same chunks.
fn stop_and_compare(mut cluster: Cluster) {
    for name in NODES {
        cluster.stop_one(name).unwrap_or_else(|error| panic!("{error}"));
        let store = cluster.path(name, "store-0.img").display().to_string();
        good(&cluster, &["store", "check", &store, "--deep"]);
    }
    let first = holdings(&cluster, NODES[0]);
    let chunks = 6 * (still::CHUNKS_PER_CHAIN + crate::load::CHUNKS_PER_CHAIN);
    assert_eq!(first.len(), chunks as usize, "{first:?}");
    for name in &NODES[1..] {
        assert_eq!(holdings(&cluster, *name), first, "{name}");
    }
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}

/// Reads the still chunks, some rounds of those of `wanted`. Gives how often another replica had to
/// be asked.
fn read(cluster: &Cluster, rounds: usize, wanted: impl Fn(u32) -> bool + 'static) -> u64 {
    with_client(cluster, async move |member, storage| {
        for _ in 0..rounds {
            let chunks = still::chunks(&member);
            for at in chunks.into_iter().filter(|at| wanted(at.chunk.index)) {
                still::verify(&storage, at).await;
            }
        }
        storage.metrics().retries(Retry::OtherTarget)
    })
}

#[test]
fn flipped_bytes_are_repaired_while_clients_read_what_was_written() {
    let folder = Folder::new("storage-rot");
    let plan = Plan { storage_settings: SCRUB.to_owned(), ..plan(&folder) };
    let mut cluster = start(plan);
    let load = Load::start(&cluster, 6);
    with_client(&cluster, async |member, storage| still::fill(&member, &storage).await);
    load.until_writes(100);
    let half = 6 * still::CHUNKS_PER_CHAIN as usize / 2;
    let store = cluster.path(NODE, "store-0.img");
    // What somebody reads is repaired by that.
    assert_eq!(still::flip(&store, is_read), half);
    // A client keeps away from a replica that has failed, so some are needed to find all.
    let mut again = 0;
    until_repaired(&cluster, half, || again += read(&cluster, ROUNDS / 4, is_read));
    assert!(
        half as u64 <= again,
        "{half} chunks of a replica were damaged, {again} answers say so"
    );
    assert_eq!(read(&cluster, ROUNDS, is_read), 0, "all replicas are whole again");
    // What nobody reads is found by a scrub.
    assert_eq!(still::flip(&store, |index| !is_read(index)), half);
    cluster.stop_one(NODE).unwrap_or_else(|error| panic!("{error}"));
    cluster.start_one(NODE).unwrap_or_else(|error| panic!("{error}"));
    until_repaired(&cluster, 2 * half, || ());
    cluster.until_whole(Duration::from_secs(60)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read(&cluster, ROUNDS / 4, |_| true), 0, "all replicas are whole again");
    load.until_writes(100);
    load.stop("rot");
    stop_and_compare(cluster);
}

/// Zeros everywhere, superblocks and all.
fn wipe(store: &Path) {
    let file = OpenOptions::new().write(true).open(store).unwrap();
    let bytes = file.metadata().unwrap().len();
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&file, hole, 0, bytes).unwrap();
    file.sync_all().unwrap();
}

/// The steps are those of `tools/docs/OPERATING.md`.
#[test]
fn a_wiped_store_is_replaced_and_filled_again_under_load() {
    let folder = Folder::new("storage-wiped");
    let mut cluster = start(plan(&folder));
    let load = Load::start(&cluster, 7);
    with_client(&cluster, async |member, storage| still::fill(&member, &storage).await);
    load.until_writes(100);
    // All of it, under the hands of the node that serves it.
    let path = cluster.path(NODE, "store-0.img");
    wipe(&path);
    load.until_writes(100);
    assert!(0 < read(&cluster, ROUNDS, |_| true), "clients have to ask others");
    // What the node has written since goes, too: it is no store any more.
    cluster.kill(NODE).unwrap();
    wipe(&path);
    load.until_writes(100);
    let error = cluster.start_one(NODE).unwrap_err().to_string();
    assert!(error.contains("store-0.img") && error.contains("emberfs store check"), "{error}");
    let path = path.display().to_string();
    told(&cluster, &["store", "check", &path], 1);
    let file = cluster.cluster_file().display().to_string();
    let id = text(&good(&cluster, &["cluster", "show", &file])[0]["cluster"]);
    let line = ["store", "format", &path, "--size", "1GiB", "--cluster", &id];
    let fresh = text(&good(&cluster, &line)[0]["store"]);
    cluster.start_one(NODE).unwrap_or_else(|error| panic!("{error}"));
    let chains = good(&cluster, &["chain", "list", "--unwhole"]);
    assert_eq!(chains.len(), 6, "{chains:?}");
    for chain in &chains {
        let members = chain["members"].as_array().unwrap();
        let lost = members.iter().find(|member| member["state"] != "serving").unwrap();
        good(&cluster, &["target", "adopt-store", &text(&lost["target"]), &fresh]);
    }
    cluster.until_whole(Duration::from_secs(60)).unwrap_or_else(|error| panic!("{error}"));
    let chunks = 6 * u64::from(still::CHUNKS_PER_CHAIN);
    assert!(chunks <= sum(&targets(&cluster, NODE), "received_chunks"));
    assert_eq!(read(&cluster, ROUNDS / 4, |_| true), 0, "all replicas are whole again");
    load.until_writes(100);
    load.stop("wiped");
    stop_and_compare(cluster);
}
