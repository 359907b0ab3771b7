use std::vec;
use std::vec::Vec;

use engine_types::{ChainVersion, ChunkSize, ChunkVersion, InodeId, crc32c};

use super::*;
use crate::address::{BlockClass, TruncateEpoch};
use crate::record::{Head, Record, checksum_word};

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;

fn record(size: u32, len: u32, data_end: u32, blocks: &[u32], sums: &[u32]) -> Record {
    let head = Head {
        len,
        data_end,
        version: ChunkVersion::new(1),
        chain_version: ChainVersion::new(1),
        epoch: TruncateEpoch::new(0),
        size: ChunkSize::new(size).unwrap(),
        class: BlockClass::holding(data_end.min(4 * MIB)).unwrap(),
    };
    let words = [&blocks[1..], sums].concat();
    let record = Record { head, block: BlockAddress::new(blocks[0]), words };
    record.as_ref().check().unwrap();
    record
}

/// 512 KiB, checksum blocks of 64 KiB: data, data, hole, hole, data, 100 bytes; zeros to 400 KiB.
fn small() -> Record {
    record(512 * KIB, 400 * KIB, 320 * KIB + 100, &[128], &[5, 6, 0, 0, 7, 8])
}

fn hole(wanted: Range<u32>) -> Piece {
    Piece { wanted, source: Source::Hole }
}

fn home(block: u32, wanted: Range<u32>, first: u16, count: u16, verify: Range<u32>) -> Piece {
    let sectors = SectorRange { first, count };
    Piece {
        wanted,
        source: Source::Home(Home { block: BlockAddress::new(block), sectors, verify }),
    }
}

/// E126, piece by piece.
#[test]
fn pieces_follow_blocks_and_holes() {
    let small = small();
    let end = 320 * KIB + 100;
    #[rustfmt::skip]
    let rows = [
        (0..400 * KIB, false, vec![
            home(128, 0..128 * KIB, 0, 32, 0..2),
            hole(128 * KIB..256 * KIB),
            home(128, 256 * KIB..end, 64, 17, 4..6),
            hole(end..400 * KIB),
        ]),
        (0..4 * KIB, false, vec![home(128, 0..4 * KIB, 0, 1, 0..0)]),
        (100..200, false, vec![home(128, 100..200, 0, 1, 0..0)]),
        (4095..4097, false, vec![home(128, 4095..4097, 0, 2, 0..0)]),
        (100..200, true, vec![home(128, 100..200, 0, 16, 0..1)]),
        (60 * KIB..68 * KIB, false, vec![home(128, 60 * KIB..68 * KIB, 15, 2, 0..0)]),
        (60 * KIB..68 * KIB, true, vec![home(128, 60 * KIB..68 * KIB, 0, 32, 0..2)]),
        (60 * KIB..128 * KIB, false, vec![home(128, 60 * KIB..128 * KIB, 15, 17, 1..2)]),
        (0..65 * KIB, false, vec![home(128, 0..65 * KIB, 0, 17, 0..1)]),
        (end - 100..end, false, vec![home(128, end - 100..end, 80, 1, 5..6)]),
        (end - 99..end, false, vec![home(128, end - 99..end, 80, 1, 0..0)]),
        (end - 99..end + 9, true, vec![home(128, end - 99..end, 80, 1, 5..6), hole(end..end + 9)]),
        (130 * KIB..140 * KIB, true, vec![hole(130 * KIB..140 * KIB)]),
        (399 * KIB..500 * KIB, true, vec![hole(399 * KIB..400 * KIB)]),
        (400 * KIB..500 * KIB, false, vec![]),
        (7..7, true, vec![]),
    ];
    for (range, verify, expected) in rows {
        let mut found = vec![hole(1..2)];
        pieces(small.as_ref(), range.clone(), verify, &mut found);
        assert_eq!(found[1..], expected, "{range:?}, verify {verify}");
    }
}

/// Data that continues in the next block takes two reads; a hole there is one piece.
#[test]
fn pieces_end_at_blocks() {
    let sums: Vec<u32> = (0..144).map(|block| u32::from(block / 64 != 1)).collect();
    let none = BlockAddress::NONE.get();
    let holed = record(16 * MIB, 9 * MIB, 9 * MIB, &[1024, none, 3072], &sums);
    let mut found = Vec::new();
    pieces(holed.as_ref(), 4 * MIB - 4 * KIB..9 * MIB, false, &mut found);
    let expected = [
        home(1024, 4 * MIB - 4 * KIB..4 * MIB, 1023, 1, 0..0),
        hole(4 * MIB..8 * MIB),
        home(3072, 8 * MIB..9 * MIB, 2048, 256, 128..144),
    ];
    assert_eq!(found, expected);
    let Source::Home(home_of_last) = &found[2].source else { unreachable!() };
    assert_eq!((home_of_last.at(), home_of_last.bytes()), (0, MIB));
    let full = record(16 * MIB, 8 * MIB, 8 * MIB, &[1024, 2048], &vec![1; 128]);
    found.clear();
    pieces(full.as_ref(), 4 * MIB - 64 * KIB..4 * MIB + 1, true, &mut found);
    let expected = [
        home(1024, 4 * MIB - 64 * KIB..4 * MIB, 1008, 16, 63..64),
        home(2048, 4 * MIB..4 * MIB + 1, 1024, 16, 64..65),
    ];
    assert_eq!(found, expected);
}

#[test]
fn whole_blocks_are_read_together() {
    let mut found = Vec::new();
    whole_blocks(small().as_ref(), &[0, 1, 5], &mut found);
    let end = 320 * KIB + 100;
    let expected = [home(128, 0..128 * KIB, 0, 32, 0..2), home(128, 320 * KIB..end, 80, 1, 5..6)];
    assert_eq!(found, expected);
}

#[test]
fn verified_bytes_are_all_of_them_and_right() {
    let chunk = ChunkId { inode: InodeId::new(3), index: 1 };
    let data = [8; 5000];
    let word = checksum_word(chunk, 0, crc32c(&data));
    let record = record(64 * KIB, 5000, 5000, &[4], &[word]);
    assert_eq!(record.head.size.checksum_block_bytes(), 8 * KIB);
    let record = record.as_ref();
    assert_eq!(verify_piece(chunk, &record, 0, &data), Ok(()));
    assert_eq!(verify_piece(chunk, &record, 0, &data[..4999]), Err(0));
    assert_eq!(verify_piece(chunk, &record, 0, &[9; 5000]), Err(0));
    let other = ChunkId { index: 2, ..chunk };
    assert_eq!(verify_piece(other, &record, 0, &data), Err(0));
    assert_eq!(verify_piece(chunk, &record, 1, &[]), Err(1));
}

#[test]
fn the_map_tells_data_from_holes() {
    let small = small();
    let extent = |range, data| Extent { range, data };
    let end = 320 * KIB + 100;
    let expected = [
        extent(1..128 * KIB, true),
        extent(128 * KIB..256 * KIB, false),
        extent(256 * KIB..end, true),
        extent(end..400 * KIB, false),
    ];
    assert_eq!(data_map(small.as_ref(), 1..u32::MAX), expected);
    assert_eq!(
        data_map(small.as_ref(), 200 * KIB..201 * KIB),
        [extent(200 * KIB..201 * KIB, false)]
    );
    assert!(data_map(small.as_ref(), 400 * KIB..401 * KIB).is_empty());
    assert_eq!(small.as_ref().allocated_bytes(), u64::from(512 * KIB));
}

#[test]
#[should_panic(expected = "E126")]
fn bytes_that_are_not_read_are_not_lent() {
    let mut found = Vec::new();
    pieces(small().as_ref(), 4 * KIB..8 * KIB, false, &mut found);
    let Source::Home(home) = &found[0].source else { unreachable!() };
    let _ = home.within(&(4095..8 * KIB));
}
