use engine_types::{NodeId, NodeRole};

use super::{RegisterError, Registered};
use crate::testing::{Small, registration};

#[test]
fn registering_twice_writes_once() {
    let mut small = Small::empty();
    small.register(1, 1);
    let again = small.cluster.register(&registration(Some(1), 1), small.now);
    assert_eq!(again, Ok(Registered::Known(NodeId::new(1))));
}

#[test]
fn wrong_registrations_are_refused() {
    let mut small = Small::empty();
    small.register(1, 5);
    let node = NodeId::new(1);
    let good = registration(Some(1), 5);
    let mut refused = |change: &dyn Fn(&mut super::Registration)| {
        let mut wanted = good.clone();
        change(&mut wanted);
        small.cluster.register(&wanted, small.now).expect_err("refused")
    };
    let start = |start| engine_types::Incarnation::new(start);
    assert_eq!(
        refused(&|r| r.incarnation = start(4)),
        RegisterError::Outdated { node, found: start(4), expected: start(5) }
    );
    assert_eq!(
        refused(&|r| r.addresses[0].push('2')),
        RegisterError::Twin { node, incarnation: start(5) }
    );
    assert_eq!(
        refused(&|r| r.role = NodeRole::Meta),
        RegisterError::OtherRole { node, found: NodeRole::Meta, expected: NodeRole::Storage }
    );
    let nobody = NodeId::new(9);
    assert_eq!(refused(&|r| r.node = Some(nobody)), RegisterError::Unknown { node: nobody });
    assert!(matches!(refused(&|r| r.addresses.clear()), RegisterError::Count { found: 0, .. }));
    assert!(matches!(refused(&|r| r.incarnation = start(0)), RegisterError::Count { .. }));
    small.cluster.register(&registration(Some(1), 6), small.now).expect("a later start");
    let busy = small.cluster.register(&registration(None, 1), small.now);
    assert_eq!(busy, Err(RegisterError::Busy));
}
