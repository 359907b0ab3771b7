use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

use engine_types::{
    ChainId, ChainTableId, ChainTableVersion, ChainVersion, ClusterId, CoreId, Incarnation, Member,
    NodeId, NodeRole, PublicState, RoutingVersion, StoreId, TargetId, Timeline,
};

use super::super::{
    ChainRecord, ClusterRecord, Departed, LastServer, Leaving, NodeRecord, Record, RecordKey,
    RoutingRecord, TableRecord, TargetRecord,
};
use crate::fields::{DecodeError, check_decoder};

fn chain_id(id: u32) -> ChainId {
    ChainId::new(id).expect("not 0")
}

fn node() -> NodeRecord {
    NodeRecord {
        uuid: StoreId::new(0x1234),
        role: NodeRole::Storage,
        addresses: Vec::from(["a:1".into()]),
        incarnation: Incarnation::new(3),
        enabled: true,
        draining: false,
        domain: "r1".into(),
        tags: BTreeMap::from([("k".into(), "v".into())]),
    }
}

fn chain() -> ChainRecord {
    let member = |target, state| Member {
        target: TargetId::new(target),
        state,
        incarnation: Incarnation::new(2),
    };
    ChainRecord {
        version: ChainVersion::new(9),
        members: Vec::from([member(5, PublicState::Serving), member(6, PublicState::Offline)]),
        last_serving: Vec::from([LastServer {
            target: TargetId::new(5),
            store: StoreId::new(0xabcd),
        }]),
        preferred: Vec::from([TargetId::new(6)]),
        departed: Vec::from([Departed {
            target: TargetId::new(6),
            incarnation: Incarnation::new(1),
        }]),
    }
}

/// One of each kind, with the bytes that every later build has to read.
fn golden() -> Vec<(RecordKey, Record, &'static str, &'static str)> {
    let mut cluster = ClusterRecord::new(ClusterId::new(0x11), "c".into());
    cluster.timeline = Timeline::new(2);
    cluster.stopped = true;
    let target = TargetRecord {
        node: NodeId::new(1),
        core: CoreId::new(2),
        store: StoreId::new(3),
        chain: chain_id(4),
        disk: 5,
        created: Timeline::new(6),
        leaving: Leaving::ReplacedBy(TargetId::new(7)),
    };
    let table = TableRecord { chains: Vec::from([chain_id(1), chain_id(258)]) };
    let routing = RoutingRecord { reserved: RoutingVersion::new(0x1_0000) };
    let tables = RecordKey::Table(ChainTableId::new(1), ChainTableVersion::new(2), 3);
    #[rustfmt::skip]
    let rows = [
        (RecordKey::Cluster, Record::Cluster(cluster), "4d474d5421", concat!(
            "012a000000", "11000000000000000000000000000000", "02000000", "01", "01000000",
            "0100000000000000", "01000000", "0100000063",
        )),
        (RecordKey::Routing, Record::Routing(routing), "4d474d5423", concat!(
            "0108000000", "0000010000000000",
        )),
        (RecordKey::Node(NodeId::new(258)), Record::Node(node()), "4d474d546e00000102", concat!(
            "013a000000", "34120000000000000000000000000000",
            "01", "01", "00", "0300000000000000", "020000007231",
            "01000000", "03000000613a31", "01000000", "010000006b", "0100000076",
        )),
        (RecordKey::Target(TargetId::new(258)), Record::Target(target),
         "4d474d54740000000000000102", concat!(
            "012d000000", "01000000", "02000000", "03000000000000000000000000000000", "04000000",
            "05000000", "06000000", "02", "0700000000000000",
        )),
        (RecordKey::Chain(chain_id(258)), Record::Chain(chain()), "4d474d546300000102", concat!(
            "0166000000", "09000000",
            "02000000", "0500000000000000", "01", "0200000000000000",
                        "0600000000000000", "05", "0200000000000000",
            "01000000", "0500000000000000", "cdab0000000000000000000000000000",
            "01000000", "0600000000000000",
            "01000000", "0600000000000000", "0100000000000000",
        )),
        (tables, Record::Table(table), "4d474d546c000000010000000200000003", concat!(
            "010c000000", "02000000", "01000000", "02010000",
        )),
    ];
    rows.into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
}

#[test]
fn bytes_of_keys_and_records_never_change() {
    for (key, record, key_bytes, bytes) in golden() {
        assert_eq!(hex(&key.encode()), key_bytes, "{key:?}");
        assert_eq!(hex(&record.encode()), bytes, "{key:?}");
        assert_eq!(RecordKey::decode(&key.encode()), Ok(key));
        check_decoder(&record.encode(), |bytes| Record::decode(&key, bytes));
    }
}

#[test]
fn keys_are_ordered_like_their_ids() {
    let mut keys: Vec<RecordKey> =
        [1, 255, 256, 65_536].map(|id| RecordKey::Node(NodeId::new(id))).into();
    keys.extend(
        [1, 300].map(|version| {
            RecordKey::Table(ChainTableId::new(7), ChainTableVersion::new(version), 0)
        }),
    );
    let sorted = |kind: fn(&RecordKey) -> bool| {
        let of: Vec<_> = keys.iter().filter(|key| kind(key)).map(RecordKey::encode).collect();
        assert!(of.is_sorted());
    };
    sorted(|key| matches!(key, RecordKey::Node(_)));
    sorted(|key| matches!(key, RecordKey::Table(..)));
}

#[test]
fn alien_keys_are_refused() {
    for (key, ..) in golden() {
        let whole = key.encode();
        for cut in 0..whole.len() {
            assert_ne!(RecordKey::decode(&whole[..cut]), Ok(key), "{key:?} cut at {cut}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(RecordKey::decode(&longer).is_err(), "{key:?}");
    }
    assert!(RecordKey::decode(b"MGMTx").is_err());
    assert!(RecordKey::decode(b"MGMTc\0\0\0\0").is_err(), "chain 0 does not exist");
}

#[test]
fn values_without_meaning_are_refused() {
    // The kind of record, which byte of its golden bytes becomes what, and the field that is wrong.
    let rows = [
        ("chain", 9, 6, "members"),
        ("chain", 21, 9, "state"),
        ("node", 21, 77, "role"),
        ("node", 22, 2, "enabled"),
        ("target", 11, 1, "core"),
        ("target", 41, 3, "leaving"),
    ];
    for (kind, at, value, field) in rows {
        let (key, record, ..) =
            golden().into_iter().find(|(key, ..)| key.kind() == kind).expect("one of each");
        let mut bytes = record.encode();
        bytes[at] = value;
        match Record::decode(&key, &bytes) {
            Err(DecodeError::Number { record, field: found, .. }) => {
                assert_eq!((record, found), (kind, field));
            }
            other => panic!("{kind} {at}: {other:?}"),
        }
    }
}
