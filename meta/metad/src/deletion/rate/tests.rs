use super::*;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// What a taker that takes `count` each time gets within `seconds`.
fn taken(per_second: u32, count: u64, seconds: u64) -> u64 {
    let mut rate = Rate::new(per_second);
    let (mut now, mut total) = (at(10_000), 0);
    while now < at(10_000 + seconds * 1000) {
        rate.take(now, count);
        total += count;
        now = rate.ready(now).max(now + Duration::from_micros(100));
    }
    total
}

#[test]
fn the_allowance_holds_over_time() {
    for (per_second, count) in [(1, 1), (100, 1), (100, 30), (1000, 256)] {
        let most = u64::from(per_second) * 11 + count; // ten seconds and the burst of one
        let total = taken(per_second, count, 10);
        assert!(total <= most, "{per_second}/s in steps of {count}: {total}");
        assert!(u64::from(per_second) * 10 <= total, "{per_second}/s: only {total}");
    }
}

#[test]
fn no_limit_waits_for_nothing() {
    let mut rate = Rate::new(0);
    rate.take(at(5), u64::MAX);
    assert_eq!(rate.ready(at(5)), at(5));
}

#[test]
fn a_long_pause_is_no_storm() {
    let mut rate = Rate::new(10);
    rate.take(at(1000), 10);
    // An hour later: the burst of a second and no more.
    rate.take(at(3_600_000), 10);
    assert_eq!(rate.ready(at(3_600_000)), at(3_600_000));
    rate.take(at(3_600_000), 10);
    assert_eq!(rate.ready(at(3_600_000)), at(3_601_000));
}
