use std::vec;
use std::vec::Vec;

use super::*;
use crate::{InodeId, Rng};

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap()
}

/// RFC 3720, appendix B.4, and the catalogue's check value.
#[test]
fn known_vectors() {
    let ascending: [u8; 32] = core::array::from_fn(|i| u8::try_from(i).unwrap());
    let descending: [u8; 32] = core::array::from_fn(|i| 31 - ascending[i]);
    let rows: [(&[u8], u32); 6] = [
        (b"", 0),
        (b"123456789", 0xe306_9283),
        (&[0; 32], 0x8a91_36aa),
        (&[0xff; 32], 0x62a8_ab43),
        (&ascending, 0x46dd_794e),
        (&descending, 0x113f_db5c),
    ];
    for (data, expected) in rows {
        assert_eq!(crc32c(data), Crc32c::new(expected), "{data:?}");
        assert_eq!(crc32c::crc32c(data), expected, "the oracle agrees");
    }
}

#[test]
fn agrees_with_another_implementation_at_any_length_and_alignment() {
    let mut rng = Rng::new(0x5eed);
    let mut buffer = vec![0; (256 << 10) + 64];
    rng.fill_bytes(&mut buffer);
    let mut lengths: Vec<usize> = (0..=600).collect();
    lengths.extend([4095, 4096, 4097, 65536, 256 << 10]);
    lengths.extend((0..64).map(|_| below(&mut rng, 256 << 10)));
    for length in lengths {
        let start = below(&mut rng, 64);
        let data = &buffer[start..start + length];
        assert_eq!(crc32c(data).get(), crc32c::crc32c(data), "{length} bytes at {start}");
    }
}

#[test]
fn pieces_give_the_same_as_the_whole() {
    let mut rng = Rng::new(7);
    let mut data = [0; 5000];
    rng.fill_bytes(&mut data);
    for _ in 0..200 {
        let mut state = Crc32cState::new();
        let mut rest = &data[..];
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(below(&mut rng, rest.len() + 1));
            state.update(piece);
            rest = tail;
        }
        assert_eq!(state.finish(), crc32c(&data));
    }
    assert_eq!(Crc32cState::default().finish(), crc32c(b""));
}

#[test]
fn a_known_checksum_is_continued_without_its_bytes() {
    let mut rng = Rng::new(11);
    let mut data = vec![0; 9000];
    rng.fill_bytes(&mut data);
    for _ in 0..200 {
        let whole = &data[..below(&mut rng, data.len() + 1)];
        let (known, rest) = whole.split_at(below(&mut rng, whole.len() + 1));
        let mut state = Crc32cState::after(crc32c(known));
        assert_eq!(state.finish(), crc32c(known), "nothing appended: {} bytes", known.len());
        state.update(rest);
        assert_eq!(state.finish(), crc32c(whole), "{} + {} bytes", known.len(), rest.len());
    }
}

#[test]
fn a_checksum_is_patched_without_the_bytes_around() {
    let mut rng = Rng::new(12);
    let mut data = vec![0; 70_000];
    rng.fill_bytes(&mut data);
    for _ in 0..200 {
        let end = below(&mut rng, data.len() + 1);
        let start = below(&mut rng, end + 1);
        let len = start + below(&mut rng, end - start + 1);
        let before = crc32c(&data[..end]);
        let old = crc32c(&data[start..len]);
        rng.fill_bytes(&mut data[start..len]);
        let new = crc32c(&data[start..len]);
        let behind = u32::try_from(end - len).unwrap();
        assert_eq!(
            before.patched(old, new, behind),
            crc32c(&data[..end]),
            "{start}..{len} of {end}"
        );
        let wrong = Crc32c::new(new.get() ^ 1);
        assert_ne!(before.patched(old, wrong, behind), crc32c(&data[..end]));
    }
    assert_eq!(crc32c(b"").patched(crc32c(b""), crc32c(b""), u32::MAX), crc32c(b""));
}

#[test]
fn a_bound_checksum_matches_at_its_own_place_only() {
    let crc = crc32c(b"block");
    let home = ChunkId { inode: InodeId::new(5), index: 2 };
    let bound = crc.bind(home, ChecksumBlock::new(3));
    assert_eq!(bound.unbind(home, ChecksumBlock::new(3)), crc);
    let elsewhere = [
        (5, 2, 4),
        (5, 3, 2),
        (5, 3, 3),
        (4, 2, 3),
        (6, 2, 3),
        (2, 5, 3),
        (5 | 1 << 32, 2, 3),
        (5, 2 | 1 << 31, 3),
    ];
    for (inode, index, block) in elsewhere {
        let chunk = ChunkId { inode: InodeId::new(inode), index };
        assert_ne!(bound.unbind(chunk, ChecksumBlock::new(block)), crc, "{chunk} {block}");
    }
}

/// Stores hold bound checksums: these numbers are part of the disk format.
#[test]
fn the_binding_never_changes() {
    let rows = [(0, 0, 0), (1, 0, 0), (5, 2, 3), (u64::MAX, u32::MAX, 1023)];
    let found = rows.map(|(inode, index, block)| {
        let chunk = ChunkId { inode: InodeId::new(inode), index };
        Crc32c::new(0).bind(chunk, ChecksumBlock::new(block)).get()
    });
    assert_eq!(found, [0xea1f_a340, 0x2a78_ca16, 0x000e_dd4f, 0xd35a_dd24], "{found:08x?}");
    // The first output of SplitMix64 seeded with 0, as published.
    assert_eq!(mix64(0), 0xe220_a839_7b1d_cdaf);
}
