//! Which message is asked with which kind of frame, and what answers it.

use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_wire::bodies::{self, Body, MetaReply};
use meta_schema::codec::Record;

use crate::answer::Answer;
use crate::request::Request;
use crate::status::{ServiceStatus, StatusAsk};

/// Something that a metadata service is asked.
pub trait Call: Record {
    /// What it tells then.
    type Answer: Record;
    /// Body of the request.
    type Ask: Body + Default;
    /// Body of the response.
    type Told: MetaReply;

    /// Bytes of the largest answer to this: what its sender offers room for.
    fn room(&self) -> u32;
}

/// Bytes of the largest answer (E412): a page of entries. A page of the KV has as many.
pub const ROOM_BYTES: u32 = 1 << 20;
/// Room for attributes, a name or a refusal.
const SMALL_ROOM_BYTES: u32 = 8 << 10;
/// Room for the value of an extended attribute, a list of their names, attributes of a batch, or
/// counts of all operations.
const MIDDLE_ROOM_BYTES: u32 = 80 << 10;

const _: () = assert!(ROOM_BYTES <= PAYLOAD_BYTES_MAX);

impl Call for Request {
    type Answer = Answer;
    type Ask = bodies::MetaCallRequest;
    type Told = bodies::MetaCallReply;

    fn room(&self) -> u32 {
        use crate::operation::Operation as O;
        match self.operation {
            O::Readdir(_) => ROOM_BYTES,
            O::StatBatch(_) | O::GetXattr(_) | O::ListXattr(_) => MIDDLE_ROOM_BYTES,
            _ => SMALL_ROOM_BYTES,
        }
    }
}

impl Call for StatusAsk {
    type Answer = ServiceStatus;
    type Ask = bodies::MetaStatusRequest;
    type Told = bodies::MetaStatusReply;

    fn room(&self) -> u32 {
        MIDDLE_ROOM_BYTES
    }
}
