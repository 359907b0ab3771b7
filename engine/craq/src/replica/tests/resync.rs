//! The cursor of a resync, seen from the tail and from the syncing replica.

use super::*;
use crate::effect::Source;
use crate::event::Compared;
use crate::replica::Cursor;

fn send(to: u64, message: Message, source: Source) -> Effect {
    Effect::Send { to: peer(to), chain: ChainVersion::new(1), message, source }
}

/// A sole server with a syncing successor, up to the first comparison.
fn tail() -> Replica {
    let mut replica = fresh(1);
    step(&mut replica, chain(1, &[(1, PublicState::Serving), (2, PublicState::Syncing)]));
    let space = Space { bytes: 1000, records: 1000 };
    let out = step(&mut replica, told(2, Message::Ready { walk: Walk(1), space }));
    assert_eq!(out.last(), Some(&Effect::ShipOutcomes { to: peer(2), walk: Walk(1) }));
    let out = step(&mut replica, Event::OutcomesShipped { walk: Walk(1) });
    let asked = Effect::Compare { to: peer(2), walk: Walk(1), after: Cursor::Start };
    assert_eq!(out, [asked]);
    replica
}

fn lists(after: Cursor, ours: &[(u32, u64)], theirs: &[(u32, u64)]) -> Event {
    let all = |list: &[(u32, u64)]| {
        let one = |&(index, d): &(u32, u64)| (chunk(index), ChunkVersion::new(4), Digest(d));
        list.iter().map(one).collect::<Vec<_>>()
    };
    let (ours, theirs) = (all(ours), all(theirs));
    Event::Compared(Compared { walk: Walk(1), after, upto: None, theirs, ours })
}

#[test]
fn what_differs_is_shipped_what_is_too_much_is_removed() {
    let mut replica = tail();
    let out = step(
        &mut replica,
        lists(Cursor::Start, &[(1, 5), (2, 6), (3, 7)], &[(1, 5), (2, 9), (4, 1)]),
    );
    let walk = Walk(1);
    let ship = |index| send(2, Message::Ship { walk, at: at(index, 4) }, Source::Committed);
    let erase = send(2, Message::Erase { walk, chunk: chunk(4) }, Source::Nothing);
    assert_eq!(out, [ship(2), ship(3), erase]);
    for index in [2, 3] {
        assert_eq!(step(&mut replica, told(2, Message::Shipped { walk, chunk: chunk(index) })), []);
    }
    let out = step(&mut replica, told(2, Message::Shipped { walk, chunk: chunk(4) }));
    assert_eq!(out, [Effect::ShipOutcomes { to: peer(2), walk }]);
    let out = step(&mut replica, Event::OutcomesShipped { walk });
    assert_eq!(out, [send(2, Message::SyncDone { walk }, Source::Nothing)]);
    // R11: from here on nothing commits without it, also when the link is lost.
    step(&mut replica, Event::LinkDown { peer: peer(2) });
    step(&mut replica, ask(7, 9, 1));
    step(&mut replica, complete(7));
    assert_eq!(step(&mut replica, stored(at(9, 1), 5)), []);
}

#[test]
fn the_cursor_waits_for_what_is_in_flight() {
    let mut replica = tail();
    assert_eq!(step(&mut replica, ask(7, 3, 1)), [], "above the cursor nothing is sent");
    step(&mut replica, complete(7));
    assert_eq!(step(&mut replica, lists(Cursor::Start, &[(1, 5)], &[(1, 5)])), []);
    let below = Tag { session: SessionId::new(2), ..tag(1, 1) };
    let Event::UpdateAsked { update, local } = ask(8, 2, 1) else { unreachable!() };
    let update = Update { tag: below, ..update };
    let out = step(&mut replica, Event::UpdateAsked { update, local });
    assert!(matches!(out[..], [Effect::Send { .. }]), "below it everything is: {out:?}");
    let out = step(&mut replica, stored(at(3, 1), 5));
    let (walk, answer) =
        (Walk(1), Effect::AnswerUpdate { id: UpdateId(7), result: Ok(at(3, 1).version) });
    let ship = send(2, Message::Ship { walk, at: at(3, 1) }, Source::Committed);
    let compare = Effect::Compare { to: peer(2), walk, after: Cursor::At(chunk(3)) };
    assert_eq!(out, [Effect::Commit(at(3, 1)), answer, ship, compare]);
}

#[test]
fn a_lost_link_lets_the_tail_go_on_alone() {
    let mut replica = tail();
    step(&mut replica, lists(Cursor::Start, &[(1, 5)], &[]));
    step(&mut replica, ask(7, 9, 1));
    step(&mut replica, complete(7));
    let out = step(&mut replica, stored(at(9, 1), 5));
    assert_eq!(out.len(), 1, "the successor gets the trailer: {out:?}");
    let out = step(&mut replica, Event::LinkDown { peer: peer(2) });
    assert_eq!(out[0], Effect::Commit(at(9, 1)));
}

#[test]
fn a_syncing_replica_replaces_removes_and_reports() {
    let mut replica = fresh(2);
    step(&mut replica, chain(1, &[(1, PublicState::Serving), (2, PublicState::Syncing)]));
    let walk = Walk(1);
    step(&mut replica, told(1, Message::Hello { walk }));
    let Event::Received(ship) = told(1, Message::Ship { walk, at: at(3, 4) }) else {
        unreachable!()
    };
    let ship = Received { payload: Some(Payload(900)), ..ship };
    assert_eq!(step(&mut replica, Event::Received(ship)), []);
    // The next version follows at once and waits.
    let next = told_of(1, forward(at(3, 5), None), None);
    let Event::Received(next) = next else { unreachable!() };
    let next = Received { payload: Some(Payload(901)), ..next };
    assert_eq!(step(&mut replica, Event::Received(next)), []);
    let out = step(&mut replica, complete(900));
    assert!(matches!(out[..], [Effect::Store { replace: true, .. }]), "{out:?}");
    let shipped = |index| send(1, Message::Shipped { walk, chunk: chunk(index) }, Source::Nothing);
    assert_eq!(step(&mut replica, stored(at(3, 4), 5)), [Effect::Commit(at(3, 4)), shipped(3)]);
    assert_eq!(replica.in_flight(), 1);
    assert_eq!(
        step(&mut replica, told(1, Message::Erase { walk, chunk: chunk(4) })),
        [Effect::Erase(chunk(4))]
    );
    assert_eq!(step(&mut replica, Event::Erased { chunk: chunk(4) }), [shipped(4)]);
    let version = ChainVersion::new(1);
    assert_eq!(
        step(&mut replica, told(1, Message::SyncDone { walk })),
        [Effect::UpToDate { version }]
    );
}

/// An answer that nobody waits for changes nothing (E352).
#[test]
fn requests_that_are_shipped_twice_count_once() {
    let mut replica = tail();
    let again = Event::OutcomesShipped { walk: Walk(1) };
    assert_eq!(step(&mut replica, again.clone()), []);
    let same = lists(Cursor::Start, &[(1, 5)], &[(1, 5)]);
    let out = step(&mut replica, same);
    assert_eq!(out, [Effect::ShipOutcomes { to: peer(2), walk: Walk(1) }]);
}
