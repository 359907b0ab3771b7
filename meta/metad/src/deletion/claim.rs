//! Which process collects which shard of the deletion queue.
//!
//! A claim saves work and decides nothing: two processes that collect the same shard remove the
//! same chunks of files that nobody can open any more, and one of their transactions conflicts
//! (E452). So a claim is taken without asking whether its holder is really gone: its record has
//! not changed for a while, by this process's own clock (no clock of another is compared, L2).

use core::time::Duration;

use engine_types::{Instant, SessionId};
use meta_schema::limits::DELETION_SHARDS;

#[cfg(test)]
mod tests;

/// How often a holder says that it is there.
pub(crate) const CLAIM_BEAT: Duration = Duration::from_secs(3);
/// Silence after which a shard is taken over: four beats and a slow transaction.
pub(crate) const CLAIM_SILENCE: Duration = Duration::from_secs(15);
/// Time between two takings, so that processes that start together share the shards.
pub(crate) const CLAIM_PACE: Duration = Duration::from_millis(500);

const SHARDS: usize = DELETION_SHARDS as usize;

/// What a claim says: who, and a number that it raises with every beat.
pub(crate) type Stored = Option<(SessionId, u64)>;

/// What to do about a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Ours, and said so a moment ago: collect.
    Ours,
    /// Write this beat, if the record is still what it was, then collect.
    Write(u64),
    /// Somebody else's.
    Theirs,
}

/// What this process knows of the claims.
#[derive(Debug)]
pub(crate) struct Claims {
    me: SessionId,
    /// The record of each shard, and since when it has been that.
    seen: [Option<(Stored, Instant)>; SHARDS],
    taken: Option<Instant>,
}

impl Claims {
    pub(crate) const fn new(me: SessionId) -> Self {
        Self { me, seen: [None; SHARDS], taken: None }
    }

    /// Whether a shard was ours and said so lately: then it need not be read.
    pub(crate) fn is_ours(&self, shard: u8, now: Instant) -> bool {
        self.seen[usize::from(shard)].is_some_and(|(stored, since)| {
            stored.is_some_and(|(who, _)| who == self.me)
                && now.saturating_since(since) < CLAIM_BEAT
        })
    }

    /// What to do about a shard of which `stored` was read just now.
    pub(crate) fn judge(&mut self, shard: u8, stored: Stored, now: Instant) -> Stand {
        let seen = &mut self.seen[usize::from(shard)];
        let since = match *seen {
            Some((last, since)) if last == stored => since,
            _ => now,
        };
        *seen = Some((stored, since));
        let silence = now.saturating_since(since);
        match stored {
            Some((who, _)) if who == self.me && silence < CLAIM_BEAT => Stand::Ours,
            Some((who, beat)) if who == self.me => Stand::Write(beat.wrapping_add(1)),
            Some(_) if silence < CLAIM_SILENCE => Stand::Theirs,
            _ if self.taken.is_some_and(|at| now.saturating_since(at) < CLAIM_PACE) => {
                Stand::Theirs
            }
            other => {
                self.taken = Some(now);
                Stand::Write(other.map_or(0, |(_, beat)| beat.wrapping_add(1)))
            }
        }
    }

    /// The record now says `beat` of ours.
    pub(crate) fn written(&mut self, shard: u8, beat: u64, now: Instant) {
        self.seen[usize::from(shard)] = Some((Some((self.me, beat)), now));
    }
}
