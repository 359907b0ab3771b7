//! A small cluster whose KV and network are perfect, for tests of single steps.

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use core::time::Duration;

use engine_types::{
    ChainId, ChainVersion, ClusterId, CoreId, Incarnation, Instant, NodeId, NodeRole, PublicState,
    RoutingVersion, StoreId, TargetId, Timeline,
};

use crate::chain::LocalState;
use crate::cluster::Cluster;
use crate::command::{Accepted, Command, CommandError, NewTarget};
use crate::heartbeat::{Heartbeat, HeartbeatAnswer, HeartbeatError, ShardReport, TargetReport};
use crate::record::{ClusterRecord, Record, RecordKey};
use crate::registry::{Registered, Registration};
use crate::rules::Rules;
use crate::session::Fences;

/// The chain of targets 1, 2 and 3 on nodes 1, 2 and 3.
pub(crate) const CHAIN: ChainId = ChainId::new(1).expect("not 0");

pub(crate) struct Small {
    pub(crate) cluster: Cluster,
    pub(crate) kv: BTreeMap<RecordKey, Record>,
    pub(crate) fences: Fences,
    pub(crate) now: Instant,
    /// What target n says.
    pub(crate) reports: BTreeMap<u64, TargetReport>,
    /// Starts of nodes.
    pub(crate) starts: BTreeMap<u32, u64>,
    sequence: u64,
    /// Shards make progress.
    pub(crate) works: bool,
}

pub(crate) fn store(target: u64) -> StoreId {
    StoreId::new(u128::from(target))
}

pub(crate) fn new_target(node: u32, target: u64) -> NewTarget {
    NewTarget { node: NodeId::new(node), core: CoreId::new(0), store: store(target), disk: 0 }
}

pub(crate) fn registration(node: Option<u32>, start: u64) -> Registration {
    Registration {
        node: node.map(NodeId::new),
        uuid: StoreId::new(u128::from(node.unwrap_or(u32::MAX))),
        role: NodeRole::Storage,
        addresses: Vec::from([String::from("a:1")]),
        incarnation: Incarnation::new(start),
        domain: String::new(),
    }
}

impl Small {
    /// Nothing is registered, and the first version is published.
    pub(crate) fn empty() -> Self {
        let kv: BTreeMap<_, _> =
            Cluster::found(ClusterRecord::new(ClusterId::new(1), "small".into()))
                .expect("a short name")
                .into();
        let now = Instant::from_nanos(1_000_000_000_000);
        let cluster = Cluster::load(kv.clone(), Rules::default(), now, now).expect("a new cluster");
        let (reports, starts) = (BTreeMap::new(), BTreeMap::new());
        let fences = Fences::new(RoutingVersion::new(0), now);
        let mut small =
            Self { cluster, kv, fences, now, reports, starts, sequence: 0, works: true };
        small.settle();
        small
    }

    /// Four nodes, and one chain on the first three; all serve and hold leases.
    pub(crate) fn whole() -> Self {
        let mut small = Self::empty();
        small.wait(3000);
        for node in 1..=4 {
            small.register(node, 1);
        }
        let members = (1..=3).map(|n| new_target(n, n.into())).collect();
        small.command(&Command::CreateChains(Vec::from([members]))).expect("a chain");
        (1..=3).for_each(|target| small.appear(target));
        small.beat_all();
        small.beat_all();
        assert_eq!(small.states(), "1:Serving 2:Serving 3:Serving");
        small
    }

    pub(crate) fn register(&mut self, node: u32, start: u64) {
        let mut wanted = registration(Some(node), start);
        if !self.cluster.nodes.contains_key(&NodeId::new(node)) {
            wanted.node = None;
        }
        let registered = self.cluster.register(&wanted, self.now).expect("a node");
        self.starts.insert(node, start);
        if let Registered::New(..) = registered {
            self.commit();
        }
    }

    /// Its node has created a target, and says so from now on.
    pub(crate) fn appear(&mut self, target: u64) {
        let report = TargetReport {
            target: TargetId::new(target),
            incarnation: Incarnation::new(1),
            store: store(target),
            chain: Some(CHAIN),
            core: CoreId::new(0),
            local: LocalState::Online,
            damaged: false,
            version: ChainVersion::new(0),
            timeline: Timeline::new(0),
        };
        self.reports.insert(target, report);
    }

    /// The change in flight is written.
    pub(crate) fn commit(&mut self) {
        let change = self.cluster.in_flight.as_ref().expect("in flight").change.clone();
        for (key, record) in change.writes {
            match record {
                Some(record) => drop(self.kv.insert(key, record)),
                None => drop(self.kv.remove(&key)),
            }
        }
        self.cluster.committed(self.now);
        self.cluster.routing().validate().expect("E272");
    }

    /// Writes everything there is to write.
    pub(crate) fn settle(&mut self) {
        while self.cluster.propose(self.now).is_some() {
            self.commit();
        }
    }

    /// Time passes, and the manager attends.
    pub(crate) fn wait(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while self.now < until {
            self.now = until.min(self.now + crate::cluster::LAPSE);
            self.cluster.tick(self.now);
            self.settle();
        }
    }

    pub(crate) fn message(&mut self, node: u32) -> Heartbeat {
        self.sequence += 1;
        let of = |report: &&TargetReport| {
            let target = self.cluster.targets.get(&report.target);
            target.is_some_and(|target| target.record.node == NodeId::new(node))
        };
        let progress = if self.works { self.sequence } else { 0 };
        Heartbeat {
            node: NodeId::new(node),
            incarnation: Incarnation::new(self.starts[&node]),
            sequence: self.sequence,
            sent: self.now,
            drained: self.cluster.routing().version,
            timeline: self.cluster.timeline(),
            shards: Vec::from([ShardReport { core: CoreId::new(0), progress }]),
            targets: self.reports.values().filter(of).copied().collect(),
        }
    }

    /// A heartbeat and its answer; the node installs what it is told.
    pub(crate) fn beat(&mut self, node: u32) -> Result<HeartbeatAnswer, HeartbeatError> {
        let beat = self.message(node);
        self.fences.raise(self.cluster.timeline());
        let answer = self.cluster.heartbeat(&beat, &mut self.fences, self.now)?;
        for step in &answer.moves {
            let report = self.reports.get_mut(&step.target.get()).expect("it was reported");
            report.version = step.info.version;
            report.timeline = answer.timeline;
            let serves = |m: &&engine_types::Member| m.target == step.target;
            let state = step.info.members.iter().find(serves).expect("a member").state;
            if report.local != LocalState::Offline {
                report.local = match state {
                    PublicState::Serving => LocalState::UpToDate,
                    _ => LocalState::Online,
                };
            }
        }
        self.settle();
        Ok(answer)
    }

    /// All nodes, which live, one after the other, some milliseconds later.
    pub(crate) fn beat_all(&mut self) {
        self.now += Duration::from_millis(100);
        for node in self.starts.clone().into_keys() {
            self.beat(node).expect("it lives");
        }
    }

    pub(crate) fn command(&mut self, command: &Command) -> Result<Accepted, CommandError> {
        let accepted = self.cluster.command(command, self.now)?;
        if accepted.change.is_some() {
            self.commit();
            self.settle();
        }
        Ok(accepted)
    }

    /// Another primary takes over.
    pub(crate) fn take_over(&mut self) {
        let rules = self.cluster.rules.clone();
        self.cluster =
            Cluster::load(self.kv.clone(), rules, self.now, self.now).expect("its records");
        self.settle();
    }

    /// Members of the chain as committed: `target:state`, in order.
    pub(crate) fn states(&self) -> String {
        let members = &self.cluster.chains[&CHAIN].record.members;
        let texts: Vec<String> =
            members.iter().map(|m| format!("{}:{:?}", m.target.get(), m.state)).collect();
        texts.join(" ")
    }

    /// Version of the chain that is committed, and that is published.
    pub(crate) fn versions(&self) -> (u32, u32) {
        let committed = self.cluster.chains[&CHAIN].record.version;
        (committed.get(), self.cluster.routing().chains[&CHAIN].version.get())
    }

    /// The version for which the answer grants `target` a lease.
    pub(crate) fn granted(answer: &HeartbeatAnswer, target: u64) -> Option<u32> {
        let of = |lease: &&crate::heartbeat::Lease| lease.target == TargetId::new(target);
        answer.leases.iter().find(of).map(|lease| lease.version.get())
    }
}
