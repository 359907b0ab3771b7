//! Which message is asked with which kind of frame, and what answers it.

use alloc::vec::Vec;

use engine_wire::bodies::{self, Body, MgmtReply};
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
/// Room for leases of all targets of a node, a page of rows, or a piece of routing info.
const LARGE_ROOM: u32 = 2 << 20;

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
    Question => Answer, MgmtQueryRequest, MgmtQueryReply, LARGE_ROOM, true;
}
