use std::collections::BTreeSet;

use engine_types::Rng;

use super::super::SEGMENTS_MAX;
use super::super::tests::below;
use super::SegmentSet;
use crate::address::SegmentId;

#[test]
fn random_members_agree_with_a_sorted_set() {
    for count in [1, 2, 63, 64, 65, 4_095, 4_096, 4_097, SEGMENTS_MAX] {
        let seed = u64::from(count);
        let mut rng = Rng::new(seed);
        let mut set = SegmentSet::empty(count);
        let mut model = BTreeSet::new();
        for step in 0..3_000 {
            let context = std::format!("{count} segments, seed {seed}, step {step}");
            let segment = SegmentId::new(below(&mut rng, count));
            assert_eq!(set.contains(segment), model.contains(&segment), "{context}");
            if model.insert(segment) {
                set.insert(segment);
            } else {
                model.remove(&segment);
                set.remove(segment);
            }
            assert_eq!(set.first(), model.first().copied(), "{context}");
            assert_eq!(set.len() as usize, model.len(), "{context}");
        }
        while let Some(segment) = set.pop_first() {
            assert_eq!(model.pop_first(), Some(segment), "{count} segments, seed {seed}");
        }
        assert_eq!(model.len(), 0);
    }
}

#[test]
fn a_full_set_gives_every_segment_in_order() {
    let mut set = SegmentSet::full(4_100);
    for raw in 0..4_100 {
        assert_eq!(set.pop_first(), Some(SegmentId::new(raw)));
    }
    assert_eq!(set.pop_first(), None);
}

#[test]
#[should_panic(expected = "E114: segment-3 enters a state that it is in")]
fn a_member_enters_once() {
    SegmentSet::full(4).insert(SegmentId::new(3));
}

#[test]
#[should_panic(expected = "E114: segment-3 leaves a state that it is not in")]
fn a_stranger_does_not_leave() {
    SegmentSet::empty(4).remove(SegmentId::new(3));
}
