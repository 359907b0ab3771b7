use engine_types::{
    ChainId, ChainInfo, ChainVersion, Incarnation, Member, NodeId, StoreId, TargetId,
};
use mgmt_cluster::record::{LastServer, Leaving};
use mgmt_protocol::ChainMember;

use super::*;
use crate::testing::Paper;

fn row(states: &[PublicState], reasons: &[&str]) -> ChainRow {
    let id = |at: usize| u64::try_from(at + 1).unwrap();
    let member = |(at, state): (usize, &PublicState)| Member {
        target: TargetId::new(id(at)),
        state: *state,
        incarnation: Incarnation::new(1),
    };
    let known = |at: usize| ChainMember {
        node: NodeId::new(10),
        store: StoreId::new(id(at).into()),
        disk: 0,
        leaving: Leaving::No,
        local: None,
    };
    let members = states.iter().enumerate().map(member).collect();
    ChainRow {
        chain: ChainId::new(5).unwrap(),
        info: ChainInfo { version: ChainVersion::new(3), members },
        members: (0..states.len()).map(known).collect(),
        last_serving: vec![LastServer { target: TargetId::new(1), store: StoreId::new(1) }],
        preferred: Vec::new(),
        reasons: reasons.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_row_says_how_much_serves_and_why_not_all() {
    use PublicState::{LastServing, Offline, Serving, Syncing};
    for (row, expected) in [
        (
            row(&[Serving, Serving], &["whole: all members serve"]),
            "chain-5 v3 whole target-1 on node-10, target-2 on node-10",
        ),
        (
            row(&[Serving, Syncing], &["target-2 is synced", "more"]),
            "chain-5 v3 degraded target-1 on node-10, target-2 on node-10 syncing target-2 is \
             synced",
        ),
        (
            row(&[LastServing, Offline], &["nobody serves"]),
            "chain-5 v3 unserved target-1 on node-10 last-serving, target-2 on node-10 offline \
             nobody serves",
        ),
        // All serve, and something is about to happen.
        (row(&[Serving], &["stopped", "more"]), "chain-5 v3 whole target-1 on node-10 stopped"),
    ] {
        let paper = Paper::default();
        let mut out = Output::to(paper.clone(), false);
        let mut table = Table::new(COLUMNS);
        table.row(&mut out, cells(&row)).unwrap();
        table.finish(&mut out).unwrap();
        let line = paper.lines()[1].split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(line, expected);
    }
}

#[test]
fn programs_are_told_everything() {
    let row = row(&[PublicState::Serving, PublicState::Offline], &["a", "b"]);
    let told = serde_json::to_value(Report::of(&row)).unwrap();
    assert_eq!((&told["chain"], &told["state"]), (&"chain-5".into(), &"degraded".into()));
    assert_eq!(told["members"][1]["state"], "offline");
    assert_eq!((&told["reasons"][1], &told["last_serving"][0]), (&"b".into(), &"target-1".into()));
}
