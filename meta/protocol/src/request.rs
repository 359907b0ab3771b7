//! A request: who asks, and for what.

use engine_types::{ChannelId, SessionId};
use meta_schema::{Caller, fields, records};

use crate::operation::Operation;

/// Largest operation: a value of an extended attribute (64 KiB) and its name; StatBatch and paths
/// are far smaller.
pub(crate) const OPERATION_BYTES_MAX: usize = 128 << 10;

/// What makes a request one that is done once (M11): a later one of the same channel has a higher
/// number, and a repetition of the last one is answered as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// Of the client's session.
    pub channel: ChannelId,
    /// From 1, ascending in the channel; one request of a channel is under way at a time.
    pub seq: u64,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// In whose name.
    pub caller: Caller,
    /// The client's session.
    pub session: SessionId,
    /// There exactly if the operation changes something (E411).
    pub tag: Option<Tag>,
    /// What for.
    pub operation: Operation,
}

fields! {
    Tag { channel, seq }
    Request { caller, session, tag, operation: record(OPERATION_BYTES_MAX) }
}

records! {
    Request = "request";
}

impl Request {
    /// True if it carries a tag exactly if it has to (E411).
    pub const fn is_tagged_right(&self) -> bool {
        self.tag.is_some() == self.operation.mutates()
    }
}
