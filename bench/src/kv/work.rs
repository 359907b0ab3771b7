//! What is measured and what it is measured against: a file, an engine, transactions.

use core::cell::{Cell, RefCell};
use core::fmt::Display;
use core::ops::{AddAssign, Sub};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use engine_runtime::Env;
use meta_kv::engine::Batch;
use meta_kv::{
    Embedded, EngineError, EngineSnapshot, Kv, KvEngine, KvError, OwnKv, RangeRead, ReadMode,
    Source, Transaction, TransactionOptions,
};
use meta_kvd::Remote;

use super::keys::{PAGE_ENTRIES, Task, VALUE_BYTES, key};
use super::place::{Watch, disk_bytes, nameless};
use super::shape::Work;

/// Reads of a bare engine in one blocking call: the hand-over to a thread is not its price.
const READS_PER_CALL: u64 = 256;
/// A log that goes round: its file has all its blocks, so that a flush writes data alone.
const LOG_BYTES: u64 = 64 << 20;

/// Something that answers operations.
pub(super) trait Subject<E: Env>: 'static {
    /// Tasks that use it at the same time.
    fn tasks(&self) -> u64;

    /// Does the next operation of a task; says how many it was.
    async fn operate(&self, env: &E, task: &mut Task) -> Result<u64, String>;

    /// Counts since it was opened.
    async fn counters(&self) -> Result<Counters, String>;
}

/// Counts of a subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) commits: u64,
    pub(super) groups: u64,
    /// Nothing where the engine does not tell.
    pub(super) flushes: Option<u64>,
    pub(super) read_bytes: u64,
    pub(super) written_bytes: u64,
}

impl Counters {
    fn of((commits, groups): (u64, u64), watch: &Watch) -> Result<Self, String> {
        let (read_bytes, written_bytes) = disk_bytes().map_err(text)?;
        Ok(Self { commits, groups, flushes: watch.flushes(), read_bytes, written_bytes })
    }
}

impl Sub for Counters {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            commits: self.commits - earlier.commits,
            groups: self.groups - earlier.groups,
            flushes: self.flushes.zip(earlier.flushes).map(|(now, then)| now - then),
            read_bytes: self.read_bytes - earlier.read_bytes,
            written_bytes: self.written_bytes - earlier.written_bytes,
        }
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, more: Self) {
        self.commits += more.commits;
        self.groups += more.groups;
        self.flushes = more.flushes.map(|more| self.flushes.unwrap_or(0) + more);
        self.read_bytes += more.read_bytes;
        self.written_bytes += more.written_bytes;
    }
}

pub(crate) fn text(error: impl Display) -> String {
    error.to_string()
}

/// A file that is written at its end, or round and round, and flushed each time: the least that a
/// durable group can cost.
pub(super) struct Log {
    file: Arc<File>,
    /// Goes round within what was written before; else it grows.
    round: bool,
    at: Cell<u64>,
    bytes: Arc<Vec<u8>>,
    /// Operations that one append stands for.
    ops: u64,
    watch: Watch,
    appends: Cell<u64>,
}

impl Log {
    /// One whose appends hold `ops` operations of `work`.
    pub(super) fn new(
        folder: &Path,
        work: Work,
        ops: u64,
        round: bool,
    ) -> Result<Rc<Self>, String> {
        let file = nameless(folder).map_err(text)?;
        if round {
            let zeros = vec![0x5a; 1 << 20];
            for mib in 0..LOG_BYTES >> 20 {
                file.write_all_at(&zeros, mib << 20).map_err(text)?;
            }
            file.sync_all().map_err(text)?;
        }
        let bytes = work.bytes() * usize::try_from(ops).map_err(text)?;
        Ok(Rc::new(Self {
            file: Arc::new(file),
            round,
            at: Cell::new(0),
            bytes: Arc::new(vec![0xa5; bytes]),
            ops,
            watch: Watch::default(),
            appends: Cell::new(0),
        }))
    }
}

impl<E: Env> Subject<E> for Log {
    fn tasks(&self) -> u64 {
        1
    }

    async fn operate(&self, env: &E, _: &mut Task) -> Result<u64, String> {
        let (file, bytes, mut at) = (self.file.clone(), self.bytes.clone(), self.at.get());
        let len = bytes.len() as u64;
        if self.round && LOG_BYTES < at + len {
            at = 0;
        }
        self.at.set(at + len);
        let append = move || -> io::Result<()> {
            file.write_all_at(&bytes, at)?;
            file.sync_data()
        };
        env.blocking(append).await.map_err(text)?;
        self.appends.set(self.appends.get() + 1);
        Ok(self.ops)
    }

    async fn counters(&self) -> Result<Counters, String> {
        let groups = self.appends.get();
        Counters::of((groups * self.ops, groups), &self.watch)
    }
}

/// An engine alone: batches of as many transactions as tasks would bring.
pub(super) struct Bare<G> {
    engine: Arc<G>,
    watch: Arc<Watch>,
    work: Work,
    tasks: RefCell<Vec<Task>>,
    batches: Cell<u64>,
    ops: Cell<u64>,
}

impl<G: KvEngine> Bare<G> {
    pub(super) fn new(engine: Arc<G>, watch: Arc<Watch>, work: Work, tasks: Vec<Task>) -> Rc<Self> {
        let (tasks, batches, ops) = (RefCell::new(tasks), Cell::new(0), Cell::new(0));
        Rc::new(Self { engine, watch, work, tasks, batches, ops })
    }

    fn batch(&self) -> Batch {
        let version = self.engine.version() + 1;
        let mut tasks = self.tasks.borrow_mut();
        let sets = tasks.iter_mut().flat_map(|task| match self.work {
            Work::Set(place) | Work::ReadSet(place) => task.next_sets(place),
            _ => unreachable!("a batch is of writes"),
        });
        Batch { version, mutations: sets.collect() }
    }

    async fn write<E: Env>(&self, env: &E) -> Result<u64, String> {
        let (batch, engine) = (self.batch(), self.engine.clone());
        let version = batch.version;
        env.blocking(move || engine.apply(&batch)).await.map_err(text)?;
        self.watch.acknowledged(version)?;
        Ok(self.tasks.borrow().len() as u64)
    }

    async fn read<E: Env>(&self, env: &E, task: &Task) -> Result<u64, String> {
        let (mut task, engine, work) = (task.clone(), self.engine.clone(), self.work);
        let seed = env.random();
        let read = move || -> Result<(), EngineError> {
            let snapshot = engine.snapshot()?;
            task = task.reseeded(seed);
            for _ in 0..READS_PER_CALL {
                let found = match work {
                    Work::Get => snapshot.get(&key(task.any(0)))?.map_or(0, |value| value.len()),
                    _ => snapshot.range(&page(&mut task))?.entries.len(),
                };
                assert_eq!(found, expected(work), "the store was filled");
            }
            Ok(())
        };
        env.blocking(read).await.map_err(text)?;
        Ok(READS_PER_CALL)
    }
}

/// A read of a page from a random key on.
fn page(task: &mut Task) -> RangeRead {
    let from = key(task.any(PAGE_ENTRIES - 1));
    let range = meta_kv::KeyRange::new(from, key(u64::MAX >> 8));
    RangeRead::new(range).limit(PAGE_ENTRIES)
}

/// Bytes of a value, or entries of a page.
fn expected(work: Work) -> usize {
    if work == Work::Get { VALUE_BYTES } else { PAGE_ENTRIES }
}

impl<E: Env, G: KvEngine> Subject<E> for Bare<G> {
    fn tasks(&self) -> u64 {
        1
    }

    async fn operate(&self, env: &E, task: &mut Task) -> Result<u64, String> {
        let ops = if self.work.is_write() {
            self.batches.set(self.batches.get() + 1);
            self.write(env).await?
        } else {
            self.read(env, task).await?
        };
        self.ops.set(self.ops.get() + ops);
        Ok(ops)
    }

    async fn counters(&self) -> Result<Counters, String> {
        Counters::of((self.ops.get(), self.batches.get()), &self.watch)
    }
}

/// A store that counts its groups.
pub(super) trait Grouped: Source {
    /// Commits and the groups they were written in.
    async fn groups(&self) -> Result<(u64, u64), String>;
}

impl<E: Env, G: KvEngine> Grouped for Embedded<E, G> {
    async fn groups(&self) -> Result<(u64, u64), String> {
        let stats = self.stats();
        Ok((stats.commits, stats.groups))
    }
}

impl<E: Env> Grouped for Remote<E> {
    async fn groups(&self) -> Result<(u64, u64), String> {
        let told = self.status().await.map_err(text)?.told;
        Ok((told.commits, told.groups))
    }
}

/// Transactions as their users make them.
pub(super) struct Transactions<E, S> {
    kv: OwnKv<E, S>,
    watch: Arc<Watch>,
    work: Work,
    tasks: u64,
}

impl<E: Env, S: Grouped> Transactions<E, S> {
    pub(super) fn new(env: &E, source: S, watch: Arc<Watch>, work: Work, tasks: u64) -> Rc<Self> {
        Rc::new(Self { kv: OwnKv::new(env.clone(), source), watch, work, tasks })
    }

    async fn once(&self, task: &mut Task) -> Result<(), KvError> {
        let wrong = |what: &str| KvError::Failed { reason: what.to_owned() };
        let transaction = self.kv.begin(TransactionOptions::default());
        match self.work {
            Work::Append => return Err(wrong("no append to a store")),
            Work::Get => {
                let found = transaction.get(&key(task.any(0)), ReadMode::Snapshot).await?;
                if found.is_none_or(|value| value.len() != expected(self.work)) {
                    return Err(wrong("a value is missing"));
                }
            }
            Work::Page => {
                let found = transaction.range(page(task), ReadMode::Snapshot).await?;
                if found.entries.len() != expected(self.work) {
                    return Err(wrong("a page is short"));
                }
            }
            Work::Set(place) | Work::ReadSet(place) => {
                let indexes = task.next(place);
                if matches!(self.work, Work::ReadSet(_)) {
                    let found = transaction.get(&key(indexes[0]), ReadMode::Conflict).await?;
                    if found.is_none() {
                        return Err(wrong("a value is missing"));
                    }
                }
                for index in indexes {
                    transaction.set(&key(index), &task.value())?;
                }
                let committed = transaction.commit().await?;
                let durable = self.watch.acknowledged(committed.version);
                durable.map_err(|reason| KvError::Failed { reason })?;
            }
        }
        Ok(())
    }
}

impl<E: Env, S: Grouped> Subject<E> for Transactions<E, S> {
    fn tasks(&self) -> u64 {
        self.tasks
    }

    async fn operate(&self, _: &E, task: &mut Task) -> Result<u64, String> {
        self.once(task).await.map_err(text)?;
        Ok(1)
    }

    async fn counters(&self) -> Result<Counters, String> {
        Counters::of(self.kv.source().groups().await?, &self.watch)
    }
}
