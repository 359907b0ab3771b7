//! A load that knows every acknowledged write.
//!
//! Each chunk has one writer, whose writes follow each other; so the `n`th write makes version `n`,
//! and executing one twice, or losing one, shows in the versions alone. Readers look at the same
//! chunks all the time: what they see is the content of the version that they are told, which is no
//! older than what was acknowledged before they asked.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use client_storage::{At, Storage};
use engine_runtime::monoio::MonoioEnv;
use engine_runtime::{CoreSpec, Env};
use engine_types::{Instant, Rng};
use tools_cluster::Cluster;

use crate::client::{CHUNK_BYTES, DEADLINE, Member, Whereabouts, chunk};
use crate::support::pause;

/// Chunks of each chain: many enough that batches of readers and writers mix.
pub(crate) const CHUNKS_PER_CHAIN: u32 = 4;
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

/// Most chunks that a load writes.
const CHUNKS_MAX: usize = 1024;

/// What the load counts, for the thread of the test.
struct Counts {
    stop: AtomicBool,
    writes: AtomicU64,
    reads: AtomicU64,
    /// Acknowledged writes of each chunk, as many chunks as there are.
    each: Vec<AtomicU64>,
    chunks: AtomicUsize,
    /// Longest time of one operation that has ended, us.
    write_us: AtomicU64,
    read_us: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        let (stop, chunks, writes, reads, write_us, read_us) = Default::default();
        let each = (0..CHUNKS_MAX).map(|_| AtomicU64::new(0)).collect();
        Self { stop, writes, reads, each, chunks, write_us, read_us }
    }
}

/// Notes how long an operation took that began then.
fn note(longest_us: &AtomicU64, env: &MonoioEnv, begun: Instant) {
    let us = env.now().saturating_since(begun).as_micros();
    longest_us.fetch_max(u64::try_from(us).unwrap(), Ordering::SeqCst);
}

/// Longest times of one operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Longest {
    pub(crate) write: Duration,
    pub(crate) read: Duration,
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
        let at = Whereabouts::of(cluster);
        let told = counts.clone();
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
            let spec = CoreSpec { pool_bytes: 64 << 20, ..CoreSpec::new("load") };
            let main = move |env| run(env, at, seed, told);
            engine_runtime::monoio::run(spec, main).unwrap();
        });
        Self { counts, thread: Some(thread.unwrap()) }
    }

    /// Waits until so many more writes were acknowledged.
    pub(crate) fn until_writes(&self, more: u64) {
        let goal = self.counts.writes.load(Ordering::SeqCst) + more;
        let done = || goal <= self.counts.writes.load(Ordering::SeqCst);
        self.until(&format!("{more} writes are acknowledged"), done);
    }

    /// Waits until so many more writes of each chunk were acknowledged.
    pub(crate) fn until_each(&self, more: u64) {
        let chunks = || self.counts.chunks.load(Ordering::SeqCst);
        self.until("there are chunks", || 0 < chunks());
        let each = || self.counts.each[..chunks()].iter().map(|count| count.load(Ordering::SeqCst));
        let goals: Vec<u64> = each().map(|count| count + more).collect();
        let done = || each().zip(&goals).all(|(count, goal)| *goal <= count);
        self.until(&format!("{more} writes of each chunk are acknowledged"), done);
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) {
        let steps = 2 * DEADLINE.as_millis() / 10;
        for _ in 0..steps {
            if done() {
                return;
            }
            assert!(self.thread.as_ref().is_some_and(|load| !load.is_finished()), "the load ended");
            pause(Duration::from_millis(10));
        }
        panic!("never: {what}");
    }

    /// The longest times since this was asked last.
    pub(crate) fn take_longest(&self) -> Longest {
        let take = |us: &AtomicU64| Duration::from_micros(us.swap(0, Ordering::SeqCst));
        Longest { write: take(&self.counts.write_us), read: take(&self.counts.read_us) }
    }

    /// Ends it. Everything that was acknowledged is read once more. For people it says what it has
    /// come to. Gives the longest times since they were asked for last.
    pub(crate) fn stop(mut self, what: &str) -> Longest {
        self.counts.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let (writes, reads) = (of(&self.counts.writes), of(&self.counts.reads));
        assert!(0 < writes && 0 < reads, "{writes} writes, {reads} reads");
        let longest = self.take_longest();
        eprintln!("{what}: {writes} writes, {reads} reads, {longest:?}");
        longest
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A test that fails does not wait for it.
        self.counts.stop.store(true, Ordering::SeqCst);
    }
}

async fn run(env: MonoioEnv, at: Whereabouts, seed: u64, counts: Arc<Counts>) {
    let member = Member::new(&env, &at, &format!("load-{seed}")).await;
    let storage = member.storage();
    let mut chunks = Vec::new();
    for chain in member.chains() {
        for index in 0..CHUNKS_PER_CHAIN {
            let at = chunk(seed, chain, index);
            let (writes, acknowledged) = Default::default();
            chunks.push(Rc::new(Chunk { at, writes, acknowledged }));
        }
    }
    counts.chunks.store(chunks.len(), Ordering::SeqCst);
    let mut tasks = Vec::new();
    for (number, chunk) in (1..).zip(&chunks) {
        let (chunk, counts) = (chunk.clone(), counts.clone());
        let (own, storage, mut rng) =
            (env.clone(), storage.clone(), Rng::new(seed + number as u64));
        tasks.push(env.spawn(async move {
            while !counts.stop.load(Ordering::SeqCst) {
                let begun = own.now();
                chunk.write(&own, &storage, &mut rng).await;
                note(&counts.write_us, &own, begun);
                counts.writes.fetch_add(1, Ordering::SeqCst);
                counts.each[number - 1].fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    for number in 0..READERS {
        let (chunks, counts) = (chunks.clone(), counts.clone());
        let (own, storage, mut rng) = (env.clone(), storage.clone(), Rng::new(!seed - number));
        tasks.push(env.spawn(async move {
            while !counts.stop.load(Ordering::SeqCst) {
                let any = rng.range(0..=chunks.len() as u64 - 1);
                let begun = own.now();
                chunks[usize::try_from(any).unwrap()].read(&own, &storage).await;
                note(&counts.read_us, &own, begun);
                counts.reads.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    for task in tasks {
        task.await;
    }
    for chunk in &chunks {
        chunk.read(&env, &storage).await;
        assert_eq!(chunk.acknowledged.get(), chunk.writes.borrow().len());
    }
    storage.close(env.now() + Duration::from_secs(1)).await;
}
