//! The trait that roles are written against.

use core::fmt;
use core::future::Future;
use core::time::Duration;

use engine_types::Instant;

use crate::error::KvError;
use crate::key::KeyRange;
use crate::limits::{PAGE_ENTRIES_MAX, TRANSACTION_BYTES_MAX, VERSIONSTAMP_BYTES};
use crate::mutation::{AtomicOp, Mutation};

/// Whether what was read can make the commit fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadMode {
    /// A later write by another makes the commit fail (serialisable).
    Conflict,
    /// It does not (snapshot).
    Snapshot,
}

/// A read of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRead {
    /// The keys.
    pub range: KeyRange,
    /// Entries at most, from 1; a page also ends after about a megabyte.
    pub limit: usize,
    /// From the last key to the first.
    pub reverse: bool,
}

impl RangeRead {
    /// The whole of `range`, in order, page by page.
    pub fn new(range: KeyRange) -> Self {
        Self { range, limit: PAGE_ENTRIES_MAX, reverse: false }
    }

    /// At most `limit` entries; 0 counts as 1.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit: limit.max(1), ..self }
    }

    /// Last key first.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { reverse: true, ..self }
    }

    /// The read that goes on behind `last`, the last key of a page.
    #[must_use]
    pub fn behind(&self, last: &[u8]) -> Self {
        let mut next = self.clone();
        if self.reverse {
            next.range.end = last.to_vec();
        } else {
            next.range.begin = crate::key::after(last);
        }
        next
    }
}

/// Entries of a range, in the order of the read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and values.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether the range may hold further ones: read on with [`RangeRead::behind`]. A page that
    /// says so holds at least one entry.
    pub more: bool,
}

/// Order of a commit among all commits: version, then place in its group, both big-endian so that
/// bytewise order is commit order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Versionstamp(pub [u8; VERSIONSTAMP_BYTES]);

impl Versionstamp {
    /// Of a commit at `version`, the `order`th of its group.
    #[expect(clippy::big_endian_bytes, reason = "keys are compared bytewise")]
    pub fn new(version: u64, order: u16) -> Self {
        let mut bytes = [0; VERSIONSTAMP_BYTES];
        bytes[..8].copy_from_slice(&version.to_be_bytes());
        bytes[8..].copy_from_slice(&order.to_be_bytes());
        Self(bytes)
    }
}

/// Hexadecimal digits.
impl fmt::Display for Versionstamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Versionstamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Versionstamp({self})")
    }
}

/// What a commit answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Version of the commit; for a transaction without writes its read version, or 0 if it read
    /// nothing.
    pub version: u64,
    /// What was written into versionstamped keys and values; nothing without writes.
    pub stamp: Option<Versionstamp>,
}

/// One transaction. Reads see a snapshot and the transaction's own writes (E204); writes are kept
/// until the commit. Dropping it without a commit does nothing.
///
/// Reads may run at the same time. A read that overlaps a write call of the same transaction in
/// time sees the write or not.
pub trait Transaction: 'static {
    /// The version that reads see; taken at the first call or read.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn read_version(&self) -> impl Future<Output = Result<u64, KvError>>;

    /// The value of `key`.
    ///
    /// # Errors
    /// Bad keys, transactions too old, and what the store answers.
    fn get(
        &self,
        key: &[u8],
        mode: ReadMode,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, KvError>>;

    /// A page of a range: it ends with the range, at the limit, or with the entry that reaches
    /// about a megabyte. In [`ReadMode::Conflict`] what was read conflicts: from the begin (in
    /// reverse: the end) of the range to the last entry of the page, or all of it when there is no
    /// more.
    ///
    /// # Errors
    /// As for [`Transaction::get`].
    fn range(&self, read: RangeRead, mode: ReadMode)
    -> impl Future<Output = Result<Page, KvError>>;

    /// Adds a write. Its errors (limits) surface at the commit as well, so that a caller may
    /// ignore them here.
    ///
    /// # Errors
    /// Keys, values or stamps outside the limits.
    fn mutate(&self, mutation: Mutation) -> Result<(), KvError>;

    /// Makes the commit fail if a key of `range` is written before it, as if it had been read. To
    /// be called before the transaction itself writes into the range: FoundationDB would leave out
    /// what it has written.
    ///
    /// # Errors
    /// A bad range; [`KvError::ConflictAfterWrite`].
    fn add_read_conflict(&self, range: KeyRange) -> Result<(), KvError>;

    /// Makes other transactions fail that have read a key of `range`, as if it had been written.
    ///
    /// # Errors
    /// A bad range.
    fn add_write_conflict(&self, range: KeyRange) -> Result<(), KvError>;

    /// Bytes of writes and conflict ranges so far, as the size limit counts them.
    fn size(&self) -> usize;

    /// Commits.
    ///
    /// # Errors
    /// [`KvError::Conflict`] and [`KvError::TooOld`]: nothing happened;
    /// [`KvError::UnknownResult`]: it may have happened, or may yet; limits.
    fn commit(self) -> impl Future<Output = Result<Committed, KvError>>;

    /// Sets a value.
    ///
    /// # Errors
    /// As for [`Transaction::mutate`].
    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.mutate(Mutation::Set { key: key.to_vec(), value: value.to_vec() })
    }

    /// Clears a key.
    ///
    /// # Errors
    /// As for [`Transaction::mutate`].
    fn clear(&self, key: &[u8]) -> Result<(), KvError> {
        crate::key::check_key(key)?;
        self.mutate(Mutation::Clear { range: KeyRange::single(key) })
    }

    /// Clears every key of a range.
    ///
    /// # Errors
    /// As for [`Transaction::mutate`].
    fn clear_range(&self, range: KeyRange) -> Result<(), KvError> {
        self.mutate(Mutation::Clear { range })
    }

    /// Changes a value without reading it.
    ///
    /// # Errors
    /// As for [`Transaction::mutate`].
    fn atomic(&self, op: AtomicOp, key: &[u8], operand: &[u8]) -> Result<(), KvError> {
        self.mutate(Mutation::Atomic { op, key: key.to_vec(), operand: operand.to_vec() })
    }
}

/// A store that transactions run on. A clone is a handle to the same store, on the same core.
pub trait Kv: Clone + 'static {
    /// Its transactions.
    type Transaction: Transaction;

    /// A new transaction. `bytes_max` lowers the size limit.
    fn begin(&self, options: TransactionOptions) -> Self::Transaction;

    /// The clock of the core, for the loop of [`transact`](crate::transact).
    fn now(&self) -> Instant;

    /// Waits, for the pauses of that loop.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()>;

    /// A random number, for their jitter.
    fn random(&self) -> u64;
}

/// Limits of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionOptions {
    /// Time from its begin to its end; FoundationDB waits for ever on a dead cluster without one.
    pub timeout: Duration,
    /// Bytes of writes and conflict ranges.
    pub bytes_max: usize,
}

impl Default for TransactionOptions {
    /// FoundationDB's size, and its 5 s twice over: a transaction that waits for a restart of the
    /// store may have to begin again inside.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), bytes_max: TRANSACTION_BYTES_MAX }
    }
}

/// How a transaction is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Limits of each attempt.
    pub options: TransactionOptions,
    /// Time for all attempts.
    pub time_max: Duration,
    /// Attempts at most.
    pub attempts_max: u32,
    /// Pause after the first failure; it doubles, with jitter of half of it.
    pub pause_min: Duration,
    /// Longest pause.
    pub pause_max: Duration,
    /// Whether to go on after an unknown result: for transactions that recognise in their first
    /// read that they have been committed (M9, M11).
    pub idempotent: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            options: TransactionOptions::default(),
            time_max: Duration::from_secs(30),
            attempts_max: 100,
            pause_min: Duration::from_millis(2),
            pause_max: Duration::from_secs(1),
            idempotent: false,
        }
    }
}

/// Why the body of a transaction ended without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Abort<E> {
    /// The store's answer; the loop decides whether to run the body again.
    Kv(KvError),
    /// The body's own decision; nothing is committed and nothing retried.
    Own(E),
}

impl<E> From<KvError> for Abort<E> {
    fn from(error: KvError) -> Self {
        Self::Kv(error)
    }
}
