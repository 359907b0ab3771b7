use super::*;
use crate::error::KvRetry;

const KEY: &[u8] = b"inode/7";

fn at(moment: Moment<'_>, code: i32) -> KvError {
    kv_error(code, "text", &Call { moment, limit_ms: 2_000, bytes: 77 })
}

fn before(code: i32) -> KvError {
    at(Moment::Before(Some(KEY)), code)
}

fn commit(code: i32) -> KvError {
    at(Moment::Commit, code)
}

/// FoundationDB's own predicates, as of release 7.3 (7.4 for the last), except 1039: see below.
const RETRYABLE_NOT_COMMITTED: [i32; 12] =
    [1007, 1009, 1020, 1037, 1038, 1042, 1051, 1078, 1213, 1223, 1235, 1242];
const MAYBE_COMMITTED: [i32; 2] = [1021, 1039];
/// What the library refuses by itself, before anything is sent.
const REFUSED: [i32; 12] = [1036, 2000, 2004, 2005, 2006, 2007, 2018, 2101, 2102, 2103, 2108, 2130];

#[test]
fn the_table_is_in_order_and_names_each_number_once() {
    assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn retryable_errors_run_again_at_any_moment() {
    for code in RETRYABLE_NOT_COMMITTED {
        assert_eq!(before(code).retry(), KvRetry::Again, "{code}");
        assert_eq!(commit(code).retry(), KvRetry::Again, "{code}");
    }
    assert_eq!(commit(1020), KvError::Conflict);
    assert_eq!(commit(1007), KvError::TooOld);
    assert!(matches!(commit(1009), KvError::Unavailable { .. }));
    for code in [1037, 1042, 1051, 1078, 1213, 1223, 1235] {
        assert!(matches!(before(code), KvError::Overloaded { .. }), "{code}");
    }
}

/// E226
#[test]
fn a_commit_that_may_have_happened_is_unknown() {
    for code in MAYBE_COMMITTED.into_iter().chain([1004, 1006, 1025, 1026, 1031, 1100, 1101]) {
        assert!(matches!(commit(code), KvError::UnknownResult { .. }), "{code}");
    }
    assert_eq!(
        commit(1021).to_string(),
        "the result of the commit is unknown: text (FoundationDB 1021)"
    );
}

/// E226: of all numbers there may be, only the documented ones say that nothing was committed.
#[test]
fn every_other_number_at_the_commit_is_unknown() {
    let nothing: Vec<i32> = RETRYABLE_NOT_COMMITTED.into_iter().chain(REFUSED).collect();
    for code in -10..6_000 {
        let unknown = matches!(commit(code), KvError::UnknownResult { .. });
        assert_eq!(unknown, !nothing.contains(&code), "{code}: {}", commit(code));
    }
}

#[test]
fn before_the_commit_nothing_is_unknown() {
    for code in -10..6_000 {
        assert!(!matches!(before(code), KvError::UnknownResult { .. }), "{code}");
    }
    assert_eq!(before(1031), KvError::TimedOut { limit_ms: 2_000 });
    for code in [1021, 1025, 1026, 1039, 1100, 1299] {
        assert!(matches!(before(code), KvError::Unavailable { .. }), "{code}");
    }
    for code in [0, 1510, 2000, 2017, 4100, 5999] {
        assert!(matches!(before(code), KvError::Failed { .. }), "{code}");
    }
}

#[test]
fn refusals_carry_what_the_call_knows() {
    assert_eq!(commit(2101), KvError::TooLarge { found: 77, limit: TRANSACTION_BYTES_MAX });
    assert_eq!(before(2102), KvError::KeyTooLong { found: KEY.len(), limit: KEY_BYTES_MAX });
    assert_eq!(before(2004), KvError::OutsideLegalRange { key: Shown::of(KEY) });
    assert_eq!(before(1036), KvError::Unreadable { key: Shown::of(KEY) });
    for code in [1036, 2004, 2005, 2102, 2103] {
        assert!(matches!(commit(code), KvError::Failed { .. }), "{code}");
        assert_eq!(at(Moment::Before(None), code).retry(), KvRetry::Never, "{code}");
    }
}
