//! Giving a version up (R17): a journal record on each replica that holds it, down the chain, and
//! its number is free again only when everybody has said so.
//!
//! The head begins it when a replica cannot store the version; a successor begins it for what its
//! predecessor does not hold (`Walked`); a replica that enters SYNCING begins it for everything it
//! holds. Nobody can have committed the version: the tail commits only after the trailer, which
//! needs the record of everybody.

use engine_types::{ChunkId, reached};

use super::{Effects, Replica};
use crate::effect::Effect;
use crate::entry::{Journal, Own};
use crate::message::{Message, Refusal, Version};
use crate::planted::Bug;
use crate::words::Walk;

impl Replica {
    /// Gives up the version in flight of a chunk. `above`: the dialogue that wants to be told.
    pub(super) fn begin_abort(
        &mut self,
        chunk: ChunkId,
        why: Refusal,
        above: Option<Walk>,
        out: &mut Effects,
    ) {
        let below = self.successor_of(chunk).is_none() || self.bug(Bug::AbortNotSent);
        let entry = self.entries.get_mut(&chunk).expect("E346: only what is in flight is given up");
        assert!(entry.ending.is_none(), "E346: {chunk} is given up twice");
        let at = entry.at(chunk);
        if let Own::Receiving { payload, .. } = entry.own {
            entry.own = Own::None;
            self.payloads.remove(&payload);
            out.push(Effect::Discard(payload));
        }
        let entry = self.entries.get_mut(&chunk).expect("it was there a line ago");
        let mut ending = Self::ending(Self::journal_of(entry.own), below, why);
        ending.above = above;
        entry.ending = Some(ending);
        if !below {
            self.tell_down(chunk, |walk| Message::Abort { walk, at }, out);
        }
        if ending.journal == Journal::UnderWay {
            self.journal_abort(at, out);
        } else {
            self.abort_done(chunk, out);
        }
    }

    /// The record is durable and has to go.
    pub(super) fn journal_abort(&mut self, at: Version, out: &mut Effects) {
        let unjournaled = self.bug(Bug::AbortNotJournaled);
        let entry =
            self.entries.get_mut(&at.chunk).expect("E346: it is in flight until it is gone");
        assert!(matches!(entry.own, Own::Durable(_)), "E346: an abort before its record");
        let ending = entry.ending.as_mut().expect("E346: the caller has begun it");
        ending.journal = if unjournaled { Journal::Done } else { Journal::UnderWay };
        if !unjournaled {
            return out.push(Effect::Abort(at));
        }
        self.abort_done(at.chunk, out);
    }

    /// The own abort is durable.
    pub(super) fn abort_stored(&mut self, at: Version, out: &mut Effects) {
        let entry = self.entries.get_mut(&at.chunk).filter(|entry| entry.version == at.version);
        let entry = entry.expect("E346: a version stays in flight until its abort is durable");
        entry.own = Own::None;
        let ending = entry.ending.as_mut().expect("E346: its abort was asked for");
        ending.journal = Journal::Done;
        self.abort_done(at.chunk, out);
    }

    /// The successor and all behind it hold nothing of a version any more.
    pub(super) fn aborted_below(&mut self, at: Version, out: &mut Effects) {
        let entry = self.entries.get_mut(&at.chunk).filter(|entry| entry.version == at.version);
        if let Some(ending) = entry.and_then(|entry| entry.ending.as_mut()) {
            ending.below = true;
            self.abort_done(at.chunk, out);
        }
    }

    /// The predecessor gives a version up.
    pub(super) fn abort_told(&mut self, at: Version, walk: Walk, out: &mut Effects) {
        let Some(entry) = self.entries.get_mut(&at.chunk) else {
            return self.tell_up(|walk| Message::Aborted { walk, at }, out);
        };
        if let Some(offer) = entry.queue.pop_front() {
            reached!("E346: an abort of a version that waits for its number");
            self.queued -= 1;
            self.refuse_offer(at.chunk, offer, Refusal::StreamEnded, out);
        }
        let entry = self.entries.get_mut(&at.chunk).expect("its queue was changed, not itself");
        match &mut entry.ending {
            _ if entry.version != at.version => {
                self.tell_up(|walk| Message::Aborted { walk, at }, out);
            }
            Some(ending) => ending.above = Some(walk),
            None => self.begin_abort(at.chunk, Refusal::StreamEnded, Some(walk), out),
        }
    }

    /// Ends an abort of which every part is done.
    pub(super) fn abort_done(&mut self, chunk: ChunkId, out: &mut Effects) {
        let entry = self.entries.get_mut(&chunk).expect("E346: it is in flight until it is gone");
        let Some(ending) = entry.ending else { return };
        if entry.own == Own::None {
            entry.ending = Some(crate::entry::Ending { journal: Journal::Done, ..ending });
        } else if ending.journal != Journal::Done {
            return;
        }
        if !ending.below {
            return;
        }
        let Some(entry) = self.entries.remove(&chunk) else { return };
        let at = entry.at(chunk);
        if ending.above.is_some() && ending.above == self.up {
            self.tell_up(|walk| Message::Aborted { walk, at }, out);
        }
        self.closed(chunk, entry, Err(ending.why), out);
    }
}
