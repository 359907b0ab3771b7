use engine_types::{NodeId, NodeRole, StoreId};

use super::{RegisterError, Registered};
use crate::record::codec::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX};
use crate::testing::{Small, registration};

#[test]
fn registering_twice_writes_once() {
    let mut small = Small::empty();
    small.register(1, 1);
    let again = small.cluster.register(&registration(Some(1), 1), small.now);
    assert_eq!(again, Ok(Registered::Known(NodeId::new(1))));
}

/// A node whose first answer was lost asks again without an id, perhaps after another start.
#[test]
fn who_names_no_id_is_known_by_its_uuid() {
    let mut small = Small::empty();
    small.register(1, 1);
    let mut again = registration(Some(1), 1);
    again.node = None;
    let node = NodeId::new(1);
    assert_eq!(small.cluster.register(&again, small.now), Ok(Registered::Known(node)));
    again.incarnation = engine_types::Incarnation::new(2);
    let registered = small.cluster.register(&again, small.now).expect("a later start");
    assert!(matches!(registered, Registered::New(id, _) if id == node), "{registered:?}");
    small.commit();
    assert_eq!(small.cluster.register(&again, small.now), Ok(Registered::Known(node)));
    again.uuid = StoreId::new(77);
    let registered = small.cluster.register(&again, small.now).expect("another node");
    assert!(matches!(registered, Registered::New(id, _) if id == NodeId::new(2)), "{registered:?}");
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
    let (found, expected) = (StoreId::new(9), StoreId::new(1));
    assert_eq!(refused(&|r| r.uuid = found), RegisterError::OtherNode { node, found, expected });
    let none = RegisterError::Count { what: "uuids of a node", found: 0, min: 1, max: 1 };
    assert_eq!(refused(&|r| r.uuid = StoreId::new(0)), none);
    let nobody = NodeId::new(9);
    assert_eq!(refused(&|r| r.node = Some(nobody)), RegisterError::Unknown { node: nobody });
    assert!(matches!(refused(&|r| r.addresses.clear()), RegisterError::Count { found: 0, .. }));
    // What the codec would refuse would keep every later manager from loading.
    for bytes in [0, ADDRESS_BYTES_MAX + 1] {
        let count = RegisterError::Count {
            what: "bytes of an address",
            found: bytes,
            min: 1,
            max: ADDRESS_BYTES_MAX,
        };
        assert_eq!(refused(&|r| r.addresses[0] = "a".repeat(bytes)), count);
    }
    let (found, max) = (NAME_BYTES_MAX + 1, NAME_BYTES_MAX);
    let count = RegisterError::Count { what: "bytes of a failure domain", found, min: 0, max };
    assert_eq!(refused(&|r| r.domain = "d".repeat(found)), count);
    assert!(matches!(refused(&|r| r.incarnation = start(0)), RegisterError::Count { .. }));
    small.cluster.register(&registration(Some(1), 6), small.now).expect("a later start");
    let busy = small.cluster.register(&registration(None, 1), small.now);
    assert_eq!(busy, Err(RegisterError::Busy));
}

/// E299: the longest of everything is written and read again.
#[test]
fn what_is_accepted_can_be_loaded() {
    let mut small = Small::empty();
    let mut wanted = registration(None, 1);
    wanted.addresses = std::vec::Vec::from(["a".repeat(ADDRESS_BYTES_MAX)]);
    wanted.domain = "d".repeat(NAME_BYTES_MAX);
    let registered = small.cluster.register(&wanted, small.now).expect("within the limits");
    let Registered::New(_, change) = registered else { panic!("it is new") };
    for (key, record) in change.writes {
        let bytes = record.clone().expect("nothing is removed").encode();
        assert_eq!(crate::record::Record::decode(&key, &bytes).as_ref().ok(), record.as_ref());
    }
    let named = |bytes| {
        let record = crate::record::ClusterRecord::new(engine_types::ClusterId::new(1), bytes);
        crate::cluster::Cluster::found(record).is_ok()
    };
    assert!(named("n".repeat(NAME_BYTES_MAX)));
    assert!(!named("n".repeat(NAME_BYTES_MAX + 1)), "it could never be loaded");
}
