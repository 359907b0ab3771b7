//! Lists whose failing core is known.

use alloc::vec;
use alloc::vec::Vec;

use engine_types::Rng;

use super::{SHRINK_TRIALS_MAX, shrink};

fn none(_: &u32) -> Vec<u32> {
    Vec::new()
}

#[test]
fn e468_two_steps_in_order_are_left_of_many() {
    let mut rng = Rng::new(7);
    for length in [2_u32, 3, 10, 100, 400] {
        let mut steps: Vec<u32> = (2..=length + 1).collect();
        let first = usize::try_from(rng.below(length.into())).unwrap();
        let second = (first + 1 + usize::try_from(rng.below(u64::from(length) - 1)).unwrap())
            % length as usize;
        steps[first.min(second)] = 0;
        steps[first.max(second)] = 1;
        let fails = |steps: &[u32]| {
            let at = |wanted| steps.iter().position(|step| *step == wanted);
            matches!((at(0), at(1)), (Some(a), Some(b)) if a < b)
        };
        assert_eq!(shrink(&steps, none, fails), vec![0, 1], "of {length}");
    }
}

#[test]
fn steps_become_simpler_and_then_fewer() {
    // Fails while the sum is at least 10 and the first step is odd.
    let fails = |steps: &[u32]| {
        10 <= steps.iter().sum::<u32>() && steps.first().is_some_and(|step| step % 2 == 1)
    };
    let simpler = |step: &u32| step.checked_sub(2).into_iter().collect();
    assert_eq!(shrink(&[31, 5, 8, 9], simpler, fails), vec![11]);
}

#[test]
fn a_list_that_does_not_fail_stays() {
    assert_eq!(shrink(&[1, 2, 3], none, |_| false), vec![1, 2, 3]);
}

#[test]
fn trials_are_bounded() {
    let steps: Vec<u32> = (0..2000).collect();
    let mut trials = 0;
    let kept = shrink(&steps, none, |steps| {
        trials += 1;
        // Nothing can go: the worst case.
        steps.len() == 2000
    });
    assert_eq!(kept.len(), 2000);
    assert!(trials <= SHRINK_TRIALS_MAX, "{trials}");
}
