//! Tables for each phase.

use std::vec;
use std::vec::Vec;

use engine_store::Tag;
use engine_store::tables::Fences;
use engine_types::{
    ChainInfo, ChainVersion, ChannelId, ChunkId, ChunkVersion, Incarnation, InodeId, Member,
    PublicState, SessionId, TargetId, Timeline,
};

mod admission;
mod dialogue;
mod reads;
mod resync;

use super::{Effects, Replica, Start};
use crate::effect::Effect;
use crate::event::{Event, Local, Received, Space, Update};
use crate::message::{Message, Version};
use crate::standing::Peer;
use crate::words::{Digest, Payload, UpdateId, Walk};

pub(crate) fn peer(target: u64) -> Peer {
    Peer { target: TargetId::new(target), incarnation: Incarnation::new(1) }
}

pub(crate) fn chunk(index: u32) -> ChunkId {
    ChunkId { inode: InodeId::new(1), index }
}

pub(crate) fn tag(channel: u32, seq: u64) -> Tag {
    Tag { session: SessionId::new(1), channel: ChannelId::new(channel), seq }
}

pub(crate) fn chain(version: u32, states: &[(u64, PublicState)]) -> Event {
    let member = |&(target, state): &(u64, PublicState)| Member {
        target: TargetId::new(target),
        state,
        incarnation: Incarnation::new(1),
    };
    let members = states.iter().map(member).collect();
    let chain = ChainInfo { version: ChainVersion::new(version), members };
    Event::ChainArrived { timeline: Timeline::new(1), chain }
}

/// A replica that has measured its store.
pub(crate) fn fresh(target: u64) -> Replica {
    let mut replica = Replica::new(Start {
        own: peer(target),
        version: ChainVersion::new(0),
        timeline: Timeline::new(1),
        pendings: vec![],
        fences: Fences::new(),
        reserve: Space { bytes: 100, records: 10 },
    });
    let space = Space { bytes: 1000, records: 1000 };
    assert_eq!(step(&mut replica, Event::SpaceMeasured(space)), []);
    replica
}

pub(crate) fn step(replica: &mut Replica, event: Event) -> Effects {
    let mut out = Vec::new();
    replica.step(event, true, &mut out);
    out
}

pub(crate) fn ask(id: u64, index: u32, seq: u64) -> Event {
    let update = Update {
        id: UpdateId(id),
        chain: ChainVersion::new(1),
        chunk: chunk(index),
        removal: false,
        tag: tag(1, seq),
        growth: Space { bytes: 10, records: 1 },
        payload: Payload(id),
    };
    Event::UpdateAsked { update, local: Local::default() }
}

/// Without a lease.
pub(crate) fn step_unleased(replica: &mut Replica, event: Event) -> Effects {
    let mut out = Vec::new();
    replica.step(event, false, &mut out);
    out
}

pub(crate) fn at(index: u32, version: u32) -> Version {
    Version { chunk: chunk(index), version: ChunkVersion::new(version) }
}

/// A message of target `from`, in chain version 1.
pub(crate) fn told(from: u64, message: Message) -> Event {
    told_of(from, message, None)
}

/// The same, of a chunk that is committed.
pub(crate) fn told_of(from: u64, message: Message, committed: Option<(u32, u64)>) -> Event {
    let committed = committed.map(|(version, d)| (ChunkVersion::new(version), Digest(d)));
    let payload = matches!(message, Message::Forward { .. }).then_some(Payload(900));
    let local = Local { committed, ..Local::default() };
    let chain = ChainVersion::new(1);
    Event::Received(Received { from: peer(from), chain, message, payload, local })
}

pub(crate) fn forward(at: Version, digest: Option<u64>) -> Message {
    let tag = Some(tag(1, 1));
    Message::Forward { walk: Walk(1), at, removal: false, tag, digest: digest.map(Digest) }
}

pub(crate) fn stored(at: Version, digest: u64) -> Event {
    Event::Stored { chunk: at.chunk, version: at.version, result: Ok(Digest(digest)) }
}

pub(crate) fn complete(payload: u64) -> Event {
    Event::PayloadEnded { payload: Payload(payload), complete: true }
}

/// Target `own` of the chain 1, 2, 3; its neighbours' dialogues stand, both with number 1.
pub(crate) fn placed(own: u64) -> Replica {
    let mut replica = fresh(own);
    let all = [1, 2, 3].map(|target| (target, PublicState::Serving));
    step(&mut replica, chain(1, &all));
    if 1 < own {
        step(&mut replica, told(own - 1, Message::Hello { walk: Walk(1) }));
    }
    if own < 3 {
        let space = Space { bytes: 1000, records: 1000 };
        step(&mut replica, told(own + 1, Message::Ready { walk: Walk(1), space }));
    }
    replica
}

#[test]
fn a_sole_replica_stores_commits_answers() {
    let mut replica = fresh(1);
    let installed = step(&mut replica, chain(1, &[(1, PublicState::Serving)]));
    let version = ChainVersion::new(1);
    assert_eq!(installed, [Effect::Install { timeline: Timeline::new(1), version }]);
    assert_eq!(step(&mut replica, ask(7, 3, 1)), []);
    let at = Version { chunk: chunk(3), version: ChunkVersion::new(1) };
    let stored = Effect::Store {
        at,
        chain: version,
        tag: Some(tag(1, 1)),
        replace: false,
        payload: Payload(7),
    };
    let ended = Event::PayloadEnded { payload: Payload(7), complete: true };
    assert_eq!(step(&mut replica, ended), [stored]);
    let durable = Event::Stored { chunk: at.chunk, version: at.version, result: Ok(Digest(5)) };
    let answer = Effect::AnswerUpdate { id: UpdateId(7), result: Ok(at.version) };
    assert_eq!(step(&mut replica, durable), [Effect::Commit(at), answer]);
    assert_eq!(replica.in_flight(), 0);
}
