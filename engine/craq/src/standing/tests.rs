//! Standings by table.

use std::vec::Vec;

use engine_types::PublicState::{LastServing, Offline, Serving, Syncing, Waiting};
use engine_types::{ChainInfo, ChainVersion, Incarnation, Member, PublicState, TargetId};

use super::{Peer, Standing};

fn peer(target: u64) -> Peer {
    Peer { target: TargetId::new(target), incarnation: Incarnation::new(1) }
}

fn chain(states: &[PublicState]) -> ChainInfo {
    let member = |(target, &state): (u64, &PublicState)| Member {
        target: TargetId::new(target),
        state,
        incarnation: Incarnation::new(1),
    };
    let members: Vec<_> = (1..).zip(states).map(member).collect();
    ChainInfo { version: ChainVersion::new(7), members }
}

#[test]
fn places_in_a_chain() {
    // States of targets 1, 2, 3; of whom; predecessor, successor, whether that one syncs, tail.
    let table = [
        ([Serving, Serving, Serving], 1, (None, Some(2), false, Some(3))),
        ([Serving, Serving, Serving], 2, (Some(1), Some(3), false, Some(3))),
        ([Serving, Serving, Serving], 3, (Some(2), None, false, Some(3))),
        ([Serving, Serving, Syncing], 1, (None, Some(2), false, Some(2))),
        ([Serving, Serving, Syncing], 2, (Some(1), Some(3), true, Some(2))),
        ([Serving, Serving, Syncing], 3, (Some(2), None, false, Some(2))),
        ([Serving, Syncing, Waiting], 1, (None, Some(2), true, Some(1))),
        ([Serving, Waiting, Offline], 1, (None, None, false, Some(1))),
        ([Serving, Waiting, Offline], 2, (None, None, false, Some(1))),
        ([LastServing, Waiting, Offline], 1, (None, None, false, None)),
    ];
    for (states, own, (predecessor, successor, successor_syncs, tail)) in table {
        let expected = Standing {
            state: states[usize::try_from(own - 1).unwrap()],
            predecessor: predecessor.map(peer),
            successor: successor.map(peer),
            successor_syncs,
            tail: tail.map(peer),
        };
        assert_eq!(Standing::new(peer(own), &chain(&states)), expected, "{states:?}, {own}");
    }
}

#[test]
fn another_start_is_offline() {
    let own = Peer { incarnation: Incarnation::new(2), ..peer(1) };
    let standing = Standing::new(own, &chain(&[Serving, Serving, Offline]));
    assert_eq!(standing, Standing { tail: Some(peer(2)), ..Standing::NONE });
    assert!(!standing.serves() && !standing.is_head() && !standing.is_tail(own));
}
