//! Two-step publishing (R4): a version that stops a member from serving is committed first, and is
//! published, which includes granting leases for it, only when that member holds no lease.
//!
//! A committed chain record is *withheld* while a departed member may hold a lease. Meanwhile the
//! version before it stays published, and those who serve in both go on with leases for it; the
//! departed get none from the moment the change was made (not only from its commit: the record
//! tells later readers who may hold a lease, and that must not become untrue in between), and are
//! told the new version at once. It is published when each of them has
//!   - named the new version, or a later one, in a heartbeat or an explicit ack;
//!   - said that it is offline, as the start of the node that was granted the lease: whoever says
//!     so has dropped it, and takes none from answers to heartbeats it sent before;
//!   - come back as a later start of the same store: a store is opened by one process at a time,
//!     so the former one is gone;
//!   - or let its lease run out: granted until "received + D_s * (1 + e)" on the manager's clock.
//!
//! A node that died of silence holds nothing by then (L4), so its demotion is published at once.
//! Additions, promotions and restarts of a chain depart nobody and are published at once.
//!
//! One version of a chain is withheld at a time; all other changes of it wait.
//!
//! Takeover. Let w be the loaded version of a chain, `departed` the list in its record. By E261 and
//! E273 whoever may hold a lease of an earlier version serves in w or is listed. If the list is
//! empty, leases for w are compatible with all that are held, and are granted at once, whether or
//! not the predecessor had published w. If it is not, the predecessor may still have been granting
//! leases for the version before w, which is not known any more: w is shown in the routing info,
//! so that the departed can install and acknowledge it, but nobody is granted a lease of that chain
//! until the departed have done so, or T + D_s * (1 + e). Showing w early does no harm: nothing is
//! served in w without a lease for w. To keep takeovers free of that pause, a later change clears
//! the list once the version is published ("settling", no new version).
//!
//! Routing versions (E271): publishing needs no write, so versions are reserved in the KV in steps,
//! in the same transaction as some change. A new primary starts at the reserved number, which it
//! never publishes itself, and publishes nothing before it has reserved the next step.
//!
//! Revocations of sessions (E293). Their records name the version that will show them, and a node
//! that has drained a version at or above it has let nothing of them through. So that version is
//! kept from the plan on: a publication meanwhile takes a lower number, and would otherwise show a
//! version that says "drained" of a session it does not name.
//!
//! Invariants
//!   E273  a lease for version w of a chain is granted only while every target that may hold a
//!         lease for another version of it serves in w, with the same incarnation
//!   E274  a lease for w is granted to a target that serves in w and in the committed version, with
//!         the incarnation that reported, and that the change in flight does not demote
//!   E275  the published version of a chain never falls

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use engine_types::{
    ChainId, ChainInfo, ChainTable, ChainTableId, ChainVersion, ClusterId, Incarnation, Instant,
    NodeId, NodeInfo, PublicState, RoutingInfo, RoutingVersion, SessionId, TargetId, TargetInfo,
    Timeline, reached,
};

#[cfg(any(test, feature = "planted"))]
use crate::cluster::planted::{self, Planted};
use crate::cluster::{Chain, Cluster, Due};
use crate::delta::{History, Revoked, RoutingKey, revocation_keys};
use crate::record::{ChainRecord, Departed};

/// A chain whose committed version is not granted yet.
#[derive(Clone, Debug)]
pub(crate) struct Withheld {
    /// Who may hold a lease of an earlier version without serving in this one.
    pub(crate) holders: Vec<Departed>,
}

impl Withheld {
    /// Nothing if nobody departed.
    pub(crate) fn of(departed: &[Departed]) -> Option<Self> {
        (!departed.is_empty()).then(|| Self { holders: departed.to_vec() })
    }
}

/// The published routing info, and what is about to be published.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    pub(crate) info: RoutingInfo,
    /// Versions up to this one may be published (E271).
    pub(crate) reserved: RoutingVersion,
    pub(crate) history: History,
    /// False until this primary has published once.
    pub(crate) started: bool,
    touched: BTreeSet<RoutingKey>,
    /// The version that is kept for a planned revocation. Everything else is published below it,
    /// or waits.
    revocation: Option<RoutingVersion>,
}

/// Numbers below the one that is kept for a revocation: what is published while its transaction is
/// in flight takes one each. In the ten seconds that a guarded write may take a manager publishes a
/// few hundred versions, and what finds no number left waits for the end of the transaction.
const REVOCATION_ROOM: u64 = 1024;

impl Publisher {
    /// Publishes nothing until more than `reserved` is reserved.
    pub(crate) fn new(cluster: ClusterId, timeline: Timeline, reserved: RoutingVersion) -> Self {
        let mut info = RoutingInfo::empty(cluster);
        info.version = reserved;
        info.timeline = timeline;
        Self {
            info,
            reserved,
            history: History::starting_at(reserved),
            started: false,
            touched: BTreeSet::new(),
            revocation: None,
        }
    }

    /// True if another version may be published.
    pub(crate) fn is_ready(&self) -> bool {
        self.info.version < self.reserved
    }

    /// Keeps the version that a revocation will be published with.
    fn keep(&mut self) -> Option<RoutingVersion> {
        assert!(self.revocation.is_none(), "E293: one revocation at a time");
        let at = RoutingVersion::new(self.info.version.get().checked_add(REVOCATION_ROOM)?);
        self.revocation = Some(at).filter(|&at| self.started && at < self.reserved);
        self.revocation
    }

    /// Gives up the version that was kept, and says which one that was.
    fn release(&mut self) -> RoutingVersion {
        self.revocation.take().expect("E293: a revocation was planned")
    }

    /// True if fewer than `left` versions are left.
    pub(crate) const fn wants_reservation(&self, left: u64) -> bool {
        self.reserved.get() - self.info.version.get() < left
    }

    pub(crate) fn reserve(&mut self, reserved: RoutingVersion) {
        assert!(self.reserved < reserved, "E271: {reserved} after {}", self.reserved);
        self.reserved = reserved;
    }

    /// What was set since the last version becomes the next one. The first version of a primary
    /// is published even if nothing was set.
    pub(crate) fn publish(&mut self) {
        if !self.is_ready() || (self.started && self.touched.is_empty()) {
            return;
        }
        let version = self.info.version.next().expect("E271: below the reserved version");
        if self.revocation.is_some_and(|at| at <= version) {
            reached!("E293: routing info waits for a revocation");
            return; // it is published with it
        }
        self.publish_as(version);
    }

    /// The next version is `version`, above the present one and not above the reserved one.
    fn publish_as(&mut self, version: RoutingVersion) {
        assert!(self.info.version < version && version <= self.reserved, "E271: {version}");
        self.info.version = version;
        let touched = core::mem::take(&mut self.touched);
        if self.started {
            self.history.push(version, touched.into_iter().collect());
        } else {
            self.history = History::starting_at(version);
            self.started = true;
        }
    }

    pub(crate) fn set_timeline(&mut self, timeline: Timeline) {
        if self.info.timeline != timeline {
            self.info.timeline = timeline;
            self.touched.insert(RoutingKey::Timeline);
        }
    }

    pub(crate) fn set_node(&mut self, id: NodeId, info: Option<NodeInfo>) {
        if self.info.nodes.get(&id) == info.as_ref() {
            return;
        }
        match info {
            Some(info) => drop(self.info.nodes.insert(id, info)),
            None => drop(self.info.nodes.remove(&id)),
        }
        self.touched.insert(RoutingKey::Node(id));
    }

    pub(crate) fn set_target(&mut self, id: TargetId, info: Option<TargetInfo>) {
        if self.info.targets.get(&id) == info.as_ref() {
            return;
        }
        match info {
            Some(info) => drop(self.info.targets.insert(id, info)),
            None => drop(self.info.targets.remove(&id)),
        }
        self.touched.insert(RoutingKey::Target(id));
    }

    pub(crate) fn set_chain(&mut self, id: ChainId, info: ChainInfo) {
        let before = self.info.chains.get(&id).map_or(ChainVersion::new(0), |info| info.version);
        assert!(before < info.version, "E275: {id} from {before} to {}", info.version);
        self.info.chains.insert(id, info);
        self.touched.insert(RoutingKey::Chain(id));
    }

    pub(crate) fn set_table(&mut self, id: ChainTableId, table: ChainTable) {
        if self.info.tables.get(&id) != Some(&table) {
            self.info.tables.insert(id, table);
            self.touched.insert(RoutingKey::Table(id));
        }
    }

    fn set_revoked(&mut self, revoked: Revoked) {
        self.touched.extend(revocation_keys(&self.info, &revoked));
        self.info.revoked_below = revoked.below;
        self.info.revoked = revoked.sessions;
    }
}

impl Cluster {
    /// True from the first publication after `load` on: before that there is nothing to answer.
    pub const fn is_published(&self) -> bool {
        self.publisher.started
    }

    /// The version in which a revocation that is planned now will be published: the one that its
    /// records name (L6, E293). It is kept: nothing is published as it, or above it, before
    /// `publish_revoked`, or `abandon_revocation` if the change was not written. Nothing if too few
    /// versions are reserved: commit what `propose` gives, and ask again.
    ///
    /// # Panics
    /// If one is planned already.
    pub fn plan_revocation(&mut self) -> Option<RoutingVersion> {
        self.publisher.keep()
    }

    /// The planned revocation is not in the KV and never will be.
    ///
    /// # Panics
    /// If none is planned.
    pub fn abandon_revocation(&mut self) {
        self.publisher.release();
        self.publisher.publish();
    }

    /// Publishes the planned revocation, which is committed, in the version that was kept for it:
    /// all sessions that are revoked by now. Whoever has drained that version has seen it.
    ///
    /// # Panics
    /// If none is planned.
    pub fn publish_revoked(&mut self, below: SessionId, sessions: BTreeSet<SessionId>) {
        let at = self.publisher.release();
        self.publisher.set_revoked(Revoked { below, sessions });
        self.publisher.publish_as(at);
    }

    /// Revocations that were committed before `load`: part of the first version that is published.
    ///
    /// # Panics
    /// If something was published: only `publish_revoked` keeps the version that records name.
    pub fn load_revoked(&mut self, below: SessionId, sessions: BTreeSet<SessionId>) {
        assert!(!self.publisher.started, "E293: revocations are published as planned");
        self.publisher.set_revoked(Revoked { below, sessions });
    }

    /// A committed record of a chain: published at once, or withheld.
    pub(crate) fn change_chain(&mut self, id: ChainId, record: ChainRecord, now: Instant) {
        let holders: Vec<Departed> = record.departed.clone();
        let until = holders.iter().filter_map(|d| self.holds_until(*d, now)).max();
        #[cfg(any(test, feature = "planted"))]
        let until = until.filter(|_| self.rules.planted != Some(Planted::PublishAtOnce));
        let same_version = self.chains.get(&id).is_some_and(|c| c.record.version == record.version);
        // Whoever departed by a former version is over; those of this one may not be.
        self.unsettled.remove(&id);
        let withheld = until.map(|until| {
            reached!("R4: a demotion waits for a lease");
            self.due.insert((until, Due::Chain(id)));
            Withheld { holders }
        });
        if withheld.is_none() && !record.departed.is_empty() {
            self.unsettled.insert(id);
        }
        if withheld.is_none() && !same_version {
            self.publisher.set_chain(id, record.info());
        }
        self.chains.insert(id, Chain { record, withheld });
    }

    /// Until when the start that departed may hold its lease, if it may at all.
    pub(crate) fn holds_until(&self, departed: Departed, now: Instant) -> Option<Instant> {
        self.targets.get(&departed.target)?.holds_until(departed.incarnation, now)
    }

    /// Publishes a withheld version if nobody who departed holds a lease any more.
    pub(crate) fn check_withheld(&mut self, id: ChainId, now: Instant) {
        let Some(withheld) = self.chains.get(&id).and_then(|chain| chain.withheld.as_ref()) else {
            return; // it was acknowledged
        };
        let held = withheld.holders.iter().filter_map(|d| self.holds_until(*d, now)).max();
        if let Some(until) = held {
            self.due.insert((until, Due::Chain(id)));
            return;
        }
        let chain = self.chains.get_mut(&id).expect("found above");
        chain.withheld = None;
        if !chain.record.departed.is_empty() {
            self.unsettled.insert(id);
        }
        let info = chain.record.info();
        // After a takeover the version was shown from the beginning.
        if self.publisher.info.chains[&id].version < info.version {
            self.publisher.set_chain(id, info);
        } else {
            reached!("E273: leases of a loaded chain were held back");
        }
        self.dirty.insert(id);
    }

    /// The version of its chain for which `target` may be granted a lease as the start
    /// `incarnation` (E273, E274).
    pub(crate) fn grantable(
        &self,
        target: TargetId,
        chain: &Chain,
        incarnation: Incarnation,
        published: impl FnOnce() -> Option<ChainVersion>,
    ) -> Option<ChainVersion> {
        let in_flight = self.in_flight.as_ref();
        let demoted = in_flight.is_some_and(|flight| flight.demoted.contains(&target));
        #[cfg(any(test, feature = "planted"))]
        let demoted = demoted && self.rules.planted != Some(Planted::RenewInFlight);
        let serves = chain.record.serves(target, incarnation);
        #[cfg(any(test, feature = "planted"))]
        let serves = serves || planted::serves(self.rules.planted, target, chain, incarnation);
        if demoted || !serves {
            return None;
        }
        if chain.withheld.is_none() {
            return Some(chain.record.version);
        }
        published()
    }

    /// The version before a withheld one, if it is the published one and `target` serves in it.
    pub(crate) fn granted_before(
        &self,
        id: ChainId,
        target: TargetId,
        incarnation: Incarnation,
    ) -> Option<ChainVersion> {
        let info = self.publisher.info.chains.get(&id)?;
        let committed = self.chains.get(&id)?.record.version;
        let serves = |m: &engine_types::Member| m.target == target && m.incarnation == incarnation;
        let granted = info.version < committed && info.serving().any(serves);
        granted.then_some(info.version)
    }

    /// What the node of `target` is to install: the published version, or the committed one if it
    /// stops `target` from serving, so that it can acknowledge that.
    pub(crate) fn told(&self, id: ChainId, target: TargetId) -> Option<ChainInfo> {
        let chain = self.chains.get(&id)?;
        let departed = chain.withheld.as_ref().is_some_and(|withheld| {
            let serves =
                chain.record.member(target).is_some_and(|m| m.state == PublicState::Serving);
            !serves && withheld.holders.iter().any(|holder| holder.target == target)
        });
        if departed {
            return Some(chain.record.info());
        }
        self.publisher.info.chains.get(&id).cloned()
    }
}

#[cfg(test)]
mod tests;
