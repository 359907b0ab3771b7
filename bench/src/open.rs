//! Suite `open`: how long a store takes to open, by number of chunks, beside reading the bytes of
//! its checkpoint.
//!
//! The store is fabricated by the format's own encoder in a sparse file: a checkpoint with a record
//! of every chunk, whose blocks are shuffled over the segments, and a superblock that names it. No
//! data is written. Files are read around the page cache, so every opening is a cold one. The peak
//! of the process's memory is said beside each row.

use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use engine_runtime::{Env, File as _, OpenOptions as Options};
use engine_shard::{ChunkStore, StoreConfig};
use engine_store::format::superblock::SUPERBLOCK_BYTES;
use engine_store::format::{
    CheckpointRef, FormatOptions, Layout, PAGE_BYTES, PageWriter, Pushed, Superblock,
};
use engine_store::{BlockAddress, BlockClass, ChunkKey, Head, Lsn, RecordRef, Slot, TruncateEpoch};
use engine_types::checksum::mix64;
use engine_types::{ChainVersion, ChunkSize, ChunkVersion, ClusterId, StoreId, WallTime};

use crate::cores::{self, join};
use crate::cpu::CpuReading;
use crate::runtime::{Main, Runtime};
use crate::suite::{Event, Figure, Opening, Plan, Row, Shown, Suite};

/// The entry of this suite.
pub(crate) const SUITE: Suite = Suite {
    name: "open",
    about: "opening a store of many chunks, cold",
    limit: "reading the bytes of its checkpoint, two at a time, on the same runtime",
    shown: Shown { cpu_shares: ["core", "others"], device_bytes: false, sized: false },
    rows,
    run,
};

/// Chunks of the stores.
const COUNTS: [u32; 2] = [1_000_000, 10_000_000];
/// Size of the chunks: eight checksums each, 29 million of them fill 14 TiB.
const CHUNK_BYTES: u32 = 512 << 10;
/// Runs of each side.
const PAIRS: usize = 3;
/// The count for which memory is projected.
const PROJECTED: u64 = 30_000_000;
/// Longest time of one row.
const ROW_TIME_MAX: Duration = Duration::from_secs(300);

fn rows(_: &Plan) -> Vec<String> {
    COUNTS.iter().flat_map(|&count| RUNTIMES.map(|runtime| name(count, runtime))).collect()
}

const RUNTIMES: [Runtime; 2] = [Runtime::Glommio, Runtime::Monoio];

fn name(count: u32, runtime: Runtime) -> String {
    format!("open-{}m-{}", count / 1_000_000, runtime.name())
}

fn run(plan: &Plan, report: &mut dyn FnMut(Event)) {
    for count in COUNTS {
        let wanted = RUNTIMES.iter().filter(|&&runtime| plan.wants(&name(count, runtime)));
        let wanted: Vec<Runtime> = wanted.copied().collect();
        if wanted.is_empty() {
            continue;
        }
        report(Event::Preparing(format!("writing the checkpoint of {count} chunks")));
        let store = Fabricated::new(&plan.storage.dir, count);
        for runtime in wanted {
            let name = name(count, runtime);
            report(Event::Starting(name.clone()));
            let measured = match &store {
                Ok(store) => measure(store, runtime, count, &name, report),
                Err(why) => Err(why.to_string()),
            };
            if let Err(reason) = measured {
                report(Event::Failed { name, reason });
            }
        }
    }
}

/// A store without data; its file goes with it.
struct Fabricated {
    path: PathBuf,
    checkpoint: u64,
    checkpoint_bytes: u64,
}

impl Drop for Fabricated {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            eprintln!("bench: {} stays: {error}", self.path.display());
        }
    }
}

impl Fabricated {
    fn new(dir: &Path, count: u32) -> io::Result<Self> {
        let path = dir.join(format!("open-{}-{count}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let mut store = Self { path, checkpoint: 0, checkpoint_bytes: 0 };
        // A quarter more than the chunks take.
        let size = u64::from(count) * u64::from(CHUNK_BYTES) / 4 * 5;
        let layout = Layout::plan(&FormatOptions::new(size)).map_err(io::Error::other)?;
        file.set_len(layout.size)?;
        let id = StoreId::new(0xe3be_6f5e);
        let mut superblock =
            Superblock::fresh(ClusterId::new(1), id, WallTime::from_nanos(0), layout, 7);
        let reference = write_checkpoint(&file, id, &layout, count)?;
        superblock.checkpoint = Some(reference);
        superblock.tail.lsn = reference.start;
        let mut page = [0; SUPERBLOCK_BYTES];
        superblock.encode(&mut page);
        file.write_all_at(&page, superblock.offset())?;
        file.sync_all()?;
        store.checkpoint = layout.halves[0].offset;
        store.checkpoint_bytes = reference.bytes;
        Ok(store)
    }
}

fn write_checkpoint(
    file: &File,
    id: StoreId,
    layout: &Layout,
    count: u32,
) -> io::Result<CheckpointRef> {
    let half = layout.halves[0];
    let mut writer = PageWriter::new(id, 1, 0, half.len, Lsn::new(1));
    let size = ChunkSize::new(CHUNK_BYTES).expect("a power of two");
    let class = BlockClass::holding(CHUNK_BYTES).expect("a block holds the chunk");
    let mut words = [0; 8];
    for nth in 0..count {
        // Odd factors permute the numbers below a power of two; those beyond the count are
        // stepped over, so that every block is used once, in no order.
        let block = shuffled(nth, count) * class.sectors();
        for (at, word) in (0u64..).zip(&mut words) {
            let random = mix64(u64::from(nth) << 3 | at);
            *word = u32::try_from(random >> 32).expect("the high half").max(1);
        }
        let head = Head {
            len: CHUNK_BYTES,
            data_end: CHUNK_BYTES,
            version: ChunkVersion::new(1),
            chain_version: ChainVersion::new(1),
            epoch: TruncateEpoch::new(0),
            size,
            class,
        };
        let record = RecordRef { head, block: BlockAddress::new(block), words: &words };
        let key = ChunkKey::new(Slot::new(0), u64::from(nth / 8) << 20, nth % 8);
        loop {
            match writer.push_chunk(&key, record) {
                Pushed::Done => break,
                Pushed::PageFull => {
                    let page = writer.seal();
                    file.write_all_at(page.bytes, half.offset + page.offset)?;
                }
                Pushed::HalfFull => return Err(io::Error::other("the half is too small")),
            }
        }
    }
    let (page, reference, _) = writer.finish();
    file.write_all_at(page.bytes, half.offset + page.offset)?;
    Ok(reference)
}

/// A permutation of the numbers below `count`.
fn shuffled(nth: u32, count: u32) -> u32 {
    let mask = count.next_power_of_two() - 1;
    let mut at = nth;
    loop {
        at = at.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15) & mask;
        if at < count {
            return at;
        }
    }
}

/// What one core is to do.
struct Job {
    path: PathBuf,
    checkpoint: u64,
    checkpoint_bytes: u64,
    pairs: usize,
}

/// Seconds and CPU time of both sides.
struct Times {
    open: Vec<(f64, f64)>,
    read: Vec<(f64, f64)>,
    index_bytes: u64,
    chunks: u64,
}

impl Main for Job {
    type Output = Result<Times, String>;

    async fn run<E: Env>(self, env: E) -> Self::Output {
        let mut times = Times { open: Vec::new(), read: Vec::new(), index_bytes: 0, chunks: 0 };
        for _ in 0..self.pairs {
            let began = (env.now(), CpuReading::now());
            let config = StoreConfig { read_only: true, ..StoreConfig::default() };
            let opened = ChunkStore::open(&env, &self.path, config).await;
            let (store, opened) = opened.map_err(|why| why.to_string())?;
            times.open.push(since(&env, began));
            times.index_bytes = opened.index_bytes;
            times.chunks = opened.chunks;
            store.close().await.map_err(|why| why.to_string())?;
            drop(store);
            let file = env.open(&self.path, Options::default()).await;
            let file = file.map_err(|why| why.to_string())?;
            let began = (env.now(), CpuReading::now());
            read_all::<E>(&file, &self).await.map_err(|why| why.to_string())?;
            times.read.push(since(&env, began));
        }
        Ok(times)
    }
}

fn since<E: Env>(env: &E, (at, cpu): (engine_types::Instant, CpuReading)) -> (f64, f64) {
    let wall = env.now().saturating_since(at).as_secs_f64();
    let used = CpuReading::now().since(cpu);
    (wall, Duration::from_nanos(used.client_nanos).as_secs_f64())
}

async fn read_all<E: Env>(file: &E::File, job: &Job) -> Result<(), engine_runtime::FileError> {
    let end = job.checkpoint + job.checkpoint_bytes;
    let start = |at: u64| {
        let len = (end - at).min(PAGE_BYTES as u64);
        file.read(at, usize::try_from(len).expect("a page"))
    };
    let mut at = job.checkpoint;
    let mut ahead = Some(start(at));
    while let Some(reading) = ahead.take() {
        at += PAGE_BYTES as u64;
        ahead = (at < end).then(|| start(at));
        reading.await?;
    }
    Ok(())
}

fn measure(
    store: &Fabricated,
    runtime: Runtime,
    count: u32,
    name: &str,
    report: &mut dyn FnMut(Event),
) -> Result<(), String> {
    let job = Job {
        path: store.path.clone(),
        checkpoint: store.checkpoint,
        checkpoint_bytes: store.checkpoint_bytes,
        pairs: PAIRS,
    };
    forget_peak();
    let (cpu, _) = cores::two_cpus();
    let (alive, ended) = mpsc::channel::<()>();
    let core = cores::spawn("open", cpu, runtime, Held { job, _alive: alive })?;
    if ended.recv_timeout(ROW_TIME_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
        eprintln!("bench: {name} does not end");
        std::process::exit(1);
    }
    let times = join(core)??;
    let mut ratios: Vec<f64> =
        times.open.iter().zip(&times.read).map(|((open, _), (read, _))| read / open).collect();
    ratios.sort_by(f64::total_cmp);
    let per_chunk = times.index_bytes as f64 / times.chunks as f64;
    let seconds = median(times.open.iter().map(|(wall, _)| *wall));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^53")]
    let projected_index_bytes = (per_chunk * PROJECTED as f64) as u64;
    let opening = Opening {
        seconds,
        checkpoint_bytes: store.checkpoint_bytes,
        read_seconds: median(times.read.iter().map(|(wall, _)| *wall)),
        index_bytes: times.index_bytes,
        index_bytes_per_chunk: per_chunk,
        projected_chunks: PROJECTED,
        projected_index_bytes,
        peak_bytes: peak_bytes(),
    };
    report(Event::Measured(Row {
        name: name.to_owned(),
        unit: "chunk/s",
        subject: figure(&times.open, count),
        limit: figure(&times.read, count),
        ratio: ratios[PAIRS / 2],
        ratio_min: ratios[0],
        ratio_max: ratios[PAIRS - 1],
        goal: None,
        pairs: PAIRS,
        slice_seconds: seconds,
        device: None,
        opening: Some(Box::new(opening)),
        kv: None,
        storage: None,
        meta: None,
    }));
    Ok(())
}

/// The job, and a sign that its core still runs.
struct Held {
    job: Job,
    _alive: mpsc::Sender<()>,
}

impl Main for Held {
    type Output = Result<Times, String>;

    async fn run<E: Env>(self, env: E) -> Self::Output {
        let Self { job, _alive } = self;
        job.run(env).await
    }
}

fn figure(times: &[(f64, f64)], count: u32) -> Figure {
    let count = f64::from(count);
    Figure {
        value: count / median(times.iter().map(|(wall, _)| *wall)),
        client_cpu_us_per_op: median(times.iter().map(|(_, cpu)| *cpu)) * 1e6 / count,
        server_cpu_us_per_op: 0.0,
        latency_us: None,
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Most memory that the process held since [`forget_peak`].
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Starts the peak of memory anew, so that it is not that of rows before (proc_pid_clear_refs(5)).
fn forget_peak() {
    if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
        eprintln!("bench: the peak of memory covers rows before: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_used_once() {
        for count in [1, 2, 3, 1000, 4096] {
            let mut all: Vec<u32> = (0..count).map(|nth| shuffled(nth, count)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}
