//! Creation, starts, the lock, and the order of flush and answer.

use std::fs;
use std::sync::{Arc, Mutex};

use crate::engine::directory::{CREATE_FILE, LOCK_FILE, OpenError, STORE_FILE};
use crate::engine::redb::birth::{self, Beginning};
use crate::engine::redb::guard::guarded;
use crate::engine::redb::{
    FORMAT_VERSION, META, RESTORE_JUMP, RedbEngine, RedbOptions, START_JUMP, write,
};
use crate::engine::seam::{Event, Trace};
use crate::engine::simdisk::{SimDisk, Survival};
use crate::engine::tests::{BIRTH, TestDirectory, on_disk, options};
use crate::engine::{Batch, EngineSnapshot, KvEngine};
use crate::mutation::Mutation;

fn batch(version: u64) -> Batch {
    let set = Mutation::Set { key: b"k".to_vec(), value: version.to_le_bytes().to_vec() };
    Batch { version, mutations: vec![set] }
}

/// E216: versions of a start are above those of all before it.
#[test]
fn a_start_raises_the_version() {
    let directory = TestDirectory::new();
    let path = directory.0.join("store");
    RedbEngine::create(&path, BIRTH).unwrap();
    let mut last = 0;
    for start in 1..=4 {
        let engine = RedbEngine::open(&path, options()).unwrap();
        let identity = engine.identity();
        assert_eq!((identity.store, identity.created), (BIRTH.store, BIRTH.created));
        assert_eq!((identity.starts, identity.restores), (start, 0));
        assert_eq!(engine.version(), last + START_JUMP);
        if start != 2 {
            engine.apply(&batch(engine.version() + 3)).unwrap();
        }
        last = engine.version();
        assert_eq!(engine.snapshot().unwrap().version(), last);
    }
    let engine = RedbEngine::open(&path, options()).unwrap();
    let value = engine.snapshot().unwrap().get(b"k").unwrap().unwrap();
    assert_eq!(value, last.to_le_bytes());
}

/// A crash loop neither uses up the versions nor what a restore adds to them (E223): that is above
/// all that the lost store can have reached since the backup.
#[test]
fn starts_use_up_neither_versions_nor_the_jump_of_a_restore() {
    let disk = SimDisk::new();
    let mut last = on_disk(&disk).version();
    let mut jumps = Vec::new();
    for _ in 0..20 {
        let engine = RedbEngine::open_on(Arc::new(disk.clone()), options()).unwrap();
        jumps.push(engine.version() - last);
        engine.apply(&batch(engine.version() + 1)).unwrap();
        last = engine.version();
    }
    let start = *jumps.iter().max().unwrap();
    let seconds = |years: u64| years * 366 * 24 * 60 * 60;
    // A start and a thousand groups in each second since the backup.
    assert!(seconds(100) * (start + 1_000) < RESTORE_JUMP, "{start}");
    assert!(u64::MAX / start > seconds(10_000), "{start}");
    const { assert!(250 < u64::MAX / RESTORE_JUMP, "restores of one store") };
}

#[test]
fn one_owner_at_a_time() {
    let directory = TestDirectory::new();
    let path = directory.0.join("store");
    assert!(matches!(RedbEngine::open(&path, options()), Err(OpenError::Missing { .. })));
    RedbEngine::create(&path, BIRTH).unwrap();
    let engine = RedbEngine::open(&path, options()).unwrap();
    engine.apply(&batch(engine.version() + 1)).unwrap();
    let error = RedbEngine::open(&path, options()).unwrap_err();
    let expected = format!("is in use by process {}", std::process::id());
    assert!(error.to_string().ends_with(&expected), "{error}");
    // A reader does not keep the directory.
    let snapshot = engine.snapshot().unwrap();
    drop(engine);
    RedbEngine::open(&path, options()).unwrap();
    snapshot.get(b"k").expect_err("its engine is closed");
}

#[test]
fn only_an_empty_directory_becomes_a_store() {
    let directory = TestDirectory::new();
    fs::write(directory.0.join("letter.txt"), "dear").unwrap();
    let error = RedbEngine::create(&directory.0, BIRTH).unwrap_err();
    assert!(matches!(&error, OpenError::NotEmpty { found, .. } if found == "letter.txt"));
    assert!(!directory.0.join(LOCK_FILE).exists(), "it is left as it was");
    let path = directory.0.join("store");
    RedbEngine::create(&path, BIRTH).unwrap();
    let error = RedbEngine::create(&path, BIRTH).unwrap_err();
    assert!(matches!(&error, OpenError::NotEmpty { found, .. } if found == STORE_FILE));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(path.join(STORE_FILE)).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

/// E213: whatever a crash inside the creation left is no store, and the next creation repeats it.
#[test]
fn an_interrupted_creation_is_repeated() {
    let whole = SimDisk::new();
    RedbEngine::create_on(Arc::new(whole.clone()), BIRTH).unwrap();
    let operations = whole.operations();
    for at in (0..operations).step_by(5) {
        let disk = SimDisk::new();
        disk.crash_at(at);
        // The last part of it only closes the file.
        let created = RedbEngine::create_on(Arc::new(disk.clone()), BIRTH);
        assert!(created.is_err() || operations / 2 < at, "operation {at} of {operations}");
        let directory = TestDirectory::new();
        let left = disk.crash(Survival::Everything);
        fs::write(directory.0.join(CREATE_FILE), left).unwrap();
        let error = RedbEngine::open(&directory.0, options()).unwrap_err();
        assert!(matches!(error, OpenError::Unfinished { .. }), "{error}");
        RedbEngine::create(&directory.0, BIRTH).unwrap();
        assert_eq!(RedbEngine::open(&directory.0, options()).unwrap().identity().starts, 1);
        assert!(!directory.0.join(CREATE_FILE).exists());
    }
}

#[test]
fn a_newer_format_is_refused() {
    let device: Arc<dyn crate::engine::file::Device> = Arc::new(SimDisk::new());
    let open = birth::open_empty(&device, &options()).unwrap();
    let beginning = Beginning { birth: BIRTH, version: 0, starts: 0, restores: 0 };
    guarded(|| {
        let transaction = write::begin(&open)?;
        birth::begin_store(&transaction, beginning)?;
        transaction.open_table(META)?.insert("format", FORMAT_VERSION + 1)?;
        Ok(transaction.commit()?)
    })
    .unwrap();
    super::super::close(open);
    let error = RedbEngine::open_on(device, options()).unwrap_err();
    let (found, known) = (FORMAT_VERSION + 1, FORMAT_VERSION);
    let expected = OpenError::Newer { path: "a simulated disk".to_owned(), found, known };
    assert_eq!(error, expected);
}

/// E202: the last thing before the answer is a flush that ended after the last write; and a group
/// of commits shares it.
#[test]
fn the_flush_comes_before_the_answer() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let trace = Trace::new(move |event| sink.lock().unwrap().push(event));
    let directory = TestDirectory::new();
    let path = directory.0.join("store");
    RedbEngine::create(&path, BIRTH).unwrap();
    let options = RedbOptions { trace: Some(trace), ..options() };
    let engine = RedbEngine::open(&path, options).unwrap();
    let mut fewest = usize::MAX;
    for _ in 0..20 {
        events.lock().unwrap().clear();
        let mutations = (0..64).flat_map(|_| batch(0).mutations).collect();
        engine.apply(&Batch { version: engine.version() + 1, mutations }).unwrap();
        let events = std::mem::take(&mut *events.lock().unwrap());
        let (last, before) = events.split_last().unwrap();
        assert_eq!(*last, Event::Applied { version: engine.version() });
        let written = before.iter().rposition(|event| matches!(event, Event::Write { .. }));
        let flushed = before.iter().rposition(|event| *event == Event::SyncEnd);
        assert!(written.is_some() && written < flushed, "{before:?}");
        let count = |wanted: Event| before.iter().filter(|event| **event == wanted).count();
        assert_eq!(count(Event::SyncBegin), count(Event::SyncEnd));
        fewest = fewest.min(count(Event::SyncEnd));
    }
    assert_eq!(fewest, 2, "two phases for all 64; growth adds one");
}
