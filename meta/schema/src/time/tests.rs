use std::string::ToString;

use super::*;

#[test]
fn timespecs_come_back_and_are_clamped() {
    #[rustfmt::skip]
    let rows = [
        // seconds, nanos, of the clamped time
        ((0, 0), 0),
        ((0, 999_999_999), 999_999_999),
        ((-1, 999_999_999), -1),
        ((-1, 0), -1_000_000_000),
        ((9_223_372_036, 854_775_807), i64::MAX),
        ((9_223_372_036, 854_775_808), i64::MAX),
        ((i64::MAX, 999_999_999), i64::MAX),
        ((-9_223_372_037, 145_224_192), i64::MIN),
        ((-9_223_372_037, 145_224_191), i64::MIN),
        ((i64::MIN, 0), i64::MIN),
    ];
    for ((seconds, nanos), expected) in rows {
        let time = Timestamp::from_timespec(seconds, nanos);
        assert_eq!(time.nanos(), expected, "{seconds} {nanos}");
        if Timestamp::MIN < time && time < Timestamp::MAX {
            assert_eq!(time.to_timespec(), (seconds, nanos));
        }
    }
    let (seconds, nanos) = Timestamp::MIN.to_timespec();
    assert_eq!(Timestamp::from_timespec(seconds, nanos), Timestamp::MIN);
}

#[test]
fn e407_an_event_moves_no_time_back() {
    let at = Timestamp::from_nanos;
    assert_eq!(at(5).touched(at(7)), at(7));
    assert_eq!(at(5).touched(at(3)), at(5));
    assert_eq!(Timestamp::from_wall(WallTime::from_nanos(u64::MAX)), Timestamp::MAX);
    assert_eq!(Timestamp::from_wall(WallTime::from_nanos(3)), at(3));
    assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
    assert_eq!(at(1).saturating_add(Duration::from_nanos(2)), at(3));
}

#[test]
fn milliseconds_order_queues() {
    assert_eq!(Timestamp::from_nanos(1_999_999).millis(), 1);
    assert_eq!(Timestamp::from_nanos(-1).millis(), 0);
    assert_eq!(Timestamp::MIN.millis(), 0);
    assert_eq!(Timestamp::from_nanos(-1).to_string(), "-1s+999999999ns");
}
