//! Harnesses that drive the decoder and the handshake with mutated golden streams.
//!
//! `tools/fuzz` runs them under libFuzzer, `cargo test` with seeded input. Blind mutation dies at
//! the first checksum, so a harness repairs what the input asks it to repair: magic numbers,
//! lengths, checksums of headers, bodies, segments and data. `Marks` tells which outcomes occurred.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use engine_types::limits::{SEGMENT_BYTES_MAX, SEGMENT_CRC_COUNT_MAX};
use engine_types::{ClusterId, Incarnation, NodeId, NodeRole, RequestId, Status, StoreId, crc32c};

use crate::bodies::{EchoRequest, Encoder, Goodbye};
use crate::handshake::{
    Client, ClusterSecret, Identity, Local, Server, Session, Versions, Windows,
};
use crate::header::{FRAME_HEADER_BYTES, le_u16, le_u32};
use crate::segment::SEGMENT_HEADER_BYTES;
use crate::{
    Assembly, Decoder, Ending, FrameHeader, Item, Kind, Limits, MAGIC, Progress,
    SEGMENT_HEAD_BYTES_MAX, SEGMENT_MARKER, SegmentHeader, WireError, checksum_blocks,
};

/// Names of outcomes that occurred: variants of items and errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(pub BTreeSet<String>);

impl Marks {
    /// Records the variant of `outcome`, by its `Debug` form up to the first field.
    fn hit(&mut self, outcome: &dyn core::fmt::Debug) {
        let text = format!("{outcome:?}");
        let name = text.split([' ', '{', '(']).next().unwrap_or_default();
        if !self.0.contains(name) {
            self.0.insert(name.into());
        }
    }
}

/// Bytes of the input, zero after its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }
}

/// What `repair` puts right.
const REPAIR_MAGIC: u8 = 1;
const REPAIR_LENGTHS: u8 = 2;
const REPAIR_HEADER_CRC: u8 = 4;
const REPAIR_BODY_CRC: u8 = 8;
const REPAIR_SEGMENT_CRC: u8 = 16;
const REPAIR_DATA_CRC: u8 = 32;
/// The reader has the limits of an unauthenticated peer.
const STRANGER: u8 = 128;

/// Every other mutation goes to the first bytes of a stream, where most headers are.
const HEADERS_BYTES: usize = 512;

/// Valid streams of version 1, which mutation starts from.
pub fn golden_streams() -> Vec<Vec<u8>> {
    golden_units().iter().map(|units| units.concat()).collect()
}

/// The frames and segments of each golden stream.
pub(crate) fn golden_units() -> Vec<Vec<Vec<u8>>> {
    let mut encoder = Encoder::new();
    let echo = encoder.encode(&EchoRequest { sequence: 7, reply_bytes: 0, delay_us: 0 }).to_vec();
    let goodbye = encoder.encode(&Goodbye { drain_ms: 9, reason: 16 }).to_vec();
    let (id, other) = (RequestId::new(3, 1), RequestId::new(4, 1));
    let request = FrameHeader::request(Kind::ECHO, 1, id);
    let request_other = FrameHeader { request: other, ..request };
    let response = FrameHeader::response(&request, 1, Status::Busy);
    let goodbye = frame(FrameHeader::one_way(Kind::GOODBYE, 1), &[], &goodbye, 0);
    let data: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    let whole = vec![
        frame(request, &[], &echo, 20_000),
        segment(id, 0, &data[..8192 - 100], Ending::More, 100),
        segment(id, 8092, &data[8092..12_188], Ending::More, 0),
        segment(id, 12_188, &data[12_188..], Ending::Final, 0),
    ];
    let aborted = vec![
        frame(response, &[], &[], 300),
        segment(id, 0, &data[..200], Ending::Aborted, 5),
        goodbye.clone(),
    ];
    let ended_late = vec![
        frame(request, b"capability", &echo, 40),
        segment(id, 0, &data[..40], Ending::More, 0),
        segment(id, 40, &[], Ending::Final, 0),
    ];
    let small = vec![frame(request, b"cap", &echo, 0), frame(response, &[], &[], 0)];
    let interleaved = vec![
        frame(request, &[], &echo, 60),
        segment(id, 0, &data[..20], Ending::More, 0),
        frame(request_other, &[], &[], 50),
        segment(other, 0, &data[7..37], Ending::More, 9),
        goodbye,
        segment(id, 20, &data[20..30], Ending::More, 20),
        segment(other, 30, &data[37..57], Ending::Final, 39),
        segment(id, 30, &[], Ending::Aborted, 0),
    ];
    vec![whole, aborted, ended_late, small, interleaved]
}

/// One frame that declares `payload_len` bytes.
pub(crate) fn frame(
    header: FrameHeader,
    capability: &[u8],
    body: &[u8],
    payload_len: u32,
) -> Vec<u8> {
    let header = FrameHeader { payload_len, ..header.with_body(capability, body) };
    [&header.encode()[..], capability, body].concat()
}

/// One segment in blocks of 4 KiB, with its data.
pub(crate) fn segment(
    request: RequestId,
    offset: u32,
    data: &[u8],
    ending: Ending,
    phase: u32,
) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("golden segments are short");
    let mut crcs = Vec::new();
    let header = if data.is_empty() {
        SegmentHeader::terminator(request, offset, ending)
    } else {
        checksum_blocks(data, 12, phase, &mut |crc| crcs.push(crc));
        SegmentHeader { request, offset, length, ending, block_shift: 12, phase }
    };
    let mut head = [0; SEGMENT_HEAD_BYTES_MAX];
    let end = header.encode(&crcs, &mut head);
    [&head[..end], data].concat()
}

/// Decodes a mutated stream; whatever the input, it must end without panic and within its bytes.
pub fn frame_decoder(data: &[u8], marks: &mut Marks) {
    let mut input = Input(data);
    let mode = input.byte();
    let streams = golden_streams();
    let mut stream = streams[usize::from(input.byte()) % streams.len()].clone();
    while !input.0.is_empty() {
        mutate(&mut stream, &mut input);
    }
    repair(&mut stream, mode);
    let mut limits = Limits::HANDSHAKE;
    let mut decoder = Decoder::new(limits);
    if mode & STRANGER == 0 {
        limits = Limits::session(1);
        decoder.set_limits(limits);
    }
    let mut reader = Payloads::default();
    let mut rest = &stream[..];
    loop {
        let need = decoder.need();
        assert!(need <= need_max(&limits), "E2: bounded by limits, found {need}");
        if rest.is_empty() && decoder.at_boundary() {
            break;
        }
        let Some((bytes, tail)) = rest.split_at_checked(need) else { break };
        rest = tail;
        let segment = decoder.expects_data();
        let result = decoder.advance(bytes).and_then(|item| reader.take(item, segment, marks));
        if let Err(error) = result {
            marks.hit(&error);
            assert!(!error.status().is_ok());
            if error.closes() {
                break;
            }
            assert!(decoder.at_boundary(), "E5: in step with the sender");
        }
        assert!(decoder.table().len() <= SEGMENT_CRC_COUNT_MAX);
    }
}

/// The longest part that a peer within `limits` can send.
fn need_max(limits: &Limits) -> usize {
    let inline = limits.body_bytes_max as usize + usize::from(limits.capability_bytes_max);
    let data = limits.payload_bytes_max.min(SEGMENT_BYTES_MAX) as usize;
    FRAME_HEADER_BYTES.max(inline).max(data)
}

/// What a reader keeps beside its requests: the payloads that are being received.
#[derive(Default)]
struct Payloads(BTreeMap<u64, Assembly>);

impl Payloads {
    /// What a reader does with an item; `expected` is the segment whose data was announced.
    fn take(
        &mut self,
        item: Item<'_>,
        expected: Option<SegmentHeader>,
        marks: &mut Marks,
    ) -> Result<(), WireError> {
        match item {
            Item::Header(header) if 0 < header.payload_len => {
                let assembly = Assembly::new(header.payload_len);
                self.0.insert(header.request.to_u64(), assembly);
            }
            Item::Segment(segment) if segment.length == 0 => self.accept(&segment, marks)?,
            Item::Segment(segment) => {
                if let Some(assembly) = self.0.get(&segment.request.to_u64()) {
                    assembly.check(&segment)?;
                }
            }
            Item::Data(bytes) => {
                let segment = expected.expect("data is announced");
                assert_eq!(bytes.len(), segment.length as usize);
                marks.hit(&Item::Data(&[]));
                return self.accept(&segment, marks);
            }
            _ => {}
        }
        marks.hit(&item);
        Ok(())
    }

    fn accept(&mut self, segment: &SegmentHeader, marks: &mut Marks) -> Result<(), WireError> {
        let key = segment.request.to_u64();
        let Some(assembly) = self.0.get_mut(&key) else {
            marks.hit(&"Unclaimed");
            return Ok(());
        };
        let progress = assembly.accept(segment)?;
        assert!(assembly.received() <= assembly.len(), "E6");
        let complete = progress == Progress::Complete;
        assert!(!complete || assembly.received() == assembly.len(), "E6");
        if progress != Progress::More {
            self.0.remove(&key);
        }
        marks.hit(&progress);
        Ok(())
    }
}

/// One mutation: where, what, and a value.
fn mutate(stream: &mut Vec<u8>, input: &mut Input<'_>) {
    let (operation, place, value) = (input.byte(), input.u16(), input.byte());
    let span = if operation & 8 == 0 { stream.len().min(HEADERS_BYTES) } else { stream.len() };
    if span == 0 {
        return;
    }
    let at = usize::from(place) % span;
    match operation & 7 {
        0 => stream[at] = value,
        // Types, flags and shifts are small numbers.
        1 => stream[at] = value & 3,
        2 => stream[at] = value & 31,
        3 => stream[at] ^= 1 << (value & 7),
        4 => stream.truncate(at),
        5 => stream.insert(at, value),
        6 => drop(stream.remove(at)),
        _ => {
            let end = stream.len().min(at + 4);
            stream[at..end].fill(value);
        }
    }
}

/// Walks the stream as far as its lengths lead, and puts right what `mode` asks for.
fn repair(stream: &mut [u8], mode: u8) {
    let mut rest = stream;
    while 4 <= rest.len() {
        let is_segment = rest[3] == SEGMENT_MARKER.to_le_bytes()[3];
        if mode & REPAIR_MAGIC != 0 {
            let magic = if is_segment { SEGMENT_MARKER } else { MAGIC };
            rest[..4].copy_from_slice(&magic.to_le_bytes());
        }
        let unit = if is_segment { repair_segment(rest, mode) } else { repair_frame(rest, mode) };
        let Some(unit) = unit else { break };
        rest = &mut rest[unit..];
    }
}

/// Returns the bytes of the frame, unless the stream ends inside.
fn repair_frame(stream: &mut [u8], mode: u8) -> Option<usize> {
    let header: &mut [u8; FRAME_HEADER_BYTES] = stream.first_chunk_mut()?;
    if mode & REPAIR_MAGIC != 0 {
        header[4..6].copy_from_slice(&1u16.to_le_bytes());
    }
    if mode & REPAIR_LENGTHS != 0 {
        header[38..40].fill(0);
        header[42..44].fill(0);
    }
    let inline = le_u32(header, 36) as usize + usize::from(le_u16(header, 48));
    let end = FRAME_HEADER_BYTES + inline;
    // A frame whose lengths lead out of the stream gets its header CRC all the same: E2 is next.
    let inline = stream.get(FRAME_HEADER_BYTES..end).filter(|_| mode & REPAIR_BODY_CRC != 0);
    if let Some(crc) = inline.map(crc32c) {
        stream[56..60].copy_from_slice(&crc.get().to_le_bytes());
    }
    if mode & REPAIR_HEADER_CRC != 0 {
        let crc = crc32c(&stream[..60]);
        stream[60..64].copy_from_slice(&crc.get().to_le_bytes());
    }
    (end <= stream.len()).then_some(end)
}

/// Returns the bytes of the segment, unless the stream ends inside or the header says nothing.
fn repair_segment(stream: &mut [u8], mode: u8) -> Option<usize> {
    let head: &mut [u8; SEGMENT_HEADER_BYTES] = stream.first_chunk_mut()?;
    if mode & REPAIR_LENGTHS != 0 {
        head[6..8].fill(0);
    }
    let header = SegmentHeader::parse(head).ok()?;
    let table = header.head_bytes();
    let end = table + header.length as usize;
    if mode & REPAIR_DATA_CRC != 0 && 0 < header.length {
        let (head, data) = stream.get_mut(..end)?.split_at_mut(table);
        let mut slots = head[SEGMENT_HEADER_BYTES..].as_chunks_mut::<4>().0.iter_mut();
        checksum_blocks(data, header.block_shift, header.phase, &mut |crc| {
            *slots.next().expect("a slot per block") = crc.to_le_bytes();
        });
    }
    if mode & REPAIR_SEGMENT_CRC != 0 {
        let table = stream.get(SEGMENT_HEADER_BYTES..table)?;
        let crc = crc32c(&[&stream[..28], table].concat());
        stream[28..32].copy_from_slice(&crc.get().to_le_bytes());
    }
    (end <= stream.len()).then_some(end)
}

/// A member of the cluster that the handshake harness and tests play with.
pub fn local(cluster: u128, role: NodeRole, node: u32) -> Local {
    Local {
        cluster: ClusterId::new(cluster),
        identity: Identity {
            role,
            node: NodeId::new(node),
            process: StoreId::new(u128::from(node) << 64 | 7),
            incarnation: Incarnation::new(1),
        },
        secret: ClusterSecret::new([0x5a; 32]).expect("not all zero"),
        versions: Versions::BUILD,
    }
}

/// Gives every frame in `bytes` to `receive`; what it returns last decides.
pub fn deliver<E>(
    bytes: &[u8],
    mut receive: impl FnMut(&FrameHeader, &[u8]) -> Result<Option<Session>, E>,
) -> Result<Option<Session>, E>
where
    E: From<WireError>,
{
    let mut decoder = Decoder::new(Limits::HANDSHAKE);
    let (mut rest, mut session) = (bytes, None);
    while !(rest.is_empty() && decoder.at_boundary()) {
        let Some((bytes, tail)) = rest.split_at_checked(decoder.need()) else { break };
        rest = tail;
        if let Item::Body { body, .. } = decoder.advance(bytes)? {
            session = receive(decoder.header(), body)?;
        }
    }
    Ok(session)
}

/// Plays a handshake in which an attacker without the secret changes messages on their way. A side
/// may accept only a peer whose messages it got unchanged (E9).
pub fn handshake(data: &[u8], marks: &mut Marks) {
    let mut input = Input(data);
    let mode = input.byte();
    let (client_local, server_local) =
        (local(1, NodeRole::Client, 1), local(1, NodeRole::Storage, 2));
    let mut wire = Vec::new();
    let mut client = Client::start(&client_local, Some(NodeId::new(2)), [1; 32], &mut wire);
    let mut server = Server::new(&server_local, Windows::default(), [2; 32]);
    // Which of the four messages is changed; 0 changes none.
    let target = input.byte() % 5;
    let mut changed = false;
    for turn in 1..=4 {
        let mut message = core::mem::take(&mut wire);
        if turn == target {
            let original = message.clone();
            while !input.0.is_empty() {
                mutate(&mut message, &mut input);
            }
            repair(&mut message, mode);
            changed = message != original;
        }
        let result = if turn % 2 == 1 {
            deliver(&message, |header, body| server.receive(header, body, &mut wire))
        } else {
            deliver(&message, |header, body| client.receive(header, body, &mut wire))
        };
        match result {
            Err(error) => {
                marks.hit(&error);
                assert!(!error.status().is_ok());
                return;
            }
            Ok(Some(session)) => {
                let peer = if turn % 2 == 1 { &client_local } else { &server_local };
                assert_eq!(session.peer, peer.identity, "E9: nobody else is accepted");
                assert_eq!(session.windows, Windows::default(), "E9: windows are covered");
                marks.hit(&"Established");
            }
            // A message that was cut off: both sides wait until their time limit.
            Ok(None) if wire.is_empty() => {
                assert!(changed, "an unchanged handshake gets through");
                marks.hit(&"Waiting");
                return;
            }
            Ok(None) => {}
        }
    }
}

#[cfg(test)]
mod tests;
