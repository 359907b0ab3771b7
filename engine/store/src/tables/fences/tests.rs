use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use engine_types::{Rng, SessionId};

use super::{FENCES_MAX, Fences};
use crate::entry::Fence;
use crate::tables::TableError;

fn session(raw: u64) -> SessionId {
    SessionId::new(raw)
}

fn one(raw: u64) -> Fence {
    Fence::One(session(raw))
}

fn below(raw: u64) -> Fence {
    Fence::Below(session(raw))
}

#[test]
fn single_ids_vanish_below_the_bound() {
    let mut fences = Fences::new();
    for fence in [one(5), one(9), one(12), below(9)] {
        fences.add(fence).unwrap();
    }
    assert_eq!(fences.below(), session(10), "9 was revoked by itself");
    assert_eq!(fences.iter().collect::<Vec<_>>(), [below(10), one(12)]);
    fences.add(below(4)).unwrap();
    fences.add(one(3)).unwrap();
    assert_eq!(fences.iter().collect::<Vec<_>>(), [below(10), one(12)], "nothing goes back");
    fences.add(below(11)).unwrap();
    fences.add(one(11)).unwrap();
    assert_eq!((fences.below(), fences.single_count()), (session(13), 0));
    assert!(fences.is_fenced(session(0)) && !fences.is_fenced(session(13)));
}

#[test]
fn the_last_id_of_all_can_be_revoked() {
    let mut fences = Fences::new();
    fences.add(below(u64::MAX)).unwrap();
    fences.add(one(u64::MAX)).unwrap();
    assert!(fences.is_fenced(session(u64::MAX)));
    assert_eq!(fences.iter().count(), 2);
}

#[test]
fn e191_random_fences_equal_a_set() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut fences = Fences::new();
        let mut reference: BTreeSet<u64> = BTreeSet::new();
        let mut entries = Vec::new();
        for _ in 0..200 {
            let fence = if rng.chance(50) { below(rng.below(120)) } else { one(rng.below(120)) };
            entries.push(fence);
            match fence {
                Fence::One(session) => {
                    reference.insert(session.get());
                }
                Fence::Below(bound) => reference.extend(0..bound.get()),
            }
            fences.add(fence).unwrap();
            for raw in 0..130 {
                let expected = reference.contains(&raw);
                assert_eq!(fences.is_fenced(session(raw)), expected, "seed {seed}: {raw}");
            }
            let bound = fences.below();
            assert!(!fences.is_fenced(bound), "seed {seed}: E191: {bound}");
            assert!(fences.single.iter().all(|&id| bound < id), "seed {seed}: E191");
        }
        // A checkpoint of any moment, replayed over by all entries again, is the same table.
        let mut again = Fences::new();
        fences.iter().for_each(|fence| again.replay(fence));
        assert_eq!(again, fences, "seed {seed}");
        rng.shuffle(&mut entries);
        entries.into_iter().for_each(|fence| again.replay(fence));
        assert_eq!(again, fences, "seed {seed}");
    }
}

#[test]
fn a_full_table_wants_a_bound() {
    let mut fences = Fences::new();
    let all = (0..FENCES_MAX as u64).map(|nth| 10 + 2 * nth);
    all.for_each(|raw| fences.add(one(raw)).unwrap());
    let full = Err(TableError::TooManyFences { max: FENCES_MAX });
    assert_eq!(fences.add(one(11)), full);
    assert_eq!(fences.add(one(10)), Ok(()), "it is there already");
    assert_eq!(fences.add(one(0)), Ok(()), "the bound moves over it");
    assert_eq!(fences.add(below(11)), Ok(()));
    assert_eq!(fences.add(one(11)), Ok(()), "10 has gone, and 11 and 12 went with the bound");
    assert_eq!(fences.below(), session(13));
    fences.replay(one(15));
    fences.replay(one(17));
    fences.replay(one(19));
    assert_eq!(fences.single_count(), FENCES_MAX + 1, "what was accepted once stays");
    assert_eq!(fences.add(one(21)), full);
}
