//! Random messages, and one of every kind of each.

use std::collections::{BTreeMap, BTreeSet};
use std::string::String;
use std::vec;
use std::vec::Vec;

use core::time::Duration;

use engine_types::limits::{CHAIN_MEMBERS_MAX, NODE_ADDRESSES_MAX};
use engine_types::{
    ChainId, ChainInfo, ChainTable, ChainTableId, ChainTableVersion, ChainVersion, ClusterId,
    CoreId, Incarnation, Instant, Member, NodeId, NodeInfo, NodeRole, NodeState, PublicState, Rng,
    RoutingInfo, RoutingVersion, SessionId, StoreId, TargetId, TargetInfo, Timeline,
};
use mgmt_cluster::chain::LocalState;
use mgmt_cluster::command::{Command, NewTarget};
use mgmt_cluster::config::{ConfigEntry, ConfigVersion};
use mgmt_cluster::delta::{Delta, Revoked, RevokedChange};
use mgmt_cluster::explain::DrainProgress;
use mgmt_cluster::heartbeat::{Heartbeat, HeartbeatAnswer, Lease, Move, ShardReport, TargetReport};
use mgmt_cluster::lease::{Contact, PrimaryLease, Term};
use mgmt_cluster::record::{LastServer, Leaving, NodeRecord};
use mgmt_cluster::registry::Registration;
use mgmt_cluster::session::{Client, FenceError, RevokeReason, SessionRecord, SessionState};

use crate::{
    Answer, Beat, BeatAnswer, ChainMember, ChainRow, ClusterSummary, Done, ManagerStatus, NodeRow,
    Operation, Question, Refusal, RefusalCode, Register, Registered, RoutingAsk, RoutingTold,
    SessionAsk, SessionRow, SessionTold, StandingSaid, StatusAsk,
};

/// Values of a type to test with.
pub(super) trait Sample: Clone {
    /// One of each kind, with random fields.
    fn every(rng: &mut Rng) -> Vec<Self>;

    /// Any.
    fn sample(rng: &mut Rng) -> Self {
        let every = Self::every(rng);
        rng.pick(&every).expect("there is one of each kind").clone()
    }
}

/// Any value of the type that is wanted.
fn any<T: Sample>(rng: &mut Rng) -> T {
    T::sample(rng)
}

/// Small numbers and those at the ends as often as others: carries and signs are there.
fn number(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => rng.below(4),
        1 => u64::MAX - rng.below(4),
        _ => rng.next_u64(),
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl Sample for $number {
            #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
            fn every(rng: &mut Rng) -> Vec<Self> {
                vec![number(rng) as $number]
            }
        })*
    };
}

numbers! { u16 u32 }

impl Sample for u64 {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![number(rng)]
    }
}

impl Sample for i64 {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![number(rng).cast_signed()]
    }
}

impl Sample for usize {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![usize::try_from(number(rng)).unwrap()]
    }
}

impl Sample for u128 {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::from(number(rng)) << 64 | Self::from(number(rng))]
    }
}

impl Sample for bool {
    fn every(_: &mut Rng) -> Vec<Self> {
        vec![false, true]
    }
}

macro_rules! ids {
    ($($id:ident)*) => {
        $(impl Sample for $id {
            fn every(rng: &mut Rng) -> Vec<Self> {
                vec![Self::new(any(rng))]
            }
        })*
    };
}

ids! {
    ClusterId StoreId NodeId CoreId TargetId SessionId ChainTableId ChainVersion
    ChainTableVersion RoutingVersion ConfigVersion Incarnation Timeline Term
}

impl Sample for ChainId {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::new(any::<u32>(rng).max(1)).unwrap()]
    }
}

impl Sample for Duration {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::from_nanos(number(rng))]
    }
}

impl Sample for Instant {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::from_nanos(number(rng))]
    }
}

impl<T: Sample> Sample for Option<T> {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![None, Some(any(rng))]
    }
}

impl<A: Sample, B: Sample> Sample for (A, B) {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![(any(rng), any(rng))]
    }
}

/// At most `max` values.
fn some<T: Sample>(rng: &mut Rng, max: usize) -> Vec<T> {
    (0..rng.below(max as u64 + 1)).map(|_| any(rng)).collect()
}

/// At most `bytes_max` bytes.
fn text(rng: &mut Rng, bytes_max: usize) -> String {
    let length = if rng.chance(100) { bytes_max } else { bytes_max.min(12) };
    let mut text = String::new();
    for _ in 0..rng.below(length as u64 + 1) {
        let letter = *rng.pick(&['a', 'Z', '0', ' ', '.', '\n', '\u{e9}', '\u{1f525}']).unwrap();
        if text.len() + letter.len_utf8() <= bytes_max {
            text.push(letter);
        }
    }
    text
}

fn addresses(rng: &mut Rng) -> Vec<String> {
    (0..rng.below(NODE_ADDRESSES_MAX as u64 + 1)).map(|_| text(rng, 260)).collect()
}

/// Structs, by their fields: each a random value of its type unless an expression is given.
macro_rules! structs {
    ($($name:ident { $($field:ident $(: $value:expr)?,)* } in $rng:ident;)*) => {
        $(impl Sample for $name {
            fn every($rng: &mut Rng) -> Vec<Self> {
                $(structs!(@field $rng $field $($value)?);)*
                vec![Self { $($field),* }]
            }
        })*
    };
    (@field $rng:ident $field:ident) => { let $field = any($rng); };
    (@field $rng:ident $field:ident $value:expr) => { let $field = $value; };
}

/// Enums without fields.
macro_rules! enums {
    ($($name:ident { $($variant:ident)* })*) => {
        $(impl Sample for $name {
            fn every(_: &mut Rng) -> Vec<Self> {
                vec![$(Self::$variant),*]
            }
        })*
    };
}

enums! {
    StandingSaid { Standby TakingOver Primary }
    NodeRole { Storage Meta Manager Kv Client Operator }
    NodeState { Alive Draining Dead }
    PublicState { Serving Syncing Waiting LastServing Offline }
    LocalState { UpToDate Online Offline }
}

structs! {
    Contact { node, incarnation, addresses: addresses(rng), } in rng;
    PrimaryLease {
        holder, term, sequence, released, primary, storage, standby, drift_ppm,
    } in rng;
    StatusAsk { summary, } in rng;
    ManagerStatus {
        me, cluster, standing, lease, since, summary,
        trouble: text(rng, Refusal::MESSAGE_BYTES_MAX),
    } in rng;
    ClusterSummary {
        name: text(rng, 256), timeline, stopped, routing, nodes, nodes_alive, targets,
        targets_serving, targets_syncing, chains, chains_whole, chains_unserved, sessions, changes,
        grace,
    } in rng;
    Registration {
        node, uuid, role, addresses: addresses(rng), incarnation, domain: text(rng, 256),
    } in rng;
    Register { wanted, } in rng;
    Registered { node, beat, } in rng;
    Beat { heartbeat, } in rng;
    Heartbeat {
        node, incarnation, sequence, sent, drained, timeline, shards: some(rng, 3),
        targets: some(rng, 4),
    } in rng;
    ShardReport { core, progress, } in rng;
    TargetReport {
        target, incarnation, store, chain, core, local, damaged, version, timeline,
    } in rng;
    BeatAnswer { answer, beat, config, by_standby, } in rng;
    HeartbeatAnswer {
        sequence, sent, lease, routing, timeline, leases: some(rng, 3), moves: some(rng, 2),
        unknown: some(rng, 3), fenced,
    } in rng;
    Lease { target, incarnation, chain, version, } in rng;
    Move { target, chain, info, } in rng;
    ChainInfo { version, members: some(rng, CHAIN_MEMBERS_MAX), } in rng;
    Member { target, state, incarnation, } in rng;
    NodeInfo { role, addresses: addresses(rng), incarnation, state, } in rng;
    TargetInfo { node, core, store, chain, } in rng;
    ChainTable { version, chains: some(rng, 9), } in rng;
    RoutingAsk { timeline, since, wait, image, } in rng;
    Delta {
        cluster, from, to, timeline, nodes: map(rng), targets: map(rng), chains: map(rng),
        tables: map(rng), revoked,
    } in rng;
    Revoked { below, sessions: BTreeSet::from_iter(some(rng, 5)), } in rng;
    Client { uuid, epoch, process, name: text(rng, 253), host: text(rng, 253), } in rng;
    SessionRecord { client, opened, state, } in rng;
    NewTarget { node, core, store, disk, } in rng;
    Done { changed, chains: some(rng, 4), targets: some(rng, 9), config, } in rng;
    NodeRecord {
        // No record of a node has the uuid 0.
        uuid: StoreId::new(any::<StoreId>(rng).get().max(1)),
        role, addresses: addresses(rng), incarnation, enabled, draining,
        domain: text(rng, 256), tags: tags(rng),
    } in rng;
    NodeRow { node, record, state, silent, clock_away, targets, serving, } in rng;
    ChainRow {
        chain, info, members: some(rng, 5), last_serving: some(rng, 5), preferred: some(rng, 5),
        reasons: (0..rng.below(4)).map(|_| text(rng, 1024)).collect(),
    } in rng;
    ChainMember { node, store, disk, leaving, local, } in rng;
    LastServer { target, store, } in rng;
    SessionRow { session, record, silent, fenced, } in rng;
    ConfigEntry { role, version, note: text(rng, 256), text: text(rng, 1 << 15), } in rng;
    DrainProgress { targets, serving, last_servers, waiting_for_leases, } in rng;
    Refusal { code, message: text(rng, Refusal::MESSAGE_BYTES_MAX), primary, } in rng;
}

impl Sample for RefusalCode {
    fn every(rng: &mut Rng) -> Vec<Self> {
        let mut every = Self::ALL.to_vec();
        every.push(Self::from_code(any::<u16>(rng).max(1)));
        every
    }
}

impl Sample for Leaving {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::No, Self::Drained, Self::ReplacedBy(any(rng))]
    }
}

impl Sample for FenceError {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![
            Self::Beyond { node: any(rng), found: any(rng), published: any(rng) },
            Self::FormerStart { node: any(rng), found: any(rng), known: any(rng) },
            Self::NotDrained {
                node: any(rng),
                incarnation: any(rng),
                found: any(rng),
                needed: any(rng),
            },
        ]
    }
}

impl Sample for SessionState {
    fn every(rng: &mut Rng) -> Vec<Self> {
        let revoked = RevokeReason::ALL.map(|reason| Self::Revoked { at: any(rng), reason });
        [&[Self::Live][..], &revoked].concat()
    }
}

impl Sample for RevokedChange {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::Whole(any(rng)), Self::Added(any(rng))]
    }
}

fn map<K: Sample + Ord, V: Sample>(rng: &mut Rng) -> BTreeMap<K, V> {
    BTreeMap::from_iter(some::<(K, V)>(rng, 4))
}

fn tags(rng: &mut Rng) -> BTreeMap<String, String> {
    (0..rng.below(5)).map(|_| (text(rng, 63), text(rng, 127))).collect()
}

impl Sample for RoutingTold {
    fn every(rng: &mut Rng) -> Vec<Self> {
        let mut bytes = vec![0; usize::try_from(rng.below(99)).unwrap()];
        rng.fill_bytes(&mut bytes);
        let (version, total, offset) = (any(rng), any(rng), any(rng));
        vec![Self::Current, Self::Delta(any(rng)), Self::Image { version, total, offset, bytes }]
    }
}

impl Sample for SessionAsk {
    fn every(rng: &mut Rng) -> Vec<Self> {
        let open = Self::Open(any(rng));
        let ended = Self::Ended(some(rng, 5));
        vec![open, Self::Extend(any(rng)), Self::Close(any(rng)), Self::Fenced(any(rng)), ended]
    }
}

impl Sample for SessionTold {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![
            Self::Opened { session: any(rng), timeout: any(rng), timeline: any(rng) },
            Self::Extended { timeout: any(rng) },
            Self::Closed,
            Self::Fenced { fenced: any(rng), waits_for: some(rng, 5) },
            Self::Ended(some(rng, 5)),
        ]
    }
}

impl Sample for Command {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![
            Self::CreateChains((0..rng.below(4)).map(|_| some(rng, 5)).collect()),
            Self::SetTable(any(rng), some(rng, 9)),
            Self::AddTarget(any(rng), any(rng)),
            Self::RemoveTarget(any(rng)),
            Self::Replace(any(rng), any(rng)),
            Self::DrainTarget(any(rng), any(rng)),
            Self::AdoptStore(any(rng), any(rng)),
            Self::SetPreferredOrder(any(rng), some(rng, 5)),
            Self::Rotate(any(rng)),
            Self::GiveUpTo { target: any(rng), accept_data_loss: any(rng) },
            Self::EnableNode(any(rng), any(rng)),
            Self::DrainNode(any(rng), any(rng)),
            Self::UnregisterNode(any(rng)),
            Self::TagNode(any(rng), text(rng, 63), Some(text(rng, 127))),
            Self::StopChains(any(rng)),
            Self::RaiseTimeline,
            Self::TagNode(any(rng), text(rng, 63), None),
        ]
    }
}

impl Sample for Operation {
    fn every(rng: &mut Rng) -> Vec<Self> {
        let changes = [text(rng, 9), text(rng, 64)].map(|name| {
            let value = rng.chance(500).then(|| text(rng, 99));
            (name, value)
        });
        let mut every = vec![
            Self::RevokeSessions(some(rng, 5)),
            Self::SetConfig {
                role: any(rng),
                based_on: any(rng),
                changes: changes.to_vec(),
                note: text(rng, 256),
            },
            Self::ReplaceConfig {
                role: any(rng),
                based_on: any(rng),
                text: text(rng, 1 << 15),
                note: text(rng, 256),
            },
            Self::HandOver,
        ];
        every.extend(Command::every(rng).into_iter().map(Self::Cluster));
        every
    }
}

impl Sample for Question {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![
            Self::Nodes(any(rng)),
            Self::Chains { after: any(rng), unwhole: any(rng) },
            Self::Chain(any(rng)),
            Self::Table { table: any(rng), version: any(rng), from: any(rng) },
            Self::Sessions(any(rng)),
            Self::Config(any(rng)),
            Self::ConfigHistory(any(rng)),
            Self::Drain(any(rng)),
        ]
    }
}

impl Sample for Answer {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![
            Self::Nodes { rows: some(rng, 3), more: any(rng) },
            Self::Chains { rows: some(rng, 3), more: any(rng) },
            Self::Table { version: any(rng), chains: some(rng, 9), more: any(rng) },
            Self::Sessions { rows: some(rng, 3), more: any(rng) },
            Self::Config(any(rng)),
            Self::ConfigHistory(some(rng, 3)),
            Self::Drain(any(rng)),
        ]
    }
}

impl Sample for RoutingInfo {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::empty(any(rng)), routing(rng, 3), routing(rng, 9)]
    }
}

/// Valid routing info of so many chains.
pub(super) fn routing(rng: &mut Rng, chains: u32) -> RoutingInfo {
    let mut info = RoutingInfo::empty(any(rng));
    (info.version, info.timeline, info.revoked_below) = (any(rng), any(rng), any(rng));
    info.revoked = BTreeSet::from_iter(some(rng, 4));
    let nodes: Vec<NodeId> = (1..=5).map(NodeId::new).collect();
    for &node in &nodes {
        let mut node_info: NodeInfo = any(rng);
        node_info.addresses.push("host:9000".into());
        node_info.addresses.truncate(NODE_ADDRESSES_MAX);
        info.nodes.insert(node, node_info);
    }
    for chain in 1..=chains {
        let id = ChainId::new(chain).unwrap();
        let mut members = Vec::new();
        for (place, state) in [PublicState::Serving, PublicState::Syncing, PublicState::Waiting]
            .into_iter()
            .enumerate()
        {
            let target = TargetId::new(u64::from(chain) << 8 | place as u64);
            let node = *rng.pick(&nodes).unwrap();
            let (core, store) = (any(rng), any(rng));
            info.targets.insert(target, TargetInfo { node, core, store, chain: id });
            members.push(Member { target, state, incarnation: any(rng) });
        }
        members.truncate(3);
        info.chains.insert(id, ChainInfo { version: any(rng), members });
    }
    let chains = info.chains.keys().copied().collect();
    info.tables.insert(any(rng), ChainTable { version: any(rng), chains });
    assert_eq!(info.validate(), Ok(()));
    info
}
