use engine_store::Lsn;
use engine_store::format::CheckpointRef;

use super::*;
use crate::store::testing::superblock;
use crate::store::testing::{CLUSTER, Folder, Paper, SIZE, STORE, content, on_core, page};

fn run_on(path: &Path) -> Result<Exit, Failure> {
    let args = Args { path: path.to_owned(), deep: false, json: false };
    on_core(|env| async move { run(&env, &args, &mut Paper::default().output(false)).await })
}

#[test]
fn what_is_no_store_is_named() {
    let folder = Folder::new("check-foreign");
    let (a, b) = (superblock(0), superblock(1));
    let broken = |superblock| {
        let mut page = page(superblock);
        page[100] ^= 1;
        page
    };
    for (path, reason) in [
        (folder.file("zeros", 1 << 20, &[]), "is no store: it holds nothing"),
        (folder.file("ext4", 1 << 20, &[(1080, &[0x53, 0xef])]), "it holds a file system (ext2)"),
        (folder.file("text", 100, &[(0, b"text")]), "it holds data of an unknown kind"),
        (
            folder.file("bad", SIZE, &[(0, &broken(&a)), (0x10000, &broken(&b))]),
            "no superblock: copy A: checksum",
        ),
    ] {
        let failure = run_on(&path).unwrap_err();
        assert_eq!(failure.exit, Exit::Problem, "{:#}", failure.error);
        assert!(failure.error.to_string().contains(reason), "{:#}", failure.error);
    }
    let failure = run_on(&folder.path("missing")).unwrap_err();
    assert_eq!(failure.exit, Exit::Environment);
    assert!(failure.error.to_string().contains("missing"), "{:#}", failure.error);
}

#[test]
fn looking_changes_nothing_and_keeps_others_out() {
    let folder = Folder::new("check-read-only");
    let path = folder.file("store", 64 << 20, &[(0, &page(&superblock(0)))]);
    let before = content(&path);
    let _ = run_on(&path);
    assert!(content(&path) == before, "nothing is written");
    let held = std::fs::File::options().read(true).open(&path).unwrap();
    held.lock().unwrap();
    let failure = run_on(&path).unwrap_err();
    assert_eq!(failure.exit, Exit::Environment);
    assert!(failure.error.to_string().contains("in use"), "{:#}", failure.error);
}

/// Bytes and their places.
type Put<'a> = &'a [(u64, &'a [u8])];

/// Problems of a store whose copies are these and which has `size` bytes.
fn problems(folder: &Folder, put: Put<'_>, size: u64) -> Vec<String> {
    let path = folder.file("judged", size, put);
    on_core(move |env| async move {
        let (_, superblocks) = device::open_store(&env, &path).await.unwrap();
        let newest = device::usable(&path, &superblocks).unwrap();
        let found = judge(&superblocks, &newest, size);
        found.into_iter().map(|problem| format!("{}: {}", problem.place, problem.what)).collect()
    })
}

#[test]
fn superblocks_give_damage_away() {
    let folder = Folder::new("check-judge");
    let (new, a, b) = (superblock(0), superblock(2), superblock(1));
    let damaged = Superblock { flags: a.flags.with(StoreFlags::DAMAGED), ..superblock(2) };
    let other = Superblock { store: engine_types::StoreId::new(0x99), ..superblock(3) };
    let (new, a, b) = (page(&new), page(&a), page(&b));
    let (damaged, other) = (page(&damaged), page(&other));
    let at_b = 0x10000;
    #[rustfmt::skip]
    let rows: [(Put<'_>, u64, &[&str]); 7] = [
        (&[(0, &a), (at_b, &b)],       SIZE,     &[]),
        (&[(0, &new)],                 SIZE,     &[]),
        (&[(0, &a)],                   SIZE,     &["superblock B: no store magic"]),
        (&[(at_b, &b)],                SIZE,     &["superblock A: no store magic"]),
        (&[(0, &damaged), (at_b, &b)], SIZE,     &["store: is marked as damaged"]),
        (&[(0, &a), (at_b, &other)],   SIZE,     &["superblock A: describes store"]),
        (&[(0, &a), (at_b, &b)],       SIZE / 2, &["store: ends at 536870912 bytes, expected"]),
    ];
    for (put, size, expected) in rows {
        let found = problems(&folder, put, size);
        assert_eq!(found.len(), expected.len(), "{found:?}, expected {expected:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}, expected {expected}");
        }
    }
}

fn report(problems: Vec<Problem>) -> Report {
    Report {
        path: "store.img".to_owned(),
        cluster: CLUSTER.to_string(),
        store: STORE.to_string(),
        closed_in_order: Some(true),
        deep: true,
        found: Examined {
            targets: Some(2),
            chunks: Some(3),
            pendings: Some(0),
            data_bytes: Some(3 << 20),
            verified_bytes: Some(3 << 20),
            dropped_group: Some(false),
            problems,
        },
    }
}

#[test]
fn results_are_told_in_words_and_in_json() {
    let problem =
        Problem { place: "slot-1/chunk-7.3".to_owned(), what: "checksum block 2".to_owned() };
    let two = vec![problem.clone(), Problem { place: "store".to_owned(), ..problem.clone() }];
    for (problems, last) in [
        (vec![], "result    whole"),
        (vec![problem], "slot-1/chunk-7.3  checksum block 2"),
        (two, "store             checksum block 2"),
    ] {
        let paper = Paper::default();
        print(&mut paper.output(false), &report(problems)).unwrap();
        assert_eq!(paper.text().lines().last(), Some(last), "{}", paper.text());
        assert!(paper.text().contains("verified  3 MiB\n"), "{}", paper.text());
    }
    assert_eq!(verdict(1), Cell::coloured("1 problem", Colour::Red));
    assert_eq!(verdict(2), Cell::coloured("2 problems", Colour::Red));
    let paper = Paper::default();
    let problem = Problem { place: "store".to_owned(), what: "w".to_owned() };
    print(&mut paper.output(true), &report(vec![problem])).unwrap();
    let [document] = paper.documents().try_into().unwrap();
    assert_eq!(document["chunks"], 3);
    assert_eq!(document["problems"][0]["place"], "store");
}

/// What could not be looked at is not told as if it were known.
#[test]
fn what_is_unknown_is_said_to_be() {
    let folder = Folder::new("check-unknown");
    let checkpoint = CheckpointRef {
        generation: 1,
        half: 0,
        start: Lsn::new(1),
        bytes: 4096,
        pages: 1,
        items: 0,
        digest: 7,
    };
    let of = |sequence| Superblock { checkpoint: Some(checkpoint), ..superblock(sequence) };
    let bad_checkpoint = folder.store("bad-checkpoint", &of(2), &of(3));
    let cut = folder.store("cut", &superblock(2), &superblock(3));
    std::fs::File::options().write(true).open(&cut).unwrap().set_len(1 << 20).unwrap();
    let mut lost = page(&superblock(3));
    lost[100] ^= 1;
    let lost = folder.file("lost", SIZE, &[(0, &page(&superblock(2))), (0x10000, &lost)]);
    for (path, loads) in [(bad_checkpoint, false), (cut, false), (lost, true)] {
        let check = |json| {
            let args = Args { path: path.clone(), deep: false, json };
            let paper = Paper::default();
            let mut out = paper.output(json);
            let done = on_core(move |env| async move { run(&env, &args, &mut out).await });
            assert_eq!(done.unwrap(), Exit::Problem, "{}", path.display());
            paper
        };
        let [document] = check(true).documents().try_into().unwrap();
        for name in ["targets", "chunks", "pendings", "data_bytes", "dropped_group"] {
            assert_eq!(!document[name].is_null(), loads, "{name} of {}", path.display());
        }
        assert!(document["closed_in_order"].is_null(), "{document}");
        let text = check(false).text();
        assert!(text.contains("closed   unknown\n"), "{text}");
        assert_eq!(text.contains("chunks   unknown\n"), !loads, "{text}");
    }
}
