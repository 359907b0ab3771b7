use super::*;
use crate::history::End;
use engine_types::Instant;

mod random;

const A: Stamp = 0xa11a_11a1_1a11_a11a;
const B: Stamp = 0xb22b_22b2_2b22_b22b;
const C: Stamp = 0xc33c_33c3_3c33_c33c;

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn write(stamp: Stamp, offset: u32, len: u32) -> Change {
    Change::Write { offset, len, stamp }
}

/// Client, when it asked and was told.
type Who = (u32, u64, u64);

fn made((client, from, to): Who, change: Change, version: u32, len: u32) -> ChunkOperation {
    let end = End::Returned { at: at(to), result: Answer::Made { version, len } };
    Operation { client, invoked: at(from), call: Call::Update(change, 0), end }
}

fn unknown(client: u32, from: u64, change: Change) -> ChunkOperation {
    let end = End::Unknown { at: at(from + 1) };
    Operation { client, invoked: at(from), call: Call::Update(change, 0), end }
}

fn bytes(len: u32, parts: &[(Range<u32>, Stamp)]) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    for (range, stamp) in parts {
        let place = range.start as usize..range.end as usize;
        fill(*stamp, range.start, &mut bytes[place]);
    }
    bytes
}

/// A read of the whole chunk.
fn saw(
    (client, from, to): Who,
    version: u32,
    len: u32,
    parts: &[(Range<u32>, Stamp)],
) -> ChunkOperation {
    let result = Answer::Saw(Saw::of(version, len, 0, &bytes(len, parts)));
    let end = End::Returned { at: at(to), result };
    let call = Call::Read { offset: 0, len: 1 << 20 };
    Operation { client, invoked: at(from), call, end }
}

fn absent(who: Who) -> ChunkOperation {
    saw(who, 0, 0, &[])
}

fn held(version: u32, len: u32, parts: &[(Range<u32>, Stamp)]) -> Held {
    let saw = Saw::of(version, len, 0, &bytes(len, parts));
    Held { digest: Some(saw.print ^ u64::from(version)), saw }
}

#[track_caller]
fn rejected(history: &[ChunkOperation], by: &str) {
    let found = chunk_linearizable(history).expect_err("it is illegal");
    assert_eq!(found.check, by, "{found}");
}

#[track_caller]
fn accepted(history: &[ChunkOperation]) {
    if let Err(found) = chunk_linearizable(history) {
        panic!("it is legal: {found}");
    }
}

/// The same update, of an epoch.
fn of_epoch(epoch: Epoch, mut operation: ChunkOperation) -> ChunkOperation {
    if let Call::Update(_, of) = &mut operation.call {
        *of = epoch;
    }
    operation
}

// --- what must be rejected ---------------------------------------------------------------------

#[test]
fn a_stale_read() {
    rejected(
        &[
            made((1, 0, 1), write(A, 0, 64), 1, 64),
            made((1, 2, 3), write(B, 0, 64), 2, 64),
            saw((2, 4, 5), 1, 64, &[(0..64, A)]),
        ],
        T91,
    );
}

#[test]
fn a_lost_acknowledgement() {
    // B stands on the version that A was told to have made.
    rejected(
        &[made((1, 0, 1), write(A, 0, 64), 1, 64), made((2, 2, 3), write(B, 64, 64), 1, 128)],
        T90,
    );
    rejected(&[made((1, 0, 1), write(A, 0, 64), 1, 64), absent((2, 2, 3))], T91);
}

#[test]
fn a_double_execution() {
    // A made version 1, its answer was lost, and the repetition made version 3.
    let twice = [
        made((1, 0, 9), write(A, 0, 64), 3, 64),
        made((2, 3, 4), write(B, 0, 32), 2, 64),
        saw((2, 1, 2), 1, 64, &[(0..64, A)]),
    ];
    rejected(&twice, T93);
    // Nobody has seen the first time: a version is left over.
    rejected(&twice[..2], T90);
}

#[test]
fn a_removal_of_an_older_epoch() {
    let of = |removed: Epoch, written: Epoch| {
        [
            of_epoch(1, made((1, 0, 1), Change::Truncate { len: 8 }, 1, 8)),
            of_epoch(written, made((1, 2, 3), write(A, 0, 64), 2, 64)),
            of_epoch(removed, made((2, 4, 5), Change::Remove, 3, 0)),
        ]
    };
    rejected(&of(1, 2), T100);
    rejected(&of(2, 2), T100);
    accepted(&of(3, 2));
    rejected(&of(3, 0), T100);
    accepted(&of(0, 1)[..2]);
    // Nobody knows whether it came, and what is read says that it did.
    let [first, second, _] = of(0, 2);
    let late = of_epoch(1, unknown(2, 4, Change::Remove));
    let gone = absent((3, 6, 7));
    assert!(chunk_linearizable(&[first.clone(), second.clone(), late, gone.clone()]).is_err());
    accepted(&[first, second, of_epoch(3, unknown(2, 4, Change::Remove)), gone]);
}

#[test]
fn a_torn_read() {
    let history = [
        made((1, 0, 1), write(A, 0, 64), 1, 64),
        made((1, 2, 3), write(B, 0, 64), 2, 64),
        saw((2, 2, 3), 2, 64, &[(0..32, B), (32..64, A)]),
    ];
    rejected(&history, T92);
}

#[test]
fn a_read_from_the_future() {
    let history = [saw((2, 0, 1), 1, 64, &[(0..64, A)]), made((1, 2, 3), write(A, 0, 64), 1, 64)];
    rejected(&history, T91);
    let history = [saw((2, 0, 1), 1, 64, &[(0..64, A)]), unknown(1, 2, write(A, 0, 64))];
    rejected(&history, T91);
}

#[test]
fn two_versions_by_one_update() {
    // The only update of unknown outcome would have to make versions 1 and 2.
    let history = [
        unknown(1, 0, write(A, 0, 64)),
        made((2, 1, 9), write(B, 0, 16), 3, 64),
        saw((3, 2, 3), 1, 64, &[(0..64, A)]),
        saw((3, 4, 5), 2, 64, &[(0..64, A)]),
    ];
    rejected(&history, T90);
}

#[test]
fn two_updates_with_one_version() {
    let history =
        [made((1, 0, 9), write(A, 0, 64), 1, 64), made((2, 0, 9), write(B, 0, 64), 1, 64)];
    rejected(&history, T90);
}

#[test]
fn a_gap_without_an_update_of_unknown_outcome() {
    let history =
        [made((1, 0, 1), write(A, 0, 64), 1, 64), made((1, 2, 3), write(B, 0, 64), 3, 64)];
    rejected(&history, T90);
    // One that was asked for too late does not help, nor does one that was refused.
    let late = unknown(3, 4, write(C, 0, 64));
    let refused = Operation { end: End::Failed { at: at(1) }, ..unknown(3, 0, write(C, 0, 64)) };
    rejected(&[history.to_vec(), vec![late]].concat(), T90);
    rejected(&[history.to_vec(), vec![refused]].concat(), T90);
    accepted(&[history.to_vec(), vec![unknown(3, 2, write(C, 0, 64))]].concat());
}

#[test]
fn a_version_that_is_used_again_with_other_bytes() {
    // Version 2 was shown with the bytes of A and given up, then B made it.
    let history = [
        made((1, 0, 1), write(C, 0, 64), 1, 64),
        unknown(2, 2, write(A, 0, 64)),
        saw((3, 3, 4), 2, 64, &[(0..64, A)]),
        made((1, 5, 6), write(B, 0, 64), 2, 64),
    ];
    rejected(&history, T90);
    let history = [&history[..2], &history[3..]].concat();
    accepted(&history); // nobody has seen it
}

#[test]
fn a_chunk_that_returns_after_its_removal() {
    let history = [
        made((1, 0, 1), write(A, 0, 64), 1, 64),
        made((1, 2, 3), Change::Remove, 2, 0),
        saw((2, 4, 5), 1, 64, &[(0..64, A)]),
    ];
    rejected(&history, T91);
    accepted(&[&history[..2], &[absent((2, 4, 5))]].concat());
}

#[test]
fn bytes_of_an_old_life() {
    let history = [
        made((1, 0, 1), write(A, 0, 64), 1, 64),
        made((1, 2, 3), Change::Remove, 2, 0),
        made((1, 4, 5), write(B, 0, 16), 1, 16),
        made((1, 6, 7), Change::Extend { len: 64 }, 2, 64),
        saw((2, 8, 9), 2, 64, &[(0..16, B), (16..64, A)]),
    ];
    rejected(&history, T92);
    accepted(&[&history[..4], &[saw((2, 8, 9), 2, 64, &[(0..16, B)])]].concat());
}

#[test]
fn reads_of_two_clients_that_go_backwards() {
    let history = [
        made((1, 0, 1), write(A, 0, 64), 1, 64),
        made((1, 2, 20), write(B, 0, 64), 2, 64),
        saw((2, 3, 4), 2, 64, &[(0..64, B)]),
        saw((3, 5, 6), 1, 64, &[(0..64, A)]),
    ];
    rejected(&history, T91);
    // They overlap.
    let overlap = saw((3, 4, 6), 1, 64, &[(0..64, A)]);
    accepted(&[&history[..3], &[overlap]].concat());
}

#[test]
fn an_update_of_unknown_outcome_that_comes_and_goes() {
    let history = [
        made((1, 0, 1), write(A, 0, 64), 1, 64),
        unknown(2, 2, write(B, 0, 64)),
        saw((3, 3, 4), 2, 64, &[(0..64, B)]),
        saw((3, 5, 6), 1, 64, &[(0..64, A)]),
    ];
    rejected(&history, T91);
}

#[test]
fn a_length_that_is_not_that_of_its_version() {
    let history = [
        made((1, 0, 1), write(A, 0, 64), 1, 64),
        made((1, 2, 3), Change::Truncate { len: 16 }, 2, 64),
    ];
    rejected(&history, T92);
    let history = [made((1, 0, 1), write(A, 0, 64), 1, 64), saw((1, 2, 3), 1, 32, &[(0..32, A)])];
    rejected(&history, T92);
}

#[test]
fn bytes_that_were_cut_off_and_return() {
    let cut = [
        made((1, 0, 1), write(A, 0, 64), 1, 64),
        made((1, 2, 3), Change::Truncate { len: 16 }, 2, 16),
        made((1, 4, 5), Change::Truncate { len: 64 }, 3, 64),
    ];
    let read = |parts: &[(Range<u32>, Stamp)]| saw((2, 6, 7), 3, 64, parts);
    rejected(&[&cut[..], &[read(&[(0..64, A)])]].concat(), T92);
    accepted(&[&cut[..], &[read(&[(0..16, A)])]].concat());
}

#[test]
fn bytes_at_another_place() {
    let mut moved = bytes(128, &[(0..64, A)]);
    moved.rotate_right(64);
    let result = Answer::Saw(Saw::of(1, 128, 0, &moved));
    let end = End::Returned { at: at(5), result };
    let call = Call::Read { offset: 0, len: 128 };
    let read = Operation { client: 2, invoked: at(4), call, end };
    rejected(&[made((1, 0, 1), write(A, 64, 64), 1, 128), read], T92);
}

#[test]
fn a_removal_that_two_clients_are_told_of() {
    let history = [
        made((1, 0, 1), write(A, 0, 64), 1, 64),
        made((1, 2, 9), Change::Remove, 2, 0),
        made((2, 2, 9), Change::Remove, 2, 0),
    ];
    rejected(&history, T90);
}

// --- what is legal -----------------------------------------------------------------------------

#[test]
fn updates_of_unknown_outcome_may_come_late_once_or_never() {
    let history = [
        made((1, 0, 1), write(A, 0, 64), 1, 64),
        unknown(2, 2, write(B, 0, 32)),
        unknown(2, 2, Change::Remove),
        unknown(3, 2, write(C, 32, 64)),
        saw((3, 50, 51), 1, 64, &[(0..64, A)]),
        saw((3, 60, 61), 2, 96, &[(0..32, A), (32..96, C)]),
        absent((3, 70, 71)),
        made((1, 72, 73), Change::Extend { len: 8 }, 1, 8),
        saw((3, 80, 81), 2, 32, &[(0..32, B)]),
    ];
    accepted(&history);
}

#[test]
fn a_removal_of_what_is_not_there_makes_version_1() {
    let history = [
        made((1, 0, 1), Change::Remove, 1, 0),
        made((1, 2, 3), Change::Zero { offset: 8, len: 8 }, 1, 0),
        saw((1, 4, 5), 1, 0, &[]),
        made((1, 6, 7), Change::Remove, 2, 0),
        made((1, 8, 9), Change::Remove, 1, 0),
    ];
    accepted(&history);
}

#[test]
fn two_lives_that_overlap_in_time_are_told_apart() {
    let history = [
        made((1, 0, 30), write(A, 0, 64), 1, 64),
        made((2, 0, 30), write(B, 0, 64), 1, 64),
        made((3, 0, 30), Change::Remove, 2, 0),
        saw((4, 1, 2), 1, 64, &[(0..64, B)]),
        absent((4, 3, 4)),
        saw((4, 5, 6), 1, 64, &[(0..64, A)]),
    ];
    accepted(&history);
}

// --- at rest -----------------------------------------------------------------------------------

fn rest(history: &[ChunkOperation], replicas: &[Held]) -> &'static str {
    let names = ["one", "two", "three"].map(str::to_owned);
    let replicas: Vec<_> = names.into_iter().zip(replicas.iter().cloned()).collect();
    chunk_at_rest(history, &replicas).err().map_or("", |found| found.check)
}

#[test]
fn diverged_replicas() {
    let history = [made((1, 0, 1), write(A, 0, 64), 1, 64), unknown(2, 0, write(B, 0, 64))];
    let (a, b) = (held(1, 64, &[(0..64, A)]), held(2, 64, &[(0..64, B)]));
    assert_eq!(rest(&history, &[a.clone(), a.clone(), a.clone()]), "");
    assert_eq!(rest(&history, &[b.clone(), b.clone()]), "");
    assert_eq!(rest(&history, &[a.clone(), a.clone(), b]), T95);
    let digest = Held { digest: Some(1), ..a.clone() };
    assert_eq!(rest(&history, &[a.clone(), digest]), T95, "bytes alike, records not");
    let gone = Held { digest: None, saw: Saw::absent() };
    assert_eq!(rest(&history, &[a, gone]), T95);
}

#[test]
fn an_acknowledged_write_that_is_lost_at_the_end() {
    let history = [made((1, 0, 1), write(A, 0, 64), 1, 64), made((1, 2, 3), write(B, 0, 8), 2, 64)];
    let (old, new) = (held(1, 64, &[(0..64, A)]), held(2, 64, &[(0..8, B), (8..64, A)]));
    assert_eq!(rest(&history, &[new.clone(), new]), "");
    assert_eq!(rest(&history, &[old.clone(), old]), T94);
    let gone = Held { digest: None, saw: Saw::absent() };
    assert_eq!(rest(&history, core::slice::from_ref(&gone)), T94);
    let torn = held(2, 64, &[(8..64, A)]);
    assert_eq!(rest(&history, &[torn]), T94);
}

#[test]
fn stamps_are_read_off_the_bytes() {
    let content = bytes(100, &[(3..40, A), (40..64, B), (90..99, C)]);
    let shown = Saw::of(1, 100, 3, &content[3..]).shown;
    let whole: Vec<_> = shown.iter().map(|shown| (shown.range.clone(), shown.stamp)).collect();
    assert_eq!(whole[..2], [(8..40, A), (40..64, B)]);
    let mut back = vec![0; 37];
    fill(A, 3, &mut back);
    assert_eq!(back, content[3..40]);
}
