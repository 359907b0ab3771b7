use std::format;

use super::*;

#[test]
fn block_sizes_are_powers_of_two_within_bounds() {
    for bytes in [0, 1, 512, 2048, 4095, 4097, 12288, 8 << 20, u32::MAX] {
        assert_eq!(BlockSize::new(bytes), None, "{bytes}");
    }
    for shift in 12..=22 {
        let size = BlockSize::new(1 << shift).unwrap();
        assert_eq!(size.bytes(), size.sector_count() * SECTOR_BYTES);
    }
    assert_eq!(format!("{} {}", BlockSize::MIN, BlockSize::MAX), "4 KiB 4 MiB");
}
