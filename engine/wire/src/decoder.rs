//! Turns the bytes of a connection into verified items, without copying or allocating (E3).
//!
//! Owned by the task that reads the connection. It asks for the exact number of contiguous bytes
//! it wants next (`need`), and the reader decides where they lie: small parts in its receive
//! buffer, data of large payloads straight in their final buffer (V6). A frame yields `Head`,
//! `Header`, `Body`; a segment yields `Head`, `Segment`, `Data`, or `Segment` alone without data.
//! Frames and segments of different requests interleave; what belongs to one payload is put
//! together by its [`Assembly`](crate::Assembly), which the reader keeps beside its request.
//!
//! Failure: after an error with `WireError::closes` the decoder is dropped with its connection.
//! After another one it is at the end of the frame or segment concerned (E5).

use engine_types::limits::{self, SEGMENT_CRC_COUNT_MAX};
use engine_types::{Crc32c, crc32c};

use crate::error::{Part, WireError};
use crate::header::{
    FRAME_HEADER_BYTES, FrameHeader, MAGIC, PROTOCOL_HANDSHAKE, PROTOCOL_MAX, PROTOCOL_MIN,
    at_most, le_u32,
};
use crate::segment::{SEGMENT_HEADER_BYTES, SEGMENT_MARKER, SegmentHeader};

/// What a peer may send in the present phase of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lowest protocol version.
    pub protocol_min: u16,
    /// Highest protocol version.
    pub protocol_max: u16,
    /// Bytes of a body.
    pub body_bytes_max: u32,
    /// Bytes of a capability field.
    pub capability_bytes_max: u16,
    /// Bytes of a payload, and of the room a requester offers for one.
    pub payload_bytes_max: u32,
}

impl Limits {
    /// Before the peer is authenticated (W12): small bodies and nothing else.
    pub const HANDSHAKE: Self = Self {
        protocol_min: PROTOCOL_HANDSHAKE,
        protocol_max: PROTOCOL_HANDSHAKE,
        body_bytes_max: limits::HANDSHAKE_BODY_BYTES_MAX,
        capability_bytes_max: 0,
        payload_bytes_max: 0,
    };

    /// The most that any phase of this build accepts or sends.
    pub const BUILD: Self = Self {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        body_bytes_max: limits::BODY_BYTES_MAX,
        capability_bytes_max: limits::CAPABILITY_BYTES_MAX,
        payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
    };

    /// Of an authenticated peer with which `protocol` was agreed on.
    pub const fn session(protocol: u16) -> Self {
        Self { protocol_min: protocol, protocol_max: protocol, ..Self::BUILD }
    }

    pub(crate) const fn check_protocol(&self, found: u16) -> Result<(), WireError> {
        let (min, max) = (self.protocol_min, self.protocol_max);
        if min <= found && found <= max {
            Ok(())
        } else {
            Err(WireError::Protocol { found, min, max })
        }
    }

    /// Protocol version and lengths (E2).
    pub(crate) fn check(&self, header: &FrameHeader) -> Result<(), WireError> {
        self.check_protocol(header.protocol)?;
        at_most(Part::Body, header.body_len, self.body_bytes_max)?;
        let capability_max = self.capability_bytes_max.into();
        at_most(Part::Capability, header.capability_len.into(), capability_max)?;
        at_most(Part::Payload, header.payload_len, self.payload_bytes_max)?;
        at_most(Part::Reply, header.reply_bytes_max, self.payload_bytes_max)
    }
}

/// What the bytes given to `Decoder::advance` turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The first part of a header: nothing to do yet.
    Head,
    /// A frame begins; its lengths may now be believed.
    Header(FrameHeader),
    /// Capability and body, verified. Both may be empty.
    Body {
        /// The capability field.
        capability: &'a [u8],
        /// The archive: to be copied to an aligned place unless it already lies in one.
        body: &'a [u8],
    },
    /// A segment begins; its table is `Decoder::table`. Its data follows, if it has any.
    Segment(SegmentHeader),
    /// Data of that segment, verified.
    Data(&'a [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The start of a frame or segment.
    Unit,
    /// The second half of a frame header.
    Header,
    Body,
    Table,
    Data,
    Failed,
}

/// What tells a frame from a segment, and all of a segment's fixed part.
const HEAD_BYTES: usize = SEGMENT_HEADER_BYTES;

/// Decodes one direction of one connection.
#[derive(Clone, Debug)]
pub struct Decoder {
    limits: Limits,
    state: State,
    header: FrameHeader,
    segment: SegmentHeader,
    head: [u8; HEAD_BYTES],
    table: [u32; SEGMENT_CRC_COUNT_MAX],
}

impl Decoder {
    /// Expects the start of a frame or segment.
    pub fn new(limits: Limits) -> Self {
        let header = FrameHeader::one_way(crate::Kind::new(0), 0);
        Self {
            limits,
            state: State::Unit,
            header,
            segment: SegmentHeader::terminator(header.request, 0, crate::Ending::Final),
            head: [0; HEAD_BYTES],
            table: [0; SEGMENT_CRC_COUNT_MAX],
        }
    }

    /// Replaces the limits, from the next frame or segment on.
    ///
    /// # Panics
    /// Inside one: its lengths were admitted under the old limits.
    pub fn set_limits(&mut self, limits: Limits) {
        assert!(self.at_boundary(), "E2: limits change between units");
        self.limits = limits;
    }

    /// True between frames and segments: a connection that ends here was not cut inside one.
    pub fn at_boundary(&self) -> bool {
        self.state == State::Unit
    }

    /// Bytes that `advance` wants next, contiguous. It may be 0. At most `BODY_BYTES_MAX` +
    /// `CAPABILITY_BYTES_MAX` outside data, `SEGMENT_BYTES_MAX` for data.
    pub fn need(&self) -> usize {
        match self.state {
            State::Unit => HEAD_BYTES,
            State::Header => FRAME_HEADER_BYTES - HEAD_BYTES,
            State::Body => self.header.inline_len(),
            State::Table => self.segment.crc_count() * 4,
            State::Data => self.segment.length as usize,
            State::Failed => 0,
        }
    }

    /// The segment whose data comes next, when data comes next: the reader decides where to.
    pub fn expects_data(&self) -> Option<SegmentHeader> {
        (self.state == State::Data).then_some(self.segment)
    }

    /// The frame that is being received, or was received last.
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// CRC32C of each checksum block of the present segment, as its sender computed them.
    pub fn table(&self) -> &[u32] {
        &self.table[..self.segment.crc_count()]
    }

    /// Takes the next bytes, exactly as many as `need` says.
    ///
    /// # Errors
    /// What is wrong with them.
    ///
    /// # Panics
    /// If the number of bytes is another one, or after an error that closes.
    pub fn advance<'a>(&mut self, bytes: &'a [u8]) -> Result<Item<'a>, WireError> {
        assert_eq!(bytes.len(), self.need(), "E3: the reader gives what was asked for");
        let result = match self.state {
            State::Unit => self.head(bytes),
            State::Header => self.frame_header(bytes),
            State::Body => self.body(bytes),
            State::Table => self.segment_table(bytes),
            State::Data => self.data(bytes),
            State::Failed => panic!("E5: a failed decoder is dropped with its connection"),
        };
        if let Err(error) = &result {
            self.state = if error.closes() { State::Failed } else { State::Unit };
        }
        result
    }

    fn head<'a>(&mut self, bytes: &[u8]) -> Result<Item<'a>, WireError> {
        self.head = *bytes.first_chunk().expect("as long as `need` says");
        match le_u32(&self.head, 0) {
            MAGIC => self.state = State::Header,
            // Without payloads there are no segments: a stranger sends nothing as long (W12).
            SEGMENT_MARKER if self.limits.payload_bytes_max != 0 => {
                self.segment = SegmentHeader::parse(&self.head)?;
                if self.segment.length == 0 {
                    SegmentHeader::verify(&self.head, &[])?;
                    return Ok(Item::Segment(self.segment));
                }
                self.state = State::Table;
            }
            found => return Err(WireError::Magic { found, expected: MAGIC }),
        }
        Ok(Item::Head)
    }

    fn frame_header<'a>(&mut self, bytes: &[u8]) -> Result<Item<'a>, WireError> {
        let mut whole = [0; FRAME_HEADER_BYTES];
        whole[..HEAD_BYTES].copy_from_slice(&self.head);
        whole[HEAD_BYTES..].copy_from_slice(bytes);
        self.header = FrameHeader::decode(&whole, &self.limits)?;
        self.state = State::Body;
        Ok(Item::Header(self.header))
    }

    fn body<'a>(&mut self, bytes: &'a [u8]) -> Result<Item<'a>, WireError> {
        let (found, expected) = (crc32c(bytes), self.header.body_crc);
        if found != expected {
            let request = self.header.request;
            return Err(WireError::BodyChecksum { request, found, expected });
        }
        self.state = State::Unit;
        let (capability, body) = bytes.split_at(self.header.capability_len.into());
        Ok(Item::Body { capability, body })
    }

    fn segment_table<'a>(&mut self, bytes: &[u8]) -> Result<Item<'a>, WireError> {
        SegmentHeader::verify(&self.head, bytes)?;
        for (slot, crc) in self.table.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *slot = u32::from_le_bytes(*crc);
        }
        self.state = State::Data;
        Ok(Item::Segment(self.segment))
    }

    fn data<'a>(&mut self, bytes: &'a [u8]) -> Result<Item<'a>, WireError> {
        if let Some((at, found, expected)) = self.first_damaged(bytes) {
            let (request, offset) = (self.segment.request, self.segment.offset.saturating_add(at));
            return Err(WireError::DataChecksum { request, offset, found, expected });
        }
        self.state = State::Unit;
        Ok(Item::Data(bytes))
    }

    /// Where in the segment the first block begins that does not match the table, with its
    /// checksum and the expected one.
    fn first_damaged(&self, bytes: &[u8]) -> Option<(u32, Crc32c, Crc32c)> {
        let mut index = 0;
        let mut damaged = None;
        let SegmentHeader { block_shift, phase, .. } = self.segment;
        crate::checksum_blocks(bytes, block_shift, phase, &mut |crc| {
            if crc != self.table[index] && damaged.is_none() {
                let block = u32::try_from(index).expect("at most 65 blocks");
                let at = (block << block_shift).saturating_sub(phase);
                damaged = Some((at, Crc32c::new(crc), Crc32c::new(self.table[index])));
            }
            index += 1;
        });
        assert_eq!(index, self.segment.crc_count(), "E7: every block was looked at");
        damaged
    }
}

#[cfg(test)]
mod tests;
