use std::vec;
use std::vec::Vec;

use super::*;
use crate::acl::tests::acl;
use crate::inode::{DeviceData, DirectoryData, SymlinkData};
use crate::limits::NLINK_MAX;
use crate::time::Timestamp;

/// Of owner 1 and group 2.
pub(crate) fn inode(mode: u32, kind: InodeKind) -> Inode {
    Inode::new(Mode::new(mode), Uid::new(1), Gid::new(2), Timestamp::EPOCH, kind)
}

pub(crate) fn directory(mode: u32) -> Inode {
    inode(mode, InodeKind::Directory(DirectoryData::default()))
}

/// User, group, and perhaps further groups.
pub(crate) fn caller(uid: u32, gid: u32, groups: &[u32]) -> Caller {
    let groups = groups.iter().copied().map(Gid::new).collect();
    Caller { groups, ..Caller::user(uid, gid) }
}

fn bits(bits: u8) -> AccessMask {
    AccessMask::new(bits).unwrap()
}

/// POSIX.1-2017 4.5, path_resolution(7) "Permissions", and `generic_permission` for root.
#[test]
fn modes_judge_by_the_first_class_that_fits() {
    let owner = caller(1, 9, &[]);
    let member = caller(5, 9, &[7, 2]);
    let other = caller(5, 9, &[]);
    #[rustfmt::skip]
    let rows = [
        // mode, caller, wanted, allowed
        (0o640, &owner, 6, true),
        (0o640, &owner, 1, false),
        (0o077, &owner, 4, false),  // not even as a member or other
        (0o640, &member, 4, true),
        (0o640, &member, 2, false),
        (0o707, &member, 4, false), // not as other
        (0o604, &other, 4, true),
        (0o604, &other, 6, false),
        (0o000, &other, 0, true),
        (0o000, &Caller::root(), 6, true),
        (0o666, &Caller::root(), 1, false),
        (0o010, &Caller::root(), 7, true),
    ];
    for (mode, caller, wanted, expected) in rows {
        let found = permits(&inode(mode, InodeKind::Fifo), caller, bits(wanted));
        assert_eq!(found, expected, "{mode:o} {caller:?} {wanted}");
    }
    assert!(permits(&directory(0), &Caller::root(), AccessMask::ALL));
    assert_eq!(check(&directory(0o711), &other, AccessMask::READ), Err(Errno::EACCES));
}

#[test]
fn lists_take_part() {
    let with = |mode, list| Inode { acl: Some(acl(list)), ..inode(mode, InodeKind::Fifo) };
    let node = with(0o670, "u::rw-,u:5:r--,g::rwx,m::rwx,o::---");
    assert!(permits(&node, &caller(5, 9, &[]), bits(4)));
    assert!(!permits(&node, &caller(5, 9, &[]), bits(2)));
    assert!(!permits(&node, &caller(6, 9, &[]), bits(4)));
    assert!(permits(&node, &caller(6, 2, &[]), bits(7)));
    let masked = with(0o640, "u::rw-,g::rwx,m::r--,o::---");
    assert!(!permits(&masked, &caller(6, 2, &[]), bits(2)), "the mode's group class is a mask");
    assert!(permits(&masked, &Caller::root(), bits(6)));
    assert!(!permits(&masked, &Caller::root(), bits(1)));
}

/// `may_create` of Linux: EACCES for the directory; ENOENT for one that was removed.
#[test]
fn creating() {
    let other = caller(5, 9, &[]);
    assert_eq!(check_create(&directory(0o703), &other), Ok(()));
    assert_eq!(check_create(&directory(0o702), &other), Err(Errno::EACCES));
    assert_eq!(check_create(&directory(0o701), &other), Err(Errno::EACCES));
    let gone = Inode { nlink: 0, ..directory(0o777) };
    assert_eq!(check_create(&gone, &Caller::root()), Err(Errno::ENOENT));
    assert_eq!(check_create(&inode(0o777, InodeKind::Fifo), &other), Err(Errno::ENOTDIR));
    assert_eq!(check_search(&directory(0o701), &other), Ok(()));
    assert_eq!(check_search(&directory(0o706), &other), Err(Errno::EACCES));
    assert_eq!(check_search(&inode(0o777, InodeKind::Fifo), &other), Err(Errno::ENOTDIR));
}

/// unlink(2), rmdir(2), `may_delete`: EACCES before EPERM before the type.
#[test]
fn removing() {
    use Victim::{Directory, NoDirectory};
    let of = |uid| Inode { uid: Uid::new(uid), ..inode(0o644, InodeKind::Fifo) };
    let below = |uid| Inode { uid: Uid::new(uid), ..directory(0o755) };
    let five = caller(5, 9, &[]);
    #[rustfmt::skip]
    let rows = [
        // mode of the directory, its entry, expected, caller, result
        (0o777, of(6), NoDirectory, five.clone(), Ok(())),
        (0o775, of(5), NoDirectory, five.clone(), Err(Errno::EACCES)),
        (0o776, of(5), NoDirectory, five.clone(), Err(Errno::EACCES)),
        (0o1777, of(6), NoDirectory, five.clone(), Err(Errno::EPERM)),
        (0o1777, of(5), NoDirectory, five.clone(), Ok(())),
        (0o1777, of(6), NoDirectory, caller(1, 9, &[]), Ok(())),
        (0o1777, of(6), NoDirectory, Caller::root(), Ok(())),
        (0o1775, of(6), NoDirectory, five.clone(), Err(Errno::EACCES)),
        (0o1777, below(6), NoDirectory, five.clone(), Err(Errno::EPERM)),
        (0o777, below(6), NoDirectory, five.clone(), Err(Errno::EISDIR)),
        (0o777, below(6), Directory, five.clone(), Ok(())),
        (0o777, of(6), Directory, five.clone(), Err(Errno::ENOTDIR)),
    ];
    for (mode, victim, expected, caller, result) in rows {
        let found = check_remove(&directory(mode), &victim, &caller, expected);
        assert_eq!(found, result, "{mode:o}, entry of {}, {caller:?}", victim.uid);
    }
}

/// rename(2), `vfs_rename`.
#[test]
fn renaming() {
    let open = directory(0o777);
    let closed = directory(0o755);
    let sticky = directory(0o1777);
    let mine = |inode: Inode| Inode { uid: Uid::new(5), ..inode };
    let file = mine(inode(0o644, InodeKind::Fifo));
    let tree = mine(directory(0o755));
    let foreign = inode(0o644, InodeKind::Fifo);
    let locked = Inode { uid: Uid::new(6), ..directory(0o755) };
    let five = caller(5, 9, &[]);
    let plain = Renamed {
        from: &open,
        moved: &file,
        to: &open,
        replaced: None,
        same_directory: false,
        exchange: false,
    };
    let swap = Renamed { exchange: true, replaced: Some(&foreign), ..plain };
    #[rustfmt::skip]
    let rows = [
        (plain, Ok(())),
        (Renamed { from: &closed, ..plain }, Err(Errno::EACCES)),
        (Renamed { to: &closed, ..plain }, Err(Errno::EACCES)),
        (Renamed { replaced: Some(&foreign), ..plain }, Ok(())),
        (Renamed { replaced: Some(&foreign), to: &sticky, ..plain }, Err(Errno::EPERM)),
        (Renamed { moved: &foreign, from: &sticky, ..plain }, Err(Errno::EPERM)),
        (Renamed { replaced: Some(&tree), ..plain }, Err(Errno::EISDIR)),
        (Renamed { moved: &tree, replaced: Some(&file), ..plain }, Err(Errno::ENOTDIR)),
        (Renamed { moved: &tree, replaced: Some(&tree), ..plain }, Ok(())),
        // The ".." of a directory is written when its parent changes.
        (Renamed { moved: &locked, ..plain }, Err(Errno::EACCES)),
        (Renamed { moved: &locked, same_directory: true, ..plain }, Ok(())),
        (swap, Ok(())),
        (Renamed { replaced: None, ..swap }, Err(Errno::ENOENT)),
        (Renamed { replaced: None, from: &closed, ..swap }, Err(Errno::ENOENT)),
        (Renamed { replaced: Some(&tree), ..swap }, Ok(())),
        (Renamed { replaced: Some(&locked), ..swap }, Err(Errno::EACCES)),
        (Renamed { replaced: Some(&locked), same_directory: true, ..swap }, Ok(())),
    ];
    for (index, (rename, result)) in rows.into_iter().enumerate() {
        assert_eq!(check_rename(&rename, &five), result, "row {index}");
    }
    let strict = Renamed { moved: &locked, from: &closed, to: &sticky, ..plain };
    assert_eq!(check_rename(&strict, &Caller::root()), Ok(()));
}

/// open(2).
#[test]
fn opening() {
    let five = caller(5, 9, &[]);
    let read = OpenMode { read: true, ..OpenMode::default() };
    let write = OpenMode { write: true, ..OpenMode::default() };
    let cut = OpenMode { truncate: true, ..read };
    let link = InodeKind::Symlink(SymlinkData { target: b"a".to_vec() });
    let device = InodeKind::CharDevice(DeviceData { rdev: 1 });
    let rows = [
        (inode(0o604, InodeKind::Fifo), read, Ok(())),
        (inode(0o604, InodeKind::Fifo), write, Err(Errno::EACCES)),
        (inode(0o604, InodeKind::Fifo), cut, Err(Errno::EACCES)),
        (inode(0o606, device), cut, Ok(())),
        (directory(0o705), read, Ok(())),
        (directory(0o777), write, Err(Errno::EISDIR)),
        (directory(0o777), cut, Err(Errno::EISDIR)),
        (inode(0o777, link), read, Err(Errno::ELOOP)),
        (inode(0o777, InodeKind::Socket), read, Err(Errno::ENXIO)),
    ];
    for (inode, open, result) in rows {
        assert_eq!(check_open(&inode, &five, open), result, "{open:?} {:?}", inode.kind);
    }
}

/// link(2), `vfs_link`.
#[test]
fn linking() {
    let with = |nlink| Inode { nlink, ..inode(0, InodeKind::Fifo) };
    assert_eq!(check_link(&with(1)), Ok(()));
    assert_eq!(check_link(&with(NLINK_MAX - 1)), Ok(()));
    assert_eq!(check_link(&with(NLINK_MAX)), Err(Errno::EMLINK));
    assert_eq!(check_link(&with(0)), Err(Errno::ENOENT));
    assert_eq!(check_link(&directory(0o777)), Err(Errno::EPERM));
}

#[test]
fn callers_are_in_their_groups() {
    let someone = caller(5, 9, &[7, 8]);
    let groups: Vec<bool> =
        vec![7, 8, 9, 10].into_iter().map(|gid| someone.is_in(Gid::new(gid))).collect();
    assert_eq!(groups, [true, true, true, false]);
    let own = Inode { uid: Uid::new(5), ..directory(0) };
    assert!(someone.owns(&own) && Caller::root().owns(&own) && !someone.owns(&directory(0)));
}
