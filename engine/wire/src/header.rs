//! The fixed header of a frame.
//!
//! ```text
//!  0       4         6      8         9      10      11      12            14       16
//!  | magic | protocol | kind | version | type | class | zero  | zero (flags) | status |
//! 16                           24                          32
//!  | request: slot, generation  | trace                     |
//! 32               36         40            44                48
//!  | deadline left µs | body len | payload len | reply room    |
//! 48            50     52      56         60           64
//!  | capability len | zero | zero | body CRC | header CRC |
//! ```
//!
//! The header CRC covers bytes 0 to 60 and is checked before anything but the magic number is
//! looked at (E1); the body CRC covers capability and body. The magic number and the places of
//! protocol version and header CRC never change, in any version.

use engine_types::{Crc32c, Crc32cState, RequestId, Status, TraceId, crc32c, limits};

use crate::decoder::Limits;
use crate::error::{Part, WireError};
use crate::kind::Kind;

/// Bytes of a frame header.
pub const FRAME_HEADER_BYTES: usize = 64;
/// "EMBR" in memory order.
pub const MAGIC: u32 = u32::from_le_bytes(*b"EMBR");
/// Lowest protocol version this build speaks.
pub const PROTOCOL_MIN: u16 = 1;
/// Highest protocol version this build speaks.
pub const PROTOCOL_MAX: u16 = 1;
/// Frames of the handshake carry this version in all releases: they come before the agreement.
pub const PROTOCOL_HANDSHAKE: u16 = 1;

/// How a frame relates to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameType {
    /// Wants one response of the same request id.
    Request = 1,
    /// Answers a request.
    Response = 2,
    /// Wants no answer; its request id is `RequestId::NONE`.
    OneWay = 3,
}

/// Who goes first where requests queue (W3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// Somebody waits for it.
    #[default]
    Client = 0,
    /// Redundancy is being restored.
    Resync = 1,
    /// Background checks.
    Scrub = 2,
}

/// A frame header, decoded. `encode` computes the header CRC, `with_body` the body's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Version the frame is written in.
    pub protocol: u16,
    /// What it is about.
    pub kind: Kind,
    /// Version of the body's struct.
    pub kind_version: u8,
    /// How it relates to others.
    pub frame_type: FrameType,
    /// Who goes first.
    pub class: Priority,
    /// Outcome; `Ok` except in responses.
    pub status: Status,
    /// Names request and response, `RequestId::NONE` in one-way frames.
    pub request: RequestId,
    /// Follows an operation; 0 = not traced.
    pub trace: TraceId,
    /// Microseconds until nobody waits for the answer; 0 = no bound. Requests only.
    pub deadline_us: u32,
    /// Bytes of the body.
    pub body_len: u32,
    /// Bytes of the payload, which comes in segments of its own.
    pub payload_len: u32,
    /// Bytes of payload that the response may bring: the requester has reserved them. Only in
    /// requests.
    pub reply_bytes_max: u32,
    /// Bytes of the capability field between header and body. Requests only.
    pub capability_len: u16,
    /// Covers capability and body.
    pub body_crc: Crc32c,
}

impl FrameHeader {
    const fn new(frame_type: FrameType, kind: Kind, kind_version: u8, request: RequestId) -> Self {
        Self {
            protocol: PROTOCOL_MAX,
            kind,
            kind_version,
            frame_type,
            class: Priority::Client,
            status: Status::Ok,
            request,
            trace: TraceId::new(0),
            deadline_us: 0,
            body_len: 0,
            payload_len: 0,
            reply_bytes_max: 0,
            capability_len: 0,
            body_crc: Crc32c::new(0), // of no bytes
        }
    }

    /// A request without body, payload, deadline or room for a reply's payload.
    pub const fn request(kind: Kind, kind_version: u8, request: RequestId) -> Self {
        Self::new(FrameType::Request, kind, kind_version, request)
    }

    /// A frame that nobody answers.
    pub const fn one_way(kind: Kind, kind_version: u8) -> Self {
        Self::new(FrameType::OneWay, kind, kind_version, RequestId::NONE)
    }

    /// The response to `request`, of the same kind, class, id and trace.
    pub const fn response(request: &Self, kind_version: u8, status: Status) -> Self {
        Self {
            protocol: request.protocol,
            class: request.class,
            status,
            trace: request.trace,
            ..Self::new(FrameType::Response, request.kind, kind_version, request.request)
        }
    }

    /// Declares `capability` and `body`, which are sent right behind the header.
    ///
    /// # Panics
    /// If one of them exceeds its limit: senders page or refuse before.
    #[must_use]
    pub fn with_body(mut self, capability: &[u8], body: &[u8]) -> Self {
        self.capability_len =
            u16::try_from(capability.len()).expect("a capability is within its limit");
        self.body_len = u32::try_from(body.len()).expect("a body is within its limit");
        self.body_crc = body_crc(capability, body);
        self
    }

    /// The bytes on the wire.
    ///
    /// # Panics
    /// If the header breaks a rule that `decode` checks: a peer would close the connection.
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        if let Err(error) = self.check_rules().and_then(|()| Limits::BUILD.check(self)) {
            panic!("E4: a frame breaks its own rules: {error}");
        }
        let mut out = [0; FRAME_HEADER_BYTES];
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..6].copy_from_slice(&self.protocol.to_le_bytes());
        out[6..8].copy_from_slice(&self.kind.code().to_le_bytes());
        out[8] = self.kind_version;
        out[9] = self.frame_type as u8;
        out[10] = self.class as u8;
        out[14..16].copy_from_slice(&self.status.code().to_le_bytes());
        out[16..24].copy_from_slice(&self.request.to_u64().to_le_bytes());
        out[24..32].copy_from_slice(&self.trace.get().to_le_bytes());
        out[32..36].copy_from_slice(&self.deadline_us.to_le_bytes());
        out[36..40].copy_from_slice(&self.body_len.to_le_bytes());
        out[40..44].copy_from_slice(&self.payload_len.to_le_bytes());
        out[44..48].copy_from_slice(&self.reply_bytes_max.to_le_bytes());
        out[48..50].copy_from_slice(&self.capability_len.to_le_bytes());
        out[56..60].copy_from_slice(&self.body_crc.get().to_le_bytes());
        let crc = crc32c(&out[..60]);
        out[60..64].copy_from_slice(&crc.get().to_le_bytes());
        out
    }

    /// Reads a header that a peer sent, checking everything the header alone can show.
    ///
    /// # Errors
    /// The first rule it breaks; each of them closes the connection.
    pub fn decode(bytes: &[u8; FRAME_HEADER_BYTES], limits: &Limits) -> Result<Self, WireError> {
        let magic = le_u32(bytes, 0);
        if magic != MAGIC {
            return Err(WireError::Magic { found: magic, expected: MAGIC });
        }
        let (found, expected) = (crc32c(&bytes[..60]), Crc32c::new(le_u32(bytes, 60)));
        if found != expected {
            return Err(WireError::HeaderChecksum { found, expected });
        }
        let protocol = le_u16(bytes, 4);
        limits.check_protocol(protocol)?;
        not_zero("reserved byte 11", bytes[11].into())?;
        not_zero("flags", le_u16(bytes, 12).into())?;
        not_zero("reserved bytes 50 to 51", le_u16(bytes, 50).into())?;
        not_zero("reserved bytes 52 to 55", le_u32(bytes, 52).into())?;
        let header = Self {
            protocol,
            kind: Kind::new(le_u16(bytes, 6)),
            kind_version: bytes[8],
            frame_type: match bytes[9] {
                1 => FrameType::Request,
                2 => FrameType::Response,
                3 => FrameType::OneWay,
                found => return Err(WireError::FrameType { found }),
            },
            class: match bytes[10] {
                0 => Priority::Client,
                1 => Priority::Resync,
                2 => Priority::Scrub,
                found => return Err(WireError::Priority { found }),
            },
            status: Status::from_code(le_u16(bytes, 14)),
            request: RequestId::from_u64(le_u64(bytes, 16)),
            trace: TraceId::new(le_u64(bytes, 24)),
            deadline_us: le_u32(bytes, 32),
            body_len: le_u32(bytes, 36),
            payload_len: le_u32(bytes, 40),
            reply_bytes_max: le_u32(bytes, 44),
            capability_len: le_u16(bytes, 48),
            body_crc: Crc32c::new(le_u32(bytes, 56)),
        };
        header.check_rules()?;
        limits.check(&header)?;
        Ok(header)
    }

    /// Fields without meaning in this type of frame (E4).
    fn check_rules(&self) -> Result<(), WireError> {
        if self.frame_type != FrameType::Response {
            not_zero("status of a frame that answers nothing", self.status.code().into())?;
        }
        if self.frame_type != FrameType::Request {
            not_zero("deadline of a frame without answer", self.deadline_us.into())?;
            not_zero("reply room of a frame without answer", self.reply_bytes_max.into())?;
            not_zero("capability of a frame without answer", self.capability_len.into())?;
        }
        if self.frame_type == FrameType::OneWay {
            // `NONE` is all ones: what is left after complementing must be zero.
            not_zero("complement of a one-way frame's id", !self.request.to_u64())?;
        }
        Ok(())
    }

    /// Bytes of capability and body, behind the header: at most limits of a few hundred KiB.
    pub const fn inline_len(&self) -> usize {
        self.capability_len as usize + self.body_len as usize
    }
}

/// The checksum of capability and body, which lie side by side on the wire.
fn body_crc(capability: &[u8], body: &[u8]) -> Crc32c {
    if capability.is_empty() {
        return crc32c(body);
    }
    let mut state = Crc32cState::new();
    state.update(capability);
    state.update(body);
    state.finish()
}

pub(crate) fn not_zero(field: &'static str, found: u64) -> Result<(), WireError> {
    if found == 0 { Ok(()) } else { Err(WireError::NotZero { field, found }) }
}

pub(crate) fn at_most(part: Part, found: u32, limit: u32) -> Result<(), WireError> {
    if found <= limit { Ok(()) } else { Err(WireError::TooLarge { part, found, limit }) }
}

fn le<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("fields lie within their fixed header")
}

pub(crate) fn le_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(le(bytes, at))
}

pub(crate) fn le_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(le(bytes, at))
}

pub(crate) fn le_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(le(bytes, at))
}

const _: () = assert!(PROTOCOL_MIN <= PROTOCOL_MAX);
const _: () = assert!(limits::CAPABILITY_BYTES_MAX as u32 <= limits::BODY_BYTES_MAX);

#[cfg(test)]
mod tests;
