//! The verbs on one store, from its making to its damage.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use engine_runtime::Bytes;
use engine_shard::{ChunkStore, Payload, StoreConfig};
use engine_store::{Change, ChunkKey, Slot, TargetPhase, TargetRecord, TruncateEpoch, Update};
use engine_types::{ChainId, ChainVersion, ChunkSize, ChunkVersion, Incarnation, TargetId};

use super::testing::{Folder, Paper, on_core};
use super::*;

/// As in `emberfs store ...`; what it printed, and its end.
fn emberfs(line: &[&str]) -> (Result<Exit, Failure>, Paper) {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let words = ["store"].iter().chain(line);
    let verb = Line::try_parse_from(words).unwrap().args.verb;
    let paper = Paper::default();
    let mut out = paper.output(verb.json());
    let done = on_core(move |env| async move {
        match verb {
            Verb::Format(args) => format::run(&env, &args, &mut out).await,
            Verb::Check(args) => check::run(&env, &args, &mut out).await,
            Verb::Dump(args) => dump::run(&env, &args, &mut out).await,
        }
    });
    (done, paper)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const SLOT: Slot = Slot::new(3);

fn key(inode: u64, index: u32) -> ChunkKey {
    ChunkKey::new(SLOT, inode, index)
}

/// Bytes that stand nowhere else on the device.
fn pattern(inode: u64) -> Vec<u8> {
    let mut rng = engine_types::Rng::new(inode);
    let mut data = vec![0; 64 << 10];
    rng.fill_bytes(&mut data);
    data
}

async fn write<E: Env>(env: &E, store: &ChunkStore<E>, key: ChunkKey, version: u32) {
    let data = pattern(key.chunk.inode.get());
    let mut buf = env.pool().alloc(data.len()).unwrap();
    buf.extend_from_slice(&data);
    let data: Bytes<E::Memory> = buf.freeze();
    let update = Update {
        key,
        version: ChunkVersion::new(version),
        chain_version: ChainVersion::new(1),
        epoch: TruncateEpoch::new(0),
        size: ChunkSize::new(1 << 20).unwrap(),
        change: Change::Write { offset: 0, len: u32::try_from(data.len()).unwrap() },
        tag: None,
    };
    store.update(update, Payload::new(0, data)).await.unwrap();
}

/// A store with one target, six committed chunks of three files and two pending versions.
fn filled(folder: &Folder) -> PathBuf {
    let path = folder.path("store");
    let (done, paper) = emberfs(&["format", text(&path), "--size", "1GiB", "--journal", "4M"]);
    assert_eq!(done.unwrap(), Exit::Ok);
    assert!(paper.text().contains("journal   4 MiB\n"), "{}", paper.text());
    let there = path.clone();
    on_core(move |env| async move {
        let open = ChunkStore::open(&env, &there, StoreConfig::default()).await;
        let (store, _) = open.unwrap();
        let target = TargetRecord {
            target: TargetId::new(11),
            chain: ChainId::new(12).unwrap(),
            chain_version: ChainVersion::new(1),
            incarnation: Incarnation::new(1),
            named: None,
            phase: TargetPhase::Active,
        };
        store.set_target(SLOT, Some(target)).await.unwrap();
        for key in [7, 8, 9].into_iter().flat_map(|inode| [key(inode, 0), key(inode, 1)]) {
            write(&env, &store, key, 1).await;
            store.commit(&key, ChunkVersion::new(1)).unwrap();
        }
        write(&env, &store, key(8, 0), 2).await;
        write(&env, &store, key(8, 5), 1).await;
        store.sync().await.unwrap();
        store.close().await.unwrap();
    });
    path
}

#[test]
fn a_new_store_is_whole_and_empty() {
    let folder = Folder::new("verbs-new");
    let path = folder.path("store");
    let (done, _) = emberfs(&["format", text(&path), "--size", "1GiB", "--json"]);
    assert_eq!(done.unwrap(), Exit::Ok);
    for rest in [["check", text(&path), "--deep"], ["dump", text(&path), "--superblock"]] {
        let (done, paper) = emberfs(&rest);
        assert_eq!(done.unwrap(), Exit::Ok, "{}", paper.text());
    }
    let (done, paper) = emberfs(&["dump", text(&path), "--chunks", "--json"]);
    assert_eq!((done.unwrap(), paper.text().as_str()), (Exit::Ok, ""));
    let (done, _) = emberfs(&["format", text(&path)]);
    assert_eq!(done.unwrap_err().exit, Exit::Problem, "it is not made twice by accident");
}

#[test]
fn what_a_store_holds_is_shown() {
    let folder = Folder::new("verbs-dump");
    let path = filled(&folder);
    let path = text(&path);
    let (done, paper) = emberfs(&["dump", path, "--targets", "--json"]);
    assert_eq!(done.unwrap(), Exit::Ok);
    let [target] = paper.documents().try_into().unwrap();
    assert_eq!((target["slot"].as_u64(), target["chain"].as_u64()), (Some(3), Some(12)));
    let shown = |rest: &[&str]| -> Vec<(u64, u64, Option<u64>, Option<u64>)> {
        let line: Vec<&str> =
            ["dump", path, "--chunks", "--json"].iter().chain(rest).copied().collect();
        let (done, paper) = emberfs(&line);
        assert_eq!(done.unwrap(), Exit::Ok);
        let number = |value: &serde_json::Value| value.as_u64();
        paper
            .documents()
            .iter()
            .map(|it| {
                let (inode, index) = (number(&it["inode"]), number(&it["index"]));
                let (version, pending) = (number(&it["version"]), number(&it["pending"]));
                (inode.unwrap(), index.unwrap(), version, pending)
            })
            .collect()
    };
    let all = [
        (7, 0, Some(1), None),
        (7, 1, Some(1), None),
        (8, 0, Some(1), Some(2)),
        (8, 1, Some(1), None),
        (8, 5, None, Some(1)),
        (9, 0, Some(1), None),
        (9, 1, Some(1), None),
    ];
    assert_eq!(shown(&[]), all);
    assert_eq!(shown(&["--slot", "3"]), all);
    assert_eq!(shown(&["--inode", "8"]), all[2..5]);
    assert_eq!(shown(&["--inode", "9", "--limit", "1"]), all[5..6]);
    assert_eq!(shown(&["--limit", "5"]), all[..5]);
    assert_eq!(shown(&["--slot", "2"]), []);
    let (done, paper) = emberfs(&["dump", path, "--journal"]);
    assert_eq!(done.unwrap(), Exit::Ok);
    let text = paper.text();
    assert!(text.lines().last().unwrap().starts_with("the journal ends before"), "{text}");
}

#[test]
fn damage_is_found_where_it_is() {
    let folder = Folder::new("verbs-damage");
    let path = filled(&folder);
    let (done, paper) = emberfs(&["check", text(&path), "--deep", "--json"]);
    assert_eq!(done.unwrap(), Exit::Ok, "{}", paper.text());
    let [report] = paper.documents().try_into().unwrap();
    assert_eq!((report["chunks"].as_u64(), report["pendings"].as_u64()), (Some(6), Some(2)));
    assert_eq!(report["verified_bytes"].as_u64(), Some(6 * (64 << 10)));
    assert_eq!(report["problems"].as_array().unwrap().len(), 0);

    let superblock = on_core({
        let path = path.clone();
        |env| async move {
            let (_, superblocks) = device::open_store(&env, &path).await.unwrap();
            superblocks.newest.unwrap().1
        }
    });

    // One byte of one chunk of the last file rots.
    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
    let wanted = &pattern(9)[4096..8192];
    let mut sector = vec![0; 4096];
    let at = (superblock.layout.data_offset..).step_by(4096).find(|&at| {
        file.read_exact_at(&mut sector, at).unwrap();
        sector == wanted
    });
    let at = at.unwrap();
    file.write_all_at(&[wanted[0] ^ 1], at).unwrap();
    let (done, paper) = emberfs(&["check", text(&path), "--deep"]);
    assert_eq!(done.unwrap(), Exit::Problem);
    let text_found = paper.text();
    let last = text_found.lines().last().unwrap();
    assert!(last.starts_with("slot-3/chunk-9.") && last.contains("checksum block 0"), "{last}");
    assert!(text_found.contains("result    1 problem\n"), "{text_found}");
    let (done, _) = emberfs(&["check", text(&path)]);
    assert_eq!(done.unwrap(), Exit::Ok, "only --deep reads data");

    // The checkpoint rots.
    let half = superblock.checkpoint.expect("it was closed in order").half;
    let at = superblock.layout.halves[usize::from(half)].offset + 64;
    file.write_all_at(&[0xff; 8], at).unwrap();
    let (done, paper) = emberfs(&["check", text(&path)]);
    assert_eq!(done.unwrap(), Exit::Problem);
    assert!(paper.text().contains("cannot be loaded: checkpoint"), "{}", paper.text());
    let (done, _) = emberfs(&["dump", text(&path), "--chunks"]);
    assert_eq!(done.unwrap_err().exit, Exit::Problem);
    let (done, _) = emberfs(&["dump", text(&path)]);
    assert_eq!(done.unwrap(), Exit::Ok, "the superblocks are shown all the same");
}
