//! What clients and predecessors do with data: one number per target.

use std::collections::BTreeSet;
use std::format;
use std::string::String;
use std::vec::Vec;

use engine_types::{PublicState, TargetId};

use super::world::{MS, Slot, World};

type Outcome = Result<(), String>;

impl World {
    /// Clients write and read, and predecessors sync.
    pub(super) fn clients(&mut self) -> Outcome {
        let ids: Vec<TargetId> = self.slots.keys().copied().collect();
        for &id in &ids {
            self.read(id)?;
            self.sync(id);
        }
        for &id in &ids {
            let slot = &self.slots[&id];
            if slot.installed.head() == Some(id) && self.rng.chance(500) {
                self.write_through(id);
            }
        }
        Ok(())
    }

    fn works(&self, slot: &Slot) -> bool {
        let host = &self.hosts[slot.host as usize];
        host.up && !host.frozen && !slot.offline
    }

    fn state_of(&self, id: TargetId) -> Option<PublicState> {
        let members = &self.slots.get(&id)?.installed.members;
        members.iter().find(|m| m.target == id).map(|m| m.state)
    }

    /// No acknowledged write may be missing where reads are answered.
    fn read(&self, id: TargetId) -> Outcome {
        let slot = &self.slots[&id];
        let answers = self.works(slot)
            && self.serves(slot)
            && self.state_of(id) == Some(PublicState::Serving);
        let acked = self.acked.get(&slot.chain).copied().unwrap_or(0);
        if answers && slot.data != acked {
            let (version, data) = (slot.installed.version, slot.data);
            let at = self.now / MS;
            return Err(format!("at {at} ms: {id} in {version} read {data} of {acked} writes"));
        }
        Ok(())
    }

    fn write_through(&mut self, head: TargetId) {
        let info = self.slots[&head].installed.clone();
        let chain = self.slots[&head].chain;
        let mut takes = BTreeSet::new();
        let tail = info.tail().and_then(|tail| self.slots.get(&tail));
        let done = tail.and_then(|tail| tail.sync_done);
        for member in &info.members {
            let Some(slot) = self.slots.get(&member.target) else { return };
            let here = self.works(slot) && slot.installed.version == info.version;
            let synced = slot.synced == Some((info.version, slot.start));
            match member.state {
                PublicState::Serving if here && self.serves(slot) => {
                    takes.insert(member.target);
                }
                PublicState::Serving => return,
                PublicState::Syncing if done == Some((member.target, info.version)) => {
                    if !here || !synced {
                        return;
                    }
                    takes.insert(member.target);
                }
                _ => {}
            }
        }
        let acked = self.acked.entry(chain).or_default();
        *acked += 1;
        let acked = *acked;
        self.check.writes += 1;
        for target in takes {
            self.slots.get_mut(&target).expect("listed").data = acked;
        }
    }

    /// A predecessor that serves brings a syncing member up to date, after a while.
    fn sync(&mut self, id: TargetId) {
        let slot = &self.slots[&id];
        if self.state_of(id) != Some(PublicState::Syncing) || !self.works(slot) {
            return;
        }
        let Some(source) = slot.installed.tail().and_then(|tail| self.slots.get(&tail)) else {
            return;
        };
        let ready = self.works(source)
            && self.serves(source)
            && source.installed.version == slot.installed.version;
        if ready && self.rng.chance(150) {
            let (data, version) = (source.data, source.installed.version);
            let tail = slot.installed.tail().expect("found above");
            let source = self.slots.get_mut(&tail).expect("found above");
            source.sync_done = Some((id, version));
            let slot = self.slots.get_mut(&id).expect("found above");
            slot.data = data;
            slot.damaged = false;
            slot.synced = Some((slot.installed.version, slot.start));
        }
    }
}
