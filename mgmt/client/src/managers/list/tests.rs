//! Which addresses are remembered.

use engine_types::{Incarnation, NodeId};

use super::*;

fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], number))
}

fn learn(list: &mut List, number: u16) {
    let addresses = vec![address(number).to_string()];
    let node = NodeId::new(number.into());
    list.learn(&Contact { node, incarnation: Incarnation::new(1), addresses });
}

#[test]
fn the_oldest_learned_address_is_forgotten_but_not_the_primary() {
    let seeds = (1..=40).chain(1..=3).map(address).collect();
    let mut list = List::new(seeds);
    assert_eq!(list.addresses().len(), SEEDS_MAX);
    let learned = |list: &List| list.addresses()[SEEDS_MAX..].to_vec();
    let room = u16::try_from(MANAGERS_MAX - SEEDS_MAX).unwrap();
    for number in 100..100 + room {
        learn(&mut list, number);
    }
    assert_eq!(learned(&list), (100..100 + room).map(address).collect::<Vec<_>>());
    list.set_primary(address(100));
    learn(&mut list, 200);
    learn(&mut list, 5);
    let kept = [100].into_iter().chain(102..100 + room).chain([200]);
    assert_eq!(learned(&list), kept.map(address).collect::<Vec<_>>());
    list.unset_primary(address(101));
    assert_eq!(list.primary(), Some(address(100)));
    list.unset_primary(address(100));
    assert_eq!(list.primary(), None);
}
