//! Sizes of devices and blocks.

use core::fmt;

/// The unit of device I/O, of logging and of in-place apply (S2, V10): devices that say 512 are
/// often 4096 inside, and no supported device has larger logical sectors.
pub const SECTOR_BYTES: u32 = 4096;

/// Bytes of a block, the store's unit of allocation: a power of two from one sector to
/// `BLOCK_BYTES_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockSize(u32);

impl BlockSize {
    /// One sector.
    pub const MIN: Self = Self(SECTOR_BYTES);
    /// The largest block (S18).
    pub const MAX: Self = Self(crate::limits::BLOCK_BYTES_MAX);

    /// Nothing unless `bytes` is a power of two within the bounds.
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() && Self::MIN.0 <= bytes && bytes <= Self::MAX.0 {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// Its bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// Its sectors, at least 1.
    pub const fn sector_count(self) -> u32 {
        self.0 / SECTOR_BYTES
    }
}

/// With a binary unit, as `512 KiB`.
impl fmt::Display for BlockSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_binary(self.0, f)
    }
}

/// Writes a multiple of 4 KiB in the largest unit that divides it.
pub(crate) fn write_binary(bytes: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if bytes.is_multiple_of(1 << 20) {
        write!(f, "{} MiB", bytes >> 20)
    } else {
        write!(f, "{} KiB", bytes >> 10)
    }
}

const _: () = assert!(SECTOR_BYTES.is_power_of_two());
const _: () = assert!(BlockSize::MAX.0.is_power_of_two());
const _: () = assert!(BlockSize::MAX.0.is_multiple_of(SECTOR_BYTES));

#[cfg(test)]
mod tests;
