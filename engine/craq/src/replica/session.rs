//! Revoked sessions (L6, R16): refused from the revocation on, drained when nothing admitted is
//! left, forgotten only after that.

use alloc::vec::Vec;

use engine_store::{Fence, Tag};
use engine_types::{ChannelId, ChunkId, SessionId};

use super::{Effects, Replica};
use crate::effect::Effect;
use crate::message::Refusal;
use crate::planted::Bug;

impl Replica {
    /// Updates of revoked sessions that were admitted and are neither committed nor given up. The
    /// node confirms a revocation when this is zero on all its replicas. What a replica holds that
    /// stands aside does not count: if that is ever promoted, nothing was done in its chain since,
    /// so it stands before whatever the revocation is waited for with.
    pub fn admitted(&self, fence: Fence) -> usize {
        let counts = self.takes_part() && !self.bug(Bug::FenceNotAwaited);
        if counts { self.fenced_tags(fence).count() } else { 0 }
    }

    /// Whether it knows of a revocation (E390).
    pub fn is_told(&self, fence: Fence) -> bool {
        match fence {
            Fence::One(session) => self.is_fenced(session),
            Fence::Below(bound) => bound <= self.fences.below(),
        }
    }

    /// Whether it knows that a session is revoked.
    pub(super) fn is_fenced(&self, session: SessionId) -> bool {
        self.fences.is_fenced(session)
    }

    fn fenced_tags(&self, fence: Fence) -> impl Iterator<Item = (&Tag, &ChunkId)> {
        let (first, last) = match fence {
            Fence::One(session) => (session, session),
            Fence::Below(bound) => (SessionId::new(0), bound),
        };
        let first = Tag { session: first, channel: ChannelId::new(0), seq: 0 };
        let last = Tag { session: last, channel: ChannelId::new(u32::MAX), seq: u64::MAX };
        let within = move |tag: &Tag| match fence {
            Fence::One(_) => true,
            Fence::Below(bound) => tag.session < bound,
        };
        self.tags.range(first..=last).filter(move |(tag, _)| within(tag))
    }

    /// The store refuses these sessions from now on; what waits of them is not admitted any more.
    /// What was admitted comes to its end without a lease, as nodes get none before they have
    /// drained what is revoked (E294); a commit that no reader has a lease for shows nothing.
    pub(super) fn revoked(&mut self, fence: Fence, out: &mut Effects) {
        self.fences.replay(fence);
        let named: Vec<(Tag, ChunkId)> = self.fenced_tags(fence).map(|(t, c)| (*t, *c)).collect();
        for (tag, chunk) in named {
            let entry = self.entries.get_mut(&chunk).expect("E348: a tag names a chunk in flight");
            let place = entry.queue.iter().position(|offer| offer.tag == Some(tag));
            // What the predecessor sends was admitted by the head; the head drains it.
            let Some(place) = place.filter(|&place| entry.queue[place].version.is_none()) else {
                continue;
            };
            if let Some(offer) = entry.queue.remove(place) {
                self.queued -= 1;
                self.refuse_offer(chunk, offer, Refusal::Fenced, out);
            }
        }
        let chunks: Vec<ChunkId> = self.fenced_tags(fence).map(|(_, chunk)| *chunk).collect();
        for chunk in chunks {
            self.advance(chunk, out);
        }
    }

    /// What is remembered of a session goes, once it can never be asked for again.
    ///
    /// # Panics
    /// E349: the session is not fenced, or something of it is admitted.
    pub(super) fn forgotten(&self, session: SessionId, fenced: bool, out: &mut Effects) {
        assert!(fenced, "E349: {session} is not fenced");
        assert_eq!(self.admitted(Fence::One(session)), 0, "E349: {session} is not drained");
        out.push(Effect::DropSession(session));
    }
}
