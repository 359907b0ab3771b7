//! What goes wrong in a world, what operators do, and how it ends.

use std::string::String;
use std::vec::Vec;

use engine_types::{CoreId, Instant, NodeId, StoreId, TargetId};

use super::world::{Event, MS, NODES, World};
use crate::command::{Command, NewTarget};
use crate::lease::LeaseTimes;

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
        match self.rng.below(18) {
            0 | 1 => self.kill(host),
            2 | 3 => self.start(host),
            4 | 5 => self.hosts[host].frozen = !self.hosts[host].frozen,
            6 => self.hosts[host].cut = !self.hosts[host].cut,
            7 => self.hosts[host].stuck = !self.hosts[host].stuck,
            8 | 9 => {
                self.cluster = None;
                self.holder = None;
                self.paused = 0;
                // What was in flight may be in the KV all the same.
                let pending = self.change.take().filter(|_| self.rng.chance(500));
                if let Some((change, _)) = pending.filter(|p| self.moved(&p.1).is_empty()) {
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
            12 => self.paused = self.now + self.rng.range(100..=4000) * MS,
            13 | 14 => self.overlap(host),
            _ => self.operate(target),
        }
        Ok(())
    }

    /// A process starts while the former one still runs and has the stores open.
    fn overlap(&mut self, host: usize) {
        let node = &mut self.hosts[host];
        if !node.up || node.former.is_some() {
            return;
        }
        let start = node.start;
        node.former = Some((start, node.sequence));
        node.start += 1;
        node.sequence = 0;
        node.registered = false;
        let host = u32::try_from(host).unwrap();
        let beat = self.rng.below(1000);
        self.after(beat, Event::FormerBeat { host, start });
        let ends = self.rng.range(100..=6000);
        self.after(ends, Event::FormerDies { host, start });
    }

    pub(super) fn former_beat(&mut self, host: u32, start: u64) {
        let Some((former, sequence)) = &mut self.hosts[host as usize].former else { return };
        if *former == start {
            *sequence += 1;
            let sequence = *sequence;
            self.send_beat(host, start, sequence);
            self.after(1000, Event::FormerBeat { host, start });
        }
    }

    /// The newest process opens the stores.
    pub(super) fn former_dies(&mut self, host: u32, start: u64) {
        let node = &mut self.hosts[host as usize];
        if node.former.is_none_or(|(former, _)| former != start) {
            return;
        }
        node.former = None;
        self.open_stores(host, start);
    }

    fn kill(&mut self, host: usize) {
        self.hosts[host].up = false;
        self.hosts[host].frozen = false;
        self.hosts[host].former = None;
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
        let latest = node.start;
        self.open_stores(u32::try_from(host).unwrap(), latest);
    }

    /// The newest process opens the stores that processes up to `owner` had open.
    fn open_stores(&mut self, host: u32, owner: u64) {
        let newest = self.hosts[host as usize].start;
        let here = self.slots.values_mut().filter(|slot| slot.host == host && slot.owner <= owner);
        for slot in here {
            slot.owner = newest;
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
        if self.change.is_some() || self.untold || self.now < self.paused {
            return;
        }
        if let Ok(accepted) = cluster.command(&command, now) {
            if let Command::GiveUpTo { target, .. } = command {
                self.check.given_up.insert((chain, target));
            }
            self.in_flight(accepted.change, 120);
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
            if let Some((start, _)) = self.hosts[host].former {
                self.former_dies(u32::try_from(host).unwrap(), start);
            }
        }
        self.paused = 0;
        self.rules.times = LeaseTimes::DEFAULT;
        let now = Instant::from_nanos(self.now);
        if let (Some(holder), Some(cluster)) = (&mut self.holder, &mut self.cluster) {
            holder.set_times(self.rules.times);
            cluster.set_rules(self.rules.clone(), now);
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
