//! Who is next: admission of a shard, fair between clients and classes (W3, E389). Pure.
//!
//! Work has a cost; as long as less than `limit` is running, whoever comes runs at once. Beyond
//! that work waits in a queue per client, and what ends makes room for the next in turn: deficit
//! round robin over the classes, by their weights, and over the clients of a class, all equal. A
//! client with ten thousand requests thus delays another one's single request by one turn.
//!
//! Invariants
//!   E389  work waits only while the limit is reached and other work of its class runs; who
//!         waits is chosen after work of at most one round of all weights and clients
//!
//! Each class has a place of its own, whatever the others do. An update holds what it was given
//! until its chain has it, and may wait for a replica that catches up: if what is read for that
//! stood behind such updates, both would wait for ever.

use core::ops::RangeInclusive;
use std::collections::VecDeque;

use engine_types::Map;

#[cfg(test)]
mod tests;

/// What work is for; lower ones get more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Requests of clients.
    Client = 0,
    /// What is read to bring another replica up to date.
    Resync = 1,
    /// What is read to find rot.
    Scrub = 2,
}

/// Number of classes.
pub(crate) const CLASSES: usize = 3;

/// Cost that a client or a class gets per turn, times its weight: a request of one item costs 1 and
/// one more for every 64 KiB, so that a turn is a MiB, or some small requests.
const QUANTUM: u64 = 16;

/// What an operator may set of the line before the work of a shard (W3, E389). Work costs 1 per
/// item, and 1 more for every 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// Share of clients' requests when all classes wait, by its part of the sum of all three.
    pub client_weight: u32,
    /// Share of what is read to bring another replica up to date.
    pub resync_weight: u32,
    /// Share of what is read to find rot.
    pub scrub_weight: u32,
    /// Cost that runs at once. One core and a few devices are busy with a third of the default; the
    /// rest are updates that wait for other replicas.
    pub running_max: u32,
    /// Requests of all clients that wait, 32 bytes each; more are refused as `Busy`.
    pub waiting_max: u32,
    /// Requests of one client that wait. The default is as many as forty connections have in
    /// flight: nobody who waits for more is served by a longer line.
    pub client_waiting_max: u32,
}

impl AdmissionSettings {
    /// Weights that can be meant: at 1 of 1,002, a class gets a MiB for every GiB of the others.
    pub const WEIGHTS: RangeInclusive<u32> = 1..=1000;
    /// Costs that can be meant. Each is a plan of a store at most, of which there are 65,536, three
    /// quarters of them for reads.
    pub const RUNNING: RangeInclusive<u32> = 1..=32_768;
    /// Lengths of lines that can be meant: the longest takes 32 MiB.
    pub const WAITING: RangeInclusive<u32> = 1..=1 << 20;

    fn weights(self) -> [u32; CLASSES] {
        [self.client_weight, self.resync_weight, self.scrub_weight]
    }
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            client_weight: 8,
            resync_weight: 2,
            scrub_weight: 1,
            running_max: 1024,
            waiting_max: 1 << 17,
            client_waiting_max: 10_240,
        }
    }
}

/// What becomes of work that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It runs.
    Now,
    /// It waits; [`Fair::next`] names it when its turn has come.
    Wait(u64),
    /// Too much waits.
    Full,
}

#[derive(Debug, Default)]
struct Client {
    /// Ticket and cost, in order.
    waiting: VecDeque<(u64, u64)>,
    deficit: u64,
}

#[derive(Debug, Default)]
struct Line {
    weight: u64,
    deficit: u64,
    /// Work of the class that runs.
    running: u64,
    clients: Map<u128, Client>,
    /// Those with work that waits, in turn.
    turn: VecDeque<u128>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Fair {
    limit: u64,
    waiting_max: usize,
    client_waiting_max: usize,
    /// Cost of what runs.
    running: u64,
    waiting: usize,
    tickets: u64,
    lines: [Line; CLASSES],
    /// The class whose turn it is.
    class: usize,
    /// It has got its quantum for this turn.
    begun: bool,
}

/// What a request of so many items and bytes costs.
pub(crate) fn cost(items: usize, bytes: u64) -> u64 {
    (items.max(1) as u64).saturating_add(bytes >> 16)
}

impl Fair {
    /// What may run is raised to 1, each weight as well: a class without any would wait for ever.
    pub(crate) fn new(settings: AdmissionSettings) -> Self {
        let line = |weight: u32| Line { weight: weight.max(1).into(), ..Line::default() };
        Self {
            limit: settings.running_max.max(1).into(),
            waiting_max: settings.waiting_max as usize,
            client_waiting_max: settings.client_waiting_max as usize,
            running: 0,
            waiting: 0,
            tickets: 0,
            lines: settings.weights().map(line),
            class: 0,
            begun: false,
        }
    }

    /// Work of a client comes.
    pub(crate) fn ask(&mut self, class: Class, client: u128, cost: u64) -> Asked {
        let line = &mut self.lines[class as usize];
        if line.running == 0 || (self.waiting == 0 && self.running < self.limit) {
            line.running += 1;
            self.running += cost;
            return Asked::Now;
        }
        let own = line.clients.get(&client).map_or(0, |queue| queue.waiting.len());
        if self.client_waiting_max <= own || self.waiting_max <= self.waiting {
            return Asked::Full;
        }
        let queue = line.clients.entry(client).or_default();
        self.tickets += 1;
        if queue.waiting.is_empty() {
            line.turn.push_back(client);
        }
        queue.waiting.push_back((self.tickets, cost));
        self.waiting += 1;
        Asked::Wait(self.tickets)
    }

    /// Work has ended, or what was chosen is not wanted any more.
    pub(crate) fn done(&mut self, class: Class, cost: u64) {
        let line = &mut self.lines[class as usize];
        assert!(cost <= self.running, "E389: {cost} ends, {} is running", self.running);
        assert!(0 < line.running, "E389: work of {class:?} ends, and none is running");
        line.running -= 1;
        self.running -= cost;
    }

    /// Who waits goes away; false if it was chosen before.
    pub(crate) fn leave(&mut self, class: Class, client: u128, ticket: u64) -> bool {
        let line = &mut self.lines[class as usize];
        let Some(queue) = line.clients.get_mut(&client) else { return false };
        let Some(place) = queue.waiting.iter().position(|waiting| waiting.0 == ticket) else {
            return false;
        };
        queue.waiting.remove(place);
        self.waiting -= 1;
        if queue.waiting.is_empty() {
            line.clients.remove(&client);
            line.turn.retain(|other| *other != client);
        }
        true
    }

    /// Whose turn it is, if there is room: its ticket.
    pub(crate) fn next(&mut self) -> Option<u64> {
        if self.waiting == 0 {
            return None;
        }
        if let Some((ticket, cost)) = self.lines.iter_mut().find_map(Line::own_place) {
            self.started(cost);
            return Some(ticket);
        }
        if self.limit <= self.running {
            return None;
        }
        loop {
            let line = &mut self.lines[self.class];
            if line.turn.is_empty() {
                line.deficit = 0; // what is not used is not saved up
            } else {
                if !self.begun {
                    line.deficit += QUANTUM * line.weight;
                    self.begun = true;
                }
                if let Some((ticket, cost)) = line.choose() {
                    line.running += 1;
                    self.started(cost);
                    return Some(ticket);
                }
            }
            self.class = (self.class + 1) % CLASSES;
            self.begun = false;
        }
    }

    /// What waited runs.
    fn started(&mut self, cost: u64) {
        self.waiting -= 1;
        self.running += cost;
    }

    /// Work that waits, and the cost of what is running.
    pub(crate) fn load(&self) -> (usize, u64) {
        (self.waiting, self.running)
    }
}

impl Line {
    /// The next one, if what the class has left is enough for it. Costs above a quantum are paid
    /// over several rounds.
    fn choose(&mut self) -> Option<(u64, u64)> {
        let (client, cost) = self.first()?;
        if self.deficit < cost {
            return None;
        }
        Some(self.take(client))
    }

    /// The next one, whatever the class has left, if none of it runs.
    fn own_place(&mut self) -> Option<(u64, u64)> {
        if 0 < self.running {
            return None;
        }
        let (client, _) = self.first()?;
        self.running += 1;
        Some(self.take(client))
    }

    /// The client whose turn it is, which can pay for its first work, and what that costs.
    fn first(&mut self) -> Option<(u128, u64)> {
        loop {
            let client = *self.turn.front()?;
            let queue = self.clients.get_mut(&client).expect("who has a turn waits");
            let &(_, cost) = queue.waiting.front().expect("who has a turn waits");
            if cost <= queue.deficit {
                return Some((client, cost));
            }
            // Its turn is over; with the next one it has more.
            queue.deficit += QUANTUM;
            self.turn.rotate_left(1);
        }
    }

    /// Takes the first work of the client whose turn it is.
    fn take(&mut self, client: u128) -> (u64, u64) {
        let queue = self.clients.get_mut(&client).expect("who has a turn waits");
        let (ticket, cost) = queue.waiting.pop_front().expect("who has a turn waits");
        self.deficit = self.deficit.saturating_sub(cost);
        queue.deficit -= cost;
        if queue.waiting.is_empty() {
            self.clients.remove(&client);
            self.turn.pop_front();
        }
        (ticket, cost)
    }
}
