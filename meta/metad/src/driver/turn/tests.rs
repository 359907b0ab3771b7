use std::collections::BTreeMap;

use engine_types::{ClusterId, Incarnation, InodeId, NodeInfo, SessionId};

use super::*;

fn routing(services: &[(u32, NodeState)]) -> RoutingInfo {
    let info = |state| NodeInfo {
        role: NodeRole::Meta,
        addresses: vec!["10.0.0.1:7400".into()],
        incarnation: Incarnation::new(1),
        state,
    };
    let mut nodes: BTreeMap<_, _> =
        services.iter().map(|&(node, state)| (NodeId::new(node), info(state))).collect();
    let storage = NodeInfo { role: NodeRole::Storage, ..info(NodeState::Alive) };
    nodes.insert(NodeId::new(100), storage);
    RoutingInfo { nodes, ..RoutingInfo::empty(ClusterId::new(1)) }
}

#[test]
fn each_session_has_one_first_and_all_share_them() {
    use NodeState::{Alive, Dead};
    let all = routing(&[(1, Alive), (2, Alive), (3, Dead), (4, NodeState::Draining)]);
    let mut firsts = BTreeMap::new();
    for session in 1..=1000 {
        let ranks = [1, 2, 4].map(|node| rank(&all, Some(NodeId::new(node)), session));
        let mut sorted = ranks;
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2], "{session}");
        *firsts.entry(ranks.iter().position(|&rank| rank == 0)).or_insert(0) += 1;
        assert_eq!(rank(&all, None, session), 3, "who is not registered is the last");
        assert_eq!(rank(&routing(&[]), Some(NodeId::new(1)), session), 0);
    }
    assert!(firsts.values().all(|&count| (250..420).contains(&count)), "{firsts:?}");
}

#[test]
fn the_next_in_rank_waits_and_what_is_gone_is_forgotten() {
    let mut turns = Turns::default();
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    let (one, two) = (SessionId::new(1), SessionId::new(2));
    let rank = |session: SessionId| if session == one { 0 } else { 1 };
    assert_eq!(turns.due(&[one, two], at(10), rank), [one]);
    assert_eq!(turns.due(&[two], at(24), rank), []);
    assert_eq!(turns.due(&[two], at(25), rank), [two]);
    assert_eq!(turns.due(&[], at(26), rank), []);
    assert_eq!(turns.due(&[two], at(27), rank), [], "it counts anew");
}

/// Pages alternate where there are many: what is on another page now waits on.
#[test]
fn what_is_on_another_page_keeps_its_turn() {
    let mut turns = Turns::default();
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    let (one, two) = (InodeId::new(1), InodeId::new(2));
    assert_eq!(turns.due_of_page(&[one], at(10), |_| 1), []);
    assert_eq!(turns.due_of_page(&[two], at(15), |_| 0), [two]);
    assert_eq!(turns.due_of_page(&[one], at(25), |_| 1), [one]);
    // Long after it was found first it is taken for another one.
    assert_eq!(turns.due_of_page(&[one], at(11) + FORGET, |_| 1), []);
}
