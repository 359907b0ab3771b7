use super::*;

#[test]
fn sums_saturate_and_differences_never_go_below_zero() {
    let late = Instant::from_nanos(u64::MAX - 5);
    assert_eq!(late + Duration::from_nanos(4), Instant::from_nanos(u64::MAX - 1));
    assert_eq!(late + Duration::from_secs(1), Instant::NEVER);
    assert_eq!(late + Duration::MAX, Instant::NEVER);
    assert_eq!(late.checked_add(Duration::from_nanos(5)), Some(Instant::NEVER));
    assert_eq!(late.checked_add(Duration::from_nanos(6)), None);
    assert_eq!(late.checked_add(Duration::MAX), None);
    assert_eq!(Instant::ZERO.saturating_sub(Duration::from_secs(1)), Instant::ZERO);
    assert_eq!(Instant::ZERO.saturating_since(late), Duration::ZERO);
    assert_eq!(Instant::ZERO.checked_since(late), None);
    assert_eq!(
        Instant::from_nanos(9).checked_since(Instant::from_nanos(4)),
        Some(Duration::from_nanos(5))
    );
}

#[test]
fn a_deadline_travels_as_remaining_microseconds() {
    let now = Instant::from_nanos(1_000_000_000);
    #[rustfmt::skip]
    let rows = [
        // remaining                    on the wire
        (Duration::from_micros(1500),   1500),
        (Duration::from_nanos(999),     1),
        (Duration::ZERO,                1),
        (Duration::from_secs(3600 * 2), u32::MAX),
    ];
    for (remaining, wire) in rows {
        assert_eq!(Deadline::after(now, remaining).to_wire_us(now), wire, "{remaining:?}");
    }
    let past = Deadline::at(Instant::ZERO);
    assert!(past.expired(now));
    assert_eq!((past.remaining(now), past.to_wire_us(now)), (Duration::ZERO, 1));
    assert_eq!(Deadline::NEVER.to_wire_us(now), 0);
    assert_eq!(Deadline::NEVER.remaining(now), Duration::MAX);
    assert_eq!(Deadline::from_wire_us(0, now), Deadline::NEVER);
    let back = Deadline::from_wire_us(1500, now);
    assert_eq!(back.remaining(now), Duration::from_micros(1500));
    assert!(!back.expired(now) && back.expired(now + Duration::from_micros(1500)));
    assert_eq!(back.earlier(Deadline::NEVER), back);
}

#[test]
fn times_print_as_seconds() {
    assert_eq!(std::format!("{}", Instant::from_nanos(1_000_000_007)), "1.000000007s");
}
