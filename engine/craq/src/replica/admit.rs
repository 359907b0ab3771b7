//! Admission: from a client at the head, from the predecessor elsewhere; and the payload's way
//! until it is all there (R2, R3, R7, R14-R16, R18).
//!
//! A chunk has one version in flight, the next ones wait in its queue: clients' updates at the
//! head; elsewhere the one version that the predecessor may send while the former one of the same
//! number is still being given up.

use alloc::collections::VecDeque;
use alloc::vec;

use engine_store::Tag;
use engine_store::tables::{CHANNELS_MAX, Known};
use engine_types::{ChannelId, ChunkId, ChunkVersion, PublicState, reached};

use super::{Effects, Replica};
use crate::effect::{Effect, Left};
use crate::entry::{Entry, Offer, Own, Told, next};
use crate::event::{Local, Space, Update};
use crate::limits::{CHUNK_QUEUE_MAX, CLIENT_ENTRIES_MAX, ENTRIES_MAX, JOINED_MAX, QUEUED_MAX};
use crate::message::{Message, Refusal, Version};
use crate::planted::Bug;
use crate::words::{Digest, Payload, UpdateId};

impl Replica {
    /// A client asks.
    pub(super) fn update(&mut self, update: Update, local: &Local, out: &mut Effects) {
        match self.judge(&update, local, out) {
            Ok(None) => {
                let Update { id, chunk, removal, tag, growth, payload, .. } = update;
                self.promised = self.promised.plus(growth);
                let offer = Offer {
                    version: None,
                    removal,
                    tag: Some(tag),
                    joined: vec![id],
                    growth,
                    payload,
                    ended: false,
                    expected: None,
                    trailer: false,
                };
                self.offer(chunk, local.version(), offer, out);
                return;
            }
            Ok(Some(version)) => {
                out.push(Effect::AnswerUpdate { id: update.id, result: Ok(version) });
            }
            Err(Some(why)) => {
                out.push(Effect::AnswerUpdate { id: update.id, result: Err(why) });
            }
            Err(None) => {} // it has joined the one under way
        }
        out.push(Effect::Discard(update.payload));
    }

    /// Nothing: it is new and may enter. A version: it was done. An error: it is refused, or, with
    /// nothing to say, it has joined its former self.
    fn judge(
        &mut self,
        update: &Update,
        local: &Local,
        out: &mut Effects,
    ) -> Result<Option<ChunkVersion>, Option<Refusal>> {
        if self.version < update.chain {
            out.push(Effect::FetchRouting { version: update.chain });
        }
        if update.chain != self.version || !self.is_head() {
            return Err(Some(Refusal::StaleChain));
        }
        if !self.leased {
            return Err(Some(Refusal::NotLeased));
        }
        if local.fenced && !self.bug(Bug::FencedAdmitted) {
            return Err(Some(Refusal::Fenced));
        }
        match local.known {
            Known::Repeated(outcome) if !self.bug(Bug::RepeatedExecuted) => {
                reached!("R14: a repeated request is answered with its first result");
                return Ok(Some(outcome.version));
            }
            Known::Old { .. } if !self.bug(Bug::OldExecuted) => {
                return Err(Some(Refusal::OldRequest));
            }
            Known::TooManyChannels { .. } => return Err(Some(Refusal::TooManyChannels)),
            Known::TooManySessions { .. } => return Err(Some(Refusal::Busy)),
            Known::Fresh | Known::Repeated(_) | Known::Old { .. } => {}
        }
        if let Some(&chunk) = self.tags.get(&update.tag) {
            return self.join(chunk, update.tag, update.id);
        }
        self.judge_new(update).map(|()| None).map_err(Some)
    }

    /// What was never seen has to find room.
    fn judge_new(&self, update: &Update) -> Result<(), Refusal> {
        let Tag { session, channel, .. } = update.tag;
        let first = Tag { session, channel, seq: 0 };
        if let Some((other, _)) =
            self.tags.range(first..=Tag { seq: u64::MAX, ..first }).next_back()
        {
            // One request of a channel at a time: the newer one comes again when the older ended.
            let old = update.tag.seq < other.seq;
            return Err(if old { Refusal::OldRequest } else { Refusal::Busy });
        }
        let first = Tag { session, channel: ChannelId::new(0), seq: 0 };
        let last = Tag { session, channel: ChannelId::new(u32::MAX), seq: u64::MAX };
        if CHANNELS_MAX as usize <= self.tags.range(first..=last).count() {
            return Err(Refusal::TooManyChannels);
        }
        // What is in flight may be in the figures already, or not: it is counted against them.
        let free = self.least_space().minus(self.reserve).minus(self.promised);
        let free = if self.bug(Bug::ReserveNotKept) { self.space } else { free };
        if update.growth != Space::ZERO && !free.holds(update.growth) {
            return Err(Refusal::NoSpace);
        }
        match self.entries.get(&update.chunk) {
            Some(entry) if CHUNK_QUEUE_MAX <= entry.queue.len() => Err(Refusal::Busy),
            Some(_) if QUEUED_MAX <= self.queued => Err(Refusal::Busy),
            None if CLIENT_ENTRIES_MAX <= self.entries.len() => Err(Refusal::Busy),
            _ => Ok(()),
        }
    }

    /// The same request is in flight or waits: it is answered with it (R16).
    fn join(
        &mut self,
        chunk: ChunkId,
        tag: Tag,
        id: UpdateId,
    ) -> Result<Option<ChunkVersion>, Option<Refusal>> {
        let pending_answered = self.bug(Bug::PendingAnswered);
        let entry = self.entries.get_mut(&chunk).expect("E348: a tag names a chunk in flight");
        let joined = if entry.tag == Some(tag) {
            if pending_answered {
                return Ok(Some(entry.version));
            }
            &mut entry.joined
        } else {
            let offer = entry.queue.iter_mut().find(|offer| offer.tag == Some(tag));
            &mut offer.expect("E348: or an update that waits for it").joined
        };
        if JOINED_MAX <= joined.len() {
            return Err(Some(Refusal::Busy));
        }
        reached!("R16: a repeated request waits with the one in flight");
        joined.push(id);
        Err(None)
    }

    /// The predecessor forwards a version (R7). Checked before: sender, start, chain version.
    pub(super) fn forwarded(
        &mut self,
        message: Message,
        payload: Payload,
        local: &Local,
        out: &mut Effects,
    ) {
        let Message::Forward { walk, at, removal, tag, digest } = message else {
            unreachable!("E342: only a `Forward` has a payload")
        };
        if (Some(walk) != self.up && !self.bug(Bug::AnyChainVersion)) || self.left {
            reached!("E342: a forward of an earlier dialogue");
            return out.push(Effect::Discard(payload));
        }
        let offer = Offer {
            version: Some(at.version),
            removal,
            tag,
            joined: vec![],
            growth: Space::ZERO,
            payload,
            ended: false,
            expected: digest,
            trailer: false,
        };
        match self.entries.get(&at.chunk) {
            Some(entry) if entry.ship && entry.queue.is_empty() => {
                self.offer(at.chunk, local.version(), offer, out);
            }
            Some(entry) if entry.ending.is_none() && entry.version == at.version => {
                self.repeated(at, offer, out);
            }
            Some(entry) if entry.ending.is_some() && entry.queue.is_empty() => {
                self.offer(at.chunk, local.version(), offer, out);
            }
            Some(_) => {
                out.push(Effect::Discard(payload));
                self.leave(Left::PeerBroke { at }, out);
            }
            None => self.forwarded_anew(at, offer, local, out),
        }
    }

    /// Nothing of the chunk is in flight here: it is the next version, or one that is committed.
    fn forwarded_anew(&mut self, at: Version, offer: Offer, local: &Local, out: &mut Effects) {
        let committed = local.version();
        // A removal that is committed leaves nothing to compare it with. One of an absent chunk
        // leaves what is remembered of its request.
        let first = at.version == ChunkVersion::new(1);
        let gone = !first || matches!(local.known, Known::Repeated(_));
        let removed = offer.removal && committed.is_none() && gone;
        if committed == Some(at.version) || removed {
            out.push(Effect::Discard(offer.payload));
            let own = local.committed.map(|(_, digest)| digest);
            return match (own, offer.expected) {
                (Some(own), Some(theirs)) if own != theirs => {
                    self.leave(Left::Diverged { at, own, theirs }, out);
                }
                (_, Some(_)) => self.ack(at, out),
                (_, None) => self.leave(Left::PeerBroke { at }, out),
            };
        }
        if next(committed) != Some(at.version) {
            out.push(Effect::Discard(offer.payload));
            return self.leave(Left::Missing { at, committed }, out);
        }
        let refusal = if local.fenced {
            Some(Refusal::Fenced)
        } else if ENTRIES_MAX <= self.entries.len() {
            Some(Refusal::Busy)
        } else {
            None
        };
        if let Some(why) = refusal {
            out.push(Effect::Discard(offer.payload));
            return self.tell_up(|walk| Message::Refused { walk, at, why }, out);
        }
        self.offer(at.chunk, committed, offer, out);
    }

    /// The version is in flight here already.
    fn repeated(&mut self, at: Version, offer: Offer, out: &mut Effects) {
        let entry = self.entries.get_mut(&at.chunk).expect("the caller has seen it");
        match entry.own {
            // The former stream of this number was given up: its end is on its way.
            Own::Receiving { .. } if entry.covered && entry.queue.is_empty() => {
                // Of the same request or, if the head gave that up, of another one.
                self.tags.extend(offer.tag.map(|tag| (tag, at.chunk)));
                self.payloads.insert(offer.payload, at.chunk);
                entry.queue.push_back(offer);
                self.queued += 1;
            }
            Own::Receiving { .. } => {
                out.push(Effect::Discard(offer.payload));
                self.leave(Left::PeerBroke { at }, out);
            }
            Own::None => {
                entry.covered = true;
                entry.expected = offer.expected;
                if let Some(why) = entry.refused {
                    out.push(Effect::Discard(offer.payload));
                    return self.tell_up(|walk| Message::Refused { walk, at, why }, out);
                }
                entry.own = Own::Receiving { payload: offer.payload, again: true };
                self.payloads.insert(offer.payload, at.chunk);
            }
            Own::Storing | Own::Durable(_) => {
                out.push(Effect::Discard(offer.payload));
                entry.covered = true;
                if let Some(theirs) = offer.expected {
                    entry.expected = Some(theirs);
                }
                let refused = entry.refused;
                if let Some(why) = refused {
                    self.tell_up(|walk| Message::Refused { walk, at, why }, out);
                }
                if self.agrees(at, out) {
                    self.advance(at.chunk, out);
                }
            }
        }
    }

    /// Whether the own record is what the predecessor has (R6, R13); without, it leaves.
    pub(super) fn agrees(&mut self, at: Version, out: &mut Effects) -> bool {
        let Some(entry) = self.entries.get(&at.chunk) else { return true };
        let (Own::Durable(own), Some(theirs)) = (entry.own, entry.expected) else { return true };
        if own != theirs {
            self.leave(Left::Diverged { at, own, theirs }, out);
        }
        own == theirs
    }

    /// Lets a version in, or has it wait for the one in flight.
    fn offer(
        &mut self,
        chunk: ChunkId,
        base: Option<ChunkVersion>,
        offer: Offer,
        out: &mut Effects,
    ) {
        if let Some(tag) = offer.tag {
            self.tags.insert(tag, chunk);
        }
        self.payloads.insert(offer.payload, chunk);
        if let Some(entry) = self.entries.get_mut(&chunk) {
            entry.queue.push_back(offer);
            self.queued += 1;
            return;
        }
        self.open(chunk, base, offer, VecDeque::new(), out);
    }

    /// A version is in flight from here on: in memory before anything of it is forwarded (E342).
    pub(super) fn open(
        &mut self,
        chunk: ChunkId,
        base: Option<ChunkVersion>,
        offer: Offer,
        queue: VecDeque<Offer>,
        out: &mut Effects,
    ) {
        let serial = self.next_serial();
        let Some(version) = next(base) else {
            self.queued -= queue.len();
            for offer in queue.into_iter().chain([offer]) {
                self.refuse_offer(chunk, offer, Refusal::Busy, out);
            }
            return;
        };
        let own = Own::Receiving { payload: offer.payload, again: false };
        let entry = Entry {
            serial,
            version,
            base,
            removal: offer.removal,
            tag: offer.tag,
            own,
            ship: false,
            joined: offer.joined,
            growth: offer.growth,
            covered: offer.version.is_some(),
            inherited: false,
            trailer: offer.trailer,
            expected: offer.expected,
            told: Told::Nothing,
            refused: None,
            ending: None,
            queue,
        };
        let former = self.entries.insert(chunk, entry);
        assert!(former.is_none(), "E341: {chunk} has two versions in flight");
        self.forward_stream(chunk, out);
        if offer.ended {
            self.payload_ended(offer.payload, true, out);
        }
    }

    /// All bytes are there, or no more will come (R3).
    pub(super) fn payload_ended(&mut self, payload: Payload, complete: bool, out: &mut Effects) {
        let Some(chunk) = self.payloads.get(&payload).copied() else {
            reached!("E343: the end of a payload that was discarded");
            return;
        };
        let complete = complete || self.bug(Bug::AbortedStreamStored);
        let entry = self.entries.get_mut(&chunk).expect("E343: a payload belongs to a version");
        if matches!(entry.own, Own::Receiving { payload: own, .. } if own == payload) {
            if !complete {
                return self.stream_aborted(chunk, out);
            }
            self.payloads.remove(&payload);
            entry.own = Own::Storing;
            let (at, tag, chain, replace) = (entry.at(chunk), entry.tag, self.version, entry.ship);
            return out.push(Effect::Store { at, chain, tag, replace, payload });
        }
        let place = entry.queue.iter().position(|offer| offer.payload == payload);
        let place = place.expect("E343: or to one that waits");
        if complete {
            entry.queue[place].ended = true;
            return;
        }
        if let Some(offer) = entry.queue.remove(place) {
            self.queued -= 1;
            self.refuse_offer(chunk, offer, Refusal::StreamEnded, out);
        }
    }

    /// The stream of a version was given up: nothing of it is durable here, and its end goes down
    /// the chain with the stream itself.
    pub(super) fn stream_aborted(&mut self, chunk: ChunkId, out: &mut Effects) {
        let Some(entry) = self.entries.get_mut(&chunk) else { return };
        if let Own::Receiving { payload, again: true } = entry.own {
            // Those behind may hold it from before: the predecessor decides.
            entry.own = Own::None;
            self.payloads.remove(&payload);
            return out.push(Effect::Discard(payload));
        }
        self.drop_entry(chunk, Refusal::StreamEnded, out);
    }

    /// A version has left flight: clients and readers learn it, the next one enters.
    pub(super) fn closed(
        &mut self,
        chunk: ChunkId,
        mut entry: Entry,
        result: Result<Option<ChunkVersion>, Refusal>,
        out: &mut Effects,
    ) {
        if !entry.queue.iter().any(|offer| offer.tag == entry.tag) {
            self.untag(chunk, entry.tag);
        }
        self.unpromise(entry.growth);
        let answer = result.map(|_| entry.version);
        self.answer_all(entry.joined, answer, out);
        let base = result.unwrap_or(entry.base);
        self.pass_closed(chunk, base, out);
        if let Some(offer) = entry.queue.pop_front() {
            self.queued -= 1;
            self.reopen(chunk, base, offer, entry.queue, out);
        }
        self.wake_reads(chunk, out);
        if self.up.is_none() && self.standing.state == PublicState::Syncing {
            self.ask(out);
        }
    }

    /// What waited enters.
    fn reopen(
        &mut self,
        chunk: ChunkId,
        base: Option<ChunkVersion>,
        offer: Offer,
        queue: VecDeque<Offer>,
        out: &mut Effects,
    ) {
        let (version, payload) = (offer.version, offer.payload);
        let client = version.is_none();
        if client && !(self.is_head() && self.leased) {
            self.queued -= queue.len();
            let why = if self.is_head() { Refusal::NotLeased } else { Refusal::StaleChain };
            for offer in queue.into_iter().chain([offer]) {
                self.refuse_offer(chunk, offer, why, out);
            }
        } else if client || version == next(base) {
            self.open(chunk, base, offer, queue, out);
        } else {
            let at = Version { chunk, version: version.unwrap_or_default() };
            self.untag(chunk, offer.tag);
            self.payloads.remove(&payload);
            out.push(Effect::Discard(payload));
            self.leave(Left::PeerBroke { at }, out);
        }
    }

    /// A trailer for a version that waits for its former self to be gone.
    pub(super) fn trailer_of_parked(&mut self, at: Version, digest: Digest) {
        let entry = self.entries.get_mut(&at.chunk);
        let parked = entry.and_then(|entry| entry.queue.front_mut());
        if let Some(offer) = parked.filter(|offer| offer.version == Some(at.version)) {
            offer.trailer = true;
            offer.expected = Some(digest);
        }
    }
}
