use core::time::Duration;
use std::collections::BTreeMap;
use std::string::ToString;
use std::vec::Vec;

use engine_types::{
    ChainVersion, CoreId, Incarnation, Instant, NodeId, RoutingVersion, StoreId, TargetId, Timeline,
};

use super::*;
use crate::command::Command;

use crate::lease::{Contact, Term};
use crate::record::{Departed, Record, RecordKey};
use crate::testing::{CHAIN, Small};

/// What a standby reads when all three targets serve, and what node 1 says.
struct Case {
    observed: PrimaryLease,
    lease: Option<PrimaryLease>,
    cluster: ClusterRecord,
    node: Option<NodeRecord>,
    sessions: SessionSummary,
    chains: BTreeMap<ChainId, ChainRecord>,
    grant: Option<GrantRecord>,
    beat: Heartbeat,
}

const ME: (NodeId, Incarnation) = (NodeId::new(70), Incarnation::new(7));
const NODE: NodeId = NodeId::new(1);

impl Case {
    fn good() -> Self {
        Self::of(&mut Small::whole())
    }

    fn of(small: &mut Small) -> Self {
        let lease = PrimaryLease {
            holder: Contact {
                node: NodeId::new(60),
                incarnation: Incarnation::new(1),
                addresses: Vec::new(),
            },
            term: Term::new(1),
            sequence: 1,
            released: false,
            primary: Duration::from_secs(10),
            storage: Duration::from_secs(5),
            standby: Duration::from_secs(3),
            drift_ppm: 10_000,
        };
        let record = |key| small.kv.get(&key).cloned();
        let Some(Record::Cluster(cluster)) = record(RecordKey::Cluster) else { panic!("none") };
        let Some(Record::Node(node)) = record(RecordKey::Node(NODE)) else { panic!("none") };
        let Some(Record::Chain(chain)) = record(RecordKey::Chain(CHAIN)) else { panic!("none") };
        let beat = small.message(1);
        Self {
            observed: lease.clone(),
            lease: Some(lease),
            cluster,
            node: Some(node),
            sessions: SessionSummary::new(Timeline::new(0)),
            chains: BTreeMap::from([(CHAIN, chain)]),
            grant: None,
            beat,
        }
    }

    fn renew(&self) -> Result<Renewal, StandbyError> {
        let input = StandbyInput {
            me: ME,
            observed: &self.observed,
            lease: self.lease.as_ref(),
            cluster: &self.cluster,
            node: self.node.as_ref(),
            sessions: &self.sessions,
            chains: &self.chains,
            grant: self.grant.as_ref(),
            planted: None,
        };
        renew(&input, &self.beat)
    }

    fn chain(&mut self) -> &mut ChainRecord {
        self.chains.get_mut(&CHAIN).expect("it was read")
    }
}

#[test]
fn a_standby_renews_what_is_there() {
    let mut case = Case::good();
    case.beat.sent = Instant::from_nanos(77);
    let version = case.chain().version;
    assert_eq!(chains_of(&case.beat), BTreeSet::from([CHAIN]));
    let Renewal { answer, grant } = case.renew().expect("it stands in");
    let (target, incarnation) = (TargetId::new(1), Incarnation::new(1));
    assert_eq!(answer.leases, [Lease { target, incarnation, chain: CHAIN, version }]);
    assert_eq!((answer.sent, answer.sequence), (case.beat.sent, case.beat.sequence));
    assert_eq!(answer.lease, Duration::from_secs(3), "E311");
    assert!(answer.moves.is_empty() && answer.fenced.is_none());
    assert_eq!(answer.routing, RoutingVersion::new(0));
    let (manager, incarnation) = ME;
    assert_eq!(grant, Some(GrantRecord { number: 1, manager, incarnation }));
    case.grant = grant;
    let again = case.renew().expect("it stands in").grant.expect("a grant");
    assert_eq!(again.number, 2, "each grant is seen");
}

#[test]
fn golden_bytes() {
    let (manager, incarnation) = (NodeId::new(7), Incarnation::new(3));
    let record = GrantRecord { number: 258, manager, incarnation };
    #[rustfmt::skip]
    let bytes = [
        1, 20, 0, 0, 0,          // version, body length
        2, 1, 0, 0, 0, 0, 0, 0,  // number
        7, 0, 0, 0,              // manager
        3, 0, 0, 0, 0, 0, 0, 0,  // its start
    ];
    assert_eq!(record.encode(), bytes);
    assert_eq!(GrantRecord::decode(&bytes), Ok(record));
    crate::fields::check_decoder(&bytes, GrantRecord::decode);
}

/// Each row spoils one thing; the heartbeat is answered, without a lease and without a write.
#[test]
fn e309_no_lease_unless_everything_fits() {
    type Spoil = fn(&mut Case);
    #[rustfmt::skip]
    let rows: &[(&str, Spoil)] = &[
        ("offline", |c| c.beat.targets[0].local = LocalState::Offline),
        ("online only", |c| c.beat.targets[0].local = LocalState::Online),
        ("damaged", |c| c.beat.targets[0].damaged = true),
        ("another start", |c| c.beat.targets[0].incarnation = Incarnation::new(2)),
        ("another store", |c| c.beat.targets[0].store = StoreId::new(99)),
        ("another core", |c| c.beat.targets[0].core = CoreId::new(9)),
        ("no shard", |c| c.beat.shards.clear()),
        ("another timeline", |c| c.beat.targets[0].timeline = Timeline::new(1)),
        ("an older version", |c| c.beat.targets[0].version = ChainVersion::new(0)),
        ("a later version", |c| c.beat.targets[0].version = ChainVersion::new(99)),
        ("another target", |c| c.beat.targets[0].target = TargetId::new(9)),
        ("no chain", |c| c.beat.targets[0].chain = None),
        ("an unknown chain", |c| c.chains.clear()),
        ("stopped", |c| c.cluster.stopped = true),
        ("a raised timeline", |c| c.cluster.timeline = Timeline::new(1)),
        ("somebody departed", |c| c.chain().departed.push(Departed {
            target: TargetId::new(4), incarnation: Incarnation::new(1),
        })),
        ("not serving", |c| {
            let members = &mut c.chain().members;
            members[0].state = engine_types::PublicState::Offline;
        }),
        ("not adopted", |c| {
            c.chain().members[0].incarnation = UNADOPTED;
            c.beat.targets[0].incarnation = UNADOPTED;
        }),
    ];
    for (name, spoil) in rows {
        let mut case = Case::good();
        spoil(&mut case);
        let renewal = case.renew().expect("the node is known");
        assert_eq!((renewal.answer.leases.len(), renewal.grant), (0, None), "{name}");
        assert_eq!(renewal.answer.fenced, None, "{name}");
    }
}

#[test]
fn wrong_heartbeats_are_refused() {
    type Spoil = fn(&mut Case);
    let rows: &[(Spoil, &str)] = &[
        (|c| c.lease = None, "there is no record of a primary"),
        (
            |c| c.lease.as_mut().expect("there").sequence = 2,
            "the primary's record has changed: ask the primary",
        ),
        (|c| c.node = None, "node-1 is not registered"),
        (|c| c.node.as_mut().expect("there").enabled = false, "node-1 is disabled"),
        (
            |c| c.beat.incarnation = Incarnation::new(3),
            "node-1 beats as start-3, but registered as start-1",
        ),
    ];
    for (spoil, text) in rows {
        let mut case = Case::good();
        spoil(&mut case);
        assert_eq!(case.renew().expect_err("refused").to_string(), *text);
    }
}

#[test]
fn e294_a_standby_grants_nothing_before_the_node_has_drained() {
    let mut case = Case::good();
    case.sessions.fenced_to = case.beat.drained;
    assert_eq!(case.renew().expect("known").answer.leases.len(), 1);
    let needed = RoutingVersion::new(case.beat.drained.get() + 1);
    case.sessions.fenced_to = needed;
    let (node, incarnation, found) = (NODE, Incarnation::new(1), case.beat.drained);
    let renewal = case.renew().expect("known");
    let fenced = FenceError::NotDrained { node, incarnation, found, needed };
    assert_eq!((renewal.answer.fenced, renewal.grant), (Some(fenced), None));
    case.sessions.fenced_to = case.beat.drained;
    case.beat.timeline = Timeline::new(8);
    let fenced = case.renew().expect("known").answer.fenced;
    assert!(fenced.is_some(), "a version of another timeline says nothing");
}

/// The whole way: the primary made a change without knowing of a grant, finds it, and waits.
#[test]
fn e310_a_demotion_waits_for_what_a_standby_granted() {
    let mut small = Small::whole();
    for _ in 0..2 {
        small.wait(1000);
        small.beat(2).expect("it lives");
        small.beat(3).expect("it lives");
    }
    let case = Case::of(&mut small);
    assert!(case.renew().expect("the primary did not answer").grant.is_some());
    small.now += Duration::from_millis(30);
    small.cluster.tick(small.now);
    let change = small.cluster.propose(small.now).expect("node 1 is dead");
    assert_eq!(change.demoted, BTreeSet::from([NODE]));
    small.cluster.abort(); // its transaction found the grant record
    let until = small.now + Duration::from_millis(3030);
    small.cluster.standby_granted(NODE, until, &mut small.fences, small.now);
    assert_eq!(small.cluster.propose(small.now), None, "it counts as heard");
    small.reports.get_mut(&1).expect("a target").local = LocalState::Offline;
    small.wait(10);
    small.beat(1).expect("it lives");
    assert_eq!(small.states(), "2:Serving 3:Serving 1:Offline");
    let (committed, published) = small.versions();
    assert_ne!(committed, published, "the heartbeat may have been sent before the standby's");
    for _ in 0..3 {
        small.wait(1000);
        (1..=3).for_each(|node| drop(small.beat(node)));
    }
    assert_ne!(small.versions().0, small.versions().1, "until it is over");
    small.wait(30);
    assert_eq!(small.versions().0, small.versions().1);
}

/// A drained target is told so by the primary alone, and its ack ends what a standby granted.
#[test]
fn an_ack_gives_back_what_a_standby_granted() {
    let mut small = Small::whole();
    let until = small.now + Duration::from_millis(3030);
    small.cluster.standby_granted(NODE, until, &mut small.fences, small.now);
    small.command(&Command::DrainNode(NODE, true)).expect("a drain");
    assert_ne!(small.versions().0, small.versions().1);
    small.beat(1).expect("it is told");
    small.beat(1).expect("it acknowledges");
    assert_eq!(small.versions().0, small.versions().1);
}
