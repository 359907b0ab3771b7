//! What failures cost, in figures: those of `cargo x campaign storage-processes`, which says how
//! many are wanted and where they go. `cargo test` takes a few, to know that they can be taken;
//! what must hold must hold in both: nothing is lost, no operation fails.

use core::time::Duration;
use std::fs::OpenOptions;
use std::io::Write as _;

use client_storage::{At, Storage};
use engine_runtime::monoio::MonoioEnv;
use engine_types::ChainId;
use serde_json::{Value, json};
use tools_cluster::{Cluster, Name};

use crate::client::{CHUNK_BYTES, Member, chunk, lent, members, sum, targets, with_client};
use crate::ground::{plan, start};
use crate::load::Load;
use crate::support::Folder;

/// How often a head is killed; the campaign sets it.
const KILLS: (&str, usize) = ("EMBERFS_STORAGE_KILLS", 1);
/// The file that figures are appended to, one document per line.
const REPORT: &str = "EMBERFS_STORAGE_REPORT";

const NODES: [Name; 3] = [Name::Storage(1), Name::Storage(2), Name::Storage(3)];
const AWAY: Name = Name::Storage(2);
const FILE: u64 = 66;
/// Of each of six chains: 600 chunks, 37.5 MiB.
const CHUNKS_PER_CHAIN: u32 = 100;
const WHOLE: Duration = Duration::from_secs(60);

/// Tells a figure.
pub(crate) fn figure(document: &Value) {
    eprintln!("{document}");
    if let Some(path) = std::env::var_os(REPORT) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{document}").unwrap();
    }
}

/// How many kills the campaign wants, if it runs.
fn kills() -> Option<usize> {
    std::env::var(KILLS.0).ok().map(|text| text.parse().unwrap())
}

/// Whether the campaign runs.
pub(crate) fn is_campaign() -> bool {
    kills().is_some()
}

fn whole(cluster: &mut Cluster) {
    cluster.until_whole(WHOLE).unwrap_or_else(|error| panic!("{error}"));
}

/// How long the longest write took when the head of its chain was killed.
#[test]
fn writes_go_on_after_the_death_of_a_head() {
    let folder = Folder::new("storage-figure-head");
    let mut cluster = start(plan(&folder));
    let load = Load::start(&cluster, 8);
    for number in 0..kills().unwrap_or(KILLS.1) {
        let chain = ChainId::new(1 + u32::try_from(number % 6).unwrap()).unwrap();
        let head = members(&cluster, chain)[0];
        load.until_each(2);
        load.take_longest();
        cluster.kill(head).unwrap();
        // The write of each chunk that was under way, and one more.
        load.until_each(2);
        let longest = load.take_longest();
        let (write_ms, read_ms) = (longest.write.as_millis(), longest.read.as_millis());
        figure(&json!({ "head": { "write_ms": write_ms, "read_ms": read_ms } }));
        cluster.start_one(head).unwrap_or_else(|error| panic!("{error}"));
        whole(&mut cluster);
    }
    load.stop("death of a head");
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}

/// What happens while a replica is away.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// Of so many chunks one is changed.
    every: u32,
    change: Change,
}

#[derive(Clone, Copy)]
enum Change {
    Nothing,
    /// So many bytes are overwritten.
    Overwrite(u32),
    Remove,
}

impl Change {
    const fn bytes(self) -> u32 {
        match self {
            Self::Overwrite(bytes) => bytes,
            Self::Nothing | Self::Remove => 0,
        }
    }
}

const CASES: [Case; 5] = [
    Case { name: "4 KiB of 10 % of the chunks", every: 10, change: Change::Overwrite(4096) },
    Case { name: "nothing", every: 1, change: Change::Nothing },
    Case { name: "all of 1 % of the chunks", every: 100, change: Change::Overwrite(CHUNK_BYTES) },
    Case { name: "4 KiB of every chunk", every: 1, change: Change::Overwrite(4096) },
    Case { name: "1 % of the chunks removed", every: 100, change: Change::Remove },
];

fn chunks(member: &Member, every: u32) -> Vec<At> {
    let indices = || (0..CHUNKS_PER_CHAIN).filter(move |index| index.is_multiple_of(every));
    let each = |chain| indices().map(move |index| chunk(FILE, chain, index));
    member.chains().into_iter().flat_map(each).collect()
}

/// Changes chunks; gives how many.
async fn change(member: Member, storage: Storage<MonoioEnv>, case: Case) -> u64 {
    let mut changed = 0;
    for at in chunks(&member, case.every) {
        let done = match case.change {
            Change::Nothing => continue,
            Change::Overwrite(bytes) => {
                let bytes = vec![case.every.to_le_bytes()[0]; bytes as usize];
                storage.write(at, 0, lent(&member.env, &bytes).await).await
            }
            Change::Remove => storage.remove(at).await,
        };
        done.unwrap_or_else(|error| panic!("{error}"));
        changed += 1;
    }
    changed
}

/// Chunks and bytes that nodes have shipped.
fn shipped(cluster: &Cluster) -> (u64, u64) {
    let others = NODES.iter().filter(|name| **name != AWAY);
    let targets: Vec<Value> = others.flat_map(|name| targets(cluster, *name)).collect();
    (sum(&targets, "shipped_chunks"), sum(&targets, "shipped_bytes"))
}

/// What is shipped to a replica that was away, beside what was changed meanwhile.
#[test]
fn a_catch_up_ships_what_has_changed() {
    let folder = Folder::new("storage-figure-away");
    let mut cluster = start(plan(&folder));
    let all = Case { name: "", every: 1, change: Change::Overwrite(CHUNK_BYTES) };
    with_client(&cluster, move |member, storage| change(member, storage, all));
    let cases = if is_campaign() { CASES.len() } else { 2 };
    for case in &CASES[..cases] {
        cluster.kill(AWAY).unwrap();
        let before = shipped(&cluster);
        let case = *case;
        let changed = with_client(&cluster, move |member, storage| change(member, storage, case));
        cluster.start_one(AWAY).unwrap_or_else(|error| panic!("{error}"));
        whole(&mut cluster);
        let after = shipped(&cluster);
        let (chunks, bytes) = (after.0 - before.0, after.1 - before.1);
        let received = sum(&targets(&cluster, AWAY), "received_chunks");
        assert!(changed <= chunks && changed <= received, "{changed}, {chunks}, {received}");
        figure(&json!({ "catch_up": {
            "changed": case.name,
            "changed_chunks": changed,
            "changed_bytes": changed * u64::from(case.change.bytes()),
            "shipped_chunks": chunks,
            "shipped_bytes": bytes,
        } }));
    }
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
