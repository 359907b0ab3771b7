//! Who is next: admission of a shard, fair between clients and classes (W3, E389). Pure.
//!
//! Work has a cost; as long as less than `limit` is running, whoever comes runs at once. Beyond
//! that work waits in a queue per client, and what ends makes room for the next in turn: deficit
//! round robin over the classes, by their weights, and over the clients of a class, all equal. A
//! client with ten thousand requests thus delays another one's single request by one turn.
//!
//! Invariants
//!   E389  work waits only while the limit is reached; who waits in a class that has a weight is
//!         chosen after work of at most one round of all weights and clients

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

/// Requests of one client that wait: as many as forty connections can have in flight. More are
/// refused, as nobody who waits for so many is served by a longer line.
pub(crate) const CLIENT_WAITING_MAX: usize = 10_240;
/// Requests of all clients that wait: 32 bytes each.
pub(crate) const WAITING_MAX: usize = 1 << 17;

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
    clients: Map<u128, Client>,
    /// Those with work that waits, in turn.
    turn: VecDeque<u128>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Fair {
    limit: u64,
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
    /// `limit` is raised to 1, each weight as well: a class without any would wait for ever.
    pub(crate) fn new(limit: u32, weights: [u32; CLASSES]) -> Self {
        let line = |weight: u32| Line { weight: weight.max(1).into(), ..Line::default() };
        Self {
            limit: limit.max(1).into(),
            running: 0,
            waiting: 0,
            tickets: 0,
            lines: weights.map(line),
            class: 0,
            begun: false,
        }
    }

    /// Work of a client comes.
    pub(crate) fn ask(&mut self, class: Class, client: u128, cost: u64) -> Asked {
        if self.waiting == 0 && self.running < self.limit {
            self.running += cost;
            return Asked::Now;
        }
        let line = &mut self.lines[class as usize];
        let queue = line.clients.entry(client).or_default();
        if CLIENT_WAITING_MAX <= queue.waiting.len() || WAITING_MAX <= self.waiting {
            return Asked::Full;
        }
        self.tickets += 1;
        if queue.waiting.is_empty() {
            line.turn.push_back(client);
        }
        queue.waiting.push_back((self.tickets, cost));
        self.waiting += 1;
        Asked::Wait(self.tickets)
    }

    /// Work has ended, or what was chosen is not wanted any more.
    pub(crate) fn done(&mut self, cost: u64) {
        assert!(cost <= self.running, "E389: {cost} ends, {} is running", self.running);
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
        if self.waiting == 0 || self.limit <= self.running {
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
                    self.waiting -= 1;
                    self.running += cost;
                    return Some(ticket);
                }
            }
            self.class = (self.class + 1) % CLASSES;
            self.begun = false;
        }
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
        loop {
            let client = *self.turn.front()?;
            let queue = self.clients.get_mut(&client).expect("who has a turn waits");
            let &(ticket, cost) = queue.waiting.front().expect("who has a turn waits");
            if queue.deficit < cost {
                // Its turn is over; with the next one it has more.
                queue.deficit += QUANTUM;
                self.turn.rotate_left(1);
                continue;
            }
            if self.deficit < cost {
                return None;
            }
            self.deficit -= cost;
            queue.deficit -= cost;
            queue.waiting.pop_front();
            if queue.waiting.is_empty() {
                self.clients.remove(&client);
                self.turn.pop_front();
            }
            return Some((ticket, cost));
        }
    }
}
