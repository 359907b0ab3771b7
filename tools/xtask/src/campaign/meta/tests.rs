use super::row::{Row, Sums};
use super::said;

#[test]
fn what_a_test_says_is_read() {
    assert_eq!(said("running 1 test\noperations judged: 500000\ntest ok"), Some(500_000));
    assert_eq!(said("running 0 tests"), None);
}

#[test]
fn portions_add_up_and_rows_are_kept() {
    let mut row = Row::new("0123456789abcdef", "2026-11-22 12:00", "cargo x campaign meta");
    row.histories = 7;
    row.judged = 70;
    let printed = r#"{ "worlds": 3, "operations": 30, "faults_begun": 5, "failures": [
        { "failed": "T111 lost", "replay": "cargo x sim --seed 4 --scenario meta" } ] }"#;
    row.add_worlds(printed).expect("this is what the simulator prints");
    assert_eq!((row.operations(), row.worlds, row.faults), (100, 3, 5));
    assert_eq!(row.failures, ["cargo x sim --seed 4 --scenario meta: T111 lost"]);
    assert!(row.add_worlds("{}").is_err(), "this is not");
    let sums = Sums(vec![row.clone(), row]);
    let path = std::env::temp_dir().join(format!("meta-sums-{}", std::process::id()));
    sums.write(&path).expect("a file in the folder for temporary ones");
    let read = Sums::read(&path).expect("it was written");
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(read, sums);
    assert!(sums.table().contains("| 14 | 140 | 6 | 60 | 10 |"), "{}", sums.table());
    let text = sums.to_json().to_string();
    assert!(text.contains("\"judged\":140"), "{text}");
}
