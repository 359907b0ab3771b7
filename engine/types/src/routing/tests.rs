use alloc::vec;

use PublicState::{LastServing, Offline, Serving, Syncing, Waiting};

use super::*;

fn chain(raw: u32) -> ChainId {
    ChainId::new(raw).unwrap()
}

/// Two nodes, chain 1 with targets 1 to `states.len()`, table 1 with chain 1.
fn routing(states: &[PublicState]) -> RoutingInfo {
    let mut info = RoutingInfo::empty(ClusterId::new(1));
    for node in [1, 2] {
        let node_info = NodeInfo {
            role: NodeRole::Storage,
            addresses: vec![String::from("10.0.0.1:9000")],
            incarnation: Incarnation::new(1),
            state: NodeState::Alive,
        };
        info.nodes.insert(NodeId::new(node), node_info);
    }
    let mut members = vec![];
    for (id, &state) in (1..).zip(states) {
        let target = TargetId::new(id);
        let place = TargetInfo {
            node: NodeId::new(1),
            core: CoreId::new(0),
            store: StoreId::new(id.into()),
            chain: chain(1),
        };
        info.targets.insert(target, place);
        members.push(Member { target, state, incarnation: Incarnation::new(1) });
    }
    info.chains.insert(chain(1), ChainInfo { version: ChainVersion::new(1), members });
    let table = ChainTable { version: ChainTableVersion::new(1), chains: vec![chain(1)] };
    info.tables.insert(ChainTableId::new(1), table);
    info
}

#[test]
fn states_of_a_chain_follow_the_rules() {
    let (t1, t2) = (TargetId::new(1), TargetId::new(2));
    let chain = chain(1);
    let order = |target, found, before| RoutingError::MemberOrder { chain, target, found, before };
    let two = RoutingError::TwoSyncing { chain, first: t2, second: TargetId::new(3) };
    let last = RoutingError::LastServingBesideServing { chain, target: t2, serving: t1 };
    #[rustfmt::skip]
    let rows: [(&[PublicState], Result<(), RoutingError>); 11] = [
        (&[Serving],                       Ok(())),
        (&[Serving, Serving, Syncing],     Ok(())),
        (&[Serving, Syncing, Waiting],     Ok(())),
        (&[Serving, Offline, Waiting],     Ok(())),
        (&[LastServing, Offline, Waiting], Ok(())),
        (&[Offline, LastServing],          Ok(())),
        (&[Offline, Serving],              Err(order(t2, Serving, Offline))),
        (&[Syncing, Serving],              Err(order(t2, Serving, Syncing))),
        (&[Serving, Syncing, Syncing],     Err(two)),
        (&[Syncing, Offline],              Err(RoutingError::SyncingAlone { chain, target: t1 })),
        (&[Serving, LastServing],          Err(last)),
    ];
    for (states, expected) in rows {
        assert_eq!(routing(states).validate(), expected, "{states:?}");
    }
}

#[test]
fn dangling_names_are_refused() {
    let (t1, t2) = (TargetId::new(1), TargetId::new(2));
    type Damage = fn(&mut RoutingInfo);
    let rows: [(Damage, RoutingError); 9] = [
        (
            |r| r.nodes.get_mut(&NodeId::new(2)).unwrap().addresses.clear(),
            RoutingError::NoAddress { node: NodeId::new(2) },
        ),
        (
            |r| r.targets.get_mut(&TargetId::new(2)).unwrap().node = NodeId::new(9),
            RoutingError::UnknownNode { target: t2, node: NodeId::new(9) },
        ),
        (
            |r| assert!(r.targets.remove(&TargetId::new(2)).is_some()),
            RoutingError::UnknownTarget { chain: chain(1), target: t2 },
        ),
        (
            |r| r.targets.get_mut(&TargetId::new(1)).unwrap().chain = chain(7),
            RoutingError::ForeignTarget { target: t1, found: chain(1), expected: chain(7) },
        ),
        (
            |r| {
                let members = &mut r.chains.get_mut(&chain(1)).unwrap().members;
                members[1].target = TargetId::new(1);
            },
            RoutingError::DuplicateMember { chain: chain(1), target: t1 },
        ),
        (
            |r| assert!(r.chains.get_mut(&chain(1)).unwrap().members.pop().is_some()),
            RoutingError::UnlistedTarget { target: t2, chain: chain(1) },
        ),
        (
            |r| r.chains.get_mut(&chain(1)).unwrap().members.clear(),
            RoutingError::EmptyChain { chain: chain(1) },
        ),
        (
            |r| r.tables.get_mut(&ChainTableId::new(1)).unwrap().chains.push(chain(3)),
            RoutingError::UnknownChain { table: ChainTableId::new(1), chain: chain(3) },
        ),
        (
            |r| {
                let node = r.nodes.get_mut(&NodeId::new(1)).unwrap();
                node.addresses = vec![String::from("h:1"); NODE_ADDRESSES_MAX + 1];
            },
            RoutingError::TooMany {
                what: "addresses of a node",
                found: NODE_ADDRESSES_MAX + 1,
                limit: NODE_ADDRESSES_MAX,
            },
        ),
    ];
    for (damage, expected) in rows {
        let mut info = routing(&[Serving, Serving]);
        assert_eq!(info.validate(), Ok(()));
        damage(&mut info);
        assert_eq!(info.validate(), Err(expected));
    }
}

#[test]
fn collections_are_bounded() {
    let states = [Serving; CHAIN_MEMBERS_MAX + 1];
    assert_eq!(routing(&states[1..]).validate(), Ok(()));
    let found = CHAIN_MEMBERS_MAX + 1;
    let expected =
        RoutingError::TooMany { what: "members of a chain", found, limit: CHAIN_MEMBERS_MAX };
    assert_eq!(routing(&states).validate(), Err(expected));
}

#[test]
fn writes_enter_at_the_head_and_commit_at_the_tail() {
    let info = routing(&[Serving, Serving, Syncing]);
    let chain_info = &info.chains[&chain(1)];
    assert_eq!(chain_info.head(), Some(TargetId::new(1)));
    assert_eq!(chain_info.tail(), Some(TargetId::new(2)));
    let down = routing(&[LastServing]);
    assert_eq!((down.chains[&chain(1)].head(), down.chains[&chain(1)].tail()), (None, None));
}

#[test]
fn sessions_are_revoked_by_floor_or_by_name() {
    let mut info = RoutingInfo::empty(ClusterId::new(1));
    info.revoked_below = SessionId::new(10);
    info.revoked.insert(SessionId::new(12));
    let found = [9, 10, 11, 12, 13].map(|raw| info.is_revoked(SessionId::new(raw)));
    assert_eq!(found, [true, false, false, true, false]);
}

#[test]
fn role_codes_never_change() {
    assert_eq!(NodeRole::ALL.map(NodeRole::code), [1, 2, 3, 4, 5, 6]);
    for role in NodeRole::ALL {
        assert_eq!(NodeRole::from_code(role.code()), Some(role));
    }
    assert_eq!((NodeRole::from_code(0), NodeRole::from_code(7)), (None, None));
}
