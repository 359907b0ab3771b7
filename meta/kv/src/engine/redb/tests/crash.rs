//! A crash at every operation of a history.

use std::sync::Arc;

use engine_types::Rng;

use crate::engine::redb::{RedbEngine, START_JUMP};
use crate::engine::simdisk::{Image, Operation, SimDisk, Survival};
use crate::engine::tests::{Model, entries, on_disk, options, random_batch};
use crate::engine::{Batch, EngineError, KvEngine};
use crate::mutation::Mutation;

/// What was durable once the log had this length.
struct Acknowledged {
    log: usize,
    version: u64,
    model: Model,
}

/// Every sixth batch is large, so that the file grows inside the history.
fn batch(rng: &mut Rng, version: u64, index: usize) -> Batch {
    let mut batch = random_batch(rng, version);
    if index % 6 == 5 {
        let large = (0..6u8).map(|part| Mutation::Set {
            key: vec![b'L', u8::try_from(index).unwrap(), part],
            value: vec![part; 60_000],
        });
        batch.mutations.extend(large);
    }
    batch
}

/// Runs a history; what it acknowledged, and all that the disk did.
fn history(seed: u64, batches: usize) -> (Vec<Acknowledged>, Vec<Operation>) {
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new();
    let engine = on_disk(&disk);
    let mut model = Model::default();
    let start =
        Acknowledged { log: disk.operations(), version: engine.version(), model: model.clone() };
    let mut acknowledged = vec![start];
    for index in 0..batches {
        let batch = batch(&mut rng, engine.version() + 1, index);
        engine.apply(&batch).unwrap();
        model.apply(&batch);
        let (log, version) = (disk.operations(), batch.version);
        acknowledged.push(Acknowledged { log, version, model: model.clone() });
    }
    let log = disk.log();
    (acknowledged, log)
}

/// Opens what a crash left. It must be the last acknowledged state or the one in flight.
fn check(left: Vec<u8>, at: usize, acknowledged: &[Acknowledged]) -> Result<(), String> {
    let last = acknowledged.iter().rposition(|state| state.log <= at).expect("after the start");
    let engine = RedbEngine::open_on(Arc::new(SimDisk::holding(left)), options());
    let engine = engine.map_err(|error| format!("operation {at}: {error}"))?;
    let found = entries(&engine.snapshot().map_err(|error| error.to_string())?);
    let stored = engine.version() - START_JUMP;
    let possible = &acknowledged[last..acknowledged.len().min(last + 2)];
    match possible.iter().any(|state| state.version == stored && state.model.0 == found) {
        true => Ok(()),
        false => Err(format!("operation {at}: version {stored}, {} keys", found.len())),
    }
}

fn check_history(seed: u64, batches: usize, mut image: Image) -> Result<(), String> {
    let (acknowledged, log) = history(seed, batches);
    let mut rng = Rng::new(seed).fork("crash");
    for (at, operation) in log.iter().enumerate() {
        if acknowledged[0].log <= at {
            let random = Survival::Random(rng.fork(&at.to_string()));
            rng.next_u64();
            // One of the three at each place, random twice as often; the seeds cover all.
            let survival = match (at + usize::try_from(seed).unwrap()) % 4 {
                0 => Survival::Nothing,
                1 => Survival::Everything,
                _ => random,
            };
            check(image.crash(survival.clone()), at, &acknowledged)
                .map_err(|error| format!("seed {seed}, {survival:?}: {error}"))?;
        }
        image.apply(operation);
    }
    check(image.crash(Survival::Nothing), log.len(), &acknowledged)
}

/// E203, E202: whole batches, nothing acknowledged is lost.
#[test]
fn a_crash_at_any_operation_leaves_whole_batches() {
    for seed in 0..4 {
        check_history(seed, 13, Image::default()).unwrap();
    }
}

#[test]
fn the_check_sees_flushes_that_do_nothing() {
    let disk = SimDisk::new();
    disk.ignore_syncs();
    check_history(1, 13, disk.image()).expect_err("a planted fault");
}

/// The engine itself, not a replay: after the crash it refuses, and what it had acknowledged is
/// there. A crash inside the opening that follows does no harm either.
#[test]
fn an_engine_that_loses_its_disk_refuses_and_recovers() {
    let (_, whole) = history(9, 8);
    for at in (whole.len() / 2..whole.len()).step_by(7) {
        let mut rng = Rng::new(9);
        let disk = SimDisk::new();
        let engine = on_disk(&disk);
        disk.crash_at(at);
        let mut model = Model::default();
        let mut index = 0;
        let (mut acknowledged, flying) = loop {
            let batch = batch(&mut rng, engine.version() + 1, index);
            let before = Acknowledged { log: 0, version: engine.version(), model: model.clone() };
            model.apply(&batch);
            if let Err(error) = engine.apply(&batch) {
                assert!(matches!(error, EngineError::Io { .. }), "{error}");
                assert_eq!(engine.snapshot().err(), Some(error), "E206");
                assert!(engine.failed() && engine.apply(&batch).is_err(), "E206");
                break (before, batch.version);
            }
            index += 1;
        };
        drop(engine);
        let mut left = disk.crash(Survival::Random(rng.fork("left")));
        for inner in [0, 3, 9] {
            let disk = SimDisk::holding(left);
            disk.crash_at(inner);
            let opened = RedbEngine::open_on(Arc::new(disk.clone()), options());
            opened.expect_err("the disk is gone");
            left = disk.crash(Survival::Random(rng.fork("again")));
        }
        // Some of the openings may have raised the version before they failed.
        let engine = RedbEngine::open_on(Arc::new(SimDisk::holding(left)), options()).unwrap();
        let found = entries(&engine.snapshot().unwrap());
        let stored = (engine.version() - START_JUMP) % START_JUMP;
        if stored == flying % START_JUMP {
            acknowledged.model = model;
        } else {
            assert_eq!(stored, acknowledged.version % START_JUMP, "operation {at}");
        }
        assert_eq!(found, acknowledged.model.0, "operation {at}");
    }
}
