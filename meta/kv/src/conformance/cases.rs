//! The cases. The comment above each is the rule of FoundationDB's documentation that it encodes.

use core::time::Duration;

use super::{Case, commits, conflicts};
use crate::api::{Kv, RangeRead, ReadMode, Transaction, TransactionOptions, Versionstamp};
use crate::error::KvError;
use crate::key::{KeyRange, prefix_end};
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::mutation::{AtomicOp, Mutation};

/// "Read-your-writes": reads of a transaction see what it set and cleared before.
pub(super) async fn a_transaction_reads_its_own_writes<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let t = case.begin();
    t.set(&case.key("a"), b"own").unwrap();
    t.clear(&case.key("b")).unwrap();
    assert_eq!(case.get(&t, "a").await.as_deref(), Some("own"));
    assert_eq!(case.get(&t, "b").await, None);
    assert_eq!(case.get(&t, "c").await.as_deref(), Some("3"));
    t.atomic(AtomicOp::AppendIfFits, &case.key("a"), b"+x").unwrap();
    t.atomic(AtomicOp::AppendIfFits, &case.key("b"), b"new").unwrap();
    t.atomic(AtomicOp::AppendIfFits, &case.key("c"), b"+y").unwrap();
    assert_eq!(case.get(&t, "a").await.as_deref(), Some("own+x"));
    assert_eq!(case.get(&t, "b").await.as_deref(), Some("new"));
    assert_eq!(case.get(&t, "c").await.as_deref(), Some("3+y"));
    t.clear_range(case.range("a", "c")).unwrap();
    assert_eq!(case.get(&t, "a").await, None);
    commits(t, "own writes").await;
    assert_eq!(case.dump().await, "c=3+y");
}

/// "Read-your-writes" holds for range reads, limits and reverse included.
pub(super) async fn ranges_show_own_writes_in_both_directions<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("a", "1"), ("c", "3"), ("e", "5"), ("g", "7"), ("i", "9")]).await;
    let t = case.begin();
    t.set(&case.key("b"), b"2").unwrap();
    t.set(&case.key("c"), b"own").unwrap();
    t.clear_range(case.range("d", "h")).unwrap();
    t.set(&case.key("f"), b"6").unwrap();
    t.set(&case.key("z"), b"26").unwrap();
    let rows = [
        (100, false, "a=1 b=2 c=own f=6 i=9 z=26", false),
        (100, true, "z=26 i=9 f=6 c=own b=2 a=1", false),
        (2, false, "a=1 b=2", true),
        (2, true, "z=26 i=9", true),
        (1, false, "a=1", true),
        (0, false, "a=1", true),
    ];
    for (limit, reverse, expected, more) in rows {
        let read = RangeRead { range: case.all(), limit, reverse };
        let page = t.range(read, ReadMode::Snapshot).await.unwrap();
        assert_eq!((case.shown(&page), page.more), (expected.to_owned(), more), "limit {limit}");
    }
    let read = RangeRead::new(case.range("b", "i")).limit(100);
    let page = t.range(read, ReadMode::Snapshot).await.unwrap();
    assert_eq!(case.shown(&page), "b=2 c=own f=6");
}

/// Optimistic concurrency: of two that read and write one key, the second fails (1020).
pub(super) async fn a_lost_update_conflicts<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("k", "0")]).await;
    let (first, second) = (case.begin(), case.begin());
    for t in [&first, &second] {
        assert_eq!(case.get(t, "k").await.as_deref(), Some("0"));
    }
    first.set(&case.key("k"), b"first").unwrap();
    second.set(&case.key("k"), b"second").unwrap();
    commits(first, "the first writer").await;
    conflicts(second, "what it read was written").await;
    assert_eq!(case.now("k").await.as_deref(), Some("first"));
}

/// Serialisable, not snapshot isolation: each reads what the other writes.
pub(super) async fn write_skew_conflicts<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("x", "1"), ("y", "1")]).await;
    let (a, b) = (case.begin(), case.begin());
    assert_eq!(case.get(&a, "x").await.as_deref(), Some("1"));
    assert_eq!(case.get(&b, "y").await.as_deref(), Some("1"));
    a.set(&case.key("y"), b"0").unwrap();
    b.set(&case.key("x"), b"0").unwrap();
    commits(a, "the first of a skew").await;
    conflicts(b, "the second of a skew").await;
}

/// A range read conflicts with keys that did not exist when it was read.
pub(super) async fn a_phantom_conflicts<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("a", "1")]).await;
    let t = case.begin();
    let read = RangeRead::new(case.all());
    assert_eq!(t.range(read, ReadMode::Conflict).await.unwrap().entries.len(), 1);
    t.set(&case.key("total"), b"1").unwrap();
    case.put(&[("b", "1")]).await;
    conflicts(t, "a key appeared in the range").await;
    let t = case.begin();
    assert_eq!(case.get(&t, "missing").await, None);
    t.set(&case.key("seen"), b"none").unwrap();
    case.put(&[("missing", "here")]).await;
    conflicts(t, "a key appeared that was read as missing").await;
}

/// A read that ends at its limit conflicts with what it returned, not with what is behind.
pub(super) async fn a_limited_read_conflicts_only_up_to_its_last_key<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("b", "1"), ("d", "2"), ("f", "3")]).await;
    // (reverse, key written meanwhile, whether that conflicts)
    let rows = [
        (false, "a", true),
        (false, "b", true),
        (false, "c", true),
        (false, "d", true),
        (false, "e", false),
        (false, "f", false),
        (true, "c", false),
        (true, "d", true),
        (true, "e", true),
        (true, "g", true),
    ];
    for (reverse, written, conflict) in rows {
        let t = case.begin();
        let read = RangeRead { range: case.all(), limit: 2, reverse };
        let page = t.range(read, ReadMode::Conflict).await.unwrap();
        assert_eq!(page.entries.len(), 2);
        assert!(page.more);
        t.set(&case.key("zz"), b"x").unwrap();
        case.put(&[(written, "w")]).await;
        let why = format!("reverse {reverse}, {written} written");
        if conflict {
            conflicts(t, &why).await
        } else {
            commits(t, &why).await
        }
        case.clear().await;
        case.put(&[("b", "1"), ("d", "2"), ("f", "3")]).await;
    }
}

/// Clears are writes of every key of their range, there or not.
pub(super) async fn clearing_what_was_read_conflicts<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("k", "1")]).await;
    for (range, conflict) in [
        (KeyRange::single(&case.key("k")), true),
        (case.range("a", "z"), true),
        (case.range("k", "l"), true),
        (case.range("a", "k"), false),
        (case.range("k\0", "z"), false),
    ] {
        let t = case.begin();
        case.get(&t, "k").await;
        t.set(&case.key("zz"), b"x").unwrap();
        let other = case.begin();
        other.clear_range(range.clone()).unwrap();
        commits(other, "a clear").await;
        let why = format!("cleared {range:?}");
        if conflict { conflicts(t, &why).await } else { commits(t, &why).await }
    }
}

/// Write-write is no conflict: the later commit wins.
pub(super) async fn blind_writes_never_conflict<K: Kv>(case: &Case<'_, K>) {
    let (a, b) = (case.begin(), case.begin());
    a.read_version().await.unwrap();
    b.read_version().await.unwrap();
    a.set(&case.key("k"), b"a").unwrap();
    b.set(&case.key("k"), b"b").unwrap();
    commits(b, "a blind write").await;
    commits(a, "a later blind write").await;
    assert_eq!(case.now("k").await.as_deref(), Some("a"));
}

/// Snapshot reads add no read conflict ranges.
pub(super) async fn snapshot_reads_never_conflict<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("k", "1")]).await;
    let t = case.begin();
    t.get(&case.key("k"), ReadMode::Snapshot).await.unwrap();
    t.range(RangeRead::new(case.all()), ReadMode::Snapshot).await.unwrap();
    t.set(&case.key("seen"), b"1").unwrap();
    case.put(&[("k", "2"), ("new", "3")]).await;
    commits(t, "snapshot reads").await;
}

/// A value that follows from own writes was not read from the database.
pub(super) async fn own_writes_read_back_never_conflict<K: Kv>(case: &Case<'_, K>) {
    let t = case.begin();
    t.read_version().await.unwrap();
    t.set(&case.key("k"), b"mine").unwrap();
    assert_eq!(case.get(&t, "k").await.as_deref(), Some("mine"));
    case.put(&[("k", "theirs")]).await;
    commits(t, "it read only what it wrote").await;
    assert_eq!(case.now("k").await.as_deref(), Some("mine"));
    // What an atomic operation makes of an unknown value was read.
    let t = case.begin();
    t.atomic(AtomicOp::AppendIfFits, &case.key("k"), b"+").unwrap();
    assert_eq!(case.get(&t, "k").await.as_deref(), Some("mine+"));
    case.put(&[("k", "theirs")]).await;
    conflicts(t, "it read what its operation stands on").await;
}

/// `add_read_conflict_range` and `add_write_conflict_range`.
pub(super) async fn conflict_ranges_can_be_added<K: Kv>(case: &Case<'_, K>) {
    let t = case.begin();
    t.read_version().await.unwrap();
    t.add_read_conflict(case.range("a", "c")).unwrap();
    t.set(&case.key("x"), b"1").unwrap();
    case.put(&[("b", "1")]).await;
    conflicts(t, "an added read range").await;
    let t = case.begin();
    case.get(&t, "k").await;
    t.set(&case.key("x"), b"1").unwrap();
    let marker = case.begin();
    marker.add_write_conflict(case.range("j", "l")).unwrap();
    commits(marker, "a write range without writes").await;
    conflicts(t, "an added write range").await;
    assert_eq!(case.now("k").await, None, "a write range writes nothing");
    // Over own writes FoundationDB would leave the range out, silently.
    for cleared in [false, true] {
        let t = case.begin();
        t.read_version().await.unwrap();
        if cleared {
            t.clear_range(case.range("m", "p")).unwrap();
        } else {
            t.set(&case.key("n"), b"1").unwrap();
        }
        let refused = t.add_read_conflict(KeyRange::single(&case.key("n"))).unwrap_err();
        assert!(matches!(refused, KvError::ConflictAfterWrite { .. }), "{refused:?}");
        assert_eq!(t.commit().await.err(), Some(refused));
    }
    let t = case.begin();
    t.read_version().await.unwrap();
    t.add_read_conflict(KeyRange::single(&case.key("n"))).unwrap();
    t.set(&case.key("n"), b"1").unwrap();
    case.put(&[("n", "2")]).await;
    conflicts(t, "a range added before its own write").await;
    let t = case.begin();
    t.read_version().await.unwrap();
    t.add_read_conflict(case.range("c", "c")).unwrap();
    t.set(&case.key("x"), b"1").unwrap();
    case.put(&[("c", "1")]).await;
    commits(t, "an empty range holds no key").await;
}

/// A transaction without writes is not checked.
pub(super) async fn read_only_transactions_always_commit<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("k", "1")]).await;
    let t = case.begin();
    case.get(&t, "k").await;
    let version = t.read_version().await.unwrap();
    case.put(&[("k", "2")]).await;
    let committed = t.commit().await.unwrap();
    assert_eq!(committed.stamp, None);
    assert!(committed.version == version || committed.version == 0, "{committed:?}");
}

/// All reads of a transaction see the database at its read version.
pub(super) async fn reads_repeat<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("k", "1")]).await;
    let t = case.begin();
    assert_eq!(case.get(&t, "k").await.as_deref(), Some("1"));
    case.put(&[("k", "2"), ("l", "2")]).await;
    assert_eq!(case.get(&t, "k").await.as_deref(), Some("1"));
    assert_eq!(case.get(&t, "l").await, None);
    let page = t.range(RangeRead::new(case.all()), ReadMode::Snapshot).await.unwrap();
    assert_eq!(case.shown(&page), "k=1");
}

/// External consistency: a read version covers every commit acknowledged before it.
pub(super) async fn commits_are_seen_by_later_reads<K: Kv>(case: &Case<'_, K>) {
    for round in 0..20 {
        let value = round.to_string();
        case.put(&[("k", &value)]).await;
        assert_eq!(case.now("k").await, Some(value));
    }
}

/// Atomic operations are writes alone.
pub(super) async fn atomic_operations_do_not_conflict<K: Kv>(case: &Case<'_, K>) {
    let open: Vec<_> = (0..10).map(|_| case.begin()).collect();
    for t in &open {
        t.read_version().await.unwrap();
        t.atomic(AtomicOp::Add, &case.key("n"), &1u64.to_le_bytes()).unwrap();
    }
    for t in open {
        commits(t, "an addition").await;
    }
    let sum = case.begin().get(&case.key("n"), ReadMode::Snapshot).await.unwrap();
    assert_eq!(sum, Some(10u64.to_le_bytes().to_vec()));
}

/// What each operation makes of missing, shorter, equal and longer values, read back within the
/// transaction and after it.
pub(super) async fn atomic_operations_follow_their_table<K: Kv>(case: &Case<'_, K>) {
    let olds: [Option<&[u8]>; 5] = [None, Some(&[]), Some(&[7]), Some(&[0, 9]), Some(&[1, 2, 3])];
    let operands: [&[u8]; 4] = [&[], &[7], &[0xff, 1], &[0, 9, 0]];
    let mut expected = Vec::new();
    let (prepare, change) = (case.begin(), case.begin());
    for op in AtomicOp::ALL {
        for (o, old) in olds.iter().enumerate() {
            for (p, operand) in operands.iter().enumerate() {
                let key = case.key(&format!("{:02}-{o}-{p}", op.code()));
                if let Some(old) = old {
                    prepare.set(&key, old).unwrap();
                }
                change.atomic(op, &key, operand).unwrap();
                expected.push((key, op.apply(*old, operand), op, old, operand));
            }
        }
    }
    commits(prepare, "old values").await;
    for (key, value, op, old, operand) in &expected {
        let seen = change.get(key, ReadMode::Snapshot).await.unwrap();
        assert_eq!(seen, *value, "within: {op:?} of {old:?} and {operand:?}");
    }
    commits(change, "atomic operations").await;
    let t = case.begin();
    for (key, value, op, old, operand) in &expected {
        let seen = t.get(key, ReadMode::Snapshot).await.unwrap();
        assert_eq!(seen, *value, "after: {op:?} of {old:?} and {operand:?}");
    }
}

/// SET_VERSIONSTAMPED_KEY: ten bytes, big-endian, in commit order; the commit tells them.
pub(super) async fn versionstamps_order_keys_by_commit<K: Kv>(case: &Case<'_, K>) {
    let mut stamps = Vec::new();
    for round in 0..5u8 {
        let t = case.begin();
        for part in 0..2u8 {
            let mut key = case.key("log/");
            let offset = key.len();
            key.extend([0; 10]);
            key.push(part);
            t.mutate(Mutation::StampedKey { key, offset, value: vec![round] }).unwrap();
        }
        stamps.push(t.commit().await.unwrap().stamp.expect("it wrote"));
    }
    assert!(stamps.is_sorted_by(|a, b| a < b), "stamps rise: {stamps:?}");
    let read = RangeRead::new(case.all());
    let page = case.begin().range(read, ReadMode::Snapshot).await.unwrap();
    let at = case.key("log/").len();
    let found: Vec<_> = page.entries.iter().map(|(key, value)| (&key[at..], value[0])).collect();
    let mut expected = Vec::new();
    for (round, Versionstamp(stamp)) in (0..5u8).zip(&stamps) {
        for part in 0..2 {
            expected.push(([&stamp[..], &[part]].concat(), round));
        }
    }
    let expected: Vec<_> = expected.iter().map(|(key, value)| (key.as_slice(), *value)).collect();
    assert_eq!(found, expected);
}

/// SET_VERSIONSTAMPED_VALUE.
pub(super) async fn versionstamped_values_hold_the_stamp<K: Kv>(case: &Case<'_, K>) {
    let t = case.begin();
    let (key, value) = (case.key("k"), b"<..........>".to_vec());
    t.mutate(Mutation::StampedValue { key: key.clone(), value, offset: 1 }).unwrap();
    let stamp = t.commit().await.unwrap().stamp.expect("it wrote");
    let found = case.begin().get(&key, ReadMode::Snapshot).await.unwrap().unwrap();
    assert_eq!(found, [b"<", &stamp.0[..], b">"].concat());
}

/// accessed_unreadable (1036): what the stamp decides cannot be read before the commit.
pub(super) async fn what_a_stamp_decides_is_unreadable<K: Kv>(case: &Case<'_, K>) {
    let t = case.begin();
    let (key, value) = (case.key("v"), vec![0; 10]);
    t.mutate(Mutation::StampedValue { key: key.clone(), value, offset: 0 }).unwrap();
    let answer = t.get(&key, ReadMode::Snapshot).await;
    assert!(matches!(answer, Err(KvError::Unreadable { .. })), "{answer:?}");
    let answer = t.range(RangeRead::new(case.all()), ReadMode::Snapshot).await;
    assert!(matches!(answer, Err(KvError::Unreadable { .. })), "{answer:?}");
    assert_eq!(t.get(&case.key("w"), ReadMode::Snapshot).await, Ok(None));
    t.set(&key, b"decided").unwrap();
    let answer = t.get(&key, ReadMode::Snapshot).await;
    assert!(matches!(answer, Err(KvError::Unreadable { .. })), "written over: {answer:?}");
    t.clear(&key).unwrap();
    t.set(&key, b"decided").unwrap();
    assert_eq!(case.get(&t, "v").await.as_deref(), Some("decided"), "cleared and written");
    let t = case.begin();
    let mut key = case.key("log/");
    let offset = key.len();
    key.extend([0; 10]);
    t.mutate(Mutation::StampedKey { key, offset, value: vec![1] }).unwrap();
    let read = RangeRead::new(case.range("log/", "log0"));
    let answer = t.range(read.clone(), ReadMode::Snapshot).await;
    assert!(matches!(answer, Err(KvError::Unreadable { .. })), "{answer:?}");
    t.clear_range(case.range("log/", "log0")).unwrap();
    assert_eq!(t.range(read, ReadMode::Snapshot).await.unwrap().entries, []);
}

/// Limits of FoundationDB: 2101, 2102, 2103, 2004, 2005.
pub(super) async fn limits_are_refused<K: Kv>(case: &Case<'_, K>) {
    let long_key = [case.key("k"), vec![b'x'; KEY_BYTES_MAX]].concat();
    let t = case.begin();
    let error = t.set(&long_key, b"").unwrap_err();
    assert!(matches!(error, KvError::KeyTooLong { .. }), "{error:?}");
    let error = t.get(&long_key, ReadMode::Snapshot).await.unwrap_err();
    assert!(matches!(error, KvError::KeyTooLong { .. }), "{error:?}");
    let error = t.set(&case.key("k"), &vec![0; VALUE_BYTES_MAX + 1]).unwrap_err();
    assert!(matches!(error, KvError::ValueTooLong { .. }), "{error:?}");
    let error = t.set(b"\xff\x02mine", b"").unwrap_err();
    assert!(matches!(error, KvError::OutsideLegalRange { .. }), "{error:?}");
    let error = t.clear_range(case.range("b", "a")).unwrap_err();
    assert!(matches!(error, KvError::InvertedRange { .. }), "{error:?}");
    let largest = case.begin();
    let key = [case.key(""), vec![b'x'; KEY_BYTES_MAX - case.key("").len()]].concat();
    largest.set(&key, &vec![7; VALUE_BYTES_MAX]).unwrap();
    commits(largest, "the largest key and value").await;
    let found = case.begin().get(&key, ReadMode::Snapshot).await.unwrap().unwrap();
    assert_eq!(found.len(), VALUE_BYTES_MAX);
    let options = TransactionOptions { bytes_max: 1000, ..TransactionOptions::default() };
    let t = case.kv.begin(options);
    t.set(&case.key("k"), &[0; 990]).unwrap();
    t.set(&case.key("l"), &[0; 990]).unwrap();
    assert!(1980 <= t.size(), "{}", t.size());
    let error = t.commit().await.unwrap_err();
    assert!(matches!(error, KvError::TooLarge { limit: 1000, .. }), "{error:?}");
    assert_eq!(case.now("k").await, None);
}

/// A transaction in error does not commit the rest of itself.
pub(super) async fn a_refused_write_fails_the_commit<K: Kv>(case: &Case<'_, K>) {
    let t = case.begin();
    t.set(&case.key("k"), b"1").unwrap();
    let refused = t.set(b"\xff/mine", b"").unwrap_err();
    assert_eq!(t.commit().await, Err(refused));
    assert_eq!(case.now("k").await, None);
}

/// Range reads with limits: page after page, every key once, in both directions.
pub(super) async fn pages_cover_a_range_once<K: Kv>(case: &Case<'_, K>) {
    let names: Vec<_> = (0..50).map(|n| format!("{n:03}")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    case.put(&entries).await;
    for (limit, reverse) in [(1, false), (7, false), (7, true), (50, true), (51, false)] {
        let t = case.begin();
        let mut read = RangeRead { range: case.all(), limit, reverse };
        let mut found = Vec::new();
        loop {
            let page = t.range(read.clone(), ReadMode::Snapshot).await.unwrap();
            assert!(page.entries.len() <= limit, "{} of {limit}", page.entries.len());
            assert!(!page.more || !page.entries.is_empty(), "an empty page says there is more");
            found.extend(page.entries.iter().map(|(_, value)| value.clone()));
            let Some((last, _)) = page.entries.last().filter(|_| page.more) else { break };
            read = read.behind(last);
        }
        let mut expected: Vec<_> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        if reverse {
            expected.reverse();
        }
        assert_eq!(found, expected, "limit {limit}, reverse {reverse}");
    }
}

/// Ranges hold their begin and not their end.
pub(super) async fn clears_reach_exactly_their_range<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("a", "1"), ("b", "2"), ("b\0", "3"), ("c", "4"), ("d", "5")]).await;
    let t = case.begin();
    t.clear_range(case.range("b", "c")).unwrap();
    t.clear_range(case.range("d", "d")).unwrap();
    commits(t, "clears").await;
    assert_eq!(case.dump().await, "a=1 c=4 d=5");
    let t = case.begin();
    t.clear(&case.key("c")).unwrap();
    t.clear(&case.key("never")).unwrap();
    commits(t, "clears of single keys").await;
    assert_eq!(case.dump().await, "a=1 d=5");
}

/// An empty value is a value.
pub(super) async fn empty_keys_and_values_are_kept<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("", "here"), ("k", "")]).await;
    assert_eq!(case.now("").await.as_deref(), Some("here"));
    assert_eq!(case.now("k").await.as_deref(), Some(""));
    assert_eq!(case.dump().await, "=here k=");
}

/// Nothing is written before the commit.
pub(super) async fn a_dropped_transaction_does_nothing<K: Kv>(case: &Case<'_, K>) {
    let t = case.begin();
    t.set(&case.key("k"), b"1").unwrap();
    assert_eq!(case.now("k").await, None, "others see nothing before the commit");
    drop(t);
    assert_eq!(case.now("k").await, None);
}

/// Commit versions rise, and are above the read version.
pub(super) async fn versions_rise<K: Kv>(case: &Case<'_, K>) {
    let mut before = 0;
    for _ in 0..5 {
        let t = case.begin();
        let read = t.read_version().await.unwrap();
        assert!(before <= read, "read version {read} after commit {before}");
        t.set(&case.key("k"), b"v").unwrap();
        let committed = t.commit().await.unwrap();
        assert!(read < committed.version, "{committed:?} at read version {read}");
        before = committed.version;
    }
}

/// Disjoint transactions do not hinder each other, however they overlap in time.
pub(super) async fn one_is_open_across_sixty_four_others<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("mine", "0")]).await;
    let long = case.begin();
    assert_eq!(case.get(&long, "mine").await.as_deref(), Some("0"));
    let others: Vec<_> = (0..64).map(|n| (n, case.begin())).collect();
    for (n, t) in &others {
        let key = format!("other/{n:02}");
        assert_eq!(case.get(t, &key).await, None);
        t.set(&case.key(&key), b"1").unwrap();
    }
    for (n, t) in others {
        commits(t, &format!("other {n}")).await;
    }
    assert_eq!(case.get(&long, "other/00").await, None, "it still sees its snapshot");
    let long = {
        drop(long);
        let long = case.begin();
        assert_eq!(case.get(&long, "mine").await.as_deref(), Some("0"));
        case.put(&[("other/00", "2")]).await;
        long
    };
    long.set(&case.key("mine"), b"1").unwrap();
    commits(long, "nobody wrote what it read").await;
}

/// Keys are byte strings, compared as unsigned bytes.
pub(super) async fn binary_keys_are_ordered_bytewise<K: Kv>(case: &Case<'_, K>) {
    let t = case.begin();
    let tails: [&[u8]; 6] = [b"\xff\xff", b"\0", b"\x7f", b"\x80", b"", b"\0\0"];
    for tail in tails {
        t.set(&[case.key("b").as_slice(), tail].concat(), tail).unwrap();
    }
    commits(t, "binary keys").await;
    let prefix = case.key("b");
    let range = KeyRange::new(prefix.clone(), prefix_end(&prefix).unwrap());
    let page = case.begin().range(RangeRead::new(range), ReadMode::Snapshot).await.unwrap();
    let found: Vec<_> = page.entries.into_iter().map(|(_, value)| value).collect();
    let mut sorted = tails;
    sorted.sort_unstable();
    assert_eq!(found, sorted);
}

/// transaction_timed_out (1031): what has not been sent by then is not sent.
pub(super) async fn a_commit_after_its_time_is_not_sent<K: Kv>(case: &Case<'_, K>) {
    let timeout = Duration::from_millis(300);
    let t = case.kv.begin(TransactionOptions { timeout, ..TransactionOptions::default() });
    t.set(&case.key("k"), b"1").unwrap();
    case.kv.sleep_until(case.kv.now() + Duration::from_millis(400)).await;
    assert_eq!(t.commit().await.err(), Some(KvError::TimedOut { limit_ms: 300 }));
    assert_eq!(case.now("k").await, None);
}

/// A directory cleared and read in one transaction costs no read per entry.
pub(super) async fn cleared_ranges_are_not_read<K: Kv>(case: &Case<'_, K>) {
    let names: Vec<_> = (0..500).map(|n| format!("d/{n:03}")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    case.put(&entries).await;
    case.put(&[("e", "behind")]).await;
    let t = case.begin();
    t.clear_range(case.range("d/", "d0")).unwrap();
    t.set(&case.key("d/250"), b"new").unwrap();
    for reverse in [false, true] {
        let read = RangeRead { range: case.all(), limit: 2, reverse };
        let page = t.range(read, ReadMode::Snapshot).await.unwrap();
        let expected = if reverse { "e=behind d/250=new" } else { "d/250=new e=behind" };
        assert_eq!(case.shown(&page), expected);
    }
}

/// transaction_too_old (1007): five seconds after the read version neither reads nor commits pass.
pub(super) async fn five_seconds_are_too_old<K: Kv>(case: &Case<'_, K>) {
    case.put(&[("k", "1")]).await;
    let (reader, writer) = (case.begin(), case.begin());
    for t in [&reader, &writer] {
        assert_eq!(case.get(t, "k").await.as_deref(), Some("1"));
    }
    writer.set(&case.key("l"), b"2").unwrap();
    case.kv.sleep_until(case.kv.now() + Duration::from_millis(7_500)).await;
    case.put(&[("other", "1")]).await;
    let answer = reader.get(&case.key("l"), ReadMode::Conflict).await;
    assert_eq!(answer, Err(KvError::TooOld));
    assert_eq!(writer.commit().await.err(), Some(KvError::TooOld));
    assert_eq!(case.now("l").await, None);
}
