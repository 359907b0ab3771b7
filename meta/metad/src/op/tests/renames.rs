//! Rename: what moves where, what it replaces, who may.

use super::*;

/// A tree to rename in: /a/f, /a/full/x, /b/g, /b/empty, /l -> f.
struct Tree {
    root: Client,
    a: InodeId,
    b: InodeId,
}

impl Tree {
    async fn new(root: Client) -> Self {
        let a = root.attr(mkdir(INODE_ROOT, "a", 0o777)).await.ino;
        let b = root.attr(mkdir(INODE_ROOT, "b", 0o777)).await.ino;
        root.attr(create(a, "f", 0o644)).await;
        let full = root.attr(mkdir(a, "full", 0o755)).await.ino;
        root.attr(create(full, "x", 0o644)).await;
        root.attr(create(b, "g", 0o644)).await;
        root.attr(mkdir(b, "empty", 0o755)).await;
        root.attr(symlink(b, "l", "g")).await;
        Self { root, a, b }
    }

    async fn nlinks(&self) -> (u32, u32) {
        (self.root.attr(stat(self.a)).await.nlink, self.root.attr(stat(self.b)).await.nlink)
    }
}

#[test]
fn a_name_moves_and_replaces_what_is_alike() {
    with_bed(1, |bed| async move {
        let tree = Tree::new(bed.root()).await;
        let (root, a, b) = (&tree.root, tree.a, tree.b);
        assert_eq!(tree.nlinks().await, (3, 3));
        let file = root.attr(lookup(a, "f")).await.ino;
        let replaced = root.attr(lookup(b, "g")).await.ino;
        root.ask(rename(a, "f", b, "g")).await.unwrap();
        assert_eq!(root.attr(lookup(b, "g")).await.ino, file);
        assert_eq!(root.attr(stat(replaced)).await.nlink, 0);
        assert_eq!(root.errno(lookup(a, "f")).await, Errno::ENOENT);
        // A directory over an empty one, into another directory.
        let full = root.attr(lookup(a, "full")).await.ino;
        root.ask(rename(a, "full", b, "empty")).await.unwrap();
        assert_eq!(root.attr(lookup(b, "empty")).await.ino, full);
        assert_eq!(tree.nlinks().await, (2, 3));
        let up = ask::Walk { start: full, path: b"..".into(), follow: true };
        assert_eq!(root.attr(up).await.ino, b, "its .. has changed");
        // And back, under a new name.
        root.ask(rename(b, "empty", a, "again")).await.unwrap();
        assert_eq!(tree.nlinks().await, (3, 2));
        assert_eq!(listed(root, full).await, ["x"]);
    });
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    with_bed(2, |bed| async move {
        let tree = Tree::new(bed.root()).await;
        let (root, a, b) = (&tree.root, tree.a, tree.b);
        let full = root.attr(lookup(a, "full")).await.ino;
        let no_replace = |ask: ask::Rename| ask::Rename { no_replace: true, ..ask };
        let rows = [
            (rename(a, "none", b, "g"), Errno::ENOENT),
            (rename(a, "f", b, "empty"), Errno::EISDIR),
            (rename(a, "full", b, "g"), Errno::ENOTDIR),
            (rename(b, "empty", a, "full"), Errno::ENOTEMPTY),
            (rename(INODE_ROOT, "a", full, "loop"), Errno::EINVAL),
            (rename(INODE_ROOT, "a", a, "loop"), Errno::EINVAL),
            (rename(a, "full", INODE_ROOT, "a"), Errno::ENOTEMPTY),
            (exchange(INODE_ROOT, "a", a, "full"), Errno::EINVAL),
            (exchange(a, "full", INODE_ROOT, "a"), Errno::EINVAL),
            (exchange(a, "f", b, "none"), Errno::ENOENT),
            (no_replace(rename(a, "f", b, "g")), Errno::EEXIST),
            (no_replace(rename(a, "f", a, "f")), Errno::EEXIST),
            (no_replace(exchange(a, "f", b, "g")), Errno::EINVAL),
            (rename(a, "f", bed.fresh(), "g"), Errno::ESTALE),
            (rename(a, ".", b, "g"), Errno::EINVAL),
        ];
        let before = bed.dump().await;
        for (ask, expected) in rows {
            assert_eq!(root.errno(ask.clone()).await, expected, "{ask:?}");
        }
        assert_eq!(bed.dump().await, before);
    });
}

#[test]
fn two_names_of_one_inode_are_left_as_they_are() {
    with_bed(3, |bed| async move {
        let tree = Tree::new(bed.root()).await;
        let (root, a, b) = (&tree.root, tree.a, tree.b);
        let file = root.attr(lookup(a, "f")).await.ino;
        let before = root.attr(link(file, b, "f2")).await;
        root.ask(rename(a, "f", b, "f2")).await.unwrap();
        root.ask(rename(a, "f", a, "f")).await.unwrap();
        assert_eq!(root.attr(lookup(a, "f")).await, before);
        assert_eq!(root.attr(lookup(b, "f2")).await, before);
    });
}

#[test]
fn an_exchange_swaps_anything() {
    with_bed(4, |bed| async move {
        let tree = Tree::new(bed.root()).await;
        let (root, a, b) = (&tree.root, tree.a, tree.b);
        let full = root.attr(lookup(a, "full")).await.ino;
        let file = root.attr(lookup(b, "g")).await.ino;
        root.ask(exchange(a, "full", b, "g")).await.unwrap();
        assert_eq!(root.attr(lookup(a, "full")).await.ino, file);
        assert_eq!(root.attr(lookup(b, "g")).await.ino, full);
        assert_eq!(tree.nlinks().await, (2, 4));
        let up = ask::Walk { start: full, path: b"..".into(), follow: true };
        assert_eq!(root.attr(up).await.ino, b);
        // Within one directory, of two directories: both stay, not empty as one is.
        root.ask(exchange(b, "g", b, "empty")).await.unwrap();
        assert_eq!(root.attr(lookup(b, "empty")).await.ino, full);
        assert_eq!(tree.nlinks().await, (2, 4));
    });
}

/// A directory that gets another parent has to be writable: its ".." changes.
#[test]
fn renaming_asks_for_both_directories_and_for_a_moved_one() {
    with_bed(5, |bed| async move {
        let (root, alice) = (bed.root(), bed.user(1000, &[]));
        #[rustfmt::skip]
        let rows = [
            // from,   to,      moved,   moved of, expected
            (0o777,    0o777,   0o755,   1000,     Ok(())),
            (0o777,    0o777,   0o755,   1001,     Err(Errno::EACCES)),
            (0o777,    0o777,   0o777,   1001,     Ok(())),
            (0o755,    0o777,   0o777,   1000,     Err(Errno::EACCES)),
            (0o777,    0o755,   0o777,   1000,     Err(Errno::EACCES)),
            (0o1777,   0o777,   0o777,   1001,     Err(Errno::EPERM)),
        ];
        for (number, (from_mode, to_mode, mode, of, expected)) in rows.into_iter().enumerate() {
            let from = root.attr(mkdir(INODE_ROOT, &format!("from{number}"), 0o755)).await.ino;
            let to = root.attr(mkdir(INODE_ROOT, &format!("to{number}"), 0o755)).await.ino;
            let moved = root.attr(mkdir(from, "moved", 0o755)).await.ino;
            root.attr(chown(moved, of, of)).await;
            for (ino, mode) in [(from, from_mode), (to, to_mode), (moved, mode)] {
                root.attr(chmod(ino, mode)).await;
            }
            let done = errno(alice.ask(rename(from, "moved", to, "moved")).await);
            assert_eq!(done, expected, "row {number}");
        }
        // Under another name in the same directory nothing of it changes.
        let dir = root.attr(mkdir(INODE_ROOT, "same", 0o777)).await.ino;
        root.attr(mkdir(dir, "moved", 0o755)).await;
        alice.ask(rename(dir, "moved", dir, "other")).await.unwrap();
        // A sticky directory keeps what is replaced, too.
        let sticky = root.attr(mkdir(INODE_ROOT, "sticky", 0o777)).await.ino;
        root.attr(chmod(sticky, 0o1777)).await;
        root.attr(create(sticky, "theirs", 0o666)).await;
        alice.attr(create(sticky, "mine", 0o666)).await;
        assert_eq!(alice.errno(rename(sticky, "mine", sticky, "theirs")).await, Errno::EPERM);
    });
}

#[test]
fn depth_is_no_obstacle_until_it_is() {
    with_bed(6, |bed| async move {
        let root = bed.root();
        let mut dir = INODE_ROOT;
        for _ in 0..100 {
            dir = root.attr(mkdir(dir, "d", 0o755)).await.ino;
        }
        root.attr(mkdir(INODE_ROOT, "moved", 0o755)).await;
        root.ask(rename(INODE_ROOT, "moved", dir, "moved")).await.unwrap();
        assert_eq!(root.errno(rename(INODE_ROOT, "d", dir, "loop")).await, Errno::EINVAL);
    });
}
