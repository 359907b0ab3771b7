//! One target of one chain in one start of its store: its tables, and the way of an event to the
//! phase of the protocol that it belongs to. Each phase is a file of its own.
//!
//! A crash leaves what the store holds durably; a new start begins with that (`Replica::new`) and
//! stands aside until the manager gives the new incarnation a place (R5).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use engine_store::Tag;
use engine_store::tables::Fences;
use engine_types::{ChainVersion, ChunkId, ChunkVersion, Timeline, reached};

use crate::effect::{Effect, Left, Source};
use crate::entry::{Entry, Offer, Own, Recovered};
use crate::event::{Event, Received, Space};
use crate::limits::{CHUNK_QUEUE_MAX, ENTRIES_MAX, JOINED_MAX, QUEUED_MAX, READS_MAX, SHIPS_MAX};
use crate::message::{Message, Refusal, Version};
use crate::planted::{self, Bug};
use crate::read::Reads;
use crate::standing::{Peer, Standing};
use crate::words::{Payload, Walk};

mod abort;
mod admit;
mod commit;
mod install;
mod link;
mod read;
mod relay;
mod resync;
mod session;

pub use resync::Cursor;
use resync::Resync;

/// What a step wants done, in order.
pub type Effects = Vec<Effect>;

/// What a start of a store begins with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The target and its new incarnation.
    pub own: Peer,
    /// Highest chain version that the target's record names.
    pub version: ChainVersion,
    /// Of the routing info that it came with.
    pub timeline: Timeline,
    /// Durable pending versions of the target, each chunk once.
    pub pendings: Vec<Recovered>,
    /// Revoked sessions that its store has noted.
    pub fences: Fences,
    /// What stays free for what frees space and for what is in flight (R18).
    pub reserve: Space,
}

/// The dialogue with the successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Down {
    /// None.
    Silent,
    /// `Hello` was sent.
    Greeted,
    /// The successor is in the same chain version and listens.
    Ready,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Replica {
    own: Peer,
    version: ChainVersion,
    timeline: Timeline,
    standing: Standing,
    /// It left the chain by itself; only resync brings it back.
    left: bool,
    /// Whether the lease is valid at this step.
    leased: bool,
    /// A tail has something to commit and no lease.
    lease_wanted: bool,
    entries: BTreeMap<ChunkId, Entry>,
    tags: BTreeMap<Tag, ChunkId>,
    payloads: BTreeMap<Payload, ChunkId>,
    queued: usize,
    reads: Reads,
    serial: u64,
    down: Down,
    walk: Walk,
    /// The dialogue that the predecessor leads.
    up: Option<Walk>,
    reserve: Space,
    space: Space,
    space_below: Option<Space>,
    /// What the predecessor was told last in this dialogue, acknowledgements aside.
    space_told: Space,
    resync: Resync,
    /// It holds everything (R11).
    synced: bool,
    promised: Space,
    /// Revoked sessions: those that its store has noted, and what it was told since (E390).
    fences: Fences,
    #[cfg(test)]
    bug: Option<Bug>,
}

impl Replica {
    /// A start of the store. Nothing is served until a chain version is installed.
    pub fn new(start: Start) -> Self {
        let Start { own, version, timeline, pendings, fences, reserve } = start;
        let mut entries = BTreeMap::new();
        let mut tags = BTreeMap::new();
        let mut serial = 0;
        for found in &pendings {
            serial += 1;
            let former = entries.insert(found.at.chunk, Entry::recovered(serial, found));
            assert!(former.is_none(), "E341: two pending versions of {}", found.at.chunk);
            tags.extend(found.tag.map(|tag| (tag, found.at.chunk)));
        }
        Self {
            own,
            version,
            timeline,
            standing: Standing::NONE,
            left: false,
            leased: false,
            lease_wanted: false,
            entries,
            tags,
            payloads: BTreeMap::new(),
            queued: 0,
            reads: Reads::default(),
            serial,
            down: Down::Silent,
            walk: Walk(0),
            up: None,
            reserve,
            space: Space::ZERO,
            space_below: None,
            space_told: Space::ZERO,
            resync: Resync::default(),
            synced: false,
            promised: Space::ZERO,
            fences,
            #[cfg(test)]
            bug: None,
        }
    }

    /// Something happened. `leased` says whether the target's lease covers the installed chain
    /// version at this moment (R8). What is to be done is appended to `out`, in order; it is done
    /// before the next step.
    pub fn step(&mut self, event: Event, leased: bool, out: &mut Effects) {
        self.leased = leased;
        match event {
            Event::ChainArrived { timeline, chain } => self.install(timeline, &chain, out),
            Event::LinkUp { peer } => self.link_up(peer, out),
            Event::LinkDown { peer } => self.link_down(peer, out),
            Event::LeaseRenewed => self.lease_renewed(out),
            Event::UpdateAsked { update, local } => self.update(update, &local, out),
            Event::PayloadEnded { payload, complete } => self.payload_ended(payload, complete, out),
            Event::Stored { chunk, version, result } => {
                self.stored(Version { chunk, version }, result, out);
            }
            Event::AbortStored { chunk, version } => {
                self.abort_stored(Version { chunk, version }, out);
            }
            Event::Received(received) => self.receive(received, out),
            Event::ReadAsked { id, chain, chunk } => self.read(id, chain, chunk, out),
            Event::Erased { chunk } => self.erased(chunk, out),
            Event::Compared(compared) => self.compared(&compared, out),
            Event::OutcomesShipped { walk } => self.outcomes_shipped(walk, out),
            Event::SpaceMeasured(space) => self.space = space,
            Event::SpaceDue => self.tell_space(out),
            Event::Revoked(fence) => self.revoked(fence, out),
            Event::Forgotten { session, fenced } => self.forgotten(session, fenced, out),
        }
        self.check();
    }

    /// The installed chain version.
    pub const fn version(&self) -> ChainVersion {
        self.version
    }

    /// The place in it.
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whether it left the chain by itself.
    pub const fn has_left(&self) -> bool {
        self.left
    }

    /// Whether what is committed here is all that the chain has shown or acknowledged: it is a
    /// tail, and nothing is in flight that it was not the tail for from the beginning (E351). The
    /// lease is the caller's to look at.
    pub fn knows_all(&self) -> bool {
        self.is_tail() && !self.entries.values().any(|entry| entry.inherited)
    }

    /// Versions in flight.
    pub fn in_flight(&self) -> usize {
        self.entries.len()
    }

    /// Another replica says something.
    fn receive(&mut self, received: Received, out: &mut Effects) {
        let Received { from, chain, message, payload, local } = received;
        let any = self.bug(Bug::AnyChainVersion);
        if chain != self.version && !any {
            self.other_version(from, chain, message, out);
        } else {
            match message {
                Message::Query { query, chunk } => self.query(from, query, chunk, &local, out),
                Message::Answer { query, committed } => self.answered(from, query, committed, out),
                Message::Retry => {}
                _ if Some(from) == self.standing.successor => self.hear_successor(message, out),
                _ if Some(from) == self.standing.predecessor || any => {
                    if let (Message::Forward { .. }, Some(payload)) = (message, payload) {
                        return self.forwarded(message, payload, &local, out);
                    }
                    if let (Message::Ship { .. }, Some(payload)) = (message, payload) {
                        return self.ship_arrives(message, payload, &local, out);
                    }
                    self.hear_predecessor(message, out);
                }
                _ => reached!("E342: a message of who is no neighbour in this version"),
            }
        }
        out.extend(payload.map(Effect::Discard));
    }

    /// A message of another chain version is never acted upon (R7).
    fn other_version(
        &mut self,
        from: Peer,
        chain: ChainVersion,
        message: Message,
        out: &mut Effects,
    ) {
        if self.version < chain {
            out.push(Effect::FetchRouting { version: chain });
        } else if let Message::Query { query, .. } = message {
            self.send(from, Message::Answer { query, committed: None }, out);
        } else if message != Message::Retry {
            self.send(from, Message::Retry, out);
        }
    }

    fn send(&self, to: Peer, message: Message, out: &mut Effects) {
        let (chain, source) = (self.version, Source::Nothing);
        out.push(Effect::Send { to, chain, message, source });
    }

    /// To the successor, if the dialogue stands and it is to know of the chunk.
    fn tell_down(&self, chunk: ChunkId, message: impl FnOnce(Walk) -> Message, out: &mut Effects) {
        if let (Some(to), Down::Ready) = (self.successor_of(chunk), self.down) {
            self.send(to, message(self.walk), out);
        }
    }

    /// To the predecessor, if its dialogue stands.
    fn tell_up(&self, message: impl FnOnce(Walk) -> Message, out: &mut Effects) {
        if let (Some(to), Some(walk)) = (self.standing.predecessor, self.up) {
            self.send(to, message(walk), out);
        }
    }

    /// Who gets the updates of a chunk.
    fn successor_of(&self, chunk: ChunkId) -> Option<Peer> {
        let whole = !self.standing.successor_syncs;
        let flows = || self.resync.flows(chunk) && !self.bug(Bug::ResyncNotFollowed);
        self.standing.successor.filter(|_| whole || flows())
    }

    /// Whether it takes part in updates: it serves, or receives them while it syncs.
    fn takes_part(&self) -> bool {
        !self.left && (self.standing.serves() || self.standing.predecessor.is_some())
    }

    fn is_head(&self) -> bool {
        !self.left && self.standing.is_head()
    }

    fn is_tail(&self) -> bool {
        !self.left && self.standing.is_tail(self.own)
    }

    /// Least room from here on (R18).
    fn least_space(&self) -> Space {
        self.space_below.map_or(self.space, |below| below.min(self.space))
    }

    /// A head that has refused growth, or would, must learn that room has come back, also when no
    /// update and so no acknowledgement passes (R18).
    fn tell_space(&mut self, out: &mut Effects) {
        let space = self.least_space();
        if self.up.is_some() && space != self.space_told {
            self.space_told = space;
            self.tell_up(|walk| Message::Room { walk, space }, out);
        }
    }

    /// Leaves the chain: others' mistakes, or a failed store, end this replica's part.
    fn leave(&mut self, why: Left, out: &mut Effects) {
        reached!("E350: a replica leaves its chain");
        self.left = true;
        self.up = None;
        self.down = Down::Silent;
        out.push(Effect::Leave(why));
        self.stand_aside(out);
    }

    fn check(&self) {
        let within = self.entries.len() <= ENTRIES_MAX.max(self.recovered_max())
            && self.queued <= QUEUED_MAX
            && self.reads.len() <= READS_MAX
            && self.resync.len() <= SHIPS_MAX + 1;
        assert!(within, "E347: {} {} {}", self.entries.len(), self.queued, self.reads.len());
        #[cfg(debug_assertions)]
        self.check_tables();
    }

    /// What a start has found is not refused, however much it is.
    const fn recovered_max(&self) -> usize {
        engine_store::format::limits::PENDINGS_MAX as usize
    }

    /// E341, E347, E348; costs a walk over the tables.
    #[cfg(debug_assertions)]
    fn check_tables(&self) {
        let offers = || self.entries.values().flat_map(|entry| entry.queue.iter());
        assert_eq!(offers().count(), self.queued, "E347: queued");
        let mut named = 0;
        for (chunk, entry) in &self.entries {
            let tags = entry.queue.iter().map(|offer| offer.tag).filter(|tag| *tag != entry.tag);
            for tag in tags.chain([entry.tag]).flatten() {
                assert_eq!(self.tags.get(&tag), Some(chunk), "E348: {tag:?}");
                named += 1;
            }
            assert!(entry.queue.len() <= CHUNK_QUEUE_MAX, "E347: queue of {chunk}");
            assert!(entry.joined.len() <= JOINED_MAX, "E347: joined at {chunk}");
            if let Own::Receiving { payload, .. } = entry.own {
                assert_eq!(self.payloads.get(&payload), Some(chunk), "E343: {payload:?}");
            }
        }
        assert_eq!(self.tags.len(), named, "E348: a tag of nothing in flight");
    }

    fn bug(&self, bug: Bug) -> bool {
        #[cfg(test)]
        if self.bug == Some(bug) {
            return true;
        }
        planted::is(bug)
    }

    #[cfg(test)]
    pub(crate) fn plant(&mut self, bug: Option<Bug>) {
        self.bug = bug;
    }

    /// The serial of the next version in flight.
    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Forgets an offer: its client is refused, its bytes are thrown away.
    fn refuse_offer(&mut self, chunk: ChunkId, offer: Offer, why: Refusal, out: &mut Effects) {
        self.untag(chunk, offer.tag);
        self.payloads.remove(&offer.payload);
        out.push(Effect::Discard(offer.payload));
        self.promised = self.promised.minus(offer.growth);
        self.answer_all(offer.joined, Err(why), out);
    }

    /// Forgets a request, unless another version of the chunk is of the same: one that is being
    /// given up, and its repetition behind it.
    fn untag(&mut self, chunk: ChunkId, tag: Option<Tag>) {
        let names =
            |entry: &Entry| entry.tag == tag || entry.queue.iter().any(|offer| offer.tag == tag);
        if let Some(tag) = tag
            && !self.entries.get(&chunk).is_some_and(names)
        {
            self.tags.remove(&tag);
        }
    }

    fn answer_all(
        &self,
        ids: Vec<crate::words::UpdateId>,
        result: Result<ChunkVersion, Refusal>,
        out: &mut Effects,
    ) {
        out.extend(ids.into_iter().map(|id| Effect::AnswerUpdate { id, result }));
    }
}

#[cfg(test)]
mod tests;
