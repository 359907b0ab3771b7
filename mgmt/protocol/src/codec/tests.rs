mod golden;
mod hostile;
mod samples;

use core::fmt::Debug;

use engine_types::{ChainId, ChainInfo, NodeId, Rng, RoutingInfo};
use mgmt_cluster::command::{Command, NewTarget};
use mgmt_cluster::config::ConfigEntry;
use mgmt_cluster::fields::{Reader, Writer};
use mgmt_cluster::heartbeat::{Lease, Move, ShardReport, TargetReport};
use mgmt_cluster::lease::{Contact, PrimaryLease};
use mgmt_cluster::record::{LastServer, NodeRecord};
use mgmt_cluster::session::{FenceError, SessionRecord};

use self::samples::{Sample, routing};
use super::{Field, Fields};
use crate::{
    Answer, Beat, BeatAnswer, ChainMember, ChainRow, ClusterSummary, Done, ManagerStatus, Message,
    NodeRow, Operation, Question, Refusal, RefusalCode, Register, Registered, RoutingAsk,
    RoutingTold, SessionAsk, SessionRow, SessionTold, StatusAsk,
};

/// Does something with each message.
macro_rules! each_message {
    (@of ($call:ident $arguments:tt) $($message:ident)*) => {
        $($call::<$message> $arguments;)*
    };
    ($($call:tt)*) => {
        each_message!(@of ($($call)*)
            StatusAsk ManagerStatus Register Registered Beat BeatAnswer RoutingAsk RoutingTold
            SessionAsk SessionTold Operation Done Question Answer Refusal RoutingInfo
        );
    };
}
use each_message;

fn comes_back<M: Message + Sample + PartialEq + Debug>(rng: &mut Rng, rounds: u32) {
    let mut check = |message: &M| {
        let bytes = message.encode();
        assert_eq!(M::decode(&bytes).as_ref(), Ok(message), "{}", M::NAME);
    };
    M::every(rng).iter().for_each(&mut check);
    for _ in 0..rounds {
        check(&M::sample(rng));
    }
}

#[test]
fn e330_every_message_comes_back() {
    let rng = &mut Rng::new(1);
    each_message!(comes_back(rng, 300));
}

/// Within a message, with bytes of a later version behind its fields and something behind it.
fn grows<T: Fields + Sample + PartialEq + Debug>(rng: &mut Rng, rounds: u32) {
    for _ in 0..rounds {
        let value = T::sample(rng);
        let mut out = Writer::new(1);
        out.row(|row| {
            value.write_fields(row);
            row.text("of a later version");
        });
        out.u32(0x0102_0304);
        let bytes = out.finish();
        let mut from = Reader::new("row", &bytes).unwrap();
        assert_eq!(T::read("row", &mut from).as_ref(), Ok(&value));
        assert_eq!(from.u32("behind it"), Ok(0x0102_0304));
    }
    fits_its_minimum::<T>(rng, rounds);
}

/// A field takes what its type says at least: memory is taken by that (E330).
fn fits_its_minimum<T: Field + Sample>(rng: &mut Rng, rounds: u32) {
    for _ in 0..rounds {
        let mut out = Writer::new(1);
        T::sample(rng).write(&mut out);
        let bytes = out.finish().len() - 5;
        assert!(T::BYTES_MIN <= bytes, "{bytes} bytes, at least {}", T::BYTES_MIN);
    }
}

#[test]
fn e330_rows_grow() {
    macro_rules! rows {
        ($rng:expr, $($row:ident)*) => { $(grows::<$row>($rng, 50);)* };
    }
    let rng = &mut Rng::new(2);
    rows!(rng, Contact NodeRow ClusterSummary ShardReport TargetReport Lease Move FenceError);
    rows!(rng, ChainInfo ChainRow ChainMember LastServer NewTarget SessionRow);
    let rng = &mut Rng::new(3);
    for _ in 0..50 {
        fits_its_minimum::<PrimaryLease>(rng, 1);
        fits_its_minimum::<NodeRecord>(rng, 1);
        fits_its_minimum::<SessionRecord>(rng, 1);
        fits_its_minimum::<ConfigEntry>(rng, 1);
        fits_its_minimum::<Option<ChainId>>(rng, 1);
    }
}

/// Each tag has a sample, and the one behind the last is refused.
#[test]
fn every_tag_is_known_and_no_other() {
    fn check<M: Message + Debug>(messages: &[M], at: usize, last: u8) {
        let tags: std::collections::BTreeSet<u8> =
            messages.iter().map(|message| message.encode()[at]).collect();
        assert!(tags.iter().copied().eq(1..=last), "{tags:?}");
        let mut bytes = messages[0].encode();
        for unknown in [0, last + 1, u8::MAX] {
            bytes[at] = unknown;
            M::decode(&bytes).unwrap_err();
        }
    }
    let rng = &mut Rng::new(4);
    check(&Operation::every(rng), 5, 5);
    let commands: std::vec::Vec<_> =
        Command::every(rng).into_iter().map(Operation::Cluster).collect();
    check(&commands, 6, 16);
    check(&Question::every(rng), 5, 8);
    check(&Answer::every(rng), 5, 7);
    check(&SessionAsk::every(rng), 5, 5);
    check(&SessionTold::every(rng), 5, 5);
    check(&RoutingTold::every(rng), 5, 3);
}

#[test]
fn e330_an_image_of_twenty_thousand_chains_is_small_and_linear() {
    let rng = &mut Rng::new(5);
    let [half, whole] = [10_000, 20_000].map(|chains| {
        let info = routing(rng, chains);
        let bytes = info.encode();
        assert_eq!(RoutingInfo::decode(&bytes), Ok(info));
        bytes.len()
    });
    assert!(whole < 4_000_000 && whole < 2 * half + 1000, "{half} and {whole} bytes");
}

#[test]
fn long_texts_for_people_are_cut_between_characters() {
    let long = "\u{1f525}".repeat(2000);
    let refusal = Refusal::new(RefusalCode::Conflict, std::format!("a{long}"));
    let came = Refusal::decode(&refusal.encode()).unwrap();
    assert_eq!(came.message.len(), 4093);
    assert!(refusal.message.starts_with(&came.message));

    let mut row = ChainRow::sample(&mut Rng::new(6));
    row.reasons = std::vec![long; 99];
    let answer = Answer::Chains { rows: std::vec![row], more: false };
    let Ok(Answer::Chains { rows, .. }) = Answer::decode(&answer.encode()) else { panic!() };
    assert_eq!(rows[0].reasons.len(), 32);
    assert!(rows[0].reasons.iter().all(|reason| reason.len() == 1024));
}

#[test]
fn answers_about_fences_stay_within_their_room() {
    let waits_for: std::vec::Vec<_> = (0..16_384).map(NodeId::new).collect();
    let told = SessionTold::Fenced { fenced: false, waits_for: waits_for.clone() };
    let Ok(SessionTold::Fenced { waits_for: came, .. }) = SessionTold::decode(&told.encode())
    else {
        panic!()
    };
    assert_eq!(came, waits_for[..1024]);
}

#[test]
fn unreasonably_long_times_are_written_as_the_longest() {
    use core::time::Duration;
    let ask = RoutingAsk { wait: Duration::MAX, ..RoutingAsk::sample(&mut Rng::new(7)) };
    let came = RoutingAsk::decode(&ask.encode()).unwrap();
    assert_eq!(came.wait, Duration::from_nanos(u64::MAX));
}
