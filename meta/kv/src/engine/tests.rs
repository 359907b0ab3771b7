//! What every engine must do, against a map of the standard library.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine_types::{Rng, WallTime};

use crate::api::RangeRead;
use crate::engine::file::Device;
use crate::engine::memory::MemoryEngine;
use crate::engine::redb::{Birth, RedbEngine, RedbOptions};
use crate::engine::simdisk::SimDisk;
use crate::engine::{Batch, EngineSnapshot, KvEngine};
use crate::key::KeyRange;
use crate::limits::{PAGE_BYTES_MAX, PAGE_ENTRIES_MAX, VALUE_BYTES_MAX};
use crate::mutation::{AtomicOp, Mutation};

/// The reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model(pub(crate) BTreeMap<Vec<u8>, Vec<u8>>);

impl Model {
    pub(crate) fn apply(&mut self, batch: &Batch) {
        for mutation in &batch.mutations {
            match mutation {
                Mutation::Set { key, value } => {
                    self.0.insert(key.clone(), value.clone());
                }
                Mutation::Clear { range } => self.0.retain(|key, _| !range.contains(key)),
                Mutation::Atomic { op, key, operand } => {
                    match op.apply(self.0.get(key).map(Vec::as_slice), operand) {
                        Some(value) => drop(self.0.insert(key.clone(), value)),
                        None => drop(self.0.remove(key)),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn range(&self, read: &RangeRead) -> Vec<(Vec<u8>, Vec<u8>)> {
        let inside = self.0.iter().filter(|(key, _)| read.range.contains(key));
        let mut entries: Vec<_> = inside.map(|(key, value)| (key.clone(), value.clone())).collect();
        if read.reverse {
            entries.reverse();
        }
        entries
    }
}

/// Few keys, so that writes meet; some long, and the empty one.
pub(crate) fn random_key(rng: &mut Rng) -> Vec<u8> {
    let mut key = vec![b'k'; usize::try_from(rng.below(3)).unwrap()];
    if rng.chance(900) {
        key.push(u8::try_from(rng.below(60)).unwrap());
    }
    if rng.chance(30) {
        key.resize(300, 7);
    }
    key
}

fn random_value(rng: &mut Rng) -> Vec<u8> {
    let bytes = if rng.chance(50) { rng.below(6_000) } else { rng.below(40) };
    let mut value = vec![0; usize::try_from(bytes).unwrap()];
    rng.fill_bytes(&mut value);
    value
}

pub(crate) fn random_mutation(rng: &mut Rng) -> Mutation {
    match rng.below(10) {
        0..5 => Mutation::Set { key: random_key(rng), value: random_value(rng) },
        5 => Mutation::Clear { range: KeyRange::single(&random_key(rng)) },
        // Inverted ones clear nothing.
        6 => Mutation::Clear { range: KeyRange::new(random_key(rng), random_key(rng)) },
        _ => {
            let op = *rng.pick(&AtomicOp::ALL).unwrap();
            Mutation::Atomic { op, key: random_key(rng), operand: random_value(rng) }
        }
    }
}

pub(crate) fn random_batch(rng: &mut Rng, version: u64) -> Batch {
    let mutations = (0..rng.below(12)).map(|_| random_mutation(rng)).collect();
    Batch { version, mutations }
}

/// Every entry, page by page.
pub(crate) fn entries<S: EngineSnapshot>(snapshot: &S) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut read = RangeRead::new(KeyRange::new(Vec::new(), vec![0xff; 20]));
    loop {
        let page = snapshot.range(&read).unwrap();
        if let Some((last, _)) = page.entries.last() {
            read = read.behind(last);
        }
        all.extend(page.entries);
        if !page.more {
            return all;
        }
    }
}

fn check_reads<S: EngineSnapshot>(snapshot: &S, model: &Model, rng: &mut Rng) {
    for _ in 0..8 {
        let key = random_key(rng);
        assert_eq!(snapshot.get(&key).unwrap().as_ref(), model.0.get(&key));
        let range = KeyRange::new(random_key(rng), random_key(rng));
        let limit = usize::try_from(rng.range(0..=20)).unwrap();
        let read = RangeRead { range, limit, reverse: rng.chance(500) };
        let (page, expected) = (snapshot.range(&read).unwrap(), model.range(&read));
        assert_eq!(page.entries, expected[..expected.len().min(limit.max(1))], "{read:?}");
        assert_eq!(page.more, page.entries.len() < expected.len(), "{read:?}");
    }
}

/// Random batches, with snapshots of which each still shows its own state later (E204).
fn check_model<E: KvEngine>(engine: &E, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut model = Model::default();
    let mut held: Vec<(E::Snapshot, Model)> = Vec::new();
    for _ in 0..60 {
        let version = engine.version() + rng.range(1..=5);
        let batch = random_batch(&mut rng, version);
        engine.apply(&batch).unwrap();
        model.apply(&batch);
        assert_eq!(engine.version(), batch.version);
        let snapshot = engine.snapshot().unwrap();
        check_reads(&snapshot, &model, &mut rng);
        if rng.chance(300) {
            held.push((snapshot, model.clone()));
        }
        if rng.chance(100) && !held.is_empty() {
            let index = usize::try_from(rng.below(held.len() as u64)).unwrap();
            let (snapshot, model) = held.swap_remove(index);
            assert_eq!(entries(&snapshot), model.0, "seed {seed}");
        }
    }
    for (snapshot, model) in held {
        assert_eq!(entries(&snapshot.clone()), model.0, "seed {seed}");
    }
}

/// Mutations of one batch act in order; an empty batch has a version too.
fn check_order<E: KvEngine>(engine: &E) {
    let set = |key: &[u8], value: &[u8]| Mutation::Set { key: key.into(), value: value.into() };
    let add =
        |key: &[u8]| Mutation::Atomic { op: AtomicOp::Add, key: key.into(), operand: vec![1] };
    let clear = |begin: &[u8], end: &[u8]| Mutation::Clear { range: KeyRange::new(begin, end) };
    let mutations = vec![
        set(b"a", &[1]),
        add(b"a"),
        set(b"b", b"x"),
        set(b"c", b"x"),
        clear(b"b", b"d"),
        add(b"c"),
        add(b"c"),
        set(b"d", b"kept"),
        clear(b"e", b"d"),
    ];
    engine.apply(&Batch { version: engine.version() + 1, mutations }).unwrap();
    let version = engine.version() + 1;
    engine.apply(&Batch { version, mutations: Vec::new() }).unwrap();
    assert_eq!(engine.version(), version);
    let snapshot = engine.snapshot().unwrap();
    let found: Vec<_> = entries(&snapshot).into_iter().collect();
    let expected = [(b"a", vec![2]), (b"c", vec![2]), (b"d", b"kept".to_vec())];
    assert_eq!(found, expected.map(|(key, value)| (key.to_vec(), value)));
}

/// A page ends with the entry that reaches its limit of bytes, or at the limit of entries.
fn check_pages<E: KvEngine>(engine: &E) {
    let big = (0..12u8)
        .map(|index| Mutation::Set { key: vec![1, index], value: vec![index; VALUE_BYTES_MAX] });
    engine.apply(&Batch { version: engine.version() + 1, mutations: big.collect() }).unwrap();
    let small = (0..=PAGE_ENTRIES_MAX)
        .map(|index| Mutation::Set { key: format!("s{index:05}").into_bytes(), value: Vec::new() });
    engine.apply(&Batch { version: engine.version() + 1, mutations: small.collect() }).unwrap();
    let snapshot = engine.snapshot().unwrap();
    for reverse in [false, true] {
        let range = KeyRange::prefix(&[1]).unwrap();
        let page = snapshot.range(&RangeRead { range, limit: 100, reverse }).unwrap();
        let bytes: usize = page.entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        let last = page.entries.last().map(|(key, value)| key.len() + value.len()).unwrap();
        assert!(page.more && PAGE_BYTES_MAX <= bytes && bytes - last < PAGE_BYTES_MAX);
        let range = KeyRange::prefix(b"s").unwrap();
        let read = RangeRead { range, limit: usize::MAX, reverse };
        let page = snapshot.range(&read).unwrap();
        assert!(page.more && page.entries.len() == PAGE_ENTRIES_MAX);
        let rest = snapshot.range(&read.behind(&page.entries.last().unwrap().0)).unwrap();
        assert!(!rest.more && rest.entries.len() == 1);
    }
}

fn check<E: KvEngine>(mut make: impl FnMut() -> E) {
    for seed in 0..6 {
        check_model(&make(), seed);
    }
    check_order(&make());
    check_pages(&make());
}

pub(crate) const BIRTH: Birth = Birth { store: 0x1234, created: WallTime::from_nanos(99) };

/// A directory of a test; it goes when the test is done.
pub(crate) struct TestDirectory(pub(crate) PathBuf);

impl TestDirectory {
    pub(crate) fn new() -> Self {
        // In memory where there is such a place: the tests need files, not a disk's flushes.
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("meta-kv-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Small, so that pages are evicted and read again.
pub(crate) fn options() -> RedbOptions {
    RedbOptions { cache_bytes: 1 << 20, ..RedbOptions::default() }
}

/// A store on a simulated disk, created there.
pub(crate) fn on_disk(disk: &SimDisk) -> RedbEngine {
    let device: Arc<dyn Device> = Arc::new(disk.clone());
    RedbEngine::create_on(Arc::clone(&device), BIRTH).unwrap();
    RedbEngine::open_on(device, options()).unwrap()
}

#[test]
fn memory_is_an_engine() {
    check(MemoryEngine::new);
}

#[test]
fn redb_on_a_file_is_an_engine() {
    let directory = TestDirectory::new();
    let mut number = 0;
    check(|| {
        number += 1;
        let path = directory.0.join(number.to_string());
        RedbEngine::create(&path, BIRTH).unwrap();
        RedbEngine::open(&path, options()).unwrap()
    });
}

#[test]
fn redb_on_a_simulated_disk_is_an_engine() {
    check(|| on_disk(&SimDisk::new()));
}

#[cfg(feature = "fjall")]
#[test]
fn fjall_is_an_engine() {
    let directory = TestDirectory::new();
    let mut number = 0;
    check(|| {
        number += 1;
        crate::engine::fjall::FjallEngine::open(&directory.0.join(number.to_string())).unwrap()
    });
}
