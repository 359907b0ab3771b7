//! What goes wrong in a world, what operators do, and how it ends.

use std::string::String;
use std::vec::Vec;

use engine_types::{CoreId, NodeId, StoreId, TargetId};

use super::world::{Event, NODES, World};
use crate::command::{Command, NewTarget};

type Outcome = Result<(), String>;

impl World {
    /// One thing goes wrong, or an operator does something.
    pub(super) fn fault(&mut self) -> Outcome {
        if !self.faults {
            return Ok(());
        }
        let next = self.rng.range(100..=2500);
        self.after(next, Event::Fault);
        let host = usize::try_from(self.rng.below(NODES.into())).unwrap();
        let target = self.rng.pick(&self.slots.keys().copied().collect::<Vec<_>>()).copied();
        match self.rng.below(15) {
            0 | 1 => self.kill(host),
            2 | 3 => self.start(host),
            4 | 5 => self.hosts[host].frozen = !self.hosts[host].frozen,
            6 => self.hosts[host].cut = !self.hosts[host].cut,
            7 => self.hosts[host].stuck = !self.hosts[host].stuck,
            8 | 9 => {
                self.cluster = None;
                // What was in flight may be in the KV all the same.
                if let Some(change) = self.change.take().filter(|_| self.rng.chance(500)) {
                    self.write(&change)?;
                }
                self.term += 1;
                let gap = self.rng.below(1500);
                self.after(gap, Event::Takeover);
            }
            10 => {
                // A process restarts quickly.
                self.kill(host);
                self.start(host);
            }
            11 => {
                if let Some(slot) = target.and_then(|target| self.slots.get_mut(&target)) {
                    slot.offline = !slot.offline;
                    // A store that is opened again counts a new start.
                    slot.start += u64::from(!slot.offline);
                    slot.lease = None;
                    slot.sync_done = None;
                }
            }
            _ => self.operate(target),
        }
        Ok(())
    }

    fn kill(&mut self, host: usize) {
        self.hosts[host].up = false;
        self.hosts[host].frozen = false;
    }

    /// A process starts: its stores count, and what it was told is gone except what is durable.
    pub(super) fn start(&mut self, host: usize) {
        let node = &mut self.hosts[host];
        node.frozen = false;
        if node.up {
            return;
        }
        node.up = true;
        node.start += 1;
        node.sequence = 0;
        node.registered = false;
        node.stuck = false;
        let id = u32::try_from(host).unwrap();
        for slot in self.slots.values_mut().filter(|slot| slot.host == id) {
            slot.start += 1;
            slot.lease = None;
            slot.synced = None;
            slot.sync_done = None;
            slot.offline = false;
            slot.said_offline = 0;
            if self.faults && self.rng.chance(100) && 0 < slot.data {
                slot.damaged = true;
                slot.data -= 1;
            }
        }
    }

    fn operate(&mut self, target: Option<TargetId>) {
        let now = self.instant();
        let (Some(cluster), Some(target)) = (&mut self.cluster, target) else { return };
        let slot = &self.slots[&target];
        let chain = slot.chain;
        let node = NodeId::new(u32::try_from(self.rng.range(1..=NODES.into())).unwrap());
        let core = CoreId::new(0);
        let store = StoreId::new(u128::from(self.rng.next_u64()));
        let new = NewTarget { node, core, store, disk: 0 };
        let command = match self.rng.below(14) {
            0 | 1 => Command::DrainNode(node, self.rng.chance(500)),
            2 | 3 => Command::DrainTarget(target, self.rng.chance(600)),
            4 => Command::EnableNode(node, self.rng.chance(500)),
            5 => Command::AddTarget(chain, new),
            6 => Command::RemoveTarget(target),
            7 => Command::Replace(target, new),
            8 | 9 => {
                let members = cluster.routing().chains.get(&chain);
                let mut order: Vec<_> = members
                    .map_or(Vec::new(), |info| info.members.iter().map(|m| m.target).collect());
                self.rng.shuffle(&mut order);
                Command::SetPreferredOrder(chain, order)
            }
            10 => Command::Rotate(chain),
            11 => Command::StopChains(self.rng.chance(300)),
            12 => Command::RaiseTimeline,
            _ => Command::GiveUpTo { target, accept_data_loss: self.rng.chance(100) },
        };
        if self.change.is_some() {
            return;
        }
        if let Ok(accepted) = cluster.command(&command, now) {
            if let Command::GiveUpTo { target, .. } = command {
                self.check.given_up.insert((chain, target));
            }
            self.in_flight(accepted.change);
        }
    }

    /// Somebody mends a damaged store with what it still has, and accepts what it lost.
    pub(super) fn mend(&mut self, id: TargetId) {
        let slot = self.slots.get_mut(&id).expect("a member");
        slot.damaged = false;
        self.check.given_up.insert((slot.chain, id));
    }

    /// All faults end; operators undo what they did, and give up what is lost.
    pub(super) fn calm(&mut self) {
        self.faults = false;
        for host in 0..self.hosts.len() {
            self.hosts[host].cut = false;
            self.hosts[host].stuck = false;
            self.start(host);
        }
        for slot in self.slots.values_mut().filter(|slot| slot.offline) {
            slot.offline = false;
            slot.start += 1;
        }
        if self.cluster.is_none() {
            self.after(1, Event::Takeover);
        }
    }
}
