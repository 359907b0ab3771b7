use super::*;

const NOW: Instant = Instant::ZERO;

fn key(upload: u64) -> StageKey {
    (StoreId::new(1), upload)
}

#[test]
fn parts_in_order_make_a_whole() {
    let mut stage = Stage::default();
    assert_eq!(stage.add(key(1), 0, 5, &[b"ab"], NOW), Ok(2));
    assert_eq!(stage.add(key(2), 0, 1, &[b"x"], NOW), Ok(1));
    assert!(stage.take((StoreId::new(2), 2)).is_err(), "it belongs to another process");
    assert_eq!(stage.add(key(1), 2, 5, &[b"c", b"de"], NOW), Ok(5));
    assert_eq!(stage.take(key(1)), Ok(b"abcde".to_vec()));
    assert_eq!(stage.take(key(2)), Ok(b"x".to_vec()));
    assert!(stage.take(key(1)).is_err(), "taken once");
}

#[test]
fn parts_that_do_not_fit_are_refused_and_dropped() {
    let mut stage = Stage::default();
    for (offset, total, part) in [(1, 5, &b"b"[..]), (2, 6, b"c"), (2, 5, b"cdef")] {
        stage.add(key(1), 0, 5, &[b"ab"], NOW).unwrap();
        assert!(stage.add(key(1), offset, total, &[part], NOW).is_err(), "{offset} {total}");
        assert!(stage.take(key(1)).is_err());
    }
    stage.add(key(1), 0, 5, &[b"ab"], NOW).unwrap();
    assert!(stage.take(key(1)).is_err(), "not whole");
    let large = stage.add(key(1), 0, COMMIT_BYTES_MAX + 1, &[], NOW);
    assert!(matches!(large, Err(KvError::TooLarge { .. })));
}

/// E244: what was announced counts, and silence gives it back.
#[test]
fn memory_is_bounded() {
    let mut stage = Stage::default();
    assert!(stage.add(key(9), 0, 5, &[], NOW).is_err(), "an empty part holds nothing open");
    for upload in 1..=3 {
        stage.add(key(upload), 0, COMMIT_BYTES_MAX, &[b"x"], NOW).unwrap();
    }
    let refused = stage.add(key(4), 0, 1, &[b"x"], NOW);
    assert!(matches!(refused, Err(KvError::Overloaded { .. })), "{refused:?}");
    let later = NOW + STAGED_TIME_MAX + Duration::from_millis(1);
    assert_eq!(stage.add(key(4), 0, 1, &[b"x"], later), Ok(1));
    for upload in 5..=67 {
        stage.add(key(upload), 0, 2, &[b"x"], later).unwrap();
    }
    assert_eq!(stage.add(key(67), 1, 2, &[b"y"], later), Ok(2));
    let refused = stage.add(key(68), 0, 2, &[b"x"], later);
    assert!(matches!(refused, Err(KvError::Overloaded { .. })), "too many: {refused:?}");
    assert_eq!(stage.held(key(67)), 2);
    stage.take(key(67)).unwrap();
    assert_eq!(stage.add(key(68), 0, 2, &[b"x"], later), Ok(1));
}
