//! R4 and L3, one step after the other.

use engine_types::{Instant, NodeId, RoutingVersion, SessionId, TargetId};
use std::collections::BTreeSet;
use std::vec::Vec;

use crate::chain::LocalState;
use crate::command::Command;
use crate::delta::RoutingUpdate;
use crate::record::{Record, RecordKey};
use crate::testing::{CHAIN, Small};

fn drain(target: u64) -> Command {
    Command::DrainTarget(TargetId::new(target), true)
}

#[test]
fn a_demotion_is_published_when_the_demoted_member_says_so() {
    let mut small = Small::whole();
    let (before, _) = small.versions();
    small.command(&drain(2)).expect("drained");
    assert_eq!(small.states(), "1:Serving 3:Serving 2:Offline");
    assert_eq!(small.versions(), (before + 1, before), "2 holds a lease");
    // Those who stay go on with the version before.
    let stays = small.beat(1).expect("it lives");
    assert_eq!(Small::granted(&stays, 1), Some(before));
    assert!(stays.moves.is_empty(), "{stays:?}");
    // The demoted one gets no lease, and is told; the next heartbeat says that it knows.
    let told = small.beat(2).expect("it lives");
    assert_eq!(Small::granted(&told, 2), None);
    assert_eq!(told.moves.len(), 1);
    assert_eq!(small.versions(), (before + 1, before));
    small.beat(2).expect("it lives");
    assert_eq!(small.versions(), (before + 1, before + 1));
    let moved = small.beat(1).expect("it lives");
    assert_eq!(Small::granted(&moved, 1), Some(before + 1));
}

#[test]
fn an_ack_by_other_means_counts_too() {
    let mut small = Small::whole();
    small.command(&drain(2)).expect("drained");
    let (committed, before) = small.versions();
    let of = |version| engine_types::ChainVersion::new(version);
    let (target, start) = (TargetId::new(2), engine_types::Incarnation::new(1));
    small.cluster.acknowledge(target, start, of(before), small.now);
    assert_eq!(small.versions(), (committed, before), "that is the version it had");
    small.cluster.acknowledge(TargetId::new(3), start, of(committed), small.now);
    assert_eq!(small.versions(), (committed, before), "3 was not demoted");
    small.cluster.acknowledge(target, start, of(committed), small.now);
    assert_eq!(small.versions(), (committed, committed));
}

#[test]
fn a_demotion_is_published_when_the_lease_has_run_out_and_not_before() {
    let mut small = Small::whole();
    let held = small.now;
    small.command(&drain(2)).expect("drained");
    let (committed, before) = small.versions();
    let until = held + small.cluster.rules.wait();
    // Others live meanwhile.
    small.wait(1500);
    small.beat(1).expect("it lives");
    small.beat(3).expect("it lives");
    small.cluster.tick(Instant::from_nanos(until.nanos() - 1));
    assert_eq!(small.versions(), (committed, before));
    small.cluster.tick(until);
    assert_eq!(small.versions(), (committed, committed));
}

#[test]
fn who_says_offline_or_starts_anew_is_not_waited_for() {
    for restarts in [false, true] {
        let mut small = Small::whole();
        let (before, _) = small.versions();
        let report = small.reports.get_mut(&2).expect("a target");
        if restarts {
            report.incarnation = engine_types::Incarnation::new(2);
        } else {
            report.local = LocalState::Offline;
        }
        let answer = small.beat(2).expect("it lives");
        assert_eq!(Small::granted(&answer, 2), None, "restarts: {restarts}");
        let (committed, published) = small.versions();
        assert!(before < committed, "restarts: {restarts}");
        assert_eq!(committed, published, "restarts: {restarts}");
    }
}

#[test]
fn a_dead_node_is_not_waited_for() {
    let mut small = Small::whole();
    for _ in 0..21 {
        small.wait(100);
        small.beat(1).expect("it lives");
        small.beat(2).expect("it lives");
    }
    assert_eq!(small.states(), "1:Serving 2:Serving 3:Offline");
    let (committed, published) = small.versions();
    assert_eq!(committed, published);
    assert!(!small.kv.values().any(|record| match record {
        Record::Chain(chain) => !chain.departed.is_empty(),
        _ => false,
    }));
}

#[test]
fn no_lease_is_granted_from_the_proposal_on() {
    let mut small = Small::whole();
    let answer = small.beat(2).expect("it lives");
    let before = small.versions().0;
    assert_eq!(Small::granted(&answer, 2), Some(before));
    small.cluster.command(&Command::DrainNode(NodeId::new(2), true), small.now).expect("drained");
    small.commit();
    let change = small.cluster.propose(small.now).expect("a demotion");
    assert_eq!(change.demoted, BTreeSet::from([NodeId::new(2)]));
    let beat = small.message(2);
    let answer = small.cluster.heartbeat(&beat, &mut small.fences, small.now).expect("it lives");
    assert_eq!(Small::granted(&answer, 2), None, "E274");
    small.cluster.abort();
    let beat = small.message(2);
    let answer = small.cluster.heartbeat(&beat, &mut small.fences, small.now).expect("it lives");
    assert_eq!(Small::granted(&answer, 2), Some(before), "nothing has changed");
}

#[test]
fn a_new_primary_waits_for_the_departed_only() {
    let mut small = Small::whole();
    let clean = small.versions().0;
    small.take_over();
    let answer = small.beat(1).expect("it lives");
    assert_eq!(Small::granted(&answer, 1), Some(clean), "nobody departed");
    for _ in 0..2 {
        small.wait(1000);
        small.beat_all();
    }
    small.command(&drain(2)).expect("drained");
    let committed = small.versions().0;
    assert_eq!(small.versions(), (clean + 1, clean));
    small.take_over();
    let answer = small.beat(1).expect("it lives");
    assert_eq!(Small::granted(&answer, 1), None, "2 may hold a lease");
    assert_eq!(answer.moves.len(), 1, "but everybody may know");
    small.beat(2).expect("it lives");
    small.beat(2).expect("it lives");
    let answer = small.beat(1).expect("it lives");
    assert_eq!(Small::granted(&answer, 1), Some(committed));
    // The record is settled: the next takeover does not wait.
    let Record::Chain(chain) = &small.kv[&RecordKey::Chain(CHAIN)] else { panic!("a chain") };
    assert!(chain.departed.is_empty(), "{chain:?}");
    small.take_over();
    let answer = small.beat(1).expect("it lives");
    assert_eq!(Small::granted(&answer, 1), Some(committed));
}

#[test]
fn nobody_is_demoted_before_a_takeover_is_over() {
    let mut small = Small::whole();
    small.take_over();
    small.wait(2019);
    assert_eq!(small.states(), "1:Serving 2:Serving 3:Serving");
    small.wait(1);
    assert_eq!(small.states(), "1:LastServing 2:LastServing 3:LastServing");
}

#[test]
fn longer_leases_of_a_predecessor_are_waited_for() {
    let mut small = Small::whole();
    let rules = small.cluster.rules.clone();
    let later = small.now + core::time::Duration::from_secs(9);
    let records = small.kv.clone();
    small.cluster = crate::cluster::Cluster::load(records, rules, small.now, later).expect("fits");
    small.settle();
    small.wait(8999);
    assert!(!small.cluster.may_demote(small.now));
    assert_eq!(small.states(), "1:Serving 2:Serving 3:Serving", "L3");
    small.wait(1);
    assert_eq!(small.states(), "1:LastServing 2:LastServing 3:LastServing");
}

#[test]
fn versions_rise_across_takeovers_and_revocations_are_published() {
    let mut small = Small::empty();
    let mut last = RoutingVersion::new(0);
    for below in 1..4 {
        assert!(last < small.cluster.routing().version, "E271");
        last = small.cluster.routing().version;
        let at = small.cluster.plan_revocation().expect("versions are left");
        small.cluster.publish_revoked(SessionId::new(below), BTreeSet::new());
        assert_eq!(small.cluster.routing().version, at);
        match small.cluster.routing_update(small.cluster.timeline(), last) {
            Some(RoutingUpdate::Delta(delta)) => assert!(delta.revoked.is_some()),
            other => panic!("{other:?}"),
        }
        last = small.cluster.routing().version;
        small.take_over();
        match small.cluster.routing_update(small.cluster.timeline(), last) {
            Some(RoutingUpdate::Full(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn versions_are_reserved_before_they_run_out() {
    let mut small = Small::empty();
    for below in 1..70 {
        small.cluster.plan_revocation().expect("versions are left");
        small.cluster.publish_revoked(SessionId::new(below), BTreeSet::new());
        let Record::Routing(routing) = &small.kv[&RecordKey::Routing] else { panic!("routing") };
        assert!(small.cluster.routing().version <= routing.reserved, "E271");
        assert!(small.cluster.publisher.is_ready(), "nobody ever waits for a reservation");
        small.settle();
    }
}

/// E293: a version at or above the one that a revocation names shows it, whatever is published
/// while its transaction is in flight.
#[test]
fn the_version_of_a_revocation_is_kept_for_it() {
    for (publications, written) in [(0, true), (1, true), (1, false), (2000, true), (2000, false)] {
        let mut small = Small::whole();
        let at = small.cluster.plan_revocation().expect("versions are left");
        let revoked = SessionId::new(7);
        for start in 2..2 + publications {
            small.register(4, start);
            let info = small.cluster.routing();
            assert!(info.version < at, "{publications}: {} does not show it", info.version);
        }
        let before = small.cluster.routing().version;
        if written {
            small.cluster.publish_revoked(revoked, BTreeSet::new());
            assert_eq!(small.cluster.routing().version, at, "{publications}");
            assert_eq!(small.cluster.routing().revoked_below, revoked);
        } else {
            small.cluster.abandon_revocation();
            let waited = u64::from(publications == 2000);
            assert_eq!(small.cluster.routing().version.get(), before.get() + waited);
        }
        // What had to wait is shown by now.
        let node = &small.cluster.routing().nodes[&NodeId::new(4)];
        assert_eq!(node.incarnation.get(), 1 + publications, "{publications}");
    }
}

#[test]
fn no_revocation_is_planned_where_its_version_is_not_reserved() {
    let mut small = Small::empty();
    let mut planned = 0;
    while small.cluster.plan_revocation().is_some() {
        small.cluster.publish_revoked(SessionId::new(planned), BTreeSet::new());
        planned += 1;
        assert!(planned < 100, "versions never run out");
    }
    assert!(0 < planned);
    small.settle();
    assert!(small.cluster.plan_revocation().is_some(), "more are reserved");
}

#[test]
fn revocations_of_a_predecessor_are_in_the_first_version() {
    let mut small = Small::empty();
    let (rules, kv) = (small.cluster.rules.clone(), small.kv.clone());
    let loaded = crate::cluster::Cluster::load(kv, rules, small.now, small.now);
    small.cluster = loaded.expect("its records");
    assert_eq!(small.cluster.plan_revocation(), None, "nothing is published yet");
    small.cluster.load_revoked(SessionId::new(9), BTreeSet::new());
    small.settle();
    assert_eq!(small.cluster.routing().revoked_below, SessionId::new(9));
}

/// A command on a chain that is published but not settled leaves the settling to be done.
#[test]
fn another_order_does_not_forget_the_settling() {
    let mut small = Small::whole();
    small.command(&drain(2)).expect("drained");
    small.beat(2).expect("it is told");
    let beat = small.message(2);
    small.cluster.heartbeat(&beat, &mut small.fences, small.now).expect("it acknowledges");
    let (committed, published) = small.versions();
    assert_eq!(committed, published);
    let departed = |small: &Small| small.cluster.chains[&CHAIN].record.departed.len();
    assert_eq!(departed(&small), 1, "published, not settled");
    let order = Vec::from([3, 1, 2].map(TargetId::new));
    small.command(&Command::SetPreferredOrder(CHAIN, order)).expect("an order");
    assert_eq!(departed(&small), 0, "the next takeover does not wait");
}

/// E261: what a settled version did not list yet is not taken from the next one.
#[test]
fn a_demotion_right_behind_a_published_one_keeps_its_departed() {
    let mut small = Small::whole();
    small.command(&Command::DrainTarget(TargetId::new(2), true)).expect("a drain");
    let silent = small.reports.remove(&3);
    small.beat(3).expect("its node lives, and does not name it");
    small.beat(2).expect("it is told");
    small.beat(2).expect("it acknowledges, so target 3 is demoted next");
    assert_eq!(small.states(), "1:Serving 3:Offline 2:Offline");
    let chain = &small.cluster.chains[&CHAIN];
    let departed = |chain: &crate::record::ChainRecord| -> Vec<u64> {
        chain.departed.iter().map(|departed| departed.target.get()).collect()
    };
    assert!(chain.withheld.is_some() && silent.is_some());
    assert_eq!(departed(&chain.record), [3], "its lease may be held");
    small.wait(1000);
    (1..=3).for_each(|node| drop(small.beat(node)));
    small.wait(1100);
    assert_eq!(departed(&small.cluster.chains[&CHAIN].record), [0; 0]);
}
