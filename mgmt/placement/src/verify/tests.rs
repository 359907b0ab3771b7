use alloc::string::ToString;

use engine_types::limits::CHAIN_MEMBERS_MAX;
use engine_types::{ChainId, NodeId};

use super::{VerifyError as E, verify};
use crate::{Seat, Table, Topology, solve};

/// What the check says about a good table after `spoil`.
fn verdict(spoil: impl FnOnce(&mut Topology, &mut Table)) -> E {
    let mut topology = Topology::uniform(5, 2, 3);
    let mut table = solve(&topology, 3, 1).unwrap().table;
    assert_eq!(verify(&topology, &table), Ok(()));
    spoil(&mut topology, &mut table);
    verify(&topology, &table).unwrap_err()
}

#[test]
fn every_defect_is_found() {
    let first = ChainId::new(1).unwrap();
    let second = ChainId::new(2).unwrap();
    let limit = CHAIN_MEMBERS_MAX;
    assert_eq!(verdict(|_, table| table.replicas = 0), E::Replicas { found: 0, limit });
    assert_eq!(verdict(|_, table| table.replicas = 6), E::Replicas { found: 6, limit });
    let twice = verdict(|_, table| table.chains[1].id = first);
    assert_eq!(twice, E::ChainTwice { chain: first });
    let short = verdict(|_, table| table.chains[0].members.truncate(2));
    assert_eq!(short, E::Members { chain: first, found: 2, expected: 3 });
    let mut seat = Seat { node: NodeId::new(77), disk: 0, slot: 0 };
    let gone = verdict(|_, table| table.chains[0].members[1] = seat);
    assert_eq!(gone, E::NoSuchDisk { chain: first, node: seat.node, disk: 0 });
    let gone = verdict(|topology, _| topology.nodes.clear());
    assert!(matches!(gone, E::NoSuchDisk { .. }));
    let high = verdict(|_, table| table.chains[0].members[0].slot = 3);
    assert!(matches!(high, E::NoSuchSlot { slot: 3, targets: 3, .. }), "{high}");
    let twice = verdict(|_, table| {
        seat = table.chains[0].members[0];
        table.chains[1].members[0] = seat;
    });
    assert_eq!(twice, E::SlotTwice { target: seat.target(), first, second });
}

#[test]
fn members_that_fail_together_are_found() {
    // The other disk of a node that the chain is on already.
    let same = verdict(|_, table| {
        let seat = table.chains[0].members[0];
        table.chains[0].members[1] = Seat { disk: 1 - seat.disk, ..seat };
        table.chains.truncate(1);
    });
    assert!(matches!(same, E::DomainTwice { first, second, .. } if first == second), "{same}");
    let rack = verdict(|topology, _| {
        for node in &mut topology.nodes {
            node.domain = Some("rack".to_string());
        }
    });
    assert!(matches!(rack, E::DomainTwice { first, second, .. } if first != second), "{rack}");
    assert!(rack.to_string().starts_with("E300: chain-1 has members on node-"), "{rack}");
}
