use engine_store::Change;
use engine_types::Rng;

use super::*;
use crate::scenarios::store::request::{Expected, Sessions, draw};

const KEY: ChunkKey = ChunkKey::new(Slot::new(0), 1, 0);
const OTHER: ChunkKey = ChunkKey::new(Slot::new(0), 1, 1);

fn model() -> Model {
    Model::new([KEY, OTHER].map(|key| (key, ChunkSize::MIN)))
}

fn version(number: u32, tag: Option<Tag>) -> Rc<Version> {
    let mut body = Body::new(ChunkSize::MIN);
    body.write(0, &number.to_le_bytes());
    Rc::new(Version {
        number: ChunkVersion::new(number),
        body: Some(Rc::new(body)),
        epoch: TruncateEpoch::default(),
        chain_version: ChainVersion::new(1),
        tag,
    })
}

fn pending(model: &Model, key: ChunkKey, version: &Rc<Version>) -> State {
    State { committed: model.chunk(&key).now().committed.clone(), pending: Some(version.clone()) }
}

fn survivors(model: &Model, key: ChunkKey) -> Vec<(Option<u32>, Option<u32>)> {
    let number = |version: &Option<Rc<Version>>| version.as_ref().map(|v| v.number.get());
    let states = model.chunk(&key).survivors();
    states.map(|(_, state)| (number(&state.committed), number(&state.pending))).collect()
}

#[test]
fn an_update_is_in_doubt_until_it_is_acknowledged() {
    let mut model = model();
    let state = pending(&model, KEY, &version(1, None));
    let begun = model.begin(KEY, state.clone());
    assert_eq!(survivors(&model, KEY), [(None, Some(1)), (None, None)]);
    assert_eq!(*model.chunk(&KEY).now(), State::default(), "not in force yet");
    model.acknowledged(begun);
    assert_eq!(survivors(&model, KEY), [(None, Some(1))], "whole, and nothing else");
    assert_eq!(*model.chunk(&KEY).now(), state);
}

#[test]
fn a_refused_update_never_was() {
    let mut model = model();
    let state = pending(&model, KEY, &version(1, None));
    let begun = model.begin(KEY, state);
    model.refused(begun);
    assert_eq!(survivors(&model, KEY), [(None, None)]);
}

#[test]
fn a_commit_is_durable_with_a_later_acknowledgement_of_any_chunk() {
    let mut model = model();
    let begun = model.begin(KEY, pending(&model, KEY, &version(1, None)));
    model.acknowledged(begun);
    let before = model.begin(OTHER, pending(&model, OTHER, &version(1, None)));
    model.committed(KEY);
    assert_eq!(survivors(&model, KEY), [(Some(1), None), (None, Some(1))]);
    model.acknowledged(before);
    assert_eq!(survivors(&model, KEY).len(), 2, "that one was asked for before the commit");
    model.committed(OTHER);
    let after = model.begin(KEY, pending(&model, KEY, &version(2, None)));
    model.acknowledged(after);
    assert_eq!(survivors(&model, KEY), [(Some(1), Some(2))]);
    assert_eq!(survivors(&model, OTHER), [(Some(1), None)]);
    assert_eq!(model.lazy_count(), 0);
}

#[test]
fn a_request_is_remembered_exactly_when_its_commit_survives() {
    let mut model = model();
    let tag = Tag { session: SessionId::new(1), channel: ChannelId::new(2), seq: 3 };
    let channel = (KEY.slot, tag.session, tag.channel);
    let stored = version(1, Some(tag));
    let begun = model.begin(KEY, pending(&model, KEY, &stored));
    assert!(!model.is_idle(&channel));
    model.acknowledged(begun);
    model.committed(KEY);
    assert!(model.is_idle(&channel));
    let outcome = stored.outcome(KEY);
    let numbers: Vec<u64> = model.chunk(&KEY).survivors().map(|(number, _)| number).collect();
    let allowed = |number| model.allowed_outcomes(&channel, &BTreeMap::from([(KEY, number)]));
    assert_eq!(allowed(numbers[0]), [outcome]);
    assert_eq!(allowed(numbers[1]), [None]);
    let found = BTreeMap::from([(KEY, numbers[0]), (OTHER, 0)]);
    model.found(&found, &BTreeMap::from([(channel, outcome)]));
    assert_eq!(model.outcome(&channel), outcome);
    assert_eq!(model.allowed_outcomes(&channel, &found), [outcome]);
}

#[test]
fn readers_keep_the_states_that_they_may_have_seen() {
    let mut model = model();
    let from = model.chunk(&KEY).number();
    model.chunk_mut(&KEY).readers = 1;
    let begun = model.begin(KEY, pending(&model, KEY, &version(1, None)));
    model.acknowledged(begun);
    model.committed(KEY);
    assert_eq!(model.chunk(&KEY).since(from).count(), 3);
    let chunk = model.chunk_mut(&KEY);
    chunk.readers = 0;
    chunk.prune();
    assert_eq!(chunk.survivors().count(), 2);
}

#[test]
fn fences_are_certain_only_when_they_are_durable() {
    let mut model = Model::default();
    let session = SessionId::new(4);
    assert_eq!(model.is_fenced(session), Some(false));
    let index = model.begin_fence(Fence::Below(SessionId::new(5)));
    assert_eq!(model.is_fenced(session), None);
    model.fence_durable(index);
    assert_eq!(model.is_fenced(session), Some(true));
    assert_eq!(model.is_fenced(SessionId::new(5)), Some(false));
}

#[test]
fn requests_are_drawn_of_every_kind() {
    let (mut rng, mut sessions) = (Rng::new(1), Sessions::default());
    sessions.fenced.push(SessionId::new(0));
    let mut model = model();
    let mut kinds = BTreeMap::new();
    for _ in 0..4000 {
        let request = draw(&mut rng, &model, &mut sessions, KEY);
        let kind = match (&request.expected, request.update.change) {
            (Expected::Stored, Change::Write { .. }) => "write".to_owned(),
            (Expected::Stored, Change::Truncate { .. }) => "truncate".to_owned(),
            (Expected::Stored, Change::Extend { .. }) => "extend".to_owned(),
            (Expected::Stored, Change::Zero { .. }) => "zero".to_owned(),
            (Expected::Stored, Change::Replace { .. }) => "replace".to_owned(),
            (Expected::Stored, Change::Remove) => "remove".to_owned(),
            (Expected::Repeated(_), _) => "repeated".to_owned(),
            (Expected::Refused(wrong), _) => format!("{wrong:?}"),
        };
        *kinds.entry(kind).or_insert(0) += 1;
        if request.expected == Expected::Stored {
            let begun = model.begin(KEY, request.becomes);
            model.acknowledged(begun);
            model.committed(KEY);
        }
    }
    let missing = ["Busy", "Target", "Chain", "Fence"];
    assert!(15 <= kinds.len(), "{kinds:?}; others ({missing:?}) need more than a model");
}
