use super::*;

const COLUMNS: Columns = &[("worlds", "worlds"), ("operations", "their operations")];
const PRINTED: &[(&str, &str)] = &[("worlds", "worlds"), ("operations", "operations")];

fn printed() -> Value {
    json!({ "worlds": 3, "operations": 50, "marks": { "E1: a": 2 }, "failures": [
        { "failed": "T90", "replay": "cargo x sim --seed 1" } ] })
}

fn row() -> Row {
    let mut row = Row::new(COLUMNS, "0123456789abcdef", "today", "cargo x campaign it");
    row.add_worlds(&printed(), PRINTED).unwrap();
    row.add_marks(&marks(&printed()).unwrap());
    row.seconds = 90.0;
    row
}

#[test]
fn what_the_simulator_printed_is_added() {
    let mut row = row();
    row.add_worlds(&printed(), PRINTED).unwrap();
    assert_eq!((row.get("worlds"), row.get("operations")), (6, 100));
    assert_eq!(row.failures, ["cargo x sim --seed 1: T90"; 2]);
    assert!(row.add_worlds(&json!({}), PRINTED).is_err());
    assert!(marks(&json!({ "marks": { "E1: a": "two" } })).is_err());
}

#[test]
fn rows_are_lines_of_tables() {
    let sums = Sums { columns: COLUMNS, rows: vec![row(), row()] };
    let line = "| 0123456789ab | today | `cargo x campaign it` | 3 | 50 | 1.5 | 1 |";
    let expected = format!(
        "| commit | date | command | worlds | their operations | minutes | failures |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n\
         {line}\n{line}\n| sum |  | `` | 6 | 100 | 3.0 | 2 |\n\
         cargo x sim --seed 1: T90\ncargo x sim --seed 1: T90\n"
    );
    assert_eq!(sums.table(), expected);
    let all = sums.to_json(Some(("rare", json!([]))));
    assert_eq!((&all["sum"]["marks"]["E1: a"], &all["rare"]), (&json!(4), &json!([])));
}

#[test]
fn rows_come_back_from_their_file() {
    let folder = std::env::temp_dir().join(format!("emberfs-rows-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("sums");
    let none = Sums::read(COLUMNS, Some(&path)).unwrap();
    assert_eq!(none, Sums::read(COLUMNS, None).unwrap(), "no file, no rows");
    let sums = Sums { columns: COLUMNS, rows: vec![row(), row()] };
    sums.write(&path).unwrap();
    assert_eq!(Sums::read(COLUMNS, Some(&path)).unwrap(), sums);
    fs::write(&path, "{}\n").unwrap();
    assert!(Sums::read(COLUMNS, Some(&path)).is_err());
    fs::remove_dir_all(&folder).unwrap();
}
