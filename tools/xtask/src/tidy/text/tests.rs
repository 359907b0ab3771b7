use super::*;
use crate::tree::tests::tree;

#[test]
fn every_rule_can_fail() {
    let wide = |columns: usize| "é".repeat(columns);
    let (todo, ignore) = (UNFINISHED[0], UNFINISHED[6]);
    let (work, home) = (MACHINE[0], MACHINE[2]);
    #[rustfmt::skip]
    let rows = [
        ("a.rs", format!("// {todo}: later"),         1),
        ("a.rs", format!("    {}()", UNFINISHED[4]),  1),
        ("a.rs", format!("    {ignore} = \"slow\"]"), 1),
        ("a.md", format!("{todo} list"),              1),
        ("a.rs", format!("MA{todo}S my_{todo}"),      0),
        ("a.toml", format!("x = \"{todo}\""),         0),
        ("a.toml", format!("path = \"{work}x\""),     1),
        ("a.md", format!("see {home}me/file"),        1),
        ("a.md", format!("https://x.org{work}a"),     0),
        ("a.rs", "let a;   ".to_owned(),              1),
        ("a.rs", "\tlet a;".to_owned(),               1),
        ("a.md", "text \r\ntext".to_owned(),          1),
        ("Makefile", "\tx ".to_owned(),               0),
        ("a.rs", wide(RUST_COLUMNS_MAX),              0),
        ("a.rs", wide(RUST_COLUMNS_MAX + 1),          1),
        ("a.md", wide(MARKDOWN_COLUMNS_MAX),          0),
        ("a.md", wide(MARKDOWN_COLUMNS_MAX + 1),      1),
    ];
    for (path, text, expected) in rows {
        let found = check(&tree(&[(path, &text)]));
        assert_eq!(found.len(), expected, "{path}: {text:?}: {found:?}");
    }
}

#[test]
fn every_mark_and_folder_is_on_the_watch() {
    for mark in UNFINISHED {
        assert_eq!(check(&tree(&[("a.rs", mark)])).len(), 1, "{mark}");
    }
    for folder in MACHINE {
        assert_eq!(check(&tree(&[("a", folder)])).len(), 1, "{folder}");
    }
}
