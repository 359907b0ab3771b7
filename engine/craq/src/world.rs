//! A model world: three replicas of one chain, links that delay and break, stores that lose what
//! was not flushed, a manager that obeys R4, R5 and R10, clients that retry, readers anywhere.
//! Everything follows from one seed.
//!
//! Checked throughout: what is committed anywhere forms one line per chunk, on which each write
//! stands at most once; an acknowledged write and a read stand behind whatever was acknowledged or
//! read before they began. In the end, without further faults, all writes end, all replicas serve
//! and hold the same.

use std::collections::{BTreeMap, VecDeque};
use std::vec;
use std::vec::Vec;

use engine_store::tables::Known;
use engine_store::{ChunkKey, Outcome, Slot, Tag};
use engine_types::checksum::mix64;
use engine_types::{
    ChainInfo, ChainVersion, ChannelId, ChunkId, ChunkVersion, Incarnation, InodeId, Rng,
    SessionId, TargetId, Timeline,
};

use crate::effect::{Effect, Left, Source};
use crate::event::{Compared, Event, Local, Received, Space, Update};
use crate::message::{Message, Refusal, Version};
use crate::planted::Bug;
use crate::replica::{Cursor, Replica, Start};
use crate::standing::Peer;
use crate::words::{Digest, Payload, ReadId, UpdateId, Walk};

mod client;
mod manager;
mod network;
mod node;
mod store;
mod tests;

use client::Slots;
use manager::Manager;
use network::Links;
use node::Node;

/// Replicas.
const NODES: usize = 3;
/// Chunks that clients write and read.
const CHUNKS: u64 = 2;
/// Steps with faults.
const STEPS: usize = 4000;
/// Steps without them, within which everything has to be healed.
const HEALING: usize = 6000;

/// What an operation does to a chunk. `state` names the content that results from all that was
/// done to the chunk, so that no two ways lead to the same one.
#[derive(Clone, Copy, Debug)]
struct Content {
    removal: bool,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// A write of a client, by its number.
    Write(u64),
    /// All of another replica's record.
    Whole(u64),
}

/// What was committed anywhere, in order, and what clients know of it.
#[derive(Default)]
struct Line {
    states: Vec<u64>,
    /// Whether each leaves the chunk absent.
    absent: Vec<bool>,
    writes: Vec<u64>,
    /// Places up to here were acknowledged or read.
    floor: usize,
}

/// See the module.
struct World {
    rng: Rng,
    bug: Option<Bug>,
    faults: bool,
    /// Of 10,000 steps, those that do harm.
    harm: u64,
    nodes: Vec<Node>,
    links: Links,
    manager: Manager,
    slots: Slots,
    lines: BTreeMap<ChunkId, Line>,
    /// The write and the state before, by state.
    origins: BTreeMap<u64, (u64, u64)>,
    /// What the absence of a chunk stands for that a node is to erase.
    erased: BTreeMap<(usize, ChunkId), u64>,
    tokens: u64,
    chunks: u64,
    /// Which harm is frequent.
    profile: u64,
    served: usize,
    acked: usize,
    /// Prints what happens, to find out why.
    trace: bool,
}

impl World {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut world = Self {
            rng: Rng::new(seed),
            bug,
            faults: true,
            harm: [3, 10, 20, 50, 100][usize::try_from(seed % 5).unwrap()],
            nodes: (0..NODES).map(|index| Node::new(index, bug)).collect(),
            links: Links::new(),
            manager: Manager::new(),
            slots: Slots::new(),
            lines: BTreeMap::new(),
            origins: BTreeMap::new(),
            erased: BTreeMap::new(),
            tokens: 0,
            chunks: 1 + seed / 5 % CHUNKS,
            profile: seed / 10 % 4,
            served: 0,
            acked: 0,
            trace: false,
        };
        for node in 0..NODES {
            world.deliver_routing(node);
        }
        world
    }

    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.below(bound as u64)).unwrap()
    }

    fn any_node(&mut self) -> usize {
        self.below(NODES)
    }

    /// One of the nodes with something to do, or any.
    fn node_that(&mut self, does: impl Fn(&Node) -> bool) -> usize {
        let able: Vec<_> = self.nodes.iter().filter(|node| does(node)).map(|n| n.index).collect();
        self.rng.pick(&able).copied().unwrap_or_else(|| self.any_node())
    }

    /// One thing happens.
    fn act(&mut self) {
        if self.faults && self.rng.below(10_000) < self.harm {
            return self.harm_something();
        }
        match self.rng.below(100) {
            0..=33 => {
                let node = self.node_that(|node| !node.inbox.is_empty() && !node.frozen);
                self.handle_one(node);
            }
            34..=49 => self.carry_one(),
            50..=55 => {
                let node = self.node_that(|node| !node.store.working.is_empty());
                self.store_one(node);
            }
            56..=61 => {
                let node = self.node_that(|node| node.store.is_awaited());
                self.flush(node);
            }
            62..=81 => self.client_acts(),
            82..=84 => {
                let node = self.any_node();
                self.deliver_routing(node);
            }
            85..=90 => {
                let node = self.any_node();
                self.grant(node);
            }
            91..=93 => self.manage(),
            94..=96 => self.connect_one(),
            97 => {
                let node = self.any_node();
                self.start(node);
            }
            _ => {
                let node = self.any_node();
                self.nodes[node].frozen &= !self.rng.chance(300);
                self.nodes[node].isolated &= self.faults && !self.rng.chance(100);
            }
        }
    }

    fn harm_something(&mut self) {
        let node = self.any_node();
        // Out of 100: links, frozen, isolated, crash, power, lease; the rest is drained.
        let weights: [u64; 6] = match self.profile {
            0 => [25, 10, 10, 12, 3, 30],
            1 => [10, 0, 0, 50, 30, 10],
            2 => [0, 0, 0, 10, 80, 10],
            _ => [10, 20, 40, 0, 0, 10],
        };
        let mut drawn = self.rng.below(100);
        let drawn = weights.iter().position(|weight| {
            let found = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            found
        });
        match drawn {
            Some(0) => self.cut_one(),
            Some(1) => self.nodes[node].frozen = true,
            Some(2) => self.nodes[node].isolated = true,
            Some(3) => self.crash(node),
            Some(4) => (0..NODES).for_each(|node| self.crash(node)),
            Some(_) => self.nodes[node].lease = None,
            None => self.manager.drain = Some(node as u64),
        }
    }

    /// A replica commits: everything committed anywhere is one line.
    fn committed(&mut self, chunk: ChunkId, state: u64, absent: bool) {
        let (write, before) = self.origins[&state];
        let line = self.lines.entry(chunk).or_default();
        if line.states.contains(&state) {
            return;
        }
        let last = line.states.last().copied().unwrap_or(0);
        assert_eq!(before, last, "the line of {chunk} forks");
        assert!(!line.writes.contains(&write), "write {write} is done twice");
        line.states.push(state);
        line.absent.push(absent);
        line.writes.push(write);
    }

    /// Runs a whole life.
    fn run(seed: u64, bug: Option<Bug>, trace: bool) -> Self {
        let mut world = Self::new(seed, bug);
        world.trace = trace;
        for _ in 0..STEPS {
            world.act();
        }
        world.heal();
        world
    }

    fn heal(&mut self) {
        self.faults = false;
        self.slots.quiet = true;
        for node in &mut self.nodes {
            node.frozen = false;
            node.isolated = false;
        }
        for _ in 0..HEALING {
            for _ in 0..10 {
                self.act();
            }
            if self.is_healed() {
                return self.check_healed();
            }
        }
        panic!("not healed: {:?} {:?}", self.manager, self.slots);
    }

    fn is_healed(&self) -> bool {
        self.manager.all_serve()
            && self.slots.all_idle()
            && self.nodes.iter().all(|node| {
                node.inbox.is_empty()
                    && node.replica.as_ref().is_some_and(|replica| {
                        replica.in_flight() == 0 && replica.version() == self.manager.chain.version
                    })
            })
            && self.links.is_quiet()
    }

    fn check_healed(&self) {
        for node in &self.nodes {
            for (chunk, line) in &self.lines {
                let held = node.store.now.chunks.get(chunk).map_or(0, |held| held.state);
                assert_eq!(held, line.states.last().copied().unwrap_or(0), "{chunk} differs");
            }
            assert!(node.store.now.pendings.is_empty(), "a pending version stays");
        }
    }
}
