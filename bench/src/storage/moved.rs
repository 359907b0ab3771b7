//! What block devices have moved, by the kernel's own count.

use core::iter::Sum;
use core::ops::{Add, Sub};
use std::fs;

use crate::store::device::Place;
use crate::suite::DeviceBytes;

#[cfg(test)]
mod tests;

/// The kernel counts in these, whatever the device has.
const SECTOR_BYTES: u64 = 512;
/// Fields of `stat`, from 0.
const SECTORS_READ: usize = 2;
const SECTORS_WRITTEN: usize = 6;
const FLUSHES: usize = 15;

/// Counts up to a moment, or between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    read: u64,
    written: u64,
    flushes: u64,
}

impl Moved {
    /// Of the device of a place.
    ///
    /// # Errors
    /// When it is no block device, or the kernel does not count.
    pub(super) fn of(place: &Place) -> Result<Self, String> {
        let device = place.path.display();
        let name = place.path.file_name().ok_or_else(|| format!("{device} has no name"))?;
        let file = format!("/sys/block/{}/stat", name.to_string_lossy());
        let text = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
        Self::parse(&text).ok_or_else(|| format!("{file} has an unexpected form"))
    }

    fn parse(text: &str) -> Option<Self> {
        let fields: Option<Vec<u64>> =
            text.split_whitespace().map(|field| field.parse().ok()).collect();
        let fields = fields?;
        let field = |index: usize| fields.get(index).copied();
        Some(Self {
            read: field(SECTORS_READ)? * SECTOR_BYTES,
            written: field(SECTORS_WRITTEN)? * SECTOR_BYTES,
            flushes: field(FLUSHES)?,
        })
    }

    /// Shares of what `ops` operations of `bytes` each moved on every one of `replicas`.
    pub(super) fn per(self, ops: u64, bytes: u32, replicas: usize) -> DeviceBytes {
        let all = (ops * replicas as u64).max(1) as f64;
        let all_bytes = all * f64::from(bytes);
        DeviceBytes {
            read_per_byte: self.read as f64 / all_bytes,
            written_per_byte: self.written as f64 / all_bytes,
            ops_per_flush: (self.flushes != 0).then(|| all / self.flushes as f64),
            journal: None,
        }
    }
}

impl Add for Moved {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            written: self.written + other.written,
            flushes: self.flushes + other.flushes,
        }
    }
}

impl Sub for Moved {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            read: self.read.saturating_sub(earlier.read),
            written: self.written.saturating_sub(earlier.written),
            flushes: self.flushes.saturating_sub(earlier.flushes),
        }
    }
}

impl Sum for Moved {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}
