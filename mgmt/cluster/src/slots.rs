//! How many targets are synced at a time, and which chains wait for a slot.
//!
//! Owner: `Cluster`. Counts follow committed records; slots that the change in flight takes count
//! as taken until it is committed or aborted.
//!
//! Invariants
//!   E269  no more than `syncing_max` targets, and `syncing_per_node_max` of one node, begin to
//!         sync; no slot stays free while a target waits for it

use alloc::collections::{BTreeMap, BTreeSet};

use engine_types::{ChainId, NodeId};

use crate::rules::Rules;

/// Slots for syncing.
#[derive(Clone, Debug, Default)]
pub(crate) struct SyncSlots {
    taken: BTreeMap<NodeId, usize>,
    total: usize,
    /// Of the change that is being made or in flight.
    promised: BTreeMap<NodeId, usize>,
    promised_total: usize,
    /// Chains whose next target to sync is on that node and found no slot.
    waiting: BTreeMap<NodeId, BTreeSet<ChainId>>,
}

impl SyncSlots {
    /// True if a target of `node` may begin to sync.
    pub(crate) fn is_free(&self, node: NodeId, rules: &Rules) -> bool {
        let count = |of: &BTreeMap<NodeId, usize>| of.get(&node).copied().unwrap_or(0);
        count(&self.taken) + count(&self.promised) < rules.syncing_per_node_max
            && self.total + self.promised_total < rules.syncing_max
    }

    /// The change being made lets a target of `node` sync.
    pub(crate) fn promise(&mut self, node: NodeId) {
        *self.promised.entry(node).or_default() += 1;
        self.promised_total += 1;
    }

    /// The change in flight is decided; what it did is counted from its records.
    pub(crate) fn forget_promises(&mut self) {
        self.promised.clear();
        self.promised_total = 0;
    }

    /// A committed record lets a target of `node` sync.
    pub(crate) fn take(&mut self, node: NodeId) {
        *self.taken.entry(node).or_default() += 1;
        self.total += 1;
    }

    /// A committed record ends it.
    pub(crate) fn give_back(&mut self, node: NodeId) {
        let count = self.taken.get_mut(&node).expect("E269: a slot is given back once");
        *count -= 1;
        if *count == 0 {
            self.taken.remove(&node);
        }
        self.total -= 1;
    }

    /// `chain` wants to sync a target of `node` and finds no slot.
    pub(crate) fn wait(&mut self, node: NodeId, chain: ChainId) {
        self.waiting.entry(node).or_default().insert(chain);
    }

    /// Chains that may try again, as many as there are free slots, in the order of nodes and ids.
    /// One that makes no use of its slot leaves it to the next call.
    pub(crate) fn wake(&mut self, rules: &Rules) -> BTreeSet<ChainId> {
        let mut woken = BTreeSet::new();
        let mut left = rules.syncing_max.saturating_sub(self.total + self.promised_total);
        for (node, chains) in &mut self.waiting {
            if left == 0 {
                break; // this is asked with every proposal, and hundreds of nodes may wait
            }
            let count = |of: &BTreeMap<NodeId, usize>| of.get(node).copied().unwrap_or(0);
            let taken = count(&self.taken) + count(&self.promised);
            let free = rules.syncing_per_node_max.saturating_sub(taken).min(left);
            for _ in 0..free {
                let Some(chain) = chains.pop_first() else { break };
                woken.insert(chain);
                left -= 1;
            }
        }
        if !woken.is_empty() {
            self.waiting.retain(|_, chains| !chains.is_empty());
        }
        woken
    }
}
