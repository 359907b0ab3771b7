//! The dialogue between neighbours: from a connection and a common chain version to the walk over
//! what is in flight (R6), and what a lost connection leaves.
//!
//! The predecessor begins with `Hello` and a number; a successor of the same chain version forgets
//! what earlier dialogues said and answers `Ready`; then the predecessor names every version it
//! holds, and ends with `Walked`. All of it may be repeated at any time: a version that the
//! successor has is compared by digest, one that the predecessor does not name is given up.

use alloc::vec::Vec;

use engine_types::{ChunkId, PublicState, reached};

use super::{Down, Effects, Replica};
use crate::entry::{Own, Told};
use crate::message::{Message, Refusal};
use crate::planted::Bug;
use crate::standing::Peer;
use crate::words::Walk;

impl Replica {
    pub(super) fn link_up(&mut self, peer: Peer, out: &mut Effects) {
        if Some(peer) == self.standing.successor {
            self.greet(out);
        }
        if Some(peer) == self.standing.predecessor && self.up.is_none() {
            self.ask(out);
        }
    }

    pub(super) fn link_down(&mut self, peer: Peer, out: &mut Effects) {
        if Some(peer) == self.standing.successor {
            self.silence(out);
        }
        if Some(peer) == self.standing.predecessor {
            self.up = None;
            self.forget_predecessor(out);
            if self.drops_pendings() {
                self.drop_pendings(out);
            }
        }
        if Some(peer) == self.standing.tail {
            self.reads_wait();
        }
    }

    /// The dialogue with the successor is over: everything will be told again.
    fn silence(&mut self, out: &mut Effects) {
        self.down = Down::Silent;
        for entry in self.entries.values_mut() {
            entry.told = Told::Nothing;
        }
        self.resync_lost(out);
    }

    /// Begins a dialogue with the successor.
    pub(super) fn greet(&mut self, out: &mut Effects) {
        let Some(to) = self.standing.successor.filter(|_| self.takes_part()) else { return };
        self.silence(out);
        self.walk = Walk(self.walk.0 + 1);
        self.down = Down::Greeted;
        self.send(to, Message::Hello { walk: self.walk }, out);
    }

    /// A new dialogue above. Streams of the former one have ended; their bytes come again.
    fn forget_predecessor(&mut self, out: &mut Effects) {
        let chunks: Vec<ChunkId> = self.entries.keys().copied().collect();
        for chunk in chunks {
            let entry = self.entries.get_mut(&chunk).expect("only this loop removes entries");
            entry.forget_above();
            let parked = core::mem::take(&mut entry.queue);
            let own = entry.own;
            for offer in parked {
                self.queued -= 1;
                self.refuse_offer(chunk, offer, Refusal::StreamEnded, out);
            }
            if matches!(own, Own::Receiving { .. }) {
                self.stream_aborted(chunk, out);
            }
        }
    }

    /// What a predecessor says, except `Forward`.
    pub(super) fn hear_predecessor(&mut self, message: Message, out: &mut Effects) {
        if let Message::Hello { walk } = message {
            return self.hello(walk, out);
        }
        let Some(walk) = self.up else { return };
        match message {
            Message::Stored { walk: of, at, digest } if of == walk => self.trailer(at, digest, out),
            Message::Abort { walk: of, at } if of == walk => self.abort_told(at, walk, out),
            Message::Walked { walk: of } if of == walk => self.walked(out),
            Message::Erase { walk: of, chunk } if of == walk => self.erase_told(chunk, out),
            Message::SyncDone { walk: of } if of == walk => self.sync_done(out),
            _ => reached!("E342: a message of an earlier dialogue with the predecessor"),
        }
    }

    fn hello(&mut self, walk: Walk, out: &mut Effects) {
        let unsynced = self.standing.state == PublicState::Syncing && !self.synced;
        if unsynced {
            self.up = None;
        }
        if self.left {
            return;
        }
        if self.drops_pendings() {
            self.forget_predecessor(out);
            self.drop_pendings(out);
        }
        if self.drops_pendings() {
            return; // `Ask` follows
        }
        self.up = Some(walk);
        self.forget_predecessor(out);
        let space = self.least_space();
        self.space_told = space;
        self.tell_up(|walk| Message::Ready { walk, space }, out);
    }

    /// Everything the predecessor holds was named: the rest is given up, down the chain (R6, R17).
    fn walked(&mut self, out: &mut Effects) {
        let stray = self.entries.iter().filter(|(_, e)| !e.covered && e.ending.is_none());
        let stray: Vec<ChunkId> = stray.map(|(chunk, _)| *chunk).collect();
        for chunk in stray {
            reached!("E346: a version in flight that the predecessor does not hold");
            self.begin_abort(chunk, Refusal::StaleChain, None, out);
        }
    }

    /// What a successor says.
    pub(super) fn hear_successor(&mut self, message: Message, out: &mut Effects) {
        let current = self.walk;
        match message {
            Message::Ask => self.greet(out),
            Message::Ready { walk, space } if walk == current && self.down == Down::Greeted => {
                self.space_below = Some(space);
                self.down = Down::Ready;
                self.walk_down(out);
            }
            _ if self.down != Down::Ready => reached!("E342: a successor before its `Ready`"),
            Message::Ack { walk, at, space } if walk == current => {
                self.space_below = Some(space);
                self.acked(at, out);
            }
            Message::Room { walk, space } if walk == current => self.space_below = Some(space),
            Message::Refused { walk, at, why } if walk == current => self.refused(at, why, out),
            Message::Aborted { walk, at } if walk == current => self.aborted_below(at, out),
            Message::Shipped { walk, chunk } if walk == current => self.shipped(chunk, out),
            _ => reached!("E342: a message of an earlier dialogue with the successor"),
        }
    }

    /// Names every version in flight, in chunk order (R6). What is not durable here yet is sent
    /// from its beginning when it is.
    fn walk_down(&mut self, out: &mut Effects) {
        if !self.bug(Bug::PendingsNotWalked) {
            let chunks: Vec<ChunkId> = self.entries.keys().copied().collect();
            for chunk in chunks {
                let entry = &self.entries[&chunk];
                if let Some(ending) = entry.ending {
                    if !ending.below && !self.bug(Bug::AbortNotSent) {
                        let at = entry.at(chunk);
                        self.tell_down(chunk, |walk| Message::Abort { walk, at }, out);
                    }
                } else {
                    self.advance(chunk, out);
                }
            }
        }
        if let Some(to) = self.standing.successor {
            self.send(to, Message::Walked { walk: self.walk }, out);
        }
        self.resync_begin(out);
    }
}
