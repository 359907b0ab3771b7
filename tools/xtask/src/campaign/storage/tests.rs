use super::*;

/// What the simulator prints, as far as it is read.
fn printed(commit: &str) -> String {
    format!(
        "{{\"commit\":\"{commit}\",\"worlds\":3,\"operations\":50,\"faults_begun\":7,\
         \"real_seconds\":1.5,\"marks\":{{\"E1: a\":2}},\"failures\":[]}}"
    )
}

#[test]
fn portions_add_up() {
    let mut row = Row::new(COLUMNS, "", "today", "cargo x campaign storage");
    add(&mut row, &printed("c1"), false).unwrap();
    add(&mut row, &printed("c1"), false).unwrap();
    assert_eq!(["worlds", "operations", "faults"].map(|name| row.get(name)), [6, 100, 14]);
    assert_eq!((row.commit.as_str(), row.seconds, row.marks["E1: a"]), ("c1", 3.0, 4));
}

#[test]
fn a_row_is_of_one_commit() {
    let mut row = Row::new(COLUMNS, "", "today", "cargo x campaign storage");
    add(&mut row, &printed("c1"), false).unwrap();
    assert!(add(&mut row, &printed("c2"), false).is_err());
    let mut row = Row::new(COLUMNS, "c0", "today", "cargo x campaign storage");
    add(&mut row, &printed("c2"), true).unwrap();
    assert_eq!(row.commit, "c0", "of the simulator that was named");
}
