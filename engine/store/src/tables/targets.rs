//! The targets of a store by slot.
//!
//! Invariants
//!   E190  at run time a target is in one slot, keeps its chain, and neither its chain version
//!         (R20) nor its incarnation (R5) goes down while it is there

use alloc::vec::Vec;

use engine_types::TargetId;

use super::TableError;
use crate::address::Slot;
use crate::request::{TargetPhase, TargetRecord};

#[cfg(test)]
mod tests;

/// Slots of a store. A disk holds 6 to 24 targets (S20); 4,096 leaves room for chains of a cluster
/// a hundred times as fine, and the table stays under 200 KiB.
pub const SLOTS_MAX: u16 = 4096;

/// Targets by slot; see the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    slots: Vec<Option<TargetRecord>>,
}

impl Targets {
    /// No targets.
    pub fn new() -> Self {
        Self::default()
    }

    /// The target of a slot.
    pub fn get(&self, slot: Slot) -> Option<&TargetRecord> {
        self.slots.get(usize::from(slot.get()))?.as_ref()
    }

    /// The slot of a target.
    pub fn find(&self, target: TargetId) -> Option<Slot> {
        self.iter().find(|(_, record)| record.target == target).map(|(slot, _)| slot)
    }

    /// The first slot without a target.
    pub fn vacant(&self) -> Option<Slot> {
        (0..SLOTS_MAX).map(Slot::new).find(|&slot| self.get(slot).is_none())
    }

    /// Every target, slots ascending.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, TargetRecord)> {
        let slots = (0..=u16::MAX).map(Slot::new).zip(&self.slots);
        slots.filter_map(|(slot, record)| Some((slot, (*record)?)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a target into a slot, changes it, or empties the slot.
    ///
    /// # Errors
    /// When that breaks E190 or brings back a target that is being dropped; nothing has changed.
    pub fn set(&mut self, slot: Slot, record: Option<TargetRecord>) -> Result<(), TableError> {
        if SLOTS_MAX <= slot.get() {
            return Err(TableError::NoSuchSlot { slot, max: SLOTS_MAX });
        }
        if let Some(new) = &record {
            self.check(slot, new)?;
        }
        self.replay(slot, record);
        Ok(())
    }

    /// The same as a checkpoint or the journal says it.
    pub fn replay(&mut self, slot: Slot, record: Option<TargetRecord>) {
        let index = usize::from(slot.get());
        if self.slots.len() <= index {
            self.slots.resize(index + 1, None);
        }
        self.slots[index] = record;
    }

    fn check(&self, slot: Slot, new: &TargetRecord) -> Result<(), TableError> {
        let target = new.target;
        let Some(old) = self.get(slot) else {
            let elsewhere = |held| TableError::HeldElsewhere { target, found: slot, held };
            return self.find(target).map_or(Ok(()), |held| Err(elsewhere(held)));
        };
        if old.target != target {
            return Err(TableError::SlotTaken { slot, found: target, held: old.target });
        }
        if old.chain != new.chain {
            return Err(TableError::OtherChain { target, found: new.chain, held: old.chain });
        }
        let (found, installed) = (new.chain_version, old.chain_version);
        if found < installed {
            return Err(TableError::StaleChain { target, found, installed });
        }
        let (found, current) = (new.incarnation, old.incarnation);
        if found < current {
            return Err(TableError::StaleIncarnation { target, found, current });
        }
        if old.phase == TargetPhase::Dropping && new.phase == TargetPhase::Active {
            return Err(TableError::Dropping { target });
        }
        Ok(())
    }
}
