use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use engine_types::{ChannelId, ChunkVersion, Rng, SessionId};

use super::{Dedup, DedupKey, Known};
use crate::address::{ChunkKey, Slot};
use crate::request::{Outcome, Tag};

fn slot(raw: u16) -> Slot {
    Slot::new(raw)
}

fn tag(session: u64, channel: u32, seq: u64) -> Tag {
    Tag { session: SessionId::new(session), channel: ChannelId::new(channel), seq }
}

fn outcome(at: u16, seq: u64) -> Outcome {
    let key = ChunkKey::new(slot(at), 100 + seq, 3);
    Outcome { seq, key, version: ChunkVersion::new(7), len: 4096 }
}

fn key(at: u16, session: u64, channel: u32) -> DedupKey {
    let (session, channel) = (SessionId::new(session), ChannelId::new(channel));
    DedupKey { slot: slot(at), session, channel }
}

#[test]
fn r14_a_request_is_fresh_repeated_or_old() {
    let mut dedup = Dedup::new(2, 4);
    assert_eq!(dedup.check(slot(1), tag(9, 0, 5)), Known::Fresh);
    dedup.record(slot(1), tag(9, 0, 5), outcome(1, 5));
    #[rustfmt::skip]
    let rows = [
        (1, tag(9, 0, 5), Known::Repeated(outcome(1, 5))),
        (1, tag(9, 0, 4), Known::Old { newest: 5 }),
        (1, tag(9, 0, 6), Known::Fresh),
        (1, tag(9, 1, 1), Known::Fresh),
        (1, tag(8, 0, 5), Known::Fresh),
        (2, tag(9, 0, 5), Known::Fresh),
    ];
    for (at, tag, expected) in rows {
        assert_eq!(dedup.check(slot(at), tag), expected, "{at} {tag:?}");
    }
    assert_eq!(dedup.outcome(slot(1), tag(9, 0, 5)), Some(outcome(1, 5)));
    assert_eq!(dedup.outcome(slot(1), tag(9, 0, 6)), None);
    dedup.record(slot(1), tag(9, 0, 8), outcome(1, 8));
    assert_eq!(dedup.check(slot(1), tag(9, 0, 5)), Known::Old { newest: 8 });
    assert_eq!(dedup.len(), 1);
}

#[test]
fn r14_channels_and_sessions_have_limits() {
    let mut dedup = Dedup::new(2, 4);
    for (at, session, channel) in [(1, 9, 0), (1, 9, 1), (2, 9, 0)] {
        dedup.record(slot(at), tag(session, channel, 1), outcome(at, 1));
    }
    assert_eq!(dedup.check(slot(1), tag(9, 2, 1)), Known::TooManyChannels { max: 2 });
    assert_eq!(dedup.check(slot(1), tag(9, 1, 2)), Known::Fresh, "a known channel goes on");
    assert_eq!(dedup.check(slot(2), tag(9, 2, 1)), Known::Fresh, "the limit is per target");
    dedup.record(slot(3), tag(7, 0, 1), outcome(3, 1));
    assert_eq!(dedup.check(slot(4), tag(7, 0, 1)), Known::TooManySessions { max: 4 });
    // Requests that were admitted before that are recorded nevertheless.
    dedup.record(slot(4), tag(7, 0, 1), outcome(4, 1));
    assert_eq!(dedup.len(), 5);
    assert!(dedup.drop_session(SessionId::new(9), 100));
    assert_eq!((dedup.len(), dedup.check(slot(1), tag(9, 2, 1))), (2, Known::Fresh));
}

#[test]
fn r15_another_replica_adds_what_is_newer() {
    let mut dedup = Dedup::default();
    assert!(dedup.learn(slot(1), tag(9, 0, 5), outcome(1, 5)));
    assert!(!dedup.learn(slot(1), tag(9, 0, 5), outcome(1, 5)));
    assert!(!dedup.learn(slot(1), tag(9, 0, 4), outcome(1, 4)));
    assert!(dedup.learn(slot(1), tag(9, 0, 6), outcome(1, 6)));
    assert_eq!(dedup.outcome(slot(1), tag(9, 0, 6)), Some(outcome(1, 6)));
    dedup.replay(slot(1), tag(9, 0, 2), outcome(1, 2));
    assert_eq!(dedup.outcome(slot(1), tag(9, 0, 2)), Some(outcome(1, 2)), "the last entry decides");
}

/// A session with several targets goes in turns, and so does a target with several sessions.
#[test]
fn drops_take_bounded_turns() {
    let full = || {
        let mut dedup = Dedup::default();
        for at in [0, 1, 2, u16::MAX] {
            for (session, channel) in [(0, 0), (0, 1), (5, 0), (5, 9), (u64::MAX, 3)] {
                dedup.record(slot(at), tag(session, channel, 1), outcome(at, 1));
            }
        }
        dedup
    };
    let mut dedup = full();
    let mut turns = Vec::new();
    while !dedup.drop_session(SessionId::new(5), 3) {
        turns.push(dedup.len());
        dedup.check_counts();
    }
    assert_eq!((turns.as_slice(), dedup.len()), (&[16, 12][..], 12));
    assert!(dedup.after(None).all(|(key, _)| key.session != SessionId::new(5)));
    assert!(dedup.drop_session(SessionId::new(5), 1), "nothing is left");

    for at in [0, 1, u16::MAX] {
        let mut dedup = full();
        let mut turns = Vec::new();
        while !dedup.drop_slot(slot(at), 1) {
            turns.push(dedup.len());
            dedup.check_counts();
        }
        assert_eq!((turns.as_slice(), dedup.len()), (&[18, 16][..], 15), "slot {at}");
        assert!(dedup.after(None).all(|(key, _)| key.slot != slot(at)));
    }
}

#[test]
fn memory_is_counted() {
    let mut dedup = Dedup::default();
    assert_eq!((dedup.bytes(), dedup.is_empty()), (0, true));
    for channel in 0..64 {
        dedup.record(slot(1), tag(1, channel, 1), outcome(1, 1));
    }
    assert_eq!(dedup.bytes(), 64 * 40 + 96);
    assert!(dedup.drop_slot(slot(1), 1_000));
    assert_eq!(dedup.bytes(), 0);
}

/// Random requests against an ordered map; a dump that is interrupted after every few outcomes,
/// while the table changes, contains whatever was there all the time.
#[test]
fn e192_e193_random_requests_equal_an_ordered_map() {
    for seed in 0..10 {
        let mut rng = Rng::new(seed);
        let mut dedup = Dedup::new(3, 60);
        let mut reference: BTreeMap<DedupKey, Outcome> = BTreeMap::new();
        let mut dump: (Option<DedupKey>, Vec<DedupKey>) = (None, Vec::new());
        let mut stable: Vec<DedupKey> = Vec::new();
        for step in 0..3_000 {
            let at = u16::try_from(rng.below(4)).unwrap();
            let session = rng.below(8);
            let channel = u32::try_from(rng.below(5)).unwrap();
            let key = key(at, session, channel);
            let tag = key.tag(rng.below(40));
            match rng.below(100) {
                0..70 => request(&mut dedup, &mut reference, key, tag),
                70..80 => {
                    dedup.replay(key.slot, tag, outcome(at, tag.seq));
                    reference.insert(key, outcome(at, tag.seq));
                }
                80..82 => {
                    while !dedup.drop_session(key.session, 2) {}
                    reference.retain(|other, _| other.session != key.session);
                    stable.retain(|other| other.session != key.session);
                }
                82..83 => {
                    while !dedup.drop_slot(key.slot, 2) {}
                    reference.retain(|other, _| other.slot != key.slot);
                    stable.retain(|other| other.slot != key.slot);
                }
                _ => {
                    let before = dump.1.len();
                    dump.1.extend(dedup.after(dump.0).take(5).map(|(key, _)| key));
                    dump.0 = dump.1.last().copied();
                    if dump.1.len() == before {
                        assert!(dump.1.is_sorted(), "seed {seed}, step {step}");
                        let all = stable.iter().all(|key| dump.1.contains(key));
                        assert!(all, "seed {seed}, step {step}: a dump misses an outcome");
                        dump = (None, Vec::new());
                        stable = reference.keys().copied().collect();
                    }
                }
            }
            assert!(dedup.after(None).eq(reference.iter().map(|(&key, &known)| (key, known))));
            let behind = reference.range((Bound::Excluded(key), Bound::Unbounded)).take(3);
            let behind = behind.map(|(&key, &known)| (key, known));
            assert!(dedup.after(Some(key)).take(3).eq(behind), "seed {seed}, step {step}");
            assert_eq!(dedup.len(), reference.len(), "seed {seed}, step {step}");
            dedup.check_counts();
        }
    }
}

fn request(
    dedup: &mut Dedup,
    reference: &mut BTreeMap<DedupKey, Outcome>,
    key: DedupKey,
    tag: Tag,
) {
    let pair = |other: &&DedupKey| (other.slot, other.session) == (key.slot, key.session);
    let expected = match reference.get(&key) {
        Some(known) if known.seq == tag.seq => Known::Repeated(*known),
        Some(known) if tag.seq < known.seq => Known::Old { newest: known.seq },
        Some(_) => Known::Fresh,
        None if 3 <= reference.keys().filter(pair).count() => Known::TooManyChannels { max: 3 },
        None if 60 <= reference.len() => Known::TooManySessions { max: 60 },
        None => Known::Fresh,
    };
    assert_eq!(dedup.check(key.slot, tag), expected, "{tag:?}");
    if expected == Known::Fresh {
        let outcome = outcome(key.slot.get(), tag.seq);
        dedup.record(key.slot, tag, outcome);
        reference.insert(key, outcome);
    }
}

#[test]
#[should_panic(
    expected = "E192: slot-1 Tag { session: SessionId(9), channel: ChannelId(0), seq: 4 } after 5"
)]
fn e192_a_number_that_goes_down_is_noticed() {
    let mut dedup = Dedup::default();
    dedup.record(slot(1), tag(9, 0, 5), outcome(1, 5));
    dedup.record(slot(1), tag(9, 0, 4), outcome(1, 4));
}

#[test]
#[should_panic(expected = "E192: Tag")]
fn e192_an_outcome_of_another_request_is_noticed() {
    Dedup::default().record(slot(1), tag(9, 0, 5), outcome(1, 4));
}

#[test]
#[should_panic(expected = "E192: Tag")]
fn e192_an_outcome_of_another_slot_is_noticed() {
    Dedup::default().learn(slot(1), tag(9, 0, 5), outcome(2, 5));
}

#[test]
#[should_panic(expected = "E193: order")]
fn e193_a_pair_without_place_is_noticed() {
    let mut dedup = Dedup::default();
    dedup.record(slot(1), tag(9, 0, 5), outcome(1, 5));
    dedup.order.clear();
    dedup.order.insert((slot(2), SessionId::new(9)));
    dedup.check_counts();
}

#[test]
fn sessions_are_walked_in_order_each_once_per_target() {
    let mut dedup = Dedup::new(8, 100);
    for (at, session, channel) in [(2, 5, 0), (1, 9, 1), (1, 9, 0), (1, 4, 0), (2, 9, 3)] {
        dedup.record(slot(at), tag(session, channel, 1), outcome(at, 1));
    }
    let place = |at, session| (slot(at), SessionId::new(session));
    let all = [place(1, 4), place(1, 9), place(2, 5), place(2, 9)];
    assert_eq!(dedup.sessions_after(None).collect::<Vec<_>>(), all);
    assert_eq!(dedup.sessions_after(Some(place(1, 9))).collect::<Vec<_>>(), all[2..]);
    assert_eq!(dedup.sessions_after(Some(place(2, 9))).next(), None);
    assert!(dedup.drop_session(SessionId::new(9), usize::MAX));
    assert_eq!(dedup.sessions_after(None).collect::<Vec<_>>(), [all[0], all[2]]);
    assert_eq!((dedup.len(), dedup.max()), (2, 100));
}
