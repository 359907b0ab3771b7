//! Files and block devices, always without the page cache.
//!
//! Positions and lengths are multiples of [`Geometry::align`]; anything else is answered with
//! [`FileError`], never passed to the kernel. Operations start at the call and are not cancelled
//! (E34). A write that ends in an error may have changed any part of its range.

use core::fmt;
use std::io;
use std::path::PathBuf;

use crate::buffer::Bytes;
use crate::env::Env;

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Allow writes.
    pub write: bool,
    /// Create the file when it does not exist; never a block device.
    pub create: bool,
    /// Cut an existing file to length 0.
    pub truncate: bool,
    /// Take an exclusive advisory lock, and fail with `WouldBlock` when another process has it: a
    /// store is never opened twice.
    pub lock: bool,
}

/// What is behind an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A file of a file system; it may be sparse.
    Regular,
    /// A block device or partition.
    Block,
}

/// Shape of an open file or device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// File or block device.
    pub kind: FileKind,
    /// Bytes when it was opened.
    pub size: u64,
    /// Unit of positions and lengths: the larger of the logical block and 4 KiB (V10).
    pub align: u32,
    /// Logical block size that the device reports, bytes.
    pub logical_block: u32,
    /// Physical block size that the device reports, bytes.
    pub physical_block: u32,
    /// Whether a completed write may still be lost with the power. False only for a device that
    /// declares its cache write-through: what it has completed is durable without a flush. A file
    /// needs its flush always, for the sake of the file system's own metadata.
    pub volatile_cache: bool,
    /// Bytes that had space when it was opened: less than `size` in a sparse file.
    pub allocated: u64,
    /// Bytes that the file system could still give when it was opened; nothing for a device.
    pub available: u64,
}

/// The operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOperation {
    /// Opening.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making writes durable.
    Flush,
    /// Allocating space.
    Preallocate,
    /// Giving space back.
    Discard,
    /// Changing the length.
    SetLen,
}

impl fmt::Display for FileOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Preallocate => "preallocate",
            Self::Discard => "discard",
            Self::SetLen => "set length",
        })
    }
}

/// A file operation that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}{}: {source}", Range(*position, *len))]
pub struct FileError {
    /// What was tried.
    pub operation: FileOperation,
    /// The file.
    pub path: PathDisplay,
    /// First byte concerned.
    pub position: u64,
    /// Bytes concerned.
    pub len: u64,
    /// What the system answered: `StorageFull` when there is no space (V9), `InvalidInput` for a
    /// misaligned or out-of-range request, `UnexpectedEof`, `WouldBlock` for a lock held elsewhere,
    /// `Unsupported` for a discard that the device cannot do.
    pub source: io::Error,
}

/// Which bytes an error message is about; nothing where the whole file is meant.
struct Range(u64, u64);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(0, 0) => Ok(()),
            Self(position, len) => write!(f, " at {position}, {len} bytes"),
        }
    }
}

/// A path in an error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathDisplay(pub PathBuf);

impl fmt::Display for PathDisplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// An open file or block device. Clones share it; it closes with the last one.
pub trait File<E: Env>: Clone + 'static {
    /// Size, kind and alignment.
    fn geometry(&self) -> Geometry;

    /// Reads `len` bytes at `position` into memory of the pool, waiting for room in it (E33). Fewer
    /// bytes come back only at the end of the file.
    fn read(&self, position: u64, len: usize) -> E::Join<Result<Bytes<E::Memory>, FileError>>;

    /// Writes all of `data` at `position`. Not durable before a later [`flush`](Self::flush)
    /// (E36). Bytes that are a whole buffer are written without a copy on every backend.
    fn write(&self, position: u64, data: Bytes<E::Memory>) -> E::Join<Result<(), FileError>>;

    /// Makes every write durable whose completion was seen before this call (E36).
    fn flush(&self) -> E::Join<Result<(), FileError>>;

    /// Allocates space, so that later writes inside it never meet a full disk (V9); grows the file
    /// when it ends earlier. On a block device only checks the range.
    fn preallocate(&self, position: u64, len: u64) -> E::Join<Result<(), FileError>>;

    /// Gives space back: punches a hole, or discards on a block device (V8). Never on the data
    /// path. What is read there afterwards is unspecified on a block device and zeros in a file.
    fn discard(&self, position: u64, len: u64) -> E::Join<Result<(), FileError>>;

    /// Changes the length of a regular file.
    fn set_len(&self, len: u64) -> E::Join<Result<(), FileError>>;
}

/// Checks a request against the alignment; shared by all backends.
pub(crate) fn check_aligned(align: u32, position: u64, len: u64) -> io::Result<()> {
    let align = u64::from(align);
    if position.is_multiple_of(align) && len.is_multiple_of(align) {
        return Ok(());
    }
    let message = format!("position {position} and length {len} must be multiples of {align}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}
