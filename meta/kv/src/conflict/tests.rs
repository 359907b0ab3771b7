#![expect(clippy::cast_possible_truncation, reason = "keys are small numbers")]

use core::time::Duration;

use engine_types::Rng;

use super::*;

fn range(begin: u8, end: u8) -> KeyRange {
    KeyRange::new([begin], [end])
}

fn at(second: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(second)
}

#[test]
fn a_write_is_seen_by_older_readers_only() {
    let mut conflicts = Conflicts::new(10, 100, 1 << 20);
    conflicts.add(&KeyRange::single(b"k"), 11, at(0));
    conflicts.add(&KeyRange::new("p", "r"), 12, at(0));
    let rows = [
        (KeyRange::single(b"k"), 10, true),
        (KeyRange::single(b"k"), 11, false),
        (KeyRange::new("a", "k"), 10, false),
        (KeyRange::new("a", "k\0"), 10, true),
        (KeyRange::new("k\0", "p"), 10, false),
        (KeyRange::single(b"p"), 11, true),
        (KeyRange::single(b"q"), 11, true),
        (KeyRange::single(b"r"), 11, false),
        (KeyRange::new("q", "q"), 11, false),
        (KeyRange::new("a", "z"), 12, false),
    ];
    for (range, version, written) in rows {
        assert_eq!(conflicts.written_since(&range, version), written, "{range:?} at {version}");
    }
}

/// Against a list of everything ever written.
#[test]
fn random_writes_are_found_like_in_a_list() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let mut conflicts = Conflicts::new(0, 10_000, 1 << 20);
        let mut list: Vec<(KeyRange, u64)> = Vec::new();
        for version in 1..200 {
            for _ in 0..rng.range(1..=3) {
                let (a, b) = (rng.below(30) as u8, rng.below(30) as u8);
                let write = if rng.chance(500) {
                    KeyRange::single(&[a])
                } else {
                    range(a.min(b), a.max(b))
                };
                conflicts.add(&write, version, at(version));
                list.push((write, version));
            }
            conflicts.forget(at(version.saturating_sub(rng.range(5..=40))));
            let floor = conflicts.floor();
            for _ in 0..10 {
                let (a, b) = (rng.below(30) as u8, rng.below(30) as u8);
                let read = if rng.chance(500) { KeyRange::single(&[a]) } else { range(a, b) };
                let reader = rng.range(floor..=version);
                let expected = list.iter().any(|(w, at)| reader < *at && w.overlaps(&read));
                let found = conflicts.written_since(&read, reader);
                assert_eq!(found, expected, "seed {seed}: {read:?} at {reader} of {version}");
            }
        }
        conflicts.forget(at(1000));
        assert_eq!(conflicts.len(), 0, "seed {seed}: everything is forgotten");
    }
}

#[test]
fn too_many_entries_make_old_readers_too_old() {
    let mut conflicts = Conflicts::new(0, 10, 1 << 20);
    for version in 1..=30 {
        conflicts.add(&KeyRange::single(&[version as u8]), version, at(0));
        conflicts.forget(at(0));
    }
    assert_eq!(conflicts.floor(), 20);
    assert_eq!(conflicts.len(), 10);
}

#[test]
fn long_keys_are_forgotten_by_their_bytes() {
    let mut conflicts = Conflicts::new(0, 1_000, 10_000);
    for version in 1..=30 {
        conflicts.add(&KeyRange::single(&[version as u8; 1_000]), version, at(0));
        conflicts.forget(at(0));
    }
    assert_eq!(conflicts.len(), 4, "two keys of a thousand bytes each, with their ends");
}

#[test]
#[should_panic(expected = "E207")]
fn a_reader_below_the_floor_is_not_judged() {
    Conflicts::new(5, 10, 1 << 20).written_since(&range(0, 9), 4);
}
