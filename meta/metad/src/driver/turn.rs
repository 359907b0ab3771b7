//! Which service sees to which ended session, and when.
//!
//! Every service may prune every session, and what two do at once is right. So that mostly one does
//! it, services are ranked for each session, by a hash that all of them compute alike; the first
//! one begins at once, each further one waits longer, in case that those before it are gone.

use core::time::Duration;

use engine_types::checksum::mix64;
use engine_types::{Instant, Map, NodeId, NodeRole, NodeState, RoutingInfo, SessionId};

#[cfg(test)]
mod tests;

/// What the next in rank waits: several rounds of the one before it.
pub(crate) const TURN_WAIT: Duration = Duration::from_secs(15);
/// Ranks that are told apart: the others wait as long as the last of them.
const RANKS_MAX: u32 = 8;

/// Where `me` stands among the services that are alive: 0 is the first. A node that the routing
/// info does not show is behind all others.
pub(crate) fn rank(routing: &RoutingInfo, me: Option<NodeId>, session: SessionId) -> u32 {
    let weight = |node: NodeId| (mix64(session.get() ^ mix64(node.get().into())), node);
    let services = routing
        .nodes
        .iter()
        .filter(|(_, info)| info.role == NodeRole::Meta && info.state != NodeState::Dead);
    let before =
        services.filter(|&(&node, _)| me.is_none_or(|me| node != me && weight(me) < weight(node)));
    u32::try_from(before.count()).unwrap_or(u32::MAX)
}

/// Since when sessions are known to be revoked that were not pruned yet.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    since: Map<SessionId, Instant>,
}

impl Turns {
    /// Those of `found` whose turn has come; what is not found any more is forgotten.
    pub(crate) fn due(
        &mut self,
        found: &[SessionId],
        now: Instant,
        rank: impl Fn(SessionId) -> u32,
    ) -> Vec<SessionId> {
        let mut since = Map::default();
        for &session in found {
            since.insert(session, self.since.get(&session).copied().unwrap_or(now));
        }
        self.since = since;
        let is_due = |session: &&SessionId| {
            let wait = TURN_WAIT * rank(**session).min(RANKS_MAX);
            self.since[*session] + wait <= now
        };
        found.iter().filter(is_due).copied().collect()
    }
}
