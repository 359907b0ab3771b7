//! What each operation reads in conflict mode, writes, and how many round trips it takes: the table
//! of meta/DESIGN.md. The version and the commit are one more each.

use core::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use meta_kv::KeyRange;
use meta_protocol::Operation;
use meta_schema::xattr::XattrSet;
use meta_schema::{Key, Slot, key};

use super::*;
use crate::bed::{Bed, Log};

/// Keys by what they are about: one letter per kind, and the name that the test gave the inode.
pub(crate) struct Names(pub(crate) BTreeMap<InodeId, &'static str>);

impl Names {
    fn ino(&self, ino: InodeId) -> &str {
        self.0.get(&ino).copied().unwrap_or("new")
    }

    fn key(&self, raw: &[u8]) -> String {
        match Key::parse(raw).unwrap() {
            Key::Inode(ino) => format!("inode {}", self.ino(ino)),
            Key::SideCounts(ino) => format!("counts {}", self.ino(ino)),
            Key::SideTimes(ino) => format!("times {}", self.ino(ino)),
            Key::Parent(ino) => format!("parent {}", self.ino(ino)),
            Key::Dirent { dir, .. } => format!("entry {}", self.ino(dir)),
            Key::WriteSession { ino, .. } => format!("session {}", self.ino(ino)),
            Key::SessionInode { ino, .. } => format!("session of {}", self.ino(ino)),
            Key::Request { .. } => "record".into(),
            Key::Fenced(_) | Key::FencedBelow => "fence".into(),
            Key::Xattr { ino, .. } => format!("xattr {}", self.ino(ino)),
            Key::Deletion { ino, .. } => format!("deletion {}", self.ino(ino)),
            Key::Shrink(ino) => format!("cut {}", self.ino(ino)),
            Key::LengthQuery(ino) => format!("mark {}", self.ino(ino)),
            Key::Locks(ino) => format!("locks {}", self.ino(ino)),
            Key::SessionLocks { ino, .. } => format!("locks of {}", self.ino(ino)),
            Key::LockWait { owner, .. } => format!("wait {owner}"),
            other => format!("{other:?}"),
        }
    }

    /// A range that was read: one key, the slots of a name, or all of something.
    fn range(&self, range: &KeyRange) -> String {
        if range.is_single() {
            return self.key(&range.begin);
        }
        let all = |prefix: &[u8]| KeyRange::prefix(prefix).unwrap() == *range;
        for (&ino, name) in &self.0 {
            if all(&key::dirents(ino)) {
                return format!("entries {name}");
            }
            if all(&key::xattrs(ino)) {
                return format!("xattrs {name}");
            }
            // All of them, or up to the first.
            if range.begin == key::write_sessions(ino) {
                return format!("sessions {name}");
            }
            if *range == KeyRange::new(key::inode(ino), key::inode_end(ino)) {
                return format!("inode and sides {name}");
            }
        }
        match Key::parse(&range.begin) {
            Ok(Key::Dirent { dir, slot }) => {
                let eight = KeyRange::new(key::dirent(dir, slot), key::dirent_end(dir, slot));
                assert_eq!(*range, eight, "eight slots");
                assert_eq!(slot, Slot::probe(slot, 0));
                format!("slots {}", self.ino(dir))
            }
            other => panic!("{other:?} to {:?}", range.end),
        }
    }

    /// What the one commit of `log` read in conflict mode, and what it wrote; sorted.
    pub(crate) fn seen(&self, log: &Log) -> (Vec<String>, Vec<String>) {
        let [(commit, Ok(()))] = log.commits.as_slice() else {
            panic!("one commit: {:?}", log.commits)
        };
        let sorted = |mut list: Vec<String>| {
            list.sort();
            list.dedup();
            list
        };
        let read = commit.read_conflicts.iter().map(|range| self.range(range)).collect();
        let wrote = commit.mutations.iter().map(|write| self.range(&write.written())).collect();
        (sorted(read), sorted(wrote))
    }
}

impl Names {
    /// Compares the one commit of `log` with a row, to which record and fence are added.
    pub(crate) fn check(&self, what: &str, log: &Log, reads: &[&str], writes: &[&str]) {
        let expected = |list: &[&str], more: &[&str]| {
            let mut list: Vec<String> = list.iter().chain(more).map(|&one| one.into()).collect();
            list.sort();
            list
        };
        let (read, wrote) = self.seen(log);
        assert_eq!(read, expected(reads, &["fence", "record"]), "{what}: what conflicts");
        assert_eq!(wrote, expected(writes, &["record"]), "{what}: what is written");
    }
}

/// /a (file f, g, link l, dir full with x, dir empty), /b (file f), and all their numbers.
pub(super) async fn tree(bed: &Bed) -> (Client, BTreeMap<&'static str, InodeId>) {
    let root = bed.root();
    let mut inos = BTreeMap::from([("/", INODE_ROOT)]);
    for (parent, name, directory) in [
        ("/", "a", true),
        ("/", "b", true),
        ("a", "f", false),
        ("a", "g", false),
        ("a", "full", true),
        ("full", "x", false),
        ("a", "empty", true),
        ("b", "h", false),
        ("full", "deep", true),
    ] {
        let parent = inos[parent];
        let made = if directory {
            root.attr(mkdir(parent, name, 0o755)).await
        } else {
            root.attr(create(parent, name, 0o644)).await
        };
        inos.insert(name, made.ino);
    }
    (root, inos)
}

/// One row: what, round trips, what conflicts, what is written (beside record and fence).
pub(super) type Row =
    (&'static str, Operation, u64, &'static [&'static str], &'static [&'static str]);

#[rustfmt::skip]
fn rows(inos: &BTreeMap<&'static str, InodeId>) -> Vec<Row> {
    let (a, b, f, full) = (inos["a"], inos["b"], inos["f"], inos["full"]);
    let file: &[&str] = &["entry a", "inode new", "counts a", "times a"];
    let place: &[&str] = &["inode a", "slots a"];
    let hold = ask::Unlink { hold: true, ..unlink(a, "f") };
    let write = Some(OpenMode { write: true, ..OpenMode::default() });
    let (name, value) = (b"user.x".to_vec(), b"1".to_vec());
    let user = ask::SetXattr { ino: f, name, value, set: XattrSet::Any };
    vec![
        ("create", create(a, "n", 0o644).into(), 1, place, file),
        ("create, open", ask::Create { open: write, ..create(a, "n", 0o644) }.into(), 1, place,
            &["entry a", "inode new", "counts a", "times a", "session new", "session of new"]),
        ("mkdir", mkdir(a, "n", 0o755).into(), 1, place,
            &["entry a", "inode new", "counts a", "times a", "parent new"]),
        ("mknod", mknod(a, "n", 0o010_644, 0).into(), 1, place, file),
        ("symlink", symlink(a, "n", "x").into(), 1, place, file),
        ("link", link(f, a, "n").into(), 1, &["inode a", "inode f", "slots a"],
            &["entry a", "inode f", "counts a", "times a"]),
        ("unlink", unlink(a, "f").into(), 2, &["inode a", "inode f", "slots a"],
            &["entry a", "inode f", "counts a", "times a", "deletion f"]),
        ("unlink, held", hold.into(), 2, &["inode a", "inode f", "session f", "slots a"],
            &["entry a", "inode f", "counts a", "times a", "deletion f", "session f",
              "session of f"]),
        ("rmdir", rmdir(a, "empty").into(), 2,
            &["entries empty", "inode a", "inode empty", "locks empty", "slots a"],
            &["entry a", "inode and sides empty", "xattrs empty", "parent empty", "counts a",
              "times a", "locks empty"]),
        ("rename in a directory", rename(a, "f", a, "n").into(), 2,
            &["inode a", "inode f", "slots a"],
            &["entry a", "inode f", "counts a", "times a"]),
        ("rename over a file", rename(a, "f", b, "h").into(), 2,
            &["inode a", "inode b", "inode f", "inode h", "slots a", "slots b"],
            &["entry a", "entry b", "inode f", "inode h", "deletion h", "counts a", "times a",
              "counts b", "times b"]),
        ("rename of a directory", rename(a, "full", b, "n").into(), 2,
            &["inode a", "inode b", "inode full", "parent b", "slots a", "slots b"],
            &["entry a", "entry b", "inode full", "parent full", "counts a", "times a",
              "counts b", "times b"]),
        ("rename of a directory, 3 deep", rename(a, "empty", inos["deep"], "n").into(), 4,
            &["inode a", "inode deep", "inode empty", "parent a", "parent deep", "parent full",
              "slots a", "slots deep"],
            &["entry a", "entry deep", "inode empty", "parent empty", "counts a", "times a",
              "counts deep", "times deep"]),
        ("exchange", exchange(a, "full", b, "h").into(), 2,
            &["inode a", "inode b", "inode full", "inode h", "parent b", "slots a", "slots b"],
            &["entry a", "entry b", "inode full", "inode h", "parent full", "counts a", "times a",
              "counts b", "times b"]),
        ("setattr", chmod(f, 0o600).into(), 1, &["inode f"], &["inode f"]),
        ("setattr of a directory", chmod(full, 0o700).into(), 1, &["inode full"], &["inode full"]),
        ("set a new xattr", user.into(), 2, &["inode f", "xattrs f"], &["inode f", "xattr f"]),
        ("set layout", ask::SetLayout { ino: a, layout: None }.into(), 1,
            &["inode a", "sessions a"], &["inode a"]),
    ]
}

#[test]
fn conflict_sets_and_round_trips_are_those_of_the_design() {
    for number in 0.. {
        let done = Rc::new(Cell::new(false));
        let seen = done.clone();
        with_bed(number, move |bed| async move {
            let (root, inos) = tree(&bed).await;
            let Some((what, operation, rounds, reads, writes)) =
                rows(&inos).into_iter().nth(usize::try_from(number).unwrap())
            else {
                seen.set(true);
                return;
            };
            let names = Names(inos.iter().map(|(name, ino)| (*ino, *name)).collect());
            let (answer, log) = root.measured(operation).await;
            answer.unwrap_or_else(|refusal| panic!("{what}: {refusal}"));
            assert_eq!((log.views, log.rounds), (1, rounds), "{what}: round trips");
            names.check(what, &log, reads, writes);
        });
        if done.get() {
            break;
        }
    }
}

#[test]
fn reads_commit_nothing_and_take_their_round_trips() {
    with_bed(2, |bed| async move {
        let (root, inos) = tree(&bed).await;
        let (a, f) = (inos["a"], inos["f"]);
        let walk = |path: &str| ask::Walk { start: INODE_ROOT, path: path.into(), follow: true };
        let open = ask::Open { ino: f, mode: OpenMode { read: true, ..OpenMode::default() } };
        let rows: [(&str, Operation, u64); 11] = [
            ("open to read", open.into(), 1),
            ("lookup", lookup(a, "f").into(), 2),
            ("stat", stat(f).into(), 1),
            ("stat of many", ask::StatBatch { inos: vec![a, f] }.into(), 1),
            ("access", ask::Access { ino: f, wanted: AccessMask::READ }.into(), 1),
            ("readdir", readdir(a, 0, 100).into(), 1),
            ("readdir plus", ask::Readdir { plus: true, ..readdir(a, 0, 100) }.into(), 2),
            ("walk of 3", walk("a/full/x").into(), 4),
            ("walk of /", walk("/").into(), 1),
            ("list xattr", ask::ListXattr { ino: f }.into(), 1),
            ("get layout", ask::GetLayout { ino: f }.into(), 1),
        ];
        for (what, operation, rounds) in rows {
            let (answer, log) = root.measured(operation).await;
            answer.unwrap_or_else(|refusal| panic!("{what}: {refusal}"));
            assert_eq!((log.views, log.rounds, log.commits.len()), (1, rounds, 0), "{what}");
        }
    });
}
