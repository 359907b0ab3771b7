//! Bodies of the handshake. `crate::handshake` gives them meaning; here they are layout only.
//!
//! The fields leave no gap, so that no byte of an archive is unnamed: what is left over is
//! `reserved` and zero (E4).

use super::{Archive, Body, Deserialize, Kind, Serialize};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct IdentityBody {
    /// Store or process.
    pub process: u128,
    /// Counts its starts.
    pub incarnation: u64,
    /// The node.
    pub node: u32,
    /// `NodeRole::code`.
    pub role: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// First message of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Hello {
    /// The cluster it belongs to.
    pub cluster: u128,
    /// Who it is.
    pub identity: IdentityBody,
    /// Fresh random bytes.
    pub nonce: [u8; 32],
    /// The node it means to reach, `ANY_NODE` for whoever answers.
    pub peer_node: u32,
    /// Lowest protocol version it speaks.
    pub protocol_min: u16,
    /// Highest protocol version it speaks.
    pub protocol_max: u16,
    /// Zero.
    pub reserved: [u8; 8],
}

impl Hello {
    /// In `peer_node`: the client takes whoever answers.
    pub const ANY_NODE: u32 = u32::MAX;
}

/// Answer of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Challenge {
    /// The cluster it belongs to.
    pub cluster: u128,
    /// Who it is.
    pub identity: IdentityBody,
    /// Fresh random bytes.
    pub nonce: [u8; 32],
    /// The version it chose.
    pub protocol: u16,
    /// Zero.
    pub reserved: [u8; 14],
}

/// The client knows the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Proof {
    /// HMAC-SHA256 over the transcript.
    pub mac: [u8; 32],
}

/// The server knows the secret, and this is what the client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Welcome {
    /// HMAC-SHA256 over the transcript and the windows below.
    pub mac: [u8; 32],
    /// Bulk bytes that may be sent before the first `Credit`.
    pub bulk_credit_bytes: u64,
    /// Requests in flight.
    pub inflight_requests: u32,
    /// Bytes in flight of requests that need no credit.
    pub small_bytes: u32,
    /// Bytes of a body.
    pub body_bytes_max: u32,
    /// Bytes of a payload.
    pub payload_bytes_max: u32,
}

/// The server ends the handshake. Nobody has proven anything yet: it is a hint for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Refusal {
    /// The cluster of the server.
    pub cluster: u128,
    /// `Status::code` of the reason.
    pub status: u16,
    /// Lowest protocol version it speaks.
    pub protocol_min: u16,
    /// Highest protocol version it speaks.
    pub protocol_max: u16,
    /// Zero.
    pub reserved: [u8; 2],
    /// Its node.
    pub node: u32,
    /// Zero.
    pub reserved_end: u32,
}

macro_rules! body {
    ($($name:ident = $kind:ident, $bytes:literal;)*) => {
        $(impl Body for $name {
            const KIND: Kind = Kind::$kind;
            const VERSION: u8 = 1;
        }
        const _: () = assert!(size_of::<<$name as Archive>::Archived>() == $bytes);)*
    };
}

body! {
    Hello = HELLO, 96;
    Challenge = CHALLENGE, 96;
    Proof = PROOF, 32;
    Welcome = WELCOME, 56;
    Refusal = REFUSAL, 32;
}
