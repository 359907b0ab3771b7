use std::vec;
use std::vec::Vec;

use engine_types::Rng;

use super::super::all_classes;
use super::super::tests::below;
use super::Bits;

#[test]
fn e113_random_bits_agree_with_a_list_of_flags() {
    for class in all_classes() {
        let seed = 70 + u64::from(class.get());
        let mut rng = Rng::new(seed);
        let mut bits = Bits::new(class);
        let count = class.per_segment();
        let mut flags = vec![false; count as usize];
        for step in 0..2_000 {
            let context = std::format!("{class}, seed {seed}, step {step}");
            // Runs of full words appear only when neighbours are taken together.
            let start = below(&mut rng, count);
            let end = (start + below(&mut rng, 200) + 1).min(count);
            let take = rng.chance(600);
            for index in start..end {
                let flag = &mut flags[index as usize];
                assert_eq!(bits.get(index), *flag, "{context}, block {index}");
                let changed = if take { bits.set(index) } else { bits.clear(index) };
                assert_eq!(changed, *flag != take, "{context}, block {index}");
                *flag = take;
            }
            let lowest = (0..count).find(|&index| !flags[index as usize]);
            assert_eq!(bits.lowest_free(), lowest, "{context}");
        }
        let taken = (0..count).filter(|&index| flags[index as usize]).collect::<Vec<_>>();
        assert_eq!(bits.taken(class).collect::<Vec<_>>(), taken, "{class}, seed {seed}");
        assert!(bits.is_consistent(), "{class}, seed {seed}");
    }
}

#[test]
fn a_segment_has_all_its_blocks_and_no_more() {
    for class in all_classes() {
        let mut bits = Bits::new(class);
        for expected in 0..class.per_segment() {
            assert_eq!(bits.lowest_free(), Some(expected), "{class}");
            bits.set(expected);
        }
        assert_eq!(bits.lowest_free(), None, "{class}");
        assert_eq!(bits.taken(class).count(), class.per_segment() as usize, "{class}");
    }
}

#[test]
fn e113_a_wrong_word_above_is_seen() {
    let mut bits = Bits::new(super::BlockClass::MIN);
    let Bits::Many(all) = &mut bits else { panic!("16,384 blocks take many words") };
    all[0] |= 1;
    assert!(!bits.is_consistent());
}
