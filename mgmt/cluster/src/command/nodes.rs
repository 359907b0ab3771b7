//! Commands on nodes and on the cluster.

use alloc::string::String;

use engine_types::NodeId;

use super::{CommandError, Plan};
use crate::cluster::Cluster;
use crate::record::{ClusterRecord, NodeRecord, Record, RecordKey};
use crate::tags;

impl Cluster {
    pub(super) fn node(&self, node: NodeId) -> Result<&NodeRecord, CommandError> {
        let known = self.nodes.get(&node).ok_or(CommandError::NoNode { node })?;
        Ok(&known.record)
    }

    /// A node's record with a change; nothing to write if it changes nothing.
    pub(super) fn change_node(
        &self,
        node: NodeId,
        change: impl FnOnce(&mut NodeRecord),
    ) -> Result<Plan, CommandError> {
        let former = self.node(node)?;
        let mut record = former.clone();
        change(&mut record);
        let same = record == *former;
        Ok(if same {
            Plan::default()
        } else {
            Plan::of(RecordKey::Node(node), Record::Node(record))
        })
    }

    pub(super) fn tag_node(
        &self,
        node: NodeId,
        tag: &str,
        value: Option<&String>,
    ) -> Result<Plan, CommandError> {
        let mut tags = self.node(node)?.tags.clone();
        tags::change(&mut tags, tag, value.map(String::as_str))?;
        self.change_node(node, |record| record.tags = tags)
    }

    /// A node whose targets have all left.
    pub(super) fn unregister_node(&self, node: NodeId) -> Result<Plan, CommandError> {
        let known = self.nodes.get(&node).ok_or(CommandError::NoNode { node })?;
        if let Some(&target) = known.targets.first() {
            let count = known.targets.len();
            return Err(CommandError::HasTargets { node, count, target });
        }
        let mut plan = Plan::default();
        plan.writes.push((RecordKey::Node(node), None));
        Ok(plan)
    }

    /// The cluster's record with a change; nothing to write if it changes nothing.
    pub(super) fn change_cluster(
        &self,
        change: impl FnOnce(&mut ClusterRecord) -> Result<(), CommandError>,
    ) -> Result<Plan, CommandError> {
        let mut record = self.record.clone();
        change(&mut record)?;
        let same = record == self.record;
        Ok(if same {
            Plan::default()
        } else {
            Plan::of(RecordKey::Cluster, Record::Cluster(record))
        })
    }
}
