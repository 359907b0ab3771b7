//! The served store in simulation: the suite of every backend, restarts, and lost answers.

use core::cell::Cell;
use std::sync::Arc;

use engine_net::{NetConfig, NetLimits};
use engine_runtime::Signal;
use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_types::{ClusterId, Incarnation, NodeId, NodeRole, StoreId, WallTime};
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};
use meta_kv::conformance::{Suite, run};
use meta_kv::engine::memory::MemoryEngine;
use meta_kv::{
    Abort, AtomicOp, Kv, OwnKv, Policy, ReadMode, Transaction, TransactionOptions, transact,
};

use super::*;
use crate::remote::Remote;
use crate::role::{self, Role};

const SERVER: NodeId = NodeId::new(0);
const CLIENT: NodeId = NodeId::new(1);
const PORT: u16 = 7000;

fn net(role: NodeRole, node: NodeId) -> Rc<NetConfig> {
    let process = StoreId::new(node.get().into());
    let identity = Identity { role, node, process, incarnation: Incarnation::new(1) };
    let secret = ClusterSecret::new([7; 32]).unwrap();
    let cluster = ClusterId::new(7);
    let local = Local { cluster, identity, secret, versions: Versions::BUILD };
    Rc::new(NetConfig { local, limits: NetLimits::default() })
}

/// A world with a kv role and a client.
struct Ground {
    sim: Sim,
    disk: Rc<RefCell<Arc<MemoryEngine>>>,
    starts: Cell<u64>,
}

impl Ground {
    fn new(seed: u64) -> Self {
        let sim = Sim::new(SimConfig::new(seed));
        assert_eq!(sim.add_node(NodeSpec::new("kv")), SERVER);
        assert_eq!(sim.add_node(NodeSpec::new("client")), CLIENT);
        let ground = Self { sim, disk: Rc::default(), starts: Cell::new(0) };
        ground.serve();
        ground
    }

    /// Starts the role on what its disk holds.
    fn serve(&self) {
        let engine = Arc::new(self.disk.borrow().restarted(1_000));
        *self.disk.borrow_mut() = engine.clone();
        self.starts.set(self.starts.get() + 1);
        let role = Role {
            listen: self.sim.address(SERVER, PORT),
            net: net(NodeRole::Kv, SERVER),
            engine,
            served: ServedEngine {
                store: 5,
                created: WallTime::from_nanos(1),
                starts: self.starts.get(),
                restores: 0,
            },
            bytes: Box::new(|| 4096),
        };
        self.sim.start(SERVER, move |env| async move {
            let signals = env.signals().unwrap();
            let stop = async move { while signals.recv().await != Some(Signal::Terminate) {} };
            role::run(&env, role, |_| (), stop).await.unwrap();
        });
    }

    /// Starts `main` on the client's node; the cell is set when it has ended.
    fn client<F: Future<Output = ()> + 'static>(
        &self,
        main: impl FnOnce(SimEnv, Remote<SimEnv>) -> F + 'static,
    ) -> Rc<Cell<bool>> {
        let done = Rc::new(Cell::new(false));
        let seen = done.clone();
        let address = self.sim.address(SERVER, PORT);
        self.sim.start(CLIENT, move |env| async move {
            let remote = Remote::new(&env, net(NodeRole::Meta, CLIENT), address);
            main(env, remote).await;
            seen.set(true);
        });
        done
    }

    fn finish(&self, done: &Cell<bool>) {
        self.sim.run_for(Duration::from_secs(3600)).unwrap();
        assert!(done.get(), "the client did not end");
    }
}

fn kv(env: &SimEnv, remote: Remote<SimEnv>) -> OwnKv<SimEnv, Remote<SimEnv>> {
    OwnKv::new(env.clone(), remote)
}

#[test]
fn the_suite_passes_over_the_network() {
    for seed in 0..2 {
        let ground = Ground::new(seed);
        let done = ground.client(move |env, remote| async move {
            let suite = Suite { prefix: b"s/".to_vec(), slow: true, rounds: 600, seed };
            let mut passed = 0;
            run(&kv(&env, remote), &suite, |_| passed += 1).await;
            assert!(30 <= passed);
        });
        ground.finish(&done);
    }
}

/// A commit of 9 MB goes in parts, and comes back in pages.
#[test]
fn the_largest_transactions_pass() {
    let ground = Ground::new(3);
    let done = ground.client(|env, remote| async move {
        let kv = kv(&env, remote);
        let t = kv.begin(TransactionOptions::default());
        for n in 0..90u8 {
            t.set(&[b'k', n], &vec![n; 100_000]).unwrap();
        }
        t.commit().await.unwrap();
        let t = kv.begin(TransactionOptions::default());
        let mut read = RangeRead::new(KeyRange::new("k", "l"));
        let (mut found, mut pages) = (Vec::new(), 0);
        loop {
            let page = t.range(read.clone(), ReadMode::Conflict).await.unwrap();
            found.extend(page.entries.iter().map(|(key, value)| (key[1], value.len(), value[0])));
            pages += 1;
            let Some((last, _)) = page.entries.last().filter(|_| page.more) else { break };
            read = read.behind(last);
        }
        assert_eq!(found, (0..90).map(|n| (n, 100_000, n)).collect::<Vec<_>>());
        assert!(5 < pages && pages < 20, "{pages} pages");
        let t = kv.begin(TransactionOptions::default());
        for n in 0..101u8 {
            t.set(&[b'k', n], &vec![n; 100_000]).unwrap();
        }
        assert!(matches!(t.commit().await, Err(KvError::TooLarge { .. })));
    });
    ground.finish(&done);
}

/// E242: a transaction that read before a restart commits nothing after it.
#[test]
fn transactions_do_not_reach_over_a_restart() {
    let ground = Rc::new(Ground::new(4));
    let (at_pause, go_on) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (pause, resume) = (at_pause.clone(), go_on.clone());
    let done = ground.client(move |env, remote| async move {
        let kv = kv(&env, remote);
        let begin = || kv.begin(TransactionOptions::default());
        let t = begin();
        t.set(b"k", b"1").unwrap();
        t.commit().await.unwrap();
        let (reader, writer) = (begin(), begin());
        for t in [&reader, &writer] {
            assert_eq!(t.get(b"k", ReadMode::Conflict).await, Ok(Some(b"1".to_vec())));
        }
        writer.set(b"k", b"2").unwrap();
        pause.set(true);
        while !resume.get() {
            env.sleep_until(env.now() + Duration::from_millis(10)).await;
        }
        // The first call may meet the end of the old connection.
        while kv.source().status().await.is_err() {}
        assert_eq!(reader.get(b"other", ReadMode::Snapshot).await, Err(KvError::TooOld));
        assert_eq!(writer.commit().await.err(), Some(KvError::TooOld));
        let status = kv.source().status().await.unwrap();
        assert_eq!((status.told.starts, status.told.bytes), (2, 4096));
        let t = begin();
        assert_eq!(t.get(b"k", ReadMode::Snapshot).await, Ok(Some(b"1".to_vec())));
    });
    while !at_pause.get() {
        ground.sim.run_for(Duration::from_millis(1)).unwrap();
    }
    ground.sim.crash(SERVER);
    ground.serve();
    go_on.set(true);
    ground.finish(&done);
}

/// Counters under a server that is killed again and again: with a record per channel (M11), the
/// sum is exact, though answers are lost in every round.
#[test]
fn acknowledged_commits_survive_kills_and_count_once() {
    let mut unknown = 0;
    for seed in 0..6 {
        let ground = Ground::new(10 + seed);
        let lost = Rc::new(Cell::new(0));
        let seen = lost.clone();
        let done = ground.client(move |env, remote| async move {
            let kv = kv(&env, remote);
            let tasks: Vec<_> = (0..4u8)
                .map(|channel| {
                    let (kv, lost) = (kv.clone(), seen.clone());
                    env.spawn(async move {
                        for round in 0..100u8 {
                            add(&kv, channel, round, &lost).await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            let sum = kv.begin(TransactionOptions::default());
            let sum = sum.get(b"sum", ReadMode::Snapshot).await.unwrap();
            assert_eq!(sum, Some(400u64.to_le_bytes().to_vec()));
        });
        let mut rng = engine_types::Rng::new(seed);
        for _ in 0..200 {
            ground.sim.run_for(Duration::from_micros(rng.range(12_000..=40_000))).unwrap();
            if done.get() {
                break;
            }
            ground.sim.crash(SERVER);
            ground.sim.run_for(Duration::from_millis(5)).unwrap();
            ground.serve();
        }
        ground.finish(&done);
        unknown += lost.get();
    }
    assert!(0 < unknown, "no answer was ever lost");
}

/// One addition, exactly once; counts attempts whose result was unknown.
async fn add<K: Kv>(kv: &K, channel: u8, round: u8, unknown: &Cell<u32>) {
    let policy = Policy { attempts_max: 1, ..Policy::default() };
    let record = [b'r', channel];
    let body = async |t: &K::Transaction| -> Result<(), Abort<()>> {
        if t.get(&record, ReadMode::Conflict).await? == Some(vec![round]) {
            return Ok(());
        }
        t.atomic(AtomicOp::Add, b"sum", &1u64.to_le_bytes())?;
        t.set(&record, &[round])?;
        Ok(())
    };
    loop {
        match transact(kv, &policy, body).await {
            Ok(()) => return,
            Err(Abort::Kv(KvError::UnknownResult { .. })) => unknown.set(unknown.get() + 1),
            Err(Abort::Kv(_)) => {}
            Err(Abort::Own(())) => unreachable!("the body decides nothing"),
        }
        kv.sleep_until(kv.now() + Duration::from_millis(3)).await;
    }
}

/// E245: a backup taken while commits run is one snapshot, also over a link that loses packets.
#[test]
fn a_backup_is_one_snapshot_while_commits_run() {
    let ground = Ground::new(6);
    let done = ground.client(|env, remote| async move {
        let kv = kv(&env, remote.clone());
        for n in 0..40u8 {
            let t = kv.begin(TransactionOptions::default());
            for m in 0..60u8 {
                t.set(&[b'k', n, m], &vec![n; 2_000]).unwrap();
            }
            t.set(b"a", &[n]).unwrap();
            t.set(b"z", &[n]).unwrap();
            t.commit().await.unwrap();
        }
        let writer = {
            let kv = kv.clone();
            env.spawn(async move {
                for n in 40..200u8 {
                    let t = kv.begin(TransactionOptions::default());
                    t.set(b"a", &[n]).unwrap();
                    t.set(b"z", &[n]).unwrap();
                    t.commit().await.unwrap();
                }
            })
        };
        let mut file = Vec::new();
        let keys = crate::backup::fetch(&env, &remote, |piece, _| {
            file.extend_from_slice(piece);
            Ok(())
        });
        let keys = keys.await.unwrap();
        writer.await;
        assert_eq!(keys, 40 * 60 + 2);
        let summary = meta_kv::backup::verify(file.as_slice(), |_| ()).unwrap();
        assert_eq!((summary.size.keys, summary.origin.store), (keys, 5));
        let value_of = |key: &[u8]| {
            let at = file.windows(key.len() + 4).position(|w| w[4..] == *key && w[0] == 1).unwrap();
            file[at + 4 + key.len() + 4]
        };
        assert_eq!(value_of(b"a"), value_of(b"z"), "one transaction wrote both");
        let unknown = remote.backup_piece(KvBackupRequest { session: 9, sequence: 0 }).await;
        assert!(matches!(unknown, Err(KvError::Failed { .. })));
    });
    ground.finish(&done);
}

/// E243: what no client of ours would send.
#[test]
fn hostile_requests_are_answered_with_what_is_wrong() {
    let ground = Ground::new(5);
    let done = ground.client(|env, remote| async move {
        let view = remote.view().await.unwrap();
        let good = meta_kv::Mutation::Set { key: b"k".to_vec(), value: vec![] };
        let bad = [
            meta_kv::Mutation::Set { key: b"\xffk".to_vec(), value: vec![] },
            meta_kv::Mutation::StampedKey { key: b"k".to_vec(), offset: 9, value: vec![] },
            meta_kv::Mutation::Clear { range: KeyRange::new("b", "a") },
        ];
        for mutation in bad {
            let request = CommitRequest {
                mutations: vec![good.clone(), mutation.clone()],
                ..CommitRequest::default()
            };
            let sent = codec::encode_commit(&request);
            let answer = send(&env, &remote, 0, &sent).await;
            assert_ne!(answer.outcome, 0, "{mutation:?}");
        }
        assert_ne!(send(&env, &remote, 0, b"\x01garbage").await.outcome, 0);
        assert_ne!(send(&env, &remote, 77, b"").await.outcome, 0, "an upload nobody began");
        let unversioned = CommitRequest {
            epoch: view.epoch(),
            read_version: Some(view.version() + 50),
            read_conflicts: vec![KeyRange::single(b"k")],
            write_conflicts: Vec::new(),
            mutations: vec![good],
        };
        let refused = remote.commit(unversioned).await.unwrap_err();
        assert!(refused.to_string().contains("never handed out"), "{refused}");
        let read = RangeRead::new(KeyRange::new("b", "a"));
        assert!(view.range(read).await.is_err());
        assert_eq!(view.get(b"k".to_vec()).await, Ok(None), "nothing was written");
    });
    ground.finish(&done);
}

async fn send(env: &SimEnv, to: &Remote<SimEnv>, upload: u64, payload: &[u8]) -> KvCommitReply {
    let asked = KvCommitRequest { epoch: 0, upload };
    let parts: Vec<_> = match payload {
        [] => Vec::new(),
        payload => vec![Part::plain(pooled(env, payload).await.unwrap())],
    };
    let call = engine_net::Call::new(&asked, env.now() + Duration::from_secs(10));
    let reply = to.client().call(call.with_parts(&parts).with_reply_room(4096)).await.unwrap();
    bodies::to_owned::<KvCommitReply>(reply.body::<KvCommitReply>().unwrap()).unwrap()
}
