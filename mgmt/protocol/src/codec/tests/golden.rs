//! Version 1 of each message as it was released: what these bytes say never changes.

use std::collections::{BTreeMap, BTreeSet};
use std::string::String;
use std::vec;
use std::vec::Vec;

use core::fmt::{Debug, Write};
use core::time::Duration;

use engine_types::{
    ChainId, ChainInfo, ChainTable, ChainTableId, ChainTableVersion, ChainVersion, ClusterId,
    CoreId, Incarnation, Instant, Member, NodeId, NodeInfo, NodeRole, NodeState, PublicState,
    RoutingInfo, RoutingVersion, SessionId, StoreId, TargetId, TargetInfo, Timeline,
};
use mgmt_cluster::chain::LocalState;
use mgmt_cluster::command::{Command, NewTarget};
use mgmt_cluster::config::ConfigVersion;
use mgmt_cluster::delta::{Delta, Revoked, RevokedChange};
use mgmt_cluster::heartbeat::{Heartbeat, HeartbeatAnswer, Lease, Move, ShardReport, TargetReport};
use mgmt_cluster::lease::Contact;
use mgmt_cluster::record::{LastServer, Leaving};
use mgmt_cluster::registry::Registration;
use mgmt_cluster::session::{Client, FenceError};

use crate::{
    Answer, Beat, BeatAnswer, ChainMember, ChainRow, ClusterSummary, Done, ManagerStatus, Message,
    Operation, Question, Refusal, RefusalCode, Register, Registered, RoutingAsk, RoutingTold,
    SessionAsk, SessionTold, StandingSaid, StatusAsk,
};

/// The body of a frame of version 1: blanks in `golden` are for people.
fn check<M: Message + PartialEq + Debug>(message: &M, golden: &str) {
    let golden: String = golden.split_whitespace().collect();
    let bytes = message.encode();
    let mut hex = String::new();
    for byte in &bytes {
        write!(hex, "{byte:02x}").unwrap();
    }
    let length = u32::try_from(bytes.len() - 5).unwrap().swap_bytes();
    assert_eq!(hex, std::format!("01{length:08x}{golden}"), "{message:?}");
    assert_eq!(M::decode(&bytes).as_ref(), Ok(message));
}

fn chain(id: u32) -> ChainId {
    ChainId::new(id).unwrap()
}

fn addresses() -> Vec<String> {
    vec!["a:1".into(), "b:2".into()]
}

fn contact() -> Contact {
    let (node, incarnation) = (NodeId::new(1), Incarnation::new(2));
    Contact { node, incarnation, addresses: addresses() }
}

fn new_target() -> NewTarget {
    NewTarget { node: NodeId::new(1), core: CoreId::new(2), store: StoreId::new(3), disk: 4 }
}

fn chain_info() -> ChainInfo {
    let (target, incarnation) = (TargetId::new(6), Incarnation::new(7));
    let members = vec![Member { target, state: PublicState::Serving, incarnation }];
    ChainInfo { version: ChainVersion::new(5), members }
}

fn node_info() -> NodeInfo {
    let (role, state) = (NodeRole::Storage, NodeState::Draining);
    NodeInfo { role, addresses: addresses(), incarnation: Incarnation::new(9), state }
}

fn target_info() -> TargetInfo {
    let (core, store) = (CoreId::new(2), StoreId::new(3));
    TargetInfo { node: NodeId::new(1), core, store, chain: chain(4) }
}

fn table() -> ChainTable {
    ChainTable { version: ChainTableVersion::new(3), chains: vec![chain(4)] }
}

const CONTACT: &str = "1e00 01000000 0200000000000000 02000000 03000000613a31 03000000623a32";
const NEW_TARGET: &str = "1800 01000000 0200 03000000000000000000000000000000 0400";
const CHAIN_INFO: &str = "1b00 05000000 01000000 1100 0600000000000000 01 0700000000000000";
const NODE_INFO: &str = "1c00 01 02 0900000000000000 02000000 03000000613a31 03000000623a32";
const TARGET_INFO: &str = "1a00 01000000 0200 03000000000000000000000000000000 04000000";
const TABLE: &str = "11000000 01 0c000000 03000000 01000000 04000000";

#[test]
fn managers_and_nodes() {
    check(&StatusAsk { summary: false }, "00");
    check(&StatusAsk { summary: true }, "01");
    let mut status = ManagerStatus {
        me: contact(),
        cluster: ClusterId::new(3),
        standing: StandingSaid::Primary,
        lease: None,
        since: Duration::from_nanos(4),
        summary: None,
        trouble: "t".into(),
    };
    let head = std::format!("{CONTACT} 03000000000000000000000000000000 03 00 0400000000000000");
    check(&status, &std::format!("{head} 00 01000000 74"));
    status.summary = Some(ClusterSummary {
        name: "c".into(),
        timeline: Timeline::new(1),
        stopped: true,
        routing: RoutingVersion::new(2),
        nodes: 3,
        nodes_alive: 4,
        targets: 5,
        targets_serving: 6,
        targets_syncing: 7,
        chains: 8,
        chains_whole: 9,
        chains_unserved: 10,
        sessions: 11,
        changes: 12,
        grace: Duration::from_nanos(13),
    });
    let counts = "03000000 04000000 05000000 06000000 07000000 08000000 09000000 0a000000 0b000000";
    let summary = std::format!(
        "4600 01000000 63 01000000 01 0200000000000000 {counts} 0c00000000000000 0d00000000000000"
    );
    check(&status, &std::format!("{head} 01 {summary} 01000000 74"));
    let wanted = Registration {
        node: Some(NodeId::new(1)),
        uuid: StoreId::new(2),
        role: NodeRole::Meta,
        addresses: addresses(),
        incarnation: Incarnation::new(3),
        domain: "r".into(),
    };
    check(
        &Register { wanted },
        "02000000000000000000000000000000 01 01000000 02 0300000000000000 01000000 72
         02000000 03000000613a31 03000000623a32",
    );
    let registered = Registered { node: NodeId::new(1), beat: Duration::from_secs(1) };
    check(&registered, "01000000 00ca9a3b00000000");
    let mut refusal = Refusal::new(RefusalCode::NotPrimary, "no");
    refusal.primary = Some(contact());
    check(&refusal, &std::format!("0100 02000000 6e6f 01 {CONTACT}"));
}

#[test]
fn heartbeats() {
    let shards = vec![ShardReport { core: CoreId::new(1), progress: 2 }];
    let report = TargetReport {
        target: TargetId::new(1),
        incarnation: Incarnation::new(2),
        store: StoreId::new(3),
        chain: Some(chain(4)),
        core: CoreId::new(5),
        local: LocalState::Online,
        damaged: true,
        version: ChainVersion::new(6),
        timeline: Timeline::new(7),
    };
    let heartbeat = Heartbeat {
        node: NodeId::new(1),
        incarnation: Incarnation::new(2),
        sequence: 3,
        sent: Instant::from_nanos(4),
        drained: RoutingVersion::new(5),
        timeline: Timeline::new(6),
        shards,
        targets: vec![report],
    };
    check(
        &Beat { heartbeat },
        "01000000 0200000000000000 0300000000000000 0400000000000000 0500000000000000 06000000
         01000000 0a00 0100 0200000000000000
         01000000 3100 0100000000000000 0200000000000000 03000000000000000000000000000000
         01 04000000 0500 02 01 06000000 07000000",
    );
    let (target, incarnation) = (TargetId::new(1), Incarnation::new(2));
    let (found, needed) = (RoutingVersion::new(3), RoutingVersion::new(4));
    let version = ChainVersion::new(4);
    let answer = HeartbeatAnswer {
        sequence: 1,
        sent: Instant::from_nanos(2),
        lease: Duration::from_nanos(3),
        routing: RoutingVersion::new(4),
        timeline: Timeline::new(5),
        leases: vec![Lease { target, incarnation, chain: chain(3), version }],
        moves: vec![Move { target, chain: chain(2), info: chain_info() }],
        unknown: vec![TargetId::new(8)],
        fenced: Some(FenceError::NotDrained { node: NodeId::new(1), incarnation, found, needed }),
    };
    let beat = Duration::from_nanos(1);
    let answer = BeatAnswer { answer, beat, config: ConfigVersion::new(2), by_standby: true };
    let golden = std::format!(
        "0100000000000000 0200000000000000 01
         0100000000000000 0200000000000000 0300000000000000 0400000000000000 05000000
         01 1d00 03 01000000 0200000000000000 0300000000000000 0400000000000000
         01000000 1800 0100000000000000 0200000000000000 03000000 04000000
         01000000 2900 0100000000000000 02000000 {CHAIN_INFO}
         01000000 0800000000000000"
    );
    check(&answer, &golden);
}

#[test]
fn routing() {
    let ask = RoutingAsk {
        timeline: Timeline::new(1),
        since: RoutingVersion::new(2),
        wait: Duration::from_nanos(3),
        image: Some((RoutingVersion::new(4), 5)),
    };
    check(&ask, "01000000 0200000000000000 0300000000000000 01 0400000000000000 0500000000000000");
    check(&RoutingTold::Current, "01");
    let delta = Delta {
        cluster: ClusterId::new(1),
        from: RoutingVersion::new(2),
        to: RoutingVersion::new(3),
        timeline: Timeline::new(4),
        nodes: BTreeMap::from([(NodeId::new(1), Some(node_info()))]),
        targets: BTreeMap::from([(TargetId::new(2), None)]),
        chains: BTreeMap::from([(chain(3), Some(chain_info()))]),
        tables: BTreeMap::from([(ChainTableId::new(4), Some(table()))]),
        revoked: Some(RevokedChange::Added(Revoked {
            below: SessionId::new(5),
            sessions: BTreeSet::from([SessionId::new(6)]),
        })),
    };
    let golden = std::format!(
        "02 01000000000000000000000000000000 0200000000000000 0300000000000000 04000000
         01000000 01000000 01 {NODE_INFO}
         01000000 0200000000000000 00
         01000000 03000000 01 {CHAIN_INFO}
         01000000 04000000 01 {TABLE}
         01 02 0500000000000000 01000000 0600000000000000"
    );
    check(&RoutingTold::Delta(delta), &golden);
    let (version, bytes) = (RoutingVersion::new(1), vec![7, 8]);
    check(
        &RoutingTold::Image { version, total: 2, offset: 3, bytes },
        "03 0100000000000000 0200000000000000 0300000000000000 02000000 0708",
    );
    let info = RoutingInfo {
        cluster: ClusterId::new(1),
        version: RoutingVersion::new(2),
        timeline: Timeline::new(3),
        nodes: BTreeMap::from([(NodeId::new(1), node_info())]),
        targets: BTreeMap::from([(TargetId::new(6), target_info())]),
        chains: BTreeMap::from([(chain(4), chain_info())]),
        tables: BTreeMap::from([(ChainTableId::new(5), table())]),
        revoked_below: SessionId::new(4),
        revoked: BTreeSet::from([SessionId::new(5)]),
    };
    let golden = std::format!(
        "01000000000000000000000000000000 0200000000000000 03000000 0400000000000000
         01000000 0500000000000000
         01000000 01000000 {NODE_INFO}
         01000000 0600000000000000 {TARGET_INFO}
         01000000 04000000 {CHAIN_INFO}
         01000000 05000000 {TABLE}"
    );
    check(&info, &golden);
}

#[test]
fn sessions() {
    let client =
        Client { uuid: StoreId::new(1), epoch: 2, process: 3, name: "n".into(), host: "h".into() };
    let golden = "01 01000000000000000000000000000000 02000000 03000000 01000000 6e 01000000 68";
    check(&SessionAsk::Open(client), golden);
    let session = SessionId::new(9);
    check(&SessionAsk::Extend(session), "02 0900000000000000");
    check(&SessionAsk::Close(session), "03 0900000000000000");
    check(&SessionAsk::Fenced(session), "04 0900000000000000");
    check(&SessionAsk::Ended(vec![session]), "05 01000000 0900000000000000");
    let (timeout, timeline) = (Duration::from_nanos(1), Timeline::new(2));
    let opened = SessionTold::Opened { session, timeout, timeline };
    check(&opened, "01 0900000000000000 0100000000000000 02000000");
    check(&SessionTold::Extended { timeout }, "02 0100000000000000");
    check(&SessionTold::Closed, "03");
    let waits_for = vec![NodeId::new(1)];
    check(&SessionTold::Fenced { fenced: true, waits_for }, "04 01 01000000 01000000");
    check(&SessionTold::Ended(vec![session]), "05 01000000 0900000000000000");
}

#[test]
fn commands() {
    let (target, node, other) = (TargetId::new(8), NodeId::new(7), vec![TargetId::new(9)]);
    let two_chains = Command::CreateChains(vec![vec![new_target()], vec![]]);
    let table = ChainTableId::new(1);
    let accept_data_loss = true;
    let rows = [
        (two_chains, std::format!("01 02000000 01000000 {NEW_TARGET} 00000000")),
        (Command::SetTable(table, vec![chain(6)]), "02 01000000 01000000 06000000".into()),
        (Command::AddTarget(chain(6), new_target()), std::format!("03 06000000 {NEW_TARGET}")),
        (Command::RemoveTarget(target), "04 0800000000000000".into()),
        (Command::Replace(target, new_target()), std::format!("05 0800000000000000 {NEW_TARGET}")),
        (Command::DrainTarget(target, true), "06 0800000000000000 01".into()),
        (
            Command::AdoptStore(target, StoreId::new(5)),
            "07 0800000000000000 05000000000000000000000000000000".into(),
        ),
        (
            Command::SetPreferredOrder(chain(6), other),
            "08 06000000 01000000 0900000000000000".into(),
        ),
        (Command::Rotate(chain(6)), "09 06000000".into()),
        (Command::GiveUpTo { target, accept_data_loss }, "0a 0800000000000000 01".into()),
        (Command::EnableNode(node, false), "0b 07000000 00".into()),
        (Command::DrainNode(node, true), "0c 07000000 01".into()),
        (Command::UnregisterNode(node), "0d 07000000".into()),
        (
            Command::TagNode(node, "t".into(), Some("v".into())),
            "0e 07000000 01000000 74 01 01000000 76".into(),
        ),
        (Command::StopChains(true), "0f 01".into()),
        (Command::RaiseTimeline, "10".into()),
    ];
    for (command, golden) in rows {
        check(&Operation::Cluster(command), &std::format!("01 {golden}"));
    }
}

#[test]
fn operations() {
    let (role, note) = (NodeRole::Manager, String::from("n"));
    let revoke = Operation::RevokeSessions(vec![SessionId::new(1)]);
    check(&revoke, "02 01000000 0100000000000000");
    let changes = vec![("a".into(), Some("1".into())), ("b".into(), None)];
    let set = Operation::SetConfig { role, based_on: None, changes, note: note.clone() };
    check(&set, "03 03 00 01000000 6e 02000000 01000000 61 01 01000000 31 01000000 62 00");
    let (based_on, text) = (ConfigVersion::new(2), "t".into());
    let replace = Operation::ReplaceConfig { role, based_on, text, note };
    check(&replace, "04 03 0200000000000000 01000000 6e 01000000 74");
    check(&Operation::HandOver, "05");
    let done = Done {
        changed: true,
        chains: vec![chain(1)],
        targets: vec![TargetId::new(2)],
        config: ConfigVersion::new(3),
    };
    check(&done, "01 0300000000000000 01000000 01000000 01000000 0200000000000000");
}

#[test]
fn questions() {
    let node = NodeId::new(7);
    check(&Question::Nodes(node), "01 07000000");
    check(&Question::Chains { after: Some(chain(1)), unwhole: true }, "02 01 01000000 01");
    check(&Question::Chain(chain(1)), "03 01000000");
    let table = ChainTableId::new(1);
    let version = Some(ChainTableVersion::new(2));
    check(&Question::Table { table, version, from: 3 }, "04 01000000 01 02000000 03000000");
    check(&Question::Sessions(Some(SessionId::new(1))), "05 01 0100000000000000");
    check(&Question::Config(NodeRole::Kv), "06 04");
    check(&Question::ConfigHistory(NodeRole::Client), "07 05");
    check(&Question::Drain(node), "08 07000000");
}

/// Rows that hold records of the KV have their golden bytes there.
#[test]
fn answers() {
    let member = ChainMember {
        node: NodeId::new(1),
        store: StoreId::new(2),
        disk: 3,
        leaving: Leaving::ReplacedBy(TargetId::new(4)),
        local: Some(LocalState::UpToDate),
    };
    let row = ChainRow {
        chain: chain(1),
        info: chain_info(),
        members: vec![member],
        last_serving: vec![LastServer { target: TargetId::new(5), store: StoreId::new(6) }],
        preferred: vec![TargetId::new(7)],
        reasons: vec!["r".into()],
    };
    let golden = std::format!(
        "02 01 01000000 7b00 01000000 {CHAIN_INFO}
         01000000 2100 01000000 02000000000000000000000000000000 0300 02 0400000000000000 01 01
         01000000 1800 0500000000000000 06000000000000000000000000000000
         01000000 0700000000000000
         01000000 01000000 72"
    );
    check(&Answer::Chains { rows: vec![row], more: true }, &golden);
    check(&Answer::Nodes { rows: vec![], more: false }, "01 00 00000000");
    let (version, chains) = (ChainTableVersion::new(1), vec![chain(2)]);
    check(&Answer::Table { version, chains, more: true }, "03 01000000 01 01000000 02000000");
    check(&Answer::Sessions { rows: vec![], more: true }, "04 01 00000000");
    check(&Answer::Config(None), "05 00");
    check(&Answer::ConfigHistory(vec![]), "06 00000000");
    let progress = mgmt_cluster::explain::DrainProgress {
        targets: 1,
        serving: 2,
        last_servers: 3,
        waiting_for_leases: 4,
    };
    check(
        &Answer::Drain(progress),
        "07 0100000000000000 0200000000000000 0300000000000000 0400000000000000",
    );
}
