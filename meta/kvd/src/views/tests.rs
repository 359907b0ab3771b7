use super::*;

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

#[test]
fn a_version_is_kept_for_a_transaction_and_no_longer() {
    let mut views = Views::default();
    views.keep(1, "one", at(0));
    views.keep(1, "one", at(3_000));
    views.keep(2, "two", at(4_000));
    for (version, ms, kept) in [
        (1, 9_000, true),
        (1, 9_001, false),
        (2, 10_000, true),
        (2, 10_001, false),
        (3, 4_000, false),
    ] {
        assert_eq!(views.get(version, at(ms)).is_some(), kept, "E240: {version} at {ms} ms");
    }
    views.forget(at(9_001));
    assert_eq!(views.len(), 1);
    views.forget(at(20_000));
    assert_eq!(views.len(), 0);
}

#[test]
fn the_oldest_go_when_there_are_too_many() {
    let mut views = Views::default();
    for version in 0..VIEWS_MAX as u64 + 3 {
        views.keep(version, (), at(0));
    }
    assert_eq!(views.len(), VIEWS_MAX);
    assert!(views.get(2, at(0)).is_none());
    assert!(views.get(3, at(0)).is_some());
}
