use std::vec;
use std::vec::Vec;

use engine_types::{
    ChainId, ChainTableId, ChainTableVersion, Incarnation, NodeId, PublicState, TargetId, Timeline,
};

use super::{Command, CommandError as E};
use crate::chain::LocalState;
use crate::record::{Leaving, RecordKey};
use crate::testing::{CHAIN, Small, new_target, store};

const NOBODY: ChainId = ChainId::new(77).expect("not 0");

fn target(id: u64) -> TargetId {
    TargetId::new(id)
}

/// Refused, and nothing has changed.
fn refused(small: &mut Small, command: &Command) -> E {
    let before = (small.kv.clone(), small.cluster.routing().clone());
    let error = small.command(command).expect_err("refused");
    assert_eq!(before, (small.kv.clone(), small.cluster.routing().clone()), "{command:?}");
    assert!(!small.cluster.is_busy(), "{command:?}");
    error
}

#[test]
fn commands_on_things_that_do_not_exist_are_refused() {
    let mut small = Small::whole();
    let (node, gone) = (NodeId::new(77), target(77));
    let rows = [
        (Command::AddTarget(NOBODY, new_target(1, 9)), E::NoChain { chain: NOBODY }),
        (Command::SetPreferredOrder(NOBODY, vec![]), E::NoChain { chain: NOBODY }),
        (Command::SetTable(ChainTableId::new(1), vec![NOBODY]), E::NoChain { chain: NOBODY }),
        (Command::RemoveTarget(gone), E::NoTarget { target: gone }),
        (Command::Replace(gone, new_target(1, 9)), E::NoTarget { target: gone }),
        (Command::DrainTarget(gone, true), E::NoTarget { target: gone }),
        (Command::AddTarget(CHAIN, new_target(77, 9)), E::NoNode { node }),
        (Command::EnableNode(node, true), E::NoNode { node }),
        (Command::UnregisterNode(node), E::NoNode { node }),
    ];
    for (command, expected) in rows {
        assert_eq!(refused(&mut small, &command), expected, "{command:?}");
    }
}

#[test]
fn commands_that_would_lose_something_are_refused() {
    let mut small = Small::whole();
    let serving = PublicState::Serving;
    let rows = [
        (Command::RemoveTarget(target(1)), "serves"),
        (Command::AdoptStore(target(1), store(9)), "its data would be gone"),
    ];
    for (command, why) in rows {
        let error = refused(&mut small, &command);
        assert!(matches!(error, E::State { found, .. } if found == serving), "{why}: {error}");
    }
    let error = refused(&mut small, &Command::UnregisterNode(NodeId::new(1)));
    assert_eq!(error, E::HasTargets { node: NodeId::new(1), count: 1, target: target(1) });
    let error = refused(&mut small, &Command::AddTarget(CHAIN, new_target(4, 1)));
    assert_eq!(error, E::SameStore { store: store(1) });
    let give_up = Command::GiveUpTo { target: target(1), accept_data_loss: true };
    assert_eq!(refused(&mut small, &give_up), E::Served { chain: CHAIN, serving: target(1) });
    let order = Command::SetPreferredOrder(CHAIN, vec![target(1), target(2), target(2)]);
    assert!(matches!(refused(&mut small, &order), E::Order { .. }));
    let none = Command::CreateChains(vec![vec![]]);
    assert!(matches!(refused(&mut small, &none), E::Count { found: 0, .. }));
    let six = (10..16).map(|id| new_target(1, id)).collect();
    let six = Command::CreateChains(vec![six]);
    assert!(matches!(refused(&mut small, &six), E::Count { found: 6, max: 5, .. }));
}

#[test]
fn a_chain_that_waits_for_a_lease_takes_no_commands() {
    let mut small = Small::whole();
    small.command(&Command::DrainTarget(target(2), true)).expect("drained");
    let version = small.cluster.chains[&CHAIN].record.version;
    let error = refused(&mut small, &Command::RemoveTarget(target(2)));
    assert_eq!(error, E::Withheld { chain: CHAIN, version });
    small.beat_all();
    small.beat_all();
    small.command(&Command::RemoveTarget(target(2))).expect("it is out");
    assert_eq!(small.states(), "1:Serving 3:Serving");
    assert!(!small.cluster.routing().targets.contains_key(&target(2)));
    small.command(&Command::UnregisterNode(NodeId::new(2))).expect("it is empty");
}

#[test]
fn replacing_goes_by_itself_and_never_below_the_count() {
    let mut small = Small::whole();
    let accepted = small.command(&Command::Replace(target(1), new_target(4, 4))).expect("replaced");
    assert_eq!(accepted.targets, [target(4)]);
    let again = refused(&mut small, &Command::Replace(target(1), new_target(4, 5)));
    assert_eq!(again, E::Leaves { target: target(1), found: Leaving::ReplacedBy(target(4)) });
    let chained = refused(&mut small, &Command::Replace(target(4), new_target(3, 6)));
    assert_eq!(chained, E::Replaces { target: target(4), old: target(1) });
    small.appear(4);
    small.beat_all();
    small.beat_all();
    assert_eq!(small.states(), "1:Serving 2:Serving 3:Serving 4:Syncing");
    small.reports.get_mut(&4).expect("a target").local = LocalState::UpToDate;
    small.beat_all();
    small.beat_all();
    small.beat_all();
    assert_eq!(small.states(), "2:Serving 3:Serving 4:Serving");
    let preferred = &small.cluster.chains[&CHAIN].record.preferred;
    assert_eq!(preferred, &[target(4), target(2), target(3)]);
    assert!(!small.cluster.routing().targets.contains_key(&target(1)));
}

#[test]
fn giving_up_says_what_is_lost_and_wants_to_be_told_twice() {
    let mut small = Small::whole();
    // 3 is left behind, then 1 and 2 are gone for good.
    small.command(&Command::DrainTarget(target(3), true)).expect("drained");
    small.beat_all();
    small.beat_all();
    small.reports.get_mut(&1).expect("a target").damaged = true;
    small.reports.get_mut(&2).expect("a target").local = LocalState::Offline;
    small.beat_all();
    small.wait(1000);
    small.beat_all();
    small.wait(1000);
    small.beat_all();
    small.wait(1000);
    small.beat_all();
    assert!(!small.states().contains("1:Serving"), "{}", small.states());
    small.command(&Command::DrainTarget(target(3), false)).expect("it may return");
    small.beat_all();
    let ask = Command::GiveUpTo { target: target(3), accept_data_loss: false };
    let E::DataLoss(loss) = refused(&mut small, &ask) else { panic!("a loss") };
    assert_eq!((loss.chain, loss.target), (CHAIN, target(3)));
    assert_eq!(loss.last, [target(2)], "1 was damaged while 2 served: {loss}");
    let hurt = Command::GiveUpTo { target: target(1), accept_data_loss: true };
    assert!(matches!(refused(&mut small, &hurt), E::Unfit { .. }));
    let give_up = Command::GiveUpTo { target: target(3), accept_data_loss: true };
    small.command(&give_up).expect("accepted");
    small.beat_all();
    assert!(small.states().starts_with("3:Serving"), "{}", small.states());
}

#[test]
fn rotation_restores_the_preferred_order_step_by_step() {
    let mut small = Small::whole();
    let rotate = Command::Rotate(CHAIN);
    assert!(matches!(refused(&mut small, &rotate), E::Rotation { .. }));
    let order = vec![target(2), target(3), target(1)];
    small.command(&Command::SetPreferredOrder(CHAIN, order)).expect("an order");
    small.command(&rotate).expect("one step");
    assert_eq!(small.states(), "2:Serving 3:Serving 1:Offline");
    assert!(matches!(refused(&mut small, &rotate), E::Withheld { .. }));
    for _ in 0..5 {
        small.beat_all();
        if small.states().contains("1:Syncing") {
            small.reports.get_mut(&1).expect("a target").local = LocalState::UpToDate;
        }
    }
    assert_eq!(small.states(), "2:Serving 3:Serving 1:Serving");
}

#[test]
fn tables_keep_all_their_versions() {
    let mut small = Small::whole();
    let table = ChainTableId::new(3);
    small.command(&Command::SetTable(table, vec![CHAIN])).expect("a table");
    let same = small.command(&Command::SetTable(table, vec![CHAIN])).expect("the same");
    assert_eq!(same.change, None);
    small.command(&Command::SetTable(table, vec![CHAIN, CHAIN])).expect("another version");
    let chains = |small: &Small, version| {
        let chains = small.cluster.table(table, ChainTableVersion::new(version));
        chains.map(<[ChainId]>::len)
    };
    assert_eq!((1..=3).map(|v| chains(&small, v)).collect::<Vec<_>>(), [Some(1), Some(2), None]);
    assert_eq!(small.cluster.routing().tables[&table].version, ChainTableVersion::new(2));
    small.take_over();
    assert_eq!(chains(&small, 1), Some(1));
    assert_eq!(small.cluster.routing().tables[&table].version, ChainTableVersion::new(2));
}

#[test]
fn a_stop_and_a_start_lose_nobody() {
    let mut small = Small::whole();
    small.command(&Command::StopChains(true)).expect("stopped");
    assert_eq!(small.states(), "1:LastServing 2:LastServing 3:LastServing");
    small.beat_all();
    small.beat_all();
    small.command(&Command::StopChains(false)).expect("started");
    assert!(small.states().starts_with("1:Serving"), "{}", small.states());
}

#[test]
fn a_restored_kv_is_lifted_above_the_stores() {
    let mut small = Small::whole();
    let backup = small.kv.clone();
    small.reports.get_mut(&3).expect("a target").incarnation = Incarnation::new(2);
    small.beat_all();
    small.beat_all();
    let (known, _) = small.versions();
    small.kv = backup;
    small.take_over();
    small.wait(100);
    assert!(small.versions().0 < known);
    let answer = small.beat(1).expect("it lives");
    assert!(answer.leases.is_empty(), "R20: the store knows more than the KV");
    small.command(&Command::RaiseTimeline).expect("a new timeline");
    for _ in 0..5 {
        small.wait(500);
        small.beat_all();
    }
    assert!(known < small.versions().0, "R20");
    assert_eq!(small.cluster.timeline(), Timeline::new(1));
    let answer = small.beat(1).expect("it lives");
    assert_eq!(Small::granted(&answer, 1), Some(small.versions().0));
}

#[test]
fn tags_of_nodes_are_kept_and_bounded() {
    let mut small = Small::whole();
    let node = NodeId::new(1);
    let tag = |name: &str, value: Option<&str>| {
        Command::TagNode(node, name.into(), value.map(Into::into))
    };
    small.command(&tag("rack", Some("7"))).expect("a tag");
    small.take_over();
    assert_eq!(small.cluster.nodes[&node].record.tags["rack"], "7");
    small.command(&tag("rack", None)).expect("no tag");
    assert!(small.cluster.nodes[&node].record.tags.is_empty());
    let error = refused(&mut small, &tag("", Some("x")));
    assert!(matches!(error, E::Tag(crate::tags::TagError::KeyLength { found: 0, .. })), "{error}");
    let error = refused(&mut small, &tag("Rack", Some("x")));
    assert!(matches!(error, E::Tag(crate::tags::TagError::KeyCharacter { .. })), "E298: {error}");
}

/// As many chains as there may be fit into values of the KV, and are one table again after loading.
#[test]
fn the_largest_table_is_written_in_parts() {
    let mut small = Small::whole();
    let table = ChainTableId::new(1);
    let chains = vec![CHAIN; engine_types::limits::CHAINS_MAX];
    small.command(&Command::SetTable(table, chains.clone())).expect("a table");
    let version = ChainTableVersion::new(1);
    let parts: Vec<_> =
        small.kv.keys().filter(|key| matches!(key, RecordKey::Table(..))).copied().collect();
    assert_eq!(parts.len(), 16);
    assert!(parts.iter().all(|part| small.kv[part].encode().len() <= 100_000));
    assert_eq!(small.cluster.table(table, version), Some(chains.as_slice()));
    small.take_over();
    assert_eq!(small.cluster.table(table, version), Some(chains.as_slice()));
    small.kv.remove(&parts[3]);
    let rules = small.cluster.rules.clone();
    let lacks = crate::cluster::Cluster::load(small.kv.clone(), rules, small.now, small.now);
    let before = 3 * crate::record::TABLE_PART_CHAINS;
    let found = lacks.map(|_| ()).expect_err("a part is missing");
    assert_eq!(found, crate::cluster::LoadError::TablePart { table, version, part: 4, before });
}
