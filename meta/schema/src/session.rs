//! What the KV keeps for sessions of clients: which files they write (`SESS`), and what their last
//! requests were answered (`REQU`, M11).
//!
//! ```text
//! WriteSession   truncate epoch u32, opened at u64, hidden bool
//! RequestRecord  seq u64, answer bytes
//! ```

use alloc::vec::Vec;

use crate::id::TruncateEpoch;
use crate::limits::ANSWER_BYTES_MAX;
use crate::time::Timestamp;
use crate::{fields, records};

/// A client's session has a file open for writing, or hides one whose last link went (C5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteSession {
    /// The epoch of the file when it was opened: hints of older ones force a query (M3).
    pub truncate_epoch: TruncateEpoch,
    /// When it was opened first.
    pub opened_at: Timestamp,
    /// True: it is not open for writing, and only kept from being removed.
    pub hidden: bool,
}

/// The last request of a channel, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Its number in the channel.
    pub seq: u64,
    /// The answer as it was sent.
    pub answer: Vec<u8>,
}

fields! {
    WriteSession { truncate_epoch, opened_at, hidden }
    RequestRecord { seq, answer: bytes(ANSWER_BYTES_MAX) }
}

records! {
    WriteSession = "write session";
    RequestRecord = "request record";
}
