use super::*;

const TOLD: &[&str] = &[
    r#"{"tree":{"limits":"default","kills":4,"files":2000,"bytes":25165824,"remove_ms":12,"#,
    r#""back_s":601.5}}"#,
    r#"{"tree":{"limits":"off","kills":0,"files":2000,"bytes":25165824,"remove_ms":1200,"#,
    r#""back_s":80.0}}"#,
    r#"{"death":{"of":"service","longest_ms":30}}"#,
    r#"{"death":{"of":"service","longest_ms":1010}}"#,
    r#"{"death":{"of":"service","longest_ms":40}}"#,
    r#"{"load":{"of":"service","operations":900}}"#,
    r#"{"death":{"of":"kv","longest_ms":300}}"#,
    r#"{"load":{"of":"kv","operations":70}}"#,
];

fn figures() -> Figures {
    // Two of them are too long for a line here.
    Figures::read(&KIND, &TOLD.join("\n").replace(",\n\"", ",\"")).unwrap()
}

#[test]
fn figures_become_a_table() {
    let table = figures().table(true);
    let expected = [
        "tree of 2000 files, limits default, killed 4 times: removal returns 12 ms \
         goal below 1000 ms: met",
        "tree of 2000 files, limits default, killed 4 times: space is back \
         24 MiB after 601.5 s goal within 600 s: missed",
        "tree of 2000 files, limits off: removal returns 1200 ms goal below 1000 ms: missed",
        "tree of 2000 files, limits off: space is back 24 MiB after 80.0 s \
         goal within 120 s: met",
        "death of a service, longest operation, 3 times \
         median 40 ms, worst 1010 ms; 900 operations",
        "death of the key-value store, longest operation, 1 times \
         median 300 ms, worst 300 ms; 70 operations",
        "no operation was lost or done twice, and all space came back",
    ];
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let found: Vec<String> = table.lines().map(squeezed).collect();
    assert_eq!(found, expected);
    assert!(figures().table(false).ends_with("see the tests above\n"));
}

#[test]
fn figures_become_a_document() {
    let document = figures().document(false);
    assert_eq!(document["nothing_lost_space_back"], false);
    assert_eq!(document["goals_met"], false);
    assert_eq!(document["tree"][1]["remove_ms"], 1200);
    assert_eq!(document["death"][3]["of"], "kv");
}

#[test]
fn what_is_no_figure_is_refused() {
    assert!(Figures::read(&KIND, "figure").is_err());
    assert_eq!(Figures::read(&KIND, "").unwrap().rows().len(), 0);
}
