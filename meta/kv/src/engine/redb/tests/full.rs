//! A full disk, and one that fails.

use std::process::Command;
use std::sync::Arc;

use rustix::io::Errno;

use crate::engine::file::Device;
use crate::engine::redb::{REFUSED_BEFORE_WRITING, RedbEngine, RedbOptions, START_JUMP};
use crate::engine::simdisk::{Operation, SimDisk};
use crate::engine::tests::{BIRTH, Model, TestDirectory, entries, on_disk, options};
use crate::engine::{Batch, EngineError, EngineSnapshot, KvEngine};
use crate::mutation::Mutation;

/// `count` keys of 1 kB; the version makes them differ.
fn batch(version: u64, first: u64, count: u64) -> Batch {
    let set = |index: u64| Mutation::Set {
        key: format!("key {index:06}").into_bytes(),
        value: [&version.to_le_bytes()[..], &[3; 1_000]].concat(),
    };
    Batch { version, mutations: (first..first + count).map(set).collect() }
}

fn is_full(result: &Result<(), EngineError>) -> bool {
    matches!(result, Err(EngineError::Full { .. }))
}

/// E215: no part of the batch, the engine goes on, and room makes it work again.
#[test]
fn a_full_disk_refuses_batches_and_nothing_else() {
    let disk = SimDisk::new();
    let engine = on_disk(&disk);
    let mut model = Model::default();
    let mut step = |engine: &RedbEngine, first: u64, count: u64| {
        let batch = batch(engine.version() + 1, first, count);
        let result = engine.apply(&batch);
        if result.is_ok() {
            model.apply(&batch);
        }
        assert_eq!(entries(&engine.snapshot().unwrap()), model.0);
        result
    };
    step(&engine, 0, 100).unwrap();
    disk.set_capacity(Some(5 << 20));
    let mut refused = 0;
    for round in 0..12 {
        let old = engine.version();
        let result = step(&engine, 100 + round * 500, 500);
        if is_full(&result) {
            refused += 1;
            assert_eq!(engine.version(), old);
            assert_eq!(engine.failure(), None);
            // Small ones still fit into what is free inside the file.
            step(&engine, 0, 1).unwrap();
        } else {
            result.unwrap();
        }
    }
    assert!(2 < refused, "{refused} of 12 were refused");
    disk.set_capacity(None);
    step(&engine, 9_000, 3_000).unwrap();
    drop(engine);
    let engine = RedbEngine::open_on(Arc::new(disk), options()).unwrap();
    assert_eq!(entries(&engine.snapshot().unwrap()), model.0);
}

/// E216: whoever read while the disk was full has a version that was never stored. It is below all
/// of the next start, because the engine ends before it would not be.
#[test]
fn versions_that_were_never_stored_are_below_the_next_start() {
    let disk = SimDisk::new();
    let engine = on_disk(&disk);
    // With room, any distance is fine: the version is stored.
    let stored = engine.version() + 2 * START_JUMP;
    engine.apply(&batch(stored, 0, 1)).unwrap();
    disk.set_capacity(disk.len().ok());
    let used = stored + START_JUMP - 1;
    assert!(is_full(&engine.apply(&batch(used, 0, 3_000))));
    assert!(!engine.failed());
    let error = engine.apply(&batch(used + 1, 0, 3_000)).unwrap_err();
    assert!(matches!(&error, EngineError::Io { reason } if reason.contains("E216")), "{error}");
    assert!(engine.failed());
    drop(engine);
    disk.set_capacity(None);
    let engine = RedbEngine::open_on(Arc::new(disk), options()).unwrap();
    assert_eq!(engine.version(), stored + START_JUMP);
    assert!(used < engine.version());
}

/// The disk fills at each operation of a commit that grows the file: the batch is there or not,
/// as the answer says, and the engine goes on, unless it was a flush that failed.
#[test]
fn a_full_disk_at_any_operation_tells_the_truth() {
    let measure = SimDisk::new();
    let engine = on_disk(&measure);
    engine.apply(&batch(engine.version() + 1, 0, 300)).unwrap();
    let first = measure.operations();
    engine.apply(&batch(engine.version() + 1, 300, 700)).unwrap();
    let last = measure.operations();
    let log = measure.log();
    drop(engine);
    let mut outcomes = [0; 3];
    for (at, operation) in log.iter().enumerate().take(last).skip(first) {
        // Pages are many and alike; everything else is tried.
        if matches!(operation, Operation::Write { .. }) && at % 23 != 0 {
            continue;
        }
        let disk = SimDisk::new();
        let engine = on_disk(&disk);
        let mut model = Model::default();
        let before = batch(engine.version() + 1, 0, 300);
        engine.apply(&before).unwrap();
        model.apply(&before);
        let old = engine.snapshot().unwrap();
        assert_eq!(disk.operations(), first, "the same history");
        disk.fail_at(at, Errno::NOSPC);
        let batch = batch(engine.version() + 1, 300, 700);
        let result = engine.apply(&batch);
        // An older view reads on or says that it cannot; it never ends the engine.
        let _ = old.get(b"key 000001");
        match &result {
            Ok(()) => model.apply(&batch),
            Err(EngineError::Full { .. }) => {}
            Err(error) => {
                assert_eq!(*operation, Operation::Sync, "{error}");
                assert_eq!(engine.failure().as_ref(), Some(error));
                outcomes[2] += 1;
                continue;
            }
        }
        outcomes[usize::from(result.is_err())] += 1;
        assert_eq!(engine.failure(), None);
        assert_eq!(entries(&engine.snapshot().unwrap()), model.0, "operation {at}");
        let again = Batch { version: engine.version() + 1, ..batch };
        engine.apply(&again).unwrap();
        model.apply(&again);
        assert_eq!(entries(&engine.snapshot().unwrap()), model.0, "operation {at}");
    }
    let [done, full, failed] = outcomes;
    assert!(2 < full && 1 < failed, "{done} done, {full} full, {failed} failed");
}

/// E206, E210: any other failure ends the engine, a failed flush first of all.
#[test]
fn a_failed_operation_ends_the_engine() {
    for kind in ["write", "sync", "length"] {
        let disk = SimDisk::new();
        let engine = on_disk(&disk);
        let from = disk.operations();
        let probe = SimDisk::new();
        let other = on_disk(&probe);
        other.apply(&batch(other.version() + 1, 0, 2_000)).unwrap();
        let of_kind = |operation: &Operation| match operation {
            Operation::Write { .. } => kind == "write",
            Operation::Sync => kind == "sync",
            Operation::SetLen(_) => kind == "length",
            Operation::Claim(_) => false,
        };
        let at = from + probe.log()[from..].iter().position(of_kind).unwrap();
        disk.fail_at(at, Errno::IO);
        let snapshot = engine.snapshot().unwrap();
        let next = batch(engine.version() + 1, 0, 2_000);
        let error = engine.apply(&next).unwrap_err();
        assert!(matches!(error, EngineError::Io { .. }), "{kind}: {error}");
        assert!(error.to_string().contains("a simulated disk"), "{error}");
        let operations = disk.operations();
        assert!(engine.failed());
        refuses(&engine, &error);
        assert_eq!(engine.snapshot().err(), Some(error.clone()));
        assert_eq!(snapshot.get(b"x").err(), Some(error));
        drop((snapshot, engine));
        assert_eq!(disk.operations(), operations, "E210: nothing more is written");
    }
}

#[test]
fn a_failed_read_ends_the_engine() {
    let disk = SimDisk::new();
    let engine = on_disk(&disk);
    engine.apply(&batch(engine.version() + 1, 0, 3_000)).unwrap();
    let snapshot = engine.snapshot().unwrap();
    assert!(!engine.failed());
    disk.fail_reads(true);
    let all = crate::api::RangeRead::new(crate::key::KeyRange::all());
    let error = snapshot.range(&all).unwrap_err();
    assert!(matches!(&error, EngineError::Io { reason } if reason.contains("cannot read")));
    disk.fail_reads(false);
    assert!(engine.failed());
    refuses(&engine, &error);
}

/// An engine that has failed says why, and that nothing of the batch was written.
fn refuses(engine: &RedbEngine, failure: &EngineError) {
    let error = engine.apply(&batch(engine.version() + 1, 0, 1)).unwrap_err();
    let EngineError::Io { reason } = &error else { panic!("{error}") };
    assert!(reason.starts_with(REFUSED_BEFORE_WRITING), "{reason}");
    assert!(reason.ends_with(&failure.to_string()), "{reason}");
    assert_eq!(engine.failure().as_ref(), Some(failure));
}

/// A file system of a few megabytes, until it is dropped.
struct Small(TestDirectory);

impl Small {
    /// Nothing where this process may not mount one.
    fn mount() -> Option<Self> {
        let directory = TestDirectory::new();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(&directory.0);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self(directory))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0.0).status();
    }
}

/// On a real file system of a few megabytes, where this machine lets one be mounted.
#[test]
fn a_small_file_system_fills_up() {
    // Without the right to mount, the simulated disk has shown the same.
    let Some(small) = Small::mount() else { return };
    let store = small.0.0.join("store");
    RedbEngine::create(&store, BIRTH).unwrap();
    let mut engine = RedbEngine::open(&store, RedbOptions::default()).unwrap();
    let mut model = Model::default();
    let mut refused = 0;
    for round in 0..20 {
        if round == 15 {
            drop(engine);
            engine = RedbEngine::open(&store, RedbOptions::default()).unwrap();
        }
        let batch = batch(engine.version() + 1, round * 400, 400);
        match engine.apply(&batch) {
            Ok(()) => model.apply(&batch),
            result => {
                assert!(is_full(&result), "{result:?}");
                refused += 1;
            }
        }
        assert_eq!(entries(&engine.snapshot().unwrap()), model.0);
    }
    assert!(5 < refused, "{refused} of 20 were refused");
}
