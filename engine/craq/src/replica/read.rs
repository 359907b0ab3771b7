//! Apportioned reads (R8, R9): every serving replica answers, with the version that is committed
//! at the tail, or a newer one.
//!
//! A tail knows, except for what was in flight before it was the tail of this chain version: the
//! tail before it, or its own former start, may have committed that and shown it (E351). Until the
//! version is committed or given up, it neither serves nor answers.
//!
//! Without a version in flight the own committed version is that of the tail. With one, the tail
//! may have committed it: a read asks. The answer counts only for the version that was in flight
//! when it asked; it is then the one before it, which is served, or another, and then the commit
//! here is on its way and the read waits for it.

use engine_types::{ChainVersion, ChunkId, ChunkVersion};

use super::{Effects, Replica};
use crate::effect::Effect;
use crate::event::Local;
use crate::limits::{ASKS_MAX, READS_MAX};
use crate::message::{Message, Refusal};
use crate::planted::Bug;
use crate::read::{For, WaitingRead};
use crate::standing::Peer;
use crate::words::{QueryId, ReadId};

impl Replica {
    pub(super) fn read(
        &mut self,
        id: ReadId,
        chain: ChainVersion,
        chunk: ChunkId,
        out: &mut Effects,
    ) {
        if self.version < chain {
            out.push(Effect::FetchRouting { version: chain });
        }
        if chain != self.version || self.left || !self.standing.serves() {
            return out.push(Effect::RefuseRead { id, why: Refusal::StaleChain });
        }
        self.pick(id, chunk, 0, out);
    }

    /// Picks the version of a read, or has it wait.
    fn pick(&mut self, id: ReadId, chunk: ChunkId, asks: u8, out: &mut Effects) {
        if !self.leased && !self.bug(Bug::ReadWithoutLease) {
            return out.push(Effect::RefuseRead { id, why: Refusal::NotLeased });
        }
        let pending = self.entries.contains_key(&chunk) && !self.bug(Bug::NeverAsk);
        if !pending || (self.is_tail() && !self.is_inherited(chunk)) {
            return out.push(Effect::Serve(id));
        }
        if READS_MAX <= self.reads.len() {
            return out.push(Effect::RefuseRead { id, why: Refusal::Busy });
        }
        let other = self.standing.tail.filter(|_| !self.is_tail());
        let (Some(to), true) = (other, asks < ASKS_MAX) else {
            return self.reads.wait(chunk, WaitingRead { id, asks, waits: For::Commit });
        };
        let query = self.reads.next_query();
        let serial = self.entries.get(&chunk).map_or(0, |entry| entry.serial);
        let waits = For::Answer { query, serial };
        self.reads.wait(chunk, WaitingRead { id, asks: asks + 1, waits });
        self.send(to, Message::Query { query, chunk }, out);
    }

    /// Whether a former tail may have committed the version in flight (E351).
    fn is_inherited(&self, chunk: ChunkId) -> bool {
        let inherited = self.entries.get(&chunk).is_some_and(|entry| entry.inherited);
        inherited && !self.bug(Bug::InheritedServed)
    }

    /// Another replica asks the tail.
    pub(super) fn query(
        &self,
        from: Peer,
        query: QueryId,
        chunk: ChunkId,
        local: &Local,
        out: &mut Effects,
    ) {
        let knows = self.is_tail() && self.leased && !self.is_inherited(chunk);
        let committed = knows.then(|| local.version());
        self.send(from, Message::Answer { query, committed }, out);
    }

    /// The tail's answer; sender's chain version and own are the same.
    pub(super) fn answered(
        &mut self,
        from: Peer,
        query: QueryId,
        committed: Option<Option<ChunkVersion>>,
        out: &mut Effects,
    ) {
        if Some(from) != self.standing.tail {
            return;
        }
        let Some((chunk, read)) = self.reads.take_asked(query) else { return };
        let For::Answer { serial, .. } = read.waits else { return };
        if self.bug(Bug::StaleAnswerCounts) {
            return out.push(Effect::Serve(read.id));
        }
        // Whoever asked was woken when its version left flight, and this question forgotten.
        let entry = self.entries.get(&chunk).filter(|entry| entry.serial == serial);
        let entry = entry.expect("E345: an answer counts for the version that was in flight");
        if committed != Some(entry.base) {
            // The tail has committed, or may not say: the end of the version will tell.
            self.reads.wait(chunk, WaitingRead { waits: For::Commit, ..read });
        } else if self.leased || self.bug(Bug::ReadWithoutLease) {
            out.push(Effect::Serve(read.id));
        } else {
            out.push(Effect::RefuseRead { id: read.id, why: Refusal::NotLeased });
        }
    }

    /// The version in flight has left: reads that waited for it pick anew.
    pub(super) fn wake_reads(&mut self, chunk: ChunkId, out: &mut Effects) {
        for read in self.reads.take(chunk) {
            self.pick(read.id, chunk, read.asks, out);
        }
    }

    pub(super) fn refuse_reads(&mut self, why: Refusal, out: &mut Effects) {
        let all = self.reads.take_all();
        out.extend(all.into_iter().map(|read| Effect::RefuseRead { id: read.id, why }));
    }

    /// The tail is out of reach.
    pub(super) fn reads_wait(&mut self) {
        self.reads.expect_commits();
    }
}
