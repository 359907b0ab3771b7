//! A storage node around one replica: does its effects, brings it events.

use super::store::{Done, Pending, Record, Store};
use super::*;
use crate::entry::Recovered;
use engine_store::tables::Fences;

/// What waits at a node, in its sockets and queues.
#[derive(Clone, Debug)]
pub(super) enum In {
    Event(Event),
    Update(Update),
    Message {
        from: Peer,
        chain: ChainVersion,
        message: Message,
        payload: Option<Payload>,
    },
    End {
        payload: Payload,
        complete: bool,
    },
    ListAsked {
        from: usize,
        walk: Walk,
        after: Cursor,
    },
    Listed {
        walk: Walk,
        after: Cursor,
        upto: Option<ChunkId>,
        theirs: Vec<(ChunkId, ChunkVersion, Digest)>,
    },
    Outcomes {
        from: usize,
        walk: Walk,
        all: Vec<(SessionId, ChannelId, u64, Version)>,
    },
}

/// A payload at a node.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    content: Content,
    ended: Option<bool>,
    /// Where it passes through to: link generation, node, token there.
    relays: Vec<(u64, usize, Payload)>,
    /// The link it comes over.
    pub(super) link: Option<(u64, usize)>,
}

pub(super) struct Node {
    pub(super) index: usize,
    pub(super) incarnation: Incarnation,
    pub(super) replica: Option<Replica>,
    pub(super) frozen: bool,
    /// The manager and it do not hear each other.
    pub(super) isolated: bool,
    /// It left the chain, as its store failed; a new start finds it whole.
    pub(super) left: bool,
    pub(super) lease: Option<(ChainVersion, Incarnation)>,
    pub(super) store: Store,
    pub(super) inbox: VecDeque<In>,
    pub(super) streams: BTreeMap<Payload, Stream>,
    /// It told the manager that it holds everything.
    pub(super) up_to_date: Option<(ChainVersion, Incarnation)>,
}

impl Node {
    pub(super) fn new(index: usize, bug: Option<Bug>) -> Self {
        let mut node = Self {
            index,
            incarnation: Incarnation::new(0),
            replica: None,
            frozen: false,
            isolated: false,
            left: false,
            lease: None,
            store: Store::default(),
            inbox: VecDeque::new(),
            streams: BTreeMap::new(),
            up_to_date: None,
        };
        node.boot(bug);
        node
    }

    pub(super) fn peer(&self) -> Peer {
        Peer { target: target(self.index), incarnation: self.incarnation }
    }

    pub(super) fn boot(&mut self, bug: Option<Bug>) {
        self.incarnation = self.incarnation.next().unwrap();
        let now = &self.store.now;
        let recovered = now.pendings.iter().map(|(chunk, pending)| Recovered {
            at: Version { chunk: *chunk, version: pending.version },
            base: now.chunks.get(chunk).and_then(|held| held.version),
            removal: pending.removal,
            tag: pending.tag,
            digest: Digest(pending.state),
        });
        let mut replica = Replica::new(Start {
            own: self.peer(),
            version: now.chain,
            timeline: Timeline::new(1),
            pendings: recovered.collect(),
            fences: Fences::new(),
            reserve: Space::ZERO,
        });
        replica.plant(bug);
        let plenty = Space { bytes: 1 << 20, records: 1 << 20 };
        replica.step(Event::SpaceMeasured(plenty), false, &mut Vec::new());
        self.replica = Some(replica);
    }

    /// Whether its heartbeats arrive.
    pub(super) fn is_heard(&self) -> bool {
        self.replica.is_some() && !self.frozen && !self.isolated && !self.left
    }

    fn leased(&self, bug: Option<Bug>) -> bool {
        let version = self.replica.as_ref().map(Replica::version);
        self.lease.is_some_and(|(of, start)| {
            Some(of) == version && (start == self.incarnation || bug == Some(Bug::StartInherits))
        })
    }
}

pub(super) fn target(index: usize) -> TargetId {
    TargetId::new(index as u64 + 1)
}

pub(super) fn index_of(target: TargetId) -> usize {
    usize::try_from(target.get() - 1).unwrap()
}

impl World {
    /// A node takes the first thing that waits.
    pub(super) fn handle_one(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if node.frozen || node.replica.is_none() {
            return;
        }
        let Some(first) = node.inbox.pop_front() else { return };
        let event = match first {
            In::Event(event) => event,
            In::ListAsked { .. } | In::Outcomes { .. } => return self.serve_resync(index, first),
            In::Listed { walk, after, upto, theirs } => {
                if node.replica.as_ref().is_some_and(|r| r.waits_for_lists(walk, after)) {
                    self.agree_on_absence(index, after, upto);
                }
                let ours = self.nodes[index].store.list(after, upto);
                Event::Compared(Compared { walk, after, upto, theirs, ours })
            }
            In::Update(update) => {
                let local = node.store.local(update.chunk, Some(update.tag));
                Event::UpdateAsked { update, local }
            }
            In::Message { from, chain, message, payload } => {
                let local = match message {
                    Message::Forward { at, tag, .. } => node.store.local(at.chunk, tag),
                    Message::Query { chunk, .. } => node.store.local(chunk, None),
                    _ => Local::default(),
                };
                Event::Received(Received { from, chain, message, payload, local })
            }
            In::End { payload, complete } => {
                let Some(stream) = node.streams.get_mut(&payload) else { return };
                if stream.ended.is_some() {
                    return;
                }
                stream.ended = Some(complete);
                if let (false, What::Write(write)) = (complete, stream.content.what) {
                    stream.content.what = What::Write(write | 1 << 63);
                }
                let relays = core::mem::take(&mut stream.relays);
                self.end_relays(index, &relays, complete);
                Event::PayloadEnded { payload, complete }
            }
        };
        self.step(index, event);
    }

    pub(super) fn step(&mut self, index: usize, event: Event) {
        let node = &mut self.nodes[index];
        let leased = node.leased(self.bug);
        let mut out = Vec::new();
        let Some(replica) = &mut node.replica else { return };
        if self.trace {
            std::println!("node {index} {leased}: {event:?}");
        }
        replica.step(event, leased, &mut out);
        for effect in out {
            if self.trace {
                std::println!("    {effect:?}");
            }
            self.perform(index, effect);
        }
    }

    fn perform(&mut self, index: usize, effect: Effect) {
        let bug = self.bug;
        let node = &mut self.nodes[index];
        match effect {
            Effect::Install { version, .. } => {
                node.lease = node.lease.filter(|(of, _)| version <= *of);
                node.store.log(Record::Chain(version));
            }
            Effect::FetchRouting { .. } => self.deliver_routing(index),
            Effect::Store { at, tag, payload, replace, .. } => {
                assert!(!replace || tag.is_none());
                let stream = &node.streams[&payload];
                let ended = stream.ended == Some(true) || bug == Some(Bug::AbortedStreamStored);
                assert!(ended, "R3: stored before it is complete");
                node.store.working.push((at, tag, stream.content));
            }
            Effect::Commit(at) => {
                let pending = node.store.now.pendings[&at.chunk];
                assert_eq!(pending.version, at.version);
                let head = node.replica.as_ref().is_some_and(|r| r.standing().is_head());
                let remember = head || bug != Some(Bug::RecordAtHeadAlone);
                node.store.log(Record::Commit(at.chunk, remember));
                self.committed(at.chunk, pending.state, pending.removal);
            }
            Effect::Abort(at) => {
                assert_eq!(node.store.now.pendings[&at.chunk].version, at.version);
                node.store.log_and_tell(Record::Abort(at.chunk), Done::Aborted(at));
            }
            Effect::Discard(payload) => {
                if let Some(stream) = node.streams.remove(&payload)
                    && stream.ended.is_none()
                {
                    self.end_relays(index, &stream.relays, false);
                }
            }
            Effect::Send { to, chain, message, source } => {
                self.send(index, to, chain, message, source);
            }
            Effect::AnswerUpdate { id, result } => self.update_answered(id, result),
            Effect::Serve(id) => self.serve(index, id),
            Effect::RefuseRead { id, why } => self.read_refused(id, why),
            Effect::Erase(chunk) => {
                let state = self.erased[&(index, chunk)];
                let record = Record::Erase(chunk, state);
                self.nodes[index].store.log_and_tell(record, Done::Erased(chunk));
            }
            Effect::Compare { to, walk, after } => {
                let ask = In::ListAsked { from: index, walk, after };
                self.push(index, index_of(to.target), ask);
            }
            Effect::ShipOutcomes { to, walk } => {
                let known = node.store.now.outcomes.iter();
                let all = known.map(|((s, c), (seq, at))| (*s, *c, *seq, *at)).collect();
                self.push(index, index_of(to.target), In::Outcomes { from: index, walk, all });
            }
            Effect::UpToDate { version } => node.up_to_date = Some((version, node.incarnation)),
            Effect::DropSession(_) => unreachable!("no session is revoked in this world"),
            Effect::Leave(Left::StoreFailed { .. }) => {
                node.left = true;
                node.lease = None;
            }
            Effect::Leave(why) => panic!("node {index} leaves: {why:?}"),
        }
    }

    fn send(
        &mut self,
        index: usize,
        to: Peer,
        chain: ChainVersion,
        message: Message,
        source: Source,
    ) {
        let from = self.nodes[index].peer();
        let other = index_of(to.target);
        let Some(link) = self.links.generation(index, other) else { return };
        let mut payload = None;
        let mut ended = None;
        if let Message::Erase { chunk, .. } = message {
            let held = self.nodes[index].store.now.chunks.get(&chunk).copied().unwrap_or_default();
            assert_eq!(held.version, None, "what is erased is not there");
            self.erased.insert((other, chunk), held.state);
        }
        if let Message::Forward { at, .. } | Message::Ship { at, .. } = message {
            let token = Payload(self.token());
            let node = &mut self.nodes[index];
            let (content, end) = match source {
                Source::Payload(own) => {
                    let stream = node.streams.get_mut(&own).expect("its bytes are here");
                    if stream.ended.is_none() {
                        stream.relays.push((link, other, token));
                    }
                    (stream.content, stream.ended)
                }
                Source::Committed => {
                    let held = node.store.now.chunks[&at.chunk];
                    assert_eq!(held.version, Some(at.version));
                    (Content { removal: false, what: What::Whole(held.state) }, Some(true))
                }
                _ => {
                    let pending = node.store.now.pendings[&at.chunk];
                    assert_eq!(pending.version, at.version);
                    let what = What::Whole(pending.state);
                    (Content { removal: pending.removal, what }, Some(true))
                }
            };
            ended = end.map(|complete| In::End { payload: token, complete });
            payload = Some((token, content));
        }
        let token = payload.map(|(token, _)| token);
        let packet = In::Message { from, chain, message, payload: token };
        self.links.push(index, other, (packet, payload.map(|(_, content)| content)));
        if let Some(end) = ended {
            self.links.push(index, other, (end, None));
        }
    }

    fn end_relays(&mut self, index: usize, relays: &[(u64, usize, Payload)], complete: bool) {
        for &(link, other, payload) in relays {
            if self.links.generation(index, other) == Some(link) {
                self.links.push(index, other, (In::End { payload, complete }, None));
            }
        }
    }

    /// A payload begins at a node.
    pub(super) fn begin_stream(
        &mut self,
        index: usize,
        payload: Payload,
        content: Content,
        link: Option<(u64, usize)>,
    ) {
        let stream = Stream { content, ended: None, relays: vec![], link };
        self.nodes[index].streams.insert(payload, stream);
    }

    /// The store of a node makes a record, or refuses to.
    pub(super) fn store_one(&mut self, index: usize) {
        let count = self.nodes[index].store.working.len();
        if count == 0 || self.nodes[index].replica.is_none() {
            return;
        }
        let place = self.below(count);
        let refuse = self.faults && self.rng.chance(60);
        let node = &mut self.nodes[index];
        let (at, tag, content) = node.store.working.remove(place);
        // A replica without room for what the chain holds leaves it: not in this world.
        let fail = self.faults && self.rng.chance(4);
        let node = &mut self.nodes[index];
        let refuse = refuse && tag.is_some();
        if refuse || fail {
            let result = Err(if fail { Refusal::StoreFailed } else { Refusal::NoSpace });
            let event = Event::Stored { chunk: at.chunk, version: at.version, result };
            return node.inbox.push_back(In::Event(event));
        }
        let before = node.store.now.chunks.get(&at.chunk).map_or(0, |held| held.state);
        let state = match content.what {
            What::Write(write) => {
                let state = mix64(before ^ mix64(write)) | 1;
                self.origins.insert(state, (write, before));
                state
            }
            What::Whole(state) => state,
        };
        let pending = Pending { version: at.version, state, removal: content.removal, tag };
        node.store.log_and_tell(Record::Put(at.chunk, pending), Done::Stored(at));
    }

    pub(super) fn flush(&mut self, index: usize) {
        let mut learnt = Vec::new();
        let node = &mut self.nodes[index];
        for done in node.store.flush() {
            let event = match done {
                Done::Stored(Version { chunk, version }) => {
                    let state = node.store.now.pendings[&chunk].state;
                    Event::Stored { chunk, version, result: Ok(Digest(state)) }
                }
                Done::Aborted(Version { chunk, version }) => Event::AbortStored { chunk, version },
                Done::Erased(chunk) => Event::Erased { chunk },
                Done::Learnt(to, walk) => {
                    learnt.push((to, walk));
                    continue;
                }
            };
            node.inbox.push_back(In::Event(event));
        }
        for (to, walk) in learnt {
            self.push(index, to, In::Event(Event::OutcomesShipped { walk }));
        }
    }

    fn push(&mut self, from: usize, to: usize, packet: In) {
        if self.links.generation(from, to).is_some() {
            self.links.push(from, to, (packet, None));
        }
    }

    /// The successor's node answers what its predecessor's node asks.
    fn serve_resync(&mut self, index: usize, asked: In) {
        match asked {
            In::ListAsked { from, walk, after } => {
                let first = ChunkId { inode: InodeId::new(1), index: 0 };
                let upto = Some(first).filter(|_| after == Cursor::Start && self.rng.chance(500));
                let theirs = self.nodes[index].store.list(after, upto);
                self.push(index, from, In::Listed { walk, after, upto, theirs });
            }
            In::Outcomes { from, walk, all } => {
                let store = &mut self.nodes[index].store;
                for (session, channel, seq, at) in all {
                    store.log(Record::Learn(session, channel, seq, at));
                }
                let version = store.now.chain;
                store.log_and_tell(Record::Chain(version), Done::Learnt(from, walk));
            }
            _ => unreachable!("only these are asked"),
        }
    }

    /// Chunks that are absent on both sides are equal, however they came to be.
    fn agree_on_absence(&mut self, index: usize, after: Cursor, upto: Option<ChunkId>) {
        let replica = self.nodes[index].replica.as_ref();
        let Some(to) = replica.and_then(|replica| replica.standing().successor) else { return };
        let other = index_of(to.target);
        let version = |index: usize| self.nodes[index].replica.as_ref().map(Replica::version);
        if version(index) != version(other) {
            return; // it is out, and does not know
        }
        for (chunk, held) in self.nodes[index].store.now.chunks.clone() {
            let within = !after.covers(chunk) && upto.is_none_or(|upto| chunk <= upto);
            let store = &mut self.nodes[other].store;
            let theirs = store.now.chunks.get(&chunk).copied().unwrap_or_default();
            if within && held.version.is_none() && theirs.version.is_none() {
                store.log(Record::Erase(chunk, held.state));
            }
        }
    }

    pub(super) fn crash(&mut self, index: usize) {
        let inherits = self.bug == Some(Bug::StartInherits);
        let node = &mut self.nodes[index];
        if node.replica.take().is_none() {
            return;
        }
        if self.trace {
            std::println!("node {index} crashes");
        }
        node.store.crash(&mut self.rng);
        node.inbox.clear();
        node.streams.clear();
        node.up_to_date = None;
        node.frozen = false;
        node.isolated = false;
        node.left = false;
        if !inherits {
            node.lease = None;
        }
        for other in 0..NODES {
            self.cut(index, other);
        }
    }

    pub(super) fn start(&mut self, index: usize) {
        if self.nodes[index].left {
            self.crash(index);
        }
        let node = &mut self.nodes[index];
        if node.replica.is_none() {
            node.boot(self.bug);
        }
    }
}
