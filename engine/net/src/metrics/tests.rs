use core::time::Duration;

use engine_types::Status;

use super::Metrics;

#[test]
fn a_snapshot_tells_calls_failures_bytes_and_latency_per_method() {
    let metrics = Metrics::default();
    for _ in 0..99 {
        metrics.record(7, Status::Ok, Duration::from_micros(100), (10, 20));
    }
    metrics.record(7, Status::Busy, Duration::from_secs(3600), (0, 0));
    metrics.record(3, Status::Ok, Duration::ZERO, (1, 1));
    metrics.count(|counters| counters.abandoned += 2);
    let snapshot = metrics.snapshot();
    assert_eq!(snapshot.methods.iter().map(|m| m.kind).collect::<Vec<_>>(), [3, 7]);
    let seven = &snapshot.methods[1];
    assert_eq!((seven.calls, seven.failures), (100, 1));
    assert_eq!((seven.bytes_in, seven.bytes_out), (990, 1980));
    assert_eq!(seven.p50, Duration::from_micros(100));
    assert!(seven.max >= Duration::from_secs(59), "a latency beyond the scale counts as its end");
    assert_eq!(snapshot.counters.abandoned, 2);
}
