use std::path::Path;

use engine_store::format::group::{self, GroupIdentity};
use engine_store::format::{StoreFlags, Superblock};
use engine_store::ring::Position;
use engine_store::{ChunkKey, Entry, Lsn, Slot, TargetPhase, TargetRecord};
use engine_types::{ChainId, ChainVersion, ChunkVersion, Incarnation, StoreId, TargetId};

use super::rows::Row as _;
use super::*;
use crate::store::testing::{Folder, Paper, SIZE, STORE, content, on_core, page, superblock};

/// Runs the verb; what it printed, and its end.
fn dump(path: &Path, rest: &str) -> (Result<Exit, Failure>, Paper) {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let words = ["dump", path.to_str().unwrap()].into_iter().chain(rest.split_whitespace());
    let args = <Line as clap::Parser>::try_parse_from(words).unwrap().args;
    let paper = Paper::default();
    let mut out = paper.output(args.json);
    let done = on_core(move |env| async move { run(&env, &args, &mut out).await });
    (done, paper)
}

#[test]
fn both_superblocks_are_shown() {
    let folder = Folder::new("dump-superblock");
    let damaged = Superblock {
        flags: StoreFlags::DAMAGED.with(StoreFlags::new(0x100)),
        mount_gen: Incarnation::new(4),
        ..superblock(3)
    };
    let path = folder.store("store", &superblock(2), &damaged);
    let before = content(&path);
    for rest in ["", "--superblock"] {
        let (done, paper) = dump(&path, rest);
        assert_eq!(done.unwrap(), Exit::Ok);
        let text = paper.text();
        for line in [
            "                   superblock A                          superblock B",
            "                   older                                 the newest",
            "sequence           2                                     3",
            "created            2025-01-01 00:00:00 UTC               2025-01-01 00:00:00 UTC",
            "mount generation   0                                     4",
            "flags              clean                                 damaged 0x100",
            "ring               2 MiB at 1 MiB                        2 MiB at 1 MiB",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }
    let (done, paper) = dump(&path, "--json");
    assert_eq!(done.unwrap(), Exit::Ok);
    let [document] = paper.documents().try_into().unwrap();
    assert_eq!(document["newest"], 1);
    assert_eq!(document["copies"][1]["flags"][0], "damaged");
    assert_eq!(document["copies"][0]["store"], STORE.to_string());
    assert!(content(&path) == before, "nothing is written");
}

#[test]
fn a_damaged_superblock_is_shown_as_such() {
    let folder = Folder::new("dump-damaged");
    let mut bad = page(&superblock(1));
    bad[200] ^= 1;
    let path = folder.file("one", SIZE, &[(0, &page(&superblock(0))), (0x10000, &bad)]);
    let (done, paper) = dump(&path, "");
    assert_eq!(done.unwrap(), Exit::Problem);
    assert!(paper.text().contains("checksum"), "{}", paper.text());
    let path = folder.file("none", SIZE, &[(0x10000, &bad)]);
    let (done, paper) = dump(&path, "--json");
    assert_eq!(done.unwrap(), Exit::Problem, "it is shown all the same");
    let [document] = paper.documents().try_into().unwrap();
    assert!(document["newest"].is_null());
    assert!(document["copies"][1]["error"].as_str().unwrap().contains("checksum"));
    let (done, _) = dump(&path, "--journal");
    assert_eq!(done.unwrap_err().exit, Exit::Problem, "the rest needs one that is whole");
}

/// Groups in the ring of a store: each with its place and its entries, chained.
struct Ring {
    superblock: Superblock,
    next: Position,
    put: Vec<(u64, Vec<u8>)>,
}

impl Ring {
    fn new() -> Self {
        let superblock = Superblock { mount_gen: Incarnation::new(2), ..superblock(0) };
        Self { superblock, next: superblock.tail, put: Vec::new() }
    }

    fn group(&mut self, offset: u64, mount_gen: u64, entries: &[Entry]) -> &mut Self {
        let mut encoded = Vec::new();
        for entry in entries {
            engine_store::format::encode(entry, &mut encoded);
        }
        let mut bytes = vec![0; group::group_bytes(encoded.len(), 0)];
        let identity = GroupIdentity {
            store: STORE,
            mount_gen: Incarnation::new(mount_gen),
            lsn: self.next.lsn,
            prev_hash: self.next.prev_hash,
            applied_lsn: Lsn::ZERO,
        };
        let salt = self.superblock.salt;
        let count = u32::try_from(entries.len()).unwrap();
        let header =
            group::fill(&mut bytes, identity, salt, (&encoded, count), core::iter::empty());
        self.next = Position {
            lsn: self.next.lsn.next(),
            offset: offset + bytes.len() as u64,
            prev_hash: header.hash(salt),
        };
        self.put.push((self.superblock.layout.ring.offset + offset, bytes));
        self
    }

    fn write(&self, folder: &Folder) -> PathBuf {
        let page = page(&self.superblock);
        let mut put: Vec<(u64, &[u8])> = vec![(0, &page), (0x10000, &page)];
        put.extend(self.put.iter().map(|(at, bytes)| (*at, bytes.as_slice())));
        folder.file("ring", SIZE, &put)
    }
}

fn commit(inode: u64) -> Entry {
    let key = ChunkKey::new(Slot::new(1), inode, 0);
    Entry::Commit { key, version: ChunkVersion::new(5) }
}

#[test]
fn the_journal_is_followed_to_its_end() {
    let folder = Folder::new("dump-journal");
    let mut ring = Ring::new();
    ring.group(0, 1, &[commit(7), commit(8)]).group(4096, 2, &[commit(9)]);
    let path = ring.write(&folder);
    let (done, paper) = dump(&path, "--journal");
    assert_eq!(done.unwrap(), Exit::Ok);
    let text = paper.text();
    let lines: Vec<_> = text.lines().collect();
    let begins = [
        "group lsn-1 of start-1: 2 entries",
        "    COMMIT slot-1/chunk-7.0 v5",
        "    COMMIT slot-1/chunk-8.0 v5",
        "group lsn-2 of start-2: 1 entries",
        "    COMMIT slot-1/chunk-9.0 v5",
        "the journal ends before lsn-3 at 8192: no group header",
    ];
    assert_eq!(lines.len(), begins.len(), "{text}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
    let (done, paper) = dump(&path, "--journal --limit 1");
    assert_eq!(done.unwrap(), Exit::Ok);
    assert!(paper.text().ends_with("v5\n... more (--limit)\n"), "{}", paper.text());
    let (_, paper) = dump(&path, "--journal --json");
    let documents = paper.documents();
    assert_eq!(documents.len(), 3);
    assert_eq!(documents[1]["offset"], 4096);
    assert_eq!(documents[1]["entries"][0], "COMMIT slot-1/chunk-9.0 v5");
    assert_eq!(documents[2]["end_lsn"], 3);
}

#[test]
fn the_journal_goes_on_at_the_start_and_ghosts_do_not_count() {
    let folder = Folder::new("dump-wrap");
    let mut ring = Ring::new();
    // The tail stands near the end; what follows did not fit behind it.
    ring.superblock.tail.offset = ring.superblock.layout.ring.len - 4096;
    ring.next = ring.superblock.tail;
    let last = ring.next.offset;
    ring.group(last, 1, &[commit(1)]).group(0, 1, &[commit(2)]);
    // Dropped by a recovery, and written again elsewhere by the next opening.
    let kept = ring.next;
    ring.group(kept.offset, 1, &[commit(3)]);
    ring.next = kept;
    ring.group(kept.offset, 2, &[commit(4)]);
    let (done, paper) = dump(&ring.write(&folder), "--journal --json");
    assert_eq!(done.unwrap(), Exit::Ok);
    let documents = paper.documents();
    let entries: Vec<_> = documents.iter().filter_map(|it| it["entries"][0].as_str()).collect();
    let expected = [1, 2, 4].map(|inode| format!("COMMIT slot-1/chunk-{inode}.0 v5"));
    assert_eq!(entries, expected);
}

#[test]
fn a_torn_group_ends_the_journal_with_its_reason() {
    let folder = Folder::new("dump-torn");
    let mut ring = Ring::new();
    ring.group(0, 1, &[commit(1)]).group(4096, 1, &[commit(2)]);
    let (_, torn) = ring.put.last_mut().unwrap();
    torn[4095] ^= 1;
    let (done, paper) = dump(&ring.write(&folder), "--journal");
    assert_eq!(done.unwrap(), Exit::Ok, "a crash may leave that");
    let text = paper.text();
    assert!(text.lines().last().unwrap().starts_with("the journal ends before lsn-2"), "{text}");
    assert!(text.contains("checksum"), "{text}");
}

#[test]
fn rows_stop_at_the_limit() {
    let record = TargetRecord {
        target: TargetId::new(11),
        chain: ChainId::new(12).unwrap(),
        chain_version: ChainVersion::new(13),
        incarnation: Incarnation::new(14),
        named: None,
        phase: TargetPhase::Dropping,
    };
    let row = TargetRow::new(Slot::new(3), &record);
    assert_eq!(TargetRow::COLUMNS.len(), row.cells().len());
    for (limit, json, expected) in [
        (None, false, 4),
        (Some(3), false, 4),
        (Some(2), false, 4), // header, two rows, and that there are more
        (Some(2), true, 2),
        (None, true, 3),
    ] {
        let paper = Paper::default();
        let mut out = paper.output(json);
        let mut rows = Rows::new(&mut out, limit);
        let printed = (0..3).filter(|_| rows.put(&row).unwrap()).count();
        assert_eq!(printed as u64, limit.unwrap_or(3));
        rows.finish().unwrap();
        assert_eq!(paper.text().lines().count(), expected, "{limit:?}: {}", paper.text());
    }
    let paper = Paper::default();
    paper.output(true).document(&row).unwrap();
    let expected = r#"{"slot":3,"target":11,"chain":12,"chain_version":13,"incarnation":14,"#;
    assert_eq!(paper.text(), format!("{expected}\"phase\":\"dropping\"}}\n"));
}

#[test]
fn chunks_become_rows() {
    use engine_shard::Listed;
    use engine_store::{BlockClass, Head, TruncateEpoch};
    let head = Head {
        len: 100_000,
        data_end: 70_000,
        version: ChunkVersion::new(5),
        chain_version: ChainVersion::new(6),
        epoch: TruncateEpoch::new(1),
        size: engine_types::ChunkSize::new(1 << 20).unwrap(),
        class: BlockClass::holding(70_000).unwrap(),
    };
    let key = ChunkKey::new(Slot::new(2), 4711, 3);
    let listed = Listed { key, head, digest: 0xd1, allocated: 131_072 };
    let new = ChunkKey::new(Slot::new(2), 4711, 4);
    let paper = Paper::default();
    for json in [false, true] {
        let mut out = paper.output(json);
        let mut rows = Rows::new(&mut out, None);
        assert!(rows.put(&ChunkRow::new(&listed, Some(ChunkVersion::new(6)))).unwrap());
        assert!(rows.put(&ChunkRow::of_new(&new, ChunkVersion::new(1))).unwrap());
        rows.finish().unwrap();
    }
    let text = paper.text();
    let lines: Vec<Vec<_>> = text.lines().map(|it| it.split_whitespace().collect()).collect();
    let committed = "2 4711 3 6 5 6 1 100000 70000 1048576 131072 131072 00000000000000d1";
    assert_eq!(lines[1], Vec::from_iter(committed.split(' ')));
    assert_eq!(lines[2], Vec::from_iter("2 4711 4 1 - - - - - - - - -".split(' ')));
    let document: serde_json::Value = serde_json::from_str(text.lines().nth(3).unwrap()).unwrap();
    assert_eq!((document["pending"].as_u64(), document["version"].as_u64()), (Some(6), Some(5)));
    let document: serde_json::Value = serde_json::from_str(text.lines().nth(4).unwrap()).unwrap();
    assert!(document["pending"] == 1 && document["version"].is_null());
}

#[test]
fn a_filter_finds_its_chunks_and_no_others() {
    let key = |slot, inode, index| ChunkKey::new(Slot::new(slot), inode, index);
    let keys: Vec<ChunkKey> = (0..3)
        .flat_map(|slot| [0, 1, 2, u64::MAX].map(|inode| (slot, inode)))
        .flat_map(|(slot, inode)| [0, 1, u32::MAX].map(|index| key(slot, inode, index)))
        .collect();
    for slot in [None, Some(0), Some(2)] {
        for inode in [None, Some(0), Some(1), Some(u64::MAX)] {
            let filter = Filter { slot, inode };
            let ranges: Vec<_> = filter.slots().map(|slot| (slot, filter.range(slot))).collect();
            for key in &keys {
                let found = ranges.iter().any(|(slot, (after, end))| {
                    *slot == key.slot && *after < Some(*key) && Some(*key) <= *end
                });
                assert_eq!(found, filter.passes(key), "{filter:?}, {key}");
            }
        }
    }
}

#[test]
fn a_store_of_another_name_in_the_ring_is_not_followed() {
    let folder = Folder::new("dump-other");
    let mut ring = Ring::new();
    ring.group(0, 1, &[commit(1)]);
    ring.superblock.store = StoreId::new(0x58);
    let (done, paper) = dump(&ring.write(&folder), "--journal");
    assert_eq!(done.unwrap(), Exit::Ok);
    assert!(paper.text().starts_with("the journal ends before lsn-1 at 0: a group of store"));
}
