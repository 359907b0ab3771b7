use std::format;

use super::*;

#[test]
fn checksum_blocks_are_an_eighth_within_bounds() {
    #[rustfmt::skip]
    let rows = [
        // chunk     block      shift  count
        (4 << 10,    4 << 10,   12,    1),
        (16 << 10,   4 << 10,   12,    4),
        (32 << 10,   4 << 10,   12,    8),
        (64 << 10,   8 << 10,   13,    8),
        (512 << 10,  64 << 10,  16,    8),
        (1 << 20,    64 << 10,  16,    16),
        (64 << 20,   64 << 10,  16,    1024),
    ];
    for (chunk, block, shift, count) in rows {
        let size = ChunkSize::new(chunk).unwrap();
        let found =
            (size.checksum_block_bytes(), size.checksum_block_shift(), size.checksum_block_count());
        assert_eq!(found, (block, shift, count), "chunk of {size}");
    }
    for bytes in [0, 1, 2048, 4097, 128 << 20, u32::MAX] {
        assert_eq!(ChunkSize::new(bytes), None, "{bytes}");
    }
}

#[test]
fn offsets_know_their_sector_and_checksum_block() {
    let size = ChunkSize::new(512 << 10).unwrap();
    let at = ChunkOffset::new(65536 + 4097).unwrap();
    assert_eq!(at.sector_index().get(), 17);
    assert_eq!(at.checksum_block(size).get(), 1);
    assert_eq!(at.checksum_phase(size), 4097);
    assert_eq!(format!("{at} {size}"), "+69633 512 KiB");

    let end = ChunkOffset::new(CHUNK_BYTES_MAX).unwrap();
    assert_eq!(ChunkOffset::new(CHUNK_BYTES_MAX + 1), None);
    assert_eq!(end.checked_add(0), Some(end));
    assert_eq!(end.checked_add(1), None);
    assert_eq!(end.checked_add(u32::MAX), None);
}
