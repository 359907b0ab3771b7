//! What goes over a connection: frames, segments, bodies and the handshake. Pure and sans-IO.
//!
//! A connection carries frames and, for those with payload, segments:
//!
//! ```text
//! frame   = | frame header 64 B | capability | body |
//! segment = | segment header 32 B | CRC table | data |
//! ```
//!
//! The segments of one payload follow their frame in order; those of different payloads, and other
//! frames, may come in between: a small frame waits for no large payload, nor does a relay that
//! forwards what trickles in block what passes beside it (R3).
//!
//! All integers are little-endian. Formats are frozen by the golden bytes of this crate's tests.
//!
//! Invariants
//!   E1  nothing of a frame is believed or allocated before its header CRC matched
//!   E2  a length beyond the limits of the connection's phase ends the connection; nothing of that
//!       length is received, skipped or allocated
//!   E3  the decoder allocates nothing, and each byte is verified once
//!   E4  a field without meaning in a frame is zero, so that it may get a meaning later
//!   E5  after an error that does not close the connection the decoder is in step with the sender
//!   E6  a payload is complete only by FINAL with exactly the declared bytes, each segment where
//!       the last one ended; ABORTED may end it anywhere (R3)
//!   E7  a segment carries one CRC per checksum block that it touches, blocks being aligned to the
//!       chunk: its first and last block may be partial (W5)
//!   E8  a body is one frozen struct per (kind, version), exactly as long as its frame says,
//!       aligned, and validated before access (W1)
//!   E9  the secret never leaves the process; a peer counts as authenticated after its proof only
//!
//! Failure: an error says by `WireError::closes` whether the stream can go on, and by
//! `WireError::status` what the peer is told. There is no state that outlives a connection.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bodies;
mod decoder;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod handshake;
mod header;
mod kind;
mod segment;

pub use decoder::{Decoder, Item, Limits};
pub use error::{Part, WireError};
pub use header::{
    FRAME_HEADER_BYTES, FrameHeader, FrameType, MAGIC, PROTOCOL_HANDSHAKE, PROTOCOL_MAX,
    PROTOCOL_MIN, Priority,
};
pub use kind::Kind;
pub use segment::{
    Assembly, BLOCK_SHIFT_MAX, BLOCK_SHIFT_MIN, Ending, Progress, SEGMENT_HEAD_BYTES_MAX,
    SEGMENT_HEADER_BYTES, SEGMENT_MARKER, SegmentHeader, checksum_blocks,
};

/// Bytes as golden tables hold them.
#[cfg(test)]
fn tests_hex(bytes: &[u8]) -> std::string::String {
    bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
}
