//! Mutual authentication of two processes that share the cluster secret, and what they agree on.
//!
//! ```text
//!  client                                   server
//!    Hello      versions, cluster, who, nonce  ->
//!                                           <-  Challenge  version, cluster, who, nonce
//!    Proof      HMAC(secret, "client", T)   ->
//!                                           <-  Welcome    windows, HMAC(…, "server", T, windows)
//! ```
//!
//! T is the SHA-256 of the two first messages as they went over the wire, so a proof holds for
//! this pair of identities, nonces and versions only. The labels differ, so a proof of one side is
//! none of the other, and a peer that sends one's own nonce or identity back is refused. The secret
//! never travels (E9). Each message is one one-way frame of at most 160 bytes.
//!
//! What it does not give: frames after the handshake are not signed. Whoever can change packets
//! between two authenticated peers can change frames; a network like that needs encryption below.
//!
//! Both sides are synchronous state machines: nonces are random bytes from the caller, time limits
//! are the caller's. Failure: any error ends the attempt; a server has appended a `Refusal` that
//! says why where that helps a person, and the caller sends it, then closes.

use alloc::vec::Vec;
use core::fmt;

use engine_types::{ClusterId, Incarnation, NodeId, NodeRole, Status, StoreId, limits};
use hmac::{Hmac, Mac};
use rkyv::util::AlignedVec;
use sha2::{Digest, Sha256};

use crate::bodies::{self, BODY_ALIGN, Body, Encoder, IdentityBody, Welcome};
use crate::error::WireError;
use crate::header::{
    FrameHeader, FrameType, PROTOCOL_HANDSHAKE, PROTOCOL_MAX, PROTOCOL_MIN, not_zero,
};
use crate::kind::Kind;

mod client;
mod error;
mod secret;
mod server;

pub use client::Client;
pub use error::HandshakeError;
pub use secret::{ClusterSecret, SecretError};
pub use server::Server;

/// Random bytes that are used once. Two of the same break authentication: they come from the
/// operating system, never from a seeded generator outside of simulation.
pub type Nonce = [u8; 32];

/// Who a process says it is. It is believed once the process has proven the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it does.
    pub role: NodeRole,
    /// The node.
    pub node: NodeId,
    /// Its store; a random number per process for those without one.
    pub process: StoreId,
    /// Counts its starts (R5).
    pub incarnation: Incarnation,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} ({}, {})", self.role, self.node, self.process, self.incarnation)
    }
}

impl Identity {
    fn to_body(self) -> IdentityBody {
        IdentityBody {
            process: self.process.get(),
            incarnation: self.incarnation.get(),
            node: self.node.get(),
            role: self.role.code(),
            reserved: [0; 3],
        }
    }

    fn from_body(body: &IdentityBody) -> Result<Self, HandshakeError> {
        not_zero("reserved bytes of an identity", u64::from(body.reserved != [0; 3]))?;
        Ok(Self {
            role: NodeRole::from_code(body.role)
                .ok_or(HandshakeError::UnknownRole { found: body.role })?,
            node: NodeId::new(body.node),
            process: StoreId::new(body.process),
            incarnation: Incarnation::new(body.incarnation),
        })
    }
}

/// Protocol versions from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Lowest.
    pub min: u16,
    /// Highest.
    pub max: u16,
}

impl Versions {
    /// All that this build speaks.
    pub const BUILD: Self = Self { min: PROTOCOL_MIN, max: PROTOCOL_MAX };

    /// The highest version in both ranges.
    fn common(self, other: Self) -> Option<u16> {
        let highest = self.max.min(other.max);
        (self.min.max(other.min) <= highest).then_some(highest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// What a process brings into every handshake.
#[derive(Clone, Debug)]
pub struct Local {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Who it is.
    pub identity: Identity,
    /// What it must prove.
    pub secret: ClusterSecret,
    /// What it speaks.
    pub versions: Versions,
}

/// What a client may have under way on a connection; the server chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Requests in flight.
    pub inflight_requests: u32,
    /// Bytes in flight of requests that need no credit.
    pub small_bytes: u32,
    /// Bulk bytes that may be sent before the first credit (W3).
    pub bulk_credit_bytes: u64,
    /// Bytes of a body.
    pub body_bytes_max: u32,
    /// Bytes of a payload.
    pub payload_bytes_max: u32,
}

impl Default for Windows {
    /// The limits of this build, and no credit: it is granted from the pool.
    fn default() -> Self {
        Self {
            inflight_requests: limits::INFLIGHT_REQUESTS_MAX,
            small_bytes: limits::INFLIGHT_SMALL_BYTES_MAX,
            bulk_credit_bytes: 0,
            body_bytes_max: limits::BODY_BYTES_MAX,
            payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
        }
    }
}

impl Windows {
    /// A window of nothing would hang the client, one beyond our limits would overrun its tables.
    fn check(&self) -> Result<(), HandshakeError> {
        let credit_max = limits::BULK_CREDIT_BYTES_MAX.into();
        let rows: [(_, u64, u64, u64); 5] = [
            (
                "requests in flight",
                self.inflight_requests.into(),
                1,
                limits::INFLIGHT_REQUESTS_MAX.into(),
            ),
            (
                "small bytes in flight",
                self.small_bytes.into(),
                limits::SMALL_PAYLOAD_BYTES_MAX.into(),
                limits::INFLIGHT_SMALL_BYTES_MAX.into(),
            ),
            ("bulk credit", self.bulk_credit_bytes, 0, credit_max),
            (
                "body bytes",
                self.body_bytes_max.into(),
                limits::HANDSHAKE_BODY_BYTES_MAX.into(),
                limits::BODY_BYTES_MAX.into(),
            ),
            (
                "payload bytes",
                self.payload_bytes_max.into(),
                limits::SMALL_PAYLOAD_BYTES_MAX.into(),
                limits::PAYLOAD_BYTES_MAX.into(),
            ),
        ];
        for (window, found, min, max) in rows {
            if found < min || max < found {
                return Err(HandshakeError::Window { window, found, min, max });
            }
        }
        Ok(())
    }

    fn to_body(self, mac: [u8; 32]) -> Welcome {
        Welcome {
            mac,
            bulk_credit_bytes: self.bulk_credit_bytes,
            inflight_requests: self.inflight_requests,
            small_bytes: self.small_bytes,
            body_bytes_max: self.body_bytes_max,
            payload_bytes_max: self.payload_bytes_max,
        }
    }

    fn from_body(body: &Welcome) -> Self {
        Self {
            inflight_requests: body.inflight_requests,
            small_bytes: body.small_bytes,
            bulk_credit_bytes: body.bulk_credit_bytes,
            body_bytes_max: body.body_bytes_max,
            payload_bytes_max: body.payload_bytes_max,
        }
    }

    /// As the server's proof covers them.
    fn to_bytes(self) -> [u8; 24] {
        let mut out = [0; 24];
        out[..8].copy_from_slice(&self.bulk_credit_bytes.to_le_bytes());
        out[8..12].copy_from_slice(&self.inflight_requests.to_le_bytes());
        out[12..16].copy_from_slice(&self.small_bytes.to_le_bytes());
        out[16..20].copy_from_slice(&self.body_bytes_max.to_le_bytes());
        out[20..].copy_from_slice(&self.payload_bytes_max.to_le_bytes());
        out
    }
}

/// An authenticated connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The version both speak from now on.
    pub protocol: u16,
    /// The other side, proven.
    pub peer: Identity,
    /// What the client may have under way.
    pub windows: Windows,
}

/// SHA-256 of the first two messages, each behind its length.
fn transcript(hello: &[u8], challenge: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"emberfs handshake 1");
    for message in [hello, challenge] {
        hash.update((message.len() as u64).to_le_bytes());
        hash.update(message);
    }
    hash.finalize().into()
}

/// The keyed hash of `parts`, which all but the last have a fixed length.
fn hmac(secret: &ClusterSecret, parts: [&[u8]; 3]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret.bytes())
        .expect("HMAC takes keys of any length");
    parts.into_iter().for_each(|part| mac.update(part));
    mac
}

fn client_mac(secret: &ClusterSecret, transcript: &[u8; 32]) -> Hmac<Sha256> {
    hmac(secret, [b"client", transcript, &[]])
}

fn server_mac(secret: &ClusterSecret, transcript: &[u8; 32], windows: Windows) -> Hmac<Sha256> {
    hmac(secret, [b"server", transcript, &windows.to_bytes()])
}

/// Appends a frame of the handshake to `out`; returns where its body begins.
fn append<B: Body>(body: &B, out: &mut Vec<u8>) -> usize {
    let mut encoder = Encoder::new();
    let body = encoder.encode(body);
    let mut header = FrameHeader::one_way(B::KIND, B::VERSION).with_body(&[], body);
    header.protocol = PROTOCOL_HANDSHAKE;
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(body);
    out.len() - body.len()
}

/// The body of a frame that must be of `B`'s kind, wherever it lies.
fn read<B: Body>(header: &FrameHeader, body: &[u8]) -> Result<B, HandshakeError> {
    let plain = header.frame_type == FrameType::OneWay && header.payload_len == 0;
    if header.kind != B::KIND || !plain {
        return Err(HandshakeError::Unexpected { found: header.kind, expected: B::KIND });
    }
    let mut aligned = AlignedVec::<BODY_ALIGN>::with_capacity(body.len());
    aligned.extend_from_slice(body);
    Ok(B::decode(header.kind_version, &aligned)?)
}

/// A peer that is oneself: an address leads back here, or somebody sends our words back to us.
fn not_myself(
    local: &Local,
    peer: Identity,
    mine: Nonce,
    theirs: Nonce,
) -> Result<(), HandshakeError> {
    if mine == theirs || peer == local.identity {
        return Err(HandshakeError::Reflected { peer });
    }
    Ok(())
}

const _: () = assert!(
    size_of::<<bodies::Hello as rkyv::Archive>::Archived>()
        <= limits::HANDSHAKE_BODY_BYTES_MAX as usize
);

#[cfg(test)]
mod tests;
