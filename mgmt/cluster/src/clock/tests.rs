use core::time::Duration;

use engine_types::{Instant, Rng};

use super::ClockWatch;
use crate::rules::Rules;

/// Seconds of the manager after which a clock is found out, if it is within an hour: it advances
/// by `permille` of the manager's and stands still for `pause` seconds after a minute.
fn found(permille: u64, pause: u64, seed: u64) -> Option<u64> {
    let mut rng = Rng::new(seed);
    let mut watch = ClockWatch::new();
    let rules = Rules::default();
    for second in 0..3600 {
        let now = second * 1_000_000_000;
        let stood = if 60 <= second { pause * 1_000_000_000 } else { 0 };
        let sent = Instant::from_nanos(now / 1000 * permille + 77_000_000_000 - stood);
        let late = if rng.chance(100) { rng.below(3000) } else { rng.below(50) };
        let received = Instant::from_nanos(now) + Duration::from_millis(late);
        if watch.observe(sent, received, &rules).is_some() {
            return Some(second);
        }
    }
    None
}

#[test]
fn clocks_that_run_away_are_found_and_others_are_not() {
    for seed in 0..10 {
        for good in [991, 1000, 1009] {
            assert_eq!(found(good, 0, seed), None, "seed {seed}: {good} permille");
        }
        for bad in [980, 1020] {
            let second = found(bad, 0, seed).expect("2 % are found");
            assert!(second <= 240, "seed {seed}: {second} s");
        }
        let second = found(1000, 5, seed).expect("a pause is found");
        assert!((60..=80).contains(&second), "seed {seed}: {second} s");
    }
}
