//! Limits of transactions. Those of FoundationDB hold on every backend, so that what runs on one
//! machine runs on a cluster.

use core::time::Duration;

/// Longest key, FoundationDB's limit.
pub const KEY_BYTES_MAX: usize = 10_000;
/// Longest value, FoundationDB's limit.
pub const VALUE_BYTES_MAX: usize = 100_000;
/// Largest transaction, FoundationDB's limit: keys and values of all writes, and the bounds of all
/// conflict ranges. Its own advice is to stay below a tenth.
pub const TRANSACTION_BYTES_MAX: usize = 10_000_000;
/// From read version to commit, FoundationDB's limit. Backends need to remember conflicts, and to
/// keep snapshots, for as long.
pub const TRANSACTION_AGE_MAX: Duration = Duration::from_secs(5);
/// First byte of the keys that belong to the store itself; applications may not touch them.
pub const SYSTEM_PREFIX: u8 = 0xff;
/// Bytes of a versionstamp: version (8) and order in its batch (2).
pub const VERSIONSTAMP_BYTES: usize = 10;
/// Entries of one page of a range read when the caller names no limit: 4,096 dirents or records of
/// 100 bytes are some 400 kB, a turn of about a millisecond.
pub const PAGE_ENTRIES_MAX: usize = 4_096;
/// Bytes of one page of a range read, keys and values: a page is one message of the served form.
pub const PAGE_BYTES_MAX: usize = 1 << 20;
/// Commits of one group: each waits for the flush anyway, and 1,024 small ones are a few
/// milliseconds of work for the engine.
pub const BATCH_COMMITS_MAX: usize = 1_024;
/// Bytes of one group: one largest transaction always fits.
pub const BATCH_BYTES_MAX: usize = TRANSACTION_BYTES_MAX;
/// Commits that wait for their group: beyond it callers wait for room (backpressure).
pub const COMMIT_QUEUE_MAX: usize = 4_096;
/// Bytes of the commits that wait for their group: some of the largest, thousands of common ones.
/// Beyond it commits are refused as overload, and their loops come back later.
pub const COMMIT_QUEUE_BYTES_MAX: usize = 64 << 20;
/// What every write and range counts for beside its bytes: about what it takes in memory, so that
/// a limit in bytes bounds their number too. FoundationDB counts its structures likewise.
pub const ITEM_BYTES: usize = 32;
/// Keys and ranges whose last write is remembered to find conflicts: 5 s of 40,000 keys a second.
/// About 200 bytes each; when it is full, the oldest are forgotten and transactions that old fail
/// as too old.
pub const CONFLICT_ENTRIES_MAX: usize = 200_000 * 5;
/// Bytes of those keys and ranges: a million of common ones; long keys are forgotten sooner.
pub const CONFLICT_BYTES_MAX: usize = 128 << 20;

const _: () = assert!(TRANSACTION_BYTES_MAX <= BATCH_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX + KEY_BYTES_MAX <= PAGE_BYTES_MAX);
const _: () = assert!(BATCH_COMMITS_MAX <= 1 << 16, "order in a batch is 16 bits");
