use std::vec::Vec;

use engine_types::{ChainVersion, Incarnation, TargetId, Timeline};

use super::CHAIN_VERSION_MAX;
use crate::command::{Command, CommandError};
use crate::record::{Record, RecordKey};
use crate::testing::{CHAIN, Small};

/// The KV is of before target 2 went on alone, one version later.
fn restored() -> Small {
    let mut small = Small::whole();
    let version = small.versions().0;
    small.reports.get_mut(&2).expect("a target").version = ChainVersion::new(version + 1);
    small.take_over();
    small
}

fn last_serving(small: &Small) -> Vec<u64> {
    let Record::Chain(chain) = &small.kv[&RecordKey::Chain(CHAIN)] else { panic!("a chain") };
    chain.last_serving.iter().map(|last| last.target.get()).collect()
}

#[test]
fn a_chain_that_a_store_knows_more_of_waits_for_the_timeline() {
    let mut small = restored();
    small.beat(2).expect("it lives");
    let answer = small.beat(1).expect("it lives");
    assert_eq!(Small::granted(&answer, 1), None, "1 would serve stale data");
    for _ in 0..30 {
        small.wait(100);
        small.beat_all();
    }
    assert_eq!(small.states(), "1:Serving 2:Serving 3:Serving", "nothing is written");
    let drained = small.command(&Command::DrainTarget(TargetId::new(1), true));
    drained.expect("that only states a wish");
    let (target, version) = (TargetId::new(2), ChainVersion::new(small.versions().0));
    let order = Command::SetPreferredOrder(CHAIN, Vec::new());
    let refused = small.command(&order);
    assert_eq!(refused, Err(CommandError::Ahead { chain: CHAIN, version, target }));
    // Also while the one that knows more is silent.
    for _ in 0..30 {
        small.wait(100);
        small.beat(1).expect("it lives");
        let answer = small.beat(3).expect("it lives");
        assert!(answer.leases.is_empty(), "R20");
    }
    assert_eq!(small.states(), "1:Serving 2:Serving 3:Serving", "nothing is written");
}

#[test]
fn a_raised_timeline_keeps_who_knows_most() {
    let mut small = restored();
    for _ in 0..30 {
        small.wait(100);
        small.beat_all();
    }
    small.command(&Command::RaiseTimeline).expect("raised");
    assert_eq!(small.states(), "2:Serving 1:Syncing 3:Waiting");
    assert_eq!(last_serving(&small), [2]);
}

/// Who was left behind does not restart the chain by itself, not even when it has installed the
/// lifted version.
#[test]
fn who_was_left_behind_serves_on_command_only() {
    for dead in [false, true] {
        let mut small = restored();
        for _ in 0..30 {
            small.wait(100);
            small.beat_all();
        }
        if dead {
            for _ in 0..30 {
                small.wait(100);
                small.beat(1).expect("it lives");
                small.beat(3).expect("it lives");
            }
        } else {
            small.reports.get_mut(&2).expect("a target").damaged = true;
            small.beat(2).expect("it lives");
        }
        small.command(&Command::RaiseTimeline).expect("raised");
        for _ in 0..10 {
            small.wait(100);
            small.beat(1).expect("it lives");
            small.beat(3).expect("it lives");
        }
        assert_eq!(small.states(), "2:LastServing 1:Waiting 3:Waiting", "dead: {dead}");
        assert_eq!(small.reports[&1].timeline, Timeline::new(1), "it has installed the lift");
        assert_eq!(last_serving(&small), [2]);
        let give =
            |accept_data_loss| Command::GiveUpTo { target: TargetId::new(1), accept_data_loss };
        assert!(matches!(small.command(&give(false)), Err(CommandError::DataLoss(_))));
        small.command(&give(true)).expect("accepted");
        assert!(small.states().starts_with("1:Serving"), "{}", small.states());
    }
}

/// One faulty store does not use up the versions of its chain.
#[test]
fn no_chain_is_lifted_to_what_no_store_can_have_installed() {
    for (claims, believed) in [
        (u32::MAX, false),
        (u32::MAX / 2, false),
        (CHAIN_VERSION_MAX.get() + 1, false),
        (CHAIN_VERSION_MAX.get(), true),
    ] {
        let mut small = Small::whole();
        small.command(&Command::RaiseTimeline).expect("raised");
        let before = small.versions().0;
        let report = small.reports.get_mut(&3).expect("a target");
        (report.version, report.timeline) = (ChainVersion::new(claims), Timeline::new(0));
        report.incarnation = Incarnation::new(1);
        small.beat(3).expect("it lives");
        let after = small.versions().0;
        assert!(before < after, "3 was demoted, or the chain was lifted");
        assert_eq!(after == claims.wrapping_add(1), believed, "{claims}: {after}");
        for _ in 0..4 {
            small.wait(100);
            small.beat(1).expect("it lives");
            let answer = small.beat(2).expect("it lives");
            let granted = Small::granted(&answer, 2).is_some();
            assert!(granted || small.states().starts_with("3:Serving"), "{}", small.states());
        }
    }
}
