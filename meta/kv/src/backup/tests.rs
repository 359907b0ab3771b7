use std::collections::BTreeMap;

use engine_types::Rng;

use super::format::{HEAD_BYTES, HEADER_BYTES, Head, KIND_BLOCK, crc};
use super::*;
use crate::engine::directory::{LOCK_FILE, STORE_FILE};
use crate::engine::memory::MemoryEngine;
use crate::engine::redb::{RedbEngine, RedbOptions, START_JUMP};
use crate::engine::tests::{BIRTH, Model, TestDirectory, entries, random_batch};
use crate::engine::{Batch, KvEngine};
use crate::limits::{KEY_BYTES_MAX, SYSTEM_PREFIX, VALUE_BYTES_MAX};
use crate::mutation::Mutation;

const ORIGIN: Origin =
    Origin { store: 0xabcdef, created: WallTime::from_nanos(5), restores: 2, version: 77 };

fn backed_up(engine: &impl KvEngine) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut last = Progress::default();
    let summary = backup(&engine.snapshot().unwrap(), ORIGIN, &mut bytes, |progress| {
        assert!(last.keys < progress.keys && last.bytes < progress.bytes);
        last = progress;
    });
    let summary = summary.unwrap();
    assert_eq!(summary.origin, ORIGIN);
    assert_eq!(summary.size.bytes, bytes.len() as u64);
    assert_eq!(summary.size.keys, last.keys);
    bytes
}

fn set(key: &[u8], value: &[u8]) -> Mutation {
    Mutation::Set { key: key.to_vec(), value: value.to_vec() }
}

/// A few keys in one block.
fn small() -> (MemoryEngine, Vec<u8>) {
    let engine = MemoryEngine::new();
    let mutations = vec![set(b"", b"empty"), set(b"a", b""), set(b"b", &[1, 2, 3])];
    engine.apply(&Batch { version: 1, mutations }).unwrap();
    let bytes = backed_up(&engine);
    (engine, bytes)
}

fn restored(bytes: &[u8]) -> (TestDirectory, RedbEngine) {
    let directory = TestDirectory::new();
    restore(bytes, &directory.0, |_| {}).unwrap();
    let engine = RedbEngine::open(&directory.0, RedbOptions::default()).unwrap();
    (directory, engine)
}

#[test]
fn a_restored_store_is_the_snapshot() {
    let engine = MemoryEngine::new();
    let mut model = Model::default();
    let mut rng = Rng::new(4);
    for version in 1..60 {
        let batch = random_batch(&mut rng, version);
        engine.apply(&batch).unwrap();
        model.apply(&batch);
    }
    // The largest there may be, several blocks, and the store's own keys.
    let mut mutations: Vec<_> = (0..40u8)
        .map(|index| set(&[vec![b'z'; KEY_BYTES_MAX - 1], vec![index]].concat(), &[index; 70_000]))
        .collect();
    mutations.push(set(&[SYSTEM_PREFIX; KEY_BYTES_MAX], &[9; VALUE_BYTES_MAX]));
    mutations.push(set(&[SYSTEM_PREFIX, 2], b"own"));
    let batch = Batch { version: 99, mutations };
    engine.apply(&batch).unwrap();
    model.apply(&batch);
    let bytes = backed_up(&engine);
    let summary = verify(&bytes[..], |_| {}).unwrap();
    assert_eq!((summary.origin, summary.size.keys), (ORIGIN, model.0.len() as u64));
    let (_directory, engine) = restored(&bytes);
    assert_eq!(engine.version(), ORIGIN.version + RESTORE_JUMP + START_JUMP, "E223");
    let identity = engine.identity();
    assert_eq!((identity.store, identity.created), (ORIGIN.store, ORIGIN.created));
    assert_eq!((identity.restores, identity.starts), (ORIGIN.restores + 1, 1));
    let snapshot = engine.snapshot().unwrap();
    let mut again = Vec::new();
    backup(&snapshot, ORIGIN, &mut again, |_| {}).unwrap();
    assert!(again == bytes, "the same keys make the same bytes");
    model.0.remove(&vec![SYSTEM_PREFIX; KEY_BYTES_MAX]); // behind the range of `entries`
    assert!(entries(&snapshot) == model.0);
    let origin = Origin::new(identity, snapshot.version());
    assert_eq!((origin.version, origin.restores), (engine.version(), ORIGIN.restores + 1));
}

/// E223: the last restore leaves as much room as the first.
#[test]
fn a_restore_leaves_room_for_its_store() {
    let with_version = |version| {
        let mut bytes = Vec::new();
        let origin = Origin { version, ..ORIGIN };
        backup(&MemoryEngine::new().snapshot().unwrap(), origin, &mut bytes, |_| {}).unwrap();
        bytes
    };
    let last = u64::MAX - 2 * RESTORE_JUMP;
    let (_directory, engine) = restored(&with_version(last));
    assert_eq!(engine.version(), last + RESTORE_JUMP + START_JUMP);
    for beyond in [last + 1, last + RESTORE_JUMP, u64::MAX] {
        let directory = TestDirectory::new();
        let error = restore(&with_version(beyond)[..], &directory.0, |_| {}).unwrap_err();
        assert_eq!(
            error,
            BackupError::Damaged { offset: 0, what: "the version", expected: last, found: beyond }
        );
    }
}

#[test]
fn an_empty_store_has_a_backup() {
    let bytes = backed_up(&MemoryEngine::new());
    let (_directory, engine) = restored(&bytes);
    assert_eq!(entries(&engine.snapshot().unwrap()), BTreeMap::new());
}

/// The bytes of format version 1: a change here is a new version.
#[test]
fn golden_bytes() {
    let (_, bytes) = small();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("golden-1.hex").trim());
}

/// E220: every byte counts; E221: no change makes a panic.
#[test]
fn any_change_is_refused() {
    let (_, bytes) = small();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let error = verify(&changed[..], |_| {}).unwrap_err();
            assert_eq!(matches!(error, BackupError::Foreign { .. }), at < 8, "{at}: {error}");
        }
    }
    for length in 0..bytes.len() {
        let error = verify(&bytes[..length], |_| {}).unwrap_err();
        let BackupError::Cut { offset, expected, found } = error else { panic!("{error}") };
        assert!(offset + found == length as u64 && found < expected);
    }
    let error = verify(&[&bytes[..], &[0]].concat()[..], |_| {}).unwrap_err();
    assert!(matches!(error, BackupError::Damaged { what: "what follows the footer", .. }));
    let mut rng = Rng::new(6);
    for _ in 0..3_000 {
        let mut noise = bytes.clone();
        let from = usize::try_from(rng.below(noise.len() as u64)).unwrap();
        let bytes = usize::try_from(rng.below(40)).unwrap();
        let to = noise.len().min(from + bytes + 1);
        rng.fill_bytes(&mut noise[from..to]);
        let _ = verify(&noise[..], |_| {});
    }
}

/// With its CRCs made right again, what does not make sense is still refused.
#[test]
fn sense_is_checked_behind_the_sums() {
    let (_, bytes) = small();
    let start = HEADER_BYTES;
    let mut head = [0; HEAD_BYTES];
    head.copy_from_slice(&bytes[start..start + HEAD_BYTES]);
    let head = Head::decoded(&head);
    let length = usize::try_from(head.bytes).unwrap();
    let payload = &bytes[start + HEAD_BYTES..][..length];
    let with = |head: Head, payload: &[u8]| {
        let footer = &bytes[start + HEAD_BYTES + length..];
        let changed = [&bytes[..start], &head.encoded(), payload, footer].concat();
        verify(&changed[..], |_| {}).unwrap_err()
    };
    let mut long_key = payload.to_vec();
    long_key[0] = 200;
    let mut order = payload.to_vec();
    let second = 4 + 4 + 5 + 4;
    assert_eq!(order[second], b'a');
    order[second] = b'c';
    let cases = [
        (Head::new(KIND_BLOCK, 1, 3, payload), "the number of a part"),
        (Head::new(7, 0, 3, payload), "the kind of a part"),
        (Head::new(KIND_BLOCK, 0, 4, payload), "the number of entries"),
        (Head { bytes: u32::MAX, ..head }, "the length of a part"),
    ];
    for (head, expected) in cases {
        let error = with(head, payload);
        assert!(matches!(error, BackupError::Damaged { what, .. } if what == expected), "{error}");
    }
    for (payload, expected) in [
        (&long_key, "an entry"),
        (&order, "the order of keys"),
        (&[payload, &[0, 0]].concat(), "an entry"),
    ] {
        let error = with(Head::new(KIND_BLOCK, 0, 3, payload), payload);
        assert!(matches!(error, BackupError::Damaged { what, .. } if what == expected), "{error}");
    }
    // A block left out, its number included.
    let cut = [&bytes[..start], &bytes[start + HEAD_BYTES + length..]].concat();
    let error = verify(&cut[..], |_| {}).unwrap_err();
    assert!(matches!(error, BackupError::Damaged { expected: 0, found: 1, .. }), "{error}");
    let mut newer = bytes.clone();
    newer[8] = 2;
    let sum = crc(&[&newer[..60]]);
    newer[60..64].copy_from_slice(&sum.to_le_bytes());
    let error = verify(&newer[..], |_| {}).unwrap_err();
    assert_eq!(error, BackupError::Newer { found: 2, known: 1 });
}

/// E222: a backup that turns out to be none leaves no store, and room for the next attempt.
#[test]
fn a_bad_backup_makes_no_store() {
    let (_, bytes) = small();
    let directory = TestDirectory::new();
    let path = directory.0.join("store");
    for bad in [&bytes[..bytes.len() - 1], &bytes[..HEADER_BYTES + 3], b"something else", b""] {
        restore(bad, &path, |_| {}).unwrap_err();
        RedbEngine::open(&path, RedbOptions::default()).unwrap_err();
        let left: Vec<_> = std::fs::read_dir(&path)
            .map(|names| names.map(|entry| entry.unwrap().file_name()).collect())
            .unwrap_or_default();
        assert!(left.iter().all(|name| name == LOCK_FILE), "{left:?}");
    }
    restore(&bytes[..], &path, |_| {}).unwrap();
    let error = restore(&bytes[..], &path, |_| {}).unwrap_err();
    let BackupError::Open(OpenError::NotEmpty { found, .. }) = error else { panic!("{error}") };
    assert_eq!(found, STORE_FILE);
    RedbEngine::create(&directory.0.join("other"), BIRTH).unwrap();
}

/// A writer that takes so many bytes and then fails.
struct Small(usize);

impl Write for Small {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 { Err(std::io::Error::other("no room")) } else { Ok(taken) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_fails_is_told() {
    let (engine, bytes) = small();
    let snapshot = engine.snapshot().unwrap();
    for room in 0..bytes.len() {
        let error = backup(&snapshot, ORIGIN, Small(room), |_| {}).unwrap_err();
        let BackupError::Write { offset, reason } = error else { panic!("{error}") };
        assert!(offset <= room as u64 && reason == "no room");
    }
    backup(&snapshot, ORIGIN, Small(bytes.len()), |_| {}).unwrap();
}
