use core::time::Duration;
use std::string::{String, ToString};
use std::vec::Vec;

use engine_types::{ChainId, NodeId, PublicState, TargetId};

use super::{DrainProgress, Reason, Why};
use crate::chain::LocalState;
use crate::command::Command;
use crate::testing::{CHAIN, Small};

fn reasons(small: &Small) -> Vec<Reason> {
    small.cluster.explain(CHAIN, small.now).expect("a chain")
}

fn why(small: &Small, target: u64) -> Why {
    let of = |reason: Reason| match reason {
        Reason::Member { target: found, why, .. } if found.get() == target => Some(why),
        _ => None,
    };
    reasons(small).into_iter().find_map(of).expect("a reason")
}

#[test]
fn a_whole_chain_needs_no_reason() {
    let small = Small::whole();
    assert_eq!(reasons(&small), [Reason::Whole]);
    assert_eq!(small.cluster.explain(ChainId::new(9).expect("not 0"), small.now), None);
}

#[test]
fn reasons_name_what_is_waited_for() {
    let mut small = Small::whole();
    small.command(&Command::DrainTarget(TargetId::new(2), true)).expect("drained");
    small.now += Duration::from_millis(820);
    let texts: Vec<String> = reasons(&small).iter().map(ToString::to_string).collect();
    let version = small.versions().0;
    assert_eq!(
        texts,
        [
            std::format!(
                "v{version} waits for the lease of target-2, which runs out in 1.2 s, or for its \
                 ack"
            ),
            "target-2 on node-2 is offline: it leaves: drained".into(),
        ]
    );
}

#[test]
fn every_way_to_be_absent_has_its_reason() {
    let mut small = Small::whole();
    small.reports.get_mut(&3).expect("a target").local = LocalState::Offline;
    small.beat(3).expect("it lives");
    assert_eq!(why(&small, 3), Why::ReportedOffline);
    small.reports.get_mut(&3).expect("a target").store = crate::testing::store(99);
    small.beat(3).expect("it lives");
    assert!(matches!(why(&small, 3), Why::OtherStore { .. }));
    let kept = small.reports.remove(&3).expect("a target");
    small.beat(3).expect("it lives");
    assert_eq!(why(&small, 3), Why::NotReported);
    small.reports.insert(
        3,
        crate::heartbeat::TargetReport {
            store: crate::testing::store(3),
            version: engine_types::ChainVersion::new(99),
            ..kept
        },
    );
    small.beat(3).expect("it lives");
    assert!(matches!(why(&small, 3), Why::Ahead { .. }));
    let frozen = Reason::Frozen { target: TargetId::new(3) };
    assert!(reasons(&small).contains(&frozen), "R20");
    small.reports.get_mut(&3).expect("a target").version =
        engine_types::ChainVersion::new(u32::MAX);
    small.beat(3).expect("it lives");
    assert!(matches!(why(&small, 3), Why::Incredible { .. }));
    small.command(&Command::EnableNode(NodeId::new(3), false)).expect("disabled");
    assert_eq!(why(&small, 3), Why::NodeDisabled);
    small.wait(3000);
    assert!(matches!(why(&small, 1), Why::NodeDead { .. }));
    let last = Vec::from([TargetId::new(1), TargetId::new(2)]);
    assert!(reasons(&small).contains(&Reason::NobodyLeft { last }));
}

#[test]
fn a_returning_member_is_followed_to_the_end() {
    let mut small = Small::whole();
    small.reports.get_mut(&3).expect("a target").local = LocalState::Offline;
    small.beat(3).expect("it lives");
    small.appear(3);
    small.reports.get_mut(&3).expect("a target").incarnation = engine_types::Incarnation::new(2);
    small.beat(3).expect("it lives");
    assert_eq!(why(&small, 3), Why::Syncs);
    let state = small.cluster.chains[&CHAIN].record.member(TargetId::new(3)).expect("it is").state;
    assert_eq!(state, PublicState::Syncing);
    small.beat(3).expect("it lives");
    small.reports.get_mut(&3).expect("a target").local = LocalState::UpToDate;
    small.beat(3).expect("it lives");
    assert_eq!(reasons(&small), [Reason::Whole]);
}

#[test]
fn the_progress_of_draining_can_be_asked() {
    let mut small = Small::whole();
    let node = NodeId::new(2);
    let progress = |small: &Small| small.cluster.drain_progress(node).expect("a node");
    let one = DrainProgress { targets: 1, serving: 1, last_servers: 0, waiting_for_leases: 0 };
    assert_eq!(progress(&small), one);
    small.command(&Command::DrainNode(node, true)).expect("drained");
    let waits = DrainProgress { serving: 0, waiting_for_leases: 1, ..one };
    assert_eq!(progress(&small), waits);
    small.beat_all();
    small.beat_all();
    assert_eq!(progress(&small), DrainProgress { waiting_for_leases: 0, ..waits });
    assert_eq!(small.cluster.drain_progress(NodeId::new(77)), None);
}
