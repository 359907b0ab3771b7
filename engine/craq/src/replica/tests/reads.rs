//! Which version a read gets, and what it waits for (R8, R9).

use super::*;
use crate::limits::READS_MAX;
use crate::message::Refusal;
use crate::words::{QueryId, ReadId};

fn read(id: u64) -> Event {
    Event::ReadAsked { id: ReadId(id), chain: ChainVersion::new(1), chunk: chunk(3) }
}

fn answer(query: u64, committed: Option<Option<u32>>) -> Event {
    let committed = committed.map(|version| version.map(ChunkVersion::new));
    told(3, Message::Answer { query: QueryId(query), committed })
}

/// A middle replica with version 1 of chunk 3 in flight.
fn busy() -> Replica {
    let mut middle = placed(2);
    step(&mut middle, told(1, forward(at(3, 1), None)));
    middle
}

#[test]
fn without_a_version_in_flight_anybody_serves() {
    for own in [1, 2, 3] {
        assert_eq!(step(&mut placed(own), read(1)), [Effect::Serve(ReadId(1))]);
        let refused = Effect::RefuseRead { id: ReadId(1), why: Refusal::NotLeased };
        assert_eq!(step_unleased(&mut placed(own), read(1)), [refused]);
        let other =
            Event::ReadAsked { id: ReadId(1), chain: ChainVersion::new(0), chunk: chunk(3) };
        let refused = Effect::RefuseRead { id: ReadId(1), why: Refusal::StaleChain };
        assert_eq!(step(&mut placed(own), other), [refused]);
    }
}

#[test]
fn the_answer_of_the_tail_decides() {
    // The answer, and whether the read is served at once or waits for the commit.
    let table = [(Some(None), true), (Some(Some(1)), false), (None, false)];
    for (committed, served) in table {
        let mut middle = busy();
        assert!(matches!(step(&mut middle, read(1))[..], [Effect::Send { .. }]));
        let out = step(&mut middle, answer(1, committed));
        assert_eq!(out.contains(&Effect::Serve(ReadId(1))), served, "{committed:?}");
        step(&mut middle, complete(900));
        step(&mut middle, stored(at(3, 1), 5));
        let space = Space { bytes: 1, records: 1 };
        let out = step(&mut middle, told(3, Message::Ack { walk: Walk(1), at: at(3, 1), space }));
        assert_eq!(out.contains(&Effect::Serve(ReadId(1))), !served, "{committed:?}");
    }
}

#[test]
fn an_answer_about_another_version_counts_for_nothing() {
    let mut middle = busy();
    step(&mut middle, read(1));
    step(&mut middle, Event::PayloadEnded { payload: Payload(900), complete: false });
    assert_eq!(step(&mut middle, answer(1, Some(None))), [], "it was served when that ended");
    let mut middle = busy();
    step(&mut middle, read(1));
    let all = [1, 2, 3].map(|target| (target, PublicState::Serving));
    let out = step(&mut middle, chain(2, &all));
    let refused = Effect::RefuseRead { id: ReadId(1), why: Refusal::StaleChain };
    assert!(out.contains(&refused), "{out:?}");
}

#[test]
fn the_tail_answers_under_its_lease() {
    let query = told_of(2, Message::Query { query: QueryId(4), chunk: chunk(3) }, Some((6, 1)));
    let said = |out: Effects| match out[..] {
        [Effect::Send { message: Message::Answer { committed, .. }, .. }] => committed,
        _ => panic!("{out:?}"),
    };
    let six = Some(Some(ChunkVersion::new(6)));
    assert_eq!(said(step(&mut placed(3), query.clone())), six);
    assert_eq!(said(step_unleased(&mut placed(3), query.clone())), None);
    // E351: what it held before this chain version may be committed elsewhere.
    let mut tail = placed(3);
    step(&mut tail, told_of(2, forward(at(3, 7), None), Some((6, 1))));
    assert_eq!(said(step(&mut tail, query.clone())), six);
    step(&mut tail, complete(900));
    step(&mut tail, stored(at(3, 7), 5));
    let two = [2, 3].map(|target| (target, PublicState::Serving));
    step(&mut tail, chain(2, &two));
    let Event::Received(received) = query else { unreachable!() };
    let later = Received { chain: ChainVersion::new(2), ..received };
    assert_eq!(said(step(&mut tail, Event::Received(later))), None);
}

#[test]
fn waiting_reads_are_bounded_and_a_lost_link_makes_them_wait_for_the_commit() {
    let mut middle = busy();
    for id in 0..READS_MAX as u64 {
        step(&mut middle, read(id));
    }
    let refused = Effect::RefuseRead { id: ReadId(9999), why: Refusal::Busy };
    assert_eq!(step(&mut middle, read(9999)), [refused]);
    step(&mut middle, Event::LinkDown { peer: peer(3) });
    assert_eq!(step(&mut middle, answer(1, Some(None))), []);
    let out = step(&mut middle, Event::PayloadEnded { payload: Payload(900), complete: false });
    let served = out.iter().filter(|effect| matches!(effect, Effect::Serve(_))).count();
    assert_eq!(served, READS_MAX);
}
