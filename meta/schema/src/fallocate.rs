//! fallocate(2): which modes there are, and what each has to do with length and chunks
//! (`vfs_fallocate` of Linux).

use engine_types::fields::{DecodeError, Reader, Writer};

use crate::codec::Field;
use crate::errno::Errno;
use crate::layout::Layout;
use crate::{fields, numbered};

/// Bits of the mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FallocateMode(u32);

impl FallocateMode {
    /// `FALLOC_FL_KEEP_SIZE`
    pub const KEEP_SIZE: Self = Self(0x01);
    /// `FALLOC_FL_PUNCH_HOLE`
    pub const PUNCH_HOLE: Self = Self(0x02);
    /// `FALLOC_FL_ZERO_RANGE`
    pub const ZERO_RANGE: Self = Self(0x10);

    /// Any bits; [`plan`] judges them.
    pub const fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn get(self) -> u32 {
        self.0
    }

    const fn has(self, bits: Self) -> bool {
        self.0 & bits.0 != 0
    }
}

impl Field for FallocateMode {
    const BYTES_MIN: usize = 4;

    fn write(&self, out: &mut Writer) {
        out.u32(self.0);
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.u32(field).map(Self)
    }
}

/// What a caller has to do with the chunks of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RangeWork {
    /// Nothing.
    Nothing,
    /// See that there is room for what is written there.
    Allocate,
    /// Make it a hole.
    Punch,
    /// Make it zeroes.
    Zero,
}

numbered! {
    RangeWork {
        0 = Nothing,
        1 = Allocate,
        2 = Punch,
        3 = Zero,
    }
}

/// What a fallocate comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FallocatePlan {
    /// What is to be done with the bytes from `start` to `end`.
    pub work: RangeWork,
    /// The first byte.
    pub start: u64,
    /// The byte behind the last.
    pub end: u64,
    /// The length of the file afterwards.
    pub length: u64,
}

fields! {
    FallocatePlan { work, start, end, length }
}

/// What `mode` means for a file of `length` bytes.
///
/// # Errors
/// - EINVAL: no bytes
/// - EOPNOTSUPP: a mode that is not offered (collapse, insert, unshare), a hole without
///   `KEEP_SIZE`, or a hole and zeroes at once
/// - EFBIG: the range ends beyond the largest file
pub fn plan(
    mode: FallocateMode,
    offset: u64,
    bytes: u64,
    layout: &Layout,
    length: u64,
) -> Result<FallocatePlan, Errno> {
    use FallocateMode as M;
    if bytes == 0 {
        return Err(Errno::EINVAL);
    }
    if mode.0 & !(M::KEEP_SIZE.0 | M::PUNCH_HOLE.0 | M::ZERO_RANGE.0) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let (keep, punch, zero) =
        (mode.has(M::KEEP_SIZE), mode.has(M::PUNCH_HOLE), mode.has(M::ZERO_RANGE));
    if punch && (zero || !keep) {
        return Err(Errno::EOPNOTSUPP);
    }
    let end = offset.checked_add(bytes).ok_or(Errno::EFBIG)?;
    if layout.file_bytes_max() < end {
        return Err(Errno::EFBIG);
    }
    let longer = if keep { length } else { length.max(end) };
    // Behind the end there are no bytes to punch or to make zero.
    let (work, end) = match (punch, zero) {
        (true, _) => (RangeWork::Punch, end.min(length)),
        (_, true) => (RangeWork::Zero, end.min(length)),
        _ => (RangeWork::Allocate, end),
    };
    let work = if end <= offset { RangeWork::Nothing } else { work };
    Ok(FallocatePlan { work, start: offset, end: end.max(offset), length: longer })
}

#[cfg(test)]
mod tests;
