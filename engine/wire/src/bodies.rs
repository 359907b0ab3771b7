//! Bodies of frames: one frozen struct per (kind, version), as an rkyv archive (E8, W1).
//!
//! A struct that was released never changes. What a newer version needs goes into a new struct with
//! the next `VERSION`; `Body::decode` of the newest one converts from the older ones, and a sender
//! writes the version agreed on with its peer. rkyv takes the root from the end of the bytes, so
//! trailing bytes would give wrong data without an error: the frame header says the exact length,
//! and structs of fixed size are compared with it.

use engine_types::RequestId;
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Failure;
use rkyv::ser::allocator::{Arena, ArenaHandle};
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

use crate::error::WireError;
use crate::kind::Kind;

/// Says which kind and version each struct of a module is. Before the modules, which use it.
macro_rules! bodies {
    ($($name:ident = $kind:ident, $version:literal;)*) => {
        $(impl Body for $name {
            const KIND: Kind = Kind::$kind;
            const VERSION: u8 = $version;
        })*
    };
}

mod control;
mod hello;
mod kv;
mod meta;
mod mgmt;
pub mod storage;

pub use control::{Cancel, Credit, CreditWant, EchoRequest, EchoResponse, Goodbye, Ping, Pong};
pub use hello::{Challenge, Hello, IdentityBody, Proof, Refusal, Welcome};
pub use kv::{
    KvBackupReply, KvBackupRequest, KvCommitReply, KvCommitRequest, KvReadReply, KvReadRequest,
    KvStageReply, KvStageRequest, KvStatusReply, KvStatusRequest, KvViewReply, KvViewRequest,
};
pub use meta::{MetaCallReply, MetaCallRequest, MetaReply, MetaStatusReply, MetaStatusRequest};
pub use mgmt::{
    MgmtBeatReply, MgmtBeatRequest, MgmtCommandReply, MgmtCommandRequest, MgmtQueryReply,
    MgmtQueryRequest, MgmtRegisterReply, MgmtRegisterRequest, MgmtReply, MgmtRoutingReply,
    MgmtRoutingRequest, MgmtSessionReply, MgmtSessionRequest, MgmtStatusReply, MgmtStatusRequest,
};

/// Bytes start on this boundary wherever a body is read or written: what a 128-bit id needs.
pub const BODY_ALIGN: usize = 16;

/// A struct that travels as the body of frames.
pub trait Body:
    Sized
    + Archive<
        Archived: for<'a> CheckBytes<HighValidator<'a, Failure>>
                      + Deserialize<Self, HighDeserializer<Failure>>,
    > + for<'a> Serialize<HighSerializer<AlignedVec<BODY_ALIGN>, ArenaHandle<'a>, Failure>>
{
    /// Its kind. A request and its response share one.
    const KIND: Kind;
    /// Its version; a changed struct is a new type with the next number.
    const VERSION: u8;
    /// True if the archive has the size of the struct alone: no strings, lists or boxes.
    const FIXED: bool = true;

    /// The body of a frame with `kind_version`, as the present struct.
    ///
    /// A type with predecessors overrides this and converts from them.
    ///
    /// # Errors
    /// A version without a conversion, or bytes that are no archive of it.
    fn decode(kind_version: u8, bytes: &[u8]) -> Result<Self, WireError> {
        if kind_version != Self::VERSION {
            let (kind, found, expected) = (Self::KIND, kind_version, Self::VERSION);
            return Err(WireError::BodyVersion { kind, found, expected });
        }
        to_owned::<Self>(access::<Self>(bytes)?)
    }
}

/// Reads `bytes` in place: exactly one body, on a boundary of `BODY_ALIGN`.
///
/// # Errors
/// If length, alignment or contents are not those of an archived `B`.
pub fn access<B: Body>(bytes: &[u8]) -> Result<&B::Archived, WireError> {
    let kind = B::KIND;
    let expected = size_of::<B::Archived>();
    let found = bytes.len();
    if found < expected || (B::FIXED && found != expected) {
        return Err(WireError::BodyLength { kind, found, expected });
    }
    let expected = align_of::<B::Archived>();
    let found = bytes.as_ptr().addr() % expected;
    if found != 0 {
        return Err(WireError::BodyMisaligned { kind, found, expected });
    }
    rkyv::access::<B::Archived, Failure>(bytes).map_err(|Failure| WireError::BodyInvalid { kind })
}

/// Copies an archived body out.
///
/// # Errors
/// If a part of it has no meaning outside the archive; plain structs cannot fail.
pub fn to_owned<B: Body>(archived: &B::Archived) -> Result<B, WireError> {
    rkyv::deserialize::<B, Failure>(archived)
        .map_err(|Failure| WireError::BodyInvalid { kind: B::KIND })
}

/// Writes bodies into memory it keeps: a fresh buffer per body costs 4 to 10 times as much.
pub struct Encoder {
    bytes: AlignedVec<BODY_ALIGN>,
    arena: Arena,
}

impl Encoder {
    /// With the memory for most bodies.
    pub fn new() -> Self {
        Self { bytes: AlignedVec::with_capacity(512), arena: Arena::new() }
    }

    /// The archive of `body`, until the next call.
    ///
    /// # Panics
    /// If an archive would pass 2 GiB; bodies are limited to far less.
    pub fn encode<B: Body>(&mut self, body: &B) -> &[u8] {
        let mut bytes = core::mem::take(&mut self.bytes);
        bytes.clear();
        let arena = self.arena.acquire();
        self.bytes = rkyv::api::high::to_bytes_in_with_alloc::<_, _, Failure>(body, bytes, arena)
            .expect("memory grows as needed, and bodies are far below 2 GiB");
        assert!(
            !B::FIXED || self.bytes.len() == size_of::<B::Archived>(),
            "E8: a body without fixed size says FIXED"
        );
        &self.bytes
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Encoder").field("capacity", &self.bytes.capacity()).finish()
    }
}

#[cfg(test)]
mod tests;
