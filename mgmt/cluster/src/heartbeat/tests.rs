use core::time::Duration;
use std::collections::BTreeMap;

use engine_types::{CoreId, Incarnation, NodeId, RoutingVersion, TargetId};

use super::HeartbeatError as E;
use crate::command::Command;
use crate::lease::LeaseTimes;
use crate::session::{FenceError, Fences};
use crate::testing::{CHAIN, Small};

#[test]
fn heartbeats_that_must_not_count_are_refused() {
    let mut small = Small::whole();
    let node = NodeId::new(1);
    let good = small.message(1);
    let now = small.now;
    let mut send = |beat: &super::Heartbeat| small.cluster.heartbeat(beat, &mut small.fences, now);
    let mut wrong = good.clone();
    wrong.node = NodeId::new(9);
    assert_eq!(send(&wrong), Err(E::Unknown { node: NodeId::new(9) }));
    let mut wrong = good.clone();
    wrong.incarnation = Incarnation::new(2);
    let (found, expected) = (Incarnation::new(2), Incarnation::new(1));
    assert_eq!(send(&wrong), Err(E::OtherStart { node, found, expected }));
    assert!(send(&good).is_ok());
    let (found, last) = (good.sequence, good.sequence);
    assert_eq!(send(&good), Err(E::Stale { node, found, last }), "E276");
    small.command(&Command::EnableNode(node, false)).expect("disabled");
    let beat = small.message(1);
    assert_eq!(small.cluster.heartbeat(&beat, &mut small.fences, now), Err(E::Disabled { node }));
}

#[test]
fn answers_echo_the_time_of_sending_and_name_alien_targets() {
    let mut small = Small::whole();
    let mut beat = small.message(1);
    beat.sent += Duration::from_millis(7);
    beat.targets.push(small.reports[&2]);
    let answer = small.cluster.heartbeat(&beat, &mut small.fences, small.now).expect("it lives");
    assert_eq!((answer.sent, answer.lease), (beat.sent, small.cluster.rules.times.storage()));
    assert_eq!(answer.unknown, [TargetId::new(2)]);
    assert_eq!(answer.leases.len(), 1, "one of its own");
}

#[test]
fn a_shard_without_progress_loses_its_targets() {
    let mut small = Small::whole();
    small.works = false;
    small.beat(1).expect("it lives");
    for ms in [1000, 999] {
        small.wait(ms);
        let answer = small.beat(1).expect("it lives");
        assert_eq!(answer.leases.len(), 1, "after {ms} ms");
        small.beat(2).ok();
        small.beat(3).ok();
    }
    small.wait(1);
    let answer = small.beat(1).expect("it lives");
    assert!(answer.leases.is_empty(), "L5b");
    assert!(small.states().ends_with("1:Offline"), "{}", small.states());
    let (committed, published) = small.versions();
    assert_ne!(committed, published, "nobody but the shard could give its lease back");
    small.works = true;
    small.beat(1).expect("it lives");
    small.beat(1).expect("it lives");
    assert!(small.states().contains("1:Syncing"), "{}", small.states());
}

#[test]
fn leases_that_standbys_granted_are_waited_for() {
    let mut small = Small::whole();
    small.wait(1500);
    small.beat(1).expect("it lives");
    small.beat(3).expect("it lives");
    let until = small.now + small.cluster.rules.wait();
    small.cluster.standby_granted(NodeId::new(2), until, &mut small.fences, small.now);
    small.wait(1500);
    small.beat(1).expect("it lives");
    small.beat(3).expect("it lives");
    assert_eq!(small.states(), "1:Serving 2:Serving 3:Serving", "L5");
    small.wait(600);
    assert_eq!(small.states(), "1:Serving 3:Serving 2:Offline");
}

#[test]
fn a_target_that_is_not_named_is_offline() {
    let mut small = Small::whole();
    small.reports.remove(&2);
    small.beat(2).expect("it lives");
    assert_eq!(small.states(), "1:Serving 3:Serving 2:Offline");
    assert_ne!(small.versions().0, small.versions().1, "its lease may still be used");
    let id = CHAIN;
    assert!(small.cluster.chains[&id].withheld.is_some());
}

/// E290: a clock that is off by 2 % is refused within minutes, one that is off by 0.1 % never.
#[test]
fn a_clock_that_runs_away_is_refused() {
    let mut small = Small::whole();
    let began = small.now;
    let mut refused = None;
    for second in 1..=300u32 {
        small.wait(1000);
        let elapsed = small.now.saturating_since(began);
        for (node, ppm) in [(1, 20_000), (2, 1_000)] {
            let mut beat = small.message(node);
            beat.sent = began + elapsed + elapsed * ppm / 1_000_000;
            match small.cluster.heartbeat(&beat, &mut small.fences, small.now) {
                Ok(_) => {}
                Err(E::ClockAway { node: found, ppm, bound: 10_000 }) => {
                    assert_eq!(found, NodeId::new(1), "an honest clock was accused");
                    assert!((19_000..=21_000).contains(&ppm), "measured {ppm} ppm");
                    refused.get_or_insert(second);
                }
                Err(other) => panic!("{other}"),
            }
        }
        small.beat(3).ok();
        small.settle();
    }
    let refused = refused.expect("a clock that is off by 2 % was never refused");
    assert!(refused <= 100, "after {refused} s");
}

/// Another start of a node cannot open the store that the former one still uses, or finds another
/// store: the lease of the former one is waited for.
#[test]
fn what_another_start_says_releases_no_lease_of_the_former_one() {
    for other_store in [false, true] {
        let mut small = Small::whole();
        small.register(2, 2);
        let report = small.reports.get_mut(&2).expect("a target");
        if other_store {
            report.store = crate::testing::store(77);
            report.incarnation = Incarnation::new(9);
            report.version = engine_types::ChainVersion::new(99);
        } else {
            report.local = crate::chain::LocalState::Offline;
        }
        small.beat(2).expect("it lives");
        assert_eq!(small.states(), "1:Serving 3:Serving 2:Offline");
        let (committed, published) = small.versions();
        assert_eq!(published + 1, committed, "R4: other store: {other_store}");
        for _ in 0..2 {
            small.wait(1010);
            small.beat_all();
        }
        assert_eq!(small.versions().1, committed, "other store: {other_store}");
    }
}

/// Nobody dies of silence that the manager did not listen to.
#[test]
fn a_manager_that_was_away_buries_nobody() {
    for refuses in [false, true] {
        let mut small = Small::whole();
        if refuses {
            small.wait(1900);
            small.cluster.resumed(small.now);
        } else {
            small.now += Duration::from_secs(5);
        }
        small.cluster.tick(small.now);
        small.settle();
        assert_eq!(small.states(), "1:Serving 2:Serving 3:Serving", "refuses: {refuses}");
        for _ in 0..2 {
            small.wait(1000);
            small.beat(1).expect("it lives");
            small.beat(2).expect("it lives");
        }
        assert_eq!(small.states(), "1:Serving 2:Serving 3:Serving", "refuses: {refuses}");
        small.wait(20);
        assert_eq!(small.states(), "1:Serving 2:Serving 3:Offline", "refuses: {refuses}");
    }
}

/// E294: no lease before the node has drained what is fenced, and who grants one knows of it.
#[test]
fn a_node_that_has_not_drained_what_is_fenced_gets_no_lease() {
    let mut small = Small::whole();
    let version = small.versions().0;
    let needed = small.cluster.routing().version;
    small.fences = Fences::new(needed, small.now);
    for (drained, granted) in [(needed.get() - 1, None), (needed.get(), Some(version))] {
        let mut beat = small.message(1);
        beat.drained = RoutingVersion::new(drained);
        let answer = small.cluster.heartbeat(&beat, &mut small.fences, small.now);
        let answer = answer.expect("it lives");
        assert_eq!(Small::granted(&answer, 1), granted, "drained {drained}");
        let (node, incarnation) = (beat.node, beat.incarnation);
        let refused = FenceError::NotDrained { node, incarnation, found: beat.drained, needed };
        assert_eq!(answer.fenced, granted.is_none().then_some(refused));
        // A lease that the fences did not know of would end a session too early (E293).
        let until = small.now + small.cluster.rules.wait();
        let known = std::format!("lease_until: {until:?}");
        assert_eq!(std::format!("{:?}", small.fences).contains(&known), granted.is_some());
    }
    let mut beat = small.message(2);
    beat.drained = RoutingVersion::new(needed.get() + 1000);
    let answer = small.cluster.heartbeat(&beat, &mut small.fences, small.now).expect("it lives");
    assert!(matches!(answer.fenced, Some(FenceError::Beyond { .. })), "{answer:?}");
    assert!(answer.leases.is_empty());
}

/// Heartbeats of a second each of all nodes, whose clocks show `shown(node, elapsed)`; how many of
/// which node were refused.
fn clocks(
    small: &mut Small,
    seconds: u32,
    shown: impl Fn(u32, Duration) -> Duration,
) -> BTreeMap<u32, u32> {
    let began = small.now;
    let mut refused = BTreeMap::new();
    for _ in 0..seconds {
        small.wait(1000);
        let elapsed = small.now.saturating_since(began);
        for node in 1..=4 {
            let mut beat = small.message(node);
            beat.sent = began + shown(node, elapsed);
            match small.cluster.heartbeat(&beat, &mut small.fences, small.now) {
                Ok(_) => {}
                Err(E::ClockAway { .. }) => *refused.entry(node).or_default() += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }
    refused
}

#[test]
fn a_clock_that_jumped_once_is_refused_until_the_node_starts_anew() {
    let mut small = Small::whole();
    let jump = Duration::from_secs(5);
    let shown = |node, elapsed: Duration| {
        if node == 1 && Duration::from_secs(100) < elapsed { elapsed + jump } else { elapsed }
    };
    let refused = clocks(&mut small, 400, shown);
    assert_eq!(refused.keys().copied().collect::<std::vec::Vec<_>>(), [1]);
    assert!(270 < refused[&1], "{refused:?}: it was trusted again");
    small.register(1, 2);
    assert_eq!(clocks(&mut small, 100, |_, elapsed| elapsed), BTreeMap::new());
}

/// E290: all clocks seem to be off by 2 %; it is the manager's own.
#[test]
fn a_manager_whose_own_clock_is_off_refuses_no_cluster() {
    let mut small = Small::whole();
    let refused = clocks(&mut small, 200, |_, elapsed| elapsed + elapsed / 50);
    assert!(small.cluster.own_clock_is_suspect());
    // Two are refused before the third makes it most of them.
    assert!(refused.values().all(|&count| count <= 2), "{refused:?}");
    let mut small = Small::whole();
    let slow = |node, elapsed: Duration| if node == 1 { elapsed + elapsed / 50 } else { elapsed };
    let refused = clocks(&mut small, 200, slow);
    assert!(!small.cluster.own_clock_is_suspect());
    assert!(refused.contains_key(&1) && refused.len() == 1, "{refused:?}");
}

/// A node that owns its stores by other cores after a restart goes on.
#[test]
fn a_target_may_move_to_another_core() {
    let mut small = Small::whole();
    small.register(2, 2);
    let report = small.reports.get_mut(&2).expect("a target");
    (report.core, report.incarnation) = (CoreId::new(5), Incarnation::new(2));
    for _ in 0..4 {
        small.now += Duration::from_millis(100);
        let mut beat = small.message(2);
        beat.shards[0].core = CoreId::new(5);
        small.cluster.heartbeat(&beat, &mut small.fences, small.now).expect("it lives");
        small.settle();
    }
    assert_eq!(small.states(), "1:Serving 3:Serving 2:Syncing");
    assert_eq!(small.cluster.routing().targets[&TargetId::new(2)].core, CoreId::new(5));
}

/// L3: a longer lease is granted when a committed record has announced it, not before.
#[test]
fn longer_leases_are_granted_when_they_are_announced() {
    let mut small = Small::whole();
    let (short, long) = (Duration::from_secs(2), Duration::from_secs(4));
    let mut rules = small.cluster.rules.clone();
    rules.times = LeaseTimes::new(Duration::from_secs(1), long, rules.times.primary(), 10_000)
        .expect("they fit");
    small.cluster.set_rules(rules, small.now);
    assert_eq!(small.beat(1).expect("it lives").lease, short);
    small.cluster.set_lease(long);
    assert_eq!(small.beat(1).expect("it lives").lease, long);
    let rules = crate::rules::Rules::default();
    small.cluster.set_rules(rules, small.now);
    assert_eq!(small.beat(1).expect("it lives").lease, short, "a shorter one at once");
}

#[test]
fn clocks_are_judged_by_the_drift_that_is_set() {
    let mut small = Small::whole();
    let off = |node, elapsed: Duration| {
        if node == 1 { elapsed + elapsed * 4 / 1000 } else { elapsed }
    };
    assert_eq!(clocks(&mut small, 200, off), BTreeMap::new(), "4 of 10 per mille");
    let mut rules = small.cluster.rules.clone();
    let times = rules.times;
    rules.times = LeaseTimes::new(Duration::from_secs(1), times.storage(), times.primary(), 5_000)
        .expect("they fit");
    small.cluster.set_rules(rules, small.now);
    assert!(clocks(&mut small, 300, off).contains_key(&1), "4 of 5 per mille");
}

fn times(beat: u64, storage: u64) -> LeaseTimes {
    let second = Duration::from_secs(1);
    LeaseTimes::new(
        second * u32::try_from(beat).unwrap(),
        second * u32::try_from(storage).unwrap(),
        second * 10,
        10_000,
    )
    .expect("they fit")
}

/// L4: nodes learn of shorter intervals with the answer to their next heartbeat.
#[test]
fn shorter_intervals_kill_nobody_who_beats_at_the_former_ones() {
    let mut small = Small::whole();
    let long = crate::rules::Rules { times: times(10, 20), ..crate::rules::Rules::default() };
    small.cluster.set_rules(long, small.now);
    small.beat_all();
    small.wait(9000);
    small.cluster.set_rules(crate::rules::Rules::default(), small.now);
    small.wait(900);
    assert_eq!(small.states(), "1:Serving 2:Serving 3:Serving");
    // An interval that grows, or shrinks again, does not cut the patience short.
    let other = crate::rules::Rules { times: times(1, 3), ..crate::rules::Rules::default() };
    small.cluster.set_rules(other, small.now);
    small.cluster.set_rules(crate::rules::Rules::default(), small.now);
    small.beat_all();
    let others_live = |small: &mut Small, alive: &[u32], seconds| {
        for _ in 0..seconds {
            small.wait(1000);
            alive.iter().for_each(|&node| drop(small.beat(node).expect("it lives")));
        }
    };
    others_live(&mut small, &[1, 2, 4], 20);
    assert_eq!(small.states(), "1:Serving 2:Serving 3:Serving");
    others_live(&mut small, &[1, 2, 4], 1);
    assert_eq!(small.states(), "1:Serving 2:Serving 3:Offline");
    // The former wait and beat are over: from now on the new wait counts.
    others_live(&mut small, &[1, 2, 4], 11);
    others_live(&mut small, &[1, 4], 2);
    assert_eq!(small.states(), "1:Serving 2:Serving 3:Offline");
    small.wait(20);
    assert_eq!(small.states(), "1:Serving 2:Offline 3:Offline");
}

#[test]
fn lapses_are_counted_whoever_notices_them() {
    let mut small = Small::whole();
    assert_eq!(small.cluster.lapses(), 0);
    small.now += crate::cluster::LAPSE;
    assert!(!small.cluster.is_away(small.now));
    small.now += Duration::from_nanos(1);
    assert!(small.cluster.is_away(small.now));
    small.cluster.tick(small.now);
    assert!(!small.cluster.is_away(small.now));
    assert_eq!(small.cluster.lapses(), 1, "it noticed by itself");
    small.cluster.resumed(small.now);
    assert_eq!(small.cluster.lapses(), 2, "it was told");
}
