//! The order of I/O.
//!
//! Every acknowledgement promises bytes that stand nowhere else: the number that the data of an
//! update begins with, the number of its request in its record, the entry of a decision. The log of
//! file operations shows which writes carry them, and whether a flush covered those when the caller
//! was told. Without flushes, with a flush that nobody waits for, and with data that the flush does
//! not wait for, the same check fails.

use core::time::Duration;
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{PoisonError, RwLock};

use engine_runtime::traced::{Mark, Operation};
use engine_runtime::{Env, FileLog, FileOperation, Traced};
use engine_shard::{ChunkStore, CreateOptions, Payload, StoreConfig};
use engine_store::format::{FormatOptions, Layout, encode};
use engine_store::planted::{Bug, plant};
use engine_store::{
    Change, ChunkKey, Entry, Fence, Outcome, Slot, Tag, TargetRecord, TruncateEpoch, Update,
};
use engine_types::checksum::mix64;
use engine_types::{
    ChainVersion, ChannelId, ChunkSize, ChunkVersion, Map, Rng, SessionId, TargetId,
};

use crate::common::{SLOT, Unnamed, bytes, core, options, target};

/// Chunks that are written at the same time.
const CHUNKS: u32 = 8;
/// Updates of each.
const UPDATES: u32 = 20;
/// Bytes of a write that the log keeps: the largest group and the largest piece of data.
const KEPT: usize = 1 << 20;

/// A planted bug holds for the whole process.
static PLANTED: RwLock<()> = RwLock::new(());

/// Numbers that nothing else in the store is: the data's, the record's.
fn numbers(chunk: u32, update: u32) -> (u64, u64) {
    let name = u64::from(chunk) << 32 | u64::from(update);
    (mix64(name ^ 0xda7a), mix64(name ^ 0x4ec0))
}

/// A file of its own for each chunk: its number stands in every entry about it.
fn key(chunk: u32) -> ChunkKey {
    ChunkKey::new(SLOT, mix64(u64::from(chunk) ^ 0xc4u64), chunk)
}

/// Bytes that must be durable, with a number in them that few others hold.
struct Promise {
    number: u64,
    bytes: Vec<u8>,
}

impl Promise {
    fn number(number: u64) -> Self {
        Self { number, bytes: number.to_le_bytes().to_vec() }
    }

    fn entry(entry: &Entry, number: u64) -> Self {
        let mut bytes = Vec::new();
        encode(entry, &mut bytes);
        Self { number, bytes }
    }

    fn commit(key: ChunkKey, version: ChunkVersion) -> Self {
        Self::entry(&Entry::Commit { key, version }, key.chunk.inode.get())
    }

    fn text(&self) -> String {
        let hex: String = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:x}:{hex}", self.number)
    }

    fn parse(word: &str) -> Self {
        let (number, hex) = word.split_once(':').unwrap();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes = (0..hex.len()).step_by(2).map(byte).collect();
        Self { number: u64::from_str_radix(number, 16).unwrap(), bytes }
    }
}

/// What an acknowledgement promises.
fn mark(log: &FileLog, promises: &[Promise]) {
    let words: Vec<String> = promises.iter().map(Promise::text).collect();
    log.mark(words.join(" "));
}

/// What the tasks share.
struct Shared<E: Env> {
    env: Traced<E>,
    store: ChunkStore<Traced<E>>,
    log: FileLog,
    /// Commits that no `sync` has covered.
    commits: RefCell<Vec<Promise>>,
}

/// Updates, commits, aborts and decisions on a new store; every answer is marked.
async fn work<E: Env>(env: E, path: PathBuf, log: FileLog) {
    let env = Traced::new(env, log.clone());
    ChunkStore::format(&env, &path, &options()).await.unwrap();
    log.keep_data(KEPT);
    // Data is often written sooner than its group; here it is not.
    log.hold_writes(64 << 10, HOLD);
    let config = StoreConfig { apply_backlog: 8, ..StoreConfig::default() };
    let (store, _) = ChunkStore::open(&env, &path, config).await.unwrap();
    store.set_target(SLOT, Some(target())).await.unwrap();
    let shared = Rc::new(Shared { env: env.clone(), store, log, commits: RefCell::default() });
    let chunks: Vec<_> =
        (0..CHUNKS).map(|chunk| env.spawn(write_chunk(shared.clone(), chunk))).collect();
    let decisions = env.spawn(decide(shared.clone()));
    for chunk in chunks {
        chunk.await;
    }
    decisions.await;
    shared.store.close().await.unwrap();
}

/// One update after the other: small, large, appended, overwritten; at last the chunk is erased.
async fn write_chunk<E: Env>(shared: Rc<Shared<E>>, chunk: u32) {
    let Shared { env, store, log, commits } = &*shared;
    let key = key(chunk);
    let size = ChunkSize::new(1 << 20).unwrap();
    let mut rng = Rng::new(u64::from(chunk));
    let mut version = ChunkVersion::new(1);
    for update in 0..UPDATES {
        let (data, record) = numbers(chunk, update);
        let len = [24, 4096, 5000, 70_000, 900_000][usize::try_from(rng.below(5)).unwrap()];
        let mut content = vec![0; len];
        rng.fill_bytes(&mut content);
        content[..8].copy_from_slice(&data.to_le_bytes());
        let places = u64::from(size.bytes()) - len as u64;
        let offset = u32::try_from(rng.below(places)).unwrap();
        // The number never crosses a sector, parts of which may take different ways.
        let offset = if rng.chance(500) { offset / 4096 * 4096 } else { offset / 8 * 8 };
        let change = Change::Write { offset, len: u32::try_from(len).unwrap() };
        let session = SessionId::new(1 << 40 | u64::from(chunk));
        // Numbers of requests ascend: the upper bits count, the lower ones are found again.
        let seq = u64::from(update) << 56 | record >> 8;
        let update = Update {
            key,
            version,
            chain_version: ChainVersion::new(1),
            epoch: TruncateEpoch::default(),
            size,
            change,
            tag: Some(Tag { session, channel: ChannelId::new(0), seq }),
        };
        let payload = Payload::new(offset, bytes(env, &content).await);
        store.update(update, payload).await.unwrap();
        mark(log, &[Promise::number(data), Promise::number(seq)]);
        if rng.chance(800) {
            store.commit(&key, version).unwrap();
            commits.borrow_mut().push(Promise::commit(key, version));
            version = version.next().unwrap();
        } else {
            store.abort(&key, version).await.unwrap();
            let entry = Entry::Abort { key, version };
            mark(log, &[Promise::entry(&entry, key.chunk.inode.get())]);
        }
    }
    assert!(store.erase(&key).await.unwrap());
    mark(log, &[Promise::entry(&Entry::Erase { key }, key.chunk.inode.get())]);
}

/// Decisions without data, and those that were made before.
async fn decide<E: Env>(shared: Rc<Shared<E>>) {
    let Shared { store, log, commits, .. } = &*shared;
    for round in 0..ROUNDS {
        let number = mix64(0xdec1de ^ u64::from(round));
        let session = SessionId::new(number);
        let entry = match round % 5 {
            0 => {
                store.fence(Fence::One(session)).await.unwrap();
                Entry::Fence(Fence::One(session))
            }
            1 => {
                store.fence(Fence::One(session)).await.unwrap();
                store.drop_session(session).await.unwrap();
                Entry::DedupDrop { session }
            }
            2 => {
                let slot = Slot::new(u16::try_from(round).unwrap());
                let record = Some(TargetRecord { target: TargetId::new(number), ..target() });
                store.set_target(slot, record).await.unwrap();
                Entry::Target { slot, record }
            }
            3 => {
                let tag = Tag { session, channel: ChannelId::new(1), seq: 1 };
                let version = ChunkVersion::new(1);
                let outcome = Outcome { seq: 1, key: key(0), version, len: 1 };
                store.put_outcome(SLOT, tag, outcome).await.unwrap();
                Entry::Dedup { slot: SLOT, tag, outcome }
            }
            _ => {
                let before = commits.take();
                store.sync().await.unwrap();
                mark(log, &before);
                continue;
            }
        };
        mark(log, &[Promise::entry(&entry, number)]);
    }
}

/// For every mark: each promise was written as often as it was made, and whatever carried it before
/// the mark was covered by a flush that had ended by then. The first one for which that does not
/// hold.
fn check(log: &FileLog) -> Result<usize, String> {
    let marks = log.marks();
    let promises = |mark: &Mark| -> Vec<Promise> {
        mark.text.split_ascii_whitespace().map(Promise::parse).collect()
    };
    let mut wanted: Map<u64, Vec<Vec<u8>>> = Map::default();
    for Promise { number, bytes } in marks.iter().flat_map(promises) {
        let all = wanted.entry(number).or_default();
        if !all.contains(&bytes) {
            all.push(bytes);
        }
    }
    let mut writes = log.of(FileOperation::Write);
    // A checkpoint repeats what the journal holds; nobody is told anything because of it.
    let halves = layout().halves;
    writes.retain(|write| halves.iter().all(|half| !write.overlaps(half.offset, half.len)));
    let carriers = carriers(&writes, &wanted);
    let mut made: Map<Vec<u8>, usize> = Map::default();
    for mark in &marks {
        for Promise { number, bytes } in promises(mark) {
            let made = made.entry(bytes.clone()).or_default();
            *made += 1;
            let all = carriers.get(&bytes).into_iter().flatten().copied();
            let before: Vec<&Operation> = all.filter(|write| write.began < mark.at).collect();
            if before.len() < *made {
                return Err(format!("{number:x} was acknowledged and never written"));
            }
            if let Some(write) = before.into_iter().find(|write| !log.is_flushed(write, mark.at)) {
                let Operation { position, len, .. } = write;
                return Err(format!("{number:x}: {len} bytes at {position} were not durable"));
            }
        }
    }
    Ok(marks.len())
}

fn layout() -> Layout {
    let CreateOptions { size, journal_bytes, index_bytes, dedup_channels, .. } = options();
    let size = size.unwrap();
    Layout::plan(&FormatOptions { size, journal_bytes, index_bytes, dedup_channels }).unwrap()
}

/// The writes that hold each promise, wherever it stands in them.
fn carriers<'a>(
    writes: &'a [Operation],
    wanted: &Map<u64, Vec<Vec<u8>>>,
) -> Map<Vec<u8>, Vec<&'a Operation>> {
    let mut carriers: Map<Vec<u8>, Vec<&Operation>> = Map::default();
    for write in writes {
        for (at, window) in write.data.windows(8).enumerate() {
            let number = u64::from_le_bytes(*window.first_chunk().unwrap());
            for promise in wanted.get(&number).into_iter().flatten() {
                let within = promise.windows(8).position(|window| window == number.to_le_bytes());
                let Some(start) = at.checked_sub(within.unwrap()) else { continue };
                if write.data[start..].starts_with(promise) {
                    carriers.entry(promise.clone()).or_default().push(write);
                }
            }
        }
    }
    carriers
}

/// Rounds of decisions.
const ROUNDS: u32 = 50;
/// Acknowledgements of one run.
const MARKS_MIN: usize = (CHUNKS * UPDATES + CHUNKS + ROUNDS) as usize;

fn on_glommio(name: &str, skip: bool) -> FileLog {
    let (file, log) = (Unnamed::new(name), FileLog::new());
    log.skip_flushes(skip);
    let (path, inner) = (file.path(), log.clone());
    engine_runtime::glommio::run(core(name), |env| work(env, path, inner)).unwrap();
    log
}

fn on_monoio(name: &str, skip: bool) -> FileLog {
    let (file, log) = (Unnamed::new(name), FileLog::new());
    log.skip_flushes(skip);
    let (path, inner) = (file.path(), log.clone());
    engine_runtime::monoio::run(core(name), move |env| work(env, path, inner)).unwrap();
    log
}

/// That the checks of a run held for all its acknowledgements.
fn assert_flushed(log: &FileLog) {
    match check(log) {
        Ok(marks) => assert!(MARKS_MIN < marks, "{marks} acknowledgements"), // and some aborts
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn an_acknowledgement_follows_its_flush_on_glommio() {
    let _none = PLANTED.read().unwrap_or_else(PoisonError::into_inner);
    assert_flushed(&on_glommio("trace-g", false));
}

#[test]
fn an_acknowledgement_follows_its_flush_on_monoio() {
    let _none = PLANTED.read().unwrap_or_else(PoisonError::into_inner);
    assert_flushed(&on_monoio("trace-m", false));
}

#[test]
fn without_flushes_the_check_fails() {
    let _none = PLANTED.read().unwrap_or_else(PoisonError::into_inner);
    for log in [on_glommio("no-flush-g", true), on_monoio("no-flush-m", true)] {
        assert!(0 < log.skipped_flushes());
        assert!(check(&log).is_err(), "S11: the check must see that nothing is flushed");
    }
}

/// A run in which a merge reads what is not written yet ends early, and says nothing about the
/// check.
#[test]
fn a_store_that_does_not_wait_is_found() {
    let _alone = PLANTED.write().unwrap_or_else(PoisonError::into_inner);
    for bug in [Bug::ToldBeforeFlush, Bug::DataNotAwaited] {
        for run in [on_glommio, on_monoio] {
            plant(Some(bug));
            let runs = (0..RUNS_MAX).map(|_| std::panic::catch_unwind(|| run("planted", false)));
            let found = runs.flatten().any(|log| check(&log).is_err());
            plant(None);
            assert!(found, "S11: the check must see {bug:?}");
        }
    }
}

/// Runs within which a bug is seen; the first one as a rule.
const RUNS_MAX: u32 = 5;
/// Longer than the writing of a group takes as a rule.
const HOLD: Duration = Duration::from_millis(3);
