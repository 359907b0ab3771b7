//! Bytes that redb did not write (E217).

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_types::Rng;

use crate::engine::directory::OpenError;
use crate::engine::redb::{RedbEngine, RedbOptions};
use crate::engine::simdisk::{SimDisk, Survival};
use crate::engine::tests::{on_disk, options, random_batch};
use crate::engine::{Batch, EngineError, EngineSnapshot, KvEngine};

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
        let all = crate::api::RangeRead::new(crate::key::KeyRange::all());
        engine.snapshot()?.range(&all)?;
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
