//! What a committed record means for the state in memory: loading and `committed` both go through
//! here.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use engine_types::{
    ChainId, ChainTable, ChainTableId, ChainTableVersion, ChainVersion, Instant, NodeId,
    PublicState, TargetId, Timeline,
};

use super::{Chain, Cluster, Due, LoadError};
use crate::chain;
use crate::publish::Withheld;
use crate::record::{
    ChainRecord, ClusterRecord, NodeRecord, Record, RecordKey, TABLE_PART_CHAINS, TargetRecord,
};
use crate::registry::{Node, Target};

impl Cluster {
    /// One record of the KV, in the order of keys.
    pub(super) fn load_one(
        &mut self,
        key: RecordKey,
        record: Record,
        now: Instant,
    ) -> Result<(), LoadError> {
        match (key, record) {
            (RecordKey::Node(id), Record::Node(record)) => self.apply_node(id, record, now),
            (RecordKey::Target(id), Record::Target(record)) => {
                if !self.nodes.contains_key(&record.node) {
                    let key = RecordKey::Node(record.node);
                    return Err(LoadError::Missing { key });
                }
                self.apply_target(id, record);
            }
            (RecordKey::Chain(id), Record::Chain(record)) => {
                for member in &record.members {
                    let key = RecordKey::Target(member.target);
                    if !self.targets.contains_key(&member.target) {
                        return Err(LoadError::Missing { key });
                    }
                }
                let first = ChainVersion::new(1);
                let why = match chain::fault(&record) {
                    None if record.version < first => Some("its version is 0"),
                    fault => fault,
                };
                if let Some(why) = why {
                    return Err(LoadError::Chain { chain: id, why });
                }
                self.load_chain(id, record);
            }
            (RecordKey::Table(table, version, part), Record::Table(record)) => {
                let chains = self.tables.entry((table, version)).or_default();
                let before = chains.len();
                if usize::try_from(part).ok().and_then(|p| p.checked_mul(TABLE_PART_CHAINS))
                    != Some(before)
                {
                    return Err(LoadError::TablePart { table, version, part, before });
                }
                chains.extend(record.chains);
                self.publish_table(table);
            }
            (key, _) => return Err(LoadError::OtherKind { key }),
        }
        Ok(())
    }

    /// A chain as the predecessor left it. Everybody who may hold a lease of it counts as a holder
    /// until the grace is over. While departed members are among them no version is granted: the
    /// one before, which the predecessor may have gone on granting, is not known here.
    fn load_chain(&mut self, id: ChainId, record: ChainRecord) {
        let serving = record.serving().map(|m| (m.target, m.incarnation));
        let departed = record.departed.iter().map(|d| (d.target, d.incarnation));
        for (target, incarnation) in serving.chain(departed) {
            if let Some(target) = self.targets.get_mut(&target) {
                target.extend_hold(incarnation, None, self.grace_until);
            }
        }
        let withheld = Withheld::of(&record.departed);
        if withheld.is_some() {
            self.due.insert((self.grace_until, Due::Chain(id)));
        }
        self.count_syncing(&record, true);
        self.publisher.set_chain(id, record.info());
        // Nothing is known of its members yet: reports, deaths and acks make it dirty.
        self.chains.insert(id, Chain { record, withheld });
    }

    /// Writes of a committed change: what is put in the order of keys, so that a chain finds its
    /// targets, then what is removed in the opposite order.
    pub(super) fn apply_all(&mut self, mut writes: Vec<(RecordKey, Option<Record>)>, now: Instant) {
        writes.sort_by_key(|(key, _)| *key);
        let mut removals = Vec::new();
        for (key, record) in writes {
            match record {
                None => removals.push(key),
                Some(record) => self.apply(key, record, now),
            }
        }
        for key in removals.into_iter().rev() {
            self.remove(key);
        }
    }

    fn apply(&mut self, key: RecordKey, record: Record, now: Instant) {
        match (key, record) {
            (RecordKey::Cluster, Record::Cluster(record)) => self.apply_cluster(record),
            (RecordKey::Routing, Record::Routing(record)) => {
                self.publisher.reserve(record.reserved);
            }
            (RecordKey::Node(id), Record::Node(record)) => self.apply_node(id, record, now),
            (RecordKey::Target(id), Record::Target(record)) => self.apply_target(id, record),
            (RecordKey::Chain(id), Record::Chain(record)) => self.apply_chain(id, record, now),
            (RecordKey::Table(id, version, _), Record::Table(record)) => {
                // Parts come in the order of their keys, all in one change.
                self.tables.entry((id, version)).or_default().extend(record.chains);
                self.publish_table(id);
            }
            (key, record) => panic!("E270: {key:?} with {record:?} was never staged"),
        }
    }

    fn remove(&mut self, key: RecordKey) {
        match key {
            RecordKey::Node(id) => {
                self.nodes.remove(&id);
                self.publisher.set_node(id, None);
            }
            RecordKey::Target(id) => {
                if let Some(target) = self.targets.remove(&id) {
                    let node = self.nodes.get_mut(&target.record.node);
                    node.map(|node| node.targets.remove(&id));
                }
                self.publisher.set_target(id, None);
            }
            key => panic!("E270: the removal of {key:?} was never staged"),
        }
    }

    fn apply_cluster(&mut self, record: ClusterRecord) {
        let all = record.stopped != self.record.stopped || record.timeline != self.record.timeline;
        if all {
            self.dirty.extend(self.publisher.info.chains.keys());
        }
        self.publisher.set_timeline(record.timeline);
        self.record = record;
    }

    fn apply_node(&mut self, id: NodeId, record: NodeRecord, now: Instant) {
        match self.nodes.get_mut(&id) {
            None => {
                self.nodes.insert(id, Node::new(record, now, &self.rules.times));
                self.look_again(id, now);
            }
            Some(node) => {
                let restarted = node.record.incarnation != record.incarnation;
                node.record = record;
                if restarted {
                    let was_dead = core::mem::take(&mut node.dead);
                    node.restart(now, &self.rules.times);
                    // The process that reported is gone; so is what it said.
                    let targets: BTreeSet<TargetId> = node.targets.clone();
                    for target in targets {
                        let target = self.targets.get_mut(&target).expect("E272: indexed");
                        target.report = None;
                        target.named_in = None;
                    }
                    if was_dead {
                        self.look_again(id, now);
                    }
                }
                self.mark_node_dirty(id);
            }
        }
        let info = self.nodes[&id].info();
        self.publisher.set_node(id, Some(info));
    }

    fn apply_target(&mut self, id: TargetId, record: TargetRecord) {
        let node = self.nodes.get_mut(&record.node).expect("E272: a target's node exists");
        node.targets.insert(id);
        self.dirty.insert(record.chain);
        match self.targets.get_mut(&id) {
            Some(target) => target.record = record,
            None => drop(self.targets.insert(id, Target::new(record))),
        }
        let info = self.targets[&id].info();
        self.publisher.set_target(id, Some(info));
    }

    fn apply_chain(&mut self, id: ChainId, record: ChainRecord, now: Instant) {
        if let Some(old) = self.chains.get(&id) {
            let old = old.record.clone();
            self.count_syncing(&old, false);
        }
        self.count_syncing(&record, true);
        self.dirty.insert(id);
        self.change_chain(id, record, now);
    }

    /// Keeps the count of syncing targets (E269).
    fn count_syncing(&mut self, record: &ChainRecord, begins: bool) {
        for member in record.members.iter().filter(|m| m.state == PublicState::Syncing) {
            let node = self.targets[&member.target].record.node;
            if begins {
                self.slots.take(node);
            } else {
                self.slots.give_back(node);
            }
        }
    }

    /// The newest version of a table is the published one.
    fn publish_table(&mut self, id: ChainTableId) {
        let first = ChainTableVersion::new(0);
        let last = ChainTableVersion::new(u32::MAX);
        let newest = self.tables.range((id, first)..=(id, last)).next_back();
        if let Some((&(_, version), chains)) = newest {
            let table = ChainTable { version, chains: chains.clone() };
            self.publisher.set_table(id, table);
        }
    }

    /// The timeline of the cluster.
    pub const fn timeline(&self) -> Timeline {
        self.record.timeline
    }
}
