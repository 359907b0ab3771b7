use super::*;
use crate::suite::{JournalTurns, Latency};

const SHOWN: Shown = Shown { cpu_shares: ["client", "server"], device_bytes: false, sized: false };

fn figure(value: f64, latency_us: Option<Latency>) -> Figure {
    Figure { value, client_cpu_us_per_op: 3.125, server_cpu_us_per_op: 4.0, latency_us }
}

fn row(name: &str, ratio: f64, goal: Option<f64>, latency: Option<Latency>) -> Row {
    Row {
        name: name.to_owned(),
        unit: "op/s",
        subject: figure(81_234.4, latency),
        limit: figure(1_100_000.0, latency),
        ratio,
        ratio_min: ratio,
        ratio_max: ratio,
        goal,
        pairs: 5,
        slice_seconds: 0.2,
        device: None,
        opening: None,
        kv: None,
        storage: None,
        meta: None,
    }
}

#[test]
fn columns_line_up() {
    let names = ["a/short".to_owned(), "a/much/longer/name".to_owned()];
    let table = Table::new(&names, SHOWN);
    let latency = Some(Latency { p50: 71.2, p99: 130.0 });
    let lines = [
        table.header(),
        table.row(&row(&names[0], 0.79, Some(0.8), latency)),
        table.row(&row(&names[1], 0.81, Some(0.8), None)),
    ];
    for line in &lines {
        assert_eq!(line.len(), lines[0].len(), "{line}");
    }
    assert!(lines[1].contains("81,234") && lines[1].contains("1,100,000"), "{}", lines[1]);
    assert!(lines[1].contains("3.1+4.0=7.1"), "{}", lines[1]);
    assert!(lines[1].contains("71/130 (71/130)"), "{}", lines[1]);
}

#[test]
fn device_bytes_are_shown_where_the_suite_counts_them() {
    let shown = Shown { cpu_shares: ["process", "kernel"], device_bytes: true, sized: false };
    let table = Table::new(&["a row".to_owned()], shown);
    let device = DeviceBytes {
        read_per_byte: 0.5,
        written_per_byte: 2.25,
        ops_per_flush: None,
        journal: None,
    };
    let journal = Some(JournalTurns { ring_bytes: 64 << 20, turns: 2.04 });
    let mut with = row("", 1.0, None, None);
    with.device = Some(DeviceBytes { ops_per_flush: Some(7.5), journal, ..device });
    let mut without_flushes = row("", 1.0, None, None);
    without_flushes.device = Some(device);
    let lines = [table.header(), table.row(&with), table.row(&without_flushes)];
    for line in &lines {
        assert_eq!(line.len(), lines[0].len(), "{line}");
    }
    assert!(lines[0].contains("process+kernel"), "{}", lines[0]);
    assert!(lines[1].ends_with(" 0.50+2.25, 7.5, 2.0x64M"), "{}", lines[1]);
    assert!(lines[2].ends_with(" 0.50+2.25"), "{}", lines[2]);
}

#[test]
fn only_rows_below_their_goal_are_marked() {
    let table = Table::new(&[], SHOWN);
    assert!(table.row(&row("", 0.79, Some(0.8), None)).contains("<0.80"));
    assert!(!table.row(&row("", 0.8, Some(0.8), None)).contains('<'));
    assert!(!table.row(&row("", 0.1, None, None)).contains('<'));
}

#[test]
fn numbers_keep_their_digits() {
    for (value, expected) in [
        (0.0, "0.000"),
        (1.2345, "1.234"),
        (99.96, "100.0"),
        (999.0, "999.0"),
        (1000.0, "1,000"),
        (123_456_789.0, "123,456,789"),
    ] {
        assert_eq!(number(value), expected);
    }
}
