//! A load that knows every acknowledged write.
//!
//! Each chunk has one writer, whose writes follow each other; so the `n`th write makes version `n`,
//! and executing one twice, or losing one, shows in the versions alone. Readers look at the same
//! chunks all the time: what they see is the content of the version that they are told, which is no
//! older than what was acknowledged before they asked.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use client_storage::{At, Storage, StorageConfig};
use engine_runtime::monoio::MonoioEnv;
use engine_runtime::{CoreSpec, Env};
use engine_types::{
    ChainId, ChunkId, ChunkSize, Incarnation, InodeId, NodeId, NodeRole, Rng, StoreId,
};
use engine_wire::handshake::Identity;
use mgmt_client::{Follower, Managers, Session};
use mgmt_cluster::session::Client;
use tools_cluster::Cluster;

use crate::support::{net, pause};

/// Every operation succeeds within this, whatever is killed meanwhile: leases of 2 s, a start and a
/// catch-up lie in between, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
const CHUNK_BYTES: u32 = 64 << 10;
/// Chunks of each chain: many enough that batches of readers and writers mix.
const CHUNKS_PER_CHAIN: u32 = 4;
const READERS: u64 = 4;
/// A write of the whole chunk comes so often: content is made from the last one on.
const WHOLE_EVERY: usize = 16;

/// What a write wrote.
#[derive(Clone, Copy)]
struct Write {
    offset: u32,
    len: u32,
    stamp: u64,
}

impl Write {
    fn random(rng: &mut Rng, whole: bool) -> Self {
        let stamp = rng.range(1..=u64::MAX);
        if whole {
            return Self { offset: 0, len: CHUNK_BYTES, stamp };
        }
        let offset = u32::try_from(rng.range(0..=u64::from(CHUNK_BYTES - 1))).unwrap();
        let len = u32::try_from(rng.range(1..=u64::from(CHUNK_BYTES - offset))).unwrap();
        Self { offset, len, stamp }
    }

    fn fill(self, bytes: &mut [u8]) {
        let stamp = self.stamp.to_le_bytes();
        for (byte, at) in bytes.iter_mut().zip(self.offset..) {
            *byte = stamp[at as usize % 8] ^ (at / 8).to_le_bytes()[0];
        }
    }
}

/// A chunk, and all that was written to it, in order.
struct Chunk {
    at: At,
    writes: RefCell<Vec<Write>>,
    /// How many of them are acknowledged.
    acknowledged: Cell<usize>,
}

impl Chunk {
    /// What a version holds.
    fn content(&self, version: usize) -> Vec<u8> {
        let writes = self.writes.borrow();
        let from = version.saturating_sub(1) / WHOLE_EVERY * WHOLE_EVERY;
        let mut content = vec![0; if version == 0 { 0 } else { CHUNK_BYTES as usize }];
        for write in &writes[from..version] {
            let (start, end) = (write.offset as usize, (write.offset + write.len) as usize);
            write.fill(&mut content[start..end]);
        }
        content
    }

    async fn write(&self, env: &MonoioEnv, storage: &Storage<MonoioEnv>, rng: &mut Rng) {
        let number = self.writes.borrow().len();
        let write = Write::random(rng, number.is_multiple_of(WHOLE_EVERY));
        self.writes.borrow_mut().push(write);
        let mut data = env.pool().alloc_wait(write.len as usize).await.unwrap();
        data.set_len(write.len as usize);
        write.fill(data.whole_mut());
        let until = env.now() + DEADLINE;
        let done = storage.by(until).write(self.at, write.offset, vec![data.freeze()]).await;
        let done = done.unwrap_or_else(|error| panic!("write {number}: {error}"));
        assert_eq!(done.version.get() as usize, number + 1, "a write happened once: {:?}", self.at);
        assert_eq!(done.chunk_len, CHUNK_BYTES);
        self.acknowledged.set(number + 1);
    }

    async fn read(&self, env: &MonoioEnv, storage: &Storage<MonoioEnv>) {
        let least = self.acknowledged.get();
        let At { chain, chunk, .. } = self.at;
        let found = storage.by(env.now() + DEADLINE).read(chain, chunk, 0, CHUNK_BYTES).await;
        let found = found.unwrap_or_else(|error| panic!("read: {error}"));
        let version = found.version.get() as usize;
        let most = self.writes.borrow().len();
        assert!(least <= version && version <= most, "{chunk:?}: {least} <= {version} <= {most}");
        assert!(found.bytes() == self.content(version), "{chunk:?}: bytes of version {version}");
    }
}

/// What the load counts, for the thread of the test.
#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    writes: AtomicU64,
    reads: AtomicU64,
    /// Longest time that passed from one acknowledgement to the next, ms.
    silence_ms: AtomicU64,
}

/// A load that runs on a thread of its own.
pub(crate) struct Load {
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts writers and readers on all chains of the cluster.
    pub(crate) fn start(cluster: &Cluster, seed: u64) -> Self {
        let counts = Arc::new(Counts::default());
        let (file, managers) = (cluster.cluster_file(), cluster.managers());
        let told = counts.clone();
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
            let spec = CoreSpec { pool_bytes: 64 << 20, ..CoreSpec::new("load") };
            let main = move |env| run(env, file, managers, seed, told);
            engine_runtime::monoio::run(spec, main).unwrap();
        });
        Self { counts, thread: Some(thread.unwrap()) }
    }

    /// Waits until so many more writes were acknowledged.
    pub(crate) fn until_writes(&self, more: u64) {
        let goal = self.counts.writes.load(Ordering::SeqCst) + more;
        let steps = 2 * DEADLINE.as_millis() / 10;
        for _ in 0..steps {
            if goal <= self.counts.writes.load(Ordering::SeqCst) {
                return;
            }
            assert!(self.thread.as_ref().is_some_and(|load| !load.is_finished()), "the load ended");
            pause(Duration::from_millis(10));
        }
        panic!("{more} writes are not acknowledged");
    }

    /// Ends it. Everything that was acknowledged is read once more. For people it says what it has
    /// come to, and what was the longest time without an acknowledged write.
    pub(crate) fn stop(mut self, what: &str) {
        self.counts.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let Counts { writes, reads, silence_ms, .. } = &*self.counts;
        let (writes, reads) = (of(writes), of(reads));
        assert!(0 < writes && 0 < reads, "{writes} writes, {reads} reads");
        let silence = Duration::from_millis(of(silence_ms));
        eprintln!("{what}: {writes} writes, {reads} reads, longest silence {silence:?}");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A test that fails does not wait for it.
        self.counts.stop.store(true, Ordering::SeqCst);
    }
}

async fn run(
    env: MonoioEnv,
    file: PathBuf,
    managers: Vec<core::net::SocketAddr>,
    seed: u64,
    counts: Arc<Counts>,
) {
    let (storage, _session, follower) = connect(&env, &file, managers, seed).await;
    follower.until(|routing| !routing.chains.is_empty()).await;
    let chains: Vec<ChainId> = follower.routing().chains.keys().copied().collect();
    let mut chunks = Vec::new();
    for &chain in &chains {
        for index in 0..CHUNKS_PER_CHAIN {
            let inode = InodeId::new((seed << 32) + u64::from(chain.get()));
            let chunk = ChunkId { inode, index };
            let size = ChunkSize::new(CHUNK_BYTES).unwrap();
            let at = At { chain, chunk, size, epoch: 0 };
            let (writes, acknowledged) = Default::default();
            chunks.push(Rc::new(Chunk { at, writes, acknowledged }));
        }
    }
    let mut tasks = Vec::new();
    for (number, chunk) in (1..).zip(&chunks) {
        let (chunk, counts) = (chunk.clone(), counts.clone());
        let (own, storage, mut rng) = (env.clone(), storage.clone(), Rng::new(seed + number));
        tasks.push(env.spawn(async move {
            while !counts.stop.load(Ordering::SeqCst) {
                chunk.write(&own, &storage, &mut rng).await;
                counts.writes.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    for number in 0..READERS {
        let (chunks, counts) = (chunks.clone(), counts.clone());
        let (own, storage, mut rng) = (env.clone(), storage.clone(), Rng::new(!seed - number));
        tasks.push(env.spawn(async move {
            while !counts.stop.load(Ordering::SeqCst) {
                let any = rng.range(0..=chunks.len() as u64 - 1);
                chunks[usize::try_from(any).unwrap()].read(&own, &storage).await;
                counts.reads.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    tasks.push(env.spawn(watch(env.clone(), counts)));
    for task in tasks {
        task.await;
    }
    for chunk in &chunks {
        chunk.read(&env, &storage).await;
        assert_eq!(chunk.acknowledged.get(), chunk.writes.borrow().len());
    }
    storage.close(env.now() + Duration::from_secs(1)).await;
}

/// Measures how long no write is acknowledged.
async fn watch(env: MonoioEnv, counts: Arc<Counts>) {
    let (mut last, mut since) = (0, env.now());
    while !counts.stop.load(Ordering::SeqCst) {
        let (now, writes) = (env.now(), counts.writes.load(Ordering::SeqCst));
        if writes != last {
            (last, since) = (writes, now);
        }
        let silence = u64::try_from(now.saturating_since(since).as_millis()).unwrap();
        counts.silence_ms.fetch_max(silence, Ordering::SeqCst);
        env.sleep_until(now + Duration::from_millis(10)).await;
    }
}

type Connected = (Storage<MonoioEnv>, Rc<Session<MonoioEnv>>, Rc<Follower<MonoioEnv>>);

/// A storage client with a session of its own.
async fn connect(
    env: &MonoioEnv,
    file: &Path,
    managers: Vec<core::net::SocketAddr>,
    seed: u64,
) -> Connected {
    let uuid = StoreId::new(u128::from(env.random()));
    let identity = Identity {
        role: NodeRole::Client,
        node: NodeId::default(),
        process: uuid,
        incarnation: Incarnation::new(1),
    };
    let net = net(file.to_str().unwrap(), identity);
    let managers = Managers::new(env, net.clone(), managers);
    let (name, host) = (format!("load-{seed}"), "here".to_owned());
    let client = Client { uuid, epoch: 1, process: std::process::id(), name, host };
    let session = Session::open(&managers, client, env.now() + DEADLINE).await.unwrap();
    let follower = Follower::start(&managers);
    let config = StorageConfig { deadline: DEADLINE, ..StorageConfig::default() };
    let storage = Storage::new(env, net, follower.clone(), session.id(), config);
    (storage, session, follower)
}
