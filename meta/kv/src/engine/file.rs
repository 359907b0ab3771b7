//! Where a store keeps its bytes: the operations an engine needs of a disk, and a real file.
//!
//! Crash: what was written since the last [`Device::sync`] is there in any part, or not; space
//! that was claimed keeps no promise about its content.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, FallocateFlags};
use rustix::io::{Errno, retry_on_intr};

/// Operations on one array of bytes that survives its process.
pub trait Device: fmt::Debug + Send + Sync + 'static {
    /// Names it in errors.
    fn name(&self) -> String;

    /// Its length.
    ///
    /// # Errors
    /// The disk's.
    fn len(&self) -> io::Result<u64>;

    /// Whether nothing is in it.
    ///
    /// # Errors
    /// The disk's.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` from `offset`.
    ///
    /// # Errors
    /// The disk's, and when `out` reaches behind the end.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes `data`; durable after the next [`Device::sync`].
    ///
    /// # Errors
    /// The disk's; any part may have been written.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts, or lengthens with zeros that take no space yet.
    ///
    /// # Errors
    /// The disk's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Takes space for the bytes from `from` to `to`, so that writing them cannot find the disk
    /// full. They must be within the length.
    ///
    /// # Errors
    /// The disk's; some of the space may have been taken.
    fn claim(&self, from: u64, to: u64) -> io::Result<()>;

    /// Makes every write and the length durable.
    ///
    /// # Errors
    /// The disk's. What had been written is lost or not, and asking again tells nothing.
    fn sync(&self) -> io::Result<()>;
}

/// Whether an error says that there is no room: the disk's end or a quota.
pub fn is_full(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(Errno::NOSPC.raw_os_error()) || code == Some(Errno::DQUOT.raw_os_error())
}

/// Owner alone: names of files and whatever users put into attributes are in the store.
const MODE: u32 = 0o600;

/// A file, buffered by the kernel: the engine's own cache is for what it decodes often.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    path: PathBuf,
}

impl FileDevice {
    /// Opens an existing file. (The standard library sets `O_CLOEXEC`.)
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, path: path.to_path_buf() })
    }

    /// Creates an empty file in place of whatever was there.
    ///
    /// # Errors
    /// The system's.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(MODE);
        Ok(Self { file: file.open(path)?, path: path.to_path_buf() })
    }
}

impl Device for FileDevice {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn claim(&self, from: u64, to: u64) -> io::Result<()> {
        if to <= from {
            return Ok(());
        }
        claimed(|| rustix::fs::fallocate(&self.file, FallocateFlags::empty(), from, to - from))
    }

    fn sync(&self) -> io::Result<()> {
        let result = self.file.sync_data();
        if result.is_err() {
            // The kernel marks pages clean that it failed to write. Whoever opens the file next
            // is to see the disk, not them.
            let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
        }
        result
    }
}

/// The answer of `allocate`, which is asked again after a signal: a failed operation would end the
/// engine. (Of the other calls, the standard library's repeat themselves, and none else is
/// interrupted.)
fn claimed(allocate: impl FnMut() -> Result<(), Errno>) -> io::Result<()> {
    match retry_on_intr(allocate) {
        // A file system without it meets a full disk while it writes: later, not wrongly.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests;
