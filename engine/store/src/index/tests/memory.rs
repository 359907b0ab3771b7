//! What the index takes: 56 bytes per record and 4 per word, and back again.

use super::*;

/// What an index takes beside its records: scratch space, a partly used page per size.
const FIXED_BYTES: u64 = 1 << 20;

/// Adds up what records may take.
fn bound(index: &Index) -> u64 {
    let words: usize = index.after(None).map(|(_, record)| record.words.len()).sum();
    index.len() * 56 + words as u64 * 4
}

fn assert_bound(index: &Index, fixed: u64, what: &str) {
    let (bytes, bound) = (index.bytes(), bound(index));
    let rest = (bytes as f64 - bound as f64) / index.len() as f64 + 56.0;
    std::println!("{what}: {} records, {rest:.2} bytes each and 4 per word", index.len());
    assert!(bytes <= bound + fixed, "{what}: {bytes} bytes, allowed are {bound} and {fixed}");
    index.check().unwrap();
}

fn keys(count: u32) -> Vec<ChunkKey> {
    let at = |i: u32| key(u16::try_from(i % 3).unwrap(), u64::from(i / 64), i % 64);
    let mut keys: Vec<ChunkKey> = (0..count).map(at).collect();
    keys.sort_unstable();
    keys
}

fn filled(keys: &[ChunkKey], record: &Record) -> Index {
    let mut index = Index::new(u64::MAX);
    for &key in keys {
        index.insert(key, record.as_ref()).unwrap();
    }
    index
}

fn built(keys: impl IntoIterator<Item = ChunkKey>, record: &Record) -> Index {
    let mut builder = Builder::new(u64::MAX);
    for key in keys {
        builder.push(key, record.as_ref()).unwrap();
    }
    builder.finish()
}

#[test]
fn a_record_takes_at_most_56_bytes_and_4_per_word() {
    let mut rng = Rng::new(7);
    let record = full(&mut rng, 1 << 19);
    let mut keys = keys(300_000);
    assert_bound(&filled(&keys, &record), 0, "ascending");
    assert_bound(&built(keys.iter().copied(), &record), 0, "bulk");
    rng.shuffle(&mut keys);
    assert_bound(&filled(&keys, &record), 0, "random");
}

/// Full leaves that all have to split at about the same time are the worst case.
#[test]
fn the_bound_holds_while_a_loaded_index_grows() {
    let mut rng = Rng::new(8);
    let record = full(&mut rng, 1 << 19);
    let keys = keys(100_000);
    let mut index = built(keys.iter().copied().step_by(2), &record);
    let mut rest: Vec<ChunkKey> = keys.iter().copied().skip(1).step_by(2).collect();
    rng.shuffle(&mut rest);
    for (round, &key) in rest.iter().enumerate() {
        index.insert(key, record.as_ref()).unwrap();
        if round % 2500 == 0 {
            assert_bound(&index, FIXED_BYTES / 4, "growing");
        }
    }
}

#[test]
fn the_bound_holds_for_all_sizes_and_orders() {
    let mut rng = Rng::new(9);
    for (size, count) in [(1 << 12, 60_000), (1 << 21, 40_000), (1 << 22, 20_000)] {
        let record = full(&mut rng, size);
        let mut keys = keys(count);
        keys.reverse();
        assert_bound(&filled(&keys, &record), FIXED_BYTES, "descending");
        rng.shuffle(&mut keys);
        assert_bound(&filled(&keys, &record), FIXED_BYTES, "random");
    }
    // Tables on their own.
    for size in [1 << 23, 1 << 26] {
        let record = full(&mut rng, size);
        let mut keys = keys(4000);
        rng.shuffle(&mut keys);
        let index = filled(&keys, &record);
        assert_bound(&index, FIXED_BYTES, "tables");
    }
}

/// Files of many targets that grow at the same time: each leaf stays full behind its file's end.
#[test]
fn files_that_grow_side_by_side_fill_their_leaves() {
    let record = full(&mut Rng::new(1), 1 << 12);
    let mut index = Index::new(u64::MAX);
    for round in 0..2000 {
        (0..24).for_each(|slot| {
            index.insert(key(slot, u64::from(round / 64), round % 64), record.as_ref()).unwrap();
        });
    }
    let leaves = u64::from(index.leaves.count()) * PLACES as u64;
    assert!(index.len() * 100 > leaves * 95, "{} records in {leaves} places", index.len());
    index.check().unwrap();
}

/// Files written one after the other, each in order, but the files in any order.
#[test]
fn the_bound_holds_for_runs_of_every_length() {
    let mut rng = Rng::new(12);
    let record = full(&mut rng, 1 << 19);
    for run in [4, 40, 100, 200] {
        let mut files: Vec<u64> = (0..40_000 / u64::from(run)).collect();
        rng.shuffle(&mut files);
        let mut index = Index::new(u64::MAX);
        for file in files {
            for at in 0..run {
                index.insert(key(0, file, at), record.as_ref()).unwrap();
            }
        }
        assert_bound(&index, FIXED_BYTES / 2, "runs");
    }
}

#[test]
fn memory_shrinks_with_the_content() {
    let mut rng = Rng::new(10);
    let mut keys = keys(64_000);
    let record = full(&mut rng, 1 << 19);
    rng.shuffle(&mut keys);
    let mut index = filled(&keys, &record);
    let (gone, kept) = keys.split_at(56_000);
    for key in gone {
        assert!(index.remove(key));
    }
    index.check().unwrap();
    // Nodes are between 58 % and 88 % full.
    let bytes = index.bytes() - index.scratch.bytes();
    assert!(bytes < 8000 * (75 + 32) + FIXED_BYTES, "{bytes} bytes for 8,000 records");
    // What has become free serves records of every other size.
    let budget = Index::new(0).bytes() + 8000 * (75 + 64 * 4) + 2 * FIXED_BYTES;
    index.set_budget(budget);
    let larger = full(&mut rng, 1 << 22);
    for &key in kept {
        index.insert(key, larger.as_ref()).unwrap();
    }
    // Removal from one end, as when a target is dropped.
    let ascending: Vec<ChunkKey> = index.after(None).map(|(key, _)| key).collect();
    for key in &ascending[..7900] {
        assert!(index.remove(key));
    }
    index.check().unwrap();
    let bytes = index.bytes() - index.scratch.bytes();
    assert!(bytes < FIXED_BYTES, "{bytes} bytes for 100 records");
}

#[test]
fn a_full_index_refuses_growth_and_nothing_else() {
    let mut rng = Rng::new(11);
    let (small, large) = (full(&mut rng, 1 << 19), full(&mut rng, 1 << 22));
    let budget = 4 << 20;
    let mut index = Index::new(budget);
    assert_eq!(index.budget(), budget);
    let mut keys = keys(200_000);
    rng.shuffle(&mut keys);
    let mut count = 0;
    let refused = loop {
        assert!(index.bytes() <= budget);
        let room = index.room_for(8);
        match index.insert(keys[count], small.as_ref()) {
            Ok(_) => assert!(room),
            Err(why) => break (why, room),
        }
        count += 1;
    };
    assert_eq!(refused, (IndexFull { bytes: index.bytes(), budget }, false));
    assert!(count > 20_000, "{count} records fit");
    let (there, missing) = (keys[count / 2], keys[count]);
    // Growth is refused and changes nothing; what does not grow is replaced.
    assert!(index.insert(there, large.as_ref()).is_err());
    assert_eq!(index.get(&there), Some(small.as_ref()));
    let other = full(&mut rng, 1 << 19);
    let shrunk = record(&mut rng, ChunkSize::new(1 << 19).unwrap(), 0);
    for &key in &keys[..count] {
        index.insert(key, other.as_ref()).unwrap();
    }
    assert!(index.bytes() <= budget && !index.room_for(0));
    index.insert(there, shrunk.as_ref()).unwrap();
    index.check().unwrap();
    // Room comes back when records go, or when more is allowed.
    for key in &keys[..count / 2] {
        index.remove(key);
    }
    index.insert(missing, small.as_ref()).unwrap();
    index.set_budget(0);
    assert!(!index.room_for(0));
    index.set_budget(u64::MAX);
    assert!(index.room_for(RECORD_WORDS_MAX) && !index.room_for(RECORD_WORDS_MAX + 1));
}

/// A budget that is used up to the last byte holds fewer records than checkpoints count on.
#[test]
fn no_record_takes_less_than_the_least() {
    let empty = record(&mut Rng::new(1), ChunkSize::MIN, 0);
    let index = built(keys(50_000), &empty);
    assert!(RECORD_BYTES_MIN == 40 && index.len() * RECORD_BYTES_MIN <= index.bytes());
}
