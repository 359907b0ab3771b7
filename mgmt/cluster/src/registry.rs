//! Nodes and targets as the primary knows them: their records, and what heartbeats said.
//!
//! Owner: `Cluster`. What is not part of a record is lost with the primary, and a successor waits
//! until it has heard everybody (L3).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use engine_types::limits::{NODE_ADDRESSES_MAX, NODES_MAX};
use engine_types::{
    ChainVersion, CoreId, Incarnation, Instant, NodeId, NodeInfo, NodeRole, NodeState, StoreId,
    TargetId, TargetInfo, Timeline,
};

use crate::chain::LocalState;
use crate::cluster::{Change, Cluster};
use crate::lease::{ClockCheck, ClockVerdict, LeaseTimes};
use crate::record::codec::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX};
use crate::record::{NodeRecord, Record, RecordKey, TargetRecord};
use crate::words::role;

/// A registered node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) record: NodeRecord,
    /// Its targets, also those that it never reported.
    pub(crate) targets: BTreeSet<TargetId>,
    /// When it was last heard of, by any way that may have renewed a lease.
    pub(crate) heard: Instant,
    /// Number of the last heartbeat of its present incarnation.
    pub(crate) sequence: Option<u64>,
    /// True after `heard` lay too far back (L4).
    pub(crate) dead: bool,
    pub(crate) clock: ClockCheck,
    /// Set when the clock of this start was found to run away, by so many ppm (E290).
    pub(crate) clock_away: Option<i64>,
    pub(crate) shards: BTreeMap<CoreId, Progress>,
}

/// How far a shard is (L5b).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) counter: u64,
    /// When the counter first stood there, on the node's clock.
    pub(crate) since: Instant,
    pub(crate) stuck: bool,
}

impl Node {
    pub(crate) fn new(record: NodeRecord, heard: Instant, times: &LeaseTimes) -> Self {
        Self {
            record,
            targets: BTreeSet::new(),
            heard,
            sequence: None,
            dead: false,
            clock: ClockCheck::new(times),
            clock_away: None,
            shards: BTreeMap::new(),
        }
    }

    /// Another start of the process: nothing that the former one said holds any more.
    pub(crate) fn restart(&mut self, now: Instant, times: &LeaseTimes) {
        self.heard = now;
        self.sequence = None;
        self.clock = ClockCheck::new(times);
        self.clock_away = None;
        self.shards.clear();
    }

    /// A heartbeat that was sent at `sent` on the node's clock has arrived. What is found stays
    /// until the next start.
    pub(crate) fn observe_clock(&mut self, sent: Instant, now: Instant) {
        if self.clock_away.is_none()
            && let ClockVerdict::Bad { ppm } = self.clock.heartbeat(sent, now)
        {
            self.clock_away = Some(ppm);
        }
    }

    /// True if the clock was observed for long enough.
    pub(crate) fn clock_is_judged(&self) -> bool {
        self.clock.verdict() != ClockVerdict::Unknown
    }

    pub(crate) const fn state(&self) -> NodeState {
        if self.dead || !self.record.enabled {
            NodeState::Dead
        } else if self.record.draining {
            NodeState::Draining
        } else {
            NodeState::Alive
        }
    }

    pub(crate) fn info(&self) -> NodeInfo {
        NodeInfo {
            role: self.record.role,
            addresses: self.record.addresses.clone(),
            incarnation: self.record.incarnation,
            state: self.state(),
        }
    }
}

/// A registered target.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) record: TargetRecord,
    /// What its node says about it, as far as it was said since the node's last start.
    pub(crate) report: Option<Report>,
    /// The lease it may hold.
    pub(crate) hold: Option<Hold>,
    /// The heartbeat that named it last.
    pub(crate) named_in: Option<u64>,
}

/// What the last heartbeat said about a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// `Offline` also if its shard is stuck (L5b).
    pub(crate) local: LocalState,
    pub(crate) incarnation: Incarnation,
    pub(crate) version: ChainVersion,
    pub(crate) timeline: Timeline,
    pub(crate) damaged: bool,
    pub(crate) store: StoreId,
    /// Whose shard owns the store now.
    pub(crate) core: CoreId,
}

/// A lease that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) incarnation: Incarnation,
    /// The start of the node that was granted it; not known of leases that others granted.
    pub(crate) node_start: Option<Incarnation>,
    /// Until when leases may be held that others granted, predecessors and standbys. Heartbeats
    /// that they answered may have been sent later than one that arrives here, so none that says
    /// "offline" gives those leases back.
    pub(crate) foreign_until: Instant,
    /// From here on it has run out on every clock, this one's.
    pub(crate) until: Instant,
}

impl Target {
    pub(crate) const fn new(record: TargetRecord) -> Self {
        Self { record, report: None, hold: None, named_in: None }
    }

    /// What others see of it. A node may own its stores by other cores after a restart: what it
    /// says counts, the record's core is the one of its creation.
    pub(crate) fn info(&self) -> TargetInfo {
        let TargetRecord { node, core, store, chain, .. } = self.record;
        let core = self.report.map_or(core, |report| report.core);
        TargetInfo { node, core, store, chain }
    }

    /// When the lease of the start `incarnation` will have run out, if it may hold one at `now`.
    pub(crate) fn holds_until(&self, incarnation: Incarnation, now: Instant) -> Option<Instant> {
        let hold = self.hold.filter(|hold| hold.incarnation == incarnation)?;
        (now < hold.until).then_some(hold.until)
    }

    /// It may hold a lease until `until` at the latest. A store is opened by one process at a time,
    /// so a start of it belongs to one start of its node.
    pub(crate) fn extend_hold(
        &mut self,
        incarnation: Incarnation,
        node_start: Option<Incarnation>,
        until: Instant,
    ) {
        match &mut self.hold {
            Some(hold) if hold.incarnation == incarnation => {
                hold.until = hold.until.max(until);
                hold.node_start = node_start.or(hold.node_start);
            }
            hold => {
                let foreign_until = Instant::ZERO;
                *hold = Some(Hold { incarnation, node_start, foreign_until, until });
            }
        }
        if let (Some(hold), None) = (&mut self.hold, node_start) {
            hold.foreign_until = hold.foreign_until.max(until);
        }
    }
}

/// A process that wants to take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The id it was given before, nothing until an answer has arrived.
    pub node: Option<NodeId>,
    /// What it chose at random when it was created, and keeps for life; 0 is refused. A node whose
    /// first answer was lost is known by it.
    pub uuid: StoreId,
    /// What it does.
    pub role: NodeRole,
    /// `host:port` per network, the preferred one first.
    pub addresses: Vec<String>,
    /// Counts its starts from 1.
    pub incarnation: Incarnation,
    /// Its failure domain.
    pub domain: String,
}

/// What becomes of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is registered like that already: the request came twice.
    Known(NodeId),
    /// It is registered once the change is committed.
    New(NodeId, Change),
}

/// Why a registration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Another change is in flight: try again when it is decided.
    #[error("another change is in flight")]
    Busy,
    /// The id was never given, or the node was unregistered.
    #[error("{node} is not registered")]
    Unknown {
        /// The id it named.
        node: NodeId,
    },
    /// The id is another node's: a copied or restored directory, or one of another cluster.
    #[error("{node} registers with uuid {found}, expected {expected}")]
    OtherNode {
        /// The node it named.
        node: NodeId,
        /// Its uuid.
        found: StoreId,
        /// The uuid of the node that has the id.
        expected: StoreId,
    },
    /// A node keeps its role for life.
    #[error("{node} registers as {}, expected {}", role(*.found), role(*.expected))]
    OtherRole {
        /// The node.
        node: NodeId,
        /// The role it named.
        found: NodeRole,
        /// The role it has.
        expected: NodeRole,
    },
    /// A later start has registered: this process is a left-over.
    #[error("{node} registers as {found}, but {expected} has registered")]
    Outdated {
        /// The node.
        node: NodeId,
        /// The start it named.
        found: Incarnation,
        /// The start that registered last.
        expected: Incarnation,
    },
    /// Two processes with one id and one count of starts.
    #[error("{node} registers as {incarnation} again, with other addresses")]
    Twin {
        /// The node.
        node: NodeId,
        /// The start both named.
        incarnation: Incarnation,
    },
    /// Every id was given once.
    #[error("ids of nodes have run out")]
    RunOut,
    /// A number of things is out of its range.
    #[error("{what}: found {found}, expected {min} to {max}")]
    Count {
        /// The things.
        what: &'static str,
        /// How many there are or would be.
        found: usize,
        /// How many there must be.
        min: usize,
        /// How many there may be.
        max: usize,
    },
}

impl Cluster {
    /// Takes in a node, or a new start of one. Who names no id is a registered node if its uuid is
    /// one's, so a registration whose answer was lost is simply repeated.
    ///
    /// # Errors
    /// Whatever is wrong with it; nothing changes then.
    pub fn register(
        &mut self,
        wanted: &Registration,
        now: Instant,
    ) -> Result<Registered, RegisterError> {
        let count = |what, found, min, max| {
            let fits = (min..=max).contains(&found);
            if fits { Ok(()) } else { Err(RegisterError::Count { what, found, min, max }) }
        };
        count("addresses of a node", wanted.addresses.len(), 1, NODE_ADDRESSES_MAX)?;
        for address in &wanted.addresses {
            count("bytes of an address", address.len(), 1, ADDRESS_BYTES_MAX)?;
        }
        count("bytes of a failure domain", wanted.domain.len(), 0, NAME_BYTES_MAX)?;
        let started = usize::from(wanted.incarnation != crate::record::UNADOPTED);
        count("starts of a node", started, 1, usize::MAX)?;
        count("uuids of a node", usize::from(wanted.uuid.get() != 0), 1, 1)?;
        let mut writes = Vec::new();
        let same = |node: &&Node| node.record.uuid == wanted.uuid;
        let known = || self.nodes.iter().find(|(_, node)| same(node)).map(|(&id, _)| id);
        let (id, former) = match wanted.node.or_else(known) {
            Some(node) => {
                let known = self.nodes.get(&node).ok_or(RegisterError::Unknown { node })?;
                (node, Some(&known.record))
            }
            None => {
                count("nodes", self.nodes.len() + 1, 1, NODES_MAX)?;
                let mut cluster = self.record.clone();
                let id = NodeId::new(cluster.next_node);
                let next = cluster.next_node.checked_add(1);
                cluster.next_node = next.ok_or(RegisterError::RunOut)?;
                writes.push((RecordKey::Cluster, Some(Record::Cluster(cluster))));
                (id, None)
            }
        };
        let record = next_record(id, former, wanted)?;
        if former == Some(&record) {
            return Ok(Registered::Known(id));
        }
        if self.is_busy() {
            return Err(RegisterError::Busy);
        }
        writes.push((RecordKey::Node(id), Some(Record::Node(record))));
        Ok(Registered::New(id, self.stage(writes, now)))
    }
}

fn next_record(
    node: NodeId,
    former: Option<&NodeRecord>,
    wanted: &Registration,
) -> Result<NodeRecord, RegisterError> {
    let Registration { uuid, role, addresses, incarnation, domain, .. } = wanted.clone();
    let fresh = NodeRecord {
        uuid,
        role,
        addresses,
        incarnation,
        enabled: true,
        draining: false,
        domain,
        tags: BTreeMap::new(),
    };
    let Some(former) = former else { return Ok(fresh) };
    if former.uuid != uuid {
        let expected = former.uuid;
        return Err(RegisterError::OtherNode { node, found: uuid, expected });
    }
    if former.role != role {
        return Err(RegisterError::OtherRole { node, found: role, expected: former.role });
    }
    if incarnation < former.incarnation {
        let expected = former.incarnation;
        return Err(RegisterError::Outdated { node, found: incarnation, expected });
    }
    if incarnation == former.incarnation && former.addresses != fresh.addresses {
        return Err(RegisterError::Twin { node, incarnation });
    }
    let (enabled, draining, tags) = (former.enabled, former.draining, former.tags.clone());
    Ok(NodeRecord { enabled, draining, tags, ..fresh })
}

#[cfg(test)]
mod tests;
