use alloc::vec;
use std::format;
use std::string::{String, ToString};

use engine_types::{Rng, Timeline};

use super::*;
use crate::address::{BlockAddress, BlockClass, TruncateEpoch};
use crate::format::testing::{self, hex};
use crate::record::{HOLE, Head, RecordError};

/// A chunk of `size` bytes, written up to `data_end`, without holes.
fn record(size: u32, data_end: u32) -> Record {
    let size = ChunkSize::new(size).unwrap();
    let head = Head {
        len: data_end + 5,
        data_end,
        version: ChunkVersion::new(0x0a0b_0c0d),
        chain_version: ChainVersion::new(9),
        epoch: TruncateEpoch::new(2),
        size,
        class: BlockClass::holding(size.bytes()).unwrap_or(BlockClass::MAX),
    };
    let sectors = head.class.sectors();
    let further = (1..head.place_count()).map(|place| u32::try_from(place).unwrap() * sectors);
    let words = further.chain((0..head.checksum_count()).map(|_| 0xc0c1_c2c3)).collect();
    Record { head, block: BlockAddress::new(7 * sectors), words }
}

fn put(record: Option<Record>, direct: &[(u16, u16)], images: &[u16], tag: bool) -> Entry {
    let version = record.as_ref().map_or(ChunkVersion::new(6), |r| r.head.version);
    Entry::Put(Rc::new(Put {
        key: key(),
        version,
        chain_version: ChainVersion::new(9),
        record,
        direct: direct.iter().map(|&(first, count)| SectorRange { first, count }).collect(),
        images: images.to_vec(),
        tag: tag.then_some(TAG),
    }))
}

const TAG: Tag = Tag { session: SessionId::new(0x51), channel: ChannelId::new(0xc4), seq: 0x5e5e };

fn key() -> ChunkKey {
    ChunkKey::new(Slot::new(0x0102), 0x1112_1314_1516_1718, 0x2122_2324)
}

fn examples() -> Vec<Entry> {
    let target = TargetRecord {
        target: TargetId::new(0x7a),
        chain: ChainId::new(0xca).unwrap(),
        chain_version: ChainVersion::new(0xcf),
        incarnation: Incarnation::new(0x1c),
        named: None,
        phase: TargetPhase::Dropping,
    };
    let named = TargetRecord { named: Some(Timeline::new(0x71)), ..target };
    let version = ChunkVersion::new(0x0a0b_0c0d);
    let session = SessionId::new(0x51);
    let outcome = Outcome { seq: TAG.seq, key: key(), version, len: 0x1000 };
    let direct = vec![SectorRange { first: 0, count: 2 }];
    vec![
        put(Some(record(4096, 100)), &[(0, 1)], &[], false),
        put(Some(record(65536, 20_000)), &[(0, 3), (4, 12)], &[3, 15, 9][..1], true),
        put(None, &[], &[], true),
        Entry::Commit { key: key(), version },
        Entry::Abort { key: key(), version },
        Entry::Move { key: key(), record: Rc::new(record(8192, 8000)), direct },
        Entry::Erase { key: key() },
        Entry::Target { slot: Slot::new(0x0102), record: Some(target) },
        Entry::Target { slot: Slot::new(0x0102), record: Some(named) },
        Entry::Target { slot: Slot::new(0x0102), record: None },
        Entry::Fence(Fence::One(session)),
        Entry::Fence(Fence::Below(session)),
        Entry::Dedup { slot: key().slot, tag: TAG, outcome },
        Entry::DedupDrop { session },
    ]
}

/// Version 1 as it was released. What changes gets a new kind or a feature bit, never new numbers.
const GOLDEN: [&str; 14] = [
    "\
    010038000201000c1817161514131211242322210d0c0b0a0900000002000000\
    690000006400000007000000c3c2c1c00100000000000100",
    "\
    01025c00020104101817161514131211242322210d0c0b0a0900000002000000\
    254e0000204e000070000000c3c2c1c0c3c2c1c0c3c2c1c00200010000000300\
    04000c00030000005100000000000000c40000005e5e000000000000",
    "\
    0103300002010000181716151413121124232221060000000900000051000000\
    00000000c40000005e5e000000000000",
    "\
    02001800020100001817161514131211242322210d0c0b0a",
    "\
    03001800020100001817161514131211242322210d0c0b0a",
    "\
    04003c000201010d1817161514131211242322210d0c0b0a0900000002000000\
    451f0000401f00000e000000c3c2c1c0c3c2c1c00100000000000200",
    "\
    0500140002010000181716151413121124232221",
    "\
    06002000020101007a00000000000000ca000000cf0000001c00000000000000",
    "\
    06022400020101007a00000000000000ca000000cf0000001c00000000000000\
    71000000",
    "\
    0601080002010000",
    "\
    07001000000000005100000000000000",
    "\
    07011000000000005100000000000000",
    "\
    0800300002010000181716151413121124232221c40000005100000000000000\
    5e5e0000000000000d0c0b0a00100000",
    "\
    09001000000000005100000000000000",
];

#[test]
fn golden_bytes() {
    for (entry, golden) in examples().iter().zip(GOLDEN) {
        let bytes = testing::encoded(core::slice::from_ref(entry));
        assert_eq!(hex(&bytes), golden, "{entry}");
        assert_eq!(decode(&bytes), Ok((entry.clone(), bytes.len())));
    }
}

#[test]
fn kind_numbers_never_change() {
    let codes = Kind::ALL.map(Kind::code);
    assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 32, 33, 34]);
}

/// What the design promises of sizes: 29 PUTs of 1 MiB chunks with a tag, 34 without, or
/// 165 commits fit into a page with the header.
#[test]
fn sizes_are_as_designed() {
    let page = 4096 - crate::format::GROUP_HEADER_BYTES;
    let full = |size| put(Some(record(size, size - 5)), &[(0, 1)], &[], false);
    assert_eq!(encoded_len(&full(4096)), 48 + 4 + 4);
    assert_eq!(encoded_len(&full(512 << 10)), 48 + 32 + 4);
    assert_eq!(page / encoded_len(&full(1 << 20)), 34);
    let tagged = put(Some(record(1 << 20, (1 << 20) - 5)), &[(0, 256)], &[], true);
    assert_eq!(page / encoded_len(&tagged), 29);
    assert_eq!(page / encoded_len(&Entry::Commit { key: key(), version: TAG_VERSION }), 165);
    let largest = put(Some(record(64 << 20, (64 << 20) - 5)), &[], &[], false);
    assert_eq!(encoded_len(&largest), 48 + 4 * RECORD_WORDS_MAX);
}

const TAG_VERSION: ChunkVersion = ChunkVersion::new(1);

/// E107, with entries one behind another as groups hold them.
#[test]
fn random_entries_come_back() {
    let mut rng = Rng::new(0xe107);
    for _ in 0..60 {
        let entries: Vec<Entry> =
            (0..40).map(|_| testing::entry(&mut rng, ChunkSize::MAX)).collect();
        let bytes = testing::encoded(&entries);
        let mut rest = &bytes[..];
        for entry in &entries {
            let (found, len) = decode(rest).unwrap();
            assert_eq!((&found, len), (entry, encoded_len(entry)));
            assert!(len.is_multiple_of(4) && len <= ENTRY_BYTES_MAX, "{len}");
            rest = &rest[len..];
        }
        assert!(rest.is_empty());
    }
}

/// A later release may append fields to an entry of a known kind.
#[test]
fn what_a_longer_entry_brings_is_skipped() {
    for entry in examples() {
        let mut bytes = testing::encoded(core::slice::from_ref(&entry));
        bytes.extend_from_slice(&[0xff; 12]);
        let len = u16::try_from(bytes.len()).unwrap();
        bytes[2..4].copy_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&[1, 2, 3]);
        assert_eq!(decode(&bytes), Ok((entry, usize::from(len))));
    }
}

#[test]
fn unknown_kinds_are_named() {
    let mut bytes = testing::encoded(&examples()[..1]);
    for kind in (0..=255).filter(|kind| Kind::ALL.iter().all(|known| known.code() != *kind)) {
        bytes[0] = kind;
        assert_eq!(decode(&bytes), Err(FormatError::UnknownKind { kind }));
    }
    for found in [Kind::Pending, Kind::Chunk, Kind::End] {
        bytes[..2].copy_from_slice(&[found.code(), 0]);
        assert_eq!(decode(&bytes), Err(FormatError::Misplaced { found }));
    }
}

/// Every prefix of every entry, both as the end of the input and as a shorter entry.
#[test]
fn prefixes_are_truncated_entries() {
    for entry in examples() {
        let good = testing::encoded(core::slice::from_ref(&entry));
        for end in 0..good.len() {
            let found = decode(&good[..end]);
            assert!(
                matches!(found, Err(FormatError::Truncated { .. })),
                "{entry} {end}: {found:?}"
            );
            let mut short = good[..end].to_vec();
            if HEAD <= end {
                short[2..4].copy_from_slice(&u16::try_from(end).unwrap().to_le_bytes());
            }
            match decode(&short) {
                Err(FormatError::Truncated { .. }) => {}
                Err(FormatError::Length { found, .. }) => assert_eq!(found, end),
                other => panic!("{entry} {end}: {other:?}"),
            }
        }
    }
}

const HEAD: usize = 4;

#[test]
fn hostile_entries_are_refused() {
    use FormatError as E;
    let key = key();
    let record = |why| E::Record { key, why };
    // Of a chunk of 64 KiB with 3 of 8 checksum blocks, direct ranges 0..3 and 4..16, image 3.
    let sectors = |first, end, from| E::Sectors { key, first, end, from, to: 16 };
    let words = |needed| E::Truncated { kind: 1, needed, found: 92 };
    type Damage = fn(&mut Vec<u8>);
    #[rustfmt::skip]
    let rows: [(Damage, FormatError); 20] = [
        (|b| b[2] = 3, E::Length { kind: 1, found: 3 }),
        (|b| b[2] = 0, E::Length { kind: 1, found: 0 }),
        (|b| b[2] = 90, E::Length { kind: 1, found: 90 }),
        (|b| b[3] = 1, E::Truncated { kind: 1, needed: 256 + 92, found: 92 }),
        (|b| b[1] = 0x82, E::UnknownFlags { kind: Kind::Put, found: 0x82, known: 3 }),
        (|b| b[6] = 11, E::Class { key, class: 11 }),
        (|b| b[7] = 11, E::ChunkSize { key, shift: 11 }),
        (|b| b[7] = 27, E::ChunkSize { key, shift: 27 }),
        (|b| b[7] = 200, E::ChunkSize { key, shift: 200 }),
        (|b| b[37] = 0xff, record(RecordError::Lengths {
            data_end: 0xff20, len: 20_005, size: ChunkSize::new(65536).unwrap() })),
        (|b| b[39] = 0x80, words(44 + 4 * (512 + 0x4_0003))),
        (|b| b[6] = 2, record(RecordError::Class {
            class: BlockClass::new(2).unwrap(), size: ChunkSize::new(65536).unwrap(),
            data_end: 20_000 })),
        (|b| b[40] = 1, record(RecordError::Unaligned {
            block: BlockAddress::new(1), class: BlockClass::new(4).unwrap() })),
        (|b| b[40..44].fill(0xff), record(RecordError::Block {
            place: 0, block: BlockAddress::NONE })),
        (|b| b[52..56].fill(0), record(RecordError::EndInHole { data_end: 20_000 })),
        (|b| b[56] = 0xff, words(60 + 4 * 0xff)),
        (|b| b[60] = 17, sectors(17, 20, 0)),
        (|b| b[62] = 0, sectors(0, 0, 0)),
        (|b| b[64] = 2, sectors(2, 14, 3)),
        (|b| b[68] = 16, sectors(16, 17, 0)),
    ];
    for (damage, expected) in rows {
        let mut bytes = testing::encoded(&examples()[1..2]);
        assert_eq!(bytes.len(), 92);
        damage(&mut bytes);
        assert_eq!(decode(&bytes), Err(expected));
    }
}

#[test]
fn hostile_targets_are_refused() {
    let slot = Slot::new(0x0102);
    let good = testing::encoded(&examples()[7..8]);
    let mut bytes = good.clone();
    bytes[6] = 2;
    assert_eq!(decode(&bytes), Err(FormatError::Phase { slot, found: 2 }));
    let mut bytes = good;
    bytes[16..20].fill(0);
    assert_eq!(decode(&bytes), Err(FormatError::NoChain { slot }));
}

#[test]
fn lists_beyond_their_limits_are_refused() {
    let size = ChunkSize::MAX;
    let direct: Vec<_> = (0..=1024).map(|i| SectorRange { first: i * 2, count: 1 }).collect();
    let images: Vec<u16> = (0..=128).collect();
    assert_eq!(check_lists(&key(), size, &direct[1..], &images[1..]), Ok(()));
    let found = check_lists(&key(), size, &direct, &[]);
    let what = "direct ranges";
    assert_eq!(found, Err(FormatError::TooMany { what, found: 1025, max: 1024 }));
    let found = check_lists(&key(), size, &[], &images);
    assert_eq!(found, Err(FormatError::TooMany { what: "images", found: 129, max: 128 }));
    let found = check_lists(&key(), size, &[], &[5, 5]);
    assert!(matches!(found, Err(FormatError::Sectors { first: 5, from: 6, .. })), "{found:?}");
}

fn panic_of(entry: Entry) -> String {
    let result = std::panic::catch_unwind(|| encode(&entry, &mut Vec::new()));
    result.unwrap_err().downcast::<String>().expect("a formatted message").to_string()
}

/// E107 from the side of the writer: what `decode` would refuse is not written.
#[test]
fn our_own_entries_keep_the_rules() {
    let mut end_in_hole = record(65536, 20_000);
    end_in_hole.words[2] = HOLE;
    let mut other_version = Put::clone(match &examples()[0] {
        Entry::Put(put) => put,
        _ => unreachable!(),
    });
    other_version.version = ChunkVersion::new(1);
    let outcome = Outcome { seq: 1, key: key(), version: TAG_VERSION, len: 0 };
    let rows = [
        (put(Some(end_in_hole), &[], &[], false), "data end 20000 lies in a hole"),
        (put(Some(record(4096, 9)), &[(0, 2)], &[], false), "sectors 0..2 do not lie in 0..1"),
        (put(Some(record(4096, 9)), &[], &[1], false), "sectors 1..2 do not lie in 0..1"),
        (put(None, &[(0, 1)], &[], false), "a removal writes nothing"),
        (Entry::Put(Rc::new(other_version)), "a PUT and its record are of one version"),
        (Entry::Dedup { slot: key().slot, tag: TAG, outcome }, "its request's slot and number"),
    ];
    for (entry, expected) in rows {
        let text = format!("{entry:?}");
        let found = panic_of(entry);
        assert!(found.starts_with("E107") || found.contains("E107"), "{text}: {found}");
        assert!(found.contains(expected), "{text}: {found}");
    }
}
