use std::collections::BTreeSet;

use super::*;

#[test]
fn keys_are_in_the_order_of_their_numbers_and_below_the_system() {
    let keys: Vec<_> = [0, 1, 255, 256, 65_536, 100_000_000].map(key).to_vec();
    assert!(keys.is_sorted());
    assert!(keys.iter().all(|key| meta_kv::key::check_key(key).is_ok()));
}

#[test]
fn tasks_never_meet_and_stay_within_the_store() {
    for (place, keys, of) in [(Where::Near, 1_000, 7), (Where::Spread, 1_000, 7)] {
        let touched = |number| {
            let mut task = Task::new(keys, number, of, number);
            (0..500).flat_map(move |_| task.next(place)).collect::<BTreeSet<u64>>()
        };
        let all: Vec<BTreeSet<u64>> = (0..of).map(touched).collect();
        let whole: BTreeSet<u64> = all.iter().flatten().copied().collect();
        assert_eq!(whole.len(), all.iter().map(BTreeSet::len).sum::<usize>(), "{place:?}");
        assert!(whole.last().is_some_and(|&last| last < keys));
    }
}

#[test]
fn a_store_is_filled_with_every_key_once() {
    let batches: Vec<Batch> = fill(45_000, 9).collect();
    assert_eq!(batches.iter().map(|batch| batch.version).collect::<Vec<_>>(), [9, 10, 11]);
    assert_eq!(batches.iter().map(|batch| batch.mutations.len()).sum::<usize>(), 45_000);
}
