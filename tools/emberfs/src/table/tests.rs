use super::*;
use crate::testing::Paper;

const COLUMNS: [Column; 3] = [("name", Align::Left), ("bytes", Align::Right), ("why", Align::Left)];

fn row(name: &str, bytes: u64, why: &str) -> Vec<Cell> {
    vec![name.into(), bytes.into(), why.into()]
}

#[test]
fn columns_line_up_and_lines_do_not_end_in_blanks() {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), false);
    let mut table = Table::new(&COLUMNS);
    table.row(&mut out, row("a", 1, "short")).unwrap();
    table.row(&mut out, row("much longer", 1_234_567, "")).unwrap();
    assert_eq!(paper.lines(), [""; 0], "nothing before the widths are known");
    table.finish(&mut out).unwrap();
    let expected =
        ["name           bytes  why", "a                  1  short", "much longer  1234567"];
    assert_eq!(paper.lines(), expected);
}

#[test]
fn a_long_table_is_printed_while_it_grows() {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), false);
    let mut table = Table::new(&COLUMNS);
    for number in 0..ROWS_MEASURED {
        assert!(paper.lines().is_empty());
        table.row(&mut out, row("name", number as u64, "x")).unwrap();
    }
    assert_eq!(paper.lines().len(), ROWS_MEASURED + 1, "with its header");
    table.row(&mut out, row("wider than all before", 1, "x")).unwrap();
    let last = paper.lines().pop().unwrap();
    assert_eq!(last, "wider than all before      1  x");
    table.finish(&mut out).unwrap();
    assert_eq!(paper.lines().len(), ROWS_MEASURED + 2);
}

#[test]
fn an_empty_table_is_its_header() {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), false);
    Table::new(&COLUMNS).finish(&mut out).unwrap();
    assert_eq!(paper.lines(), ["name  bytes  why"]);
}

#[test]
fn facts_line_up() {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), false);
    facts(&mut out, &[("size", 3.into()), ("cluster", Cell::coloured("none", Colour::Red))])
        .unwrap();
    assert_eq!(paper.lines(), ["size     3", "cluster  none"]);
}

#[test]
fn colours_are_for_terminals() {
    let painted = Style::PLAIN.paint(Some(Colour::Red), "x");
    assert_eq!(painted, "x");
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert_eq!(Style::of(&file), Style::PLAIN);
}
