use super::*;
use crate::access::tests::{caller, directory};
use crate::acl::tests::acl;

fn with_default(mode: u32, text: &str) -> Inode {
    let mut dir = directory(mode);
    dir.directory_mut().unwrap().acl_default = Some(acl(text));
    dir
}

/// open(2), mkdir(2), mknod(2): owner, group and mode; directory of owner 1 and group 2.
#[test]
fn e405_owners_and_modes() {
    use FileType::{Directory, Regular, Symlink};
    let plain = caller(5, 9, &[]);
    let member = caller(5, 9, &[2]);
    let root = Caller::root();
    #[rustfmt::skip]
    let rows = [
        // directory, caller, type, mode, umask, group, mode of the new one
        (0o755, &plain, Regular, 0o666, 0o022, 9, 0o644),
        (0o755, &plain, Regular, 0o6777, 0o022, 9, 0o6755),
        (0o755, &plain, Regular, 0o644, 0o7777, 9, 0),
        (0o755, &plain, Directory, 0o7777, 0o027, 9, 0o1750),
        (0o755, &plain, Symlink, 0, 0o777, 9, 0o777),
        (0o2755, &plain, Regular, 0o666, 0o022, 2, 0o644),
        (0o2755, &plain, Directory, 0o777, 0o022, 2, 0o2755),
        (0o2755, &plain, Symlink, 0, 0o022, 2, 0o777),
        // Setgid in a directory of a group that the caller is not in.
        (0o2755, &plain, Regular, 0o2775, 0o022, 2, 0o755),
        (0o2755, &plain, Regular, 0o2765, 0o022, 2, 0o2745),
        (0o2755, &plain, Regular, 0o2775, 0o111, 2, 0o664),
        (0o2755, &member, Regular, 0o2775, 0o022, 2, 0o2755),
        (0o2755, &root, Regular, 0o2775, 0o022, 2, 0o2755),
    ];
    for (dir, caller, kind, mode, umask, gid, expected) in rows {
        let born = birth(&directory(dir), caller, kind, Mode::new(mode), Mode::new(umask));
        assert_eq!((born.uid, born.gid), (caller.uid, Gid::new(gid)), "{dir:o} {kind} {mode:o}");
        assert_eq!(born.mode, Mode::new(expected), "{dir:o} {kind} {mode:o}");
        assert_eq!((born.acl, born.acl_default), (None, None));
    }
}

/// acl(5), "Object creation and default ACLs": no umask; directories pass the default on.
#[test]
fn e405_default_lists_are_inherited() {
    let five = caller(5, 9, &[]);
    let text = "u::rwx,u:7:rwx,g::r-x,m::rwx,o::r-x";
    let dir = with_default(0o755, text);
    let umask = Mode::new(0o077);
    let file = birth(&dir, &five, FileType::Regular, Mode::new(0o666), umask);
    assert_eq!(file.mode, Mode::new(0o664));
    assert_eq!(file.acl, Some(acl("u::rw-,u:7:rwx,g::r-x,m::rw-,o::r--")));
    assert_eq!(file.acl_default, None);
    let below = birth(&dir, &five, FileType::Directory, Mode::new(0o777), umask);
    assert_eq!((below.mode, below.acl.as_ref()), (Mode::new(0o775), Some(&acl(text))));
    assert_eq!(below.acl_default, Some(acl(text)));
    let link = birth(&dir, &five, FileType::Symlink, Mode::new(0), umask);
    assert_eq!((link.mode, link.acl), (Mode::new(0o777), None));
    let minimal = with_default(0o755, "u::rwx,g::---,o::---");
    let file = birth(&minimal, &five, FileType::Regular, Mode::new(0o666), Mode::new(0));
    assert_eq!((file.mode, file.acl), (Mode::new(0o600), None));

    let kind = InodeKind::Directory(DirectoryData::default());
    let inode = below.inode(Timestamp::from_nanos(3), kind);
    assert_eq!(inode.directory().unwrap().acl_default, Some(acl(text)));
    assert_eq!((inode.acl, inode.nlink, inode.btime.nanos()), (Some(acl(text)), 2, 3));
}
