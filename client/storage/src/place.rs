//! Which replica is asked.
//!
//! Reads go to any serving one: in turn, unless the next in turn has less than half as much to do.
//! So replicas that are equally quick get equal shares, and a slow one gets less. To follow smaller
//! differences, which are chance, made shares uneven: 298 to 338 of 960 reads by 32 tasks. Who
//! failed a short while ago is passed over while there are others. Updates go to the head, queries
//! to the tail.

use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Env;
use engine_types::{ChainId, ChainVersion, Instant, RoutingInfo, TargetId};

use crate::Inner;
use crate::health::Health;
use crate::shards::Shard;

/// Who of a chain can do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Any,
    Head,
    Tail,
}

/// A replica that was chosen for an attempt.
pub(crate) struct Place<E: Env> {
    pub(crate) target: TargetId,
    /// As the client knows it.
    pub(crate) chain_version: ChainVersion,
    pub(crate) shard: Rc<Shard<E>>,
}

impl<E: Env> Place<E> {
    fn new(target: TargetId, chain_version: ChainVersion, shard: Rc<Shard<E>>) -> Self {
        shard.outstanding.set(shard.outstanding.get() + 1);
        Self { target, chain_version, shard }
    }
}

impl<E: Env> Drop for Place<E> {
    fn drop(&mut self) {
        self.shard.outstanding.set(self.shard.outstanding.get() - 1);
    }
}

/// What came of looking for a replica.
pub(crate) enum Placed<E: Env> {
    At(Place<E>),
    /// Every one was tried already; the version of the chain.
    AllTried(Option<ChainVersion>),
    /// There is none.
    Nobody {
        seen: Option<ChainVersion>,
        why: &'static str,
    },
}

/// What is remembered of a replica that refused.
pub(crate) struct TargetHealth {
    health: Health,
    /// With another version everything may be different.
    chain_version: ChainVersion,
}

impl<E: Env> Inner<E> {
    /// The version of a chain as it is known.
    pub(crate) fn chain_version(&self, chain: ChainId) -> Option<ChainVersion> {
        self.routing.current().chains.get(&chain).map(|info| info.version)
    }

    /// Looks for a replica of `chain` that is not one of `tried`.
    pub(crate) fn place(
        &self,
        chain: ChainId,
        whom: Whom,
        tried: &[TargetId],
        patience: Duration,
    ) -> Placed<E> {
        let routing = self.routing.current();
        let Some(info) = routing.chains.get(&chain) else {
            return Placed::Nobody { seen: None, why: "a chain that is not known" };
        };
        let (version, seen) = (info.version, Some(info.version));
        let chosen = match whom {
            Whom::Head => info.head(),
            Whom::Tail => info.tail(),
            Whom::Any => {
                if info.head().is_none() {
                    None
                } else {
                    let serving = info.serving().map(|member| member.target);
                    let left = serving.filter(|target| !tried.contains(target));
                    let chosen = self.choose(chain, version, left, &routing, patience);
                    return chosen.map_or(Placed::AllTried(seen), Placed::At);
                }
            }
        };
        let shard = chosen.and_then(|target| Some((target, self.shard(target, &routing)?)));
        match shard {
            Some((target, shard)) => Placed::At(Place::new(target, version, shard)),
            None => Placed::Nobody { seen, why: "a serving replica" },
        }
    }

    fn shard(&self, target: TargetId, routing: &RoutingInfo) -> Option<Rc<Shard<E>>> {
        let at = routing.targets.get(&target)?;
        let node = routing.nodes.get(&at.node)?;
        Some(self.shards.shard(at.node, node, at.core))
    }

    fn choose(
        &self,
        chain: ChainId,
        version: ChainVersion,
        left: impl Iterator<Item = TargetId>,
        routing: &RoutingInfo,
        patience: Duration,
    ) -> Option<Place<E>> {
        let now = self.env.now();
        let candidate = |target| Some((target, self.shard(target, routing)?));
        let mut candidates: Vec<(TargetId, Rc<Shard<E>>)> = left.filter_map(candidate).collect();
        let good = |(target, shard): &(TargetId, Rc<Shard<E>>)| {
            !shard.health.is_avoided(now) && !self.is_target_avoided(*target, version, now)
        };
        if candidates.iter().any(good) {
            candidates.retain(good);
        }
        let count = candidates.len();
        if count == 0 {
            return None;
        }
        let turn = self.turn(chain) as usize;
        let (this, next) = (turn % count, (turn + 1) % count);
        let burden = |index: usize| candidates[index].1.outstanding.get();
        let crowded = 2 * burden(next) + 2 < burden(this);
        let chosen = if crowded { next } else { this };
        let (target, shard) = candidates.swap_remove(chosen);
        shard.health.chosen(now, patience);
        if let Some(known) = self.targets.borrow().get(&target) {
            known.health.chosen(now, patience);
        }
        Some(Place::new(target, version, shard))
    }

    /// Counts the reads of a chain, from a random start: chains of which little is read do not all
    /// begin with their heads.
    fn turn(&self, chain: ChainId) -> u32 {
        let mut turns = self.turns.borrow_mut();
        #[expect(clippy::cast_possible_truncation, reason = "any bits are random")]
        let turn = turns.entry(chain).or_insert_with(|| self.env.random() as u32);
        *turn = turn.wrapping_add(1);
        *turn
    }

    fn is_target_avoided(&self, target: TargetId, version: ChainVersion, now: Instant) -> bool {
        let targets = self.targets.borrow();
        let known = targets.get(&target).filter(|known| known.chain_version == version);
        known.is_some_and(|known| known.health.is_avoided(now))
    }

    /// A replica could not answer a read.
    pub(crate) fn target_failed(&self, place: &Place<E>, now: Instant) {
        let mut targets = self.targets.borrow_mut();
        let fresh =
            || TargetHealth { health: Health::default(), chain_version: place.chain_version };
        let known = targets.entry(place.target).or_insert_with(fresh);
        if known.chain_version != place.chain_version {
            *known = fresh();
        }
        known.health.failed(now, &self.config);
    }

    /// It answered: nothing is held against it.
    pub(crate) fn target_answered(&self, target: TargetId) {
        self.targets.borrow_mut().remove(&target);
    }
}
