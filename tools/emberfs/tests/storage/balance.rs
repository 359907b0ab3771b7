//! Reads are spread evenly over the replicas, by what the nodes themselves have counted.

use std::cell::Cell;
use std::rc::Rc;

use client_storage::{At, Storage};
use engine_runtime::Env;
use engine_runtime::monoio::MonoioEnv;
use serde_json::json;
use tools_cluster::{Cluster, Name};

use crate::client::{Member, chunk, lent, sum, targets, with_client};
use crate::figures::{figure, is_campaign};
use crate::ground::{plan, start};
use crate::support::Folder;

const NODES: [Name; 3] = [Name::Storage(1), Name::Storage(2), Name::Storage(3)];
const READS: u64 = 6_000;
/// With so few no replica is ever passed over because it has more to do than the next in turn, so
/// shares do not depend on how the machine treats the processes.
const READERS: u64 = 3;
/// What the campaign looks at as well: here a replica that answers late gets less.
const MANY_READERS: u64 = 32;
const READ_BYTES: u32 = 4096;
const FILE: u64 = 77;
const CHUNKS_PER_CHAIN: u32 = 4;

fn chunks(member: &Member) -> Vec<At> {
    let each = |chain| (0..CHUNKS_PER_CHAIN).map(move |index| chunk(FILE, chain, index));
    member.chains().into_iter().flat_map(each).collect()
}

async fn fill(member: &Member, storage: &Storage<MonoioEnv>) {
    for at in chunks(member) {
        let data = lent(&member.env, &[7; READ_BYTES as usize]).await;
        storage.write(at, 0, data).await.unwrap();
    }
}

/// Reads all chunks in turn; `written`: while each of them is written again and again, through a
/// client of its own, which the choice of replicas does not see.
async fn read(member: &Member, storage: &Storage<MonoioEnv>, readers: u64, written: bool) {
    let reads = member.storage();
    let chunks = Rc::new(chunks(member));
    let (left, done) = (Rc::new(Cell::new(READS)), Rc::new(Cell::new(false)));
    let env = &member.env;
    let mut writers = Vec::new();
    for at in chunks.iter().copied().filter(|_| written) {
        let (env, storage, done) = (env.clone(), storage.clone(), done.clone());
        writers.push(member.env.spawn(async move {
            let mut writes = 0_u64;
            while !done.get() {
                let data = lent(&env, &writes.to_le_bytes()).await;
                storage.write(at, 0, data).await.unwrap();
                writes += 1;
            }
            writes
        }));
    }
    let reader = |number: u64| {
        let (chunks, left, storage) = (chunks.clone(), left.clone(), reads.clone());
        env.spawn(async move {
            let mut turn = usize::try_from(number).unwrap();
            while let Some(rest) = left.get().checked_sub(1) {
                left.set(rest);
                let At { chain, chunk, .. } = chunks[turn % chunks.len()];
                let found = storage.read(chain, chunk, 0, READ_BYTES).await.unwrap();
                assert_eq!(found.bytes().len(), READ_BYTES as usize);
                turn += 1;
            }
        })
    };
    let readers: Vec<_> = (0..readers).map(reader).collect();
    for reader in readers {
        reader.await;
    }
    done.set(true);
    for writer in writers {
        assert!(0 < writer.await, "the chunks were written meanwhile");
    }
}

fn counts(cluster: &Cluster) -> Vec<u64> {
    NODES.iter().map(|name| sum(&targets(cluster, *name), "reads")).collect()
}

/// Reads of each node.
fn measure(cluster: &Cluster, readers: u64, written: bool) -> Vec<u64> {
    let before = counts(cluster);
    with_client(cluster, async move |member, storage| {
        read(&member, &storage, readers, written).await;
    });
    let both = counts(cluster).into_iter().zip(before);
    let shares: Vec<u64> = both.map(|(after, before)| after - before).collect();
    figure(&json!({ "balance": { "readers": readers, "written": written, "reads": shares } }));
    assert!(READS <= shares.iter().sum(), "{shares:?}");
    shares
}

#[test]
fn each_of_three_replicas_serves_a_third_of_the_reads() {
    let folder = Folder::new("storage-balance");
    let cluster = start(plan(&folder));
    with_client(&cluster, async |member, storage| fill(&member, &storage).await);
    for written in [false, true] {
        let shares = measure(&cluster, READERS, written);
        let third = shares.iter().sum::<u64>() / 3;
        let even = |share: &u64| share.abs_diff(third) <= third / 20;
        assert!(shares.iter().all(even), "written: {written}, {shares:?}");
        if is_campaign() {
            measure(&cluster, MANY_READERS, written);
        }
    }
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
