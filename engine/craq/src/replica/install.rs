//! A chain version is installed: who is who, and what becomes of the versions in flight (R6, R7,
//! R10, R20).
//!
//! Whatever was told to neighbours counts for nothing from then on. A replica that serves takes up
//! each version in flight again, in chunk order, as soon as its new successor listens. Re-stamping
//! needs no table (R7): who is serving in two versions in the same start was serving in all between
//! them, as nobody returns but by syncing, and to sync it has to install that version and to drop
//! what it had. What was admitted before is dropped when this replica is not serving, except
//! durable records, which a last server may need (R10).

use alloc::vec::Vec;

use engine_types::{ChainInfo, ChunkId, PublicState, Timeline, reached};

use super::resync::Resync;
use super::{Down, Effects, Replica};
use crate::effect::Effect;
use crate::entry::{Ending, Journal, Own, Told};
use crate::event::Space;
use crate::message::{Message, Refusal};
use crate::planted::Bug;
use crate::standing::Standing;

impl Replica {
    pub(super) fn install(&mut self, timeline: Timeline, chain: &ChainInfo, out: &mut Effects) {
        if timeline < self.timeline || chain.version < self.version {
            reached!("E340: an older chain version or timeline arrived");
            return;
        }
        let standing = self.standing_in(chain);
        if chain.version == self.version && standing == self.standing {
            return;
        }
        let known = self.standing != Standing::NONE;
        assert!(self.version < chain.version || !known, "E340: {} twice", chain.version);
        // The lease is of the former version; a renewal says when that of this one holds.
        self.leased = false;
        self.timeline = timeline;
        self.version = chain.version;
        let was_head = self.is_head();
        self.standing = standing;
        if standing.state == PublicState::Syncing {
            self.left = false;
        }
        out.push(Effect::Install { timeline, version: chain.version });
        self.down = Down::Silent;
        self.up = None;
        self.space_below = None;
        self.resync = Resync::default();
        self.synced = false;
        self.refuse_reads(Refusal::StaleChain, out);
        self.refuse_queue(out);
        for entry in self.entries.values_mut() {
            entry.forget_above();
            entry.inherited = true;
            entry.told = Told::Nothing;
            entry.refused = None;
        }
        match standing.state {
            PublicState::Serving if !self.left => self.take_up(was_head, out),
            PublicState::Syncing => self.drop_pendings(out),
            _ => self.stand_aside(out),
        }
        self.greet(out);
        self.ask(out);
    }

    fn standing_in(&self, chain: &ChainInfo) -> Standing {
        if self.bug(Bug::StartInherits) {
            let mut chain = chain.clone();
            for member in &mut chain.members {
                if member.target == self.own.target {
                    member.incarnation = self.own.incarnation;
                }
            }
            return Standing::new(self.own, &chain);
        }
        Standing::new(self.own, chain)
    }

    /// Updates that wait name the former chain version: their clients ask for the new one.
    fn refuse_queue(&mut self, out: &mut Effects) {
        let chunks: Vec<ChunkId> = self.entries.keys().copied().collect();
        for chunk in chunks {
            let queue = self.entries.get_mut(&chunk).map(|entry| core::mem::take(&mut entry.queue));
            for offer in queue.into_iter().flatten() {
                self.queued -= 1;
                self.refuse_offer(chunk, offer, Refusal::StaleChain, out);
            }
        }
    }

    /// Serving: goes on with what is in flight, in chunk order.
    fn take_up(&mut self, was_head: bool, out: &mut Effects) {
        let chunks: Vec<ChunkId> = self.entries.keys().copied().collect();
        for chunk in chunks {
            let below = self.successor_of(chunk).is_none();
            let entry = self.entries.get_mut(&chunk).expect("only this loop removes entries");
            if let Some(ending) = &mut entry.ending {
                ending.below = below;
                self.abort_done(chunk, out);
                continue;
            }
            let own = entry.own;
            match own {
                // The stream came from the former predecessor, or passes through the former
                // dialogue: whoever holds the version sends it again.
                Own::Receiving { .. } if !(was_head && self.standing.is_head()) => {
                    self.drop_entry(chunk, Refusal::StaleChain, out);
                }
                Own::None if self.standing.is_head() => {
                    self.begin_abort(chunk, Refusal::StoreFailed, None, out);
                }
                Own::Durable(_) if self.bug(Bug::PendingsGivenUp) => {
                    self.begin_abort(chunk, Refusal::StaleChain, None, out);
                }
                _ if self.bug(Bug::NewTailWaits) => {}
                _ => self.advance(chunk, out),
            }
        }
    }

    /// Syncing: the predecessor decides what this replica holds, so nothing in flight stays (R6).
    pub(super) fn drop_pendings(&mut self, out: &mut Effects) {
        if self.bug(Bug::PendingsKept) {
            return;
        }
        let chunks: Vec<ChunkId> = self.entries.keys().copied().collect();
        for chunk in chunks {
            let entry = self.entries.get_mut(&chunk).expect("only this loop removes entries");
            if let Some(ending) = &mut entry.ending {
                ending.below = true;
                self.abort_done(chunk, out);
            } else {
                self.begin_abort(chunk, Refusal::StaleChain, None, out);
            }
        }
    }

    /// Not serving: clients ask elsewhere; durable records stay for a last server (R6, R10).
    pub(super) fn stand_aside(&mut self, out: &mut Effects) {
        self.refuse_reads(Refusal::StaleChain, out);
        self.refuse_queue(out);
        let chunks: Vec<ChunkId> = self.entries.keys().copied().collect();
        for chunk in chunks {
            let entry = self.entries.get_mut(&chunk).expect("only this loop removes entries");
            let joined = core::mem::take(&mut entry.joined);
            let own = entry.own;
            if let Some(ending) = &mut entry.ending {
                ending.below = true;
                self.abort_done(chunk, out);
            } else if matches!(own, Own::Receiving { .. } | Own::None) {
                self.drop_entry(chunk, Refusal::StaleChain, out);
            }
            self.answer_all(joined, Err(Refusal::StaleChain), out);
        }
    }

    /// Removes a version of which nothing is durable here, and has told nobody who would keep it.
    pub(super) fn drop_entry(&mut self, chunk: ChunkId, why: Refusal, out: &mut Effects) {
        let Some(entry) = self.entries.remove(&chunk) else { return };
        assert!(
            matches!(entry.own, Own::Receiving { .. } | Own::None),
            "E346: {chunk} is dropped with a record"
        );
        if let Own::Receiving { payload, .. } = entry.own {
            self.payloads.remove(&payload);
            out.push(Effect::Discard(payload));
        }
        self.closed(chunk, entry, Err(why), out);
    }

    /// The successor may begin a dialogue with a replica that has nothing in flight of its own.
    pub(super) fn ask(&mut self, out: &mut Effects) {
        if self.left || self.drops_pendings() {
            return;
        }
        if let (Some(to), None) = (self.standing.predecessor, self.up) {
            self.send(to, Message::Ask, out);
        }
    }

    /// Whether it is still dropping what it held before it was syncing.
    pub(super) fn drops_pendings(&self) -> bool {
        let syncing = self.standing.state == PublicState::Syncing && !self.synced;
        syncing && self.up.is_none() && !self.entries.is_empty() && !self.bug(Bug::PendingsKept)
    }

    /// Gives back what a version had promised (R18).
    pub(super) fn unpromise(&mut self, growth: Space) {
        self.promised = self.promised.minus(growth);
    }

    /// What an abort has to do here first.
    pub(super) fn journal_of(own: Own) -> Journal {
        match own {
            Own::Storing => Journal::AfterStore,
            Own::Durable(_) => Journal::UnderWay,
            Own::Receiving { .. } | Own::None => Journal::Done,
        }
    }

    /// An ending with nothing told yet.
    pub(super) const fn ending(journal: Journal, below: bool, why: Refusal) -> Ending {
        Ending { journal, below, above: None, why }
    }
}
