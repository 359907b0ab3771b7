//! chmod, chown, utimens, extended attributes, ACLs, layouts, times of directories.

use meta_protocol::LayoutTold;
use meta_schema::xattr::XattrSet;

use super::*;
use crate::bed::{ROOT_LAYOUT, TABLE};

fn utimens(ino: InodeId, atime: TimeChange, mtime: TimeChange) -> ask::SetAttr {
    setattr(ino, AttrChange { atime, mtime, ..AttrChange::default() })
}

fn at(nanos: i64) -> TimeChange {
    TimeChange::At(Timestamp::from_nanos(nanos))
}

#[test]
fn who_may_change_what() {
    with_bed(1, |bed| async move {
        let (root, alice, bob) = (bed.root(), bed.user(1000, &[7]), bed.user(1001, &[]));
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o777)).await.ino;
        let file = alice.attr(create(dir, "f", 0o666)).await.ino;
        let (keep, now) = (TimeChange::Keep, TimeChange::Now);
        #[rustfmt::skip]
        let rows = [
            // what,                       the owner,         another
            (chmod(file, 0o666),           Ok(()),            Err(Errno::EPERM)),
            (chown(file, 1000, 7),         Ok(()),            Err(Errno::EPERM)),
            (chown(file, 1000, 8),         Err(Errno::EPERM), Err(Errno::EPERM)),
            (chown(file, 1001, 1001),      Err(Errno::EPERM), Err(Errno::EPERM)),
            (utimens(file, now, now),      Ok(()),            Ok(())),
            (utimens(file, now, keep),     Ok(()),            Err(Errno::EPERM)),
            (utimens(file, at(5), at(7)),  Ok(()),            Err(Errno::EPERM)),
        ];
        for (ask, own, other) in rows {
            assert_eq!(errno(alice.ask(ask).await), own, "the owner: {ask:?}");
            assert_eq!(errno(bob.ask(ask).await), other, "another: {ask:?}");
        }
        let attr = root.attr(stat(file)).await;
        let times = (attr.atime.nanos(), attr.mtime.nanos(), attr.gid);
        assert_eq!(times, (5, 7, Gid::new(7)));
        let link = root.attr(symlink(dir, "l", "f")).await.ino;
        assert_eq!(root.errno(chmod(link, 0o600)).await, Errno::EOPNOTSUPP);
        root.attr(chmod(file, 0o6755)).await;
        assert_eq!(
            root.attr(chown(file, 1001, 7)).await.mode,
            Mode::new(0o755),
            "chown takes setuid"
        );
    });
}

/// Every change of entries marks mtime, ctime and change of the directory; times never go back,
/// and an event wins over a utimens into the future (M6).
#[test]
fn events_mark_a_directory() {
    with_bed(2, |bed| async move {
        let root = bed.root();
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o755)).await.ino;
        let other = root.attr(mkdir(INODE_ROOT, "o", 0o755)).await.ino;
        let mut before = root.attr(stat(dir)).await;
        let mut file = None;
        for step in 0..6 {
            bed.wait(core::time::Duration::from_millis(3)).await;
            match step {
                0 => file = Some(root.attr(create(dir, "f", 0o644)).await.ino),
                1 => drop(root.ask(rename(dir, "f", other, "f")).await.unwrap()),
                2 => drop(root.attr(link(file.unwrap(), dir, "g")).await),
                3 => drop(root.ask(unlink(dir, "g")).await.unwrap()),
                4 => drop(root.attr(mkdir(dir, "inner", 0o755)).await),
                _ => drop(root.ask(rmdir(dir, "inner")).await.unwrap()),
            }
            let after = root.attr(stat(dir)).await;
            assert!(before.mtime < after.mtime && before.ctime < after.ctime, "step {step}");
            assert_eq!(after.change, before.change + 1, "step {step}");
            before = after;
        }
        let future = before.mtime.nanos() + 1_000_000_000_000;
        let set = root.attr(utimens(dir, TimeChange::Keep, at(future))).await;
        assert_eq!((set.mtime.nanos(), root.attr(stat(dir)).await), (future, set));
        root.attr(create(dir, "h", 0o644)).await;
        let after = root.attr(stat(dir)).await;
        assert!(after.mtime < set.mtime && set.ctime < after.ctime, "the event is what counts");
        // A chmod keeps what events have written.
        let changed = root.attr(chmod(dir, 0o700)).await;
        assert_eq!(changed.mtime, after.mtime);
        assert!(after.ctime <= changed.ctime && after.change < changed.change);
    });
}

fn set(ino: InodeId, name: &str, value: &[u8], set: XattrSet) -> ask::SetXattr {
    ask::SetXattr { ino, name: name.into(), value: value.into(), set }
}

fn get(ino: InodeId, name: &str) -> ask::GetXattr {
    ask::GetXattr { ino, name: name.into() }
}

#[test]
fn extended_attributes_have_their_namespaces() {
    with_bed(3, |bed| async move {
        let (root, alice, bob) = (bed.root(), bed.user(1000, &[]), bed.user(1001, &[]));
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o777)).await.ino;
        let file = alice.attr(create(dir, "f", 0o644)).await.ino;
        let any = XattrSet::Any;
        alice.ask(set(file, "user.a", b"1", XattrSet::Create)).await.unwrap();
        #[rustfmt::skip]
        let rows = [
            (set(file, "user.a", b"2", XattrSet::Create),  Err(Errno::EEXIST), Err(Errno::EACCES)),
            (set(file, "user.b", b"2", XattrSet::Replace), Err(Errno::ENODATA), Err(Errno::EACCES)),
            (set(file, "user.a", b"2", XattrSet::Replace), Ok(()),             Err(Errno::EACCES)),
            (set(file, "trusted.a", b"2", any),            Err(Errno::EPERM),  Err(Errno::EPERM)),
            (set(file, "security.a", b"2", any),           Err(Errno::EPERM),  Err(Errno::EPERM)),
            (set(file, "other.a", b"2", any), Err(Errno::EOPNOTSUPP), Err(Errno::EOPNOTSUPP)),
            (set(file, "user.", b"2", any),                Err(Errno::EINVAL), Err(Errno::EINVAL)),
            (set(file, "user.c", &[0; 65_537], any),       Err(Errno::E2BIG),  Err(Errno::E2BIG)),
        ];
        for (ask, own, other) in rows {
            let name = String::from_utf8(ask.name.clone()).unwrap();
            assert_eq!(errno(alice.ask(ask.clone()).await), own, "the owner: {name}");
            assert_eq!(errno(bob.ask(ask).await), other, "another: {name}");
        }
        assert_eq!(bob.ask(get(file, "user.a")).await, Ok(Answer::Value(b"2".into())));
        root.ask(set(file, "trusted.a", b"t", any)).await.unwrap();
        root.ask(set(file, "security.a", b"s", any)).await.unwrap();
        assert_eq!(alice.errno(get(file, "trusted.a")).await, Errno::ENODATA);
        let all = Answer::Names(b"security.a\0trusted.a\0user.a\0".into());
        assert_eq!(root.ask(ask::ListXattr { ino: file }).await, Ok(all));
        let shown = Answer::Names(b"security.a\0user.a\0".into());
        assert_eq!(alice.ask(ask::ListXattr { ino: file }).await, Ok(shown));
        let remove = ask::RemoveXattr { ino: file, name: b"user.a".into() };
        alice.ask(remove.clone()).await.unwrap();
        assert_eq!(alice.errno(remove).await, Errno::ENODATA);
        // They go with the inode.
        root.ask(set(dir, "user.d", b"x", any)).await.unwrap();
        root.ask(unlink(dir, "f")).await.unwrap();
        root.ask(rmdir(INODE_ROOT, "d")).await.unwrap();
        let left = bed.dump().await.into_iter().filter(|(key, _)| key.ends_with(b"user.d"));
        assert_eq!(left.count(), 0);
    });
}

/// Linux' form: version 2, then tag, permissions, id.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, allowed, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(allowed.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

const NO_ID: u32 = u32::MAX;

#[test]
fn acls_bind_and_are_inherited() {
    with_bed(4, |bed| async move {
        let (root, alice, bob) = (bed.root(), bed.user(1000, &[]), bed.user(1001, &[]));
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o755)).await.ino;
        let list =
            acl(&[(1, 7, NO_ID), (2, 7, 1000), (4, 5, NO_ID), (16, 7, NO_ID), (32, 0, NO_ID)]);
        let (access, default) = ("system.posix_acl_access", "system.posix_acl_default");
        assert_eq!(alice.errno(set(dir, access, &list, XattrSet::Any)).await, Errno::EPERM);
        root.ask(set(dir, access, &list, XattrSet::Any)).await.unwrap();
        root.ask(set(dir, default, &list, XattrSet::Any)).await.unwrap();
        // Flags of setxattr(2) count for nothing, as in Linux: it is there, and not there.
        root.ask(set(dir, default, &list, XattrSet::Create)).await.unwrap();
        root.ask(ask::RemoveXattr { ino: dir, name: default.into() }).await.unwrap();
        root.ask(set(dir, default, &list, XattrSet::Replace)).await.unwrap();
        let attr = root.attr(stat(dir)).await;
        assert_eq!((attr.mode, attr.has_acl), (Mode::new(0o770), true), "the mode follows");
        assert_eq!(root.ask(get(dir, default)).await, Ok(Answer::Value(list)));
        let file = ask::Create { umask: Mode::new(0o077), ..create(dir, "f", 0o666) };
        let file = alice.attr(file).await;
        assert_eq!(file.mode, Mode::new(0o660), "the umask does not count");
        assert_eq!(bob.errno(lookup(dir, "f")).await, Errno::EACCES);
        // The mask binds the user of the list.
        root.attr(chmod(dir, 0o750)).await;
        assert_eq!(alice.errno(create(dir, "g", 0o666)).await, Errno::EACCES);
        let names = b"system.posix_acl_access\0system.posix_acl_default\0".to_vec();
        assert_eq!(root.ask(ask::ListXattr { ino: dir }).await, Ok(Answer::Names(names)));
        for name in [access, default] {
            root.ask(ask::RemoveXattr { ino: dir, name: name.into() }).await.unwrap();
            assert_eq!(root.errno(get(dir, name)).await, Errno::ENODATA);
        }
        assert_eq!(root.errno(set(dir, access, b"no acl", XattrSet::Any)).await, Errno::EOPNOTSUPP);
    });
}

#[test]
fn layouts_are_inherited_and_checked() {
    with_bed(5, |bed| async move {
        let (root, alice) = (bed.root(), bed.user(1000, &[]));
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o777)).await.ino;
        let wide = LayoutTemplate { stripe: 12, ..ROOT_LAYOUT };
        let told = Answer::Layout(LayoutTold::Directory(wide));
        assert_eq!(
            alice.errno(ask::SetLayout { ino: dir, layout: Some(wide) }).await,
            Errno::EPERM
        );
        let done = root.ask(ask::SetLayout { ino: dir, layout: Some(wide) }).await;
        assert_eq!(done, Ok(told.clone()));
        let inner = root.attr(mkdir(dir, "inner", 0o755)).await.ino;
        assert_eq!(root.ask(ask::GetLayout { ino: inner }).await, Ok(told));
        let file = root.attr(create(inner, "f", 0o644)).await;
        assert_eq!(file.layout.map(|layout| layout.template()), Some(wide));
        let more = LayoutTemplate { stripe: 13, ..ROOT_LAYOUT };
        let unknown = LayoutTemplate { table: engine_types::ChainTableId::new(2), ..ROOT_LAYOUT };
        for layout in [more, unknown] {
            let layout = Some(layout);
            assert_eq!(root.errno(ask::SetLayout { ino: dir, layout }).await, Errno::EINVAL);
            let new = ask::Create { layout, ..create(dir, "g", 0o644) };
            assert_eq!(root.errno(new).await, Errno::EINVAL);
            let new = ask::Mkdir { layout, ..mkdir(dir, "h", 0o755) };
            assert_eq!(root.errno(new).await, Errno::EINVAL);
        }
        assert_eq!(ROOT_LAYOUT.table, TABLE);
        // A file's own layout: until it is written.
        let set = ask::SetLayout { ino: file.ino, layout: Some(ROOT_LAYOUT) };
        root.ask(set).await.unwrap();
        let write = OpenMode { write: true, ..OpenMode::default() };
        let open = ask::Create { exclusive: false, open: Some(write), ..create(inner, "f", 0o644) };
        root.ask(open).await.unwrap();
        assert_eq!(root.errno(set).await, Errno::EBUSY);
    });
}
