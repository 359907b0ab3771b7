//! Frames and payload segments into the outbox.
//!
//! A frame and its small payload are appended in one turn, so that they leave in one call (V6). A
//! large payload follows segment by segment: its bytes stay where they are, and between two
//! segments other requests get their turn (E55).

use engine_runtime::{Env, PoolExhausted};
use engine_types::RequestId;
use engine_types::limits::{
    PAYLOAD_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_CRC_COUNT_MAX, SMALL_PAYLOAD_BYTES_MAX,
};
use engine_wire::bodies::Body;
use engine_wire::{
    Ending, FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEAD_BYTES_MAX, SegmentHeader, WireError,
    checksum_blocks,
};

use crate::link::Link;
use crate::outbox::Room;
use crate::payload::Part;

/// Why nothing (more) was queued.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The connection has ended.
    Ended,
    /// No memory for the frame.
    Pool(PoolExhausted),
}

impl From<Room> for SendError {
    fn from(room: Room) -> Self {
        match room {
            Room::Ended => Self::Ended,
            Room::Pool(exhausted) => Self::Pool(exhausted),
        }
    }
}

/// Bytes of all parts.
pub(crate) fn payload_len<E: Env>(parts: &[Part<'_, E>]) -> Result<u32, WireError> {
    let found: u64 = parts.iter().map(|part| part.bytes.len() as u64).sum();
    match u32::try_from(found) {
        Ok(len) if len <= PAYLOAD_BYTES_MAX => Ok(len),
        _ => Err(WireError::TooLarge {
            part: engine_wire::Part::Payload,
            found: u32::try_from(found).unwrap_or(u32::MAX),
            limit: PAYLOAD_BYTES_MAX,
        }),
    }
}

/// Parts that a payload copied behind its header may have: with their heads they fit the outbox
/// several times.
const INLINE_PARTS_MAX: usize = 64;

/// Whether a payload is copied behind its header.
pub(crate) fn is_small<E: Env>(payload: u32, parts: &[Part<'_, E>]) -> bool {
    payload <= SMALL_PAYLOAD_BYTES_MAX && parts.len() <= INLINE_PARTS_MAX
}

/// Queues a frame with its body and, when it is small, its whole payload.
pub(crate) async fn frame<E: Env, B: Body>(
    link: &Link<E>,
    mut header: FrameHeader,
    capability: &[u8],
    body: Option<&B>,
    parts: &[Part<'_, E>],
) -> Result<(), SendError> {
    let small = is_small(header.payload_len, parts);
    let inline = if small { parts } else { &[] };
    let segments: usize = inline.iter().map(|part| SEGMENT_HEAD_BYTES_MAX + part.bytes.len()).sum();
    loop {
        // Encoded anew after waiting, because other tasks use the encoder meanwhile.
        let room = {
            let mut encoder = link.encoder.borrow_mut();
            let body = body.map_or(&[][..], |body| encoder.encode(body));
            let room = FRAME_HEADER_BYTES + capability.len() + body.len() + segments;
            if link.outbox.has_room(room) {
                let header = header.with_body(capability, body);
                link.outbox.append(&header.encode());
                link.outbox.append(capability);
                link.outbox.append(body);
                None
            } else {
                Some(room)
            }
        };
        match room {
            None => break,
            Some(room) => {
                let before = link.env.now();
                link.outbox.room(&link.env, room).await?;
                let waited = link.env.now().saturating_since(before).as_micros();
                if header.deadline_us != 0 {
                    // The peer learns what is left now, not what was left before the wait.
                    let waited = u32::try_from(waited).unwrap_or(u32::MAX);
                    header.deadline_us = header.deadline_us.saturating_sub(waited).max(1);
                }
            }
        }
    }
    let mut cut = Segments::new(header.request, inline, header.payload_len);
    while small && cut.more() {
        cut.append_next(link, true);
    }
    link.outbox.flush();
    Ok(())
}

/// Cuts the parts of a payload into segments.
pub(crate) struct Segments<'a, E: Env> {
    request: RequestId,
    parts: &'a [Part<'a, E>],
    /// Bytes of the first part that are sent already.
    at: usize,
    /// CRCs of the first part that are sent already.
    crc_at: usize,
    /// Bytes of the payload that are sent already.
    offset: u32,
    left: u32,
}

impl<'a, E: Env> Segments<'a, E> {
    pub(crate) fn new(request: RequestId, parts: &'a [Part<'a, E>], payload: u32) -> Self {
        Self { request, parts, at: 0, crc_at: 0, offset: 0, left: payload }
    }

    /// Whether bytes are left.
    pub(crate) fn more(&self) -> bool {
        0 < self.left
    }

    /// Queues the next segment once there is room for it.
    pub(crate) async fn send_next(&mut self, link: &Link<E>) -> Result<(), SendError> {
        link.outbox.room(&link.env, SEGMENT_HEAD_BYTES_MAX).await?;
        self.append_next(link, false);
        link.outbox.flush();
        Ok(())
    }

    /// Appends the next segment; there is room for its head, and for its data when it is copied.
    fn append_next(&mut self, link: &Link<E>, copy: bool) {
        while self.parts[0].bytes.len() == self.at {
            self.parts = &self.parts[1..];
            (self.at, self.crc_at) = (0, 0);
        }
        let part = &self.parts[0];
        let block = 1usize << part.block_shift;
        let phase = (part.phase as usize + self.at) & (block - 1);
        // Later segments of a part begin on a block boundary, so that each CRC covers one block.
        let longest = SEGMENT_BYTES_MAX as usize - phase;
        let len = (part.bytes.len() - self.at).min(longest);
        let bytes = part.bytes.slice(self.at..self.at + len);
        let last = self.left as usize == len;
        let small = |bytes: usize| u32::try_from(bytes).expect("segments are 256 KiB at most");
        let header = SegmentHeader {
            request: self.request,
            offset: self.offset,
            length: small(len),
            ending: if last { Ending::Final } else { Ending::More },
            block_shift: part.block_shift,
            phase: small(phase),
        };
        let mut crcs = [0; SEGMENT_CRC_COUNT_MAX];
        let crcs = &mut crcs[..header.crc_count()];
        match part.crcs {
            Some(known) => crcs.copy_from_slice(&known[self.crc_at..self.crc_at + crcs.len()]),
            None => {
                let mut index = 0;
                checksum_blocks(&bytes, part.block_shift, header.phase, &mut |crc| {
                    crcs[index] = crc;
                    index += 1;
                });
            }
        }
        let mut head = [0; SEGMENT_HEAD_BYTES_MAX];
        let head_len = header.encode(crcs, &mut head);
        link.outbox.append(&head[..head_len]);
        self.at += len;
        self.crc_at += crcs.len();
        self.offset += header.length;
        self.left -= header.length;
        if copy {
            link.outbox.append(&bytes);
        } else {
            link.outbox.append_bulk(bytes);
        }
    }
}
