use std::vec;
use std::vec::Vec;

use super::*;

const ID: RequestId = RequestId::new(2, 3);

fn header(length: u32, ending: Ending, block_shift: u8, phase: u32) -> SegmentHeader {
    SegmentHeader { request: ID, offset: 0, length, ending, block_shift, phase }
}

/// Version 1 as it was released.
#[test]
fn golden_bytes() {
    let rows = [
        (
            SegmentHeader { offset: 0x0605_0403, ..header(5000, Ending::More, 12, 100) },
            vec![0x0102_0304, 0xa0b0_c0d0],
            GOLDEN_DATA,
        ),
        (SegmentHeader::terminator(ID, 5000, Ending::Final), vec![], GOLDEN_FINAL),
        (SegmentHeader::terminator(ID, 0, Ending::Aborted), vec![], GOLDEN_ABORTED),
    ];
    for (segment, crcs, golden) in rows {
        let mut out = [0xee; SEGMENT_HEAD_BYTES_MAX];
        let end = segment.encode(&crcs, &mut out);
        assert_eq!(end, segment.head_bytes());
        assert_eq!(crate::tests_hex(&out[..end]), golden, "{segment:?}");
        let head = out.first_chunk().unwrap();
        assert_eq!(SegmentHeader::parse(head), Ok(segment));
        assert_eq!(SegmentHeader::verify(head, &out[SEGMENT_HEADER_BYTES..end]), Ok(()));
    }
}

const GOLDEN_DATA: &str = "\
    454d42538813000002000000030000000304050664000000000c00007940ea75\
    04030201d0c0b0a0";
const GOLDEN_FINAL: &str = "\
    454d42530000000002000000030000008813000000000000010000003b7dc0f1";
const GOLDEN_ABORTED: &str = "\
    454d425300000000020000000300000000000000000000000200000030302035";

#[test]
fn hostile_headers_are_refused() {
    use WireError as E;
    type Damage = fn(&mut [u8; SEGMENT_HEADER_BYTES]);
    let max = SEGMENT_BYTES_MAX;
    let shift = |found, min, max| E::BlockShift { found, min, max };
    #[rustfmt::skip]
    let rows: [(Damage, WireError); 10] = [
        (|h| h[4..8].copy_from_slice(&(SEGMENT_BYTES_MAX + 1).to_le_bytes()),
            E::TooLarge { part: Part::Segment, found: max + 1, limit: max }),
        (|h| h[4..8].fill(0xff), E::TooLarge { part: Part::Segment, found: u32::MAX, limit: max }),
        (|h| h[24] = 3, E::SegmentFlags { found: 3 }),
        (|h| h[24] = 0x80, E::SegmentFlags { found: 0x80 }),
        (|h| h[25] = 11, shift(11, 12, 16)),
        (|h| h[25] = 17, shift(17, 12, 16)),
        (|h| h[4..8].fill(0), shift(12, 0, 0)),
        (|h| { h[4..8].fill(0); h[20] = 1; h[25] = 0 }, E::Phase { found: 1, limit: 0 }),
        (|h| h[27] = 1, E::NotZero { field: "reserved bytes 26 to 27 of a segment", found: 256 }),
        (|h| h[20..24].copy_from_slice(&4096u32.to_le_bytes()),
            E::Phase { found: 4096, limit: 4095 }),
    ];
    for (damage, expected) in rows {
        let mut out = [0; SEGMENT_HEAD_BYTES_MAX];
        header(5000, Ending::More, 12, 0).encode(&[0; 2], &mut out);
        let mut head = *out.first_chunk().unwrap();
        damage(&mut head);
        assert_eq!(SegmentHeader::parse(&head), Err(expected.clone()));
        assert!(expected.closes());
    }
}

#[test]
fn no_flipped_bit_passes() {
    let segment = header(5000, Ending::Final, 12, 100);
    let mut out = [0; SEGMENT_HEAD_BYTES_MAX];
    let end = segment.encode(&[7, 8], &mut out);
    for bit in 0..end * 8 {
        let mut bytes = out;
        bytes[bit / 8] ^= 1 << (bit % 8);
        let head = bytes.first_chunk().unwrap();
        let found = SegmentHeader::verify(head, &bytes[SEGMENT_HEADER_BYTES..end]);
        assert!(matches!(found, Err(WireError::SegmentChecksum { .. })), "bit {bit}");
    }
}

#[test]
fn checksums_follow_the_blocks_of_the_chunk() {
    let data: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    for (phase, length) in [(0, 1), (0, 4096), (0, 4097), (4095, 1), (4095, 2), (100, 20_000)] {
        let mut found = vec![];
        checksum_blocks(&data[..length], 12, phase, &mut |crc| found.push(crc));
        let mut expected = vec![];
        let (mut at, mut room) = (0, 4096 - phase as usize);
        while at < length {
            let end = length.min(at + room);
            expected.push(crc32c(&data[at..end]).get());
            (at, room) = (end, 4096);
        }
        assert_eq!(found, expected, "{length} bytes at phase {phase}");
        let segment = header(u32::try_from(length).unwrap(), Ending::Final, 12, phase);
        assert_eq!(found.len(), segment.crc_count());
    }
    assert_eq!(header(SEGMENT_BYTES_MAX, Ending::Final, 12, 4095).crc_count(), 65);
}

/// E6, with payloads of 10,000 bytes.
#[test]
fn payloads_are_assembled_without_gap_or_overlap() {
    use Ending::{Aborted, Final, More};
    use WireError as E;
    let end = |offset, ending| SegmentHeader::terminator(ID, offset, ending);
    let seg = |offset, length, ending| SegmentHeader { offset, ..header(length, ending, 12, 5) };
    let short = |found| Err(E::PayloadShort { found, expected: 10_000 });
    let overrun = |found| Err(E::PayloadOverrun { found, expected: 10_000 });
    let offset = |found, expected| Err(E::SegmentOffset { found, expected });
    let empty = |received| Err(E::EmptySegment { received });
    #[rustfmt::skip]
    let rows: Vec<(Vec<SegmentHeader>, Result<Progress, WireError>)> = vec![
        (vec![seg(0, 10_000, Final)],                               Ok(Progress::Complete)),
        (vec![seg(0, 10_000, More)],                                Ok(Progress::More)),
        (vec![seg(0, 10_000, More), end(10_000, Final)],            Ok(Progress::Complete)),
        (vec![seg(0, 4095, More), seg(4095, 5905, Final)],          Ok(Progress::Complete)),
        (vec![seg(0, 1, More), seg(1, 1, More)],                    Ok(Progress::More)),
        (vec![end(0, Aborted)],                                     Ok(Progress::Aborted)),
        (vec![seg(0, 100, Aborted)],                                Ok(Progress::Aborted)),
        (vec![seg(0, 10_000, Aborted)],                             Ok(Progress::Aborted)),
        (vec![seg(0, 8192, More), end(8192, Aborted)],              Ok(Progress::Aborted)),
        // Who gives up without data may not know how far it came.
        (vec![seg(0, 8192, More), end(0, Aborted)],                 Ok(Progress::Aborted)),
        (vec![seg(0, 8192, More), end(u32::MAX, Aborted)],          Ok(Progress::Aborted)),
        (vec![end(0, Final)],                                       short(0)),
        (vec![seg(0, 9999, Final)],                                 short(9999)),
        (vec![seg(0, 9000, More), seg(9000, 999, Final)],           short(9999)),
        (vec![end(0, More)],                                        empty(0)),
        (vec![seg(0, 4096, More), end(4096, More)],                 empty(4096)),
        (vec![seg(1, 4096, More)],                                  offset(1, 0)),
        (vec![seg(0, 4096, More), seg(0, 4096, More)],              offset(0, 4096)),
        (vec![seg(0, 4096, More), seg(4097, 5903, Final)],          offset(4097, 4096)),
        (vec![seg(0, 4096, More), seg(4095, 1, Aborted)],           offset(4095, 4096)),
        (vec![seg(0, 4096, More), end(10_000, Final)],              offset(10_000, 4096)),
        (vec![seg(u32::MAX, 1, More)],                              offset(u32::MAX, 0)),
        (vec![seg(0, 10_001, Final)],                               overrun(10_001)),
        (vec![seg(0, 10_001, Aborted)],                             overrun(10_001)),
        (vec![seg(0, 10_000, More), seg(10_000, 1, Final)],         overrun(10_001)),
    ];
    for (segments, expected) in rows {
        let mut assembly = Assembly::new(10_000);
        let (last, before) = segments.split_last().unwrap();
        for segment in before {
            assert_eq!(assembly.accept(segment), Ok(Progress::More), "{segments:?}");
        }
        let received: u32 = before.iter().map(|segment| segment.length).sum();
        assert_eq!(assembly.received(), received);
        assert_eq!(assembly.check(last).err(), expected.clone().err(), "{segments:?}");
        assert_eq!(assembly.accept(last), expected, "{segments:?}");
        let taken = if expected.is_ok() { last.length } else { 0 };
        assert_eq!(assembly.received(), received + taken, "{segments:?}");
        assert!(assembly.len() == 10_000 && !assembly.is_empty());
    }
}

#[test]
#[should_panic(expected = "E7: one CRC per checksum block")]
fn our_own_tables_fit_their_data() {
    header(5000, Ending::Final, 12, 0).encode(&[1], &mut [0; SEGMENT_HEAD_BYTES_MAX]);
}
