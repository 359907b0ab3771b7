//! Admission from clients and predecessors, sessions, bounds.

use engine_store::tables::Known;
use engine_store::{ChunkKey, Fence, Outcome, Slot};

use super::*;
use crate::effect::{Left, Source};
use crate::limits::{CHUNK_QUEUE_MAX, JOINED_MAX};
use crate::message::Refusal;

fn update(id: u64) -> Update {
    let Event::UpdateAsked { update, .. } = ask(id, 3, 1) else { unreachable!() };
    update
}

#[test]
fn what_the_head_answers_at_once() {
    let outcome = Outcome {
        seq: 1,
        key: ChunkKey { slot: Slot::new(0), chunk: chunk(3) },
        version: ChunkVersion::new(9),
        len: 0,
    };
    let local = |known| Local { known, ..Local::default() };
    let fresh = Local::default();
    let fenced = Local { fenced: true, ..Local::default() };
    let other = |version| Update { chain: ChainVersion::new(version), ..update(7) };
    let big = |bytes| Update { growth: Space { bytes, records: 1 }, ..update(7) };
    // Target, update, facts, answer; nothing for one that enters. 1000 bytes are free, 100 kept.
    let table = [
        (1, update(7), fresh, None),
        (2, update(7), fresh, Some(Err(Refusal::StaleChain))),
        (1, other(0), fresh, Some(Err(Refusal::StaleChain))),
        (1, other(2), fresh, Some(Err(Refusal::StaleChain))),
        (1, update(7), fenced, Some(Err(Refusal::Fenced))),
        (1, update(7), local(Known::Repeated(outcome)), Some(Ok(ChunkVersion::new(9)))),
        (1, update(7), local(Known::Old { newest: 2 }), Some(Err(Refusal::OldRequest))),
        (
            1,
            update(7),
            local(Known::TooManyChannels { max: 64 }),
            Some(Err(Refusal::TooManyChannels)),
        ),
        (1, big(900), fresh, None),
        (1, big(901), fresh, Some(Err(Refusal::NoSpace))),
        (1, Update { growth: Space::ZERO, ..update(7) }, fresh, None),
    ];
    for (own, update, local, expected) in table {
        let mut replica = placed(own);
        let out = step(&mut replica, Event::UpdateAsked { update, local });
        let answer = out.iter().find_map(|effect| match effect {
            Effect::AnswerUpdate { result, .. } => Some(*result),
            _ => None,
        });
        assert_eq!(answer, expected, "{update:?} {local:?}");
        assert_eq!(out.contains(&Effect::Discard(Payload(7))), answer.is_some());
        assert_eq!(replica.in_flight(), usize::from(answer.is_none()));
    }
    let out = step_unleased(&mut placed(1), Event::UpdateAsked { update: update(7), local: fresh });
    assert!(
        out.contains(&Effect::AnswerUpdate { id: UpdateId(7), result: Err(Refusal::NotLeased) })
    );
}

#[test]
fn a_repeated_request_joins_and_a_second_one_of_its_channel_is_refused() {
    let mut replica = placed(1);
    step(&mut replica, ask(1, 3, 1));
    for id in 2..=JOINED_MAX as u64 {
        assert_eq!(step(&mut replica, ask(id, 3, 1)), [Effect::Discard(Payload(id))]);
    }
    let refused = |id, why| {
        [Effect::AnswerUpdate { id: UpdateId(id), result: Err(why) }, Effect::Discard(Payload(id))]
    };
    assert_eq!(step(&mut replica, ask(20, 3, 1)), refused(20, Refusal::Busy));
    assert_eq!(step(&mut replica, ask(21, 4, 2)), refused(21, Refusal::Busy));
    assert_eq!(step(&mut replica, ask(22, 4, 0)), refused(22, Refusal::OldRequest));
    // The stream of the first is given up (R3): nothing stays, everybody may ask again.
    let out = step(&mut replica, Event::PayloadEnded { payload: Payload(1), complete: false });
    let answers = out.iter().filter(|e| matches!(e, Effect::AnswerUpdate { .. })).count();
    assert_eq!((answers, replica.in_flight()), (JOINED_MAX, 0));
}

#[test]
fn a_chunk_has_one_version_in_flight_and_a_queue() {
    let mut replica = placed(1);
    let send = |session: u64| {
        let tag = Tag { session: SessionId::new(session), ..tag(1, 1) };
        let growth = Space { bytes: 1, records: 1 };
        let update = Update { tag, growth, payload: Payload(session), ..update(session) };
        Event::UpdateAsked { update, local: Local::default() }
    };
    assert_eq!(step(&mut replica, send(1)).len(), 1, "forwarded at once");
    for session in 2..=CHUNK_QUEUE_MAX as u64 + 1 {
        assert_eq!(step(&mut replica, send(session)), []);
    }
    let answer = Effect::AnswerUpdate { id: UpdateId(99), result: Err(Refusal::Busy) };
    assert_eq!(step(&mut replica, send(99)), [answer, Effect::Discard(Payload(99))]);
    // Sessions 1 to 9 are revoked: the one in flight has to end, those in the queue are refused.
    let fence = Fence::Below(SessionId::new(10));
    assert_eq!(replica.admitted(fence), 9);
    assert_eq!(step(&mut replica, Event::Revoked(fence)).len(), 2 * 8);
    assert_eq!(replica.admitted(fence), 1);
    step(&mut replica, Event::PayloadEnded { payload: Payload(1), complete: false });
    assert_eq!(replica.admitted(fence), 0);
    let forgotten = Event::Forgotten { session: SessionId::new(1), fenced: true };
    assert_eq!(step(&mut replica, forgotten), [Effect::DropSession(SessionId::new(1))]);
}

#[test]
#[should_panic(expected = "E349")]
fn an_admitted_session_is_not_forgotten() {
    let mut replica = placed(1);
    step(&mut replica, ask(1, 3, 1));
    step(&mut replica, Event::Forgotten { session: SessionId::new(1), fenced: true });
}

#[test]
fn what_a_middle_replica_takes_from_whom() {
    let send = |from, version| {
        let Event::Received(received) = told(from, forward(at(3, 1), None)) else { unreachable!() };
        Received { chain: ChainVersion::new(version), ..received }
    };
    let restarted = Peer { incarnation: Incarnation::new(2), ..peer(1) };
    let fetch = Effect::FetchRouting { version: ChainVersion::new(2) };
    let retry = Effect::Send {
        to: peer(1),
        chain: ChainVersion::new(1),
        message: Message::Retry,
        source: Source::Nothing,
    };
    let discard = Effect::Discard(Payload(900));
    let table = [
        (send(3, 1), vec![discard.clone()]),
        (Received { from: restarted, ..send(1, 1) }, vec![discard.clone()]),
        (send(1, 2), vec![fetch, discard.clone()]),
        (send(1, 0), vec![retry, discard]),
    ];
    for (received, expected) in table {
        let mut replica = placed(2);
        assert_eq!(step(&mut replica, Event::Received(received)), expected, "{received:?}");
        assert_eq!(replica.in_flight(), 0);
    }
    let mut replica = placed(2);
    let out = step(&mut replica, Event::Received(send(1, 1)));
    assert_eq!(replica.in_flight(), 1, "{out:?}");
}

#[test]
fn a_version_that_is_committed_or_does_not_follow() {
    let digest =
        |own, theirs| Left::Diverged { at: at(3, 2), own: Digest(own), theirs: Digest(theirs) };
    let committed = Some(ChunkVersion::new(2));
    // Committed version and digest, forwarded version and digest, why it leaves.
    let table = [
        ((2, 5), (2, Some(5)), None),
        ((2, 5), (2, Some(6)), Some(digest(5, 6))),
        ((2, 5), (2, None), Some(Left::PeerBroke { at: at(3, 2) })),
        ((2, 5), (4, Some(5)), Some(Left::Missing { at: at(3, 4), committed })),
        ((2, 5), (1, Some(5)), Some(Left::Missing { at: at(3, 1), committed })),
    ];
    for (own, (version, theirs), why) in table {
        let mut replica = placed(3);
        let out = step(&mut replica, told_of(2, forward(at(3, version), theirs), Some(own)));
        assert!(out.contains(&Effect::Discard(Payload(900))));
        let acked = out.iter().any(|effect| {
            let Effect::Send { message: Message::Ack { at: of, .. }, .. } = effect else {
                return false;
            };
            *of == at(3, 2)
        });
        assert_eq!(acked, why.is_none(), "{own:?} {version} {theirs:?}");
        assert_eq!(out.contains(&Effect::Leave(why.unwrap_or(digest(0, 0)))), why.is_some());
        assert_eq!(replica.has_left(), why.is_some());
    }
}

#[test]
fn a_forward_of_a_revoked_session_is_refused() {
    let mut middle = placed(2);
    let Event::Received(received) = told(1, forward(at(3, 1), None)) else { unreachable!() };
    let local = Local { fenced: true, ..Local::default() };
    let out = step(&mut middle, Event::Received(Received { local, ..received }));
    let (walk, at, why) = (Walk(1), at(3, 1), Refusal::Fenced);
    let (message, source) = (Message::Refused { walk, at, why }, Source::Nothing);
    let refused = Effect::Send { to: peer(1), chain: ChainVersion::new(1), message, source };
    assert_eq!(out, [Effect::Discard(Payload(900)), refused]);
    assert_eq!(middle.in_flight(), 0);
}

/// R18: full, then freed: the head takes growth again though nothing is acknowledged meanwhile.
#[test]
fn room_that_comes_back_is_told_up_without_an_update() {
    let room = |bytes| Space { bytes, records: 1000 };
    let grown = || Update { growth: Space { bytes: 200, records: 1 }, ..update(7) };
    let said = |bytes| Message::Room { walk: Walk(1), space: room(bytes) };
    let mut head = placed(1);
    let asked = |head: &mut Replica| {
        let (update, local) = (grown(), Local::default());
        step(head, Event::UpdateAsked { update, local })
    };
    step(&mut head, told(2, said(150)));
    let refused = Effect::AnswerUpdate { id: UpdateId(7), result: Err(Refusal::NoSpace) };
    assert!(asked(&mut head).contains(&refused), "the chain is full");
    let mut middle = placed(2);
    assert_eq!(step(&mut middle, Event::SpaceDue), [], "it was told so with `Ready`");
    assert_eq!(step(&mut middle, told(3, said(150))), []);
    let up = |bytes| Effect::Send {
        to: peer(1),
        chain: ChainVersion::new(1),
        message: said(bytes),
        source: Source::Nothing,
    };
    assert_eq!(step(&mut middle, Event::SpaceDue), [up(150)]);
    assert_eq!(step(&mut middle, Event::SpaceDue), [], "once");
    step(&mut middle, told(3, said(5000)));
    assert_eq!(step(&mut middle, Event::SpaceDue), [up(1000)], "its own is the least now");
    step(&mut head, told(2, said(1000)));
    assert!(!asked(&mut head).contains(&refused), "there is room again");
    // Of another dialogue it says nothing, and a head has nobody to tell.
    step(&mut head, told(2, Message::Room { walk: Walk(9), space: room(0) }));
    assert_eq!(step(&mut head, Event::SpaceDue), []);
}
