//! Chain versions, trailers, walks, aborts.

use super::*;
use crate::effect::Source;
use crate::entry::Recovered;
use crate::message::Refusal;
use engine_store::Fence;

fn send(to: u64, message: Message) -> Effect {
    Effect::Send { to: peer(to), chain: ChainVersion::new(1), message, source: Source::Nothing }
}

fn room() -> Space {
    Space { bytes: 1000, records: 1000 }
}

#[test]
fn older_chain_versions_and_timelines_are_refused() {
    let mut replica = placed(1);
    let old = |version, timeline| {
        let Event::ChainArrived { chain, .. } = chain(version, &[(1, PublicState::Serving)]) else {
            unreachable!()
        };
        Event::ChainArrived { timeline: Timeline::new(timeline), chain }
    };
    assert_eq!(step(&mut replica, old(0, 1)), []);
    assert_eq!(step(&mut replica, old(9, 0)), []);
    assert_eq!(replica.version(), ChainVersion::new(1));
    step(&mut replica, old(9, 2));
    assert_eq!(replica.version(), ChainVersion::new(9));
}

#[test]
fn the_tail_commits_with_record_trailer_and_lease() {
    let digest = Digest(5);
    let trailer = told(2, Message::Stored { walk: Walk(1), at: at(3, 1), digest });
    for first in ["record", "trailer"] {
        let mut tail = placed(3);
        assert_eq!(step(&mut tail, told(2, forward(at(3, 1), None))), []);
        assert_eq!(step(&mut tail, complete(900)).len(), 1);
        let (one, two) = (stored(at(3, 1), 5), trailer.clone());
        let (one, two) = if first == "record" { (one, two) } else { (two, one) };
        assert_eq!(step(&mut tail, one), [], "{first} alone");
        assert_eq!(step_unleased(&mut tail, two), [], "R8: no lease");
        let ack = send(2, Message::Ack { walk: Walk(1), at: at(3, 1), space: room() });
        assert_eq!(step(&mut tail, Event::LeaseRenewed), [Effect::Commit(at(3, 1)), ack]);
    }
}

#[test]
fn a_middle_replica_passes_the_trailer_on_when_it_is_durable() {
    let mut middle = placed(2);
    let out = step(&mut middle, told(1, forward(at(3, 1), None)));
    let passed = Effect::Send {
        to: peer(3),
        chain: ChainVersion::new(1),
        message: forward(at(3, 1), None),
        source: Source::Payload(Payload(900)),
    };
    assert_eq!(out, [passed]);
    let trailer = Message::Stored { walk: Walk(1), at: at(3, 1), digest: Digest(5) };
    assert_eq!(step(&mut middle, told(1, trailer)), []);
    step(&mut middle, complete(900));
    assert_eq!(step(&mut middle, stored(at(3, 1), 5)), [send(3, trailer)]);
    let ack = Message::Ack { walk: Walk(1), at: at(3, 1), space: room() };
    assert_eq!(step(&mut middle, told(3, ack)), [Effect::Commit(at(3, 1)), send(1, ack)]);
    assert_eq!(middle.in_flight(), 0);
}

#[test]
fn an_aborted_stream_leaves_no_trace() {
    let mut middle = placed(2);
    step(&mut middle, told(1, forward(at(3, 1), None)));
    let ended = Event::PayloadEnded { payload: Payload(900), complete: false };
    assert_eq!(step(&mut middle, ended), [Effect::Discard(Payload(900))]);
    assert_eq!(middle.in_flight(), 0);
}

/// The head gave a stream up, and another request has its number before the end of it is here.
#[test]
fn another_request_waits_for_the_end_of_the_former_stream_of_its_number() {
    let mut tail = placed(3);
    step(&mut tail, told(2, forward(at(0, 1), None)));
    let other = Tag { session: SessionId::new(5), ..tag(2, 7) };
    let again = Message::Forward {
        walk: Walk(1),
        at: at(0, 1),
        removal: false,
        tag: Some(other),
        digest: None,
    };
    let Event::Received(received) = told(2, again) else { unreachable!() };
    let again = Event::Received(Received { payload: Some(Payload(901)), ..received });
    assert_eq!(step(&mut tail, again), []);
    assert_eq!(tail.admitted(Fence::One(SessionId::new(5))), 1, "E348");
    assert_eq!(tail.admitted(Fence::One(SessionId::new(1))), 1);
    let ended = Event::PayloadEnded { payload: Payload(900), complete: false };
    step(&mut tail, ended);
    assert_eq!(tail.admitted(Fence::One(SessionId::new(1))), 0);
    step(&mut tail, complete(901));
    step(&mut tail, stored(at(0, 1), 7));
    let trailer = Message::Stored { walk: Walk(1), at: at(0, 1), digest: Digest(7) };
    assert_eq!(step(&mut tail, told(2, trailer)).first(), Some(&Effect::Commit(at(0, 1))));
    assert_eq!(tail.admitted(Fence::One(SessionId::new(5))), 0);
}

#[test]
fn a_refusal_goes_up_and_the_abort_down() {
    let mut middle = placed(2);
    step(&mut middle, told(1, forward(at(3, 1), None)));
    step(&mut middle, complete(900));
    let why = Refusal::NoSpace;
    let refused = Message::Refused { walk: Walk(1), at: at(3, 1), why };
    let result = Err(why);
    let event = Event::Stored { chunk: chunk(3), version: ChunkVersion::new(1), result };
    assert_eq!(step(&mut middle, event), [send(1, refused)]);
    let abort = Message::Abort { walk: Walk(1), at: at(3, 1) };
    assert_eq!(step(&mut middle, told(1, abort)), [send(3, abort)]);
    let aborted = Message::Aborted { walk: Walk(1), at: at(3, 1) };
    assert_eq!(step(&mut middle, told(3, aborted)), [send(1, aborted)]);

    let mut head = placed(1);
    step(&mut head, ask(7, 3, 1));
    step(&mut head, complete(7));
    step(&mut head, stored(at(3, 1), 5));
    assert_eq!(step(&mut head, told(2, refused)), [send(2, abort), Effect::Abort(at(3, 1))]);
    assert_eq!(step(&mut head, told(2, aborted)), [], "its own abort is not durable");
    let done = Event::AbortStored { chunk: chunk(3), version: ChunkVersion::new(1) };
    let answer = Effect::AnswerUpdate { id: UpdateId(7), result: Err(why) };
    assert_eq!(step(&mut head, done), [answer]);
    assert_eq!(head.in_flight(), 0);
}

fn found(index: u32, version: u32) -> Recovered {
    Recovered {
        at: at(index, version),
        base: ChunkVersion::new(version - 1).checked_base(),
        removal: false,
        tag: None,
        digest: Digest(u64::from(index)),
    }
}

trait Base {
    fn checked_base(self) -> Option<ChunkVersion>;
}

impl Base for ChunkVersion {
    fn checked_base(self) -> Option<ChunkVersion> {
        (self != Self::default()).then_some(self)
    }
}

fn restarted(target: u64, pendings: Vec<Recovered>) -> Replica {
    restarted_with(target, pendings, Fences::new())
}

fn restarted_with(target: u64, pendings: Vec<Recovered>, fences: Fences) -> Replica {
    let (version, timeline) = (ChainVersion::new(0), Timeline::new(1));
    let reserve = Space::ZERO;
    Replica::new(Start { own: peer(target), version, timeline, pendings, fences, reserve })
}

/// E390: no lease is given before the session is drained (E294).
#[test]
fn a_start_ends_what_it_finds_of_revoked_sessions_without_a_lease() {
    let pendings = vec![Recovered { tag: Some(tag(0, 1)), ..found(4, 2) }, found(5, 1)];
    for fence in [Fence::One(SessionId::new(1)), Fence::Below(SessionId::new(2))] {
        let mut fences = Fences::new();
        fences.replay(fence);
        let mut last = restarted_with(1, pendings.clone(), fences);
        assert!(last.is_told(fence));
        assert_eq!(last.admitted(fence), 0, "it takes no part yet");
        let out = step_unleased(&mut last, chain(1, &[(1, PublicState::Serving)]));
        assert_eq!(last.admitted(fence), 0, "{out:?}");
        assert!(out.contains(&Effect::Commit(at(4, 2))), "{out:?}");
        assert!(!out.contains(&Effect::Commit(at(5, 1))), "{out:?}");
    }
}

#[test]
fn a_last_server_commits_what_it_holds_and_a_syncing_replica_drops_it() {
    let pendings = vec![found(4, 2), found(3, 1)];
    let mut last = restarted(1, pendings.clone());
    assert_eq!(step(&mut last, chain(1, &[(1, PublicState::LastServing)])).len(), 1);
    assert_eq!(step(&mut last, chain(2, &[(1, PublicState::Serving)])).len(), 1);
    let promoted = [Effect::Commit(at(3, 1)), Effect::Commit(at(4, 2))];
    assert_eq!(step(&mut last, Event::LeaseRenewed), promoted);

    let mut syncing = restarted(2, pendings);
    let states = [(1, PublicState::Serving), (2, PublicState::Syncing)];
    let out = step(&mut syncing, chain(1, &states));
    assert_eq!(out[1..], [Effect::Abort(at(3, 1)), Effect::Abort(at(4, 2))]);
    let done = |at: Version| Event::AbortStored { chunk: at.chunk, version: at.version };
    assert_eq!(step(&mut syncing, told(1, Message::Hello { walk: Walk(1) })), [], "not yet");
    assert_eq!(step(&mut syncing, done(at(3, 1))), []);
    assert_eq!(step(&mut syncing, done(at(4, 2))), [send(1, Message::Ask)]);
}

#[test]
fn a_walk_names_everything_and_what_it_does_not_name_is_given_up() {
    let pendings = vec![found(4, 2), found(3, 1)];
    let all = [1, 2].map(|target| (target, PublicState::Serving));
    let mut head = restarted(1, pendings.clone());
    step(&mut head, chain(1, &all));
    let out = step(&mut head, told(2, Message::Ready { walk: Walk(1), space: room() }));
    let named: Vec<Version> = out
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send {
                message: Message::Forward { at, .. }, source: Source::Store, ..
            } => Some(*at),
            _ => None,
        })
        .collect();
    assert_eq!(named, [at(3, 1), at(4, 2)], "in chunk order");
    assert_eq!(out.last(), Some(&send(2, Message::Walked { walk: Walk(1) })));

    let mut tail = restarted(2, pendings);
    step(&mut tail, chain(1, &all));
    step(&mut tail, told(1, Message::Hello { walk: Walk(1) }));
    let again = step(&mut tail, told_of(1, forward(at(4, 2), Some(4)), Some((1, 0))));
    assert_eq!(again, [Effect::Discard(Payload(900))]);
    assert_eq!(
        step(&mut tail, told(1, Message::Walked { walk: Walk(1) })),
        [Effect::Abort(at(3, 1))]
    );
    let other = step(&mut tail, told_of(1, forward(at(4, 2), Some(9)), Some((1, 0))));
    assert!(matches!(other[1], Effect::Leave(_)), "R6: another content: {other:?}");
}

#[test]
fn what_a_revoked_session_has_in_flight_ends_without_a_lease() {
    for revoked_first in [false, true] {
        let mut tail = placed(3);
        let fence = Fence::One(SessionId::new(1));
        step(&mut tail, told(2, forward(at(0, 1), None)));
        step(&mut tail, complete(900));
        step(&mut tail, stored(at(0, 1), 7));
        assert_eq!(tail.admitted(fence), 1);
        let trailer = Message::Stored { walk: Walk(1), at: at(0, 1), digest: Digest(7) };
        let out = if revoked_first {
            assert_eq!(step_unleased(&mut tail, Event::Revoked(fence)), []);
            step_unleased(&mut tail, told(2, trailer))
        } else {
            assert_eq!(step_unleased(&mut tail, told(2, trailer)), [], "no lease");
            step_unleased(&mut tail, Event::Revoked(fence))
        };
        assert_eq!(out.first(), Some(&Effect::Commit(at(0, 1))), "{revoked_first}");
        assert_eq!(tail.admitted(fence), 0);
    }
}
