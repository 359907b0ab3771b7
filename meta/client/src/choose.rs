//! Which service is asked. Pure: all that is known comes in.

use engine_types::checksum::mix64;
use engine_types::{InodeId, NodeId};
use meta_protocol::Operation;

#[cfg(test)]
mod tests;

/// A service that could be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) node: NodeId,
    /// Attempts of this client that are under way there.
    pub(crate) in_flight: u32,
    /// It failed a short while ago, or the managers do not hear of it.
    pub(crate) is_avoided: bool,
    /// This call has tried it since its last pause.
    pub(crate) is_tried: bool,
}

/// The inode whose requests are merged, or wait for each other, at one service (E476).
pub(crate) const fn meets_at(operation: &Operation) -> Option<InodeId> {
    use Operation as O;
    match operation {
        O::Sync(ask) => Some(ask.ino),
        O::Close(ask) => Some(ask.ino),
        O::Append(ask) => Some(ask.ino),
        O::SetAttr(ask) => Some(ask.ino),
        O::Fallocate(ask) => Some(ask.ino),
        O::SetLock(ask) => Some(ask.ino),
        O::CancelLock(ask) => Some(ask.ino),
        O::ReleaseLocks(ask) => Some(ask.ino),
        O::FinishShrink(ask) => Some(ask.ino),
        _ => None,
    }
}

/// How long an operation may take without anything being wrong: it may wait for chains, for what
/// another service is at, or for somebody's lock.
pub(crate) const fn is_long(operation: &Operation) -> bool {
    use Operation as O;
    match operation {
        O::Sync(_) | O::Close(_) | O::Append(_) | O::Fallocate(_) => true,
        O::SetLock(_) | O::RemoveTree(_) | O::PruneSession(_) | O::FinishShrink(_) => true,
        O::SetAttr(ask) => ask.change.size.is_some(),
        O::Open(ask) => ask.mode.truncate,
        O::Create(ask) => ask.open.is_some(),
        _ => false,
    }
}

/// The service for the next attempt: of those that were not tried, those first that are well. None
/// when all were tried.
pub(crate) fn choose(
    candidates: &[Candidate],
    meets_at: Option<InodeId>,
    random: u64,
) -> Option<NodeId> {
    let untried = |avoided| {
        let fits = move |one: &&Candidate| !one.is_tried && one.is_avoided == avoided;
        candidates.iter().filter(fits).copied().collect::<Vec<Candidate>>()
    };
    let well = untried(false);
    let pool = if well.is_empty() { untried(true) } else { well };
    if let Some(ino) = meets_at {
        return pool.iter().map(|one| one.node).max_by_key(|&node| weight(ino, node));
    }
    // The less busy one of two drawn at random: nearly as even as the least busy of all, and no
    // crowd runs to the same one.
    let count = u64::try_from(pool.len()).unwrap_or(u64::MAX);
    if count == 0 {
        return None;
    }
    let at = |draw: u64| {
        let index = usize::try_from(draw % count).expect("below the count of a slice");
        pool[index]
    };
    let (one, two) = (at(random & 0xffff_ffff), at(random >> 32));
    Some(if two.in_flight < one.in_flight { two.node } else { one.node })
}

/// Rendezvous: when a service comes or goes, only the inodes that it has move.
fn weight(ino: InodeId, node: NodeId) -> (u64, NodeId) {
    (mix64(ino.get() ^ mix64(u64::from(node.get()))), node)
}
