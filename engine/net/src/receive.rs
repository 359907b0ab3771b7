//! The reader task of a connection: bytes into frames and segments, each straight to its place.
//!
//! Small units are taken from one receive buffer that is read in large pieces; segment data that
//! has not arrived yet is read straight into the memory where it stays (V6). What arrives is
//! verified once, in its final place.

use engine_runtime::{Buf, Env, Reader, yield_now};
use engine_wire::{
    Decoder, Ending, FrameHeader, Item, Limits, SEGMENT_HEADER_BYTES, SegmentHeader,
};

use crate::link::{EndReason, Link};
use crate::payload::Inline;

/// First size of the receive buffer: what an idle connection costs.
pub(crate) const BUFFER_BYTES_MIN: usize = 16 << 10;
/// Largest receive buffer: 15 requests of 4 KiB in one read. Measured with 16 busy connections:
/// 512 KiB saves a few system calls and costs 40 % more CPU per request, because the bytes have
/// left the second-level cache before they are used.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Reads that fill less than an eighth of the buffer before it shrinks again.
const SMALL_READS_MAX: u32 = 1024;

/// What a side of a connection does with what arrives.
pub(crate) trait Role<E: Env> {
    /// A header has arrived; its body follows. An error ends the connection.
    fn header(&self, header: &FrameHeader) -> Result<(), EndReason>;

    /// The body has arrived, in memory of its own: first the body, then the capability.
    async fn frame(&self, header: &FrameHeader, inline: Inline<E>) -> Result<(), EndReason>;

    /// Memory for the data of a segment, and the position in it.
    async fn land(&self, segment: &SegmentHeader) -> Result<(Buf<E::Memory>, usize), EndReason>;

    /// A segment is complete and verified; `landing` is what `land` gave, if it has data.
    fn landed(
        &self,
        segment: &SegmentHeader,
        crcs: &[u32],
        landing: Option<Buf<E::Memory>>,
    ) -> Result<(), EndReason>;
}

/// Bytes that have arrived and are not decoded yet, and where they come from.
pub(crate) struct Incoming<E: Env> {
    pub(crate) reader: E::Reader,
    pub(crate) decoder: Decoder,
    buf: Option<Buf<E::Memory>>,
    start: usize,
    end: usize,
    small_reads: u32,
    /// Bytes to read next at the most, so that bulk is not read into the receive buffer.
    limit: usize,
    /// Something was handed on since the last read.
    handed_on: bool,
}

impl<E: Env> Incoming<E> {
    pub(crate) async fn new(
        link: &Link<E>,
        reader: E::Reader,
        decoder: Decoder,
    ) -> Result<Self, EndReason> {
        let buf = Some(link.memory(BUFFER_BYTES_MIN).await?);
        Ok(Self {
            reader,
            decoder,
            buf,
            start: 0,
            end: 0,
            small_reads: 0,
            limit: usize::MAX,
            handed_on: false,
        })
    }

    /// The next frame of a handshake, which has no payload.
    pub(crate) async fn small_frame(
        &mut self,
        link: &Link<E>,
    ) -> Result<(FrameHeader, Vec<u8>), EndReason> {
        loop {
            if self.end - self.start < self.decoder.need() {
                self.fill(link).await?;
            }
            let (decoder, bytes) = self.unit().expect("filled above");
            if let Item::Body { body, .. } = decoder.advance(bytes)? {
                let body = body.to_vec();
                return Ok((*decoder.header(), body));
            }
        }
    }

    /// The peer has proven itself: from the next frame on the usual limits hold.
    pub(crate) fn authenticated(&mut self, protocol: u16) {
        self.decoder.set_limits(Limits::session(protocol));
    }

    /// The next unit's bytes, when they are all there.
    fn unit(&mut self) -> Option<(&mut Decoder, &[u8])> {
        let need = self.decoder.need();
        let buf = self.buf.as_mut()?;
        if self.end - self.start < need {
            return None;
        }
        let range = self.start..self.start + need;
        self.start = range.end;
        Some((&mut self.decoder, &buf.whole_mut()[range]))
    }

    /// Reads until the next unit is complete.
    async fn fill(&mut self, link: &Link<E>) -> Result<(), EndReason> {
        if core::mem::take(&mut self.handed_on) {
            // Those who got something use it while it is warm, and their answers leave together.
            yield_now().await;
        }
        let need = self.decoder.need();
        self.make_room(link, need).await?;
        while self.end - self.start < need {
            let buf = self.buf.take().expect("taken only while a read is under way");
            let room = (buf.capacity() - self.end).min(self.limit.max(need));
            let inside = self.start < self.end || !self.decoder.at_boundary();
            link.waits(inside);
            let (buf, read) = self.reader.read(buf, self.end..self.end + room).await;
            self.buf = Some(buf);
            let count = read.map_err(EndReason::Io)?;
            link.received();
            if count == 0 {
                let found = self.end - self.start;
                return Err(match inside {
                    false => EndReason::PeerClosed,
                    true => EndReason::Truncated { found, expected: need },
                });
            }
            self.end += count;
            let small = count < room / 8 && BUFFER_BYTES_MIN < room;
            self.small_reads = if small { self.small_reads + 1 } else { 0 };
        }
        self.limit = usize::MAX;
        Ok(())
    }

    /// Moves what is left to the front, and changes the buffer's size with the load.
    async fn make_room(&mut self, link: &Link<E>, need: usize) -> Result<(), EndReason> {
        let buf = self.buf.as_mut().expect("taken only while a read is under way");
        let capacity = buf.capacity();
        let filled = self.end == capacity;
        let wanted = if capacity < need {
            need.next_power_of_two()
        } else if filled {
            (capacity * 2).min(BUFFER_BYTES_MAX.max(capacity))
        } else if SMALL_READS_MAX < self.small_reads && BUFFER_BYTES_MIN < capacity {
            BUFFER_BYTES_MIN.max(need)
        } else {
            capacity
        };
        let left = self.end - self.start;
        if wanted != capacity && left <= wanted {
            // Growing is worth it only while there is memory; waiting is for what must fit.
            let fresh = match link.env.pool().alloc(wanted) {
                Ok(fresh) => Some(fresh),
                Err(_) if capacity < need => Some(link.memory(wanted).await?),
                Err(_) => None,
            };
            if let Some(mut fresh) = fresh {
                let old = self.buf.as_mut().expect("as above");
                fresh.whole_mut()[..left].copy_from_slice(&old.whole_mut()[self.start..self.end]);
                self.buf = Some(fresh);
                (self.start, self.end, self.small_reads) = (0, left, 0);
            }
        }
        if 0 < self.start {
            let buf = self.buf.as_mut().expect("as above");
            buf.whole_mut().copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, left);
        }
        Ok(())
    }

    /// Brings the data of `segment` to its final place and verifies it there.
    async fn data<R: Role<E>>(
        &mut self,
        link: &Link<E>,
        role: &R,
        segment: SegmentHeader,
    ) -> Result<(), EndReason> {
        let (mut landing, at) = role.land(&segment).await?;
        let len = segment.length as usize;
        let have = len.min(self.end - self.start);
        let buf = self.buf.as_mut().expect("taken only while a read is under way");
        landing.whole_mut()[at..at + have]
            .copy_from_slice(&buf.whole_mut()[self.start..self.start + have]);
        self.start += have;
        let mut filled = have;
        while filled < len {
            link.waits(true);
            let (back, read) = self.reader.read(landing, at + filled..at + len).await;
            landing = back;
            let count = read.map_err(EndReason::Io)?;
            link.received();
            if count == 0 {
                return Err(EndReason::Truncated { found: filled, expected: len });
            }
            filled += count;
        }
        self.decoder.advance(&landing.whole_mut()[at..at + len])?;
        if have < len && segment.ending == Ending::More {
            // The next unit is most likely the next segment of this payload: read its head only.
            self.limit = SEGMENT_HEADER_BYTES + segment.crc_count() * 4;
        }
        role.landed(&segment, self.decoder.table(), Some(landing))
    }
}

/// Receives until the connection ends, and says why.
pub(crate) async fn run<E: Env, R: Role<E>>(
    link: &Link<E>,
    mut incoming: Incoming<E>,
    role: &R,
) -> EndReason {
    loop {
        if let Err(reason) = step(link, &mut incoming, role).await {
            return reason;
        }
        if link.is_ended() {
            return EndReason::Closed;
        }
    }
}

/// Decodes the next unit, reading first if it is not there.
async fn step<E: Env, R: Role<E>>(
    link: &Link<E>,
    incoming: &mut Incoming<E>,
    role: &R,
) -> Result<(), EndReason> {
    if let Some(segment) = incoming.decoder.expects_data() {
        incoming.data(link, role, segment).await?;
        incoming.handed_on |= segment.ending != Ending::More;
        link.unit_done();
        return Ok(());
    }
    if incoming.end - incoming.start < incoming.decoder.need() {
        incoming.fill(link).await?;
    }
    let (decoder, bytes) = incoming.unit().expect("filled above");
    match decoder.advance(bytes)? {
        Item::Header(header) => role.header(&header)?,
        Item::Body { capability, body } => {
            let inline = match Inline::here(body, capability) {
                Some(inline) => inline,
                None => {
                    let mut inline = link.memory(body.len() + capability.len()).await?;
                    inline.extend_from_slice(body);
                    inline.extend_from_slice(capability);
                    Inline::Pooled(inline.freeze())
                }
            };
            let header = *decoder.header();
            role.frame(&header, inline).await?;
            link.unit_done();
            incoming.handed_on = true;
        }
        Item::Segment(segment) if segment.length == 0 => {
            role.landed(&segment, &[], None)?;
            link.unit_done();
        }
        Item::Head | Item::Segment(_) | Item::Data(_) => {}
    }
    Ok(())
}
