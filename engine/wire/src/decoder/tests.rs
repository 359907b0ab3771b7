use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use engine_types::{RequestId, Rng, Status};

use super::*;
use crate::fuzz::{frame, golden_streams, golden_units, segment};
use crate::{Assembly, Ending, Kind, Progress};

/// What a reader saw: items in words, data by its checksum.
type Seen = Vec<String>;

/// Reads `stream` as net does: whatever has arrived is buffered until the decoder can have its
/// exact next bytes. `pieces` are the sizes in which bytes arrive.
fn read(stream: &[u8], mut pieces: impl FnMut() -> usize) -> Seen {
    let mut decoder = Decoder::new(Limits::session(1));
    let (mut buffer, mut rest, mut seen) = (vec![], stream, vec![]);
    loop {
        let need = decoder.need();
        if buffer.len() < need {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at(pieces().clamp(1, rest.len()));
            buffer.extend_from_slice(piece);
            rest = tail;
            continue;
        }
        let bytes: Vec<u8> = buffer.drain(..need).collect();
        let announced = decoder.expects_data();
        match decoder.advance(&bytes) {
            Ok(Item::Head) => assert!(!decoder.at_boundary()),
            Ok(Item::Data(bytes)) => {
                assert_eq!(announced.map(|segment| segment.length as usize), Some(bytes.len()));
                seen.push(format!("data: {} {}", bytes.len(), crc32c(bytes)));
            }
            Ok(Item::Segment(segment)) => {
                seen.push(format!("{segment:?}: {:08x?}", decoder.table()));
            }
            Ok(item) => seen.push(format!("{item:?}")),
            Err(error) => {
                seen.push(format!("{error}"));
                if error.closes() {
                    return seen;
                }
            }
        }
    }
    seen.push(format!("{} bytes left at boundary {}", buffer.len(), decoder.at_boundary()));
    seen
}

const WHOLE: &str = "0 bytes left at boundary true";

#[test]
fn any_split_of_the_bytes_gives_the_same_items() {
    for (index, stream) in golden_streams().into_iter().enumerate() {
        let whole = read(&stream, || usize::MAX);
        assert_eq!(whole.last().unwrap(), WHOLE, "{whole:#?}");
        assert_eq!(read(&stream, || 1), whole);
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let pieces = || usize::try_from(rng.below(5000)).unwrap();
            assert_eq!(read(&stream, pieces), whole, "stream {index}, seed {seed}");
        }
    }
}

#[test]
fn a_stream_is_whole_only_between_frames_and_segments() {
    for units in golden_units() {
        let stream = units.concat();
        let whole = read(&stream, || usize::MAX);
        let ends = units.iter().scan(0, |end, unit| {
            *end += unit.len();
            Some(*end)
        });
        let boundaries: BTreeSet<usize> = ends.chain([0]).collect();
        for length in 0..stream.len() {
            let near = boundaries.iter().any(|boundary| boundary.abs_diff(length) < 300);
            if !near && length % 7 != 0 {
                continue;
            }
            let seen = read(&stream[..length], || usize::MAX);
            let (last, items) = seen.split_last().unwrap();
            assert!(whole.starts_with(items), "{length}: {seen:#?}");
            assert_eq!(last == WHOLE, boundaries.contains(&length), "{length}: {seen:#?}");
        }
    }
}

/// E5: whatever stands behind the damage is read as if nothing had happened.
#[test]
fn damage_costs_the_body_or_the_segment_alone() {
    let mut damaged = BTreeMap::new();
    for units in golden_units() {
        let whole = read(&units.concat(), || usize::MAX);
        for index in 0..units.len() {
            let mut units = units.clone();
            let header = match le_u32(&units[index], 0) {
                MAGIC => FRAME_HEADER_BYTES,
                _ => SEGMENT_HEADER_BYTES,
            };
            if units[index].len() == header {
                continue; // Nothing but a header.
            }
            *units[index].last_mut().unwrap() ^= 1;
            let seen = read(&units.concat(), || usize::MAX);
            assert_eq!(seen.len(), whole.len(), "{seen:#?}");
            let lost: Vec<_> = seen.iter().zip(&whole).filter(|(is, was)| is != was).collect();
            let [(error, was)] = lost[..] else { panic!("one item is lost: {lost:#?}") };
            let (error, _) = error.split_once(": found").unwrap();
            let (was, _) = was.split_once([' ', ':']).unwrap();
            *damaged.entry(format!("{was}: {error}")).or_default() += 1;
        }
    }
    let expected = [
        ("Body: body checksum of request-3.1", 4),
        ("Body: body checksum of request-4294967295.4294967295", 2),
        ("data: payload checksum of request-3.1, 0 bytes in", 3),
        ("data: payload checksum of request-3.1, 16284 bytes in", 1),
        ("data: payload checksum of request-3.1, 20 bytes in", 1),
        ("data: payload checksum of request-3.1, 3996 bytes in", 1),
        ("data: payload checksum of request-3.1, 8092 bytes in", 1),
        ("data: payload checksum of request-4.1, 0 bytes in", 1),
        ("data: payload checksum of request-4.1, 30 bytes in", 1),
    ];
    let expected: BTreeMap<String, u32> = expected.map(|(k, v)| (k.into(), v)).into();
    assert_eq!(damaged, expected);
}

/// A request and its payload of `length` bytes, in segments of random lengths.
fn upload(rng: &mut Rng, request: RequestId, length: u32) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut data = vec![0; length as usize];
    rng.fill_bytes(&mut data);
    let header = FrameHeader::request(Kind::ECHO, 1, request);
    let (mut units, mut at) = (vec![frame(header, &[], b"body", length)], 0);
    while at < length {
        let end = length.min(at + 1 + u32::try_from(rng.below(6000)).unwrap());
        let ending = if end == length { Ending::Final } else { Ending::More };
        let phase = u32::try_from(rng.below(4096)).unwrap();
        units.push(segment(request, at, &data[at as usize..end as usize], ending, phase));
        at = end;
    }
    (data, units)
}

/// R3, E6: in whatever order the units of two payloads pass, and with frames in between, each
/// payload is put together from its own segments.
#[test]
fn interleaved_payloads_are_put_together_each_for_itself() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let (first, second) = (RequestId::new(3, 1), RequestId::new(4, 1));
        let (first_data, mut ours) = upload(&mut rng, first, 20_000);
        let (second_data, mut theirs) = upload(&mut rng, second, 9000);
        let busy = FrameHeader::request(Kind::ECHO, 1, RequestId::new(5, 1));
        let small = frame(FrameHeader::response(&busy, 1, Status::Busy), &[], &[], 0);
        let mut lines = [ours.drain(..), theirs.drain(..)];
        let (mut stream, mut smalls) = (vec![], 0);
        while lines.iter().any(|line| 0 < line.len()) {
            let turn = usize::from(rng.below(2) == 0);
            stream.extend(lines[turn].next().unwrap_or_default());
            if rng.below(4) == 0 {
                stream.extend_from_slice(&small);
                smalls += 1;
            }
        }

        let mut decoder = Decoder::new(Limits::session(1));
        let mut payloads: BTreeMap<u64, (Assembly, Vec<u8>)> = BTreeMap::new();
        let (mut rest, mut present, mut done, mut plain) = (&stream[..], None, BTreeMap::new(), 0);
        while !rest.is_empty() || !decoder.at_boundary() {
            let (bytes, tail) = rest.split_at(decoder.need());
            rest = tail;
            match decoder.advance(bytes).unwrap() {
                Item::Header(header) if header.payload_len == 0 => plain += 1,
                Item::Header(header) => {
                    let assembly = (Assembly::new(header.payload_len), vec![]);
                    payloads.insert(header.request.to_u64(), assembly);
                }
                Item::Segment(segment) => present = Some(segment),
                Item::Data(bytes) => {
                    let segment = present.take().unwrap();
                    let key = segment.request.to_u64();
                    let (assembly, data) = payloads.get_mut(&key).unwrap();
                    data.extend_from_slice(bytes);
                    if assembly.accept(&segment).unwrap() == Progress::Complete {
                        done.insert(key, payloads.remove(&key).unwrap().1);
                    }
                }
                Item::Head | Item::Body { .. } => {}
            }
        }
        let expected = [(first.to_u64(), first_data), (second.to_u64(), second_data)];
        assert!(done == expected.into() && payloads.is_empty(), "seed {seed}");
        assert_eq!(plain, smalls, "seed {seed}");
    }
}

#[test]
fn garbage_fails_at_the_first_head() {
    let mut decoder = Decoder::new(Limits::session(1));
    assert_eq!(decoder.need(), 32);
    let error = decoder.advance(&[0x55; 32]).unwrap_err();
    assert_eq!(error, WireError::Magic { found: 0x5555_5555, expected: MAGIC });
    assert!(error.closes() && !decoder.at_boundary());
    let used = std::panic::catch_unwind(move || decoder.advance(&[]).is_ok());
    assert!(used.is_err(), "E5: nothing is read after an error that closes");
}

/// W12: a segment can be 500 times as long as the longest body of a stranger.
#[test]
fn a_stranger_sends_no_segment() {
    let id = RequestId::new(3, 1);
    for unit in [segment(id, 0, &[7; 100], Ending::Final, 0), segment(id, 0, &[], Ending::Final, 0)]
    {
        let mut decoder = Decoder::new(Limits::HANDSHAKE);
        let error = decoder.advance(&unit[..32]).unwrap_err();
        assert_eq!(error, WireError::Magic { found: SEGMENT_MARKER, expected: MAGIC });
        assert!(error.closes());
    }
}

#[test]
fn limits_change_at_boundaries_only() {
    let units = golden_units().swap_remove(0).concat();
    let mut decoder = Decoder::new(Limits::HANDSHAKE);
    decoder.set_limits(Limits::session(1));
    let (mut rest, mut changed) = (&units[..], 0);
    while !rest.is_empty() {
        let (bytes, tail) = rest.split_at(decoder.need());
        rest = tail;
        decoder.advance(bytes).unwrap();
        let mut copy = decoder.clone();
        let moved = std::panic::catch_unwind(move || copy.set_limits(Limits::session(1)));
        assert_eq!(moved.is_ok(), decoder.at_boundary(), "E2");
        changed += u32::from(moved.is_ok());
    }
    assert_eq!(changed, 4, "after the frame and each of its segments");
}

/// One lives in every connection: 16,384 of them take 9 MiB.
const _: () = assert!(size_of::<Decoder>() <= 560);
