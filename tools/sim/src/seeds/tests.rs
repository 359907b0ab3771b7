use super::*;

#[test]
fn one_seed_goes_before_a_count() {
    assert_eq!(range(None, 3), 0..=2);
    assert_eq!(range(Some(7), 3), 7..=7);
    assert_eq!(range(Some(u64::MAX), 0), u64::MAX..=u64::MAX);
}

#[test]
#[should_panic(expected = "EMBERFS_SIM_SEEDS must be 1 or more")]
fn no_seed_is_refused() {
    range(None, 0);
}
