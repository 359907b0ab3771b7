use alloc::vec::Vec;

use engine_types::Rng;

use super::*;

fn check(drift_ppm: u32) -> (LeaseTimes, ClockCheck) {
    let (beat, storage) = (Duration::from_secs(1), Duration::from_secs(2));
    let times = LeaseTimes::new(beat, storage, Duration::from_secs(10), drift_ppm).unwrap();
    let check = ClockCheck::new(&times);
    (times, check)
}

/// Feeds heartbeats of a node whose clock is off by `ppm`, with delays up to the jitter and now and
/// then far above; gives the first verdict that is not good, or the last.
fn run(seed: u64, drift_ppm: u32, ppm: i64, blocks: u32) -> ClockVerdict {
    let mut rng = Rng::new(seed);
    let (times, mut check) = check(drift_ppm);
    let until = ClockCheck::window(&times) / 6 * blocks;
    let beats = u64::try_from(until.as_nanos() / 1_000_000_000).unwrap();
    let offset = rng.below(1 << 50);
    let mut arrivals = Vec::new();
    for beat in 0..beats {
        let real = beat * 1_000_000_000;
        let sent = i128::from(real) * (MILLION + i128::from(ppm)) / MILLION;
        let sent = u64::try_from(sent).unwrap();
        let spread = if beat % 20 == 0 { 30_000_000_000 } else { 200_000_000 };
        let received = real + 5_000_000_000 + rng.below(spread);
        arrivals.push((Instant::from_nanos(received), Instant::from_nanos(sent + offset)));
    }
    arrivals.sort();
    let (mut verdict, mut last) = (ClockVerdict::Unknown, Instant::ZERO);
    for (received, sent) in arrivals {
        if last <= sent {
            last = sent; // overtaken heartbeats are stale
            verdict = check.heartbeat(sent, received);
        }
        if matches!(verdict, ClockVerdict::Bad { .. }) {
            break;
        }
    }
    assert!(check.blocks.len() <= CLOCK_BLOCKS + 3, "bounded: {}", check.blocks.len());
    verdict
}

#[test]
fn e290_clocks_beyond_the_bound_are_found_and_good_ones_are_not_accused() {
    for seed in 0..20 {
        for drift in [5_000, 10_000, 50_000] {
            let e = i64::from(drift);
            // Two windows suffice, unless a window is shorter than the delay of late messages.
            let blocks = if drift <= 10_000 { 12 } else { 18 };
            for ppm in [-100 * e / 100, 100 * e / 100, -5 * e / 6 - 200, 5 * e / 6 + 200] {
                let verdict = run(seed, drift, ppm, blocks);
                let bad = matches!(verdict, ClockVerdict::Bad { ppm: found } if found * ppm > 0);
                assert!(bad, "seed {seed}: drift {drift}, ppm {ppm}: {verdict:?}");
            }
            for ppm in [-e / 6, 0, 500, e / 6] {
                let verdict = run(seed, drift, ppm, 40);
                let good = matches!(verdict, ClockVerdict::Good { .. });
                assert!(good, "seed {seed}: drift {drift}, ppm {ppm}: {verdict:?}");
            }
        }
    }
}

#[test]
fn nothing_is_said_before_a_window_is_full() {
    assert_eq!(run(1, 10_000, 50_000, 7), ClockVerdict::Unknown);
    let stopped = run(1, 10_000, -1_000_000, 12);
    assert_eq!(stopped, ClockVerdict::Bad { ppm: -1_000_000 }, "its leases would never end");
}

/// One block in which everything was late, as if the manager had stood still.
#[test]
fn one_late_block_accuses_nobody() {
    let (_, mut check) = check(10_000);
    let mut verdicts = Vec::new();
    for beat in 0..200 {
        let late = if (100..110).contains(&beat) { 2_000 } else { 1 };
        let received = Instant::ZERO + Duration::from_millis(1000 * beat + late);
        let sent = Instant::ZERO + Duration::from_secs(beat);
        verdicts.push(check.heartbeat(sent, received));
    }
    assert!(!verdicts.iter().any(|v| matches!(v, ClockVerdict::Bad { .. })));
    assert_eq!(check.verdict(), ClockVerdict::Good { ppm: 0 });
}

#[test]
fn a_manager_that_accuses_most_is_suspect_itself() {
    let rows = [(2, 2, false), (2, 3, true), (2, 4, false), (3, 4, true), (0, 9, false)];
    for (bad, judged, expected) in rows {
        assert_eq!(own_clock_is_suspect(bad, judged), expected, "{bad} of {judged}");
    }
}
