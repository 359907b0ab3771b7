//! Room of stores, asked of the storage nodes when somebody wants to know.
//!
//! A figure counts until the next one of its store, however old, so that what df shows does not
//! jump when a node restarts; how old the oldest is goes with the answer. Nobody waits for a shard
//! that did not answer last time, nor for one whose node the managers do not hear of: such are
//! asked behind the answer.
//!
//! Owner: one process's chunks. Nothing is asked while nobody wants to know, and at most one round
//! is under way.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use client_storage::Storage;
use engine_runtime::{Env, Notify, all, until};
use engine_types::{CoreId, Instant, NodeId, NodeState, StoreId};
use mgmt_client::Follower;

use crate::space::{Heard, Space, usable};

/// Figures younger than this are told as they are. df and monitors ask every few seconds; removal
/// is seen within this time.
const AGE: Duration = Duration::from_secs(5);
/// Time of a shard to answer; also what somebody waits at most.
const PATIENCE: Duration = Duration::from_secs(1);
/// Shards that are asked at the same time: a round of 1,000 takes some milliseconds.
const AT_ONCE: usize = 64;

type ShardAt = (NodeId, CoreId);

pub(super) struct Rooms<E: Env> {
    env: E,
    storage: Storage<E>,
    routing: Rc<Follower<E>>,
    heard: RefCell<BTreeMap<StoreId, Heard>>,
    /// Shards that did not answer when they were asked last.
    silent: RefCell<BTreeSet<ShardAt>>,
    space: Cell<Space>,
    /// When the last round that was waited for had its answers.
    asked: Cell<Option<Instant>>,
    asking: Cell<bool>,
    answered: Notify,
}

/// Which shards hold replicas, and the stores of each.
type Wanted = BTreeMap<ShardAt, BTreeSet<StoreId>>;

impl<E: Env> Rooms<E> {
    pub(super) fn new(env: &E, storage: Storage<E>, routing: Rc<Follower<E>>) -> Self {
        Self {
            env: env.clone(),
            storage,
            routing,
            heard: RefCell::default(),
            silent: RefCell::default(),
            space: Cell::default(),
            asked: Cell::new(None),
            asking: Cell::new(false),
            answered: Notify::default(),
        }
    }

    /// Room of all chains; figures that are too old are asked for first, until `by` at most.
    pub(super) async fn space(self: &Rc<Self>, by: Instant) -> Space {
        let now = self.env.now();
        let is_fresh = |at: Instant| now < at + AGE;
        if !self.asked.get().is_some_and(is_fresh) {
            let before = self.asked.get();
            if !self.asking.replace(true) {
                let round = self.clone();
                drop(self.env.spawn(async move { round.round().await }));
            }
            let told = self.answered.until(|| self.asked.get() != before);
            if until(&self.env, by.min(now + PATIENCE), told).await.is_err() {
                // Whoever is late has its last figures counted.
                return usable(&self.routing.routing(), &self.heard.borrow());
            }
        }
        self.space.get()
    }

    /// Asks all shards, those first of which an answer is expected.
    async fn round(&self) {
        let (wanted, dead) = self.wanted();
        self.silent.borrow_mut().retain(|shard| wanted.contains_key(shard));
        let is_late = |shard: &ShardAt| dead.contains(&shard.0) || self.is_silent(shard);
        let (late, prompt): (Vec<_>, Vec<_>) = wanted.iter().partition(|(shard, _)| is_late(shard));
        late.iter().for_each(|(_, stores)| self.miss(stores));
        self.ask_all(&prompt).await;
        let stores: BTreeSet<&StoreId> = wanted.values().flatten().collect();
        self.heard.borrow_mut().retain(|store, _| stores.contains(store));
        self.tell();
        self.ask_all(&late).await;
        self.tell();
        self.asking.set(false);
    }

    fn tell(&self) {
        let routing = self.routing.routing();
        self.space.set(usable(&routing, &self.heard.borrow()));
        self.asked.set(Some(self.env.now()));
        self.answered.notify();
    }

    fn is_silent(&self, shard: &ShardAt) -> bool {
        self.silent.borrow().contains(shard)
    }

    /// Shards with replicas, and the nodes that the managers do not hear of.
    fn wanted(&self) -> (Wanted, BTreeSet<NodeId>) {
        let routing = self.routing.routing();
        let mut wanted = Wanted::new();
        for target in routing.targets.values() {
            wanted.entry((target.node, target.core)).or_default().insert(target.store);
        }
        let nodes = routing.nodes.iter();
        let dead = nodes.filter(|(_, info)| info.state == NodeState::Dead).map(|(&node, _)| node);
        (wanted, dead.collect())
    }

    async fn ask_all(&self, shards: &[(&ShardAt, &BTreeSet<StoreId>)]) {
        for group in shards.chunks(AT_ONCE) {
            all(group.iter().map(|(shard, stores)| self.ask(shard, stores))).await;
        }
    }

    async fn ask(&self, shard: &ShardAt, stores: &BTreeSet<StoreId>) {
        let &(node, core) = shard;
        let asked = self.storage.space(node, core, self.env.now() + PATIENCE).await;
        let at = self.env.now();
        let mut heard = self.heard.borrow_mut();
        match asked {
            Ok(rooms) => {
                self.silent.borrow_mut().remove(shard);
                for (store, room) in rooms {
                    heard.insert(store, Heard { room, at, silent: false });
                }
            }
            Err(error) => {
                tracing::debug!(%error, "its last figures count");
                self.silent.borrow_mut().insert(*shard);
                drop(heard);
                self.miss(stores);
            }
        }
    }

    /// No answer of these is expected, or came.
    fn miss(&self, stores: &BTreeSet<StoreId>) {
        let mut heard = self.heard.borrow_mut();
        for store in stores {
            if let Some(heard) = heard.get_mut(store) {
                heard.silent = true;
            }
        }
    }
}
