//! Names that come and go.

use super::*;

#[test]
fn a_name_leads_to_its_inode() {
    with_bed(1, |bed| async move {
        let root = bed.root();
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o755)).await;
        assert_eq!((dir.kind, dir.nlink, dir.mode), (FileType::Directory, 2, Mode::new(0o755)));
        let file = root.attr(create(dir.ino, "f", 0o644)).await;
        assert_eq!(root.attr(lookup(dir.ino, "f")).await, file);
        assert_eq!(root.attr(stat(INODE_ROOT)).await.nlink, 3);
        assert_eq!(root.errno(lookup(dir.ino, "g")).await, Errno::ENOENT);
        assert_eq!(root.errno(lookup(file.ino, "g")).await, Errno::ENOTDIR);
        assert_eq!(root.errno(lookup(bed.fresh(), "g")).await, Errno::ESTALE);
    });
}

#[test]
fn bad_names_are_refused() {
    with_bed(2, |bed| async move {
        let root = bed.root();
        let longest = "x".repeat(255);
        let rows = [
            ("", Errno::ENOENT),
            (".", Errno::EINVAL),
            ("..", Errno::EINVAL),
            ("a/b", Errno::EINVAL),
            ("a\0b", Errno::EINVAL),
            (&"x".repeat(256), Errno::ENAMETOOLONG),
        ];
        for (name, expected) in rows {
            assert_eq!(root.errno(mkdir(INODE_ROOT, name, 0o755)).await, expected, "{name:?}");
            assert_eq!(root.errno(lookup(INODE_ROOT, name)).await, expected, "{name:?}");
            assert_eq!(root.errno(unlink(INODE_ROOT, name)).await, expected, "{name:?}");
        }
        root.attr(create(INODE_ROOT, &longest, 0o644)).await;
        assert_eq!(listed(&root, INODE_ROOT).await, [longest]);
    });
}

/// mkdir, mknod, symlink, link and create in one directory, by who may do what.
#[test]
fn creating_asks_for_search_then_a_free_name_then_write() {
    with_bed(3, |bed| async move {
        let (root, alice) = (bed.root(), bed.user(1000, &[]));
        let file = root.attr(create(INODE_ROOT, "file", 0o644)).await;
        #[rustfmt::skip]
        let rows = [
            // mode, a free name,          a taken name
            (0o777,  Ok(()),               Errno::EEXIST),
            (0o775,  Err(Errno::EACCES),   Errno::EEXIST),
            (0o776,  Err(Errno::EACCES),   Errno::EACCES),
            (0o773,  Ok(()),               Errno::EEXIST),
            (0o771,  Err(Errno::EACCES),   Errno::EEXIST),
        ];
        for (mode, free, taken) in rows {
            let name = format!("d{mode:o}");
            let dir = root.attr(mkdir(INODE_ROOT, &name, mode)).await.ino;
            root.attr(chmod(dir, mode)).await;
            root.attr(create(dir, "taken", 0o644)).await;
            for (name, expected) in [("free", free), ("taken", Err(taken))] {
                let told = |what| format!("{what} of {name} in a directory of mode {mode:o}");
                let done = errno(alice.ask(mkdir(dir, name, 0o755)).await);
                assert_eq!(done, expected, "{}", told("mkdir"));
                let name = format!("{name}{}", if name == "taken" { "" } else { "2" });
                let done = errno(alice.ask(mknod(dir, &name, 0o010_644, 0)).await);
                assert_eq!(done, expected, "{}", told("mknod"));
                let name = format!("{name}{}", if name == "taken" { "" } else { "3" });
                let done = errno(alice.ask(symlink(dir, &name, "x")).await);
                assert_eq!(done, expected, "{}", told("symlink"));
                let name = format!("{name}{}", if name == "taken" { "" } else { "4" });
                let done = errno(alice.ask(link(file.ino, dir, &name)).await);
                assert_eq!(done, expected, "{}", told("link"));
                let name = format!("{name}{}", if name == "taken" { "" } else { "5" });
                let done = errno(alice.ask(create(dir, &name, 0o644)).await);
                assert_eq!(done, expected, "{}", told("create"));
            }
        }
    });
}

#[test]
fn special_files_have_their_type_and_devices_are_for_root() {
    with_bed(4, |bed| async move {
        let (root, alice) = (bed.root(), bed.user(1000, &[]));
        root.attr(chmod(INODE_ROOT, 0o777)).await;
        #[rustfmt::skip]
        let rows = [
            // type,     kind,                   for others than root
            (0o010_000, FileType::Fifo,          Ok(())),
            (0o140_000, FileType::Socket,        Ok(())),
            (0o020_000, FileType::CharDevice,    Err(Errno::EPERM)),
            (0o060_000, FileType::BlockDevice,   Err(Errno::EPERM)),
            (0o100_000, FileType::Regular,       Ok(())),
            (0,         FileType::Regular,       Ok(())),
        ];
        for (bits, kind, others) in rows {
            let made = root.attr(mknod(INODE_ROOT, &format!("r{bits:o}"), bits | 0o640, 5)).await;
            let rdev = if kind.is_device() { 5 } else { 0 };
            assert_eq!((made.kind, made.mode, made.rdev), (kind, Mode::new(0o640), rdev));
            let done = alice.ask(mknod(INODE_ROOT, &format!("a{bits:o}"), bits | 0o640, 5)).await;
            assert_eq!(errno(done), others, "{kind}");
        }
        assert_eq!(root.errno(mknod(INODE_ROOT, "d", 0o040_755, 0)).await, Errno::EPERM);
        assert_eq!(root.errno(mknod(INODE_ROOT, "l", 0o120_755, 0)).await, Errno::EINVAL);
        assert_eq!(root.errno(mknod(INODE_ROOT, "x", 0o150_755, 0)).await, Errno::EINVAL);
    });
}

#[test]
fn links_count_and_the_last_one_lets_go() {
    with_bed(5, |bed| async move {
        let root = bed.root();
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o755)).await;
        let file = root.attr(create(INODE_ROOT, "a", 0o644)).await;
        assert_eq!(root.attr(link(file.ino, dir.ino, "b")).await.nlink, 2);
        assert_eq!(root.errno(link(dir.ino, dir.ino, "c")).await, Errno::EPERM);
        root.ask(unlink(INODE_ROOT, "a")).await.unwrap();
        assert_eq!(root.attr(stat(file.ino)).await.nlink, 1);
        root.ask(unlink(dir.ino, "b")).await.unwrap();
        assert_eq!(root.attr(stat(file.ino)).await.nlink, 0, "it waits for its removal");
        assert_eq!(root.errno(link(file.ino, dir.ino, "c")).await, Errno::ENOENT);
        assert_eq!(root.errno(unlink(dir.ino, "b")).await, Errno::ENOENT);
        assert_eq!(root.errno(unlink(INODE_ROOT, "d")).await, Errno::EISDIR);
        let queued = bed.dump().await.into_iter().filter(|(key, _)| key.starts_with(b"DELQ"));
        assert_eq!(queued.count(), 1);
        // Without chunks there is nothing to wait for.
        let target = root.attr(symlink(INODE_ROOT, "l", "somewhere")).await;
        root.ask(unlink(INODE_ROOT, "l")).await.unwrap();
        assert_eq!(root.errno(stat(target.ino)).await, Errno::ESTALE);
    });
}

#[test]
fn what_a_mount_holds_open_stays_hidden() {
    with_bed(6, |bed| async move {
        let root = bed.root();
        for (name, made) in [("f", true), ("p", false)] {
            let ino = if made {
                root.attr(create(INODE_ROOT, name, 0o644)).await.ino
            } else {
                root.attr(mknod(INODE_ROOT, name, 0o010_644, 0)).await.ino
            };
            root.ask(ask::Unlink { hold: true, ..unlink(INODE_ROOT, name) }).await.unwrap();
            assert_eq!(root.attr(stat(ino)).await.nlink, 0, "{name} is held");
        }
        let held = bed.dump().await.into_iter().filter(|(key, _)| key.starts_with(b"SESS"));
        assert_eq!(held.count(), 2);
    });
}

#[test]
fn only_empty_directories_are_removed() {
    with_bed(7, |bed| async move {
        let root = bed.root();
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o755)).await;
        root.attr(create(dir.ino, "f", 0o644)).await;
        assert_eq!(root.errno(rmdir(INODE_ROOT, "d")).await, Errno::ENOTEMPTY);
        assert_eq!(root.errno(rmdir(dir.ino, "f")).await, Errno::ENOTDIR);
        assert_eq!(root.errno(rmdir(dir.ino, "x")).await, Errno::ENOENT);
        root.ask(unlink(dir.ino, "f")).await.unwrap();
        root.ask(rmdir(INODE_ROOT, "d")).await.unwrap();
        assert_eq!(root.errno(stat(dir.ino)).await, Errno::ESTALE);
        assert_eq!(root.errno(create(dir.ino, "g", 0o644)).await, Errno::ESTALE);
        assert_eq!(root.attr(stat(INODE_ROOT)).await.nlink, 2);
        // Nothing of it is left: neither side keys nor its place in the tree.
        let ino = dir.ino.get().to_le_bytes();
        let left: Vec<_> =
            bed.dump().await.into_iter().filter(|(key, _)| key[4..].starts_with(&ino)).collect();
        assert_eq!(left, []);
    });
}

/// Who may remove what from a directory: write permission, then the sticky bit.
#[test]
fn removing_asks_for_write_then_the_sticky_bit() {
    with_bed(8, |bed| async move {
        let (root, alice, bob) = (bed.root(), bed.user(1000, &[]), bed.user(1001, &[]));
        #[rustfmt::skip]
        let rows = [
            // mode,   dir of, file of, alice
            (0o755,    0,      1000,    Err(Errno::EACCES)),
            (0o777,    0,      1001,    Ok(())),
            (0o1777,   0,      1001,    Err(Errno::EPERM)),
            (0o1777,   0,      1000,    Ok(())),
            (0o1777,   1000,   1001,    Ok(())),
            (0o776,    0,      1000,    Err(Errno::EACCES)),
        ];
        for (number, (mode, dir_of, file_of, expected)) in rows.into_iter().enumerate() {
            let dir = root.attr(mkdir(INODE_ROOT, &format!("d{number}"), 0o755)).await.ino;
            for name in ["f", "g"] {
                let file = root.attr(create(dir, name, 0o644)).await.ino;
                root.attr(chown(file, file_of, file_of)).await;
            }
            let inner = root.attr(mkdir(dir, "inner", 0o755)).await.ino;
            root.attr(chown(inner, file_of, file_of)).await;
            root.attr(chown(dir, dir_of, dir_of)).await;
            root.attr(chmod(dir, mode)).await;
            let told = format!("mode {mode:o}, directory of {dir_of}, entries of {file_of}");
            assert_eq!(errno(alice.ask(unlink(dir, "f")).await), expected, "{told}");
            assert_eq!(errno(alice.ask(rmdir(dir, "inner")).await), expected, "{told}");
            assert_eq!(errno(alice.ask(rename(dir, "g", dir, "h")).await), expected, "{told}");
        }
        assert_eq!(bob.errno(unlink(INODE_ROOT, "d0")).await, Errno::EACCES);
    });
}

#[test]
fn new_inodes_take_groups_and_modes_from_their_directory() {
    with_bed(9, |bed| async move {
        let (root, alice) = (bed.root(), bed.user(1000, &[]));
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o777)).await.ino;
        root.attr(chown(dir, 0, 50)).await;
        root.attr(chmod(dir, 0o2777)).await;
        let file = alice.attr(create(dir, "f", 0o644)).await;
        assert_eq!((file.uid, file.gid), (Uid::new(1000), Gid::new(50)));
        let inner = alice.attr(mkdir(dir, "inner", 0o755)).await;
        assert_eq!((inner.gid, inner.mode), (Gid::new(50), Mode::new(0o2755)));
        let masked = ask::Create { umask: Mode::new(0o027), ..create(dir, "m", 0o666) };
        assert_eq!(alice.attr(masked).await.mode, Mode::new(0o640));
        let link = alice.attr(symlink(dir, "l", "f")).await;
        assert_eq!((link.mode, link.size), (Mode::new(0o777), 1));
    });
}

#[test]
fn creating_over_a_name_opens_what_is_there() {
    with_bed(10, |bed| async move {
        let (root, alice) = (bed.root(), bed.user(1000, &[]));
        let file = root.attr(create(INODE_ROOT, "f", 0o600)).await;
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o777)).await;
        root.attr(symlink(INODE_ROOT, "l", "f")).await;
        let read = OpenMode { read: true, ..OpenMode::default() };
        let write = OpenMode { write: true, ..OpenMode::default() };
        let shared = |parent, name, open| ask::Create {
            exclusive: false,
            open: Some(open),
            ..create(parent, name, 0o644)
        };
        let opened = root.ask(shared(INODE_ROOT, "f", read)).await;
        assert_eq!(opened, Ok(Answer::Opened { attr: file, created: false }));
        assert_eq!(alice.errno(shared(INODE_ROOT, "f", read)).await, Errno::EACCES);
        assert_eq!(alice.errno(shared(INODE_ROOT, "new", read)).await, Errno::EACCES);
        assert_eq!(root.errno(shared(INODE_ROOT, "d", write)).await, Errno::EISDIR);
        assert_eq!(root.errno(shared(INODE_ROOT, "l", read)).await, Errno::ELOOP);
        // What is made is open for what was asked, whatever its mode.
        let made = ask::Create { mode: Mode::default(), ..shared(dir.ino, "new", write) };
        match alice.ask(made).await {
            Ok(Answer::Opened { attr, created: true }) => assert_eq!(attr.mode, Mode::default()),
            other => panic!("{other:?}"),
        }
        let sessions = bed.dump().await.into_iter().filter(|(key, _)| key.starts_with(b"SES"));
        assert_eq!(sessions.count(), 2, "one session, from both sides");
    });
}
