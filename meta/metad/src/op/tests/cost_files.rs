//! The second table of meta/DESIGN.md, and the rows of the first that need something done before:
//! operations on files that are transactions of their own. Merged ones: `files/tests/cost.rs`.

use core::cell::Cell;
use std::rc::Rc;

use meta_protocol::LockTold;
use meta_protocol::op::{LockAsk, LockWait};
use meta_schema::fallocate::FallocateMode;
use meta_schema::lock::TICKET_ANY;
use meta_schema::xattr::XattrSet;
use meta_schema::{LockFamily, LockKind, LockRange};

use super::cost::{Names, Row, tree};
use super::*;
use crate::ctx::Limits;

const WRITE: OpenMode = OpenMode { read: false, write: true, truncate: false, append: false };
const CUT: OpenMode = OpenMode { truncate: true, ..WRITE };

fn set(ino: InodeId, name: &str, value: &[u8]) -> ask::SetXattr {
    ask::SetXattr { ino, name: name.into(), value: value.into(), set: XattrSet::Any }
}

fn lock(ino: InodeId, owner: u64, wait: LockWait) -> ask::SetLock {
    let (family, kind) = (LockFamily::Posix, Some(LockKind::Write));
    ask::SetLock { ino, lock: LockAsk { family, owner, pid: 1, kind, range: LockRange::ALL }, wait }
}

/// An ACL that says more than the mode: owner, user 7, group, mask, others.
const ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 4, 0, 7, 0, 0, 0, 4, 0, 5, 0, 255, 255, 255,
    255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];

/// What is done before, and the row.
type Prepared = (Vec<meta_protocol::Operation>, Row);

/// f has 100 bytes. Owners 1 and 2 are of the same session.
#[rustfmt::skip]
fn rows(a: InodeId, f: InodeId, at_change: u64) -> Vec<Prepared> {
    let access = "system.posix_acl_access";
    let exists = |open| ask::Create { exclusive: false, open, ..create(a, "f", 0o644) };
    let around: &[&str] = &["cut f", "inode f", "mark f", "sessions f"];
    let blocks = ask::SetBlocks { ino: f, at_change, bytes: 4096 };
    let fallocate =
        ask::Fallocate { ino: f, mode: FallocateMode::new(0), offset: 0, length: 4096 };
    let release = ask::ReleaseLocks { ino: f, family: LockFamily::Posix, owner: 1 };
    let cancel = |owner| ask::CancelLock { ino: f, owner, ticket: TICKET_ANY };
    let remove = |name: &str| ask::RemoveXattr { ino: f, name: name.into() };
    let open = |mode| ask::Open { ino: f, mode };
    vec![
        (vec![], ("open to write", open(WRITE).into(), 1, around,
            &["session f", "session of f"])),
        (vec![], ("open to cut", open(CUT).into(), 1, around,
            &["cut f", "inode f", "session f", "session of f"])),
        (vec![], ("create of a taken name", exists(None).into(), 2,
            &["inode a", "inode f", "session f", "slots a"], &[])),
        (vec![], ("create of a taken name, open to write", exists(Some(WRITE)).into(), 2,
            &["cut f", "inode a", "inode f", "mark f", "sessions f", "slots a"],
            &["session f", "session of f"])),
        (vec![open(WRITE).into()], ("fallocate", fallocate.into(), 1, around, &["inode f"])),
        (vec![], ("set blocks", blocks.into(), 1, &["inode f"], &["inode f"])),
        (vec![], ("set lock", lock(f, 1, LockWait::No).into(), 1, &["locks f"],
            &["locks f", "locks of f"])),
        (vec![lock(f, 1, LockWait::No).into()],
            ("set lock, and wait", lock(f, 2, LockWait::Queue).into(), 2, &["locks f", "wait 1"],
            &["locks f", "locks of f", "wait 2"])),
        (vec![lock(f, 1, LockWait::No).into()],
            ("release locks", release.into(), 1, &["locks f", "wait 1"],
            &["locks f", "locks of f"])),
        (vec![lock(f, 1, LockWait::No).into(), lock(f, 2, LockWait::Queue).into()],
            ("cancel a lock", cancel(2).into(), 1, &["locks f", "wait 2"],
            &["locks f", "locks of f", "wait 2"])),
        (vec![lock(f, 1, LockWait::No).into()],
            ("cancel a lock that is not waited for", cancel(1).into(), 1, &["locks f", "wait 1"],
            &["locks f", "locks of f"])),
        (vec![set(f, "user.x", b"1").into()],
            ("set an xattr that is there", set(f, "user.x", b"2").into(), 1,
            &["inode f", "xattr f"], &["inode f", "xattr f"])),
        (vec![set(f, "user.x", b"1").into()],
            ("remove xattr", remove("user.x").into(), 1, &["inode f", "xattr f"],
            &["inode f", "xattr f"])),
        (vec![], ("set ACL", set(f, access, &ACL).into(), 1, &["inode f"], &["inode f"])),
        (vec![set(f, access, &ACL).into()],
            ("remove ACL", remove(access).into(), 1, &["inode f"], &["inode f"])),
        (vec![], ("remove tree",
            ask::RemoveTree { parent: a, name: b"full".into() }.into(), 2,
            &["inode a", "inode full", "slots a"],
            &["counts a", "deletion full", "entry a", "inode full", "times a"])),
    ]
}

#[test]
fn conflict_sets_and_round_trips_of_files_are_those_of_the_design() {
    for number in 0.. {
        let done = Rc::new(Cell::new(false));
        let seen = done.clone();
        with_bed(number, move |bed| async move {
            let (root, inos) = tree(&bed).await;
            let (a, f) = (inos["a"], inos["f"]);
            let size = AttrChange { size: Some(100), ..AttrChange::default() };
            let change = root.attr(setattr(f, size)).await.change;
            let row = rows(a, f, change).into_iter().nth(usize::try_from(number).unwrap());
            let Some((before, (what, operation, rounds, reads, writes))) = row else {
                seen.set(true);
                return;
            };
            for operation in before {
                root.ask(operation).await.unwrap_or_else(|why| panic!("before {what}: {why}"));
            }
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

/// What a caller who is not root removes is looked at: two more for each level and page.
#[test]
fn a_tree_costs_two_round_trips_more_for_each_level() {
    with_bed(77, |bed| async move {
        let alice = bed.user(1000, &[]);
        let root = bed.root();
        let top = root.attr(mkdir(INODE_ROOT, "top", 0o777)).await.ino;
        let mut dir = alice.attr(mkdir(top, "tree", 0o755)).await.ino;
        for _ in 0..3 {
            dir = alice.attr(mkdir(dir, "d", 0o755)).await.ino;
        }
        let tree = ask::RemoveTree { parent: top, name: b"tree".into() };
        let (answer, log) = alice.measured(tree).await;
        answer.unwrap();
        // Two, one page and one group of inodes for each level with entries, one page for the last.
        assert_eq!((log.views, log.rounds), (1, 2 + 3 * 2 + 1));
    });
}

/// Owners 1 to 5, each with a lock of the inode of its number, and each of 1 to 4 waiting for that
/// of the next.
async fn waiting_in_a_row(root: &Client) -> Vec<InodeId> {
    let mut inos = Vec::new();
    for owner in 1..=5 {
        let ino = root.attr(create(INODE_ROOT, &format!("x{owner}"), 0o644)).await.ino;
        root.ask(lock(ino, owner, LockWait::No)).await.unwrap();
        inos.push(ino);
    }
    for (owner, next) in (1..).zip(&inos[1..]) {
        let told = root.ask(lock(*next, owner, LockWait::Queue)).await.unwrap();
        assert!(matches!(told, Answer::Lock(LockTold::Waiting { .. })), "{told:?}");
    }
    inos
}

/// The search for deadlocks: two more for each owner that waits, one for one that does not.
#[test]
fn a_search_for_deadlocks_costs_two_round_trips_for_each_step() {
    with_bed(78, |bed| async move {
        let root = bed.root();
        let inos = waiting_in_a_row(&root).await;
        // Of the first inode: 1 to 4 wait, 5 does not. Of the others also who waits there before.
        for (at, rounds) in [(4, 3), (3, 5), (0, 10)] {
            let (answer, log) = root.measured(lock(inos[at], 9, LockWait::Queue)).await;
            assert!(matches!(answer, Ok(Answer::Lock(LockTold::Waiting { .. }))), "{answer:?}");
            assert_eq!((log.views, log.rounds), (1, rounds), "from x{}", at + 1);
            root.ask(ask::CancelLock { ino: inos[at], owner: 9, ticket: TICKET_ANY })
                .await
                .unwrap();
        }
    });
}

/// A circle is found as far as the search goes; beyond that the wait begins, as in Linux.
#[test]
fn a_search_for_deadlocks_ends() {
    for (search_owners, is_found) in [(4, true), (3, false)] {
        with_bed(79, move |bed| async move {
            let root = bed.root();
            let inos = waiting_in_a_row(&root).await;
            bed.store.set_limits(Limits { search_owners, ..Limits::DEFAULT });
            // 5 waits for 1, who waits for 2, and so on: 1 to 4 are followed, then it is 5 again.
            let told = root.ask(lock(inos[0], 5, LockWait::Queue)).await;
            match is_found {
                true => assert_eq!(told.unwrap_err().errno, Errno::EDEADLK),
                false => assert!(matches!(told, Ok(Answer::Lock(LockTold::Waiting { .. })))),
            }
        });
    }
}
