use super::*;
use crate::access::tests::{caller, directory, inode};
use crate::acl::tests::acl;
use crate::inode::{InodeKind, SymlinkData};

#[test]
fn namespaces() {
    let rows: [(&[u8], Result<Namespace, Errno>); 13] = [
        (b"user.a", Ok(Namespace::User)),
        (b"user..", Ok(Namespace::User)),
        (b"trusted.overlay.opaque", Ok(Namespace::Trusted)),
        (CAPABILITY, Ok(Namespace::Security)),
        (b"system.posix_acl_access", Ok(Namespace::Acl(AclKind::Access))),
        (b"system.posix_acl_default", Ok(Namespace::Acl(AclKind::Default))),
        (b"system.posix_acl_accessx", Err(Errno::EOPNOTSUPP)),
        (b"system.nfs4_acl", Err(Errno::EOPNOTSUPP)),
        (b"user.", Err(Errno::EINVAL)),
        (b"user", Err(Errno::EOPNOTSUPP)),
        (b"other.a", Err(Errno::EOPNOTSUPP)),
        (b"", Err(Errno::ERANGE)),
        (b"user.a\0", Err(Errno::EINVAL)),
    ];
    for (name, expected) in rows {
        assert_eq!(namespace(name), expected, "{name:?}");
    }
}

/// xattr(7), and `xattr_permission` and `cap_inode_setxattr` of Linux. Owner 1, group 2.
#[test]
fn who_may_use_them() {
    use Namespace::{Acl, Security, Trusted, User};
    use XattrUse::{Change, Get};
    let list = Acl(AclKind::Access);
    let owner = caller(1, 9, &[]);
    let other = caller(5, 9, &[]);
    let root = Caller::root();
    let dir = directory(0o700);
    let open = directory(0o777);
    let sticky = directory(0o1777);
    let fifo = inode(0o777, InodeKind::Fifo);
    let link = inode(0o777, InodeKind::Symlink(SymlinkData { target: b"a".to_vec() }));
    let (ok, no, none) = (Ok(()), Err(Errno::EPERM), Err(Errno::ENODATA));
    #[rustfmt::skip]
    let rows = [
        (&dir, &owner, User, Get, ok),
        (&dir, &owner, User, Change, ok),
        (&dir, &other, User, Get, Err(Errno::EACCES)),
        (&dir, &other, User, Change, Err(Errno::EACCES)),
        (&open, &other, User, Change, ok),
        (&sticky, &other, User, Get, ok),
        (&sticky, &other, User, Change, no),
        (&sticky, &owner, User, Change, ok),
        (&sticky, &root, User, Change, ok),
        (&fifo, &root, User, Get, none),
        (&fifo, &root, User, Change, no),
        (&link, &root, User, Change, no),
        (&dir, &other, Trusted, Get, none),
        (&dir, &owner, Trusted, Change, no),
        (&link, &root, Trusted, Change, ok),
        (&dir, &other, Security, Get, ok),
        (&dir, &owner, Security, Change, no),
        (&dir, &root, Security, Change, ok),
        (&dir, &other, list, Get, ok),
        (&dir, &other, list, Change, no),
        (&dir, &owner, list, Change, ok),
        (&fifo, &root, list, Change, ok),
        (&link, &root, list, Get, Err(Errno::EOPNOTSUPP)),
    ];
    for (index, (inode, caller, namespace, used, result)) in rows.into_iter().enumerate() {
        assert_eq!(check(inode, caller, namespace, used), result, "row {index}");
    }
    assert!(is_listed(b"user.a", &other) && !is_listed(b"trusted.a", &other));
    assert!(is_listed(b"trusted.a", &root));
}

#[test]
fn flags_and_sizes() {
    let rows = [
        (XattrSet::Any, true, Ok(())),
        (XattrSet::Any, false, Ok(())),
        (XattrSet::Create, true, Err(Errno::EEXIST)),
        (XattrSet::Create, false, Ok(())),
        (XattrSet::Replace, true, Ok(())),
        (XattrSet::Replace, false, Err(Errno::ENODATA)),
    ];
    for (set, exists, result) in rows {
        assert_eq!(set.check(exists), result, "{set:?} {exists}");
    }
    assert_eq!(check_value(&[0; 65_536]), Ok(()));
    assert_eq!(check_value(&[0; 65_537]), Err(Errno::E2BIG));
}

/// `posix_acl_update_mode`, `set_posix_acl`.
#[test]
fn e405_lists_that_are_set() {
    let owner = caller(1, 9, &[]);
    let set =
        |inode: &mut Inode, kind, text: &str| set_acl(inode, &owner, kind, &acl(text).to_xattr());
    let mut file = inode(0o2644, InodeKind::Fifo);
    let full = "u::rwx,u:7:r--,g::r-x,m::rw-,o::--x";
    assert_eq!(set(&mut file, AclKind::Access, full), Ok(()));
    assert_eq!(file.mode, Mode::new(0o761), "and setgid goes: the owner is not in the group");
    assert_eq!(get_acl(&file, AclKind::Access), Ok(acl(full).to_xattr()));
    assert_eq!(set(&mut file, AclKind::Access, "u::r--,g::r--,o::---"), Ok(()));
    assert_eq!((file.mode, file.acl.as_ref()), (Mode::new(0o440), None), "the mode says it all");
    assert_eq!(get_acl(&file, AclKind::Access), Err(Errno::ENODATA));

    assert_eq!(set(&mut file, AclKind::Default, full), Err(Errno::EACCES));
    let nothing = [2, 0, 0, 0];
    assert_eq!(set_acl(&mut file, &owner, AclKind::Default, &nothing), Ok(()));
    assert_eq!(set_acl(&mut file, &owner, AclKind::Access, &[2]), Err(Errno::EINVAL));

    let mut dir = directory(0o755);
    assert_eq!(set(&mut dir, AclKind::Default, "u::rwx,g::---,o::---"), Ok(()));
    assert_eq!(dir.mode, Mode::new(0o755));
    let kept = acl("u::rwx,g::---,o::---").to_xattr();
    assert_eq!(get_acl(&dir, AclKind::Default), Ok(kept), "a default one is kept, minimal or not");
    assert_eq!(set_acl(&mut dir, &owner, AclKind::Default, &nothing), Ok(()));
    assert_eq!(get_acl(&dir, AclKind::Default), Err(Errno::ENODATA));

    assert_eq!(set(&mut dir, AclKind::Access, full), Ok(()));
    assert!(remove_acl(&mut dir, AclKind::Access) && !remove_acl(&mut dir, AclKind::Access));
    assert_eq!(dir.mode, Mode::new(0o761));
    assert!(!remove_acl(&mut dir, AclKind::Default) && !remove_acl(&mut file, AclKind::Default));
}
