//! What can be wrong with bytes from a peer.

use core::fmt;

use engine_types::{Crc32c, RequestId, Status};

use crate::kind::Kind;

/// A part of a frame that has a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The rkyv archive.
    Body,
    /// The capability field.
    Capability,
    /// The payload as a whole.
    Payload,
    /// The room for a reply's payload.
    Reply,
    /// One segment.
    Segment,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body => "body",
            Self::Capability => "capability",
            Self::Payload => "payload",
            Self::Reply => "reply room",
            Self::Segment => "segment",
        })
    }
}

/// Bytes from a peer break the format. Each variant names what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The peer speaks something else, sends a segment before it may send payload, or the stream
    /// is out of step.
    #[error("frame begins with {found:#010x}, expected {expected:#010x}")]
    Magic {
        /// First four bytes.
        found: u32,
        /// The magic number.
        expected: u32,
    },
    /// The header was damaged on its way.
    #[error("frame header checksum: found {found}, expected {expected}")]
    HeaderChecksum {
        /// Of the bytes that arrived.
        found: Crc32c,
        /// What the header says.
        expected: Crc32c,
    },
    /// The frame is of a protocol version that was not agreed on.
    #[error("protocol version: found {found}, expected {min} to {max}")]
    Protocol {
        /// In the header.
        found: u16,
        /// Lowest accepted.
        min: u16,
        /// Highest accepted.
        max: u16,
    },
    /// Neither request nor response nor one-way.
    #[error("frame type: found {found}, expected 1 to 3")]
    FrameType {
        /// In the header.
        found: u8,
    },
    /// No such class.
    #[error("priority class: found {found}, expected 0 to 2")]
    Priority {
        /// In the header.
        found: u8,
    },
    /// A field without meaning in this frame says something (E4).
    #[error("{field} must be zero, found {found:#x}")]
    NotZero {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// A length beyond the limit of this phase of the connection (E2).
    #[error("{part}: found {found} bytes, at most {limit}")]
    TooLarge {
        /// What is too long.
        part: Part,
        /// Its declared length.
        found: u32,
        /// The limit.
        limit: u32,
    },
    /// Capability or body were damaged on their way; the next unit follows as if nothing had
    /// happened.
    #[error("body checksum of {request}: found {found}, expected {expected}")]
    BodyChecksum {
        /// The frame.
        request: RequestId,
        /// Of the bytes that arrived.
        found: Crc32c,
        /// What the header says.
        expected: Crc32c,
    },
    /// A segment header or its CRC table was damaged on its way.
    #[error("segment checksum: found {found}, expected {expected}")]
    SegmentChecksum {
        /// Of the bytes that arrived.
        found: Crc32c,
        /// What the header says.
        expected: Crc32c,
    },
    /// A segment that does not continue its payload.
    #[error("segment at {found} bytes of its payload, expected {expected}")]
    SegmentOffset {
        /// Its place.
        found: u32,
        /// Bytes before it.
        expected: u32,
    },
    /// Unknown bits, or FINAL and ABORTED at once.
    #[error("segment flags: found {found:#x}, expected 0 to 2")]
    SegmentFlags {
        /// In the segment.
        found: u8,
    },
    /// Checksum blocks of a size that is not in use.
    #[error("checksum block shift: found {found}, expected {min} to {max}")]
    BlockShift {
        /// In the segment.
        found: u8,
        /// Lowest accepted.
        min: u8,
        /// Highest accepted.
        max: u8,
    },
    /// The start of the segment does not lie where it must in its checksum block.
    #[error("phase: found {found}, at most {limit}")]
    Phase {
        /// In the segment.
        found: u32,
        /// The last byte of a block; 0 without data.
        limit: u32,
    },
    /// A segment without data that does not end the payload.
    #[error("empty segment that ends nothing, {received} bytes into the payload")]
    EmptySegment {
        /// Bytes before it.
        received: u32,
    },
    /// More data than declared (E6).
    #[error("payload: found at least {found} bytes, expected {expected}")]
    PayloadOverrun {
        /// Bytes up to the end of this segment.
        found: u64,
        /// Declared in the frame header.
        expected: u32,
    },
    /// Less data than declared (E6).
    #[error("payload ends after {found} bytes, expected {expected}")]
    PayloadShort {
        /// Bytes that came.
        found: u32,
        /// Declared in the frame header.
        expected: u32,
    },
    /// Data does not match its checksum; the next unit follows as if nothing had happened.
    #[error("payload checksum of {request}, {offset} bytes in: found {found}, expected {expected}")]
    DataChecksum {
        /// The frame.
        request: RequestId,
        /// Where in the payload the damaged checksum block begins.
        offset: u32,
        /// Of the bytes that arrived.
        found: Crc32c,
        /// What the sender's table says.
        expected: Crc32c,
    },
    /// A body of one kind is read as another.
    #[error("kind: found {found}, expected {expected}")]
    UnexpectedKind {
        /// In the header.
        found: Kind,
        /// What the reader wants.
        expected: Kind,
    },
    /// A version of a body that this build cannot read.
    #[error("{kind}: found version {found}, expected up to {expected}")]
    BodyVersion {
        /// The kind.
        kind: Kind,
        /// In the header.
        found: u8,
        /// The newest that can be read.
        expected: u8,
    },
    /// A body that is not exactly as long as its struct (E8).
    #[error("{kind}: found a body of {found} bytes, expected {expected}")]
    BodyLength {
        /// The kind.
        kind: Kind,
        /// Bytes given.
        found: usize,
        /// Bytes of the struct.
        expected: usize,
    },
    /// A body that does not lie on the boundary its struct needs (E8).
    #[error("{kind}: body lies {found} bytes past a boundary of {expected}")]
    BodyMisaligned {
        /// The kind.
        kind: Kind,
        /// Bytes past the boundary.
        found: usize,
        /// The boundary.
        expected: usize,
    },
    /// A body whose contents are not those of its struct (E8).
    #[error("{kind}: the body is not valid")]
    BodyInvalid {
        /// The kind.
        kind: Kind,
    },
}

impl WireError {
    /// What the peer is told, when it can still be told anything.
    pub const fn status(&self) -> Status {
        match self {
            Self::HeaderChecksum { .. }
            | Self::BodyChecksum { .. }
            | Self::SegmentChecksum { .. }
            | Self::DataChecksum { .. } => Status::BadChecksum,
            Self::Protocol { .. } | Self::BodyVersion { .. } => Status::UnsupportedVersion,
            Self::UnexpectedKind { .. } => Status::UnsupportedKind,
            Self::TooLarge { .. } => Status::TooLarge,
            _ => Status::Malformed,
        }
    }

    /// True if the stream cannot go on: lengths are not to be believed, or the peer breaks rules
    /// that no honest peer of an agreed version breaks. False if only this frame or segment is
    /// lost (E5).
    pub const fn closes(&self) -> bool {
        !matches!(
            self,
            Self::BodyChecksum { .. }
                | Self::DataChecksum { .. }
                | Self::UnexpectedKind { .. }
                | Self::BodyVersion { .. }
                | Self::BodyLength { .. }
                | Self::BodyMisaligned { .. }
                | Self::BodyInvalid { .. }
        )
    }
}
