use super::*;
use crate::suite::{Keys, Storage};

/// Measures the rows that contain `filter` for a moment on little data.
fn measure(filter: &str, dir: std::path::PathBuf) -> (Vec<Row>, Vec<(String, String)>) {
    let storage = Storage { dir, memory_dir: "/dev/shm".into(), bytes: 64 << 20 };
    let keys = Keys::default();
    let plan =
        Plan { seconds: Duration::from_millis(300), filter: filter.to_owned(), storage, keys };
    let (mut started, mut rows, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    run(&plan, &mut |event| match event {
        Event::Preparing(what) => assert!(what.contains("67108864"), "{what}"),
        Event::Starting(name) => started.push(name),
        Event::Measured(row) => rows.push(row),
        Event::Failed { name, reason } => failed.push((name, reason)),
    });
    assert_eq!(rows.len() + failed.len(), plan.names(&SUITE).len(), "each row is reported once");
    assert!(started.len() <= plan.names(&SUITE).len());
    (rows, failed)
}

/// Where there is fio, io_uring and a disk under the folder for temporary files, a row has all its
/// figures; elsewhere it has a reason that says which of them is missing.
#[test]
fn a_row_has_all_its_figures_or_a_reason() {
    let (rows, failed) = measure("disk/file-monoio/4k-write/q16", std::env::temp_dir());
    for (name, reason) in &failed {
        let known = ["Debian package", "in memory", "free", "io_uring", "O_DIRECT"];
        assert!(known.iter().any(|part| reason.contains(part)), "{name}: {reason}");
    }
    for row in &rows {
        for figure in [&row.subject, &row.limit] {
            assert!(0.0 < figure.value && 0.0 < figure.client_cpu_us_per_op, "{row:?}");
            let latency = figure.latency_us.expect("every operation is timed");
            assert!(0.0 < latency.p50 && latency.p50 <= latency.p99, "{row:?}");
        }
        let device = row.device.expect("the subject counts");
        assert_eq!((device.read_per_byte, device.written_per_byte), (0.0, 1.0));
        let ops = device.ops_per_flush.expect("durable writes flush");
        assert!((1.0..=16.0).contains(&ops), "{ops} of 16 in flight");
    }
}

#[test]
fn rows_of_a_device_that_cannot_be_had_fail_with_the_reason() {
    let (rows, failed) = measure("disk/file-glommio/", "/no/such/folder".into());
    assert_eq!((rows.len(), failed.len()), (0, 10));
    for (name, reason) in failed {
        let fio_is_missing = reason.contains("Debian package");
        assert!(fio_is_missing || reason.contains("/no/such/folder"), "{name}: {reason}");
    }
}
