//! Order of the store and order of time.

use alloc::vec::Vec;

use engine_types::InodeId;
use meta_protocol::{Caller, Operation, op};
use meta_schema::Mode;

use super::{Event, Place, Unexplained, judge};
use crate::model::Model;
use crate::moment::When;
use crate::twin::{EMPTY, Twin};

fn mkdir(name: &[u8]) -> Operation {
    let (mode, umask) = (Mode::new(0o755), Mode::new(0));
    op::Mkdir { parent: InodeId::new(1), name: name.to_vec(), mode, umask, layout: None }.into()
}

/// A history in which a directory is made, looked up and removed: the operations overlap.
fn history() -> Vec<Event> {
    let mut twin = Twin::new();
    let root = InodeId::new(1);
    let lookup = || op::Lookup { parent: root, name: b"a".to_vec() }.into();
    let rmdir = op::Rmdir { parent: root, name: b"a".to_vec() }.into();
    let commit = |version, order| Place::Commit { version, order };
    let rows = [
        (lookup(), Place::Read { version: 4 }),
        (mkdir(b"a"), commit(5, 0)),
        (mkdir(b"b"), commit(5, 1)),
        (lookup(), Place::Read { version: 5 }),
        (rmdir, commit(6, 0)),
        (lookup(), Place::Read { version: 6 }),
    ];
    let when = When { earliest: 0, latest: 10_000 };
    let mut events = Vec::new();
    for (operation, place) in rows {
        let request = twin.request(&Caller::root(), operation);
        let found = Some(twin.answer(&request));
        events.push(Event { place, request, found, when });
    }
    events
}

#[test]
fn the_order_of_the_store_explains_what_clients_saw() {
    let mut events = history();
    events.reverse();
    events.swap(1, 3);
    judge(&mut Model::new(&EMPTY), events, Vec::new()).unwrap();
}

#[test]
fn an_answer_of_another_version_is_found() {
    let mut events = history();
    events[3].place = Place::Read { version: 4 };
    let end = judge(&mut Model::new(&EMPTY), events, Vec::new());
    assert!(matches!(end, Err(Unexplained::Answer(_))), "{end:?}");
}

#[test]
fn a_lost_answer_is_filled_in() {
    let mut events = history();
    events[1].found = None;
    judge(&mut Model::new(&EMPTY), events.clone(), Vec::new()).unwrap();
    events.remove(1);
    assert!(
        judge(&mut Model::new(&EMPTY), events, Vec::new()).is_err(),
        "nobody made what is looked up"
    );
}

#[test]
fn what_had_ended_does_not_stand_behind_what_began_later() {
    let mut events = history();
    events[0].when = When { earliest: 5_000, latest: 6_000 };
    events[1].when = When { earliest: 1_000, latest: 2_000 };
    let end = judge(&mut Model::new(&EMPTY), events, Vec::new());
    assert!(matches!(end, Err(Unexplained::Order { .. })), "{end:?}");
}
