//! One kind of damage after the other.

use std::collections::BTreeSet;

use meta_schema::delete::deletion_shard;
use meta_schema::{AllocatedBytes, Deletion, DeletionClass, LockTable, SideCounts};

use super::*;

/// Plants something in a world, and says what is found.
macro_rules! rows {
    ($($name:ident, |$world:ident| $plant:expr, [$($kind:literal),*];)*) => { $(
        #[test]
        fn $name() {
            with_bed(1, async |bed| {
                let $world = World::new(&bed).await;
                assert_eq!(check(&$world.service).await.findings, [], "well before");
                $plant;
                let found = check(&$world.service).await;
                let mut expected = vec![$($kind),*];
                expected.sort_unstable();
                assert_eq!(kinds(&found), expected, "{:?}", found.findings);
                assert!(found.findings.iter().all(|found| found.repair == Repair::Reported));
                let again = kinds(&check(&$world.service).await);
                assert_eq!(again, expected, "a look changes nothing");
                let mended = mend(&$world.service).await;
                let seen: BTreeSet<_> = kinds(&mended).into_iter().collect();
                assert!(expected.iter().all(|kind| seen.contains(kind)), "{:?}", mended.findings);
                assert_eq!(mended.left(), 0, "{:?}", mended.findings);
                let again = check(&$world.service).await;
                assert_eq!(again.findings, [], "E492: after {:?}", mended.findings);
                assert!(again.is_whole());
            });
        }
    )* };
}

fn deletion(ino: InodeId, shard: u8, due_ms: u64) -> Key {
    Key::Deletion { class: DeletionClass::Small, shard, due_ms, ino }
}

const QUEUED: Deletion = Deletion { queued_at: Timestamp::EPOCH, attempts: 0, length: 0 };
const GONE: InodeId = InodeId::new(1 << 40);
const FILE: FileType = FileType::Regular;
const DIR: FileType = FileType::Directory;

rows! {
    an_unknown_key, |w| {
        w.plant(async |t| t.set(b"ZZZZ what is this", b"1").unwrap()).await;
    }, ["unknown-key"];
    a_key_of_bad_form, |w| {
        w.plant(async |t| t.set(b"PARE12", b"1").unwrap()).await;
    }, ["unknown-key"];
    // The link that it holds goes with what it names.
    an_inode_that_cannot_be_read, |w| w.set(&Key::Inode(w.x), b"junk").await, ["bad-value"];
    an_entry_that_cannot_be_read, |w| w.set(&w.entry(w.sub, "x"), b"junk").await,
        ["bad-value", "no-name"];
    a_session_that_cannot_be_read, |w| {
        let session = w.mount.session();
        w.set(&Key::WriteSession { ino: w.open.ino, session }, b"junk").await;
    }, ["bad-value"];
    a_mark_that_cannot_be_read, |w| w.set(&Key::LengthQuery(w.file.ino), b"junk").await,
        ["bad-value"];
    sums_that_cannot_be_read, |w| w.set(&Key::SideCounts(w.d), b"junk").await, ["bad-value"];
    a_directory_without_its_inode, |w| w.clear(&Key::Inode(w.d)).await, ["lost-directory"];
    no_root, |w| w.clear(&Key::Inode(INODE_ROOT)).await, ["lost-directory"];
    an_entry_of_nothing, |w| w.name(w.d, w.slot("n"), "n", GONE, FILE).await, ["dangling-entry"];
    an_entry_in_a_slot_that_is_not_its_own, |w| {
        let value = w.value(&w.entry(w.sub, "x")).await.unwrap();
        w.clear(&w.entry(w.sub, "x")).await;
        w.set(&w.entry(w.sub, "y"), &value).await;
    }, ["misplaced-entry"];
    a_name_that_cannot_be, |w| {
        w.change(w.x, |inode| inode.nlink = 2).await;
        w.name(w.d, w.slot("a/b"), "a/b", w.x, FileType::Symlink).await;
    }, ["misplaced-entry"];
    a_name_twice, |w| {
        w.change(w.x, |inode| inode.nlink = 2).await;
        w.name(w.sub, w.slot("x").probe(3), "x", w.x, FileType::Symlink).await;
    }, ["name-twice"];
    an_entry_of_another_type, |w| {
        w.name(w.sub, w.slot("x"), "x", w.x, FILE).await;
    }, ["wrong-type"];
    too_many_links, |w| w.change(w.file.ino, |inode| inode.nlink = 3).await, ["wrong-links"];
    too_few_links, |w| w.change(w.file.ino, |inode| inode.nlink = 1).await, ["wrong-links"];
    no_links_and_names, |w| w.change(w.file.ino, |inode| inode.nlink = 0).await, ["wrong-links"];
    a_directory_with_a_name_and_no_links, |w| w.change(w.d, |inode| inode.nlink = 0).await,
        ["wrong-links"];
    sums_that_are_wrong, |w| {
        let sums = SideCounts { change: 9, nlink: 5 };
        w.set(&Key::SideCounts(w.d), &sums.encode()).await;
    }, ["wrong-directory-links"];
    a_file_without_a_name, |w| {
        w.clear(&w.entry(w.d, "g")).await;
        w.clear(&w.entry(INODE_ROOT, "f")).await;
    }, ["no-name"];
    a_directory_without_a_name, |w| w.clear(&w.entry(w.d, "sub")).await,
        ["no-name", "wrong-directory-links"];
    no_links_and_not_queued, |w| {
        w.mount.unlink("open", true).await;
        let keys = w.bed.dump().await;
        let (key, _) = keys.iter().find(|(key, _)| key.starts_with(b"DELQ")).unwrap();
        w.clear(&Key::parse(key).unwrap()).await;
    }, ["not-queued"];
    links_and_queued, |w| {
        let key = deletion(w.file.ino, deletion_shard(w.file.ino), 5);
        w.set(&key, &QUEUED.encode()).await;
    }, ["queued-with-links"];
    queued_twice, |w| {
        w.mount.unlink("open", true).await;
        let key = deletion(w.open.ino, deletion_shard(w.open.ino), u64::MAX >> 8);
        w.set(&key, &QUEUED.encode()).await;
    }, ["queued-twice"];
    queued_where_nobody_looks, |w| {
        w.mount.unlink("open", true).await;
        let keys = w.bed.dump().await;
        let (key, value) = keys.iter().find(|(key, _)| key.starts_with(b"DELQ")).unwrap();
        w.clear(&Key::parse(key).unwrap()).await;
        w.set(&deletion(w.open.ino, deletion_shard(w.open.ino) ^ 1, 5), value).await;
    }, ["queued-in-wrong-shard"];
    a_directory_with_two_names, |w| {
        w.name(INODE_ROOT, w.slot("again"), "again", w.sub, DIR).await;
    }, ["directory-with-two-names", "wrong-directory-links"];
    the_root_with_a_name, |w| {
        w.name(w.d, w.slot("up"), "up", INODE_ROOT, DIR).await;
    }, ["directory-with-two-names", "wrong-directory-links"];
    another_parent, |w| w.set(&Key::Parent(w.sub), &key::encode_inode(INODE_ROOT)).await,
        ["wrong-parent"];
    no_parent, |w| w.clear(&Key::Parent(w.sub)).await, ["wrong-parent"];
    a_loop, |w| {
        // d is in sub, which is in d.
        let value = w.value(&w.entry(INODE_ROOT, "d")).await.unwrap();
        w.clear(&w.entry(INODE_ROOT, "d")).await;
        w.set(&w.entry(w.sub, "d"), &value).await;
        w.set(&Key::Parent(w.d), &key::encode_inode(w.sub)).await;
        for (dir, nlink) in [(INODE_ROOT, 0), (w.sub, 1)] {
            let sums = SideCounts { change: 9, nlink };
            w.set(&Key::SideCounts(dir), &sums.encode()).await;
        }
    }, ["directory-loop"];
    attributes_of_nothing, |w| {
        w.set(&Key::Xattr { ino: GONE, name: b"user.a".into() }, b"1").await;
    }, ["stray-key"];
    a_parent_of_a_file, |w| {
        w.set(&Key::Parent(w.file.ino), &key::encode_inode(INODE_ROOT)).await;
    }, ["stray-key"];
    sums_of_nothing, |w| w.set(&Key::SideCounts(GONE), &[0; 16]).await, ["stray-key"];
    a_mark_on_nothing, |w| w.set(&Key::LengthQuery(GONE), &[1; 8]).await, ["stray-key"];
    queued_and_gone, |w| {
        w.set(&deletion(GONE, deletion_shard(GONE), 5), &QUEUED.encode()).await;
    }, ["stray-key"];
    a_session_without_its_index, |w| {
        w.clear(&Key::SessionInode { session: w.mount.session(), ino: w.open.ino }).await;
    }, ["half-session"];
    an_index_without_its_session, |w| {
        w.clear(&Key::WriteSession { ino: w.open.ino, session: w.mount.session() }).await;
    }, ["half-session"];
    locks_without_their_index, |w| {
        w.clear(&Key::SessionLocks { session: w.mount.session(), ino: w.open.ino }).await;
    }, ["lock-index"];
    an_index_without_locks, |w| w.clear(&Key::Locks(w.open.ino)).await, ["lock-index"];
    locks_of_nothing, |w| w.set(&Key::Locks(GONE), &LockTable::new(1).encode()).await,
        ["stray-key"];
    a_wait_for_nothing, |w| {
        let key = Key::LockWait { session: w.mount.session(), owner: 3 };
        w.set(&key, &key::encode_inode(w.open.ino)).await;
    }, ["lock-index"];
    a_session_that_is_over, |w| w.chunks.fence(w.mount.session()), ["ended-session"];
    chunks_of_nothing, |w| write(&w, ChainId::new(3).unwrap(), GONE, 7), ["orphan-chunks"];
    chunks_of_a_directory, |w| write(&w, ChainId::new(3).unwrap(), w.d, 0), ["orphan-chunks"];
    chunks_on_another_chain, |w| {
        let chain = (1..=12).filter_map(ChainId::new);
        let mut other = chain.filter(|chain| !w.file.place.chains.contains(chain));
        write(&w, other.next().unwrap(), w.file.ino, 1);
    }, ["misplaced-chunks"];
    chunks_of_another_slot, |w| write(&w, w.file.place.chains[0], w.file.ino, 1),
        ["misplaced-chunks"];
    chunks_behind_the_end, |w| write(&w, w.file.place.chains[1], w.file.ino, 9),
        ["chunks-beyond-length"];
}

/// A chunk of 100 bytes.
fn write(world: &World, chain: ChainId, inode: InodeId, index: u32) {
    let chunk = ChunkId { inode, index };
    let size = world.file.place.size;
    assert!(world.chunks.write(At { chain, chunk, size, epoch: 0 }, 0, &[1; 100]));
}

/// What cannot be repaired stays, and is told of every time.
#[test]
fn lost_chunks_are_told_of_and_left() {
    with_bed(2, async |bed| {
        let w = World::new(&bed).await;
        let known = |inode: &mut Inode| {
            let at_change = inode.change;
            let file = inode.file_mut().unwrap();
            file.allocated = Some(AllocatedBytes { at_change, bytes: 5 * 4096 });
        };
        w.change(w.file.ino, known).await;
        assert_eq!(check(&w.service).await.findings, []);
        for index in 0..5 {
            let at = w.file.place.at(index, u32::MAX);
            w.chunks.remove(vec![at], bed.env.now() + Duration::from_secs(1)).await.unwrap();
        }
        assert_eq!(kinds(&check(&w.service).await), ["missing-chunks"]);
        let mended = mend(&w.service).await;
        assert_eq!((kinds(&mended), mended.left()), (vec!["missing-chunks"], 1));
        assert_eq!(kinds(&check(&w.service).await), ["missing-chunks"]);
    });
}

/// A counter of ids is not made anew: ids would be given twice.
#[test]
fn counters_are_left_as_they_are() {
    with_bed(3, async |bed| {
        let w = World::new(&bed).await;
        w.set(&Key::InodeIds(31), b"junk").await;
        let mended = mend(&w.service).await;
        assert_eq!((kinds(&mended), mended.left()), (vec!["bad-value"], 1));
        assert_eq!(w.value(&Key::InodeIds(31)).await.unwrap(), b"junk");
    });
}

/// What has lost its name is found below lost+found, with all that is below it.
#[test]
fn what_has_no_name_is_found_again() {
    with_bed(4, async |bed| {
        let w = World::new(&bed).await;
        w.clear(&w.entry(INODE_ROOT, "d")).await;
        let mended = mend(&w.service).await;
        assert_eq!(mended.left(), 0, "{:?}", mended.findings);
        let path = format!("/lost+found/#{}/sub/x", w.d.get());
        let walk = ask::Walk { start: INODE_ROOT, path: path.into(), follow: false };
        let meta_protocol::Answer::Walked { attr, .. } = w.mount.ask(walk).await.unwrap() else {
            panic!("not found")
        };
        assert_eq!(attr.ino, w.x);
    });
}

/// A chain that answers nothing makes a check that is not whole, and no finding.
#[test]
fn what_was_not_asked_is_said() {
    with_bed(5, async |bed| {
        let w = World::new(&bed).await;
        let chain = w.file.place.chains[0];
        w.chunks.set_dead(chain, true);
        let report = check(&w.service).await;
        assert_eq!(report.findings, []);
        assert!(!report.is_whole());
        assert_eq!(report.unasked.iter().map(|(chain, _)| *chain).collect::<Vec<_>>(), [chain]);
    });
}
