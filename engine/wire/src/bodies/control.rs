//! Bodies by which the two ends of a connection keep it going.

use super::{Archive, Body, Deserialize, Kind, RequestId, Serialize};

/// Asks for a `Pong`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Ping {
    /// Comes back in the answer.
    pub sequence: u64,
}

/// Answers a `Ping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Pong {
    /// That of the ping.
    pub sequence: u64,
}

/// The receiver of bulk payload has room for more (W3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Credit {
    /// Bytes granted in addition to earlier grants.
    pub bytes: u64,
}

/// The sender of bulk payload waits for credit (W3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct CreditWant {
    /// Bytes that wait beyond the credit at hand.
    pub bytes: u64,
}

/// The requester no longer waits. The work may still happen, and is still answered (S5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Cancel {
    /// `RequestId::to_u64` of the request.
    pub request: u64,
}

impl Cancel {
    /// Of `request`.
    pub const fn new(request: RequestId) -> Self {
        Self { request: request.to_u64() }
    }

    /// The request that nobody waits for.
    pub const fn request(self) -> RequestId {
        RequestId::from_u64(self.request)
    }
}

/// The sender takes no new requests; those in flight are answered, then it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Goodbye {
    /// Milliseconds after which it closes in any case.
    pub drain_ms: u32,
    /// `Status::code` of the reason.
    pub reason: u32,
}

/// Asks for a reply of a given shape after a given time: for tests and measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct EchoRequest {
    /// Comes back in the answer.
    pub sequence: u64,
    /// Bytes of payload in the answer; at most the room that the frame header offers.
    pub reply_bytes: u32,
    /// Microseconds to wait before answering.
    pub delay_us: u32,
}

/// Answers an `EchoRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct EchoResponse {
    /// That of the request.
    pub sequence: u64,
}

bodies! {
    Ping = PING, 1;
    Pong = PONG, 1;
    Credit = CREDIT, 1;
    CreditWant = CREDIT_WANT, 1;
    Cancel = CANCEL, 1;
    Goodbye = GOODBYE, 1;
    EchoRequest = ECHO, 1;
    EchoResponse = ECHO, 1;
}
