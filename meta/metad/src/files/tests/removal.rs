//! Removal in the background.

use meta_kv::TransactionOptions;

use super::*;
use crate::chunks::fake::Called;
use crate::deletion::{Collector, DeletionSettings};

const CHUNK: u64 = 1 << 20;

/// Everything that is kept of inodes but the root's own keys, requests and claims.
async fn leftovers(bed: &Bed) -> Vec<String> {
    let all = bed.dump().await;
    let names = all.iter().map(|(key, _)| String::from_utf8_lossy(&key[..4]).into_owned());
    let kept = ["SUPR", "REQU", "DELC", "IDAL", "SESX"];
    let mut names: Vec<String> = names.filter(|name| !kept.contains(&name.as_str())).collect();
    let root = names.iter().position(|name| name == "INOD").unwrap();
    names.remove(root);
    names.retain(|name| name != "INOD" || names_of_root(&all) < 3);
    names
}

/// Keys of the root.
fn names_of_root(all: &[(Vec<u8>, Vec<u8>)]) -> usize {
    all.iter().filter(|(key, _)| key.starts_with(&key::inode(INODE_ROOT))).count()
}

/// Inodes but the root.
async fn inodes(bed: &Bed) -> usize {
    let root = key::inode(INODE_ROOT);
    let all = bed.dump().await;
    all.iter().filter(|(key, _)| key.starts_with(b"INOD") && !key.starts_with(&root)).count()
}

async fn pass(bed: &Bed, secs: u64) {
    bed.env.sleep_until(bed.env.now() + Duration::from_secs(secs)).await;
}

async fn file_of(mount: &Mount, name: &str, chunks: u64) -> Opened {
    let mut file = mount.create(name).await;
    for index in 0..chunks {
        mount.write(&mut file, index * CHUNK, &[7; 100]).await;
    }
    mount.close(&file).await;
    file
}

#[test]
fn what_has_no_name_is_removed_whole() {
    with_bed(1, async |bed| {
        let chunks = fake(&bed);
        let one = service(&bed, &chunks, 1001);
        let mount = Mount::new(&one, 5);
        let mut files = Vec::new();
        for (number, count) in [0, 1, 3, 20, 100].into_iter().enumerate() {
            files.push(file_of(&mount, &format!("f{number}"), count).await);
        }
        for number in 0..files.len() {
            mount.unlink(&format!("f{number}"), false).await;
        }
        assert_eq!(inodes(&bed).await, 5, "E450: the caller pays for one key");
        assert_eq!(keys(&bed, "DELQ").await, 5, "E450");
        let _collector = Collector::start(&one, DeletionSettings::default());
        pass(&bed, 60).await;
        assert_eq!((inodes(&bed).await, keys(&bed, "DELQ").await), (0, 0), "E451");
        for file in &files {
            assert_eq!(chunks.count(file.ino), 0, "E451: chunks of {}", file.ino);
        }
        assert!(leftovers(&bed).await.is_empty());
    });
}

/// E447, C5: a session keeps a file without a name, for reading and writing.
#[test]
fn sessions_keep_what_has_no_name() {
    with_bed(2, async |bed| {
        let chunks = fake(&bed);
        let one = service(&bed, &chunks, 1001);
        let (a, b) = (Mount::new(&one, 5), Mount::new(&one, 6));
        let _collector = Collector::start(&one, DeletionSettings::default());
        let read_only = file_of(&a, "r", 2).await;
        a.unlink("r", true).await;
        let mut written = b.create("w").await;
        b.write(&mut written, 0, b"abc").await;
        a.unlink("w", false).await;
        pass(&bed, 120).await;
        assert_eq!((chunks.count(read_only.ino), chunks.count(written.ino)), (2, 1), "E447");
        assert_eq!(b.errno(ask::Open { ino: read_only.ino, mode: WRITE }).await, Errno::ESTALE);
        b.write(&mut written, 3, b"def").await;
        assert_eq!(b.sync(&written).await.unwrap().size, 6);
        a.ask(ask::Close { ino: read_only.ino, hint: None, atime: None }).await.unwrap();
        b.close(&written).await;
        pass(&bed, 1500).await;
        assert_eq!((inodes(&bed).await, chunks.count(written.ino)), (0, 0), "E451");
    });
}

/// A dead chain holds up large files, and small ones of other chains go on.
#[test]
fn small_files_do_not_wait_behind_large_ones() {
    with_bed(3, async |bed| {
        let chunks = fake(&bed);
        let one = service(&bed, &chunks, 1001);
        let mount = Mount::new(&one, 5);
        let large = file_of(&mount, "large", 80).await;
        mount.unlink("large", false).await;
        chunks.set_dead(large.place.chains[0], true);
        let mut small = Vec::new();
        for number in 0..40 {
            let file = file_of(&mount, &format!("s{number}"), 1).await;
            mount.unlink(&format!("s{number}"), false).await;
            small.push(file);
        }
        let collector = Collector::start(&one, DeletionSettings::default());
        pass(&bed, 60).await;
        for file in &small {
            let is_dead = file.place.chains[0] == large.place.chains[0];
            assert_eq!(chunks.count(file.ino) == 0, !is_dead, "{}", file.ino);
        }
        assert_ne!(chunks.count(large.ino), 0);
        chunks.set_dead(large.place.chains[0], false);
        pass(&bed, 300).await;
        assert_eq!((inodes(&bed).await, chunks.count(large.ino)), (0, 0));
        drop(collector);
    });
}

fn name(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

async fn mkdir(mount: &Mount, parent: InodeId, text: &str) -> InodeId {
    let (mode, umask) = (Mode::new(0o755), Mode::default());
    let made = ask::Mkdir { parent, name: name(text), mode, umask, layout: None };
    attr(mount.ask(made).await.unwrap()).ino
}

async fn create_in(mount: &Mount, parent: InodeId, text: &str) -> Result<Answer, CallError> {
    let made = ask::Create {
        parent,
        name: name(text),
        mode: Mode::new(0o644),
        umask: Mode::default(),
        exclusive: true,
        open: None,
        layout: None,
    };
    mount.ask(made).await
}

/// M8, E453: a tree goes at once, and whoever creates in it meanwhile leaves nothing behind. Two
/// collectors work on it, and one of them stops in between.
#[test]
fn a_tree_is_removed_whole_while_others_create_in_it() {
    for seed in 0..4 {
        with_bed(seed, async move |bed| {
            let chunks = fake(&bed);
            let services = [1001, 1002].map(|session| service(&bed, &chunks, session));
            let (a, b) = (Mount::new(&services[0], 5), Mount::new(&services[1], 6));
            let top = mkdir(&a, INODE_ROOT, "top").await;
            let mut inner = Vec::new();
            for number in 0..4 {
                let dir = mkdir(&a, top, &format!("d{number}")).await;
                inner.push(mkdir(&a, dir, "deep").await);
                for file in 0..90 {
                    create_in(&a, dir, &format!("f{file}")).await.unwrap();
                }
            }
            let linked = file_of(&a, "kept", 1).await;
            let link = ask::Link { ino: linked.ino, parent: inner[0], name: name("also") };
            a.ask(link).await.unwrap();
            let first = Collector::start(&services[0], DeletionSettings::default());
            let late = b.clone();
            let creator = bed.env.spawn(async move {
                let mut made = 0;
                for turn in 0..200 {
                    let dir = inner[turn % 4];
                    if create_in(&late, dir, &format!("late{turn}")).await.is_ok() {
                        made += 1;
                    }
                }
                made
            });
            pass(&bed, seed % 2).await;
            let began = bed.env.now();
            let tree = ask::RemoveTree { parent: INODE_ROOT, name: name("top") };
            a.ask(tree).await.unwrap();
            assert!(bed.env.now() <= began + Duration::from_secs(1), "E450");
            assert!(create_in(&a, top, "x").await.is_err(), "E453");
            let second = Collector::start(&services[1], DeletionSettings::default());
            bed.env.sleep_until(bed.env.now() + Duration::from_millis(30 * seed)).await;
            drop(first);
            creator.await;
            pass(&bed, 400).await;
            assert_eq!(inodes(&bed).await, 1, "M8: seed {seed}");
            assert_eq!(keys(&bed, "DELQ").await + keys(&bed, "PARE").await, 0, "seed {seed}");
            assert_eq!(a.stat(linked.ino).await.nlink, 1, "a link from outside stays");
            assert_eq!(chunks.count(linked.ino), 1);
            drop(second);
        });
    }
}

#[test]
fn a_tree_of_others_is_not_removed() {
    with_bed(5, async |bed| {
        let chunks = fake(&bed);
        let one = service(&bed, &chunks, 1001);
        let root = Mount::new(&one, 5);
        let user = Mount { caller: Caller::user(7, 7), ..Mount::new(&one, 6) };
        let home = mkdir(&root, INODE_ROOT, "home").await;
        let open = AttrChange { mode: Some(Mode::new(0o777)), ..Default::default() };
        root.ask(ask::SetAttr { ino: home, change: open }).await.unwrap();
        let mine = mkdir(&user, home, "mine").await;
        let foreign = mkdir(&root, mine, "sub").await;
        let remove = ask::RemoveTree { parent: home, name: name("mine") };
        let empty = create_in(&root, foreign, "f").await.unwrap();
        assert!(matches!(empty, Answer::Opened { .. }));
        assert_eq!(user.errno(remove.clone()).await, Errno::EACCES);
        root.ask(ask::RemoveTree { parent: home, name: name("mine") }).await.unwrap();
        assert_eq!(user.errno(remove).await, Errno::ENOENT);
    });
}

/// E456: chunks that a session told nobody of go with the file, though its name went before.
#[test]
fn chunks_that_nobody_told_of_go_with_the_file() {
    with_bed(9, async |bed| {
        let chunks = fake(&bed);
        let one = service(&bed, &chunks, 1001);
        for (name, in_doubt) in [("a", false), ("b", true)] {
            let mount = Mount::new(&one, if in_doubt { 6 } else { 5 });
            let mut file = mount.create(name).await;
            for index in 0..3 {
                mount.write(&mut file, index << 20, &[9; 100]).await;
            }
            mount.unlink(name, in_doubt).await;
            if in_doubt {
                let (truncate_epoch, end) = (file.epoch, 10);
                let hint = ask::Hint { truncate_epoch, end, modified: true, in_doubt };
                let close = ask::Close { ino: file.ino, hint: Some(hint), atime: None };
                mount.ask(close).await.unwrap();
            } else {
                chunks.fence(mount.session());
                one.prune(mount.session(), bed.env.now() + TIME).await.unwrap();
            }
            let collector = Collector::start(&one, DeletionSettings::default().unlimited());
            bed.wait(Duration::from_secs(60)).await;
            assert_eq!(chunks.count(file.ino), 0, "E451: in doubt {in_doubt}");
            assert_eq!(keys(&bed, "LENQ").await, 0);
            drop(collector);
        }
    });
}

/// What others have left is seen to by one service, and by the next when that one does not.
#[test]
fn services_share_what_others_have_left() {
    with_bed(6, async |bed| {
        let chunks = fake(&bed);
        let services = [1001, 1002].map(|session| service(&bed, &chunks, session));
        let mount = Mount::new(&services[0], 5);
        let mut files = Vec::new();
        for number in 0..2 {
            files.push(file_of(&mount, &format!("f{number}"), 4).await);
        }
        let mark = async |file: &Opened| {
            let transaction = bed.kv.begin(TransactionOptions::default());
            transaction.set(&key::length_query(file.ino), &[1, 0, 0, 0, 0, 0, 0, 0]).unwrap();
            transaction.commit().await.unwrap();
        };
        let asked = |file: &Opened| {
            let calls = chunks.calls();
            let mut of = calls.iter().filter_map(|call| match call {
                Called::Holding { inode, .. } => Some(*inode),
                _ => None,
            });
            of.by_ref().filter(|inode| *inode == file.ino).count()
        };
        let settings = DeletionSettings::default;
        let second = Collector::ranked(&services[1], settings(), |_| 1);
        mark(&files[0]).await;
        pass(&bed, 12).await;
        assert_eq!((asked(&files[0]), keys(&bed, "LENQ").await), (0, 1), "it waits for its turn");
        pass(&bed, 15).await;
        assert_eq!((asked(&files[0]), keys(&bed, "LENQ").await), (4, 0), "one question per chain");
        let first = Collector::ranked(&services[0], settings(), |_| 0);
        mark(&files[1]).await;
        pass(&bed, 40).await;
        assert_eq!((asked(&files[1]), keys(&bed, "LENQ").await), (4, 0), "one of both asked");
        drop((first, second));
    });
}
