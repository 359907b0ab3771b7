use std::collections::BTreeMap;

use super::*;

fn candidate(node: u32) -> Candidate {
    Candidate { node: NodeId::new(node), in_flight: 0, is_avoided: false, is_tried: false }
}

#[test]
fn e476_one_inode_has_one_service_and_only_what_is_gone_moves() {
    let three: Vec<_> = [1, 2, 3].map(candidate).into();
    let two: Vec<_> = [1, 3].map(candidate).into();
    let mut shares = BTreeMap::new();
    for ino in (1..=3000).map(InodeId::new) {
        let first = choose(&three, Some(ino), 1).unwrap();
        assert_eq!(choose(&three, Some(ino), 2), Some(first), "whatever is drawn");
        *shares.entry(first).or_insert(0) += 1;
        if first != NodeId::new(2) {
            assert_eq!(choose(&two, Some(ino), 1), Some(first), "{ino} has no reason to move");
        }
    }
    assert!(shares.values().all(|&count| (850..1150).contains(&count)), "{shares:?}");
}

#[test]
fn who_is_less_busy_is_asked() {
    let mut two = [candidate(1), candidate(2)];
    two[0].in_flight = 5;
    let mut shares = BTreeMap::new();
    for draw in 0..1000_u64 {
        let node = choose(&two, None, mix64(draw)).unwrap();
        *shares.entry(node.get()).or_insert(0) += 1;
    }
    // Only who draws the busy one twice asks it.
    assert!((200..300).contains(&shares[&1]), "{shares:?}");
}

#[test]
fn who_is_avoided_is_the_last_resort_and_nobody_is_tried_twice() {
    let mut all = [candidate(1), candidate(2), candidate(3)];
    all[0].is_avoided = true;
    all[1].is_tried = true;
    for ino in [None, Some(InodeId::new(9))] {
        assert_eq!(choose(&all, ino, 7), Some(NodeId::new(3)));
    }
    all[2].is_tried = true;
    for ino in [None, Some(InodeId::new(9))] {
        assert_eq!(choose(&all, ino, 7), Some(NodeId::new(1)));
    }
    all[0].is_tried = true;
    assert_eq!(choose(&all, None, 7), None);
    assert_eq!(choose(&[], None, 7), None);
}
