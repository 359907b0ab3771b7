use super::*;

/// What the simulator prints, as far as it is read.
fn printed(failures: &str) -> String {
    format!(
        "{{\"commit\":\"c1\",\"worlds\":3,\"operations\":50,\"faults_begun\":7,\
         \"real_seconds\":1.5,\"marks\":{{\"E1: a\":2}},\"failures\":[{failures}]}}"
    )
}

#[test]
fn portions_add_up_and_rows_come_back_from_their_file() {
    let mut row = Row::new("cargo x campaign storage", "today".to_owned());
    row.add(&printed("")).unwrap();
    row.add(&printed("{\"failed\":\"T90\",\"replay\":\"cargo x sim --seed 1\"}")).unwrap();
    assert_eq!((row.worlds, row.operations, row.faults), (6, 100, 14));
    assert_eq!(row.marks["E1: a"], 4);
    let sums = Sums(vec![row.clone(), row]);
    assert_eq!(sums.marks()["E1: a"], 8);
    assert_eq!(sums.failures().count(), 2);
    let folder = std::env::temp_dir().join(format!("emberfs-campaign-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("sums");
    assert_eq!(Sums::read(&path).unwrap(), Sums::default(), "no file, no rows");
    sums.write(&path).unwrap();
    assert_eq!(Sums::read(&path).unwrap(), sums);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(sums.table().contains("| sum |"), "{}", sums.table());
}

#[test]
fn a_row_is_of_one_commit() {
    let mut row = Row::new("cargo x campaign storage", "today".to_owned());
    row.add(&printed("")).unwrap();
    let moved = printed("").replace("c1", "c2");
    assert!(row.add(&moved).is_err());
}
