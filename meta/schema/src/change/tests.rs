use super::*;
use engine_types::{ChainTableId, ChainTableVersion, ChunkSize};

use crate::access::tests::{caller, directory, inode};
use crate::acl::tests::acl;
use crate::id::TruncateEpoch;
use crate::inode::{FileData, InodeKind, SymlinkData};
use crate::layout::LayoutTemplate;
use crate::side::{DirectoryStat, SideCounts};

fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// Of owner 1 and group 2.
fn file(mode: u32) -> Inode {
    let template =
        LayoutTemplate { chunk_size: ChunkSize::MIN, stripe: 1, table: ChainTableId::new(1) };
    let data = FileData {
        length: 0,
        truncate_epoch: TruncateEpoch::FIRST,
        layout: template.layout(ChainTableVersion::new(1), 0, 0),
        allocated: None,
    };
    inode(mode, InodeKind::File(data))
}

const NOTHING: AttrChange = AttrChange {
    mode: None,
    uid: None,
    gid: None,
    size: None,
    atime: TimeChange::Keep,
    mtime: TimeChange::Keep,
    by_open_handle: false,
};

fn chmod(mode: u32) -> AttrChange {
    AttrChange { mode: Some(Mode::new(mode)), ..NOTHING }
}

fn chown(uid: Option<u32>, gid: Option<u32>) -> AttrChange {
    AttrChange { uid: uid.map(Uid::new), gid: gid.map(Gid::new), ..NOTHING }
}

fn applied(before: &Inode, caller: &Caller, change: AttrChange) -> Inode {
    let mut after = before.clone();
    apply(&mut after, caller, &change, SideTimes::default(), at(50)).unwrap();
    after
}

/// chmod(2), chown(2): EPERM; `chown_ok`, `chgrp_ok` of Linux.
#[test]
fn who_may_change_mode_and_owner() {
    let owner = caller(1, 9, &[7]);
    let member = caller(5, 2, &[]);
    let root = Caller::root();
    let (ok, no) = (Ok(()), Err(Errno::EPERM));
    #[rustfmt::skip]
    let rows = [
        (chmod(0o777), &owner, ok),
        (chmod(0o777), &member, no),
        (chmod(0o777), &root, ok),
        (chown(Some(1), None), &owner, ok),
        (chown(Some(5), None), &owner, no),
        (chown(Some(5), None), &member, no),
        (chown(Some(1), None), &member, no),
        (chown(Some(5), None), &root, ok),
        (chown(None, Some(9)), &owner, ok),
        (chown(None, Some(7)), &owner, ok),
        (chown(None, Some(2)), &owner, ok),  // it is the group already
        (chown(None, Some(3)), &owner, no),
        (chown(None, Some(2)), &member, no),
        (chown(None, Some(3)), &root, ok),
        (chown(Some(1), Some(7)), &owner, ok),
        (chown(Some(u32::MAX), None), &root, Err(Errno::EINVAL)),
        (chown(None, Some(u32::MAX)), &root, Err(Errno::EINVAL)),
        (NOTHING, &member, ok),
    ];
    for (change, caller, result) in rows {
        assert_eq!(check(&file(0o777), caller, &change), result, "{change:?} {caller:?}");
    }
    let link = inode(0o777, InodeKind::Symlink(SymlinkData { target: b"a".to_vec() }));
    assert_eq!(check(&link, &root, &chmod(0)), Err(Errno::EOPNOTSUPP));
    assert_eq!(check(&link, &root, &chown(Some(5), None)), ok);
    assert!(NOTHING.is_empty() && !chmod(0).is_empty());
}

/// utimensat(2), "Permissions requirements" and "Errors".
#[test]
fn who_may_change_times() {
    use TimeChange::{At, Keep, Now};
    let owner = caller(1, 9, &[]);
    let writer = caller(5, 2, &[]);
    let reader = caller(5, 9, &[]);
    let (ok, denied, no) = (Ok(()), Err(Errno::EACCES), Err(Errno::EPERM));
    #[rustfmt::skip]
    let rows = [
        // atime, mtime, owner, whoever may write, others
        (Now, Now, ok, ok, denied),
        (Keep, Keep, ok, ok, ok),
        (Now, Keep, ok, no, no),
        (Keep, Now, ok, no, no),
        (At(at(5)), At(at(5)), ok, no, no),
        (At(at(5)), Keep, ok, no, no),
        (Now, At(at(5)), ok, no, no),
    ];
    for (atime, mtime, by_owner, by_writer, by_reader) in rows {
        let change = AttrChange { atime, mtime, ..NOTHING };
        for (caller, result) in [(&owner, by_owner), (&writer, by_writer), (&reader, by_reader)] {
            assert_eq!(check(&file(0o064), caller, &change), result, "{change:?} {caller:?}");
        }
        assert_eq!(check(&file(0), &Caller::root(), &change), ok);
    }
}

/// truncate(2), ftruncate(2).
#[test]
fn who_may_cut() {
    let size = |size| AttrChange { size: Some(size), ..NOTHING };
    let (owner, other) = (caller(1, 9, &[]), caller(5, 9, &[]));
    assert_eq!(check(&file(0o200), &owner, &size(0)), Ok(()));
    assert_eq!(check(&file(0o204), &other, &size(0)), Err(Errno::EACCES));
    assert_eq!(check(&file(0o400), &owner, &size(0)), Err(Errno::EACCES));
    let open = AttrChange { by_open_handle: true, ..size(0) };
    assert_eq!(check(&file(0o400), &other, &open), Ok(()));
    assert_eq!(check(&directory(0o777), &owner, &size(0)), Err(Errno::EISDIR));
    assert_eq!(check(&inode(0o777, InodeKind::Fifo), &owner, &size(0)), Err(Errno::EINVAL));
    let end = u64::from(u32::MAX) * 4096;
    assert_eq!(check(&file(0o200), &owner, &size(end)), Ok(()));
    assert_eq!(check(&file(0o200), &owner, &size(end + 1)), Err(Errno::EFBIG));
}

/// chmod(2): setgid by somebody outside of the group is dropped without an error.
#[test]
fn chmod_keeps_foreign_setgid_out_and_the_list_in_step() {
    let owner = caller(1, 9, &[]);
    let member = caller(1, 9, &[2]);
    let mode = |inode: Inode| inode.mode.bits();
    assert_eq!(mode(applied(&file(0), &owner, chmod(0o6755))), 0o4755);
    assert_eq!(mode(applied(&file(0), &member, chmod(0o6755))), 0o6755);
    assert_eq!(mode(applied(&directory(0), &owner, chmod(0o3755))), 0o1755);
    assert_eq!(mode(applied(&file(0), &Caller::root(), chmod(0o6755))), 0o6755);
    let list = acl("u::rw-,u:7:rwx,g::rwx,m::r--,o::---");
    let before = Inode { acl: Some(list), ..file(0o640) };
    let after = applied(&before, &owner, chmod(0o751));
    assert_eq!(after.acl, Some(acl("u::rwx,u:7:rwx,g::rwx,m::r-x,o::--x")));
    assert_eq!((mode(after.clone()), after.ctime, after.change), (0o751, at(50), 2));
}

/// chown(2): who runs it does not matter; a file that the group cannot execute keeps setgid for
/// members and root, as `setattr_should_drop_sgid` has it.
#[test]
fn chown_takes_privileges() {
    let owner = caller(1, 9, &[]);
    let member = caller(1, 9, &[2]);
    let root = Caller::root();
    #[rustfmt::skip]
    let rows = [
        (0o6755, &owner, 0o755),
        (0o6755, &member, 0o755),
        (0o6755, &root, 0o755),
        (0o4644, &root, 0o644),
        (0o2745, &member, 0o2745),
        (0o2745, &owner, 0o745),
        (0o2745, &root, 0o2745),
        (0o1755, &owner, 0o1755),
    ];
    for (mode, caller, expected) in rows {
        let after = applied(&file(mode), caller, chown(Some(1), Some(9)));
        assert_eq!(after.mode, Mode::new(expected), "{mode:o} {caller:?}");
        assert_eq!((after.uid, after.gid), (Uid::new(1), Gid::new(9)));
    }
    let after = applied(&directory(0o6755), &owner, chown(None, Some(9)));
    assert_eq!(after.mode, Mode::new(0o6755), "directories keep theirs");
    let both = AttrChange { mode: Some(Mode::new(0o4755)), ..chown(Some(7), None) };
    assert_eq!(applied(&file(0o6755), &root, both).mode, Mode::new(0o4755));
}

/// write(2), truncate(2); `setattr_should_drop_suidgid`.
#[test]
fn writing_takes_privileges_unless_root_does() {
    let other = caller(5, 9, &[]);
    let cut = AttrChange { size: Some(0), ..NOTHING };
    let after = applied(&file(0o6777), &other, cut);
    assert_eq!((after.mode, after.mtime, after.change), (Mode::new(0o777), at(50), 3));
    assert_eq!(applied(&file(0o6777), &Caller::root(), cut).mode, Mode::new(0o6777));
    assert_eq!(mode_after_write(&file(0o2767), &other), Mode::new(0o767));
    assert_eq!(mode_after_write(&file(0o2767), &caller(5, 2, &[])), Mode::new(0o2767));
    let fifo = inode(0o6777, InodeKind::Fifo);
    assert_eq!(mode_after_write(&fifo, &other), Mode::new(0o6777));
}

/// E407: a time that was set holds until the next event; ctime does not go back.
#[test]
fn e407_times_are_set() {
    let owner = caller(1, 9, &[]);
    let times = |atime, mtime| AttrChange { atime, mtime, ..NOTHING };
    let set = times(TimeChange::At(at(7000)), TimeChange::At(at(-3)));
    let after = applied(&file(0), &owner, set);
    assert_eq!((after.atime, after.mtime, after.ctime), (at(7000), at(-3), at(50)));
    assert!(after.mtime_set);
    let now = applied(&after, &owner, times(TimeChange::Now, TimeChange::Now));
    assert_eq!((now.atime, now.mtime, now.mtime_set), (at(50), at(50), false));
    let kept = applied(&after, &owner, times(TimeChange::Now, TimeChange::Keep));
    assert_eq!((kept.atime, kept.mtime, kept.mtime_set), (at(50), at(-3), true));
    let late = Inode { ctime: at(60), ..file(0) };
    assert_eq!(applied(&late, &owner, chmod(0)).ctime, at(60));

    let mut dir = directory(0o755);
    let side = SideTimes::event(0, at(90));
    apply(&mut dir, &owner, &times(TimeChange::Keep, TimeChange::At(at(8000))), side, at(50))
        .unwrap();
    let stat = DirectoryStat::of(&dir, SideCounts::default(), side);
    assert_eq!((stat.mtime, stat.ctime), (at(8000), at(90)));
    dir.directory_mut().unwrap().time_epoch = u32::MAX;
    let set = times(TimeChange::Keep, TimeChange::Now);
    assert_eq!(apply(&mut dir, &owner, &set, side, at(50)), Err(Errno::EOVERFLOW));
}
