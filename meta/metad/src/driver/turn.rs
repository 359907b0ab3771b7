//! Which service sees to which ended session or unfinished cut, and when.
//!
//! Every service may see to each of them, and what two do at once is right. So that mostly one does
//! it, services are ranked for each, by a hash that all of them compute alike; the first one begins
//! at once, each further one waits longer, in case that those before it are gone.

use core::hash::Hash;
use core::time::Duration;

use engine_types::checksum::mix64;
use engine_types::{Instant, Map, NodeId, NodeRole, NodeState, RoutingInfo};

#[cfg(test)]
mod tests;

/// What the next in rank waits: several rounds of the one before it.
pub(crate) const TURN_WAIT: Duration = Duration::from_secs(15);
/// Ranks that are told apart: the others wait as long as the last of them.
const RANKS_MAX: u32 = 8;

/// Time after which a page's finds are new again: above the longest wait.
const FORGET: Duration = Duration::from_secs(2 * 15 * RANKS_MAX as u64);

/// Where `me` stands among the services that are alive, for the session or inode `of`: 0 is the
/// first. A node that the routing info does not show is behind all others.
pub(crate) fn rank(routing: &RoutingInfo, me: Option<NodeId>, of: u64) -> u32 {
    let weight = |node: NodeId| (mix64(of ^ mix64(node.get().into())), node);
    let services = routing
        .nodes
        .iter()
        .filter(|(_, info)| info.role == NodeRole::Meta && info.state != NodeState::Dead);
    let before =
        services.filter(|&(&node, _)| me.is_none_or(|me| node != me && weight(me) < weight(node)));
    u32::try_from(before.count()).unwrap_or(u32::MAX)
}

/// Since when it is known what waits for its turn: sessions that are revoked, inodes that were cut.
#[derive(Debug)]
pub(crate) struct Turns<K> {
    since: Map<K, Instant>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { since: Map::default() }
    }
}

impl<K: Copy + Eq + Hash> Turns<K> {
    /// Those of `found` whose turn has come; what is not found any more is forgotten.
    pub(crate) fn due(&mut self, found: &[K], now: Instant, rank: impl Fn(K) -> u32) -> Vec<K> {
        let mut since = Map::default();
        for &one in found {
            since.insert(one, self.since.get(&one).copied().unwrap_or(now));
        }
        self.since = since;
        self.ripe(found, now, rank)
    }

    /// The same of a page of what there is: others are forgotten after some time.
    pub(crate) fn due_of_page(
        &mut self,
        found: &[K],
        now: Instant,
        rank: impl Fn(K) -> u32,
    ) -> Vec<K> {
        self.since.retain(|_, since| now < *since + FORGET);
        for &one in found {
            self.since.entry(one).or_insert(now);
        }
        self.ripe(found, now, rank)
    }

    fn ripe(&self, found: &[K], now: Instant, rank: impl Fn(K) -> u32) -> Vec<K> {
        let is_due = |one: &&K| {
            let wait = TURN_WAIT * rank(**one).min(RANKS_MAX);
            self.since[*one] + wait <= now
        };
        found.iter().filter(is_due).copied().collect()
    }
}
