//! The chunk store of one shard, through its public interface, with everything on.
//!
//! Its data is one file of chunks, full of random bytes. Checksums of what is written are given
//! with it, as they arrive with a request (W5). Every write is committed as soon as it is
//! durable, as the last replica of a chain does it. Appends make a file of their own, whose
//! chunks are removed between slices, or, when a slice fills the store, the oldest beside each
//! append.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use engine_runtime::{Bytes, Env};
use engine_shard::{ChunkStore, CreateOptions, Io, Payload, Read, StoreConfig, Which};
use engine_store::{
    Change, ChunkKey, Slot, TargetPhase, TargetRecord, TruncateEpoch, Update, UpdateError,
};
use engine_types::{
    ChainId, ChainVersion, ChunkSize, ChunkVersion, ClusterId, Crc32c, Incarnation, Rng, Set,
    TargetId, crc32c,
};
use futures_lite::future::zip;

use super::device::Place;
use super::fill::random_bytes;
use super::shape::{Data, LARGE_BYTES, SMALL_BYTES, Work};
use super::subject::{Counters, Subject};
use crate::runtime::Main;

#[cfg(test)]
mod tests;

const SLOT: Slot = Slot::new(0);
const CLUSTER: ClusterId = ClusterId::new(0xbe4c);
/// The file that is read and overwritten.
const DATA_FILE: u64 = 1;
/// The file that is appended to.
const APPEND_FILE: u64 = 2;
/// Different payloads that writes take turns with.
const PAYLOADS: u32 = 4;
/// Updates in flight while a store is filled with large chunks: enough for any device.
const FILL_LARGE: u32 = 16;
/// The same with small chunks, which share groups of the journal.
const FILL_SMALL: u32 = 256;
/// Index memory for a chunk with room to spare: a record of 4 KiB takes 60 bytes at most.
const RECORD_BYTES: u64 = 96;
/// Index memory at least: the default of a store of several GiB.
const INDEX_BYTES_MIN: u64 = 64 << 20;
/// Removals in flight between slices.
const REMOVALS: usize = 64;
/// The store does what it has put off when it was idle for a tenth of a second; what has not been
/// begun after this time will not be.
const QUIET: Duration = Duration::from_millis(150);

/// An open store.
pub(crate) struct Chunks<E: Env> {
    env: E,
    store: ChunkStore<E>,
    data: Data,
    /// Chunks of the data file.
    count: u32,
    /// Chunks with an overwrite under way: a chunk has one pending version at most (R2).
    busy: RefCell<Set<u32>>,
    small: Vec<Written<E>>,
    large: Vec<Written<E>>,
    appended: RefCell<Appended>,
    user_bytes: Cell<u64>,
}

/// Bytes to write, with a checksum per checksum block of the chunks they are written to.
struct Written<E: Env> {
    data: Bytes<E::Memory>,
    checksums: Vec<Crc32c>,
}

/// The file that is appended to.
#[derive(Default)]
struct Appended {
    next_index: u32,
    /// Chunks with room, no append of which is under way.
    open: Vec<Tail>,
    /// Chunks without room, the oldest first.
    full: VecDeque<ChunkKey>,
    bytes: u64,
    /// Bytes that fit.
    bytes_max: u64,
}

/// The end of a chunk.
#[derive(Clone, Copy)]
struct Tail {
    key: ChunkKey,
    version: ChunkVersion,
    len: u32,
    size: u32,
}

/// Makes a store with its data, on a core of its own: the cores that measure open a closed one.
pub(crate) struct Fill {
    pub(crate) place: Arc<Place>,
    pub(crate) data: Data,
    pub(crate) bytes: u64,
}

impl Main for Fill {
    type Output = Result<(), String>;

    async fn run<E: Env>(self, env: E) -> Result<(), String> {
        let options = CreateOptions {
            cluster: CLUSTER,
            size: Some(self.place.bytes),
            journal_bytes: None,
            index_bytes: Some(self.index_bytes()?),
            dedup_channels: None,
            force: true,
        };
        ChunkStore::format(&env, &self.place.path, &options).await.map_err(text)?;
        let store = open(&env, &self.place).await?;
        let target = TargetRecord {
            target: TargetId::new(1),
            chain: ChainId::new(1).ok_or("no such chain")?,
            chain_version: ChainVersion::new(1),
            incarnation: Incarnation::new(1),
            named: None,
            phase: TargetPhase::Active,
        };
        store.set_target(SLOT, Some(target)).await.map_err(text)?;
        fill(&env, &store, self.data, self.bytes).await?;
        store.close().await.map_err(text)?;
        self.place.set_data_bytes(self.bytes);
        Ok(())
    }
}

impl Fill {
    /// What a store of this size has by default, or more where its chunks are small.
    fn index_bytes(&self) -> Result<u64, String> {
        let records = u64::from(chunk_count(self.data, self.bytes)?) * RECORD_BYTES;
        Ok(records.max(INDEX_BYTES_MIN))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn text(error: impl ToString) -> String {
    error.to_string()
}

async fn open<E: Env>(env: &E, place: &Place) -> Result<ChunkStore<E>, String> {
    // A discard would punch a hole into the file behind a loop device, and the next write there
    // would have to find memory, which no disk has to do.
    let config = StoreConfig { discard: false, ..StoreConfig::default() };
    let opened = ChunkStore::open(env, &place.path, config).await;
    let (store, opened) = opened.map_err(text)?;
    if opened.damaged {
        return Err("the store is damaged".to_owned());
    }
    Ok(store)
}

/// Writes every chunk once, several at a time.
async fn fill<E: Env>(
    env: &E,
    store: &ChunkStore<E>,
    data: Data,
    bytes: u64,
) -> Result<(), String> {
    let in_flight = match data {
        Data::Large => FILL_LARGE,
        Data::Small => FILL_SMALL,
    };
    let count = chunk_count(data, bytes)?;
    let next = Rc::new(Cell::new(0));
    let worker = |_| {
        let (env, store, next) = (env.clone(), store.clone(), next.clone());
        env.clone().spawn(async move {
            let mut random = Rng::new(env.random());
            while next.get() < count {
                let key = ChunkKey::new(SLOT, DATA_FILE, next.replace(next.get() + 1));
                let size = data.chunk_bytes();
                let written = Written::new(&env, &mut random, size)?;
                let tail = Tail { key, version: ChunkVersion::new(0), len: 0, size };
                update(&store, tail, 0, &written).await?;
            }
            Ok::<(), String>(())
        })
    };
    let workers: Vec<_> = (0..in_flight).map(worker).collect();
    for worker in workers {
        worker.await?;
    }
    Ok(())
}

fn chunk_count(data: Data, bytes: u64) -> Result<u32, String> {
    let count = bytes / u64::from(data.chunk_bytes());
    u32::try_from(count).map_err(|_| format!("{count} chunks are more than a file has"))
}

/// Writes `written` at `offset` as the next version of a chunk, and commits it.
async fn update<E: Env>(
    store: &ChunkStore<E>,
    tail: Tail,
    offset: u32,
    written: &Written<E>,
) -> Result<ChunkVersion, String> {
    let version = ChunkVersion::new(tail.version.get() + 1);
    let len = u32::try_from(written.data.len()).expect("a payload is far below 4 GiB");
    let update = Update {
        key: tail.key,
        version,
        chain_version: ChainVersion::new(1),
        epoch: TruncateEpoch::new(0),
        size: ChunkSize::new(tail.size).ok_or("no size of a chunk")?,
        change: Change::Write { offset, len },
        tag: None,
    };
    let extents = vec![(offset, written.data.clone())];
    let payload = Payload { extents, checksums: written.checksums.clone() };
    let stored = store.update(update, payload).await.map_err(text)?;
    if stored.version != version || stored.repeated {
        return Err(format!("{}: stored {:?}, expected version {version}", tail.key, stored));
    }
    store.commit(&tail.key, version).map_err(text)?;
    Ok(version)
}

impl<E: Env> Written<E> {
    /// Random bytes; `len` is 4 KiB, which lie in one checksum block, or 1 MiB, which begin one, of
    /// chunks of 1 MiB or more.
    fn new(env: &E, random: &mut Rng, len: u32) -> Result<Self, String> {
        let data = random_bytes(env, random, len)?;
        let size = ChunkSize::new(LARGE_BYTES).expect("1 MiB is a size");
        let block = usize::try_from(size.checksum_block_bytes()).expect("32 bits fit");
        let checksums = data.chunks(block).map(crc32c).collect();
        Ok(Self { data, checksums })
    }
}

impl<E: Env> Subject<E> for Chunks<E> {
    async fn open(env: &E, place: &Place) -> Result<Rc<Self>, String> {
        let store = open(env, place).await?;
        let first = ChunkKey::new(SLOT, DATA_FILE, 0);
        let len = store.state(&first).committed.map(|(_, len)| len);
        let data = [Data::Large, Data::Small].into_iter();
        let data = data.clone().find(|data| Some(data.chunk_bytes()) == len);
        let data = data.ok_or("the first chunk has an unexpected length")?;
        let mut random = Rng::new(env.random());
        let mut payloads = |len| -> Result<Vec<_>, String> {
            (0..PAYLOADS).map(|_| Written::new(env, &mut random, len)).collect()
        };
        let (small, large) = (payloads(SMALL_BYTES)?, payloads(LARGE_BYTES)?);
        let bytes_max = store.space().free / 4 * 3;
        Ok(Rc::new(Self {
            env: env.clone(),
            store,
            data,
            count: chunk_count(data, place.data_bytes())?,
            busy: RefCell::default(),
            small,
            large,
            appended: RefCell::new(Appended { bytes_max, ..Appended::default() }),
            user_bytes: Cell::new(0),
        }))
    }

    async fn operate(&self, work: Work, random: &mut Rng) -> Result<(), String> {
        match work {
            Work::Read { len, verify } => self.read(random, len, verify).await?,
            Work::Append { chunk } => self.append(random, chunk).await?,
            Work::Overwrite => self.overwrite(random).await?,
        }
        self.user_bytes.set(self.user_bytes.get() + u64::from(work.bytes()));
        Ok(())
    }

    fn ops_put_off(&self, work: Work) -> u64 {
        match work {
            // Twice what waits at most before it is applied.
            Work::Overwrite => 2 * StoreConfig::default().apply_backlog as u64,
            Work::Read { .. } | Work::Append { .. } => 0,
        }
    }

    async fn tidy(&self) -> Result<(), String> {
        self.remove_appended().await?;
        self.store.sync().await.map_err(text)?;
        let applied = || self.store.metrics().io(Io::Apply).operations;
        loop {
            let before = applied();
            self.env.sleep_until(self.env.now() + QUIET).await;
            if applied() == before {
                return Ok(());
            }
        }
    }

    fn counters(&self) -> Counters {
        let metrics = self.store.metrics();
        Counters {
            user_bytes: self.user_bytes.get(),
            writes: metrics.puts,
            read_bytes: metrics.device_bytes_read(),
            written_bytes: metrics.device_bytes_written(),
            flushes: metrics.groups,
            journal_bytes: metrics.io(Io::Journal).bytes,
            ring_bytes: self.store.superblock().layout.ring.len,
        }
    }

    async fn close(&self) -> Result<(), String> {
        self.store.close().await.map_err(text)
    }
}

impl<E: Env> Chunks<E> {
    async fn read(&self, random: &mut Rng, len: u32, verify: bool) -> Result<(), String> {
        let per_chunk = u64::from(self.data.chunk_bytes() / len);
        let place = random.below(u64::from(self.count) * per_chunk);
        let fits = "fewer chunks than 2^32, of fewer bytes";
        let index = u32::try_from(place / per_chunk).expect(fits);
        let offset = u32::try_from(place % per_chunk).expect(fits) * len;
        let key = ChunkKey::new(SLOT, DATA_FILE, index);
        let read = Read { key, offset, len, version: Which::Committed, verify };
        let content = self.store.read(read).await.map_err(text)?;
        if content.len() != usize::try_from(len).expect("32 bits fit") {
            return Err(format!("{key}: {} bytes read at {offset} of {len}", content.len()));
        }
        Ok(())
    }

    async fn overwrite(&self, random: &mut Rng) -> Result<(), String> {
        let index = loop {
            let index = u32::try_from(random.below(u64::from(self.count))).expect("below a u32");
            if self.busy.borrow_mut().insert(index) {
                break index;
            }
        };
        let key = ChunkKey::new(SLOT, DATA_FILE, index);
        let (version, len) = self.store.state(&key).committed.ok_or("a chunk is missing")?;
        let size = self.data.chunk_bytes();
        let sector = random.below(u64::from(size / SMALL_BYTES));
        let offset = u32::try_from(sector).expect("below a u32") * SMALL_BYTES;
        let written = self.one_of(&self.small, random);
        let done = update(&self.store, Tail { key, version, len, size }, offset, written).await;
        self.busy.borrow_mut().remove(&index);
        done.map(|_| ())
    }

    fn one_of<'a>(&self, payloads: &'a [Written<E>], random: &mut Rng) -> &'a Written<E> {
        let index = usize::try_from(random.below(payloads.len() as u64)).expect("an index");
        &payloads[index]
    }

    async fn append(&self, random: &mut Rng, size: u32) -> Result<(), String> {
        let open = {
            let mut appended = self.appended.borrow_mut();
            appended.bytes += u64::from(LARGE_BYTES);
            appended.open.pop().unwrap_or_else(|| appended.new_chunk(size))
        };
        let written = self.one_of(&self.large, random);
        let appending = update(&self.store, open, open.len, written);
        // In this order: the removal rides in the group of the append.
        let (version, made) = zip(appending, self.make_room()).await;
        let (version, ()) = (version?, made?);
        let tail = Tail { version, len: open.len + LARGE_BYTES, ..open };
        let mut appended = self.appended.borrow_mut();
        if tail.len == tail.size {
            appended.full.push_back(tail.key);
        } else {
            appended.open.push(tail);
        }
        Ok(())
    }

    /// Removes the oldest chunk when there is no room for more; one with room, when none is full.
    async fn make_room(&self) -> Result<(), String> {
        let oldest = {
            let mut appended = self.appended.borrow_mut();
            if appended.bytes < appended.bytes_max {
                return Ok(());
            }
            let oldest = appended.full.pop_front();
            let oldest = oldest.or_else(|| appended.open.pop().map(|tail| tail.key));
            let Some(oldest) = oldest else { return Ok(()) };
            oldest
        };
        let len = self.store.state(&oldest).committed.map_or(0, |(_, len)| len);
        self.store.erase(&oldest).await.map_err(text)?;
        self.appended.borrow_mut().bytes -= u64::from(len);
        Ok(())
    }

    /// Removes everything that was appended.
    async fn remove_appended(&self) -> Result<(), String> {
        let keys: Vec<ChunkKey> = {
            let mut appended = self.appended.borrow_mut();
            appended.bytes = 0;
            let open: Vec<_> = appended.open.drain(..).map(|tail| tail.key).collect();
            appended.full.drain(..).chain(open).collect()
        };
        for keys in keys.chunks(REMOVALS) {
            let erase = |&key: &ChunkKey| {
                let store = self.store.clone();
                self.env.spawn(async move { store.erase(&key).await })
            };
            let erased: Vec<_> = keys.iter().map(erase).collect();
            for erased in erased {
                erased.await.map_err(|why: UpdateError| why.to_string())?;
            }
        }
        Ok(())
    }
}

impl Appended {
    fn new_chunk(&mut self, size: u32) -> Tail {
        let key = ChunkKey::new(SLOT, APPEND_FILE, self.next_index);
        self.next_index += 1;
        Tail { key, version: ChunkVersion::new(0), len: 0, size }
    }
}
