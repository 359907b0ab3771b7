//! Bytes that redb did not write (E217).

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_types::Rng;

use crate::api::RangeRead;
use crate::engine::directory::OpenError;
use crate::engine::redb::{REFUSED_BEFORE_WRITING, RedbEngine, RedbOptions};
use crate::engine::simdisk::{SimDisk, Survival};
use crate::engine::tests::{on_disk, options, random_batch};
use crate::engine::{Batch, EngineError, EngineSnapshot, KvEngine};
use crate::key::KeyRange;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::mutation::{AtomicOp, Mutation};

/// A store of some hundred pages, closed.
fn stored() -> Vec<u8> {
    let disk = SimDisk::new();
    let engine = on_disk(&disk);
    let mut rng = Rng::new(3);
    for _ in 0..40 {
        engine.apply(&random_batch(&mut rng, engine.version() + 1)).unwrap();
    }
    drop(engine);
    disk.crash(Survival::Everything)
}

/// Opens, reads everything and writes: errors are fine, panics are not.
fn exercise(bytes: Vec<u8>, verify: bool) -> &'static str {
    let options = RedbOptions { verify, ..options() };
    let engine = match RedbEngine::open_on(Arc::new(SimDisk::holding(bytes)), options) {
        Ok(engine) => engine,
        Err(OpenError::Foreign { .. }) => return "foreign",
        Err(OpenError::Newer { .. }) => return "newer",
        Err(OpenError::Damaged { .. }) => return "damaged",
        Err(error) => panic!("{error}"),
    };
    let mut rng = Rng::new(8);
    let outcome = (|| -> Result<(), EngineError> {
        engine.snapshot()?.range(&RangeRead::new(KeyRange::all()))?;
        for _ in 0..3 {
            engine.apply(&random_batch(&mut rng, engine.version() + 1))?;
        }
        engine.snapshot()?.get(b"k")?;
        Ok(())
    })();
    match outcome {
        Ok(()) => "well",
        Err(EngineError::Damaged { .. }) => {
            let batch = Batch { version: engine.version() + 1, mutations: Vec::new() };
            engine.apply(&batch).expect_err("E206: a damaged store refuses");
            "damaged later"
        }
        Err(error) => panic!("{error}"),
    }
}

/// Sectors that are not free; most of a small file is.
fn used(bytes: &[u8]) -> Vec<usize> {
    let is_used = |sector: &usize| bytes[sector * 512..][..512].iter().any(|&byte| byte != 0);
    (0..bytes.len() / 512).filter(is_used).collect()
}

#[test]
fn no_content_makes_it_panic() {
    let whole = stored();
    let used = used(&whole);
    let mut outcomes = BTreeMap::<&str, u32>::new();
    let mut rng = Rng::new(11);
    for round in 0..200 {
        let mut bytes = whole.clone();
        // The header decides everything.
        let sector = if round < 60 { 0 } else { *rng.pick(&used).unwrap() };
        let at = sector * 512 + usize::try_from(rng.below(512)).unwrap();
        bytes[at] ^= 1 << rng.below(8);
        *outcomes.entry(exercise(bytes, false)).or_default() += 1;
    }
    for length in (0..whole.len()).step_by(whole.len() / 30).chain([1, 8, 9, 64, 511, 4096]) {
        let outcome = exercise(whole[..length].to_vec(), false);
        assert_ne!(outcome, "well", "cut at {length} of {}", whole.len());
        *outcomes.entry(outcome).or_default() += 1;
    }
    for sector in used.iter().step_by(used.len() / 30) {
        let mut bytes = whole.clone();
        rng.fill_bytes(&mut bytes[sector * 512..][..512]);
        *outcomes.entry(exercise(bytes, false)).or_default() += 1;
    }
    for outcome in ["foreign", "damaged"] {
        assert!(outcomes.contains_key(outcome), "{outcomes:?}");
    }
}

/// Without the check redb trusts pages when it reads them; with it a changed bit is found unless
/// the page is free by now.
#[test]
fn the_check_finds_what_reads_do_not() {
    let whole = stored();
    let used = used(&whole);
    assert_eq!(exercise(whole.clone(), true), "well");
    let mut rng = Rng::new(12);
    let (mut trusted, mut found) = (0, 0);
    for _ in 0..80 {
        let mut bytes = whole.clone();
        let at = *rng.pick(&used).unwrap() * 512 + usize::try_from(rng.below(512)).unwrap();
        bytes[at] ^= 1;
        let unseen = exercise(bytes.clone(), false) == "well";
        let noticed = exercise(bytes, true) != "well";
        trusted += u32::from(unseen);
        found += u32::from(noticed);
    }
    assert!(30 < trusted && 10 < found, "{trusted} were trusted, {found} were found");
}

#[test]
fn foreign_files_are_named() {
    for (bytes, said) in [
        (Vec::new(), "shorter than any store"),
        (b"SQLite format 3\0 and more".to_vec(), "begins with SQLite"),
    ] {
        let error = RedbEngine::open_on(Arc::new(SimDisk::holding(bytes)), options()).unwrap_err();
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.to_string().contains("a simulated disk"), "{error}");
    }
}

/// How redb's leaf page with these entries begins, behind its kind and a byte without meaning:
/// count u16, ends of the keys u32, ends of the values u32, both from the page's start, the keys.
fn head(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut head = u16::try_from(entries.len()).unwrap().to_le_bytes().to_vec();
    let mut end = 4 + 8 * entries.len();
    let keys = entries.iter().map(|(key, _)| key.len());
    for length in keys.chain(entries.iter().map(|(_, value)| value.len())) {
        end += length;
        head.extend_from_slice(&u32::try_from(end).unwrap().to_le_bytes());
    }
    entries.iter().for_each(|(key, _)| head.extend_from_slice(key));
    head
}

/// A store that was given `stored` and whose pages say `found`.
fn misread(stored: &[(&[u8], &[u8])], found: &[(&[u8], &[u8])]) -> RedbEngine {
    let disk = SimDisk::new();
    let engine = on_disk(&disk);
    let set =
        |(key, value): &(&[u8], &[u8])| Mutation::Set { key: key.to_vec(), value: value.to_vec() };
    let mutations = stored.iter().map(set).collect();
    engine.apply(&Batch { version: engine.version() + 1, mutations }).unwrap();
    drop(engine);
    let mut bytes = disk.crash(Survival::Everything);
    let (right, wrong) = (head(stored), head(found));
    let starts: Vec<usize> = (0..bytes.len())
        .step_by(4096)
        .map(|page| page + 2)
        .filter(|&start| bytes[start..].starts_with(&right))
        .collect();
    assert!(!starts.is_empty(), "redb lays out its pages in another way");
    for start in starts {
        bytes[start..start + wrong.len()].copy_from_slice(&wrong);
    }
    RedbEngine::open_on(Arc::new(SimDisk::holding(bytes)), options()).unwrap()
}

type Read = fn(&RedbEngine) -> Result<(), EngineError>;

fn all(engine: &RedbEngine, reverse: bool) -> Result<(), EngineError> {
    let range = KeyRange::new(Vec::new(), vec![0xff; KEY_BYTES_MAX + 2]);
    engine.snapshot()?.range(&RangeRead { range, limit: 100, reverse }).map(drop)
}

/// E217: what a page says of its entries is within the limits, in the range and in order, or it is
/// damage; the engine ends then.
#[test]
fn what_no_batch_can_have_stored_is_damage() {
    let forward: Read = |engine| all(engine, false);
    let backward: Read = |engine| all(engine, true);
    let get: Read = |engine| engine.snapshot()?.get(b"K").map(drop);
    let part: Read = |engine| {
        let range = KeyRange::new(*b"b", *b"c");
        engine.snapshot()?.range(&RangeRead::new(range)).map(drop)
    };
    let atomic: Read = |engine| {
        let (op, operand) = (AtomicOp::ByteMax, vec![1]);
        let mutations = vec![Mutation::Atomic { op, key: b"K".to_vec(), operand }];
        engine.apply(&Batch { version: engine.version() + 1, mutations })
    };
    let (key, longer_key) = (vec![b'L'; KEY_BYTES_MAX], vec![b'L'; KEY_BYTES_MAX + 1]);
    let (value, longer_value) = (vec![b'L'; VALUE_BYTES_MAX], vec![b'L'; VALUE_BYTES_MAX + 1]);
    type Entries<'a> = &'a [(&'a [u8], &'a [u8])];
    let key_stored: Entries<'_> = &[(&key, &value)];
    let key_found: Entries<'_> = &[(&longer_key, &value[1..])];
    let value_stored: Entries<'_> = &[(b"K", &value)];
    let value_found: Entries<'_> = &[(b"K", &longer_value)];
    let in_order: Entries<'_> = &[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")];
    let first_behind: Entries<'_> = &[(b"z", b"1"), (b"b", b"2"), (b"c", b"3")];
    let twice: Entries<'_> = &[(b"a", b"1"), (b"b", b"2"), (b"b", b"3")];
    let cases: [(&str, Entries<'_>, Entries<'_>, &[Read]); 4] = [
        ("a key of 10001 bytes", key_stored, key_found, &[forward, backward]),
        ("a value of 100001 bytes", value_stored, value_found, &[forward, backward, get, atomic]),
        ("out of place", in_order, first_behind, &[forward, backward]),
        ("out of place", in_order, twice, &[forward, backward, part]),
    ];
    for (said, stored, found, reads) in cases {
        for (number, read) in reads.iter().enumerate() {
            read(&misread(stored, stored)).unwrap();
            let engine = misread(stored, found);
            let result = read(&engine);
            let Err(EngineError::Damaged { reason }) = &result else {
                panic!("{said}, read {number}: {result:?}");
            };
            assert!(reason.contains(said), "{reason}");
            assert!(engine.failed());
            assert_eq!(engine.snapshot().err(), result.err(), "E206");
            let next = Batch { version: engine.version() + 1, mutations: Vec::new() };
            let refused = engine.apply(&next).unwrap_err().to_string();
            assert!(refused.contains(REFUSED_BEFORE_WRITING), "{refused}");
        }
    }
}
