//! Operations on files that are transactions of their own: what each mode does and refuses.

use meta_protocol::op::{LockAsk, LockWait};
use meta_protocol::{LockTold, Operation};
use meta_schema::fallocate::{FallocateMode, RangeWork};
use meta_schema::limits::XATTRS_MAX;
use meta_schema::xattr::XattrSet;
use meta_schema::{Key, LockFamily, LockKind, LockRange};

use super::*;
use crate::ctx::Limits;
use crate::halt::Halt;

const MIB: u64 = 1 << 20;
const WRITE: OpenMode = OpenMode { read: false, write: true, truncate: false, append: false };

async fn open(client: &Client, ino: InodeId, mode: OpenMode) -> Attr {
    client.attr(ask::Open { ino, mode }).await
}

fn size(ino: InodeId, size: u64) -> ask::SetAttr {
    setattr(ino, AttrChange { size: Some(size), ..AttrChange::default() })
}

/// fallocate(2), a file of 10 MiB: what each mode has to do, and the length afterwards.
#[test]
fn fallocate_does_what_its_mode_says() {
    use RangeWork as W;
    with_bed(1, |bed| async move {
        let (root, bob) = (bed.root(), bed.user(1001, &[]));
        let file = root.attr(create(INODE_ROOT, "f", 0o666)).await.ino;
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o777)).await.ino;
        let fifo = root.attr(mknod(INODE_ROOT, "p", 0o010_666, 0)).await.ino;
        let ask = |ino, mode, offset, length| {
            let mode = FallocateMode::new(mode);
            ask::Fallocate { ino, mode, offset, length }
        };
        assert_eq!(root.errno(ask(file, 0, 0, 1)).await, Errno::EBADF, "not open for writing");
        open(&root, file, WRITE).await;
        assert_eq!(bob.errno(ask(file, 0, 0, 1)).await, Errno::EBADF, "another's session");
        #[rustfmt::skip]
        let rows = [
            // mode, offset, bytes, answer: work, end, length; all in MiB
            (0x00, 2, 4,  Ok((W::Allocate, 6, 10))),
            (0x00, 8, 4,  Ok((W::Allocate, 12, 12))),
            (0x01, 8, 4,  Ok((W::Allocate, 12, 10))),
            (0x01, 20, 4, Ok((W::Allocate, 24, 10))),
            (0x03, 2, 4,  Ok((W::Punch, 6, 10))),
            (0x03, 8, 4,  Ok((W::Punch, 10, 10))),
            (0x03, 20, 4, Ok((W::Nothing, 20, 10))),
            (0x10, 2, 4,  Ok((W::Zero, 6, 10))),
            (0x10, 8, 4,  Ok((W::Zero, 10, 12))),
            (0x11, 8, 4,  Ok((W::Zero, 10, 10))),
            (0x00, 2, 0,  Err(Errno::EINVAL)),
            (0x02, 2, 4,  Err(Errno::EOPNOTSUPP)), // a hole without KEEP_SIZE
            (0x13, 2, 4,  Err(Errno::EOPNOTSUPP)), // a hole and zeroes
            (0x08, 2, 4,  Err(Errno::EOPNOTSUPP)), // collapse
            (0x20, 2, 4,  Err(Errno::EOPNOTSUPP)), // insert
            (0x40, 2, 4,  Err(Errno::EOPNOTSUPP)), // unshare
            (0x00, 1 << 43, 4, Err(Errno::EFBIG)), // beyond 2^63
        ];
        for (number, (mode, offset, bytes, expected)) in rows.into_iter().enumerate() {
            let file = root.attr(create(INODE_ROOT, &format!("f{number}"), 0o666)).await.ino;
            root.attr(size(file, 10 * MIB)).await;
            open(&root, file, WRITE).await;
            let before = root.attr(stat(file)).await;
            bed.wait(core::time::Duration::from_secs(1)).await;
            let answer = root.ask(ask(file, mode, offset * MIB, bytes * MIB)).await;
            let after = root.attr(stat(file)).await;
            let what = format!("mode {mode:#x}, {bytes} MiB at {offset}");
            match (answer, expected) {
                (Ok(Answer::Fallocated { attr, plan }), Ok((work, end, length))) => {
                    assert_eq!((plan.work, plan.start), (work, offset * MIB), "{what}");
                    assert_eq!((plan.end, plan.length), (end * MIB, length * MIB), "{what}");
                    assert_eq!((attr.size, after), (length * MIB, attr), "{what}");
                    assert!(before.mtime < after.mtime && before.change < after.change, "{what}");
                }
                (answer, Err(expected)) => {
                    assert_eq!(errno(answer), Err(expected), "{what}");
                    assert_eq!(after, before, "{what}: refused, nothing is changed");
                }
                (answer, expected) => panic!("{what}: {answer:?}, not {expected:?}"),
            }
        }
        assert_eq!(root.errno(ask(dir, 0, 0, 1)).await, Errno::EISDIR);
        assert_eq!(root.errno(ask(fifo, 0, 0, 1)).await, Errno::ENODEV);
        assert_eq!(root.errno(ask(InodeId::new(1 << 40), 0, 0, 1)).await, Errno::ESTALE);
    });
}

/// st_blocks: kept while the file is as it was when the chains were asked, and no change itself.
#[test]
fn blocks_are_remembered_until_the_file_changes() {
    with_bed(2, |bed| async move {
        let root = bed.root();
        let file = root.attr(create(INODE_ROOT, "f", 0o666)).await;
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o777)).await.ino;
        let ask = |ino, at_change, bytes| ask::SetBlocks { ino, at_change, bytes };
        assert_eq!(file.blocks, Some(0), "a new file has none");
        root.ask(ask(file.ino, file.change, 8192)).await.unwrap();
        let told = root.attr(stat(file.ino)).await;
        assert_eq!(told, Attr { blocks: Some(16), ..file }, "no time moves");
        root.ask(ask(file.ino, file.change + 1, 4096)).await.unwrap();
        root.ask(ask(file.ino, file.change - 1, 4096)).await.unwrap();
        assert_eq!(root.attr(stat(file.ino)).await, told, "what is out of date is dropped");
        root.attr(size(file.ino, 100)).await;
        assert_eq!(root.attr(stat(file.ino)).await.blocks, None, "and so is what was kept");
        assert_eq!(root.errno(ask(dir, 1, 0)).await, Errno::EINVAL);
    });
}

/// open(2) with O_CREAT and O_TRUNC: of a taken name the file is cut, of a new one there is nothing
/// to cut; whoever may not write it does not cut it.
#[test]
fn create_cuts_what_is_there() {
    with_bed(3, |bed| async move {
        let (root, alice, bob) = (bed.root(), bed.user(1000, &[]), bed.user(1001, &[]));
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o777)).await.ino;
        let cut = Some(OpenMode { truncate: true, ..WRITE });
        let ask = |name| ask::Create { exclusive: false, open: cut, ..create(dir, name, 0o644) };
        let new = alice.ask(ask("f")).await.unwrap();
        let Answer::Opened { attr, created: true } = new else { panic!("{new:?}") };
        assert_eq!((attr.size, attr.truncate_epoch.get()), (0, 0), "nothing was cut");
        let shrink = Key::Shrink(attr.ino).encode();
        let kept =
            async |bed: crate::bed::Bed| bed.dump().await.iter().any(|(key, _)| *key == shrink);
        assert!(!kept(bed.clone()).await);
        alice.attr(size(attr.ino, 100)).await;
        let before = alice.attr(stat(attr.ino)).await;
        assert_eq!(bob.errno(ask("f")).await, Errno::EACCES);
        assert_eq!(alice.attr(stat(attr.ino)).await, before);
        let again = alice.ask(ask("f")).await.unwrap();
        let Answer::Opened { attr, created: false } = again else { panic!("{again:?}") };
        assert_eq!((attr.ino, attr.size, attr.truncate_epoch.get()), (before.ino, 0, 1));
        assert!(kept(bed.clone()).await, "M2: old chunks are still to be removed");
        // Until then nobody else is told of the epoch (E444).
        let request = alice.request(ask("f"));
        let again = alice.send(&request).await;
        assert_eq!(again, Err(crate::CallError::Halted(Halt::Unsettled(attr.ino))));
        let exclusive = ask::Create { exclusive: true, ..ask("f") };
        assert_eq!(alice.errno(exclusive).await, Errno::EEXIST, "O_EXCL cuts nothing");
    });
}

/// 256 attributes, whose names fill the largest list; ACLs stand elsewhere and do not count.
#[test]
fn an_inode_has_256_extended_attributes_at_most() {
    with_bed(4, |bed| async move {
        let root = bed.root();
        let file = root.attr(create(INODE_ROOT, "f", 0o666)).await.ino;
        let set = |number: usize| ask::SetXattr {
            ino: file,
            name: format!("user.{number}").into(),
            value: vec![1],
            set: XattrSet::Any,
        };
        assert_eq!(XATTRS_MAX, 256);
        for number in 0..XATTRS_MAX {
            root.ask(set(number)).await.unwrap();
        }
        assert_eq!(root.errno(set(XATTRS_MAX)).await, Errno::ENOSPC);
        root.ask(set(17)).await.expect("one that is there is replaced");
        root.ask(ask::RemoveXattr { ino: file, name: b"user.3".into() }).await.unwrap();
        root.ask(set(XATTRS_MAX)).await.expect("room for one");
        assert_eq!(root.errno(set(3)).await, Errno::ENOSPC);
        let large = ask::SetXattr { value: vec![0; (64 << 10) + 1], ..set(17) };
        assert_eq!(root.errno(large).await, Errno::E2BIG);
        root.ask(ask::SetXattr { value: vec![0; 64 << 10], ..set(17) }).await.unwrap();
    });
}

/// setfacl -b sends an ACL without entries, some programs no bytes at all: both remove it, and the
/// mode stays.
#[test]
fn an_acl_of_nothing_is_a_removal() {
    with_bed(5, |bed| async move {
        let (root, alice) = (bed.root(), bed.user(1000, &[]));
        let dir = alice_dir(&root).await;
        let mut list = vec![2, 0, 0, 0];
        for (tag, allowed, id) in
            [(1u16, 7u16, u32::MAX), (2, 7, 1000), (4, 5, u32::MAX), (16, 7, u32::MAX)]
        {
            list.extend([tag.to_le_bytes(), allowed.to_le_bytes()].concat());
            list.extend(id.to_le_bytes());
        }
        list.extend([32, 0, 0, 0, 255, 255, 255, 255]);
        for name in ["system.posix_acl_access", "system.posix_acl_default"] {
            for nothing in [&[][..], &[2, 0, 0, 0]] {
                let set = |value: &[u8]| ask::SetXattr {
                    ino: dir,
                    name: name.into(),
                    value: value.into(),
                    set: XattrSet::Any,
                };
                root.ask(set(&list)).await.unwrap();
                let before = root.attr(stat(dir)).await;
                assert_eq!(alice.errno(set(nothing)).await, Errno::EPERM, "{name}");
                root.ask(set(nothing)).await.unwrap();
                let get = ask::GetXattr { ino: dir, name: name.into() };
                assert_eq!(root.errno(get).await, Errno::ENODATA, "{name}");
                let after = root.attr(stat(dir)).await;
                assert_eq!((after.mode, after.change), (before.mode, before.change + 1), "{name}");
                root.ask(set(nothing)).await.expect("once more is done, too");
                assert_eq!(root.attr(stat(dir)).await, after, "{name}: and changes nothing");
            }
        }
    });
}

async fn alice_dir(root: &Client) -> InodeId {
    root.attr(mkdir(INODE_ROOT, "d", 0o755)).await.ino
}

/// Who is not root is told E2BIG for a tree that would take too long to look at; nothing is gone.
#[test]
fn a_tree_too_large_to_look_at_is_refused() {
    with_bed(6, |bed| async move {
        let (root, alice) = (bed.root(), bed.user(1000, &[]));
        let top = root.attr(mkdir(INODE_ROOT, "top", 0o777)).await.ino;
        let tree = alice.attr(mkdir(top, "tree", 0o755)).await.ino;
        for number in 0..1023 {
            alice.attr(mkdir(tree, &format!("d{number}"), 0o755)).await;
        }
        let remove = ask::RemoveTree { parent: top, name: b"tree".into() };
        // With itself there are 1,024 directories: one more is too many.
        let more = alice.attr(mkdir(tree, "more", 0o755)).await.ino;
        assert_eq!(alice.errno(remove.clone()).await, Errno::E2BIG);
        assert_eq!(alice.attr(lookup(tree, "more")).await.ino, more, "nothing is gone");
        alice.ask(rmdir(tree, "more")).await.unwrap();
        alice.ask(remove.clone()).await.unwrap();
        assert_eq!(root.errno(lookup(top, "tree")).await, Errno::ENOENT);
    });
}

/// The same of entries: the usual limit is 65,536, this one 40.
#[test]
fn a_tree_of_too_many_entries_is_refused() {
    with_bed(16, |bed| async move {
        bed.store.set_limits(Limits { tree_entries: 40, ..Limits::DEFAULT });
        let (root, alice) = (bed.root(), bed.user(1000, &[]));
        let top = root.attr(mkdir(INODE_ROOT, "top", 0o777)).await.ino;
        let tree = alice.attr(mkdir(top, "tree", 0o755)).await.ino;
        let inner = alice.attr(mkdir(tree, "inner", 0o755)).await.ino;
        for number in 0..39 {
            let dir = if number % 3 == 0 { tree } else { inner };
            alice.attr(create(dir, &format!("f{number}"), 0o644)).await;
        }
        // With the inner directory there are 40: one more is too many, wherever it is.
        let remove = ask::RemoveTree { parent: top, name: b"tree".into() };
        for dir in [tree, inner] {
            alice.attr(create(dir, "more", 0o644)).await;
            assert_eq!(alice.errno(remove.clone()).await, Errno::E2BIG);
            alice.ask(unlink(dir, "more")).await.unwrap();
        }
        alice.ask(remove.clone()).await.unwrap();
        // Root is not asked, and nothing is looked at.
        let tree = alice.attr(mkdir(top, "tree", 0o755)).await.ino;
        for number in 0..41 {
            alice.attr(create(tree, &format!("f{number}"), 0o644)).await;
        }
        assert_eq!(alice.errno(remove.clone()).await, Errno::E2BIG);
        root.ask(remove).await.unwrap();
    });
}

fn lock(owner: u64, kind: Option<LockKind>) -> LockAsk {
    LockAsk { family: LockFamily::Posix, owner, pid: 1, kind, range: LockRange::ALL }
}

async fn set_lock(client: &Client, ino: InodeId, lock: LockAsk, wait: LockWait) -> LockTold {
    match client.ask(ask::SetLock { ino, lock, wait }).await.unwrap() {
        Answer::Lock(told) => told,
        other => panic!("not about a lock: {other:?}"),
    }
}

/// The queue is fair: a reader does not pass a writer that waits. One that would wait for ever
/// only because of its place goes to the front; the others stay in their order.
#[test]
fn who_waits_is_passed_only_where_waiting_would_never_end() {
    const R: Option<LockKind> = Some(LockKind::Read);
    const W: Option<LockKind> = Some(LockKind::Write);
    with_bed(7, |bed| async move {
        let [a, b, c, d] = [(); 4].map(|()| bed.root());
        let x = a.attr(create(INODE_ROOT, "x", 0o666)).await.ino;
        let y = a.attr(create(INODE_ROOT, "y", 0o666)).await.ino;
        let waits = |told| matches!(told, LockTold::Waiting { .. });
        // a reads x; b wants to write it; c has y, and a waits for that.
        assert_eq!(set_lock(&a, x, lock(1, R), LockWait::No).await, LockTold::Granted);
        assert!(waits(set_lock(&b, x, lock(1, W), LockWait::Queue).await));
        assert_eq!(set_lock(&c, y, lock(1, W), LockWait::No).await, LockTold::Granted);
        assert!(waits(set_lock(&a, y, lock(1, W), LockWait::Queue).await));
        // d reads x behind b: first come, first served.
        let behind = set_lock(&d, x, lock(1, R), LockWait::Queue).await;
        let LockTold::Waiting { ticket } = behind else { panic!("E404: {behind:?}") };
        // c behind b would wait for a, which waits for c.
        assert_eq!(set_lock(&c, x, lock(1, R), LockWait::Queue).await, LockTold::Granted);
        let look = LockWait::Ticket { ticket };
        assert!(waits(set_lock(&d, x, lock(1, R), look).await), "d has passed nobody");
        // Everybody gives back; b is next, and d after it.
        set_lock(&c, y, lock(1, None), LockWait::No).await;
        for client in [&a, &c] {
            set_lock(client, x, lock(1, None), LockWait::No).await;
        }
        assert!(waits(set_lock(&d, x, lock(1, R), look).await), "b was first");
        set_lock(&b, x, lock(1, None), LockWait::No).await;
        assert_eq!(set_lock(&d, x, lock(1, R), look).await, LockTold::Granted);
    });
}

/// Whatever goes leaves no lock behind, be it a file, a special file, a link or a directory.
#[test]
fn locks_go_with_what_they_are_on() {
    with_bed(8, |bed| async move {
        let root = bed.root();
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o777)).await.ino;
        let mut goes: Vec<(InodeId, Operation)> = Vec::new();
        let fifo = root.attr(mknod(dir, "p", 0o010_644, 0)).await.ino;
        goes.push((fifo, unlink(dir, "p").into()));
        let under = root.attr(symlink(dir, "under", "x")).await.ino;
        root.attr(symlink(dir, "over", "x")).await;
        goes.push((under, rename(dir, "over", dir, "under").into()));
        let inner = root.attr(mkdir(dir, "inner", 0o777)).await.ino;
        goes.push((inner, rmdir(dir, "inner").into()));
        let target = root.attr(mkdir(dir, "target", 0o777)).await.ino;
        root.attr(mkdir(dir, "moved", 0o777)).await;
        goes.push((target, rename(dir, "moved", dir, "target").into()));
        for (ino, operation) in goes {
            let what = format!("{operation:?}");
            for client in [&root, &bed.root()] {
                let mut range = lock(1, Some(LockKind::Read));
                range.family = LockFamily::Flock;
                set_lock(client, ino, range, LockWait::No).await;
            }
            root.ask(operation).await.unwrap();
            let left = bed.dump().await.into_iter().filter(|(key, _)| key.starts_with(b"LOC"));
            assert_eq!(left.count(), 0, "E454: {what}");
        }
    });
}
