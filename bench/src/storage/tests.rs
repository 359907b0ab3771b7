use super::*;
use crate::suite::{Keys, Storage};

/// Measures the rows that contain `filter` for a moment on little data.
fn measure(filter: &str) -> (Vec<Row>, Vec<(String, String)>) {
    let memory_dir = "/dev/shm".into();
    let storage = Storage { dir: "".into(), memory_dir, bytes: 64 << 20 };
    let seconds = Duration::from_millis(200);
    let plan = Plan { seconds, filter: filter.to_owned(), storage, keys: Keys::default() };
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    run(&plan, &mut |event| match event {
        Event::Preparing(_) | Event::Starting(_) => {}
        Event::Measured(row) => rows.push(row),
        Event::Failed { name, reason } => failed.push((name, reason)),
    });
    assert_eq!(rows.len() + failed.len(), plan.names(&SUITE).len(), "each row is reported once");
    (rows, failed)
}

/// Where there are loop devices and io_uring, a row has all its figures; elsewhere a reason.
#[test]
fn a_row_has_all_its_figures_or_a_reason() {
    let (rows, failed) = measure("one-shard/4k-hole-read/q16");
    for (name, reason) in &failed {
        let known = ["loop device", "losetup", "tmpfs", "free", "io_uring", "No such file"];
        assert!(known.iter().any(|part| reason.contains(part)), "{name}: {reason}");
    }
    for row in &rows {
        for figure in [&row.subject, &row.limit] {
            assert!(0.0 < figure.value && 0.0 < figure.client_cpu_us_per_op, "{row:?}");
            let latency = figure.latency_us.expect("every operation is timed");
            assert!(0.0 < latency.p50 && latency.p50 <= latency.p99, "{row:?}");
        }
        let told = row.storage.as_ref().expect("layers are told");
        assert_eq!(told.layers.len(), 1);
        assert!(told.threads_us_per_op.contains_key("bench-node-1"), "{told:?}");
    }
}

fn taken(ops: u64, nanos: u64, latency_nanos: u64) -> Taken {
    let mut latency = latency_histogram();
    latency.record(latency_nanos).unwrap();
    Taken { slice: Slice { ops, nanos, ..Slice::default() }, latency, all_ops: ops }
}

#[test]
fn times_of_layers_add_up() {
    // 1,000 and 250 a second: one after the other 200.
    let layers = [taken(1_000, 1_000_000_000, 1_000), taken(500, 2_000_000_000, 4_000)];
    let both = one_after_the_other(layers.iter());
    assert!((rate(&both.slice) * 1e9 - 200.0).abs() < 0.01, "{:?}", both.slice);
    let p50 = both.latency.value_at_quantile(0.5);
    assert!((4_990..=5_010).contains(&p50), "{p50}");
}

#[test]
fn what_one_device_gives_is_shared_by_three_replicas() {
    let one = taken(900, 1_000_000_000, 1);
    assert!((rate(&third(Side::Device, &one).slice) * 1e9 - 300.0).abs() < 0.01);
    assert!((rate(&third(Side::Rpc, &one).slice) * 1e9 - 900.0).abs() < 0.01);
}

#[test]
fn goals_stand_where_the_contract_puts_them() {
    for setting in Setting::ALL {
        for shape in setting.shapes() {
            let goal = if shape.work == Work::LargeWrite { 0.7 } else { 0.8 };
            assert_eq!(setting.heading(shape).goal, Some(goal));
        }
    }
}
