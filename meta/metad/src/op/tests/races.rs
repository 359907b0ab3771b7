//! Several at once: what conflicts, what does not, and that no race leaves a state which no order
//! of the operations explains.

use core::time::Duration;

use engine_runtime::{Env, all};

use super::*;
use crate::bed::Bed;

/// Creates of different names in one directory do not conflict (E424).
#[test]
fn sixty_four_tasks_create_in_one_hot_directory_without_a_conflict() {
    with_bed(1, |bed| async move {
        let root = bed.root();
        let dir = root.attr(mkdir(INODE_ROOT, "hot", 0o755)).await.ino;
        bed.source().take_log();
        let tasks = (0..64).map(|task| {
            let client = bed.root();
            async move {
                for number in 0..8 {
                    let name = format!("f{task}-{number}");
                    let made = match number % 3 {
                        0 => client.ask(create(dir, &name, 0o644)).await,
                        1 => client.ask(mkdir(dir, &name, 0o755)).await,
                        _ => client.ask(symlink(dir, &name, "x")).await,
                    };
                    made.unwrap();
                }
            }
        });
        all(tasks).await;
        let log = bed.source().take_log();
        assert_eq!((log.conflicts(), log.commits.len()), (0, 64 * 8), "E424");
        let attr = root.attr(stat(dir)).await;
        assert_eq!((attr.nlink, attr.change), (2 + 64 * 3, 1 + 64 * 8), "no event is lost");
        assert_eq!(listed(&root, dir).await.len(), 64 * 8);
    });
}

/// Of all who want one name one gets it, and others are told so.
#[test]
fn a_name_is_taken_once() {
    with_bed(2, |bed| async move {
        let tasks = (0..16).map(|_| {
            let client = bed.root();
            async move { errno(client.ask(create(INODE_ROOT, "one", 0o644)).await) }
        });
        let ends = all(tasks).await;
        assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1);
        assert!(ends.iter().all(|end| matches!(end, Ok(()) | Err(Errno::EEXIST))));
        assert_eq!(listed(&bed.root(), INODE_ROOT).await, ["one"]);
    });
}

/// E429: /a into /b/x and /b into /a/y, at the same time and in every relative timing.
#[test]
fn two_renames_do_not_make_a_loop() {
    for seed in 0..20 {
        with_bed(seed, move |bed| async move {
            let root = bed.root();
            let mut inos = Vec::new();
            for (name, inner) in [("a", "y"), ("b", "x")] {
                let dir = root.attr(mkdir(INODE_ROOT, name, 0o755)).await.ino;
                inos.push(root.attr(mkdir(dir, inner, 0o755)).await.ino);
            }
            let (y, x) = (inos[0], inos[1]);
            let renames = [rename(INODE_ROOT, "a", x, "a"), rename(INODE_ROOT, "b", y, "b")];
            let tasks = renames.into_iter().enumerate().map(|(number, ask)| {
                let client = bed.root();
                async move {
                    let late = Duration::from_micros(60 * seed * number as u64);
                    client.bed.wait(late).await;
                    errno(client.ask(ask).await)
                }
            });
            let ends = all(tasks).await;
            assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1, "seed {seed}: {ends:?}");
            assert!(ends.contains(&Err(Errno::EINVAL)), "seed {seed}: {ends:?}");
            reaches_everything(&bed).await;
        });
    }
}

/// A create in a directory that is being removed: it comes before, or is too late (M8).
#[test]
fn nothing_is_created_in_a_directory_that_is_removed() {
    for seed in 0..20 {
        with_bed(seed, move |bed| async move {
            let dir = bed.root().attr(mkdir(INODE_ROOT, "d", 0o755)).await.ino;
            let other = bed.root().attr(mkdir(INODE_ROOT, "o", 0o755)).await.ino;
            bed.root().attr(create(other, "f", 0o644)).await;
            let (one, two, three) = (bed.root(), bed.root(), bed.root());
            let late = Duration::from_micros(40 * seed);
            let removes = async {
                one.bed.wait(late).await;
                errno(one.ask(rmdir(INODE_ROOT, "d")).await)
            };
            let creates = async { errno(two.ask(create(dir, "f", 0o644)).await) };
            let moves = async { errno(three.ask(rename(other, "f", dir, "g")).await) };
            let reads = futures_lite::future::zip(creates, moves);
            let (removed, (created, moved)) = futures_lite::future::zip(removes, reads).await;
            match removed {
                Ok(()) => assert_eq!((created, moved), (Err(Errno::ESTALE), Err(Errno::ESTALE))),
                Err(errno) => {
                    assert_eq!(errno, Errno::ENOTEMPTY);
                    assert!(created.is_ok() || moved.is_ok(), "seed {seed}");
                }
            }
            reaches_everything(&bed).await;
        });
    }
}

/// Random operations of many at once leave a tree: every inode is reached by as many names as it
/// counts, every directory once, from its parent, and every directory counts its subdirectories.
#[test]
fn after_any_races_the_tree_is_one() {
    for seed in 0..6 {
        with_bed(seed, move |bed| async move {
            let root = bed.root();
            let mut dirs = vec![INODE_ROOT];
            for number in 0..4 {
                let parent = dirs[number / 2];
                dirs.push(root.attr(mkdir(parent, &format!("dir{number}"), 0o755)).await.ino);
            }
            let dirs = &dirs;
            let tasks = (0..12).map(|_| {
                let client = bed.root();
                async move {
                    for _ in 0..25 {
                        random(&client, dirs).await;
                    }
                }
            });
            all(tasks).await;
            reaches_everything(&bed).await;
        });
    }
}

async fn random(client: &Client, dirs: &[InodeId]) {
    let draw = |below: usize| {
        usize::try_from(client.bed.env.random() % u64::try_from(below).unwrap()).unwrap()
    };
    let dir = || dirs[draw(dirs.len())];
    let name = || ["dir0", "dir1", "dir2", "dir3", "p", "q", "r"][draw(7)];
    // Whether it is refused is not the question.
    drop(match draw(9) {
        0 | 1 => client.ask(create(dir(), name(), 0o644)).await,
        2 => client.ask(mkdir(dir(), name(), 0o755)).await,
        3 => client.ask(unlink(dir(), name())).await,
        4 => client.ask(rmdir(dir(), name())).await,
        5 => client.ask(exchange(dir(), name(), dir(), name())).await,
        6 => match client.ask(lookup(dir(), name())).await {
            Ok(Answer::Attr(found)) => client.ask(link(found.ino, dir(), name())).await,
            other => other,
        },
        _ => client.ask(rename(dir(), name(), dir(), name())).await,
    });
}

/// Walks the whole tree and compares it with what inodes say of themselves.
async fn reaches_everything(bed: &Bed) {
    use meta_schema::Key;
    use std::collections::BTreeMap;

    let root = bed.root();
    let mut names: BTreeMap<InodeId, u32> = BTreeMap::new();
    let mut left = vec![INODE_ROOT];
    while let Some(dir) = left.pop() {
        let Ok(Answer::Entries { entries, end: true }) = root.ask(readdir(dir, 0, 4096)).await
        else {
            panic!("{dir} cannot be listed")
        };
        let mut subdirectories = 0;
        for entry in entries {
            let times = names.entry(entry.ino).or_default();
            *times += 1;
            if entry.kind.is_directory() {
                assert_eq!(*times, 1, "{} has two names", entry.ino);
                subdirectories += 1;
                left.push(entry.ino);
                let up = ask::Walk { start: entry.ino, path: b"..".into(), follow: true };
                assert_eq!(root.attr(up).await.ino, dir, "the parent of {}", entry.ino);
            }
        }
        assert_eq!(root.attr(stat(dir)).await.nlink, 2 + subdirectories, "links of {dir}");
    }
    for (key, _) in bed.dump().await {
        if let Ok(Key::Inode(ino)) = Key::parse(&key) {
            let attr: Attr = root.attr(stat(ino)).await;
            if attr.kind.is_directory() {
                assert!(ino == INODE_ROOT || names.contains_key(&ino), "{ino} is not reached");
            } else {
                assert_eq!(attr.nlink, names.remove(&ino).unwrap_or(0), "links of {ino}");
            }
        }
    }
}
