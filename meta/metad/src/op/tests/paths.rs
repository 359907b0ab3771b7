//! Paths, listings, and what an inode is.

use super::*;

fn walk(start: InodeId, path: &str) -> ask::Walk {
    ask::Walk { start, path: path.into(), follow: true }
}

/// /a/b/f, and links: /to_b -> a/b, /abs -> /a/b/f, /loop -> loop, /up -> a/../a, /hang -> none.
#[test]
fn paths_are_resolved_as_posix_says() {
    with_bed(1, |bed| async move {
        let root = bed.root();
        let a = root.attr(mkdir(INODE_ROOT, "a", 0o755)).await.ino;
        let b = root.attr(mkdir(a, "b", 0o755)).await.ino;
        let f = root.attr(create(b, "f", 0o644)).await.ino;
        let links = [
            ("to_b", "a/b"),
            ("abs", "/a/b/f"),
            ("loop", "loop"),
            ("up", "a/../a"),
            ("hang", "none"),
        ];
        for (name, target) in links {
            root.attr(symlink(INODE_ROOT, name, target)).await;
        }
        let inner = root.attr(symlink(b, "rel", "../b/f")).await.ino;
        #[rustfmt::skip]
        let rows = [
            ("/",               Ok((INODE_ROOT, INODE_ROOT))),
            ("a",               Ok((a, INODE_ROOT))),
            ("a/",              Ok((a, INODE_ROOT))),
            ("//a///b//f",      Ok((f, b))),
            ("a/./b/../b/f",    Ok((f, b))),
            ("a/b/.",           Ok((b, a))),
            ("a/b/..",          Ok((a, INODE_ROOT))),
            ("../../a",         Ok((a, INODE_ROOT))),
            ("to_b/f",          Ok((f, b))),
            ("to_b/",           Ok((b, a))),
            ("to_b/rel",        Ok((f, b))),
            ("abs",             Ok((f, b))),
            ("up/b/f",          Ok((f, b))),
            ("a/b/f/",          Err(Errno::ENOTDIR)),
            ("abs/",            Err(Errno::ENOTDIR)),
            ("a/b/f/x",         Err(Errno::ENOTDIR)),
            ("a/b/f/..",        Err(Errno::ENOTDIR)),
            ("a/none/x",        Err(Errno::ENOENT)),
            ("hang",            Err(Errno::ENOENT)),
            ("loop",            Err(Errno::ELOOP)),
            ("loop/x",          Err(Errno::ELOOP)),
            ("",                Err(Errno::ENOENT)),
        ];
        for (path, expected) in rows {
            let found = match root.ask(walk(INODE_ROOT, path)).await {
                Ok(Answer::Walked { attr, parent }) => Ok((attr.ino, parent)),
                Ok(other) => panic!("{path}: {other:?}"),
                Err(refusal) => Err(refusal.errno),
            };
            assert_eq!(found, expected, "{path:?}");
        }
        let last = ask::Walk { follow: false, ..walk(INODE_ROOT, "to_b/rel") };
        assert_eq!(root.attr(last).await.ino, inner, "a link at the end is not followed");
        let long = ["x"; 2049].join("/");
        assert_eq!(root.errno(walk(INODE_ROOT, &long)).await, Errno::ENAMETOOLONG);
        let name = "x".repeat(256);
        assert_eq!(root.errno(walk(INODE_ROOT, &name)).await, Errno::ENAMETOOLONG);
    });
}

#[test]
fn forty_links_are_followed_and_no_more() {
    with_bed(2, |bed| async move {
        let root = bed.root();
        root.attr(create(INODE_ROOT, "l0", 0o644)).await;
        for number in 1..=41 {
            root.attr(symlink(INODE_ROOT, &format!("l{number}"), &format!("l{}", number - 1)))
                .await;
        }
        root.attr(walk(INODE_ROOT, "l40")).await;
        assert_eq!(root.errno(walk(INODE_ROOT, "l41")).await, Errno::ELOOP);
    });
}

#[test]
fn every_directory_on_the_way_has_to_be_searched() {
    with_bed(3, |bed| async move {
        let (root, alice) = (bed.root(), bed.user(1000, &[]));
        let a = root.attr(mkdir(INODE_ROOT, "a", 0o711)).await.ino;
        let b = root.attr(mkdir(a, "b", 0o744)).await.ino;
        root.attr(create(b, "f", 0o644)).await;
        alice.attr(walk(INODE_ROOT, "a/b")).await;
        assert_eq!(alice.errno(walk(INODE_ROOT, "a/b/f")).await, Errno::EACCES);
        assert_eq!(alice.errno(walk(INODE_ROOT, "a/b/none")).await, Errno::EACCES);
        assert_eq!(alice.errno(walk(b, "..")).await, Errno::EACCES);
        assert_eq!(alice.errno(lookup(b, "none")).await, Errno::EACCES, "names are not told");
        // It may be listed, without attributes.
        let plus = ask::Readdir { plus: true, ..readdir(b, 0, 10) };
        match alice.ask(plus).await.unwrap() {
            Answer::Entries { entries, end: true } => assert_eq!(entries[0].attr, None),
            other => panic!("{other:?}"),
        }
        assert_eq!(alice.errno(readdir(a, 0, 10)).await, Errno::EACCES);
    });
}

#[test]
fn what_an_inode_is() {
    with_bed(4, |bed| async move {
        let (root, alice) = (bed.root(), bed.user(1000, &[7]));
        let file = root.attr(create(INODE_ROOT, "f", 0o640)).await;
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o755)).await;
        let link = root.attr(symlink(INODE_ROOT, "l", "to/where")).await;
        assert_eq!(
            root.ask(ask::Readlink { ino: link.ino }).await,
            Ok(Answer::Target(b"to/where".into()))
        );
        assert_eq!(root.errno(ask::Readlink { ino: file.ino }).await, Errno::EINVAL);
        let gone = bed.fresh();
        let batch = ask::StatBatch { inos: vec![file.ino, gone, dir.ino] };
        let all = Answer::Attrs(vec![Some(file), None, Some(dir)]);
        assert_eq!(root.ask(batch).await, Ok(all));
        #[rustfmt::skip]
        let rows = [
            (AccessMask::NONE,    Ok(()),             Ok(())),
            (AccessMask::READ,    Ok(()),             Ok(())),
            (AccessMask::WRITE,   Ok(()),             Err(Errno::EACCES)),
            (AccessMask::EXECUTE, Err(Errno::EACCES), Err(Errno::EACCES)),
        ];
        root.attr(chown(file.ino, 0, 7)).await;
        for (wanted, of_root, of_alice) in rows {
            let access = ask::Access { ino: file.ino, wanted };
            assert_eq!(errno(root.ask(access).await), of_root, "{wanted:?} of root");
            assert_eq!(errno(alice.ask(access).await), of_alice, "{wanted:?} by a group");
        }
    });
}

/// Pages of every size while others create and remove: what was there throughout comes once.
#[test]
fn a_listing_has_every_lasting_entry_once() {
    with_bed(5, |bed| async move {
        let root = bed.root();
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o755)).await.ino;
        let lasting: Vec<String> = (0..50).map(|number| format!("lasting-{number}")).collect();
        for name in &lasting {
            root.attr(create(dir, name, 0o644)).await;
        }
        for limit in [1, 2, 7, 49, 50, 51] {
            let (mut cookie, mut seen, mut page) = (0, Vec::new(), 0);
            loop {
                let Ok(Answer::Entries { entries, end }) =
                    root.ask(readdir(dir, cookie, limit)).await
                else {
                    panic!("no page")
                };
                assert!(entries.len() <= limit.try_into().unwrap());
                assert!(entries.is_sorted_by_key(|entry| entry.cookie));
                cookie = entries.last().map_or(cookie, |entry| entry.cookie);
                seen.extend(
                    entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()),
                );
                if end {
                    break;
                }
                root.attr(create(dir, &format!("new-{limit}-{page}"), 0o644)).await;
                if 0 < page {
                    root.ask(unlink(dir, &format!("new-{limit}-{}", page - 1))).await.unwrap();
                }
                page += 1;
            }
            seen.retain(|name| name.starts_with("lasting"));
            seen.sort();
            let mut expected = lasting.clone();
            expected.sort();
            assert_eq!(seen, expected, "pages of {limit}");
        }
        assert_eq!(root.errno(readdir(dir, 0, 0)).await, Errno::EINVAL);
        let last = i64::MAX.cast_unsigned();
        let none = Answer::Entries { entries: Vec::new(), end: true };
        assert_eq!(root.ask(readdir(dir, last, 9)).await, Ok(none.clone()));
        assert_eq!(root.ask(readdir(dir, u64::MAX, 9)).await, Ok(none));
    });
}

/// Cookies lead to the same place on another service, and attributes come with the names.
#[test]
fn a_listing_with_attributes_is_one_of_lookups() {
    with_bed(6, |bed| async move {
        let root = bed.root();
        let dir = root.attr(mkdir(INODE_ROOT, "d", 0o755)).await.ino;
        for number in 0..130 {
            root.attr(create(dir, &format!("f{number}"), 0o600 + number % 8)).await;
        }
        let plus = ask::Readdir { plus: true, ..readdir(dir, 0, 4096) };
        let (answer, log) = root.measured(plus).await;
        let Ok(Answer::Entries { entries, end: true }) = answer else { panic!("no page") };
        assert_eq!((entries.len(), log.rounds), (130, 4), "a page and three batches of 64");
        for entry in entries {
            let name = String::from_utf8(entry.name).unwrap();
            assert_eq!(entry.attr, Some(root.attr(lookup(dir, &name)).await));
        }
    });
}
