//! Histories mean the same each time, and meet what they are for.

use alloc::collections::BTreeMap;

use crate::generate::{Weights, generate};
use crate::step::Binding;
use crate::twin::{EMPTY, Twin};

#[test]
fn a_seed_is_one_history() {
    let once = generate(3, 200, Weights::ALL, &EMPTY);
    assert_eq!(once, generate(3, 200, Weights::ALL, &EMPTY));
    assert_ne!(once, generate(4, 200, Weights::ALL, &EMPTY));
}

/// Each operation succeeds and is refused often enough for both to be compared.
#[test]
fn histories_meet_successes_and_refusals() {
    let mut met: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for seed in 0..40 {
        let (mut twin, mut binding) = (Twin::new(), Binding::new());
        for step in generate(seed, 250, Weights::ALL, &EMPTY) {
            let request = binding.request(&step);
            let found = twin.answer(&request);
            let (done, refused) = met.entry(request.operation.name()).or_default();
            *(if found.is_ok() { done } else { refused }) += 1;
            binding.learn(&step, &request, &found);
        }
    }
    for (name, (done, refused)) in &met {
        assert!(5 <= *done, "{name}: {done} done, {refused} refused");
    }
    assert!(30 <= met.len(), "{met:?}");
    let refused = met.values().filter(|(_, refused)| 5 <= *refused).count();
    assert!(25 <= refused, "{met:?}");
}
