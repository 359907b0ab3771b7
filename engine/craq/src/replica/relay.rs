//! Cut-through (R1-R3): bytes pass down while they arrive, the trailer `Stored` follows when the
//! own record and that of all before are durable, and the end of the chain commits only then.

use engine_types::{ChunkId, reached};

use super::{Down, Effects, Replica};
use crate::effect::{Effect, Left, Source};
use crate::entry::{Own, Told};
use crate::message::{Message, Refusal, Version};
use crate::planted::{self, Bug};
use crate::words::Digest;

impl Replica {
    /// Passes a version on that is just arriving.
    pub(super) fn forward_stream(&mut self, chunk: ChunkId, out: &mut Effects) {
        let Some(entry) = self.entries.get(&chunk) else { return };
        if let Own::Receiving { payload, .. } = entry.own {
            self.forward(chunk, None, Source::Payload(payload), out);
        }
    }

    fn forward(
        &mut self,
        chunk: ChunkId,
        digest: Option<Digest>,
        source: Source,
        out: &mut Effects,
    ) {
        let (Some(to), Down::Ready) = (self.successor_of(chunk), self.down) else { return };
        let (walk, chain) = (self.walk, self.version);
        let entry =
            self.entries.get_mut(&chunk).expect("E342: only what is in flight is passed on");
        let (at, removal, tag) = (entry.at(chunk), entry.removal, entry.tag);
        let tag = tag.filter(|_| !planted::is(Bug::RequestNotForwarded));
        let message = Message::Forward { walk, at, removal, tag, digest };
        entry.told = Told::Forward;
        out.push(Effect::Send { to, chain, message, source });
    }

    /// The store has made the record, or not.
    pub(super) fn stored(
        &mut self,
        at: Version,
        result: Result<Digest, Refusal>,
        out: &mut Effects,
    ) {
        let entry = self.entries.get_mut(&at.chunk).expect("E343: what is stored is in flight");
        assert!(
            entry.version == at.version && entry.own == Own::Storing,
            "E343: {at:?} is stored, {:?} {:?} is in flight",
            entry.version,
            entry.own
        );
        let ending = entry.ending.is_some();
        match result {
            Ok(digest) => {
                entry.own = Own::Durable(digest);
                if ending {
                    self.journal_abort(at, out);
                } else if entry.ship {
                    self.ship_stored(at, out);
                } else if self.takes_part() && self.agrees(at, out) {
                    self.advance(at.chunk, out);
                }
            }
            Err(why) => {
                entry.own = Own::None;
                if why == Refusal::StoreFailed {
                    return self.leave(Left::StoreFailed { at }, out);
                }
                if ending {
                    self.abort_done(at.chunk, out);
                } else if self.takes_part() {
                    self.refused(at, why, out);
                } else {
                    self.drop_entry(at.chunk, why, out);
                }
            }
        }
    }

    /// Somebody, here or further down, cannot store a version: the head gives it up (R17).
    pub(super) fn refused(&mut self, at: Version, why: Refusal, out: &mut Effects) {
        let head = self.is_head();
        let Some(entry) = self.entries.get_mut(&at.chunk) else { return };
        if entry.version != at.version || entry.ending.is_some() {
            return;
        }
        if entry.ship {
            // There is no room for what the chain holds: it cannot be a member.
            return self.leave(Left::StoreFailed { at }, out);
        }
        if head {
            return self.begin_abort(at.chunk, why, None, out);
        }
        entry.refused = Some(why);
        if entry.covered {
            self.tell_up(|walk| Message::Refused { walk, at, why }, out);
        }
    }

    /// The predecessor's trailer.
    pub(super) fn trailer(&mut self, at: Version, digest: Digest, out: &mut Effects) {
        let before_durable = self.bug(Bug::TrailerBeforeDurable);
        let Some(entry) = self.entries.get_mut(&at.chunk) else { return };
        let parked = !entry.queue.is_empty();
        if parked || entry.version != at.version || !entry.covered || entry.ending.is_some() {
            return self.trailer_of_parked(at, digest);
        }
        entry.trailer = true;
        entry.expected = Some(digest);
        if before_durable && entry.told == Told::Forward {
            self.tell_down(at.chunk, |walk| Message::Stored { walk, at, digest }, out);
        }
        if self.agrees(at, out) {
            self.advance(at.chunk, out);
        }
    }

    /// Does what the state of a version allows: forward, trailer, commit at the end of the chain.
    pub(super) fn advance(&mut self, chunk: ChunkId, out: &mut Effects) {
        if !self.takes_part() {
            return;
        }
        let end = self.successor_of(chunk).is_none();
        let Some(entry) = self.entries.get(&chunk) else { return };
        let Own::Durable(digest) = entry.own else { return };
        // The head gives up what was refused, however often it is asked for until then.
        if entry.ending.is_some() || entry.ship || entry.refused.is_some() {
            return;
        }
        let mut trailer = entry.trailer || self.standing.predecessor.is_none();
        if end {
            trailer |= self.bug(Bug::TailIgnoresTrailer);
            if trailer {
                self.commit_at_end(chunk, out);
            }
            return;
        }
        if entry.told == Told::Nothing {
            self.forward(chunk, Some(digest), Source::Store, out);
        }
        let entry = self.entries.get_mut(&chunk).expect("it was there a line ago");
        if trailer && entry.told == Told::Forward {
            entry.told = Told::Trailer;
            let at = entry.at(chunk);
            assert!(matches!(entry.own, Own::Durable(_)), "E344: a trailer without a record");
            self.tell_down(chunk, |walk| Message::Stored { walk, at, digest }, out);
            if self.bug(Bug::CommittedBeforeTail) {
                self.commit(chunk, out);
            }
        }
    }

    fn commit_at_end(&mut self, chunk: ChunkId, out: &mut Effects) {
        let tag = self.entries.get(&chunk).and_then(|entry| entry.tag);
        let fenced = tag.is_some_and(|tag| self.is_fenced(tag.session));
        if self.is_tail() && !self.leased && !fenced {
            reached!("E345: a tail waits for its lease");
            self.lease_wanted = true;
            return;
        }
        self.commit(chunk, out);
    }

    /// Everything that waits for the lease.
    pub(super) fn lease_renewed(&mut self, out: &mut Effects) {
        if !self.leased || !core::mem::take(&mut self.lease_wanted) {
            return;
        }
        let chunks: alloc::vec::Vec<ChunkId> = self.entries.keys().copied().collect();
        for chunk in chunks {
            self.advance(chunk, out);
        }
    }
}
