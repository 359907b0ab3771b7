//! Clients: each slot is a channel with one request under way, retried until it is answered.

use super::node::{In, index_of};
use super::*;

#[derive(Clone, Debug)]
enum Doing {
    Nothing,
    Write { write: u64, chunk: ChunkId, removal: bool, floor: usize, attempts: Vec<UpdateId> },
    Read { chunk: ChunkId, floor: usize, id: ReadId },
}

#[derive(Clone, Debug)]
struct Slot_ {
    session: SessionId,
    channel: ChannelId,
    seq: u64,
    doing: Doing,
    known: ChainInfo,
    /// A payload that is being sent: to whom.
    sending: Option<(usize, Payload)>,
}

#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot_>,
    /// Nothing new begins.
    pub(super) quiet: bool,
}

impl Slots {
    pub(super) fn new() -> Self {
        let slot = |number: u32| Slot_ {
            session: SessionId::new(u64::from(number / 2) + 1),
            channel: ChannelId::new(number % 2),
            seq: 0,
            doing: Doing::Nothing,
            known: ChainInfo { version: ChainVersion::new(0), members: vec![] },
            sending: None,
        };
        Self { slots: (0..12).map(slot).collect(), quiet: false }
    }

    pub(super) fn all_idle(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot.doing, Doing::Nothing))
    }
}

impl World {
    fn floor(&mut self, chunk: ChunkId) -> usize {
        self.lines.entry(chunk).or_default().floor
    }

    /// A client begins something, or loses patience, or goes on sending.
    pub(super) fn client_acts(&mut self) {
        let count = self.slots.slots.len();
        let place = self.below(count);
        if let Some((node, payload)) = self.slots.slots[place].sending.take() {
            let complete = !self.faults || !self.rng.chance(80);
            if self.nodes[node].replica.is_some() {
                self.nodes[node].inbox.push_back(In::End { payload, complete });
            }
            return;
        }
        if !matches!(self.slots.slots[place].doing, Doing::Nothing) {
            if self.rng.chance(50) {
                self.slots.slots[place].known = self.manager.chain.clone();
                self.attempt(place);
            }
            return;
        }
        if self.slots.quiet {
            return;
        }
        let index = u32::try_from(self.rng.below(self.chunks)).unwrap();
        let chunk = ChunkId { inode: InodeId::new(1), index };
        let floor = self.floor(chunk);
        let write = self.token();
        let removal = self.rng.chance(150);
        let slot = &mut self.slots.slots[place];
        slot.doing = if self.rng.chance(350) {
            slot.seq += 1;
            Doing::Write { write, chunk, removal, floor, attempts: vec![] }
        } else {
            Doing::Read { chunk, floor, id: ReadId(0) }
        };
        self.attempt(place);
    }

    /// Sends the request of a slot, again or for the first time.
    fn attempt(&mut self, place: usize) {
        let token = self.token();
        let slot = &mut self.slots.slots[place];
        let chain = slot.known.version;
        match &mut slot.doing {
            Doing::Nothing => {}
            Doing::Write { write, chunk, removal, attempts, .. } => {
                let Some(head) = slot.known.head() else { return };
                attempts.push(UpdateId(token));
                let tag = Tag { session: slot.session, channel: slot.channel, seq: slot.seq };
                let growth = Space { bytes: 1, records: 1 };
                let update = Update {
                    id: UpdateId(token),
                    chain,
                    chunk: *chunk,
                    removal: *removal,
                    tag,
                    growth,
                    payload: Payload(token),
                };
                let content = Content { removal: *removal, what: What::Write(*write) };
                let head = index_of(head);
                slot.sending = Some((head, Payload(token)));
                if self.nodes[head].replica.is_some() {
                    self.begin_stream(head, Payload(token), content, None);
                    self.nodes[head].inbox.push_back(In::Update(update));
                }
            }
            Doing::Read { chunk, id, .. } => {
                *id = ReadId(token);
                let event = Event::ReadAsked { id: *id, chain, chunk: *chunk };
                let Some(member) = self.rng.pick(&slot.known.members) else { return };
                let node = &mut self.nodes[index_of(member.target)];
                if node.replica.is_some() {
                    node.inbox.push_back(In::Event(event));
                }
            }
        }
    }

    pub(super) fn update_answered(&mut self, id: UpdateId, result: Result<ChunkVersion, Refusal>) {
        if self.faults && self.rng.chance(100) {
            return; // the connection is gone; the client will ask again
        }
        let asked = |slot: &Slot_| match &slot.doing {
            Doing::Write { attempts, .. } => attempts.contains(&id),
            _ => false,
        };
        let Some(place) = self.slots.slots.iter().position(asked) else { return };
        let slot = &mut self.slots.slots[place];
        let Doing::Write { write, chunk, floor, attempts, .. } = &slot.doing else { return };
        let (write, chunk, floor) = (*write, *chunk, *floor);
        let newest = attempts.last() == Some(&id);
        match result {
            Ok(_) => {
                slot.doing = Doing::Nothing;
                let line = self.lines.entry(chunk).or_default();
                let done = line.writes.iter().position(|done| *done == write);
                let done = done.expect("an acknowledged write is not committed anywhere") + 1;
                assert!(floor < done, "write {write} stands before what was known at its begin");
                line.floor = line.floor.max(done);
                self.acked += 1;
            }
            // It may happen yet, or not.
            Err(Refusal::NoSpace) if newest => slot.doing = Doing::Nothing,
            Err(_) => {
                if newest {
                    slot.known = self.manager.chain.clone();
                }
            }
        }
    }

    fn reader(&mut self, id: ReadId) -> Option<usize> {
        self.slots.slots.iter().position(|slot| match slot.doing {
            Doing::Read { id: asked, .. } => asked == id,
            _ => false,
        })
    }

    pub(super) fn serve(&mut self, index: usize, id: ReadId) {
        let Some(place) = self.reader(id) else { return };
        let slot = &mut self.slots.slots[place];
        let Doing::Read { chunk, floor, .. } = slot.doing else { return };
        slot.doing = Doing::Nothing;
        let state = self.nodes[index].store.now.chunks.get(&chunk).map_or(0, |held| held.state);
        let line = self.lines.entry(chunk).or_default();
        let read = line.states.iter().position(|known| *known == state);
        let mut read = read.map_or(0, |place| place + 1);
        // Removals of an absent chunk are not seen.
        let absent = read == 0 || line.absent[read - 1];
        while absent && read < floor && line.absent[read] {
            read += 1;
        }
        assert!(state == 0 || read != 0, "what was read is not committed anywhere");
        assert!(floor <= read, "node {index} serves {read}, {floor} was known before");
        line.floor = line.floor.max(read);
        self.served += 1;
    }

    pub(super) fn read_refused(&mut self, id: ReadId, _why: Refusal) {
        let Some(place) = self.reader(id) else { return };
        self.slots.slots[place].known = self.manager.chain.clone();
    }
}
