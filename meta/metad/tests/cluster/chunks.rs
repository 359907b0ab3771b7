//! Chunks on real storage nodes: asked for, cut, removed; and files whose chunks go.

use core::time::Duration;

use client_storage::At;
use engine_runtime::Env;
use engine_types::{ChainId, ChunkId, ChunkSize, InodeId, Instant};
use meta_metad::{Chunks, NodeChunks};
use meta_protocol::{Attr, AttrChange, Caller, OpenMode, op};
use meta_schema::INODE_ROOT;

use crate::ground::{CHUNK, Ground, Meta, User};
use crate::kills::create;

/// A chunk of a file that is made by hand.
fn at(chain: ChainId, inode: u64, index: u32, epoch: u32) -> At {
    let chunk = ChunkId { inode: InodeId::new(inode), index };
    At { chain, chunk, size: ChunkSize::new(CHUNK).unwrap(), epoch }
}

async fn bytes(user: &User, count: usize) -> Vec<engine_runtime::Bytes<Memory>> {
    vec![engine_net::pooled(&user.env, &vec![7; count]).await.unwrap()]
}

type Memory = <engine_runtime::sim::SimEnv as Env>::Memory;

#[test]
fn node_chunks_say_and_do_what_the_service_relies_on() {
    let ground = Ground::new(41);
    ground.act(0, async |user| {
        let session = user.session().await;
        let storage = user.storage(&session);
        let (follower, managers) = (user.follower.clone(), user.managers.clone());
        let chunks = NodeChunks::new(storage.clone(), follower, managers);
        assert_eq!(chunks.session(), session.id());
        let chain = *user.follower.routing().chains.keys().next().unwrap();
        let by = || user.env.now() + Duration::from_secs(30);
        let ino = InodeId::new(1 << 30);
        let hold = async |list| chunks.holding(chain, ino, 0..u32::MAX, list, by()).await.unwrap();
        assert_eq!(hold(true).await.last, None);
        for index in [0, 4, 8] {
            let data = bytes(&user, 1000 + index as usize).await;
            storage.write(at(chain, 1 << 30, index, 1), 0, data).await.unwrap();
        }
        let held = hold(true).await;
        assert_eq!((held.chunks, held.last), (3, Some((8, 1008))));
        assert_eq!(held.list.iter().map(|one| one.index).collect::<Vec<_>>(), [0, 4, 8]);
        assert!(hold(false).await.list.is_empty());
        // Of the epoch of the writer nothing is cut; of a newer one it is, and a late one is done.
        chunks.cut(at(chain, 1 << 30, 8, 2), 10, by()).await.unwrap();
        assert_eq!(hold(false).await.last, Some((8, 10)));
        chunks.cut(at(chain, 1 << 30, 8, 1), 5, by()).await.unwrap();
        assert_eq!(hold(false).await.last, Some((8, 10)), "M1: an older epoch changes nothing");
        // Removal: what is there goes, what is not there is as wanted.
        let all = [0, 4, 5, 8].map(|index| at(chain, 1 << 30, index, 3));
        chunks.remove(all.to_vec(), by()).await.unwrap();
        chunks.remove(all.to_vec(), by()).await.unwrap();
        assert_eq!(hold(false).await.chunks, 0);
        // A session is over when it has ended and all nodes have drained it.
        assert!(!chunks.is_over(session.id(), by()).await.unwrap());
        let other = user.session().await;
        other.close(by()).await.unwrap();
        let mut looks = 0;
        while !chunks.is_over(other.id(), by()).await.unwrap() {
            looks += 1;
            assert!(looks < 100, "L6: it comes to be over");
            user.pause(Duration::from_millis(500)).await;
        }
    });
}

/// Writes `count` chunks of a file, as a client does, and says so.
pub(crate) async fn fill(user: &User, meta: &Meta, storage: &Storage, attr: &Attr, count: u32) {
    let layout = attr.layout.unwrap();
    let table = user.follower.routing().tables[&layout.table].chains.clone();
    for index in 0..count {
        let place = layout.chain_index(index, u32::try_from(table.len()).unwrap());
        let chunk = ChunkId { inode: attr.ino, index };
        let (size, epoch) = (layout.chunk_size, attr.truncate_epoch.get());
        let chain = table[place as usize];
        let data = bytes(user, CHUNK as usize).await;
        storage.write(At { chain, chunk, size, epoch }, 0, data).await.unwrap();
    }
    let hint = op::Hint {
        truncate_epoch: attr.truncate_epoch,
        end: u64::from(count) * u64::from(CHUNK),
        modified: true,
        in_doubt: false,
    };
    let sync = op::Sync { ino: attr.ino, hint: Some(hint), atime: None };
    let told = meta.attr(&Caller::root(), sync).await.unwrap();
    assert_eq!(told.size, hint.end);
}

type Storage = client_storage::Storage<engine_runtime::sim::SimEnv>;

async fn until_chunks(user: &User, expected: u64, by: Instant) {
    while user.chunks().await != expected {
        assert!(user.env.now() < by, "{} chunks, expected {expected}", user.chunks().await);
        user.pause(Duration::from_millis(500)).await;
    }
}

#[test]
fn chunks_of_files_go_by_cuts_and_removals() {
    let ground = Ground::new(42);
    ground.act(0, async |user| {
        let session = user.session().await;
        let meta = user.meta(&session, Default::default());
        let storage = user.storage(&session);
        let root = Caller::root();
        let soon = || user.env.now() + Duration::from_secs(60);
        let (kept, _) = meta.opened(&root, create(INODE_ROOT, "kept")).await.unwrap();
        let (gone, _) = meta.opened(&root, create(INODE_ROOT, "gone")).await.unwrap();
        fill(&user, &meta, &storage, &kept, 8).await;
        fill(&user, &meta, &storage, &gone, 6).await;
        let replicas = 3;
        assert_eq!(user.chunks().await, 14 * replicas);
        // Cut: at once, before it is answered.
        let size = u64::from(CHUNK) * 2 + 100;
        let change = AttrChange { size: Some(size), by_open_handle: true, ..Default::default() };
        meta.attr(&root, op::SetAttr { ino: kept.ino, change }).await.unwrap();
        assert_eq!(user.chunks().await, (3 + 6) * replicas, "M2: an answered cut is done");
        // Unlinked and open: it stays until it is closed.
        let (parent, name) = (INODE_ROOT, b"gone".to_vec());
        meta.done(&root, op::Unlink { parent, name, hold: true }).await.unwrap();
        user.pause(Duration::from_secs(30)).await;
        assert_eq!(user.chunks().await, (3 + 6) * replicas, "C5: somebody has it open");
        let close = op::Close { ino: gone.ino, hint: None, atime: None };
        meta.attr(&root, close).await.unwrap();
        until_chunks(&user, 3 * replicas, soon()).await;
        // A reader keeps nothing; opening to truncate cuts all.
        let mode = OpenMode { read: true, write: true, truncate: true, append: false };
        meta.opened(&root, op::Open { ino: kept.ino, mode }).await.unwrap();
        assert_eq!(user.chunks().await, 0);
    });
}
