use super::*;
use crate::tree::tests::tree;

fn function(name: &str, lines: usize) -> String {
    format!("fn {name}() {{\n{}}}\n", "    x();\n".repeat(lines - 2))
}

#[test]
fn limits_hold_to_the_line() {
    let fits = function("fits", FUNCTION_LINES_MAX);
    let over = function("over", FUNCTION_LINES_MAX + 1);
    let file_fits = "//\n".repeat(FILE_LINES_MAX);
    let file_over = "//\n".repeat(FILE_LINES_MAX + 1);
    let found = oversized(&tree(&[
        ("a.rs", &fits),
        ("b.rs", &over),
        ("c.rs", &file_fits),
        ("d.rs", &file_over),
        ("e.md", &file_over),
    ]));
    let found: Vec<_> = found.iter().map(|o| (o.item.as_str(), o.lines)).collect();
    assert_eq!(found, [("b.rs::over", FUNCTION_LINES_MAX + 1), ("d.rs", FILE_LINES_MAX + 1)]);
}

#[test]
fn namesakes_are_told_apart() {
    let text = function("run", 80) + &function("run", 90);
    let found = oversized(&tree(&[("a.rs", &text)]));
    let found: Vec<_> = found.iter().map(|o| (o.item.as_str(), o.line, o.lines)).collect();
    assert_eq!(found, [("a.rs::run", 1, 80), ("a.rs::run#2", 81, 90)]);
}

#[test]
fn the_list_in_the_tree_admits_what_it_names() {
    let over = function("over", 80);
    let list = "80 a.rs::over one table of rows\n";
    assert_eq!(check(&tree(&[("a.rs", &over)])).len(), 1);
    assert_eq!(check(&tree(&[("a.rs", &over), (ratchet::PATH, list)])), []);
}
