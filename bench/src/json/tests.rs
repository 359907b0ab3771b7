use core::time::Duration;

use serde_json::json;

use super::*;
use crate::suite::{DeviceBytes, Figure, Keys, Latency, Shown, Storage};

fn example_rows() -> [Row; 1] {
    let figure = |value, latency_us| Figure {
        value,
        client_cpu_us_per_op: 1.5,
        server_cpu_us_per_op: 2.5,
        latency_us,
    };
    [Row {
        name: "a-b/4k/c1/q1".to_owned(),
        unit: "op/s",
        subject: figure(8.0, Some(Latency { p50: 70.0, p99: 90.0 })),
        limit: figure(10.0, None),
        ratio: 0.8,
        ratio_min: 0.7,
        ratio_max: 0.9,
        goal: Some(0.8),
        pairs: 5,
        slice_seconds: 0.2,
        device: Some(DeviceBytes {
            read_per_byte: 1.0,
            written_per_byte: 0.5,
            ops_per_flush: None,
            journal: None,
        }),
        opening: None,
        kv: None,
        storage: None,
        meta: None,
    }]
}

/// Readers find figures by these names; a change here is a change of [`SCHEMA`].
#[test]
fn field_names_are_stable() {
    let rows = example_rows();
    let machine = Machine {
        cpu_model: Some("a CPU".to_owned()),
        cores: Some(2),
        kernel: None,
        commit: None,
        release_build: true,
    };
    let shown = Shown { cpu_shares: ["client", "server"], device_bytes: true, sized: true };
    let limit = "an echo";
    let suite =
        Suite { name: "rpc", about: "", limit, shown, rows: |_| Vec::new(), run: |_, _| () };
    let (dir, memory_dir) = ("/a".into(), "/b".into());
    let storage = Storage { dir, memory_dir, bytes: 4096 };
    let keys = Keys::default();
    let plan = Plan { seconds: Duration::from_secs(2), filter: "4k".to_owned(), storage, keys };
    let failures = [("a-b/1m".to_owned(), "no ring".to_owned())];
    let document = Document::new(&suite, &plan, &machine, &rows, &failures);
    let expected = json!({
        "schema": 1,
        "suite": "rpc",
        "limit": "an echo",
        "seconds_per_row": 2.0,
        "filter": "4k",
        "data_bytes": 4096,
        "cpu_shares": ["client", "server"],
        "machine": {
            "cpu_model": "a CPU",
            "cores": 2,
            "kernel": null,
            "commit": null,
            "release_build": true,
        },
        "rows": [{
            "name": "a-b/4k/c1/q1",
            "unit": "op/s",
            "subject": {
                "value": 8.0,
                "client_cpu_us_per_op": 1.5,
                "server_cpu_us_per_op": 2.5,
                "latency_us": { "p50": 70.0, "p99": 90.0 },
            },
            "limit": {
                "value": 10.0,
                "client_cpu_us_per_op": 1.5,
                "server_cpu_us_per_op": 2.5,
                "latency_us": null,
            },
            "ratio": 0.8,
            "ratio_min": 0.7,
            "ratio_max": 0.9,
            "goal": 0.8,
            "pairs": 5,
            "slice_seconds": 0.2,
            "device": { "read_per_byte": 1.0, "written_per_byte": 0.5, "ops_per_flush": null,
                "journal": null },
            "goal_met": true,
        }],
        "failures": [{ "name": "a-b/1m", "reason": "no ring" }],
    });
    assert_eq!(serde_json::to_value(&document).expect("plain data"), expected);
}
