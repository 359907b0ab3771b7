//! Heartbeats: what a node says about itself, and the leases it gets for it.
//!
//! A node sends one every second, from a thread of its own, and another one at once when it has
//! installed a chain version, so that its lease for that version is not a second away (a lease
//! names one version). Costs are proportional to the targets of the node.
//!
//! Timing (L1, L4). The node sends at `s` on its clock, the manager receives at `r` on its own; the
//! lease in the answer is used while the node's clock is below `s + D_s`. Sending is before
//! receiving, and while the manager's clock advances by `D_s * (1 + e)` the node's advances by
//! `D_s` at least. So at `r + D_s * (1 + e)` the lease has run out, whenever the answer arrives and
//! however often it is delayed. A node that was not heard for that long holds nothing.
//!
//! What a node owes for this to be sound:
//!   - it uses a lease only for the target, start and installed chain version that it names, and
//!     installs no version below one it has installed;
//!   - whoever said that a target is offline has dropped its lease, and takes none from answers to
//!     heartbeats it sent before; that says nothing of leases of another start of its node, which
//!     may have the store open still;
//!   - a target says that it is up to date only while it serves, or when it was told that its sync
//!     is done in the version and as the start that the same report names (R11); whoever serves no
//!     longer in the version it has installed goes back to online;
//!   - a store counts its starts durably, from 1, and is opened by one process at a time (R5);
//!   - what it says it has drained is a version of the routing info it has installed since its
//!     start, and it holds no admitted write of a session that is revoked in it (E294);
//!   - a store that installs a version keeps it with the timeline of the answer (R20).
//!
//! A clock that was found to run away is refused until the node starts anew: a clock that jumped
//! looks honest again a window later, and may jump again.
//!
//! Invariants
//!   E276  a heartbeat is taken in once, in the order of sending, and only from the registered
//!         start of a node that is enabled
//!   E277  a target counts as holding a lease from before its answer leaves until that has run out
//!         on the manager's clock, also for fencing

mod message;

use core::time::Duration;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use engine_types::{
    ChainVersion, CoreId, Incarnation, Instant, Member, NodeId, NodeRole, PublicState, TargetId,
    reached,
};

use crate::chain::{LocalState, View};
use crate::cluster::Cluster;
use crate::lease::own_clock_is_suspect;
use crate::record::{Leaving, UNADOPTED};
use crate::registry::{Node, Progress, Report};
use crate::session::{FenceError, Fences};
pub use message::{
    Heartbeat, HeartbeatAnswer, HeartbeatError, Lease, Move, ShardReport, TargetReport,
};

impl Cluster {
    /// Takes a heartbeat in, and says what the node may and has to do. What follows from it for
    /// chains comes from `propose`. `fences` learn what the node has drained, refuse leases, and
    /// know of those that are granted before the answer leaves (E294).
    ///
    /// # Errors
    /// A heartbeat that counts for nothing.
    pub fn heartbeat(
        &mut self,
        beat: &Heartbeat,
        fences: &mut Fences,
        now: Instant,
    ) -> Result<HeartbeatAnswer, HeartbeatError> {
        self.attend(now);
        self.admit(beat, now)?;
        self.hear(beat.node, now);
        let mut unknown = Vec::new();
        for report in &beat.targets {
            if self.is_of(report.target, beat.node) {
                self.take_report(report, beat.sequence, now);
            } else {
                unknown.push(report.target);
            }
        }
        self.miss_reports(beat);
        let fenced = self.fence(beat, fences).err();
        self.publisher.publish();
        let mut answer = HeartbeatAnswer {
            sequence: beat.sequence,
            sent: beat.sent,
            lease: self.lease,
            routing: self.publisher.info.version,
            timeline: self.record.timeline,
            leases: Vec::new(),
            moves: Vec::new(),
            unknown,
            fenced,
        };
        for report in &beat.targets {
            if self.is_of(report.target, beat.node) {
                self.answer_target(report, now, &mut answer);
            }
        }
        if !answer.leases.is_empty() {
            fences.granted(beat.node, self.lease_until(now));
        }
        Ok(answer)
    }

    /// Why a storage node gets no lease, if it has not drained what is fenced (E294).
    fn fence(&self, beat: &Heartbeat, fences: &mut Fences) -> Result<(), FenceError> {
        if self.nodes[&beat.node].record.role != NodeRole::Storage {
            return Ok(());
        }
        let published = self.publisher.info.version;
        let drained = (beat.timeline, beat.drained);
        fences.reported_in(beat.node, beat.incarnation, drained, published)?;
        fences.may_lease(beat.node, beat.incarnation)
    }

    /// A target says by other means than a heartbeat that it has installed `version`: its node got
    /// that version pushed, and does not want the chain to wait for its next heartbeat (R4).
    pub fn acknowledge(
        &mut self,
        target: TargetId,
        incarnation: Incarnation,
        version: ChainVersion,
        now: Instant,
    ) {
        if self.publisher.is_ready() {
            self.release_hold(target, incarnation, version, now);
            self.publisher.publish();
        }
    }

    /// A standby has renewed the leases of `node` in the primary's stead (L5), as its changed grant
    /// record shows: that counts like a heartbeat received now.
    ///
    /// `until` is when those leases are over at the latest: what `Holder::storage_leases` says of
    /// the moment `now` at which the changed record was known. A standby grants what the stored
    /// lease record lets it, which may be more than this primary's `D_s`: the setting was lowered
    /// within the term and the record that says so is not stored yet, or a predecessor's record
    /// with other settings was in force until this primary's took its place. `now + wait()` would
    /// end before such a lease does.
    pub fn standby_granted(
        &mut self,
        node: NodeId,
        until: Instant,
        fences: &mut Fences,
        now: Instant,
    ) {
        fences.granted_by_standby(node, until);
        let Some(known) = self.nodes.get(&node) else { return fences.forget(node) };
        for id in known.targets.clone() {
            let target = self.targets.get_mut(&id).expect("E272: indexed");
            let chain = self.chains.get(&target.record.chain);
            let member = chain.and_then(|chain| chain.record.member(id));
            if let Some(member) = member.filter(|m| m.state == PublicState::Serving) {
                target.extend_hold(member.incarnation, None, until);
            }
        }
        if self.publisher.is_ready() {
            self.hear(node, now);
            self.publisher.publish();
        }
    }

    /// Refuses what must not count (E276).
    fn admit(&mut self, beat: &Heartbeat, now: Instant) -> Result<(), HeartbeatError> {
        if !self.publisher.is_ready() || !self.publisher.started {
            return Err(HeartbeatError::NotReady);
        }
        let id = beat.node;
        let node = self.nodes.get_mut(&id).ok_or(HeartbeatError::Unknown { node: id })?;
        if !node.record.enabled {
            return Err(HeartbeatError::Disabled { node: id });
        }
        let (found, expected) = (beat.incarnation, node.record.incarnation);
        if found != expected {
            return Err(HeartbeatError::OtherStart { node: id, found, expected });
        }
        if let Some(last) = node.sequence.filter(|&last| beat.sequence <= last) {
            return Err(HeartbeatError::Stale { node: id, found: beat.sequence, last });
        }
        node.observe_clock(beat.sent, now);
        if let Some(ppm) = node.clock_away
            && !self.own_clock_is_suspect()
        {
            reached!("L4: the clock of a node ran away");
            let bound = self.rules.times.drift_ppm();
            return Err(HeartbeatError::ClockAway { node: id, ppm, bound });
        }
        let node = self.nodes.get_mut(&id).expect("found above");
        node.sequence = Some(beat.sequence);
        observe_shards(node, beat, self.rules.times.storage());
        Ok(())
    }

    /// True while most clocks seem to run away: then it is this manager's that does (E290). None is
    /// refused for it meanwhile, and the manager has to step down.
    pub fn own_clock_is_suspect(&self) -> bool {
        let judged = self.nodes.values().filter(|node| node.clock_is_judged()).count();
        let bad = self.nodes.values().filter(|node| node.clock_away.is_some()).count();
        own_clock_is_suspect(bad, judged)
    }

    /// The node lives at `now`.
    fn hear(&mut self, id: NodeId, now: Instant) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.heard = node.heard.max(now);
        if core::mem::take(&mut node.dead) {
            reached!("L4: a dead node was heard again");
            let info = node.info();
            self.look_again(id, now);
            self.publisher.set_node(id, Some(info));
            self.mark_node_dirty(id);
        }
    }

    fn is_of(&self, target: TargetId, node: NodeId) -> bool {
        self.targets.get(&target).is_some_and(|target| target.record.node == node)
    }

    /// Keeps a report, and looks at the chain again if it says something new.
    fn take_report(&mut self, said: &TargetReport, sequence: u64, now: Instant) {
        let target = self.targets.get_mut(&said.target).expect("checked by the caller");
        target.named_in = Some(sequence);
        let chain = target.record.chain;
        let node = &self.nodes[&target.record.node];
        let shard = node.shards.get(&said.core);
        let works = shard.is_some_and(|shard| !shard.stuck);
        let outlived = target
            .report
            .is_some_and(|last| last.store == said.store && said.incarnation < last.incarnation);
        let believed = works && !outlived && said.incarnation != UNADOPTED;
        let report = Report {
            local: if believed { said.local } else { LocalState::Offline },
            incarnation: said.incarnation,
            version: said.version,
            timeline: said.timeline,
            damaged: said.damaged,
            store: said.store,
            core: said.core,
        };
        if target.report.replace(report) != Some(report) {
            self.dirty.insert(chain);
            self.publisher.set_target(said.target, Some(target.info()));
        }
        let same_store = said.store == target.record.store;
        let says_offline = said.local == LocalState::Offline;
        let released = target.hold.is_some_and(|hold| {
            let newer = same_store && hold.incarnation < said.incarnation;
            // Another start that cannot open the store says nothing of the one that uses it.
            let own = hold.node_start == Some(node.record.incarnation);
            let dropped = says_offline && own && hold.foreign_until <= now;
            newer || (dropped && !outlived)
        });
        if released {
            target.hold = None;
            if self.chains.get(&chain).is_some_and(|chain| chain.withheld.is_some()) {
                self.check_withheld(chain, now);
            }
        }
        // An acknowledgement is of whoever has the store open, in this timeline.
        if same_store && !says_offline && said.timeline == self.record.timeline {
            self.release_hold(said.target, said.incarnation, said.version, now);
        }
    }

    /// Whoever has installed the committed version, or a later one, uses no lease for an earlier
    /// one. Only the departed are asked for that: the others go on with what they hold.
    fn release_hold(
        &mut self,
        id: TargetId,
        incarnation: Incarnation,
        version: ChainVersion,
        now: Instant,
    ) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        let chain_id = target.record.chain;
        let Some(chain) = self.chains.get(&chain_id) else { return };
        let Some(withheld) = &chain.withheld else { return };
        let departed =
            withheld.holders.iter().any(|d| d.target == id && d.incarnation <= incarnation);
        if departed && chain.record.version <= version {
            reached!("R4: a departed member acknowledged the version");
            target.hold = None;
            self.check_withheld(chain_id, now);
        }
    }

    /// Targets of the node that the heartbeat does not name.
    fn miss_reports(&mut self, beat: &Heartbeat) {
        let node = &self.nodes[&beat.node];
        for id in &node.targets {
            let target = self.targets.get_mut(id).expect("E272: indexed");
            if target.named_in != Some(beat.sequence) && target.report.take().is_some() {
                self.dirty.insert(target.record.chain);
            }
        }
    }

    /// The lease of a target, and the version it should move to.
    fn answer_target(&mut self, said: &TargetReport, now: Instant, answer: &mut HeartbeatAnswer) {
        let id = said.target;
        let target = &self.targets[&id];
        let chain_id = target.record.chain;
        let start = self.nodes[&target.record.node].record.incarnation;
        let Some(chain) = self.chains.get(&chain_id) else { return };
        let usable = self.credible_report(target).is_some_and(|report| {
            report.local != LocalState::Offline
                && !report.damaged
                && self.frozen_by(chain_id).is_none()
        });
        let before = || self.granted_before(chain_id, id, said.incarnation);
        let version = self
            .grantable(id, chain, said.incarnation, before)
            .filter(|_| usable && answer.fenced.is_none());
        if version.is_none_or(|version| said.version < version)
            && let Some(info) = self.told(chain_id, id)
            && said.version < info.version
        {
            answer.moves.push(Move { target: id, chain: chain_id, info });
        }
        if let Some(version) = version {
            let until = self.lease_until(now);
            #[cfg(any(test, feature = "planted"))]
            let until = crate::cluster::planted::until(self, chain_id, said, until);
            let target = self.targets.get_mut(&id).expect("found above");
            target.extend_hold(said.incarnation, Some(start), until); // E277
            let (incarnation, chain) = (said.incarnation, chain_id);
            answer.leases.push(Lease { target: id, incarnation, chain, version });
        }
    }

    /// What is known of a member.
    pub(crate) fn view(&self, member: &Member, now: Instant) -> View {
        let target = &self.targets[&member.target];
        let record = &target.record;
        let node = &self.nodes[&record.node];
        let report = target.report.as_ref();
        let credible = self.credible_report(target);
        let lives = node.record.enabled && !node.dead;
        let usable = credible.filter(|report| lives && !self.is_ahead(record.chain, report));
        let fresh = member.incarnation == UNADOPTED && report.is_none() && lives;
        let silent = usable.is_none_or(|report| report.local == LocalState::Offline);
        let unknown = fresh || (silent && !self.may_demote(now));
        let local = usable.map_or(LocalState::Offline, |report| report.local);
        let leaving = match record.leaving {
            Leaving::No if node.record.draining => Leaving::Drained,
            leaving => leaving,
        };
        let view = View {
            local: if unknown { None } else { Some(local) },
            incarnation: report.map_or(member.incarnation, |report| report.incarnation),
            version: report.map_or(ChainVersion::new(0), |report| report.version),
            outdated: credible.is_some_and(|report| report.timeline < self.record.timeline),
            damaged: report.is_some_and(|report| report.damaged),
            store: record.store,
            leaving,
            may_sync: self.slots.kept(record.chain) == Some(member.target)
                || self.slots.is_free(record.node, &self.rules),
        };
        #[cfg(any(test, feature = "planted"))]
        let view = crate::cluster::planted::view(self, member, view);
        view
    }
}

/// A shard whose counter stands still for `D_s` is stuck until it moves (L5b).
fn observe_shards(node: &mut Node, beat: &Heartbeat, lease: Duration) {
    for shard in &beat.shards {
        let fresh = Progress { counter: shard.progress, since: beat.sent, stuck: false };
        let known = node.shards.entry(shard.core).or_insert(fresh);
        if known.counter == shard.progress {
            known.stuck = lease <= beat.sent.saturating_since(known.since);
        } else {
            *known = fresh;
        }
    }
    let named: BTreeSet<CoreId> = beat.shards.iter().map(|shard| shard.core).collect();
    node.shards.retain(|core, _| named.contains(core));
}

#[cfg(test)]
mod tests;
