//! `emberfs fsck` against damage that is planted in a cluster of processes: it is found, repaired,
//! and gone.

use core::time::Duration;

use client_storage::At;
use engine_runtime::Env as _;
use engine_runtime::monoio::MonoioEnv;
use engine_types::{ChunkId, InodeId};
use meta_kv::{
    KeyRange, Kv as _, OwnKv, RangeRead, ReadMode, Transaction as _, TransactionOptions,
};
use meta_kvd::Remote;
use meta_protocol::{Caller, op};
use meta_schema::codec::Record as _;
use meta_schema::{Dirent, INODE_ROOT, Inode, key};
use serde_json::Value;
use tools_cluster::{Cluster, Name};

use crate::client::{CHUNK_BYTES, Member, Whereabouts, lent};
use crate::ground::{mkdir, names, plan, start, stop, with_mount};
use crate::space::{chunks, file};
use crate::support::Folder;

/// An inode that no service gave out: ids begin at 1,024, and each start takes a few thousand.
const NOBODYS: u64 = 77 << 40;

/// Runs it; what is said of each thing that was found, and the summary.
fn fsck(cluster: &Cluster, flags: &[&str], code: i32) -> (Vec<(String, String)>, Value) {
    let kv = cluster.address(Name::Kv).unwrap().to_string();
    let line = [&["fsck", "--json", "--kv", &kv], flags].concat();
    let said = cluster.emberfs(&line).unwrap();
    assert_eq!(said.status.code(), Some(code), "{line:?}: {} {}", said.out, said.err);
    let mut documents = said.documents();
    let summary = documents.pop().unwrap();
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    let found = documents.iter().map(|row| (text(row, "kind"), text(row, "state")));
    let mut found: Vec<_> = found.collect();
    found.sort();
    (found, summary)
}

/// What stands under keys of the namespace, changed behind the services' backs.
struct Backdoor(OwnKv<MonoioEnv, Remote<MonoioEnv>>);

impl Backdoor {
    fn new(member: &Member, at: core::net::SocketAddr) -> Self {
        let remote = Remote::new(&member.env, member.net.clone(), at);
        Self(OwnKv::new(member.env.clone(), remote))
    }

    /// Takes the entry `name` out of `dir`, and nothing else.
    async fn drop_entry(&self, dir: InodeId, name: &[u8]) {
        let transaction = self.0.begin(TransactionOptions::default());
        let entries = RangeRead::new(KeyRange::prefix(&key::dirents(dir)).unwrap());
        let page = transaction.range(entries, ReadMode::Conflict).await.unwrap();
        let is_it = |value: &[u8]| Dirent::decode(value).unwrap().name == name;
        let (key, _) = page.entries.iter().find(|(_, value)| is_it(value)).unwrap();
        transaction.clear(key).unwrap();
        transaction.commit().await.unwrap();
    }

    async fn set_links(&self, ino: InodeId, nlink: u32) {
        let transaction = self.0.begin(TransactionOptions::default());
        let key = key::inode(ino);
        let value = transaction.get(&key, ReadMode::Conflict).await.unwrap().unwrap();
        let inode = Inode { nlink, ..Inode::decode(&value).unwrap() };
        transaction.set(&key, &inode.encode()).unwrap();
        transaction.commit().await.unwrap();
    }
}

/// Chunks of a file that never was, two on each chain.
async fn orphans(member: &Member) -> u64 {
    let storage = member.storage();
    let chains = member.chains();
    for &chain in &chains {
        for index in 0..2 {
            let chunk = ChunkId { inode: InodeId::new(NOBODYS), index };
            let size = engine_types::ChunkSize::new(CHUNK_BYTES).unwrap();
            let data = lent(&member.env, &[9; 1000]).await;
            storage.write(At { chain, chunk, size, epoch: 0 }, 0, data).await.unwrap();
        }
    }
    storage.close(member.env.now() + Duration::from_secs(1)).await;
    2 * chains.len() as u64
}

/// Replicas of each chunk.
const REPLICAS: u64 = 3;

#[test]
fn planted_damage_is_found_repaired_and_gone() {
    let folder = Folder::new("meta-fsck");
    let cluster = start(plan(&folder));
    let (at, kv) = (Whereabouts::of(&cluster), cluster.address(Name::Kv).unwrap());
    let lost = with_mount(at.clone(), async move |member, meta| {
        for name in ["kept", "linked", "lost"] {
            file(&member, &meta, INODE_ROOT, name, true).await;
        }
        let of = |name: &str| op::Lookup { parent: INODE_ROOT, name: name.into() };
        let lost = meta.attr(&Caller::root(), of("lost")).await.unwrap().ino;
        mkdir(&meta, INODE_ROOT, "empty").await;
        lost
    });
    let (found, summary) = fsck(&cluster, &[], 0);
    assert!(found.is_empty(), "{found:?}");
    assert_eq!((&summary["chunks"], &summary["inodes"]), (&6.into(), &5.into()), "{summary}");
    assert_eq!(chunks(&cluster), 6 * REPLICAS);

    let planted = with_mount(at.clone(), async move |member, meta| {
        let of = op::Lookup { parent: INODE_ROOT, name: b"linked".to_vec() };
        let linked = meta.attr(&Caller::root(), of).await.unwrap().ino;
        let door = Backdoor::new(&member, kv);
        door.drop_entry(INODE_ROOT, b"lost").await;
        door.set_links(linked, 7).await;
        orphans(&member).await
    });
    assert_eq!(chunks(&cluster), (6 + planted) * REPLICAS);
    let all = |state: &str| {
        let kinds = ["no-name", "orphan-chunks", "wrong-links"];
        let mut all: Vec<_> = kinds.map(|kind| (kind.to_owned(), state.to_owned())).into();
        // Chunks are told of by chain.
        let chains = usize::try_from(planted / 2).unwrap();
        all.extend(vec![all[1].clone(); chains - 1]);
        all.sort();
        all
    };
    // Reported, and left: nothing is repaired that nobody wants repaired.
    for _ in 0..2 {
        let (found, summary) = fsck(&cluster, &[], 4);
        assert_eq!(found, all("found"), "{summary}");
        assert_eq!(summary["unasked_chains"], Value::Array(Vec::new()));
    }
    assert_eq!(chunks(&cluster), (6 + planted) * REPLICAS);
    let (found, summary) = fsck(&cluster, &["--repair", "--yes"], 1);
    assert_eq!((found, &summary["left"]), (all("repaired"), &0.into()), "{summary}");
    let (found, summary) = fsck(&cluster, &[], 0);
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(summary["chunks"], 6, "{summary}");
    assert_eq!(chunks(&cluster), 6 * REPLICAS, "gone from all replicas");
    // What had lost its name has one, and its contents.
    with_mount(at, async move |member, meta| {
        let root = Caller::root();
        let stat = async |name: &str| {
            let of = op::Walk { start: INODE_ROOT, path: name.into(), follow: false };
            meta.attr(&root, of).await.unwrap()
        };
        let found = stat(&format!("lost+found/#{}", lost.get())).await;
        assert_eq!((found.ino, found.size), (lost, 2 * u64::from(CHUNK_BYTES)));
        assert_eq!(stat("linked").await.nlink, 1);
        let mut there = names(&meta, INODE_ROOT).await;
        there.sort();
        assert_eq!(there, ["empty", "kept", "linked", "lost+found"]);
        drop(member);
    });
    stop(cluster);
}
