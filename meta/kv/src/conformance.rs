//! What every backend has to do: FoundationDB's rules, one case each.
//!
//! The cases work below one prefix, which they clear first, so that the suite may run on a cluster
//! that holds other data. They interleave transactions by hand, so that they need no second
//! client; [`random`] runs many at once against a model.

#![expect(clippy::unwrap_used, reason = "a failed answer of the store fails the test")]

use core::time::Duration;

use crate::api::{Kv, Page, RangeRead, ReadMode, Transaction, TransactionOptions};
use crate::error::KvError;
use crate::key::KeyRange;

pub mod cases;
pub mod random;

/// How a suite runs.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Everything happens below it.
    pub prefix: Vec<u8>,
    /// Whether waiting for several seconds costs nothing (simulation), or is wanted.
    pub slow: bool,
    /// Rounds of the random cases.
    pub rounds: u32,
    /// Seed of the random cases.
    pub seed: u64,
}

/// One store under test.
pub(crate) struct Case<'a, K: Kv> {
    pub(crate) kv: &'a K,
    prefix: Vec<u8>,
}

impl<K: Kv> Case<'_, K> {
    pub(crate) fn begin(&self) -> K::Transaction {
        self.kv.begin(TransactionOptions { timeout: Duration::from_secs(60), ..Default::default() })
    }

    /// The full key of a short one.
    pub(crate) fn key(&self, short: &str) -> Vec<u8> {
        [&self.prefix, short.as_bytes()].concat()
    }

    /// Every key of the case.
    pub(crate) fn all(&self) -> KeyRange {
        KeyRange::prefix(&self.prefix).unwrap()
    }

    pub(crate) fn range(&self, begin: &str, end: &str) -> KeyRange {
        KeyRange::new(self.key(begin), self.key(end))
    }

    pub(crate) async fn clear(&self) {
        let transaction = self.begin();
        transaction.clear_range(self.all()).unwrap();
        transaction.commit().await.unwrap();
    }

    /// Commits values of short keys.
    pub(crate) async fn put(&self, entries: &[(&str, &str)]) {
        let transaction = self.begin();
        for (key, value) in entries {
            transaction.set(&self.key(key), value.as_bytes()).unwrap();
        }
        transaction.commit().await.unwrap();
    }

    /// The value of a short key, as text, with conflict.
    pub(crate) async fn get(&self, transaction: &K::Transaction, key: &str) -> Option<String> {
        let value = transaction.get(&self.key(key), ReadMode::Conflict).await.unwrap();
        value.map(|value| String::from_utf8(value).unwrap())
    }

    /// The value of a short key in a transaction of its own.
    pub(crate) async fn now(&self, key: &str) -> Option<String> {
        self.get(&self.begin(), key).await
    }

    /// `key=value` for every entry of a page, with the prefix cut off.
    pub(crate) fn shown(&self, page: &Page) -> String {
        let entry = |(key, value): &(Vec<u8>, Vec<u8>)| {
            let key = String::from_utf8_lossy(&key[self.prefix.len()..]).into_owned();
            format!("{key}={}", String::from_utf8_lossy(value))
        };
        page.entries.iter().map(entry).collect::<Vec<_>>().join(" ")
    }

    /// All entries, in order, in a transaction of its own.
    pub(crate) async fn dump(&self) -> String {
        let read = RangeRead::new(self.all());
        self.shown(&self.begin().range(read, ReadMode::Snapshot).await.unwrap())
    }
}

/// The answer of a commit that has to conflict.
pub(crate) async fn conflicts<T: Transaction>(transaction: T, why: &str) {
    assert_eq!(transaction.commit().await.err(), Some(KvError::Conflict), "{why}");
}

/// The answer of a commit that has to pass.
pub(crate) async fn commits<T: Transaction>(transaction: T, why: &str) {
    let answer = transaction.commit().await;
    assert!(answer.is_ok(), "{why}: {answer:?}");
}

macro_rules! cases {
    ($suite:ident, $kv:ident, $report:ident, $($name:ident),* $(,)?) => {
        $(
            let prefix = [$suite.prefix.as_slice(), stringify!($name).as_bytes(), b"/"].concat();
            let case = Case { kv: $kv, prefix };
            case.clear().await;
            cases::$name(&case).await;
            case.clear().await;
            $report(stringify!($name));
        )*
    };
}

/// Runs every case; `report` is told the name of each that has passed. A failed case panics.
pub async fn run<K: Kv>(kv: &K, suite: &Suite, mut report: impl FnMut(&'static str)) {
    cases!(
        suite,
        kv,
        report,
        a_transaction_reads_its_own_writes,
        ranges_show_own_writes_in_both_directions,
        a_lost_update_conflicts,
        write_skew_conflicts,
        a_phantom_conflicts,
        a_limited_read_conflicts_only_up_to_its_last_key,
        clearing_what_was_read_conflicts,
        blind_writes_never_conflict,
        snapshot_reads_never_conflict,
        own_writes_read_back_never_conflict,
        conflict_ranges_can_be_added,
        read_only_transactions_always_commit,
        reads_repeat,
        commits_are_seen_by_later_reads,
        atomic_operations_do_not_conflict,
        atomic_operations_follow_their_table,
        versionstamps_order_keys_by_commit,
        versionstamped_values_hold_the_stamp,
        what_a_stamp_decides_is_unreadable,
        limits_are_refused,
        a_refused_write_fails_the_commit,
        pages_cover_a_range_once,
        clears_reach_exactly_their_range,
        empty_keys_and_values_are_kept,
        a_dropped_transaction_does_nothing,
        versions_rise,
        one_is_open_across_sixty_four_others,
        binary_keys_are_ordered_bytewise,
        cleared_ranges_are_not_read,
        a_commit_after_its_time_is_not_sent,
    );
    if suite.slow {
        cases!(suite, kv, report, five_seconds_are_too_old);
    }
    for (name, concurrent) in [("random_serial", 1), ("random_concurrent", 6)] {
        let prefix = [suite.prefix.as_slice(), name.as_bytes(), b"/"].concat();
        let case = Case { kv, prefix };
        case.clear().await;
        random::run(&case, suite, concurrent).await;
        case.clear().await;
        report(name);
    }
}
