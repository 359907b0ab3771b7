//! Files with real chunks: deleting them gives the space of the storage nodes back.

use core::time::Duration;

use client_storage::At;
use engine_runtime::Env;
use engine_types::{ChunkId, InodeId};
use meta_protocol::{Attr, Caller, FsSpace, op};
use meta_schema::INODE_ROOT;
use serde_json::Value;
use tools_cluster::{Cluster, Name, Plan};

use crate::client::{CHUNK_BYTES, Member, Whereabouts, good, lent, told};
use crate::ground::{METAS, Meta, create, mkdir, names, plan, start, start_one, stop, with_mount};
use crate::support::{Folder, pause};

/// Chunks on all nodes together: three replicas of each.
pub(crate) fn chunks(cluster: &Cluster) -> u64 {
    let nodes = (1..=3).map(|number| cluster.address(Name::Storage(number)).unwrap().to_string());
    nodes
        .flat_map(|address| good(cluster, &["storage", "space", &address]))
        .map(|store| store["chunks"].as_u64().unwrap())
        .sum()
}

/// Looks until there are so many.
fn until_chunks(cluster: &Cluster, expected: u64) {
    let mut found = chunks(cluster);
    for _ in 0..200 {
        if found == expected {
            return;
        }
        pause(Duration::from_millis(250));
        found = chunks(cluster);
    }
    panic!("{found} chunks, expected {expected}");
}

/// A file of two chunks; closed if `closes` says so.
pub(crate) async fn file(
    member: &Member,
    meta: &Meta,
    parent: InodeId,
    name: &str,
    closes: bool,
) -> Attr {
    let root = Caller::root();
    let (attr, _) = meta.opened(&root, create(parent, name)).await.unwrap();
    let storage = member.storage();
    let layout = attr.layout.unwrap();
    let table = member.follower.routing().tables[&layout.table].chains.clone();
    for index in 0..2 {
        let place = layout.chain_index(index, u32::try_from(table.len()).unwrap());
        let chunk = ChunkId { inode: attr.ino, index };
        let (size, epoch) = (layout.chunk_size, attr.truncate_epoch.get());
        let at = At { chain: table[place as usize], chunk, size, epoch };
        let data = lent(&member.env, &vec![5; CHUNK_BYTES as usize]).await;
        storage.write(at, 0, data).await.unwrap();
    }
    let (truncate_epoch, end) = (attr.truncate_epoch, 2 * u64::from(CHUNK_BYTES));
    let hint = Some(op::Hint { truncate_epoch, end, modified: true, in_doubt: false });
    let (ino, atime) = (attr.ino, None);
    match closes {
        true => meta.attr(&root, op::Close { ino, hint, atime }).await.unwrap(),
        false => meta.attr(&root, op::Sync { ino, hint, atime }).await.unwrap(),
    }
}

#[test]
fn deleted_files_give_their_space_back_and_open_ones_keep_it() {
    let folder = Folder::new("meta-space");
    let mut cluster = start(plan(&folder));
    let at = Whereabouts::of(&cluster);
    with_mount(at.clone(), async move |member, meta| {
        let root = Caller::root();
        let empty = fresh(&member, &meta).await;
        // Three stores of 1 GiB, three replicas: what one of them has, less journal and reserve.
        assert!((1 << 29..1 << 30).contains(&empty.bytes_available), "{empty:?}");
        assert_eq!((empty.stores, empty.stores_silent, empty.bytes - empty.bytes_free), (3, 0, 0));
        for number in 0..10 {
            file(&member, &meta, INODE_ROOT, &format!("f{number}"), true).await;
        }
        let full = fresh(&member, &meta).await;
        assert_eq!(full.bytes - full.bytes_free, 20 * u64::from(CHUNK_BYTES), "{full:?}");
        assert_eq!(full.files - full.files_free, 11, "with the root: {full:?}");
        let open = file(&member, &meta, INODE_ROOT, "open", false).await;
        for number in 0..10 {
            let name = format!("f{number}").into_bytes();
            let ask = op::Unlink { parent: INODE_ROOT, name, hold: false };
            meta.done(&root, ask).await.unwrap();
        }
        let ask = op::Unlink { parent: INODE_ROOT, name: b"open".to_vec(), hold: true };
        meta.done(&root, ask).await.unwrap();
        // Still there for whoever has it open.
        let attr = meta.attr(&root, op::Stat { ino: open.ino }).await.unwrap();
        assert_eq!((attr.nlink, attr.size), (0, 2 * u64::from(CHUNK_BYTES)));
        member.env.sleep_until(member.env.now() + Duration::from_secs(5)).await;
        let attr = meta.attr(&root, op::Stat { ino: open.ino }).await.unwrap();
        assert_eq!(attr.nlink, 0);
        let close = op::Close { ino: open.ino, hint: None, atime: None };
        meta.attr(&root, close).await.unwrap();
    });
    until_chunks(&cluster, 0);
    // df is back as well, and a node that is away changes nothing but how old it is.
    let mut shown = df(&cluster, 0);
    for _ in 0..100 {
        if shown["used"] == 0 && shown["files_used"] == 1 {
            break;
        }
        pause(Duration::from_millis(500));
        shown = df(&cluster, 0);
    }
    assert_eq!((&shown["used"], &shown["files_used"]), (&0.into(), &1.into()), "{shown}");
    cluster.kill(Name::Storage(3)).unwrap();
    pause(Duration::from_secs(6));
    let away = df(&cluster, 1);
    assert_eq!((&away["size"], &away["stores"]), (&shown["size"], &3.into()), "{away}");
    assert_eq!(away["stores_silent"], 1, "{away}");
    start_one(&mut cluster, Name::Storage(3));
    stop(cluster);
}

/// What `emberfs meta df` says.
fn df(cluster: &Cluster, code: i32) -> Value {
    told(cluster, &["meta", "df"], code).remove(0)
}

/// Room, by figures that are asked for now.
async fn fresh(member: &Member, meta: &Meta) -> FsSpace {
    member.env.sleep_until(member.env.now() + Duration::from_secs(6)).await;
    meta.space(&Caller::root()).await.unwrap()
}

/// Files of the tree, and how many of its entries go in a second: the services die on the way.
const TREE_FILES: u32 = 60;
const TREE_RATE: u32 = 20;

#[test]
fn removal_of_a_tree_goes_on_after_kills() {
    let folder = Folder::new("meta-tree");
    let usual = plan(&folder);
    let meta_settings = format!(
        "{}remove_files = {TREE_RATE}\nremove_entries = {TREE_RATE}\n",
        usual.meta_settings
    );
    let mut cluster = start(Plan { meta_settings, ..usual });
    let at = Whereabouts::of(&cluster);
    with_mount(at.clone(), async move |member, meta| {
        let tree = mkdir(&meta, INODE_ROOT, "tree").await;
        for part in 0..4 {
            let dir = mkdir(&meta, tree, &format!("d{part}")).await;
            for number in 0..TREE_FILES / 4 {
                file(&member, &meta, dir, &format!("f{number}"), true).await;
            }
        }
        let ask = op::RemoveTree { parent: INODE_ROOT, name: b"tree".to_vec() };
        meta.done(&Caller::root(), ask).await.unwrap();
        assert!(names(&meta, INODE_ROOT).await.is_empty(), "at once");
    });
    let all = u64::from(TREE_FILES) * 2 * 3;
    for _ in 0..2 {
        cluster.kill_all(&METAS).unwrap();
        let left = chunks(&cluster);
        assert!(0 < left && left <= all, "{left} of {all}: too late to show anything");
        METAS.into_iter().for_each(|name| start_one(&mut cluster, name));
        pause(Duration::from_millis(500));
    }
    until_chunks(&cluster, 0);
    stop(cluster);
}
