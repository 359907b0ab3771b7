//! How many targets are synced at a time, and which chains wait for a slot.
//!
//! Owner: `Cluster`. Counts follow committed records; slots that the change in flight takes count
//! as taken until it is committed or aborted, and so do those kept for members that were taken out
//! to restore an order and have not begun to sync yet.
//!
//! Invariants
//!   E269  no more than `syncing_max` targets, and `syncing_per_node_max` of one node, begin to
//!         sync; no slot stays free while a target waits for it

use alloc::collections::{BTreeMap, BTreeSet};

use engine_types::{ChainId, NodeId, TargetId};

use crate::rules::Rules;

/// Slots for syncing.
#[derive(Clone, Debug, Default)]
pub(crate) struct SyncSlots {
    taken: BTreeMap<NodeId, usize>,
    total: usize,
    /// Of the change that is being made or in flight.
    promised: BTreeMap<NodeId, usize>,
    promised_total: usize,
    /// For whom slots are kept, and their number on each node.
    kept: BTreeMap<ChainId, (TargetId, NodeId)>,
    kept_on: BTreeMap<NodeId, usize>,
    /// Chains whose next target to sync is on that node and found no slot.
    waiting: BTreeMap<NodeId, BTreeSet<ChainId>>,
}

impl SyncSlots {
    /// True if a target of `node` may begin to sync.
    pub(crate) fn is_free(&self, node: NodeId, rules: &Rules) -> bool {
        self.used_on(node) < rules.syncing_per_node_max && self.used() < rules.syncing_max
    }

    fn used_on(&self, node: NodeId) -> usize {
        let count = |of: &BTreeMap<NodeId, usize>| of.get(&node).copied().unwrap_or(0);
        count(&self.taken) + count(&self.promised) + count(&self.kept_on)
    }

    fn used(&self) -> usize {
        self.total + self.promised_total + self.kept.len()
    }

    /// `target` of `chain`, on `node`, is taken out and will come back.
    pub(crate) fn keep(&mut self, chain: ChainId, target: TargetId, node: NodeId) {
        self.keep_none(chain);
        self.kept.insert(chain, (target, node));
        *self.kept_on.entry(node).or_default() += 1;
    }

    /// No slot is kept for a member of `chain` any more.
    pub(crate) fn keep_none(&mut self, chain: ChainId) {
        let Some((_, node)) = self.kept.remove(&chain) else { return };
        let count = self.kept_on.get_mut(&node).expect("E269: counted when it was kept");
        *count -= 1;
        if *count == 0 {
            self.kept_on.remove(&node);
        }
    }

    /// The member of `chain` that a slot is kept for.
    pub(crate) fn kept(&self, chain: ChainId) -> Option<TargetId> {
        self.kept.get(&chain).map(|(target, _)| *target)
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
        let mut left = rules.syncing_max.saturating_sub(self.used());
        let mut waiting = core::mem::take(&mut self.waiting);
        for (node, chains) in &mut waiting {
            if left == 0 {
                break; // this is asked with every proposal, and hundreds of nodes may wait
            }
            let free = rules.syncing_per_node_max.saturating_sub(self.used_on(*node)).min(left);
            for _ in 0..free {
                let Some(chain) = chains.pop_first() else { break };
                woken.insert(chain);
                left -= 1;
            }
        }
        if !woken.is_empty() {
            waiting.retain(|_, chains| !chains.is_empty());
        }
        self.waiting = waiting;
        woken
    }
}
