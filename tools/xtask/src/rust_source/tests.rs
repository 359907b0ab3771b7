use super::*;

fn words(text: &str) -> Vec<&str> {
    tokens(text).iter().filter(|t| t.kind == Kind::Word).map(|t| t.text).collect()
}

#[test]
fn comments_and_literals_hold_no_words() {
    #[rustfmt::skip]
    let rows: &[(&str, &[&str])] = &[
        ("a // b\nc",                       &["a", "c"]),
        ("a /* b /* c */ d */ e",           &["a", "e"]),
        (r#"a "b \" c" d"#,                 &["a", "d"]),
        (r###"a r#"b " c"# d"###,           &["a", "d"]),
        (r###"a br##"b "# c"## d"###,       &["a", "d"]),
        (r#"b"x" c"y" b'z' e"#,             &["b", "e"]),
        (r"'a' '\'' 'b: c",                 &["c"]),
        ("'é' é",                           &["é"]),
        ("r#fn 0x1F 1_000u32 a..b",         &["fn", "a", "b"]),
        ("\"unfinished",                    &[]),
        ("r#\"unfinished",                  &[]),
        ("/* unfinished",                   &[]),
        ("'\\",                             &[]),
    ];
    for (text, expected) in rows {
        assert_eq!(words(text), *expected, "source {text:?}");
    }
}

#[test]
fn lines_count_through_comments_and_strings() {
    let found = tokens("/*\n*/ a \"\n\n\" b\n//\nc");
    let lines: Vec<_> = found.iter().map(|t| (t.text, t.line)).collect();
    assert_eq!(lines, [("a", 2), ("\"\n\n\"", 2), ("b", 4), ("c", 6)]);
}

#[test]
fn functions_are_measured_from_fn_to_closing_brace() {
    let text = "trait T { fn none(a: [u8; 3]); }\n\
        fn one() {}\n\
        fn four(x: fn(u8) -> u8) -> [u8; 2] {\n  let s = \"}\"; // }\n  [1, x(2)]\n}\n\
        impl A {\n  async fn outer() {\n    fn inner() {\n    }\n  }\n}\n";
    let found = functions(&tokens(text));
    let found: Vec<_> = found.iter().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(found, [("one", 2, 1), ("four", 3, 4), ("outer", 8, 4), ("inner", 9, 2)]);
}

/// Source that is cut anywhere must not panic: a person may run tidy on a file being edited.
#[test]
fn any_prefix_and_suffix_of_source_is_survived() {
    let text = include_str!("../rust_source.rs");
    for at in (0..text.len()).step_by(7).filter(|at| text.is_char_boundary(*at)) {
        let (head, tail) = text.split_at(at);
        let shown: usize = [head, tail].iter().map(|half| functions(&tokens(half)).len()).sum();
        assert!(shown < text.len());
    }
}
