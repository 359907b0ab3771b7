use engine_types::{
    ChainId, ChainVersion, ClusterId, Incarnation, Member, NodeId, NodeInfo, NodeRole, NodeState,
    PublicState, RoutingVersion, SessionId, TargetId,
};

use super::*;
use crate::testing::Paper;

fn node(state: NodeState) -> NodeInfo {
    let (role, addresses) = (NodeRole::Storage, vec!["h:1".to_owned()]);
    NodeInfo { role, addresses, incarnation: Incarnation::new(1), state }
}

fn chain(version: u32, state: PublicState) -> ChainInfo {
    let member = |target, state| Member {
        target: TargetId::new(target),
        state,
        incarnation: Incarnation::new(1),
    };
    let members = vec![member(1, PublicState::Serving), member(2, state)];
    ChainInfo { version: ChainVersion::new(version), members }
}

#[test]
fn a_line_names_what_differs() {
    let mut before = RoutingInfo::empty(ClusterId::new(1));
    before.version = RoutingVersion::new(5);
    before.nodes.insert(NodeId::new(1), node(NodeState::Alive));
    before.nodes.insert(NodeId::new(2), node(NodeState::Alive));
    before.chains.insert(ChainId::new(7).unwrap(), chain(3, PublicState::Serving));
    let mut after = before.clone();
    after.version = RoutingVersion::new(6);
    after.nodes.insert(NodeId::new(2), node(NodeState::Dead));
    after.nodes.remove(&NodeId::new(1));
    after.chains.insert(ChainId::new(7).unwrap(), chain(4, PublicState::Offline));
    after.revoked_below = SessionId::new(9);
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), false);
    Change::first(&before).print(&mut out).unwrap();
    Change::between(&before, &after).print(&mut out).unwrap();
    Change::between(&after, &after).print(&mut out).unwrap();
    assert_eq!(
        paper.lines(),
        [
            "r5 timeline-0: 2 nodes, 1 chains, 0 tables",
            "r6 timeline-0: node-2 dead; node-1 is gone; chain-7 v4 target-1 serving, target-2 \
             offline; sessions below session-9 and 0 more are revoked",
            "r6 timeline-0: ",
        ]
    );
}

#[test]
fn many_things_are_counted() {
    let before = RoutingInfo::empty(ClusterId::new(1));
    let mut after = before.clone();
    after.nodes.extend((1..=20).map(|id| (NodeId::new(id), node(NodeState::Alive))));
    let changes = Change::between(&before, &after).changes;
    assert_eq!((changes.len(), changes[8].as_str()), (9, "12 more nodes"), "{changes:?}");
}
