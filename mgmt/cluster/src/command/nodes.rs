//! Commands on nodes and on the cluster.

use alloc::string::String;

use engine_types::NodeId;

use super::{CommandError, Plan, count};
use crate::cluster::Cluster;
use crate::record::{ClusterRecord, NodeRecord, Record, RecordKey};

/// Tags of a node: a rack, a row, a room and a few words, far below what a record may hold.
pub const NODE_TAGS_MAX: usize = 32;
/// Bytes of a tag's name or value: more is a document, not a tag.
pub const NODE_TAG_BYTES_MAX: usize = 256;

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
        tag: &String,
        value: Option<&String>,
    ) -> Result<Plan, CommandError> {
        count("bytes of a tag", tag.len(), 1, NODE_TAG_BYTES_MAX)?;
        count("bytes of a tag's value", value.map_or(0, String::len), 0, NODE_TAG_BYTES_MAX)?;
        let tags = &self.node(node)?.tags;
        let more = usize::from(value.is_some() && !tags.contains_key(tag));
        count("tags of a node", tags.len() + more, 0, NODE_TAGS_MAX)?;
        self.change_node(node, |record| match value {
            Some(value) => drop(record.tags.insert(tag.clone(), value.clone())),
            None => drop(record.tags.remove(tag)),
        })
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
