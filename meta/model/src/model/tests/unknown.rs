//! Results that nobody learns.

use engine_types::InodeId;
use meta_protocol::{Answer, Caller, Operation, Refusal, Request, op};
use meta_schema::Mode;

use crate::model::{Model, TooManyWorlds, WORLDS_MAX};
use crate::twin::{EMPTY, Twin};

fn mkdir(name: &[u8]) -> Operation {
    let (mode, umask) = (Mode::new(0o755), Mode::new(0));
    op::Mkdir { parent: InodeId::new(1), name: name.to_vec(), mode, umask, layout: None }.into()
}

fn lookup(name: &[u8]) -> Operation {
    op::Lookup { parent: InodeId::new(1), name: name.to_vec() }.into()
}

/// What a system answers in which "a" was made, or was not.
fn answer(made: bool, request: &Request) -> Result<Answer, Refusal> {
    let mut twin = Twin::new();
    if made {
        let first = twin.request(&Caller::root(), mkdir(b"a"));
        twin.answer(&first).unwrap();
    }
    twin.answer(request)
}

/// Whether it was done or not: the next answer tells, and what it told counts.
#[test]
fn e466_an_unknown_result_allows_both_until_one_is_seen() {
    for done in [false, true] {
        let (mut twin, mut model) = (Twin::new(), Model::new(&EMPTY));
        let request = twin.request(&Caller::root(), mkdir(b"a"));
        let later = crate::When { earliest: 0, latest: 5000 };
        model.unknown(&request, later).unwrap();
        assert_eq!(model.world_count(), 2);
        let request = twin.request(&Caller::root(), lookup(b"a"));
        model.check(&request, &answer(done, &request), later).unwrap();
        assert_eq!(model.world_count(), 1, "the answer tells");
        model.check(&request, &answer(!done, &request), later).unwrap_err();
        model.check(&request, &answer(done, &request), later).unwrap();
    }
}

#[test]
fn histories_in_parallel_are_bounded() {
    let (mut twin, mut model) = (Twin::new(), Model::new(&EMPTY));
    for index in 0..10_u8 {
        let request = twin.request(&Caller::root(), mkdir(&[b'a' + index]));
        let result = model.unknown(&request, twin.when());
        if 1 << (index + 1) <= WORLDS_MAX {
            assert_eq!(result, Ok(()));
        } else {
            assert_eq!(result, Err(TooManyWorlds { worlds: 2 * WORLDS_MAX }));
        }
    }
    assert_eq!(model.world_count(), WORLDS_MAX);
}
