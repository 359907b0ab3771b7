//! The store through its handle, in simulation: what each operation does, and that it is there
//! after closing and after a power loss.
#![expect(clippy::cast_possible_truncation, reason = "patterns are the low bytes of numbers")]

use core::time::Duration;
use std::path::Path;

use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_runtime::{Bytes, Env, Memory};
use engine_store::{Change, ChunkKey, Slot, TargetPhase, TargetRecord, TruncateEpoch, Update};
use engine_types::{
    ChainId, ChainVersion, ChunkSize, ChunkVersion, ClusterId, Incarnation, NodeId, TargetId,
};

use crate::{ChunkStore, CreateOptions, Payload, Read, StoreConfig, Stored, Which};

const PATH: &str = "data/store";
const SLOT: Slot = Slot::new(3);
const HOUR: Duration = Duration::from_secs(3600);
const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;

fn options() -> CreateOptions {
    CreateOptions {
        cluster: ClusterId::new(7),
        size: Some(2 << 30),
        journal_bytes: Some(2 << 20),
        index_bytes: Some(2 << 20),
        dedup_channels: Some(4096),
        force: false,
    }
}

fn config() -> StoreConfig {
    StoreConfig { overlay_bytes_max: 1 << 20, apply_backlog: 32, ..StoreConfig::default() }
}

fn target() -> TargetRecord {
    TargetRecord {
        target: TargetId::new(11),
        chain: ChainId::new(1).unwrap(),
        chain_version: ChainVersion::new(1),
        incarnation: Incarnation::new(1),
        named: None,
        phase: TargetPhase::Active,
    }
}

/// A world of one node; `main` runs on it to its end.
struct Ground {
    sim: Sim,
    node: NodeId,
}

impl Ground {
    fn new(seed: u64) -> Self {
        let sim = Sim::new(SimConfig::new(seed));
        let node = sim.add_node(NodeSpec::new("storage"));
        Self { sim, node }
    }

    fn run<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        main: impl FnOnce(SimEnv) -> F + 'static,
    ) -> T {
        let result = std::rc::Rc::new(core::cell::RefCell::new(None));
        let place = result.clone();
        self.sim.start(self.node, move |env| async move {
            let done = main(env).await;
            *place.borrow_mut() = Some(done);
        });
        let ended = self.sim.run_while(HOUR, |sim| sim.is_running(self.node)).unwrap();
        assert!(ended, "hangs:\n{}", self.sim.trace_tail());
        result.take().expect("it has ended")
    }
}

async fn create(env: &SimEnv) -> ChunkStore<SimEnv> {
    ChunkStore::format(env, Path::new(PATH), &options()).await.unwrap();
    let (store, _) = open(env).await;
    store.set_target(SLOT, Some(target())).await.unwrap();
    store
}

async fn open(env: &SimEnv) -> (ChunkStore<SimEnv>, crate::Opened) {
    ChunkStore::open(env, Path::new(PATH), config()).await.unwrap()
}

fn key(index: u32) -> ChunkKey {
    ChunkKey::new(SLOT, 100, index)
}

fn update(key: ChunkKey, version: u32, size: u32, change: Change) -> Update {
    Update {
        key,
        version: ChunkVersion::new(version),
        chain_version: ChainVersion::new(1),
        epoch: TruncateEpoch::new(0),
        size: ChunkSize::new(size).unwrap(),
        change,
        tag: None,
    }
}

async fn bytes<E: Env>(env: &E, data: &[u8]) -> Bytes<E::Memory> {
    let mut buf = env.pool().alloc_wait(data.len()).await.unwrap();
    buf.extend_from_slice(data);
    buf.freeze()
}

fn pattern(len: u32, salt: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 7) as u8 ^ (at >> 8) as u8 ^ salt).collect()
}

async fn write(
    env: &SimEnv,
    store: &ChunkStore<SimEnv>,
    key: ChunkKey,
    version: u32,
    (offset, data): (u32, &[u8]),
) -> Stored {
    let len = u32::try_from(data.len()).unwrap();
    let payload = Payload::new(offset, bytes(env, data).await);
    let change = Change::Write { offset, len };
    let stored = store.update(update(key, version, MIB, change), payload).await.unwrap();
    store.commit(&key, ChunkVersion::new(version)).unwrap();
    stored
}

async fn read_all(store: &ChunkStore<SimEnv>, key: ChunkKey) -> Vec<u8> {
    let read = Read { key, offset: 0, len: MIB, version: Which::Committed, verify: true };
    let content = store.read(read).await.unwrap();
    assert_eq!(content.len(), content.chunk_len as usize);
    content.to_vec()
}

fn check_parts<M: Memory>(parts: &[Bytes<M>]) {
    assert!(parts.iter().all(|part| !part.is_empty()), "no part is empty");
}

#[test]
fn what_was_written_is_read_back_and_survives_closing() {
    let ground = Ground::new(1);
    let mut expected = pattern(300 * KIB, 1);
    let small = pattern(5000, 9);
    expected[10_000..15_000].copy_from_slice(&small);
    let again = expected.clone();
    ground.run(move |env| async move {
        let store = create(&env).await;
        write(&env, &store, key(0), 1, (0, &pattern(300 * KIB, 1))).await;
        write(&env, &store, key(0), 2, (10_000, &small)).await;
        assert_eq!(read_all(&store, key(0)).await, expected);
        let read = Read {
            key: key(0),
            offset: 12_345,
            len: 100,
            version: Which::Committed,
            verify: false,
        };
        let content = store.read(read).await.unwrap();
        check_parts(&content.parts);
        assert_eq!(content.to_vec(), expected[12_345..12_445]);
        store.audit().unwrap();
        store.close().await.unwrap();
    });
    ground.run(move |env| async move {
        let (store, opened) = open(&env).await;
        assert_eq!((opened.chunks, opened.damaged, opened.images), (1, false, 0));
        assert_eq!(read_all(&store, key(0)).await, again);
        store.audit().unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn an_acknowledged_version_survives_a_power_loss() {
    for seed in 0..20 {
        let ground = Ground::new(seed);
        ground.sim.start(ground.node, move |env| async move {
            let store = create(&env).await;
            for chunk in 0..6 {
                write(&env, &store, key(chunk), 1, (0, &pattern(200 * KIB, 1))).await;
            }
            for round in 2..12 {
                for chunk in 0..6 {
                    let offset = round * 7000 + chunk * 11;
                    write(&env, &store, key(chunk), round, (offset, &[round as u8; 6000])).await;
                }
            }
            env.sleep_until(env.now().saturating_add(HOUR)).await;
        });
        ground.sim.run_for(Duration::from_secs(1200)).unwrap();
        ground.sim.crash(ground.node);
        ground.run(move |env| async move {
            let (store, opened) = open(&env).await;
            assert!(!opened.damaged);
            for (key, version) in opened.pendings {
                store.commit(&key, version).unwrap();
            }
            for chunk in 0..6 {
                let mut expected = pattern(200 * KIB, 1);
                for round in 2..12u32 {
                    let offset = (round * 7000 + chunk * 11) as usize;
                    expected[offset..offset + 6000].fill(round as u8);
                }
                assert_eq!(read_all(&store, key(chunk)).await, expected, "seed {seed}");
            }
            store.audit().unwrap();
        });
    }
}

mod damage;
mod figures;
mod full;
mod history;
mod limits;
mod queries;
mod recovery;
mod replication;
mod room;
mod scrub;
mod segments;
mod shipment;
mod slots;
