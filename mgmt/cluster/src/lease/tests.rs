mod world;

use alloc::string::ToString;
use core::time::Duration;

use engine_types::Instant;

use super::*;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn stretched_rounds_up() {
    let times = LeaseTimes::DEFAULT;
    let rows = [(0, 0), (1, 2), (99, 100), (100, 101), (2_000_000_000, 2_020_000_000)];
    for (length, expected) in rows {
        let found = times.stretched(Duration::from_nanos(length));
        assert_eq!(found, Duration::from_nanos(expected), "{length} ns");
    }
    assert_eq!(times.stretched(Duration::MAX), Duration::from_nanos(u64::MAX));
    assert_eq!(times.granted_until(Instant::ZERO + ms(500)), Instant::ZERO + ms(2520));
    assert_eq!(times.renewal_interval(), ms(2000));
}

#[test]
fn times_that_do_not_fit_are_refused_with_both_values() {
    let check = |beat, storage, primary, drift, expected: &str| {
        let error = LeaseTimes::new(ms(beat), ms(storage), ms(primary), drift).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(99, 2000, 10_000, 10_000, "heartbeat interval: found 99ms, expected 100ms to 10s");
    check(
        1000,
        1999,
        10_000,
        10_000,
        "storage lease: found 1.999s, expected 2s (two heartbeats) to 60s",
    );
    check(1000, 2000, 9_999, 10_000, "primary lease: found 9.999s, expected 10s to 300s");
    check(1000, 2000, 10_000, 1_099, "drift bound: found 1099 ppm, expected 1100 to 100000 ppm");
    let defaults = LeaseTimes::new(ms(1000), ms(2000), ms(10_000), 10_000);
    assert_eq!(defaults, Ok(LeaseTimes::default()));
    assert!(LeaseTimes::new_for_tests(ms(100), ms(200), ms(200), 10_000).is_ok());
    assert!(LeaseTimes::new_for_tests(ms(100), ms(200), ms(199), 10_000).is_err());
}

/// The bounds that mgmt/DESIGN.md publishes, from the defaults.
#[test]
fn the_published_bounds_follow_from_the_defaults() {
    let times = LeaseTimes::DEFAULT;
    let takeover = times.stretched(times.primary());
    let demotion = times.stretched(times.storage());
    assert_eq!(demotion, ms(2020), "a node dies: under 3 s with checks and a transaction");
    assert_eq!(takeover, ms(10_100), "the primary dies");
    assert_eq!(takeover + demotion, ms(12_120), "both die: under 15 s");
    assert_eq!(times.primary() - times.renewal_interval(), ms(8000), "the KV restarts: 5 s");
}
