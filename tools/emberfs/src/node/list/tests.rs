use core::time::Duration;

use engine_types::{Incarnation, NodeId, StoreId};
use mgmt_cluster::record::NodeRecord;

use super::*;
use crate::testing::Paper;

fn row(node: u32, state: NodeState) -> NodeRow {
    let record = NodeRecord {
        uuid: StoreId::new(9),
        role: NodeRole::Storage,
        addresses: vec![format!("10.0.0.{node}:7300")],
        incarnation: Incarnation::new(2),
        enabled: true,
        draining: state == NodeState::Draining,
        domain: "rack-a".to_owned(),
        tags: [("rack".to_owned(), "a".to_owned())].into(),
    };
    let silent = Duration::from_millis(350);
    let node = NodeId::new(node);
    NodeRow { node, record, state, silent, clock_away: None, targets: 6, serving: 4 }
}

fn line(row: &NodeRow) -> String {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), false);
    let mut table = Table::new(COLUMNS);
    table.row(&mut out, cells(row)).unwrap();
    table.finish(&mut out).unwrap();
    paper.lines()[1].split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_row_tells_what_keeps_a_node_from_being_alive() {
    let alive = row(1, NodeState::Alive);
    assert_eq!(line(&alive), "node-1 storage alive 350 ms 4/6 rack-a 10.0.0.1:7300");
    let disabled = NodeRow {
        record: NodeRecord { enabled: false, ..alive.record.clone() },
        ..row(1, NodeState::Dead)
    };
    let empty = NodeRow { targets: 0, serving: 0, ..alive.clone() };
    for (row, expected) in [
        (row(2, NodeState::Draining), "node-2 storage draining"),
        (row(3, NodeState::Dead), "node-3 storage dead"),
        (disabled, "node-1 storage disabled"),
        (NodeRow { clock_away: Some(9000), ..alive.clone() }, "node-1 storage bad clock"),
        (empty, "node-1 storage alive 350 ms - rack-a"),
    ] {
        let line = line(&row);
        assert!(line.starts_with(expected), "{line}");
    }
}

#[test]
fn programs_are_told_everything() {
    let told = serde_json::to_value(Report::of(&row(1, NodeState::Alive))).unwrap();
    assert_eq!((&told["node"], &told["silent_ms"]), (&"node-1".into(), &350.into()));
    assert_eq!(told["tags"]["rack"], "a");
}
