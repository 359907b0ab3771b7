//! Commits run from the tail to the head, acknowledgements with them (R1, R16).

use engine_types::ChunkId;

use super::{Effects, Replica};
use crate::effect::{Effect, Left};
use crate::entry::Own;
use crate::message::{Message, Version};

impl Replica {
    /// Commits the version in flight: it is durable here and at everybody else who serves.
    pub(super) fn commit(&mut self, chunk: ChunkId, out: &mut Effects) {
        let entry = self.entries.remove(&chunk).expect("E345: only what is in flight is committed");
        assert!(matches!(entry.own, Own::Durable(_)), "E345: {chunk} is committed, not durable");
        assert!(entry.ending.is_none(), "E346: {chunk} is committed and given up");
        let at = entry.at(chunk);
        out.push(Effect::Commit(at));
        if entry.covered {
            self.ack(at, out);
        }
        let result = entry.result();
        self.closed(chunk, entry, Ok(result), out);
    }

    pub(super) fn ack(&self, at: Version, out: &mut Effects) {
        let space = self.least_space();
        self.tell_up(|walk| Message::Ack { walk, at, space }, out);
    }

    /// The successor and all behind it have committed.
    pub(super) fn acked(&mut self, at: Version, out: &mut Effects) {
        let Some(entry) = self.entries.get(&at.chunk).filter(|e| e.version == at.version) else {
            return; // it was committed here before a new dialogue repeated it
        };
        if entry.ending.is_some() || !matches!(entry.own, Own::Durable(_)) {
            return self.leave(Left::PeerBroke { at }, out);
        }
        self.commit(at.chunk, out);
    }
}
