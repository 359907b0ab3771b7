//! What every storage node has drained, and until when it may hold a lease (L6).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use engine_types::{Incarnation, Instant, NodeId, RoutingVersion, Timeline, reached};

/// A report or a grant that must not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    /// Nobody can have drained what was not published.
    #[error("{node} says that it drained {found}, published is {published}")]
    Beyond {
        /// The node.
        node: NodeId,
        /// Reported.
        found: RoutingVersion,
        /// In force.
        published: RoutingVersion,
    },
    /// The report is of a former start.
    #[error("{node}: report of {found}, {known} has reported")]
    FormerStart {
        /// The node.
        node: NodeId,
        /// Of the report.
        found: Incarnation,
        /// The newest known.
        known: Incarnation,
    },
    /// A lease would let writes of fenced sessions go on (E294).
    #[error("{node} {incarnation} has drained {found}, a lease needs {needed}")]
    NotDrained {
        /// The node.
        node: NodeId,
        /// Its start that wants a lease.
        incarnation: Incarnation,
        /// What it drained.
        found: RoutingVersion,
        /// What is fenced.
        needed: RoutingVersion,
    },
}

/// A node that keeps sessions from being fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The node.
    pub node: NodeId,
    /// What it drained.
    pub drained: RoutingVersion,
    /// What it must drain.
    pub needed: RoutingVersion,
    /// When its leases have run out, if none is granted before.
    pub lease_until: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    incarnation: Incarnation,
    drained: RoutingVersion,
    /// When the leases of this start are over, and those of former ones.
    lease_until: Instant,
    former_until: Instant,
    /// Unregistered: it is of interest until its leases are over.
    gone: bool,
}

impl Node {
    /// Whether nothing of the sessions revoked in `at` or before can happen here.
    fn is_done(&self, now: Instant, at: RoutingVersion) -> bool {
        self.former_until <= now && (at <= self.drained || self.lease_until <= now)
    }
}

/// Progress of all storage nodes. Times are of the manager's clock.
#[derive(Clone, Debug)]
pub struct Fences {
    nodes: BTreeMap<NodeId, Node>,
    /// What a node must have drained to be granted a lease.
    required: RoutingVersion,
    /// Versions are of this timeline; those of others name something else.
    timeline: Timeline,
    /// Before this instant a predecessor's lease may be in force on any node.
    quiet_until: Instant,
}

impl Fences {
    /// Nothing was heard from any node yet.
    pub const fn new(fenced_to: RoutingVersion, leases_until: Instant) -> Self {
        let (required, quiet_until) = (fenced_to, leases_until);
        Self { nodes: BTreeMap::new(), required, timeline: Timeline::new(0), quiet_until }
    }

    /// The timeline was raised: what was drained by the numbers of the former one says nothing.
    pub(crate) fn raise(&mut self, timeline: Timeline) {
        self.timeline = timeline;
        self.nodes.values_mut().for_each(|node| node.drained = RoutingVersion::default());
    }

    /// [`reported_in`](Self::reported_in) the cluster's timeline.
    ///
    /// # Errors
    /// As there.
    pub fn reported(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        drained: RoutingVersion,
        published: RoutingVersion,
    ) -> Result<(), FenceError> {
        self.reported_in(node, incarnation, (self.timeline, drained), published)
    }

    /// A heartbeat says that a start of `node` installed routing info up to `drained` and holds no
    /// admitted write of a session that is revoked in it. `timeline` is that of the routing info it
    /// installed: of another one than the cluster's it has drained nothing. `published` is the
    /// version in force.
    ///
    /// # Errors
    /// When it cannot be true, or is of a former start; nothing changes.
    pub fn reported_in(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        (timeline, drained): (Timeline, RoutingVersion),
        published: RoutingVersion,
    ) -> Result<(), FenceError> {
        let same = timeline == self.timeline;
        let drained = if same { drained } else { RoutingVersion::default() };
        if published < drained {
            return Err(FenceError::Beyond { node, found: drained, published });
        }
        let entry = self.nodes.entry(node).or_default();
        let known = entry.incarnation;
        if incarnation < known {
            return Err(FenceError::FormerStart { node, found: incarnation, known });
        }
        if known < incarnation {
            // What the former start drained says nothing about this one, and the other way round.
            entry.former_until = entry.former_until.max(entry.lease_until);
            entry.lease_until = Instant::ZERO;
            entry.incarnation = incarnation;
            entry.drained = drained;
        }
        entry.drained = entry.drained.max(drained);
        entry.gone = false;
        Ok(())
    }

    /// Whether a start of `node` may be granted leases (E294).
    ///
    /// # Errors
    /// When it has not drained what is fenced, or has not reported.
    pub fn may_lease(&self, node: NodeId, incarnation: Incarnation) -> Result<(), FenceError> {
        let entry = self.nodes.get(&node).filter(|entry| entry.incarnation == incarnation);
        let found = entry.map_or(RoutingVersion::default(), |entry| entry.drained);
        if entry.is_some() && self.required <= found {
            return Ok(());
        }
        let needed = self.required;
        Err(FenceError::NotDrained { node, incarnation, found, needed })
    }

    /// Standbys have granted leases to `node` in the primary's stead; they are over at `until` for
    /// certain. Which starts of it asked is not known: perhaps one before the newest that reported.
    pub fn granted_by_standby(&mut self, node: NodeId, until: Instant) {
        self.granted(node, until);
        let entry = self.nodes.entry(node).or_default();
        entry.former_until = entry.former_until.max(until);
    }

    /// A lease was granted to the newest start of `node`; it is over at `until` for certain.
    pub fn granted(&mut self, node: NodeId, until: Instant) {
        let entry = self.nodes.entry(node).or_default();
        entry.lease_until = entry.lease_until.max(until);
    }

    /// `node` is not registered any more.
    pub fn forget(&mut self, node: NodeId) {
        if let Some(entry) = self.nodes.get_mut(&node) {
            entry.gone = true;
        }
    }

    /// Sessions revoked up to this version have nothing left on any node.
    pub(crate) fn done_to(&mut self, now: Instant) -> RoutingVersion {
        if now < self.quiet_until {
            return RoutingVersion::default();
        }
        self.nodes
            .retain(|_, node| !node.gone || now < node.lease_until || now < node.former_until);
        let done = self.nodes.values().map(|node| {
            if now < node.former_until {
                return RoutingVersion::default();
            }
            if now < node.lease_until { node.drained } else { RoutingVersion::new(u64::MAX) }
        });
        let done = done.min().unwrap_or(RoutingVersion::new(u64::MAX));
        if self.nodes.values().any(|node| node.drained < done) {
            reached!("E294: a session is fenced because a lease ran out");
        }
        done
    }

    /// Leases need this from now on.
    pub(crate) fn require(&mut self, fenced: RoutingVersion) {
        self.required = self.required.max(fenced);
    }

    /// Who keeps sessions that were revoked in `at` from being fenced. After a takeover, nodes that
    /// were not heard yet are not in it although they count.
    pub(super) fn waiting(&self, now: Instant, at: RoutingVersion) -> Vec<Waiting> {
        let quiet = if now < self.quiet_until { self.quiet_until } else { Instant::ZERO };
        self.nodes
            .iter()
            .filter(|(_, entry)| Instant::ZERO < quiet || !entry.is_done(now, at))
            .map(|(&node, entry)| {
                let drained = entry.drained;
                let lease_until = entry.lease_until.max(entry.former_until).max(quiet);
                Waiting { node, drained, needed: at, lease_until }
            })
            .collect()
    }
}
