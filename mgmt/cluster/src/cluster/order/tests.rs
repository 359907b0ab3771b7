use std::vec::Vec;

use engine_types::{ChainId, NodeId, TargetId};

use crate::chain::LocalState;
use crate::command::Command;
use crate::rules::Rules;
use crate::testing::{CHAIN, Small, new_target};

const OTHER: ChainId = ChainId::new(2).expect("not 0");

fn order(small: &mut Small, chain: ChainId, targets: [u64; 3]) {
    let targets = Vec::from(targets.map(TargetId::new));
    small.command(&Command::SetPreferredOrder(chain, targets)).expect("an order");
}

fn restore(small: &mut Small, syncing_max: usize) {
    let rules = Rules { restore_order: true, syncing_max, ..small.cluster.rules.clone() };
    small.cluster.set_rules(rules, small.now);
    small.settle();
}

/// Heartbeats; whoever syncs is up to date at once.
fn sync(small: &mut Small) {
    small.beat_all();
    for chain in small.cluster.routing().chains.values() {
        let syncs = |m: &&engine_types::Member| m.state == engine_types::PublicState::Syncing;
        if let Some(member) = chain.members.iter().find(syncs) {
            let report = small.reports.get_mut(&member.target.get()).expect("a target");
            report.local = LocalState::UpToDate;
        }
    }
}

/// Members of both chains that do not serve.
fn away(small: &Small) -> usize {
    let count = |id| {
        let record = &small.cluster.chains[&id].record;
        record.members.len() - record.serving().count()
    };
    count(CHAIN) + count(OTHER)
}

/// Two chains on the same nodes, both to be turned by one.
fn two() -> Small {
    let mut small = Small::whole();
    let members = (4..=6).map(|n| new_target(u32::try_from(n - 3).unwrap(), n)).collect();
    small.command(&Command::CreateChains(Vec::from([members]))).expect("a chain");
    for target in 4..=6 {
        small.appear(target);
        small.reports.get_mut(&target).expect("just said").chain = Some(OTHER);
    }
    small.beat_all();
    small.beat_all();
    assert_eq!(away(&small), 0);
    order(&mut small, CHAIN, [2, 3, 1]);
    order(&mut small, OTHER, [5, 6, 4]);
    assert_eq!(away(&small), 0, "nobody asked for it");
    small
}

#[test]
fn chains_move_when_it_is_switched_on() {
    let mut small = Small::whole();
    order(&mut small, CHAIN, [2, 3, 1]);
    assert_eq!(small.states(), "1:Serving 2:Serving 3:Serving");
    restore(&mut small, 256);
    assert_eq!(small.states(), "2:Serving 3:Serving 1:Offline");
    (0..5).for_each(|_| sync(&mut small));
    assert_eq!(small.states(), "2:Serving 3:Serving 1:Serving");
}

#[test]
fn chains_move_at_the_end_of_the_grace() {
    let mut small = Small::whole();
    order(&mut small, CHAIN, [2, 3, 1]);
    small.cluster.rules.restore_order = true;
    small.take_over();
    small.beat_all();
    assert_eq!(small.states(), "1:Serving 2:Serving 3:Serving", "L3");
    small.wait(1000);
    small.beat_all();
    small.wait(1000);
    assert_eq!(small.states(), "2:Serving 3:Serving 1:Offline");
}

/// E269: a chain that moves keeps the slot for its member until that syncs.
#[test]
fn chains_move_one_after_the_other_if_there_is_one_slot() {
    let mut small = two();
    restore(&mut small, 1);
    let mut rounds = 0;
    while away(&small) != 0 {
        assert_eq!(away(&small), 1, "after {rounds} rounds");
        sync(&mut small);
        rounds += 1;
        assert!(rounds < 50, "the slot is not given back");
    }
    assert!(4 < rounds);
    assert!(small.states().starts_with("2:"), "{}", small.states());
    let heads = |id: &ChainId| small.cluster.chains[id].record.members[0].target.get();
    assert_eq!([CHAIN, OTHER].each_ref().map(heads), [2, 5]);
}

/// E269: no slot is kept for who does not return.
#[test]
fn a_slot_is_given_back_when_the_member_is_lost() {
    let mut small = two();
    restore(&mut small, 1);
    assert_eq!(away(&small), 1);
    // Its store fails before it hears of anything.
    let first = small.cluster.chains[&CHAIN].record.serving().count();
    let lost = if first == 2 { 1 } else { 4 };
    small.reports.get_mut(&lost).expect("a target").local = LocalState::Offline;
    small.beat(1).expect("its node lives");
    assert_eq!(away(&small), 2, "the other chain moves");
    assert_eq!(small.cluster.nodes[&NodeId::new(1)].targets.len(), 2);
}

#[test]
fn a_change_that_was_not_written_keeps_no_slot() {
    let mut small = two();
    let rules = Rules { restore_order: true, syncing_max: 1, ..small.cluster.rules.clone() };
    small.cluster.set_rules(rules, small.now);
    for _ in 0..3 {
        small.cluster.propose(small.now).expect("a chain moves");
        small.cluster.abort();
    }
    small.settle();
    assert_eq!(away(&small), 1);
}
