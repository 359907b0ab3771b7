use std::vec::Vec;

use engine_types::{NodeId, NodeState, TargetId};

use crate::chain::LocalState;
use crate::testing::{CHAIN, Small};

#[test]
fn an_operator_sees_what_is_committed_and_reported() {
    let mut small = Small::whole();
    assert_eq!(small.cluster.cluster_record().name, "small");
    small.reports.get_mut(&3).expect("a target").local = LocalState::Offline;
    small.beat(3).expect("it lives");
    let nodes: Vec<_> = small.cluster.nodes().collect();
    let counts: Vec<_> = nodes.iter().map(|n| (n.id.get(), n.targets, n.serving)).collect();
    assert_eq!(counts, [(1, 1, 1), (2, 1, 1), (3, 1, 0), (4, 0, 0)]);
    assert!(nodes.iter().all(|node| node.state == NodeState::Alive));
    assert_eq!(nodes[2].heard, small.now);
    let behind = |id| small.cluster.nodes_after(NodeId::new(id)).collect::<Vec<_>>();
    assert_eq!((behind(0), behind(2)), (nodes.clone(), nodes[2..].to_vec()));
    assert!(behind(4).is_empty());
    let local = |target| small.cluster.target(TargetId::new(target)).map(|target| target.local);
    assert_eq!(local(3), Some(Some(LocalState::Offline)));
    assert_eq!(local(1), Some(Some(LocalState::UpToDate)));
    assert_eq!(local(9), None);
    let record = small.cluster.target(TargetId::new(2)).expect("a target").record;
    assert_eq!((record.node, record.chain), (NodeId::new(2), CHAIN));
    let chain = small.cluster.chain(CHAIN).expect("a chain");
    let all: Vec<_> = small.cluster.chains_after(None).collect();
    assert_eq!(all, [(CHAIN, chain)]);
    assert_eq!(small.cluster.chains_after(Some(CHAIN)).count(), 0);
}
