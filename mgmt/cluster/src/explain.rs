//! Why a chain is as it is, for operators: every chain that is not whole has a reason, and the
//! reason says what it waits for.

use core::time::Duration;

use alloc::vec::Vec;

use engine_types::{
    ChainId, ChainVersion, Instant, Member, NodeId, PublicState, StoreId, TargetId, Timeline,
};

use crate::chain::LocalState;
use crate::cluster::{Chain, Cluster};
use crate::record::{Leaving, UNADOPTED};
use crate::restore::CHAIN_VERSION_MAX;
use crate::words::{leaving, list, public_state, span};

/// One thing that keeps a chain from being whole, or a member from serving.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// All members serve, and their leases are granted.
    #[error("whole: all members serve")]
    Whole,
    /// The operator stopped all chains.
    #[error("stopped with all chains, for a planned shutdown")]
    Stopped,
    /// The committed version waits (R4).
    #[error(
        "{version} waits for the lease of {target}, which runs out in {}, or for its ack",
        span(.left)
    )]
    Lease {
        /// The committed version.
        version: ChainVersion,
        /// Who may hold a lease of an earlier one.
        target: TargetId,
        /// For how long at most.
        left: Duration,
    },
    /// Nobody is demoted yet (L3).
    #[error("nobody is demoted for another {}, as the manager has just taken over", span(.left))]
    Takeover {
        /// For how long.
        left: Duration,
    },
    /// A store knows more of it than the KV (R20).
    #[error("frozen: {target} has installed more than the KV knows; raise the timeline")]
    Frozen {
        /// Whose store.
        target: TargetId,
    },
    /// A change is in flight.
    #[error("a change of it is being committed")]
    InFlight,
    /// Nobody serves, and nobody of the last serving set can (R10).
    #[error("no member of the last serving set ({}) can serve", list(.last))]
    NobodyLeft {
        /// The set.
        last: Vec<TargetId>,
    },
    /// A member does not serve.
    #[error("{target} on {node} is {}: {why}", public_state(*.state))]
    Member {
        /// The member.
        target: TargetId,
        /// Its node.
        node: NodeId,
        /// Its standing.
        state: PublicState,
        /// Why.
        why: Why,
    },
}

/// What is wrong with a member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Its node is silent (L4).
    #[error("its node is dead, last heard {} ago", span(.silent))]
    NodeDead {
        /// For how long it is silent.
        silent: Duration,
    },
    /// Its node is disabled.
    #[error("its node is disabled")]
    NodeDisabled,
    /// Its node lives and has not named it since it started.
    #[error("its node does not report it")]
    NotReported,
    /// Its shard makes no progress (L5b).
    #[error("its shard makes no progress")]
    ShardStuck,
    /// Its node says so.
    #[error("its node reports it offline")]
    ReportedOffline,
    /// Another store is in its place.
    #[error("found store {found}, expected {expected}")]
    OtherStore {
        /// The store that reported.
        found: StoreId,
        /// The registered one.
        expected: StoreId,
    },
    /// Its store lost something (S8).
    #[error("its store is damaged")]
    Damaged,
    /// It has installed more than the KV knows (R20).
    #[error("it has installed {found} of {timeline}, above the KV's: was the KV restored?")]
    Ahead {
        /// What it installed.
        found: ChainVersion,
        /// When.
        timeline: Timeline,
    },
    /// No store can have installed that (E266).
    #[error("it claims to have installed {found}, at most {max} is believed")]
    Incredible {
        /// What it claims.
        found: ChainVersion,
        /// The limit.
        max: ChainVersion,
    },
    /// The operator wants it out.
    #[error("it leaves: {}", leaving(*.0))]
    Leaves(Leaving),
    /// It is being synced.
    #[error("it is being synced")]
    Syncs,
    /// Nobody serves from whom it could be synced.
    #[error("it can be synced when somebody serves")]
    NobodyServes,
    /// One member is synced at a time.
    #[error("it can be synced after {0}")]
    After(TargetId),
    /// As many targets are synced as may be.
    #[error("it waits for a free slot to be synced")]
    NoSlot,
    /// It is about to change.
    #[error("its next state is about to be committed")]
    Soon,
}

impl Cluster {
    /// What keeps `chain` from being whole, most important first; nothing if there is no such
    /// chain.
    pub fn explain(&self, id: ChainId, now: Instant) -> Option<Vec<Reason>> {
        let chain = self.chains.get(&id)?;
        let mut reasons = Vec::new();
        if self.record.stopped {
            reasons.push(Reason::Stopped);
        }
        for holder in chain.withheld.iter().flat_map(|withheld| &withheld.holders) {
            if let Some(until) = self.holds_until(*holder, now) {
                let left = until.saturating_since(now);
                let (version, target) = (chain.record.version, holder.target);
                reasons.push(Reason::Lease { version, target, left });
            }
        }
        if let Some(target) = self.frozen_by(id) {
            reasons.push(Reason::Frozen { target });
        }
        if self.in_flight.as_ref().is_some_and(|flight| flight.chains.contains(&id)) {
            reasons.push(Reason::InFlight);
        }
        let members = &chain.record.members;
        if !members.iter().any(|m| m.state == PublicState::Serving) && !self.record.stopped {
            let last = chain.record.last_serving.iter().map(|last| last.target).collect();
            reasons.push(Reason::NobodyLeft { last });
        }
        for member in members {
            let target = member.target;
            let node = self.targets[&target].record.node;
            let state = member.state;
            if let Some(why) = self.why_not(chain, member, now) {
                reasons.push(Reason::Member { target, node, state, why });
            }
        }
        if !reasons.is_empty() && !self.may_demote(now) {
            let left = self.grace_until.saturating_since(now);
            reasons.insert(0, Reason::Takeover { left });
        }
        if reasons.is_empty() {
            reasons.push(Reason::Whole);
        }
        Some(reasons)
    }

    /// Why a member does not serve, or will stop doing so.
    fn why_not(&self, chain: &Chain, member: &Member, now: Instant) -> Option<Why> {
        if let Some(why) = self.why_absent(chain, member, now) {
            return Some(why);
        }
        let view = self.view(member, now);
        let state = member.state;
        if state == PublicState::Serving {
            let same = view.incarnation == member.incarnation;
            return (!same && view.local.is_some()).then_some(Why::Soon);
        }
        if view.leaving != Leaving::No {
            return Some(Why::Leaves(view.leaving));
        }
        let of = |state| chain.record.members.iter().find(move |m| m.state == state);
        Some(match state {
            PublicState::Syncing => Why::Syncs,
            PublicState::LastServing | PublicState::Offline => Why::Soon,
            _ if of(PublicState::Serving).is_none() => Why::NobodyServes,
            _ => match of(PublicState::Syncing) {
                Some(other) => Why::After(other.target),
                None if !view.may_sync => Why::NoSlot,
                None => Why::Soon,
            },
        })
    }

    /// Why a member counts as offline, or is no source.
    fn why_absent(&self, chain: &Chain, member: &Member, now: Instant) -> Option<Why> {
        let target = &self.targets[&member.target];
        let record = &target.record;
        let node = &self.nodes[&record.node];
        if !node.record.enabled {
            return Some(Why::NodeDisabled);
        }
        if node.dead {
            return Some(Why::NodeDead { silent: now.saturating_since(node.heard) });
        }
        let Some(report) = target.report else { return Some(Why::NotReported) };
        if report.store != record.store {
            let (found, expected) = (report.store, record.store);
            return Some(Why::OtherStore { found, expected });
        }
        if !self.is_credible(record.chain, &report) {
            return Some(Why::Incredible { found: report.version, max: CHAIN_VERSION_MAX });
        }
        if self.is_ahead(record.chain, &report) {
            let (found, timeline) = (report.version, report.timeline);
            return Some(Why::Ahead { found, timeline });
        }
        let shard = node.shards.get(&report.core);
        if shard.is_none_or(|shard| shard.stuck) {
            return Some(Why::ShardStuck);
        }
        if report.local == LocalState::Offline {
            return Some(Why::ReportedOffline);
        }
        let matters = matches!(member.state, PublicState::Serving | PublicState::LastServing)
            || chain.record.serves(member.target, UNADOPTED);
        (report.damaged && matters).then_some(Why::Damaged)
    }

    /// How far the draining of `node` is, or nothing if it is not registered. It may be switched
    /// off without a pause when nothing serves any more.
    pub fn drain_progress(&self, node: NodeId) -> Option<DrainProgress> {
        let node = self.nodes.get(&node)?;
        let mut progress = DrainProgress::default();
        for id in &node.targets {
            let chain = self.chains.get(&self.targets[id].record.chain);
            progress.targets += 1;
            let Some(chain) = chain else { continue };
            let others = || chain.record.serving().any(|m| m.target != *id);
            let departs = chain.withheld.as_ref();
            let departs = departs.is_some_and(|w| w.holders.iter().any(|h| h.target == *id));
            if departs {
                progress.waiting_for_leases += 1;
            } else if chain.record.serving().any(|m| m.target == *id) {
                progress.serving += 1;
                progress.last_servers += usize::from(!others());
            }
        }
        Some(progress)
    }
}

/// How far draining is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainProgress {
    /// Targets of the node.
    pub targets: usize,
    /// Targets that still serve.
    pub serving: usize,
    /// Those of them that nobody else could relieve.
    pub last_servers: usize,
    /// Targets that serve no longer, but may still hold a lease.
    pub waiting_for_leases: usize,
}

#[cfg(test)]
mod tests;
