//! Resync by a cursor (R11-R13, R15, R19): how a syncing successor comes to hold what the tail
//! holds, while clients write.
//!
//! The predecessor passes chunks in order. At or below the cursor they belong to the successor:
//! updates flow to it and need its acknowledgement. Above it nothing is sent. A chunk is passed in
//! one turn, and only when nothing of it is in flight, since that may have been committed by a
//! former tail (E352): either its digest is that of the successor, or it is shipped as a whole, or
//! removed there. What follows on the link finds it in place.
//!
//! Remembered requests are shipped before the first chunk and again behind the last (R15). Then
//! `SyncDone`: from there on no commit without the successor, whatever happens to the link (R11). A
//! new dialogue before that starts from the beginning; a new chain version always does.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Bound;

use engine_types::{ChunkId, ChunkVersion, PublicState, reached};

use super::{Down, Effects, Replica};
use crate::effect::{Effect, Left, Source};
use crate::entry::{Entry, Offer, Own, Told};
use crate::event::{Compared, Local, Space};
use crate::limits::SHIPS_MAX;
use crate::message::{Message, Refusal, Version};
use crate::planted::Bug;
use crate::words::{Digest, Payload, Walk};

/// How far the successor holds everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cursor {
    /// Nowhere.
    #[default]
    Start,
    /// Up to this chunk, without it.
    Before(ChunkId),
    /// Up to this chunk.
    At(ChunkId),
    /// Everywhere.
    End,
}

/// What the predecessor of a syncing replica waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waits {
    #[default]
    Nothing,
    /// The first shipment of remembered requests.
    FirstOutcomes,
    /// The successor's list of a range.
    Lists,
    /// The end of the version in flight of this chunk.
    Chunk(ChunkId),
    /// Shipments under way.
    Ships,
    /// The last shipment of remembered requests.
    LastOutcomes,
    /// A newer chain version: all is done (R11).
    Promotion,
}

/// The predecessor's side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resync {
    cursor: Cursor,
    waits: Waits,
    /// Chunks that were shipped or removed and are not durable at the successor.
    shipping: BTreeSet<ChunkId>,
}

/// What one side holds of a chunk.
type Held = Option<(ChunkVersion, Digest)>;

impl Cursor {
    /// Whether it has passed a chunk.
    pub fn covers(self, chunk: ChunkId) -> bool {
        match self {
            Self::Start => false,
            Self::Before(bound) => chunk < bound,
            Self::At(bound) => chunk <= bound,
            Self::End => true,
        }
    }
}

impl Resync {
    /// Whether the successor gets the updates of a chunk.
    pub(crate) fn flows(&self, chunk: ChunkId) -> bool {
        self.cursor.covers(chunk)
    }

    pub(crate) fn len(&self) -> usize {
        self.shipping.len()
    }
}

impl Replica {
    /// The dialogue with the successor is over. Unless all was done, it starts anew, and what
    /// waited for the successor waits no more.
    pub(super) fn resync_lost(&mut self, out: &mut Effects) {
        let promised =
            self.resync.waits == Waits::Promotion && !self.bug(Bug::DroppedAfterSyncDone);
        if promised || self.resync.waits == Waits::Nothing {
            return;
        }
        reached!("E352: a resync starts from the beginning");
        self.resync = Resync::default();
        let chunks: Vec<ChunkId> = self.entries.keys().copied().collect();
        for chunk in chunks {
            let Some(entry) = self.entries.get_mut(&chunk) else { continue };
            if let Some(ending) = &mut entry.ending {
                ending.below = true;
                self.abort_done(chunk, out);
            } else if entry.own == Own::None && self.standing.predecessor.is_none() {
                self.begin_abort(chunk, Refusal::StoreFailed, None, out);
            } else {
                self.advance(chunk, out);
            }
        }
    }

    /// A syncing successor is ready.
    pub(super) fn resync_begin(&mut self, out: &mut Effects) {
        let Some(to) = self.standing.successor.filter(|_| self.standing.successor_syncs) else {
            return;
        };
        if self.resync.waits == Waits::Promotion {
            return self.send(to, Message::SyncDone { walk: self.walk }, out);
        }
        self.resync = Resync { waits: Waits::FirstOutcomes, ..Resync::default() };
        out.push(Effect::ShipOutcomes { to, walk: self.walk });
    }

    /// The successor remembers, durably, what was shipped in this dialogue.
    pub(super) fn outcomes_shipped(&mut self, walk: Walk, out: &mut Effects) {
        if walk != self.walk || self.down != Down::Ready {
            return;
        }
        match (self.resync.waits, self.standing.successor) {
            (Waits::FirstOutcomes, _) => self.compare(out),
            (Waits::LastOutcomes, Some(to)) => {
                self.resync.waits = Waits::Promotion;
                self.send(to, Message::SyncDone { walk }, out);
            }
            _ => reached!("E352: a shipment of requests that nobody waits for"),
        }
    }

    fn compare(&mut self, out: &mut Effects) {
        let Some(to) = self.standing.successor else { return };
        self.resync.waits = Waits::Lists;
        out.push(Effect::Compare { to, walk: self.walk, after: self.resync.cursor });
    }

    /// Whether it has asked for the lists behind this place in this dialogue.
    pub(crate) fn waits_for_lists(&self, walk: Walk, after: Cursor) -> bool {
        let current = walk == self.walk && self.down == Down::Ready;
        current && self.resync.waits == Waits::Lists && after == self.resync.cursor
    }

    /// What both hold of a range. In this turn the cursor passes what is equal, or shipped.
    pub(super) fn compared(&mut self, compared: &Compared, out: &mut Effects) {
        let Compared { walk, after, upto, theirs, ours } = compared;
        if !self.waits_for_lists(*walk, *after) {
            return;
        }
        let low = match after {
            Cursor::Start => Bound::Unbounded,
            Cursor::Before(chunk) => Bound::Included(*chunk),
            Cursor::At(chunk) => Bound::Excluded(*chunk),
            Cursor::End => return,
        };
        let high = upto.map_or(Bound::Unbounded, Bound::Included);
        let mut both: BTreeMap<ChunkId, [Held; 2]> = BTreeMap::new();
        for (chunk, version, digest) in ours {
            both.entry(*chunk).or_default()[0] = Some((*version, *digest));
        }
        for (chunk, version, digest) in theirs {
            both.entry(*chunk).or_default()[1] = Some((*version, *digest));
        }
        for (chunk, _) in self.entries.range((low, high)) {
            both.entry(*chunk).or_default();
        }
        for (chunk, [own, other]) in both {
            if self.entries.contains_key(&chunk) && !self.bug(Bug::PassedInFlight) {
                // What lies between has been compared in this turn as well: neither side has it.
                self.resync.cursor = Cursor::Before(chunk);
                self.resync.waits = Waits::Chunk(chunk);
                return;
            }
            if self.differ(own, other) {
                if SHIPS_MAX <= self.resync.shipping.len() {
                    self.resync.waits = Waits::Ships;
                    return;
                }
                self.ship(chunk, own.map(|own| own.0), out);
            }
            self.resync.cursor = Cursor::At(chunk);
        }
        if let Some(upto) = upto {
            self.resync.cursor = Cursor::At(*upto);
            return self.compare(out);
        }
        self.resync.cursor = Cursor::End;
        self.resync.waits = Waits::Ships;
        self.ships_done(out);
    }

    /// Whether a chunk is to be shipped, or removed, at the successor: digests alone say so (R13);
    /// a greater version is not a newer one (R19).
    fn differ(&self, own: Held, other: Held) -> bool {
        if self.bug(Bug::GreaterVersionWins) && own.map(|own| own.0) < other.map(|other| other.0) {
            return false;
        }
        if self.bug(Bug::DigestsIgnored) {
            return own.map(|own| own.0) != other.map(|other| other.0);
        }
        if self.bug(Bug::ExtraChunksKept) && own.is_none() {
            return false;
        }
        own.map(|own| own.1) != other.map(|other| other.1)
    }

    fn ship(&mut self, chunk: ChunkId, version: Option<ChunkVersion>, out: &mut Effects) {
        let Some(to) = self.standing.successor else { return };
        let (walk, chain) = (self.walk, self.version);
        let (message, source) = match version {
            Some(version) => {
                (Message::Ship { walk, at: Version { chunk, version } }, Source::Committed)
            }
            None => (Message::Erase { walk, chunk }, Source::Nothing),
        };
        self.resync.shipping.insert(chunk);
        out.push(Effect::Send { to, chain, message, source });
    }

    /// A version has left flight: if the cursor waits for this chunk, it is passed before the next
    /// one enters.
    pub(super) fn pass_closed(
        &mut self,
        chunk: ChunkId,
        base: Option<ChunkVersion>,
        out: &mut Effects,
    ) {
        if self.resync.waits != Waits::Chunk(chunk) || self.down != Down::Ready {
            return;
        }
        self.ship(chunk, base, out);
        self.resync.cursor = Cursor::At(chunk);
        self.compare(out);
    }

    /// A shipment is durable and committed at the successor.
    pub(super) fn shipped(&mut self, chunk: ChunkId, out: &mut Effects) {
        self.resync.shipping.remove(&chunk);
        self.ships_done(out);
    }

    fn ships_done(&mut self, out: &mut Effects) {
        if self.resync.waits != Waits::Ships {
            return;
        }
        if self.resync.cursor != Cursor::End {
            return self.compare(out);
        }
        if let (Some(to), true) = (self.standing.successor, self.resync.shipping.is_empty()) {
            self.resync.waits = Waits::LastOutcomes;
            if self.bug(Bug::NoLastOutcomes) {
                return self.outcomes_shipped(self.walk, out);
            }
            out.push(Effect::ShipOutcomes { to, walk: self.walk });
        }
    }

    /// A chunk as the predecessor holds it: it replaces what is here.
    pub(super) fn ship_arrives(
        &mut self,
        message: Message,
        payload: Payload,
        local: &Local,
        out: &mut Effects,
    ) {
        let Message::Ship { walk, at } = message else {
            unreachable!("E352: only a `Ship` comes here")
        };
        if Some(walk) != self.up || self.standing.state != PublicState::Syncing {
            return out.push(Effect::Discard(payload));
        }
        if self.entries.contains_key(&at.chunk) {
            out.push(Effect::Discard(payload));
            return self.leave(Left::PeerBroke { at }, out);
        }
        self.payloads.insert(payload, at.chunk);
        let own = Own::Receiving { payload, again: false };
        self.insert_ship(at, local.version(), own);
    }

    fn insert_ship(&mut self, at: Version, base: Option<ChunkVersion>, own: Own) {
        let serial = self.next_serial();
        let entry = Entry {
            serial,
            version: at.version,
            base,
            removal: false,
            tag: None,
            own,
            ship: true,
            joined: vec![],
            growth: Space::ZERO,
            covered: true,
            inherited: false,
            trailer: false,
            expected: None,
            told: Told::Nothing,
            refused: None,
            ending: None,
            queue: VecDeque::<Offer>::new(),
        };
        let former = self.entries.insert(at.chunk, entry);
        assert!(former.is_none(), "E341: {} is shipped while in flight", at.chunk);
    }

    /// The predecessor holds no such chunk.
    pub(super) fn erase_told(&mut self, chunk: ChunkId, out: &mut Effects) {
        let at = Version { chunk, version: ChunkVersion::default() };
        if self.entries.contains_key(&chunk) || self.standing.state != PublicState::Syncing {
            return self.leave(Left::PeerBroke { at }, out);
        }
        self.insert_ship(at, None, Own::Storing);
        out.push(Effect::Erase(chunk));
    }

    /// The chunk is gone, durably.
    pub(super) fn erased(&mut self, chunk: ChunkId, out: &mut Effects) {
        let entry = self.entries.remove(&chunk).expect("E343: what is erased is in flight");
        assert!(entry.ship && entry.own == Own::Storing, "E343: {chunk} is erased unasked");
        if entry.ending.is_none() {
            self.tell_up(|walk| Message::Shipped { walk, chunk }, out);
        }
        self.closed(chunk, entry, Ok(None), out);
    }

    /// A shipped chunk is durable: it is committed at once, nobody reads here.
    pub(super) fn ship_stored(&mut self, at: Version, out: &mut Effects) {
        let entry = self.entries.remove(&at.chunk).expect("E343: what is stored is in flight");
        out.push(Effect::Commit(at));
        self.tell_up(|walk| Message::Shipped { walk, chunk: at.chunk }, out);
        self.closed(at.chunk, entry, Ok(Some(at.version)), out);
    }

    /// Everything is here; the manager is told (R11).
    pub(super) fn sync_done(&mut self, out: &mut Effects) {
        if self.standing.state == PublicState::Syncing {
            self.synced = true;
            out.push(Effect::UpToDate { version: self.version });
        }
    }
}
