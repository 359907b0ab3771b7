//! Chains that return to their preferred order by themselves, one member at a time.
//!
//! Each step takes one member out, which returns through syncing (`chain`). So a chain moves only
//! when there is a slot for the return of its member, and that slot is kept from the decision on:
//! the member begins to sync a heartbeat or two later, and thousands of chains would give up a
//! replica meanwhile.
//!
//! What is kept is memory: a new primary finds the member out and lets it sync as slots are free.

use engine_types::{ChainId, PublicState, reached};

use super::Cluster;
use crate::chain::{LocalState, Moment, View, rotate};
use crate::record::{ChainRecord, Leaving};

impl Cluster {
    /// Chains that are not in their preferred order are looked at again: now they may move.
    pub(super) fn mark_disordered(&mut self) {
        let disordered = |record: &ChainRecord| {
            !record.preferred.is_empty()
                && !record.members.iter().map(|m| m.target).eq(record.preferred.iter().copied())
        };
        let chains = self.chains.iter().filter(|(_, chain)| disordered(&chain.record));
        self.dirty.extend(chains.map(|(&id, _)| id));
    }

    /// The next step of a chain towards its preferred order, if it is wanted and there is a slot
    /// for the member that goes out (E269). Without one the chain is called when there is.
    pub(super) fn restore_order(&mut self, id: ChainId, moment: Moment) -> Option<ChainRecord> {
        if !self.rules.restore_order || !moment.may_demote || moment.stopped {
            return None;
        }
        let next = rotate(&self.chains.get(&id)?.record)?;
        let mover = next.members.last().expect("E262: a chain has members").target;
        let node = self.targets[&mover].record.node;
        if self.slots.is_free(node, &self.rules) {
            self.slots.keep(id, mover, node);
            return Some(next);
        }
        reached!("E269: a chain waits for a slot to restore its order");
        self.slots.wait(node, id);
        None
    }

    /// The slot that is kept for a member that went out is given up when it has begun to sync,
    /// which counts by itself, or when it does not return soon.
    pub(super) fn look_after_mover(&mut self, id: ChainId, views: &[View]) {
        let Some(mover) = self.slots.kept(id) else { return };
        let mut members = self.chains[&id].record.members.iter().zip(views);
        let returns = members.any(|(member, view)| {
            member.target == mover
                && matches!(member.state, PublicState::Offline | PublicState::Waiting)
                && view.local != Some(LocalState::Offline)
                && view.leaving == Leaving::No
        });
        if !returns {
            self.slots.keep_none(id);
        }
    }
}

#[cfg(test)]
mod tests;
