//! Opening files and block devices for direct I/O, and what is done to their space.
//!
//! Every call blocks. The descriptor that [`open`] returns carries the lock: the lock lasts as
//! long as the descriptor, so whoever opens the file a second time by its own means keeps this
//! one beside it.
//!
//! Order that matters: a file is locked before it is truncated, so that a second process cannot
//! cut a store that the first one has open.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    self as rfs, AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags, SeekFrom, Stat,
    StatxFlags,
};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, ioctl};

use crate::buffer::BUFFER_ALIGN;
use crate::file::{FileError, FileKind, FileOperation, Geometry, OpenOptions, PathDisplay};

/// Logical block of a file whose file system does not tell: the smallest that disks ever had.
const LOGICAL_BLOCK_MIN: u32 = 512;
/// `_IO(0x12, 119)`: give back a range of a block device.
const BLKDISCARD: Opcode = 0x1277;

/// An open file or device.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Open with O_DIRECT where the file system has it; carries the lock.
    pub(crate) descriptor: OwnedFd,
    /// What was found.
    pub(crate) geometry: Geometry,
    /// The file system that holds the file or the device node (`st_dev`).
    #[cfg(feature = "glommio")]
    pub(crate) file_system: u64,
}

/// Opens `path` for direct I/O.
///
/// # Errors
/// `WouldBlock` when another process holds the lock, `InvalidInput` for what is neither file nor
/// block device, `Unsupported` when the file system has no direct I/O.
pub(crate) fn open(path: &Path, options: OpenOptions) -> io::Result<Opened> {
    if !options.write && (options.create || options.truncate) {
        return Err(invalid("creating and truncating need write access"));
    }
    // Looked at before opening: opening a FIFO waits, opening a tape rewinds it.
    let extra = match rfs::stat(path) {
        Ok(stat) => match kind_of(&stat)? {
            // Nobody has it mounted, and nobody mounts or formats it while it is open.
            FileKind::Block if options.lock => OFlags::EXCL,
            FileKind::Block | FileKind::Regular => OFlags::empty(),
        },
        Err(Errno::NOENT) if options.create => OFlags::CREATE,
        Err(errno) => return Err(errno.into()),
    };
    let access = if options.write { OFlags::RDWR } else { OFlags::RDONLY };
    let descriptor = open_direct(path, access | extra | OFlags::CLOEXEC)?;
    let stat = rfs::fstat(&descriptor)?;
    let kind = kind_of(&stat)?;
    if options.lock {
        lock(&descriptor)?;
    }
    if options.truncate && kind == FileKind::Regular {
        rfs::ftruncate(&descriptor, 0)?;
    }
    let geometry = geometry(&descriptor, kind)?;
    Ok(Opened {
        descriptor,
        geometry,
        #[cfg(feature = "glommio")]
        file_system: stat.st_dev,
    })
}

fn open_direct(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let mode = Mode::RUSR | Mode::WUSR; // a store holds everybody's data: its owner's eyes only
    match rfs::open(path, flags | OFlags::DIRECT, mode) {
        Err(Errno::INVAL) => {
            let plain = rfs::open(path, flags, mode)?;
            // Memory is its own cache: nothing to bypass. Kernels before 6.6 refuse it there.
            if rfs::fstatfs(&plain)?.f_type == TMPFS_MAGIC {
                return Ok(plain);
            }
            let message = "the file system does not support direct I/O (O_DIRECT)";
            Err(io::Error::new(io::ErrorKind::Unsupported, message))
        }
        Err(Errno::BUSY) => Err(in_use("it is mounted, or somebody else holds it exclusively")),
        answer => Ok(answer?),
    }
}

fn in_use(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, format!("in use: {how}"))
}

/// `f_type` of tmpfs and of devtmpfs.
pub(crate) const TMPFS_MAGIC: rfs::FsWord = 0x0102_1994;

fn kind_of(stat: &Stat) -> io::Result<FileKind> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(FileKind::Regular),
        FileType::BlockDevice => Ok(FileKind::Block),
        other => {
            let message = format!("expected a regular file or a block device, found {other:?}");
            Err(invalid(&message))
        }
    }
}

fn lock(descriptor: &OwnedFd) -> io::Result<()> {
    match rfs::flock(descriptor, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(in_use("somebody else holds the lock on it")),
        answer => Ok(answer?),
    }
}

/// Unit of `st_blocks`, whatever the file system's own is (stat(2)).
const STAT_BLOCK_BYTES: u64 = 512;

fn geometry(descriptor: &OwnedFd, kind: FileKind) -> io::Result<Geometry> {
    let stat = rfs::fstat(descriptor)?;
    let (size, logical_block, physical_block) = match kind {
        FileKind::Block => (
            // The end of a block device is its size; the inode's size is that of the node.
            rfs::seek(descriptor, SeekFrom::End(0))?,
            rfs::ioctl_blksszget(descriptor)?,
            rfs::ioctl_blkpbszget(descriptor)?,
        ),
        FileKind::Regular => {
            let size = u64::try_from(stat.st_size).map_err(|_| invalid("negative size"))?;
            let unit = direct_unit(descriptor);
            let block = u32::try_from(stat.st_blksize).unwrap_or(unit);
            (size, unit, block.max(unit))
        }
    };
    let volatile_cache = match kind {
        FileKind::Block => has_volatile_cache(&sysfs_folder(stat.st_rdev)),
        FileKind::Regular => true,
    };
    let sector = u32::try_from(BUFFER_ALIGN).expect("4096 fits");
    let align = logical_block.max(sector);
    let (allocated, available) = match kind {
        FileKind::Block => (size, 0),
        FileKind::Regular => {
            let blocks = u64::try_from(stat.st_blocks).map_err(|_| invalid("negative blocks"))?;
            let host = rfs::fstatvfs(descriptor)?;
            (blocks.saturating_mul(STAT_BLOCK_BYTES), host.f_bavail.saturating_mul(host.f_frsize))
        }
    };
    Ok(Geometry {
        kind,
        size,
        align,
        logical_block,
        physical_block,
        volatile_cache,
        allocated,
        available,
    })
}

/// What the kernel tells about the device of this number.
fn sysfs_folder(device: u64) -> PathBuf {
    PathBuf::from(format!("/sys/dev/block/{}:{}", rfs::major(device), rfs::minor(device)))
}

/// Whether a device may lose completed writes: yes, unless the kernel says "write through" of its
/// queue, or of the disk's that it is a partition of. What cannot be read is no promise.
pub(crate) fn has_volatile_cache(folder: &Path) -> bool {
    // The folder is a link, so that its parent is the disk and not the list of numbers.
    let queues = [folder.join("queue"), folder.join("../queue")];
    let declared =
        queues.iter().find_map(|queue| fs::read_to_string(queue.join("write_cache")).ok());
    declared.is_none_or(|text| text.trim() != "write through")
}

/// The unit of direct I/O that the file system reports (Linux 6.1), else the smallest there is.
fn direct_unit(descriptor: &OwnedFd) -> u32 {
    rfs::statx(descriptor, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)
        .map(|stat| stat.stx_dio_offset_align)
        .unwrap_or(0)
        .max(LOGICAL_BLOCK_MIN)
}

/// Makes completed writes durable.
#[cfg(feature = "monoio")]
pub(crate) fn flush(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rfs::fdatasync(descriptor)?)
}

/// Allocates the range in a file; on a device checks that it exists.
pub(crate) fn preallocate(
    descriptor: BorrowedFd<'_>,
    geometry: &Geometry,
    position: u64,
    len: u64,
) -> io::Result<()> {
    match geometry.kind {
        FileKind::Block => check_range(geometry, position, len),
        FileKind::Regular if len == 0 => Ok(()), // the kernel calls it an invalid argument
        FileKind::Regular => {
            retry(|| rfs::fallocate(descriptor, FallocateFlags::empty(), position, len))
        }
    }
}

/// Punches a hole into a file, or discards the range of a device (V8).
pub(crate) fn discard(
    descriptor: BorrowedFd<'_>,
    geometry: &Geometry,
    position: u64,
    len: u64,
) -> io::Result<()> {
    match geometry.kind {
        _ if len == 0 => Ok(()),
        FileKind::Regular => {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            retry(|| rfs::fallocate(descriptor, flags, position, len))
        }
        FileKind::Block => {
            check_range(geometry, position, len)?;
            retry(|| {
                // SAFETY: BLKDISCARD reads two u64, start and length, and writes no memory.
                unsafe { ioctl(descriptor, Setter::<BLKDISCARD, [u64; 2]>::new([position, len])) }
            })
        }
    }
}

/// Changes the length of a file.
pub(crate) fn set_len(descriptor: BorrowedFd<'_>, geometry: &Geometry, len: u64) -> io::Result<()> {
    match geometry.kind {
        FileKind::Block => Err(invalid("the size of a block device cannot be changed")),
        FileKind::Regular => retry(|| rfs::ftruncate(descriptor, len)),
    }
}

/// Bytes of the file now; it may have grown since it was opened.
#[cfg(feature = "glommio")]
pub(crate) fn size(descriptor: BorrowedFd<'_>, geometry: &Geometry) -> io::Result<u64> {
    match geometry.kind {
        FileKind::Block => Ok(geometry.size),
        FileKind::Regular => {
            let stat = rfs::fstat(descriptor)?;
            u64::try_from(stat.st_size).map_err(|_| invalid("negative size"))
        }
    }
}

/// Whether the range lies on the device.
pub(crate) fn check_range(geometry: &Geometry, position: u64, len: u64) -> io::Result<()> {
    if position.checked_add(len).is_some_and(|end| end <= geometry.size) {
        return Ok(());
    }
    let size = geometry.size;
    Err(invalid(&format!("position {position} and length {len} exceed the device's {size} bytes")))
}

/// A long allocation may be interrupted by a signal; it is simply tried again.
fn retry(call: impl FnMut() -> rustix::io::Result<()>) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(call)?)
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// An error of one operation, with the kinds that callers are promised: `StorageFull` also for an
/// exceeded quota, `Unsupported` for every way a kernel says that it cannot do this.
pub(crate) fn file_error(
    operation: FileOperation,
    path: &Path,
    position: u64,
    len: u64,
    source: io::Error,
) -> FileError {
    let promised = match source.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => Some(io::ErrorKind::StorageFull),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTTY) => Some(io::ErrorKind::Unsupported),
        _ => None,
    };
    let source = match promised {
        Some(kind) if source.kind() != kind => io::Error::new(kind, source),
        _ => source,
    };
    FileError { operation, path: PathDisplay(path.to_owned()), position, len, source }
}

/// What glommio reads of a file to judge its device is less; this much is surely one block.
#[cfg(feature = "glommio")]
const FIRST_SECTOR_BYTES: i64 = 4096;

/// Whether the first sector of the file is on the device, so that reading it reaches the driver.
#[cfg(feature = "glommio")]
pub(crate) fn has_first_sector(descriptor: BorrowedFd<'_>) -> io::Result<bool> {
    rfs::fdatasync(descriptor)?; // data that waits for allocation counts as a hole to direct I/O
    if rfs::fstat(descriptor)?.st_size < FIRST_SECTOR_BYTES {
        return Ok(false);
    }
    match rfs::seek(descriptor, SeekFrom::Hole(0)) {
        Ok(hole) => Ok(FIRST_SECTOR_BYTES.unsigned_abs() <= hole),
        Err(errno) => Err(errno.into()),
    }
}
