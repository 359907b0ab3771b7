//! The primary's lease, and standbys that grant in its stead.
//!
//! Standbys here answer whoever asks, also while the primary lives: when they begin to is a matter
//! of order, not of safety. What they read and write is one transaction: it fails if anything that
//! it has read is different when it commits. A primary that takes over has a predecessor that has
//! ended, so only the end of leases is at stake.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use core::time::Duration;

use engine_types::{ChainId, Incarnation, Instant, NodeId, RoutingVersion};

use super::world::{Event, MS, World};
use crate::heartbeat::Heartbeat;
use crate::lease::{Contact, Holder, LeaseTimes, LeaseWrite, Observer, PrimaryLease, WriteResult};
use crate::record::{ChainRecord, ClusterRecord, NodeRecord, Record, RecordKey};
use crate::session::SessionSummary;
use crate::standby::{GrantRecord, Renewal, StandbyInput, chains_of, renew};

type Outcome = Result<(), String>;

/// What the KV holds of the grants of standbys.
pub(super) type Grants = BTreeMap<NodeId, GrantRecord>;

/// What a standby reads for a heartbeat.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reads {
    lease: Option<PrimaryLease>,
    cluster: ClusterRecord,
    node: Option<NodeRecord>,
    chains: BTreeMap<ChainId, ChainRecord>,
    summary: SessionSummary,
    grant: Option<GrantRecord>,
}

impl World {
    fn reads(&self, beat: &Heartbeat) -> Reads {
        let Some(Record::Cluster(cluster)) = self.kv.get(&RecordKey::Cluster).cloned() else {
            panic!("a cluster was founded");
        };
        let node = self.kv.get(&RecordKey::Node(beat.node)).cloned();
        let chain = |id: ChainId| match self.kv.get(&RecordKey::Chain(id)).cloned() {
            Some(Record::Chain(record)) => Some((id, record)),
            _ => None,
        };
        Reads {
            lease: self.lease.clone(),
            cluster,
            node: node.map(|record| match record {
                Record::Node(record) => record,
                other => panic!("{other:?} is no node"),
            }),
            chains: chains_of(beat).into_iter().filter_map(chain).collect(),
            summary: self.summary,
            grant: self.grants.get(&beat.node).copied(),
        }
    }

    /// A standby has a heartbeat, and reads.
    pub(super) fn at_standby(&mut self, beat: Box<Heartbeat>) {
        let reads = self.reads(&beat);
        let Some(observed) = &reads.lease else { return };
        let me = (NodeId::new(100), Incarnation::new(1));
        let input = StandbyInput {
            me,
            observed,
            lease: reads.lease.as_ref(),
            cluster: &reads.cluster,
            node: reads.node.as_ref(),
            sessions: &reads.summary,
            chains: &reads.chains,
            grant: reads.grant.as_ref(),
            planted: self.planted,
        };
        let Ok(renewal) = renew(&input, &beat) else { return };
        let (reads, renewal) = (Box::new(reads), Box::new(renewal));
        let ms = self.delay();
        self.after(ms, Event::StandbyCommits { beat, reads, renewal });
    }

    /// The standby's transaction commits, unless something that it read has changed.
    pub(super) fn standby_commits(&mut self, beat: &Heartbeat, reads: &Reads, renewal: Renewal) {
        if self.reads(beat) != *reads || (self.faults && self.rng.chance(50)) {
            return;
        }
        if let Some(grant) = renewal.grant {
            assert_eq!(GrantRecord::decode(&grant.encode()), Ok(grant));
            self.grants.insert(beat.node, grant);
        }
        self.answer(beat, renewal.answer);
    }

    /// Grants that are not as the primary knew them when it made its change (E310).
    pub(super) fn moved(&self, expected: &BTreeMap<NodeId, Option<GrantRecord>>) -> Grants {
        let stored = expected.iter().map(|(node, known)| (node, known, self.grants.get(node)));
        let moved = stored.filter(|(_, known, stored)| known.as_ref() != *stored);
        moved.filter_map(|(&node, _, stored)| Some((node, *stored?))).collect()
    }

    /// The primary learns that standbys have granted.
    pub(super) fn learn(&mut self, moved: Grants) {
        let now = Instant::from_nanos(self.now);
        let (Some(cluster), Some(holder)) = (&mut self.cluster, &self.holder) else { return };
        let until = holder.storage_leases(now).until;
        for (node, grant) in moved {
            cluster.standby_granted(node, until, &mut self.fences, now);
            self.known.insert(node, grant);
        }
    }

    /// The manager that loads now has the lease: it takes it, or it holds it still and loads again.
    /// Says until when leases may be held that were granted before.
    pub(super) fn take_lease(&mut self) -> Instant {
        let now = Instant::from_nanos(self.now);
        if self.holder.is_none() || self.rng.chance(300) {
            let me = Contact {
                node: NodeId::new(90),
                incarnation: Incarnation::new(self.term),
                addresses: Vec::new(),
            };
            let sent = Instant::from_nanos(self.now - self.rng.below(3000) * MS);
            let mut observer = Observer::new(self.rules.times);
            observer.observe(sent, self.lease.clone());
            observer.predecessor_ended(&me);
            let taking = observer.begin_take(sent, me).expect("the former start has ended");
            self.lease = Some(taking.record.clone());
            self.holder = Some(Holder::taken(taking, self.rules.times, now));
        }
        self.known.clone_from(&self.grants);
        self.holder.as_ref().expect("it was taken").storage_leases(now).until
    }

    /// The primary renews its lease, now and then with another length of storage leases.
    pub(super) fn renew(&mut self) {
        let now = Instant::from_nanos(self.now);
        let term = self.term;
        self.after(2000, Event::Renew { term });
        let changes = self.faults && self.rng.chance(300);
        let storage = Duration::from_secs(self.rng.range(2..=4));
        let (Some(holder), Some(cluster)) = (&mut self.holder, &mut self.cluster) else { return };
        if changes {
            let second = Duration::from_secs(1);
            let times = LeaseTimes::new(second, storage, 10 * second, 10_000);
            self.rules.times = times.expect("within the limits");
            holder.set_times(self.rules.times);
            cluster.set_rules(self.rules.clone(), now);
        }
        let write = holder.begin_renewal(now).expect("it is not over");
        let ms = self.delay();
        self.after(ms, Event::Renewed { term, write: Box::new(write) });
    }

    pub(super) fn renewed(&mut self, write: &LeaseWrite) {
        let now = Instant::from_nanos(self.now);
        let chance = if self.faults { self.rng.below(10) } else { 9 };
        let fits = write.check(self.lease.as_ref()).is_ok();
        if fits && 1 < chance {
            self.lease = Some(write.record.clone());
        }
        let result = match chance {
            0 => WriteResult::Failed,
            1 | 2 => WriteResult::Unknown,
            _ if fits => WriteResult::Committed,
            _ => WriteResult::Failed,
        };
        let (Some(holder), Some(cluster)) = (&mut self.holder, &mut self.cluster) else { return };
        holder.renewed(write, result);
        cluster.set_lease(holder.storage_leases(now).lasts);
    }

    /// The primary declares a version fenced when every node has drained it or holds no lease.
    pub(super) fn fence(&mut self) {
        let now = Instant::from_nanos(self.now);
        let term = self.term;
        self.after(500, Event::Fence { term });
        let Some(cluster) = &self.cluster else { return };
        let to = *self.goal.get_or_insert(cluster.routing().version);
        if self.now < self.paused || self.fences.done_to(now) < to {
            return;
        }
        self.fences.require(to);
        let known = self.known.clone();
        let ms = self.delay();
        self.after(ms, Event::Fenced { term, to, known });
    }

    /// The transaction that raises `fenced_to` has read what was granted to all nodes.
    pub(super) fn fenced(&mut self, to: RoutingVersion, known: &Grants) {
        let nodes = self.grants.keys().map(|node| (*node, known.get(node).copied())).collect();
        let moved = self.moved(&nodes);
        if moved.is_empty() {
            self.summary.fenced_to = self.summary.fenced_to.max(to);
            self.goal = None;
        } else {
            self.learn(moved);
        }
    }

    /// Whoever can serve has drained what is fenced.
    pub(super) fn check_fenced(&self) -> Outcome {
        for (id, slot) in self.slots.iter().filter(|(_, slot)| self.serves(slot)) {
            let host = &self.hosts[slot.host as usize];
            let (_, drained) = host.drained.get(&slot.owner).copied().unwrap_or_default();
            let fenced = self.summary.fenced_to;
            if drained < fenced {
                return Err(format!("E294: {id} can serve with {drained}, {fenced} is fenced"));
            }
        }
        Ok(())
    }
}
