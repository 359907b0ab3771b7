//! Which message is asked with which kind of frame, and what answers it.

use alloc::vec::Vec;

use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_wire::bodies::{self, Body, MgmtReply};
use mgmt_cluster::config::{CONFIG_HISTORY_MAX, CONFIG_NOTE_BYTES_MAX, CONFIG_TEXT_BYTES_MAX};
use mgmt_cluster::fields::DecodeError;

use crate::message::{
    Answer, Beat, BeatAnswer, Done, ManagerStatus, Operation, Question, Register, Registered,
    RoutingAsk, RoutingTold, SessionAsk, SessionTold, StatusAsk,
};

/// Something that travels as payload.
pub trait Message: Sized {
    /// What it is, for errors.
    const NAME: &'static str;

    /// Its bytes.
    fn encode(&self) -> Vec<u8>;

    /// From bytes (E330).
    ///
    /// # Errors
    /// The first field that does not fit.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError>;
}

/// Something that a manager is asked.
pub trait Call: Message {
    /// What it tells then.
    type Answer: Message;
    /// Body of the request.
    type Ask: Body + Default;
    /// Body of the response.
    type Told: MgmtReply;
    /// Bytes of the largest answer.
    const ROOM: u32;
    /// Whether it may be asked again when it is not known if it had an effect.
    const REPEATABLE: bool;
}

/// Room for an answer that names a few things, or for a refusal.
const SMALL_ROOM: u32 = 16 << 10;
/// Room for leases of all targets of a node, or a piece of routing info.
const LARGE_ROOM: u32 = 2 << 20;
/// Room for a page of rows, or for all settings of a role that are kept, which are 2.1 MB at most.
const PAGE_ROOM: u32 = PAYLOAD_BYTES_MAX;

const _: () = assert!(
    CONFIG_HISTORY_MAX * (CONFIG_TEXT_BYTES_MAX + CONFIG_NOTE_BYTES_MAX + 64) < PAGE_ROOM as usize
);

macro_rules! calls {
    ($($message:ty => $answer:ty, $ask:ident, $told:ident, $room:ident, $repeatable:literal;)*) => {
        $(impl Call for $message {
            type Answer = $answer;
            type Ask = bodies::$ask;
            type Told = bodies::$told;
            const ROOM: u32 = $room;
            const REPEATABLE: bool = $repeatable;
        })*
    };
}

calls! {
    StatusAsk => ManagerStatus, MgmtStatusRequest, MgmtStatusReply, SMALL_ROOM, true;
    Register => Registered, MgmtRegisterRequest, MgmtRegisterReply, SMALL_ROOM, true;
    // A repeated one is refused as stale (E276): its sender sends the next one.
    Beat => BeatAnswer, MgmtBeatRequest, MgmtBeatReply, LARGE_ROOM, false;
    RoutingAsk => RoutingTold, MgmtRoutingRequest, MgmtRoutingReply, LARGE_ROOM, true;
    SessionAsk => SessionTold, MgmtSessionRequest, MgmtSessionReply, SMALL_ROOM, true;
    Operation => Done, MgmtCommandRequest, MgmtCommandReply, LARGE_ROOM, false;
    Question => Answer, MgmtQueryRequest, MgmtQueryReply, PAGE_ROOM, true;
}
