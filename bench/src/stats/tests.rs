use super::*;

fn slice(ops: u64, millis: u64, client_us: u64, server_us: u64) -> Slice {
    let cpu = CpuUsed { client_nanos: client_us * 1000, server_nanos: server_us * 1000 };
    Slice { ops, nanos: millis * 1_000_000, cpu }
}

fn side(slices: &[Slice]) -> Side {
    let mut side = Side::new();
    slices.iter().for_each(|slice| side.add(*slice, &latency_histogram()));
    side
}

fn heading(scale: f64, goal: Option<f64>) -> Heading {
    Heading { name: "row".to_owned(), unit: "op/s", scale, goal }
}

#[test]
fn median_is_the_middle() {
    assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
    assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), 2.5);
    assert_eq!(median([7.0].into_iter()), 7.0);
}

#[test]
fn the_time_of_a_row_is_divided_into_an_odd_number_of_short_pairs() {
    for seconds in [0.1, 0.5, 1.0, 2.0, 2.01, 10.0, 3600.0] {
        let division = Division::of(Duration::from_secs_f64(seconds), SLICE_MAX);
        assert!(division.pairs >= PAIRS_MIN && division.pairs % 2 == 1, "{seconds}: {division:?}");
        assert!(division.slice() <= SLICE_MAX, "{seconds}: {division:?}");
        assert!(division.settle < division.measured);
        let total = division.slice().as_secs_f64() * 2.0 * f64::from(division.pairs);
        assert!((total - seconds).abs() < 1e-3, "{seconds}: {total}");
    }
}

#[test]
fn one_stalled_slice_moves_neither_value_nor_ratio() {
    let subject = side(&[
        slice(800, 1000, 800, 1600),
        slice(10, 1000, 800, 1600),
        slice(800, 1000, 800, 1600),
    ]);
    let limit = side(&[
        slice(1000, 1000, 500, 500),
        slice(1000, 1000, 500, 500),
        slice(1000, 1000, 500, 500),
    ]);
    let row = row(
        heading(1.0, Some(0.8)),
        &Division::of(Duration::from_secs(1), SLICE_MAX),
        &subject,
        &limit,
    );
    assert_eq!((row.subject.value, row.limit.value), (800.0, 1000.0));
    assert_eq!((row.ratio, row.ratio_min, row.ratio_max), (0.8, 0.01, 0.8));
    assert_eq!(row.goal_met(), Some(true), "a goal that is reached exactly is met");
    assert_eq!(row.subject.client_cpu_us_per_op, 1.0);
    assert_eq!(row.subject.server_cpu_us_per_op, 2.0);
    assert_eq!(row.limit.client_cpu_us_per_op, 0.5);
    assert_eq!(row.subject.latency_us, None);
}

#[test]
fn drift_that_hits_both_sides_leaves_the_ratio_alone() {
    let subject = side(&[slice(50, 1000, 1, 1), slice(500, 1000, 1, 1), slice(5, 1000, 1, 1)]);
    let limit = side(&[slice(100, 1000, 1, 1), slice(1000, 1000, 1, 1), slice(10, 1000, 1, 1)]);
    let row = row(
        heading(0.5, Some(0.6)),
        &Division::of(Duration::from_secs(1), SLICE_MAX),
        &subject,
        &limit,
    );
    assert_eq!((row.ratio, row.ratio_min, row.ratio_max), (0.5, 0.5, 0.5));
    assert_eq!(row.goal_met(), Some(false));
    assert_eq!(row.subject.value, 25.0, "scaled to the unit");
}

#[test]
fn a_side_that_stood_still_is_zero_and_not_nan() {
    let none = side(&[slice(0, 0, 0, 0)]);
    let some = side(&[slice(10, 1000, 1, 1)]);
    let division = Division::of(Duration::from_secs(1), SLICE_MAX);
    let still = row(heading(1.0, None), &division, &none, &some);
    assert_eq!(
        (still.ratio, still.subject.value, still.subject.client_cpu_us_per_op),
        (0.0, 0.0, 0.0)
    );
    let no_limit = row(heading(1.0, Some(0.8)), &division, &some, &none);
    assert_eq!((no_limit.ratio, no_limit.goal_met()), (0.0, Some(false)));
}

#[test]
fn percentiles_cover_all_slices() {
    let mut fast = latency_histogram();
    fast.record_n(10_000, 98).expect("in bounds");
    let mut slow = latency_histogram();
    slow.record_n(1_000_000, 2).expect("in bounds");
    let mut subject = Side::new();
    subject.add(slice(98, 1000, 1, 1), &fast);
    subject.add(slice(2, 1000, 1, 1), &slow);
    let latency = subject.figure(1.0).latency_us.expect("latencies were recorded");
    assert!((latency.p50 - 10.0).abs() < 0.1, "{latency:?}");
    assert!((latency.p99 - 1000.0).abs() < 10.0, "{latency:?}");
}
