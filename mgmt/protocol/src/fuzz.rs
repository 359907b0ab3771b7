//! The harness of every decoder (E330): panics when a promise is broken.
//!
//! `tools/fuzz` runs [`messages`] under libFuzzer, `cargo test` with samples and noise. There is
//! no checksum to get past: only the frame's head is put right.

use alloc::vec::Vec;
use core::fmt::Debug;

use engine_types::RoutingInfo;

use crate::{
    Answer, Beat, BeatAnswer, Done, ManagerStatus, Message, Operation, Question, Refusal, Register,
    Registered, RoutingAsk, RoutingTold, SessionAsk, SessionTold, StatusAsk,
};

/// Every kind of message, one after the other.
const DECODERS: &[fn(&[u8]) -> bool] = &[
    message::<StatusAsk>,
    message::<ManagerStatus>,
    message::<Register>,
    message::<Registered>,
    message::<Beat>,
    message::<BeatAnswer>,
    message::<RoutingAsk>,
    message::<RoutingTold>,
    message::<SessionAsk>,
    message::<SessionTold>,
    message::<Operation>,
    message::<Done>,
    message::<Question>,
    message::<Answer>,
    message::<Refusal>,
    message::<RoutingInfo>,
];

/// The first byte says which message it is to be, the others are the body of its frame. True if
/// they are one.
///
/// # Panics
/// When a decoder or encoder does, or a message that was decoded does not come back.
pub fn messages(data: &[u8]) -> bool {
    let Some((&kind, body)) = data.split_first() else { return false };
    let Ok(length) = u32::try_from(body.len()) else { return false };
    let mut bytes = Vec::with_capacity(5 + body.len());
    bytes.push(1);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(body);
    DECODERS[usize::from(kind) % DECODERS.len()](&bytes)
}

/// What decodes is a message like any other: its own encoding decodes to it, and is not longer.
/// True if `bytes` decode.
///
/// # Panics
/// As [`messages`].
pub fn message<M: Message + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(message) = M::decode(bytes) else { return false };
    let again = message.encode();
    assert_eq!(M::decode(&again), Ok(message), "E330: {}", M::NAME);
    assert!(again.len() <= bytes.len(), "E330: {}: more bytes than it came from", M::NAME);
    true
}
