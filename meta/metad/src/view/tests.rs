//! Slots that are taken, and what cannot be.

use meta_kv::{Kv, TransactionOptions};
use meta_protocol::op as ask;

use super::*;
use crate::bed::{Bed, with_bed};

/// Puts an entry into a slot, whatever its name hashes to.
async fn plant(bed: &Bed, slot: Slot, name: &[u8], ino: InodeId) {
    let transaction = bed.kv.begin(TransactionOptions::default());
    let entry = Dirent { ino, kind: FileType::Directory, name: name.to_vec() };
    transaction.set(&key::dirent(INODE_ROOT, slot), &entry.encode()).unwrap();
    transaction.commit().await.unwrap();
}

fn lookup(name: &[u8]) -> ask::Lookup {
    ask::Lookup { parent: INODE_ROOT, name: name.to_vec() }
}

fn mkdir(name: &[u8]) -> ask::Mkdir {
    let (mode, umask) = Default::default();
    ask::Mkdir { parent: INODE_ROOT, name: name.to_vec(), mode, umask, layout: None }
}

/// E422: names of one hash stand side by side; the ninth is refused and says why.
#[test]
fn names_of_one_hash_take_eight_slots() {
    with_bed(1, |bed| async move {
        let root = bed.root();
        let first = Slot::first_of(bed.store.superblock().hash_key, b"wanted");
        for probe in 0..7 {
            plant(&bed, first.probe(probe), format!("other-{probe}").as_bytes(), INODE_ROOT).await;
        }
        let made = root.attr(mkdir(b"wanted")).await;
        assert_eq!(root.attr(lookup(b"wanted")).await, made);
        assert_eq!(root.errno(mkdir(b"wanted")).await, Errno::EEXIST);
        let unlinked = ask::Rmdir { parent: INODE_ROOT, name: b"wanted".into() };
        root.ask(unlinked).await.unwrap();
        plant(&bed, first.probe(7), b"other-7", INODE_ROOT).await;
        let refusal = root.ask(mkdir(b"wanted")).await.unwrap_err();
        assert_eq!(refusal.errno, Errno::ENOSPC);
        assert!(refusal.text.contains("take another name"), "{}", refusal.text);
        assert_eq!(root.errno(lookup(b"wanted")).await, Errno::ENOENT);
        assert_eq!(
            root.errno(lookup(b"other-7")).await,
            Errno::ENOENT,
            "at a slot of another hash"
        );
    });
}

/// E423: what cannot be is EIO, and no panic.
#[test]
fn damage_is_told() {
    with_bed(2, |bed| async move {
        let root = bed.root();
        let first = Slot::first_of(bed.store.superblock().hash_key, b"hangs");
        plant(&bed, first, b"hangs", bed.fresh()).await;
        assert_eq!(root.errno(lookup(b"hangs")).await, Errno::EIO);
        let made = root.attr(mkdir(b"d")).await.ino;
        for (key, value) in [
            (key::inode(made).to_vec(), b"no inode".to_vec()),
            (key::side_counts(made).to_vec(), b"short".to_vec()),
            (key::dirent(INODE_ROOT, first).to_vec(), b"no entry".to_vec()),
        ] {
            let transaction = bed.kv.begin(TransactionOptions::default());
            transaction.set(&key, &value).unwrap();
            transaction.commit().await.unwrap();
        }
        assert_eq!(root.errno(ask::Stat { ino: made }).await, Errno::EIO);
        assert_eq!(root.errno(lookup(b"hangs")).await, Errno::EIO);
    });
}

#[test]
#[should_panic(expected = "E420")]
fn a_read_behind_a_write_is_a_mistake() {
    with_bed(3, |bed| async move {
        let transaction = bed.kv.begin(TransactionOptions::default());
        let view = View::new(&transaction, bed.store.superblock());
        view.clear(&Key::Parent(INODE_ROOT)).unwrap();
        drop(view.inode(INODE_ROOT, ReadMode::Snapshot).await);
    });
}
