//! Exactly once: an update is done, its answer is lost, and who knew of it dies. The client repeats
//! it, and gets the first result, from whoever serves then.
//!
//! The update moves the bytes of a chunk, so doing it twice would show in the content, too.

use core::time::Duration;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use client_storage::{At, Updated};
use engine_runtime::CoreSpec;
use engine_runtime::monoio::MonoioEnv;
use engine_types::ChainId;
use tools_cluster::{Cluster, Name, Plan};

use crate::client::{CHUNK_BYTES, Member, Whereabouts, chunk, lent, members, retried, with_client};
use crate::ground::{plan, start};
use crate::proxy::{Detour, Proxy};
use crate::support::{Folder, pause};

const NODES: [Name; 3] = [Name::Storage(1), Name::Storage(2), Name::Storage(3)];
const FILE: u64 = 88;
/// By so much the update moves what is in the chunk.
const STEP: u32 = 8 << 10;
/// Hang guard.
const LOOKS: u32 = 3_000;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the chunk holds after `moves` moves.
fn content(moves: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..CHUNK_BYTES).map(|at| (at / 251).to_le_bytes()[0]).collect();
    for _ in 0..moves {
        bytes.copy_within(..(CHUNK_BYTES - STEP) as usize, STEP as usize);
    }
    bytes
}

/// What a client came to: the result of its update, and how often it had to try again.
type Result = (Updated, u64);

/// A client behind the proxy writes a chunk, says so, waits for `go`, and moves its bytes once.
fn mover(at: Whereabouts, place: At, written: Sender<()>, go: Receiver<()>) -> Result {
    let main = async move |env: MonoioEnv| {
        let member = Member::new(&env, &at, "mover").await;
        let storage = member.storage_by(Detour(member.follower.clone()));
        let first = storage.write(place, 0, lent(&env, &content(0)).await).await.unwrap();
        assert_eq!(first.version.get(), 1);
        written.send(()).unwrap();
        go.recv().unwrap();
        let before = retried(&storage.metrics());
        let moved = storage.copy(place, place.chunk, (0, CHUNK_BYTES - STEP), STEP).await.unwrap();
        (moved, retried(&storage.metrics()) - before)
    };
    let spec = CoreSpec { pool_bytes: 32 << 20, ..CoreSpec::new("mover") };
    engine_runtime::monoio::run(spec, main).unwrap()
}

/// Waits until everybody can see that the update is done.
fn until_done(cluster: &Cluster, place: At) {
    with_client(cluster, async move |member, storage| {
        use engine_runtime::Env as _;
        for _ in 0..LOOKS {
            let head = storage.head(place.chain, place.chunk).await.unwrap();
            if head.version.get() == 2 {
                return;
            }
            member.env.sleep_until(member.env.now() + LOOK_EVERY).await;
        }
        panic!("it is not done");
    });
}

/// Has an update done whose answer is lost; `before` it and `after` it something happens to the
/// cluster. What the client is told in the end is what happened.
fn check(
    cluster: &mut Cluster,
    index: u32,
    before: impl FnOnce(&mut Cluster),
    after: impl FnOnce(&mut Cluster),
) {
    let addresses: Vec<_> = NODES.iter().map(|name| cluster.address(*name).unwrap()).collect();
    let proxy = Proxy::start(&addresses);
    let place = chunk(FILE, ChainId::new(1).unwrap(), index);
    let at = Whereabouts::of(cluster);
    let ((told, written), (go, going)) = (channel(), channel());
    let client = thread::Builder::new().spawn(move || mover(at, place, told, going)).unwrap();
    written.recv().unwrap();
    before(cluster);
    proxy.silence();
    go.send(()).unwrap();
    until_done(cluster, place);
    after(cluster);
    proxy.heal();
    let (moved, tries) = client.join().unwrap();
    assert_eq!((moved.version.get(), moved.chunk_len), (2, CHUNK_BYTES));
    assert!(0 < tries, "the answer was lost");
    let (version, bytes) = with_client(cluster, async move |_member, storage| {
        let found = storage.read(place.chain, place.chunk, 0, CHUNK_BYTES).await.unwrap();
        (found.version.get(), found.bytes().to_vec())
    });
    assert_eq!(version, 2);
    assert!(bytes == content(1), "it was done once");
}

fn whole(cluster: &mut Cluster) {
    cluster.until_whole(Duration::from_secs(60)).unwrap_or_else(|error| panic!("{error}"));
}

fn start_all(cluster: &mut Cluster, names: &[Name]) {
    for name in names {
        cluster.start_one(*name).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_repeated_update_gets_the_first_result_whoever_died() {
    let folder = Folder::new("storage-once");
    let mut cluster = start(Plan { chains: 1, ..plan(&folder) });
    // All of them die between execution and answer.
    let all = |cluster: &mut Cluster| {
        cluster.kill_all(&NODES).unwrap();
        pause(Duration::from_millis(100));
        start_all(cluster, &NODES);
    };
    check(&mut cluster, 0, |_| (), all);
    whole(&mut cluster);
    // The head dies: another one, which was not asked, answers.
    let chain = ChainId::new(1).unwrap();
    let order = members(&cluster, chain);
    check(&mut cluster, 1, |_| (), |cluster| cluster.kill(order[0]).unwrap());
    start_all(&mut cluster, &order[..1]);
    whole(&mut cluster);
    // One that was away when it was done, and has caught up since, is left alone.
    let order = members(&cluster, chain);
    let (away, others) = (order[2], [order[0], order[1]]);
    let leave = |cluster: &mut Cluster| cluster.kill(away).unwrap();
    let swap = |cluster: &mut Cluster| {
        start_all(cluster, &[away]);
        whole(cluster);
        cluster.kill_all(&others).unwrap();
    };
    check(&mut cluster, 2, leave, swap);
    start_all(&mut cluster, &others);
    whole(&mut cluster);
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
