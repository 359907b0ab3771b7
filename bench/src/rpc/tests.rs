use std::collections::BTreeMap;

use super::*;
use crate::suite::{Keys, Row, Storage};
use shape::Message;

/// Measures the rows that contain `filter` for a moment; what counts is that they end and are
/// counted right, not how fast they are.
fn measure(filter: &str) -> BTreeMap<String, Row> {
    let storage = Storage { dir: "".into(), memory_dir: "".into(), bytes: 0 };
    let keys = Keys::default();
    let plan =
        Plan { seconds: Duration::from_millis(100), filter: filter.to_owned(), storage, keys };
    let mut rows = BTreeMap::new();
    let mut started = Vec::new();
    run(&plan, &mut |event| match event {
        Event::Preparing(what) => panic!("nothing to prepare: {what}"),
        Event::Starting(name) => started.push(name),
        Event::Measured(row) => {
            assert_eq!(started.last(), Some(&row.name));
            rows.insert(row.name.clone(), row);
        }
        Event::Failed { name, reason } => panic!("{name}: {reason}"),
    });
    assert_eq!(started, plan.names(&SUITE), "every wanted row is measured once, in order");
    rows
}

#[test]
fn every_shape_is_measured_on_epoll() {
    let rows = measure("epoll-epoll");
    assert_eq!(rows.len(), Shape::all().len());
    for (name, row) in rows {
        for figure in [&row.subject, &row.limit] {
            assert!(0.0 < figure.value, "{name}: {figure:?}");
            assert!(0.0 < figure.client_cpu_us_per_op, "{name}: {figure:?}");
            assert!(0.0 < figure.server_cpu_us_per_op, "{name}: {figure:?}");
            let latency = figure.latency_us;
            assert_eq!(latency.is_some(), name.ends_with("/q1"), "{name}");
            assert!(latency.is_none_or(|us| 0.0 < us.p50 && us.p50 <= us.p99), "{name}");
        }
        assert_eq!(row.pairs, 3);
        assert!(row.ratio_min <= row.ratio && row.ratio <= row.ratio_max, "{name}: {row:?}");
    }
}

#[test]
fn every_pair_of_runtimes_carries_pipelined_messages() {
    assert_eq!(measure("/4k/c16/q64").len(), PAIRS.len());
}

#[test]
fn both_directions_of_a_transfer_pass_between_different_runtimes() {
    assert_eq!(measure("glommio-monoio/1m").len(), 4);
}

#[test]
fn goals_stand_where_the_contract_puts_them() {
    for shape in Shape::all() {
        let goal = shape.heading(PAIRS[0]).goal;
        match (shape.message, shape.depth) {
            (Message::Small, 64) => assert_eq!(goal, Some(0.8)),
            (Message::Small, _) => assert_eq!(goal, None),
            (Message::Write | Message::Read, _) => assert_eq!(goal, Some(0.9)),
        }
    }
}

#[test]
fn the_bare_counterpart_moves_the_bytes_of_the_rpc() {
    for shape in Shape::all() {
        assert!(shape.request_payload() <= shape.bare_request());
        assert!(shape.answer_payload() <= shape.bare_answer());
        assert!(shape.bare_request() - shape.request_payload() <= 64);
        assert!(shape.bare_answer() - shape.answer_payload() <= 64);
    }
}
