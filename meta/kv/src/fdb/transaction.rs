//! One transaction on the library.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::time::Duration;

use ::foundationdb::options::{ConflictRangeType, MutationType, StreamingMode, TransactionOption};
use ::foundationdb::{FdbError, FdbResult, KeySelector, RangeOption};
use engine_runtime::{Env, until};
use engine_types::Instant;

use super::code::{Call, Moment, kv_error};
use super::form;
use super::network::FdbStore;
use super::recheck::Recheck;
use crate::api::{
    Committed, Kv, Page, RangeRead, ReadMode, Transaction, TransactionOptions, Versionstamp,
};
use crate::buffer::{Buffer, Found};
use crate::error::KvError;
use crate::key::{KeyRange, check_key};
use crate::limits::{PAGE_BYTES_MAX, TRANSACTION_BYTES_MAX};
use crate::mutation::{AtomicOp, Mutation};

type Library = ::foundationdb::Transaction;

/// How long the library may be late with its own timeout before ours ends the wait (E225). Its
/// thread serves all cores and is late under load; when it has stopped it says nothing at all.
const LIBRARY_LATE_MAX: Duration = Duration::from_secs(1);

/// A [`Kv`] on a FoundationDB cluster, of one core.
#[derive(Clone)]
pub struct FdbKv<E> {
    env: E,
    store: FdbStore,
}

impl<E: Env> FdbKv<E> {
    /// Transactions on `store`, timed by `env`.
    pub fn new(env: E, store: FdbStore) -> Self {
        Self { env, store }
    }
}

impl<E: Env> Kv for FdbKv<E> {
    type Transaction = FdbTransaction<E>;

    fn begin(&self, options: TransactionOptions) -> Self::Transaction {
        let limit_ms = form::timeout_ms(options.timeout);
        FdbTransaction {
            env: self.env.clone(),
            library: begin(&self.store, limit_ms),
            limit_ms: u64::try_from(limit_ms).expect("E225: a timeout is at least 1"),
            give_up_at: self.env.now() + options.timeout,
            bytes_max: options.bytes_max.min(TRANSACTION_BYTES_MAX),
            buffer: RefCell::default(),
            refused: RefCell::new(None),
            has_read: Cell::new(false),
        }
    }

    fn now(&self) -> Instant {
        self.env.now()
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> {
        self.env.sleep_until(at)
    }

    fn random(&self) -> u64 {
        self.env.random()
    }
}

/// A transaction of the library with every limit set (E225).
fn begin(store: &FdbStore, limit_ms: i32) -> Result<Library, FdbError> {
    let library = store.database.create_trx()?;
    library.set_option(TransactionOption::Timeout(limit_ms))?;
    // `on_error` is never called: the loop around the trait begins anew. This keeps it honest.
    library.set_option(TransactionOption::RetryLimit(0))?;
    // Not the caller's limit: the library counts some 50 bytes more per write than all backends
    // agree on, and would refuse what they take. The caller's is judged at the commit.
    let size = i32::try_from(TRANSACTION_BYTES_MAX).expect("10 MB");
    library.set_option(TransactionOption::SizeLimit(size))?;
    Ok(library)
}

/// A transaction on a FoundationDB cluster.
pub struct FdbTransaction<E> {
    env: E,
    library: Result<Library, FdbError>,
    limit_ms: u64,
    give_up_at: Instant,
    bytes_max: usize,
    /// What the other backends keep of own writes: it judges limits and unreadable keys, and counts
    /// bytes, as there (E227). Values come from the library's own view of own writes.
    buffer: RefCell<Buffer>,
    /// The first refused write: the commit answers it again.
    refused: RefCell<Option<KvError>>,
    /// Whether the library was asked for anything that fixes a read version.
    has_read: Cell<bool>,
}

impl<E: Env> FdbTransaction<E> {
    /// The library's transaction, about to read.
    fn reading(&self) -> Result<&Library, KvError> {
        self.has_read.set(true);
        self.library.as_ref().map_err(|error| self.error(*error, Moment::Before(None)))
    }

    fn error(&self, error: FdbError, moment: Moment<'_>) -> KvError {
        let bytes = self.buffer.borrow().size();
        let call = Call { moment, limit_ms: self.limit_ms, bytes };
        kv_error(error.code(), error.message(), &call)
    }

    /// An answer to a read of `subject`.
    async fn answer<T>(
        &self,
        subject: Option<&[u8]>,
        work: impl Future<Output = FdbResult<T>> + Unpin,
    ) -> Result<T, KvError> {
        match until(&self.env, self.give_up_at + LIBRARY_LATE_MAX, Recheck(work)).await {
            Ok(answer) => answer.map_err(|error| self.error(error, Moment::Before(subject))),
            Err(_) => Err(KvError::TimedOut { limit_ms: self.limit_ms }),
        }
    }

    /// A page, gathered from answers of the library: with a target of bytes each is one reply of a
    /// storage server, 80 kB at most, and without one it has no end.
    async fn page(&self, read: &RangeRead, mode: ReadMode) -> Result<Page, KvError> {
        let library = self.reading()?;
        let limit = read.limit.max(1);
        let (mut page, mut bytes) = (Page { entries: Vec::new(), more: true }, 0);
        let mut rest = read.clone();
        while page.more && page.entries.len() < limit && bytes < PAGE_BYTES_MAX {
            let option = RangeOption {
                begin: KeySelector::first_greater_or_equal(rest.range.begin.as_slice()),
                end: KeySelector::first_greater_or_equal(rest.range.end.as_slice()),
                limit: Some(limit - page.entries.len()),
                target_bytes: PAGE_BYTES_MAX - bytes,
                mode: StreamingMode::WantAll,
                reverse: read.reverse,
                ..RangeOption::default()
            };
            let work = library.get_range(&option, 1, mode == ReadMode::Snapshot);
            let answer = self.answer(Some(&read.range.begin), work).await?;
            for entry in answer.iter() {
                bytes += entry.key().len() + entry.value().len();
                page.entries.push((entry.key().to_vec(), entry.value().to_vec()));
            }
            // An answer without entries is the end, as in the library's own iterators.
            page.more = answer.more() && !answer.is_empty();
            if let Some((last, _)) = page.entries.last().filter(|_| page.more) {
                rest = rest.behind(last);
                page.more = !rest.range.is_empty();
            }
        }
        Ok(page)
    }
}

impl<E: Env> Transaction for FdbTransaction<E> {
    async fn read_version(&self) -> Result<u64, KvError> {
        let version = self.answer(None, self.reading()?.get_read_version()).await?;
        u64::try_from(version).map_err(|_| KvError::Failed {
            reason: format!("FoundationDB answered the read version {version}"),
        })
    }

    async fn get(&self, key: &[u8], mode: ReadMode) -> Result<Option<Vec<u8>>, KvError> {
        check_key(key)?;
        let found = self.buffer.borrow_mut().find(key, mode)?;
        if let Found::Known(value) = found {
            return Ok(value); // as the library would answer it, without a conflict
        }
        let work = self.reading()?.get(key, mode == ReadMode::Snapshot);
        Ok(self.answer(Some(key), work).await?.map(|value| value.to_vec()))
    }

    async fn range(&self, read: RangeRead, mode: ReadMode) -> Result<Page, KvError> {
        read.range.check()?;
        self.buffer.borrow().readable(&read.range)?;
        if read.range.is_empty() {
            return Ok(Page::default());
        }
        let page = self.page(&read, mode).await?;
        if mode == ReadMode::Conflict {
            self.buffer.borrow_mut().note_page(&read, &page);
        }
        Ok(page)
    }

    fn mutate(&self, mutation: Mutation) -> Result<(), KvError> {
        if let Err(error) = form::check(&mutation) {
            self.refused.borrow_mut().get_or_insert_with(|| error.clone());
            return Err(error);
        }
        if let Ok(library) = &self.library {
            apply(library, &mutation);
        }
        self.buffer.borrow_mut().mutate(mutation)
    }

    fn add_read_conflict(&self, range: KeyRange) -> Result<(), KvError> {
        self.buffer.borrow_mut().add_read_conflict(range.clone())?;
        self.add_conflict(&range, ConflictRangeType::Read)
    }

    fn add_write_conflict(&self, range: KeyRange) -> Result<(), KvError> {
        self.add_conflict(&range, ConflictRangeType::Write)?;
        self.buffer.borrow_mut().note_written(range);
        Ok(())
    }

    fn size(&self) -> usize {
        self.buffer.borrow().size()
    }

    async fn commit(self) -> Result<Committed, KvError> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        let (found, limit) = (self.size(), self.bytes_max);
        if limit < found {
            return Err(KvError::TooLarge { found, limit });
        }
        if self.buffer.borrow().is_read_only() {
            // Nothing to send: a snapshot needs no consent. The version is at hand.
            let version = if self.has_read.get() { self.read_version().await? } else { 0 };
            return Ok(Committed { version, stamp: None });
        }
        let call = Call { moment: Moment::Commit, limit_ms: self.limit_ms, bytes: found };
        let library = match self.library {
            Ok(library) => library,
            Err(error) => {
                let before = Call { moment: Moment::Before(None), ..call };
                return Err(kv_error(error.code(), error.message(), &before));
            }
        };
        if self.give_up_at <= self.env.now() {
            // Said before anything is sent, it is a plain "no"; from the commit, it is unknown.
            return Err(KvError::TimedOut { limit_ms: self.limit_ms });
        }
        commit(&self.env, self.give_up_at + LIBRARY_LATE_MAX, library, &call).await
    }
}

impl<E: Env> FdbTransaction<E> {
    fn add_conflict(&self, range: &KeyRange, kind: ConflictRangeType) -> Result<(), KvError> {
        range.check()?;
        let Ok(library) = &self.library else { return Ok(()) }; // the commit says so
        if range.is_empty() {
            return Ok(());
        }
        let added = library.add_conflict_range(&range.begin, &range.end, kind);
        added.map_err(|error| self.error(error, Moment::Before(Some(&range.begin))))
    }
}

/// Commits writes. Once the library was called, only [`kv_error`] says "nothing happened" (E226).
async fn commit<E: Env>(
    env: &E,
    give_up_at: Instant,
    library: Library,
    call: &Call<'_>,
) -> Result<Committed, KvError> {
    let unknown = |reason: String| KvError::UnknownResult { reason };
    // Asked for before the commit, answered after it: a committed transaction has forgotten it.
    let stamp = library.get_versionstamp();
    let answer = until(env, give_up_at, Recheck(library.commit())).await;
    let committed = answer
        .map_err(|_| unknown(format!("no answer within {} ms", call.limit_ms)))?
        .map_err(|error| kv_error(error.code(), error.message(), call))?;
    let version = committed.committed_version();
    let version = version.map_err(|error| unknown(format!("committed, but {error}")))?;
    let Ok(version) = u64::try_from(version) else {
        return Ok(Committed { version: 0, stamp: None }); // -1: nothing to write, to the library
    };
    let stamp = until(env, give_up_at, Recheck(stamp)).await;
    let stamp = stamp.map_err(|_| unknown("committed, but no versionstamp came".to_owned()))?;
    let stamp = stamp.map_err(|error| unknown(format!("committed, but {error}")))?;
    let bytes = <[u8; _]>::try_from(&*stamp);
    let bytes = bytes.map_err(|_| unknown(format!("a versionstamp of {} bytes", stamp.len())))?;
    Ok(Committed { version, stamp: Some(Versionstamp(bytes)) })
}

/// Hands a checked write to the library, which buffers it; it answers nothing (E227).
fn apply(library: &Library, mutation: &Mutation) {
    match mutation {
        Mutation::Set { key, value } => library.set(key, value),
        Mutation::Clear { range } if range.is_empty() => {}
        Mutation::Clear { range } => library.clear_range(&range.begin, &range.end),
        Mutation::Atomic { op, key, operand } => {
            library.atomic_op(key, operand, mutation_type(*op));
        }
        Mutation::StampedKey { key, offset, value } => {
            let key = form::with_offset(key, *offset);
            library.atomic_op(&key, value, MutationType::SetVersionstampedKey);
        }
        Mutation::StampedValue { key, value, offset } => {
            let value = form::with_offset(value, *offset);
            library.atomic_op(key, &value, MutationType::SetVersionstampedValue);
        }
    }
}

pub(super) fn mutation_type(op: AtomicOp) -> MutationType {
    match op {
        AtomicOp::Add => MutationType::Add,
        AtomicOp::And => MutationType::BitAnd,
        AtomicOp::Or => MutationType::BitOr,
        AtomicOp::Xor => MutationType::BitXor,
        AtomicOp::AppendIfFits => MutationType::AppendIfFits,
        AtomicOp::Max => MutationType::Max,
        AtomicOp::Min => MutationType::Min,
        AtomicOp::ByteMin => MutationType::ByteMin,
        AtomicOp::ByteMax => MutationType::ByteMax,
        AtomicOp::CompareAndClear => MutationType::CompareAndClear,
    }
}
