//! What an operator is shown of nodes, chains and targets. Nothing here changes anything.

use core::ops::Bound;

use core::time::Duration;

use engine_types::{ChainId, Instant, NodeId, NodeState, TargetId};

use super::Cluster;
use crate::chain::LocalState;
use crate::record::{ChainRecord, ClusterRecord, NodeRecord, TargetRecord};

/// A registered node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeView<'a> {
    /// Its id.
    pub id: NodeId,
    /// What the KV holds of it.
    pub record: &'a NodeRecord,
    /// As routing info shows it.
    pub state: NodeState,
    /// When it was last heard of, on the manager's clock; the moment of loading if never since.
    pub heard: Instant,
    /// By how many parts per million its clock runs away, if its heartbeats are refused for that.
    pub clock_away: Option<i64>,
    /// Targets on it.
    pub targets: usize,
    /// Those of them that serve in the committed version of their chain.
    pub serving: usize,
}

/// A registered target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetView<'a> {
    /// What the KV holds of it.
    pub record: &'a TargetRecord,
    /// What its node said about it last; nothing since the node's start or the takeover, or if the
    /// last heartbeat did not name it.
    pub local: Option<LocalState>,
}

impl Cluster {
    /// The cluster's own record, as committed.
    pub const fn cluster_record(&self) -> &ClusterRecord {
        &self.record
    }

    /// For how long nobody is demoted yet (L3).
    pub fn grace_left(&self, now: Instant) -> Duration {
        self.grace_until.saturating_since(now)
    }

    /// All nodes, in the order of ids. Costs a look at every target.
    pub fn nodes(&self) -> impl Iterator<Item = NodeView<'_>> {
        self.nodes_from(Bound::Unbounded)
    }

    /// Nodes behind `after`, in the order of ids. Costs a look at the targets of those that are
    /// taken.
    pub fn nodes_after(&self, after: NodeId) -> impl Iterator<Item = NodeView<'_>> {
        self.nodes_from(Bound::Excluded(after))
    }

    fn nodes_from(&self, from: Bound<NodeId>) -> impl Iterator<Item = NodeView<'_>> {
        self.nodes.range((from, Bound::Unbounded)).map(|(&id, node)| NodeView {
            id,
            record: &node.record,
            state: node.state(),
            heard: node.heard,
            clock_away: node.clock_away,
            targets: node.targets.len(),
            serving: node.targets.iter().filter(|&&target| self.is_serving(target)).count(),
        })
    }

    fn is_serving(&self, id: TargetId) -> bool {
        let chain = self.targets.get(&id).and_then(|target| self.chain(target.record.chain));
        chain.is_some_and(|chain| chain.serving().any(|member| member.target == id))
    }

    /// A chain as committed, which may be a version ahead of the published one (R4).
    pub fn chain(&self, id: ChainId) -> Option<&ChainRecord> {
        self.chains.get(&id).map(|chain| &chain.record)
    }

    /// Chains behind `after`, or all of them, as committed and in the order of ids.
    pub fn chains_after(
        &self,
        after: Option<ChainId>,
    ) -> impl Iterator<Item = (ChainId, &ChainRecord)> {
        // `chains` has no order; every chain is published, as none is withheld when it is new.
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.publisher.info.chains.range((from, Bound::Unbounded)).map(|(&id, _)| id);
        ids.filter_map(|id| Some((id, self.chain(id)?)))
    }

    /// A target, if it exists.
    pub fn target(&self, id: TargetId) -> Option<TargetView<'_>> {
        let target = self.targets.get(&id)?;
        let local = target.report.map(|report| report.local);
        Some(TargetView { record: &target.record, local })
    }
}

#[cfg(test)]
mod tests;
