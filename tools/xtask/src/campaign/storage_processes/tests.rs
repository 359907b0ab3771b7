use super::*;

const TOLD: &[&str] = &[
    r#"{"head":{"write_ms":2400,"read_ms":2100}}"#,
    r#"{"head":{"write_ms":5200,"read_ms":30}}"#,
    r#"{"head":{"write_ms":2300,"read_ms":40}}"#,
    r#"{"catch_up":{"changed":"4 KiB of all","changed_chunks":3,"changed_bytes":12288,"#,
    r#""shipped_chunks":3,"shipped_bytes":196608}}"#,
    r#"{"balance":{"readers":3,"written":false,"reads":[6000,5990,6010]}}"#,
    r#"{"balance":{"readers":3,"written":true,"reads":[6600,5700,5700]}}"#,
    r#"{"rolling":{"write_ms":900,"read_ms":70}}"#,
];

fn figures() -> Figures {
    // One of them is too long for a line here.
    Figures::read(&KIND, &TOLD.join("\n").replace(",\n\"", ",\"")).unwrap()
}

#[test]
fn figures_become_a_table() {
    let table = figures().table(true);
    let expected = [
        "death of the head, longest write, 3 times                                     \
         median 2400 ms, worst 5200 ms  goal worst below 5000 ms: missed",
        "death of the head, longest read, 3 times                                        \
         median 40 ms, worst 2100 ms",
        "catch-up: 4 KiB of all                             \
         12 KiB changed in 3 chunks, 192 KiB shipped in 3",
        "reads of each replica, 3 readers                                                       \
         6000, 5990, 6010: 0.2 % off  goal within 5 %: met",
        "reads of each replica, 3 readers, while written                            \
         6600, 5700, 5700: 10.0 % off  goal within 5 %: missed",
        "rolling restart of three nodes, longest operation                             \
         write 900 ms, read 70 ms",
        "nothing was lost, and no operation failed",
    ];
    let found: Vec<String> = table.lines().map(squeezed).collect();
    assert_eq!(found, expected.map(squeezed));
    assert!(table.lines().take(6).all(|line| line.is_ascii()), "{table}");
    assert!(figures().table(false).ends_with("see the tests above\n"));
}

/// Blanks side by side are one: how wide columns are is not the point here.
fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn figures_become_a_document() {
    let document = figures().document(true);
    assert_eq!(document["nothing_lost_no_operation_failed"], true);
    assert_eq!(document["goals_met"], false);
    assert_eq!(document["head"][1]["write_ms"], 5200);
    assert_eq!(document["catch_up"][0]["shipped_bytes"], 196_608);
    assert_eq!(document["rolling"][0]["read_ms"], 70);
}

#[test]
fn what_is_no_figure_is_refused() {
    assert!(Figures::read(&KIND, "figure").is_err());
    assert_eq!(Figures::read(&KIND, "").unwrap().rows().len(), 0);
}
