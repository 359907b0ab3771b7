use super::*;

#[test]
fn what_a_test_says_is_read() {
    assert_eq!(said("running 1 test\noperations judged: 500000\ntest ok"), Some(500_000));
    assert_eq!(said("running 0 tests"), None);
}

#[test]
fn operations_of_histories_and_worlds_count() {
    let mut row = Row::new(COLUMNS, "0123456789abcdef", "today", "cargo x campaign meta");
    row.add("histories", 7);
    row.add("judged", 70);
    let printed = r#"{ "worlds": 3, "operations": 30, "faults_begun": 5, "failures": [] }"#;
    add(&mut row, printed).expect("this is what the simulator prints");
    assert_eq!((operations(&row), row.get("worlds"), row.get("faults")), (100, 3, 5));
    assert!(add(&mut row, "{}").is_err(), "this is not");
}
