use super::*;

fn over(item: &str, lines: usize) -> Oversized {
    let path = item.split("::").next().unwrap_or(item).to_owned();
    Oversized { item: item.to_owned(), path, line: 5, lines, limit: 70 }
}

#[test]
fn an_entry_admits_exactly_its_lines() {
    #[rustfmt::skip]
    let rows = [
        // list, lines of a.rs::f now (0: within the limit), where the finding is
        ("80 a.rs::f table", 80, None),
        ("80 a.rs::f table", 81, Some("a.rs")),
        ("80 a.rs::f table", 79, Some(PATH)),
        ("80 a.rs::f table", 0,  Some(PATH)),
        ("",                 80, Some("a.rs")),
        ("# 80 a.rs::f x",   80, Some("a.rs")),
    ];
    for (list, lines, expected) in rows {
        let now = if lines == 0 { vec![] } else { vec![over("a.rs::f", lines)] };
        let found = check(list, &now);
        let files: Vec<_> = found.iter().map(|f| f.file.as_str()).collect();
        assert_eq!(files, Vec::from_iter(expected), "list {list:?}, {lines} lines");
    }
}

#[test]
fn entries_without_reason_and_doubles_are_found() {
    let now = [over("a.rs::f", 80)];
    assert_eq!(check("80 a.rs::f", &now).len(), 2, "no reason: not an entry, so not admitted");
    assert_eq!(check("80 a.rs::f table\n90 a.rs::f table", &now).len(), 1);
    assert_eq!(check("eighty a.rs::f table\n80 a.rs::f table", &now).len(), 1);
}

#[test]
fn blessing_shrinks_and_never_grows_without_a_reason() {
    let list = "80 a.rs::f old\n90 a.rs::g old\n99 a.rs::gone old\n";
    let now = [over("a.rs::f", 75), over("a.rs::g", 95), over("a.rs::new", 71)];
    let body = |text: String| {
        text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(body(blessed(list, &now, None)), ["75 a.rs::f old", "90 a.rs::g old"]);
    let grown = blessed(list, &now, Some("two tables"));
    assert_eq!(
        body(grown.clone()),
        ["75 a.rs::f old", "95 a.rs::g two tables", "71 a.rs::new two tables"]
    );
    assert_eq!(check(&grown, &now), [], "what was blessed with a reason is clean");
    assert_eq!(blessed(&grown, &now, None), grown, "blessing twice changes nothing");
}
