//! Places for data: a file on a disk, or a loop device over a file in memory.
//!
//! Owner: the process, and nothing beyond it. A file loses its name as soon as it is open and is
//! reached through /proc from then on; a loop device is detached at once, which the kernel puts
//! off until its last user, this process, closes it. So whatever ends the process, a signal that
//! cannot be caught included, gives the space back. Only a process that is killed within the
//! millisecond between the two calls of `losetup` leaves a loop device behind.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Arc;

use crate::suite::Storage;

#[cfg(test)]
mod tests;

/// `f_type` of tmpfs.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file on the file system of `--dir`.
    Disk,
    /// A loop device over a file on the tmpfs of `--memory-dir`.
    Loop,
}

/// Room for data that nobody else uses.
pub(crate) struct Place {
    /// Where this process and its children reach it.
    pub(crate) path: PathBuf,
    /// Its size.
    pub(crate) bytes: u64,
    /// Bytes of data in it; 0 until it has been filled.
    data_bytes: AtomicU64,
    /// Keeps file and device alive.
    _held: File,
}

impl Kind {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Disk, Self::Loop];

    /// Its name in rows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Loop => "loop",
        }
    }

    /// A place of `bytes`, of which `used` will be written.
    ///
    /// # Errors
    /// A sentence that says what is missing: space, permission, a folder on the right kind of
    /// file system.
    pub(crate) fn place(
        self,
        storage: &Storage,
        bytes: u64,
        used: u64,
    ) -> Result<Arc<Place>, String> {
        let folder = match self {
            Self::Disk => &storage.dir,
            Self::Loop => &storage.memory_dir,
        };
        let in_folder = |error: io::Error| format!("{}: {error}", folder.display());
        self.check(folder, used)?;
        let file = nameless(folder, bytes).map_err(in_folder)?;
        let path = PathBuf::from(format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()));
        let (path, held) = match self {
            Self::Disk => (path, file),
            Self::Loop => attach(&path)?,
        };
        Ok(Arc::new(Place { path, bytes, data_bytes: AtomicU64::new(0), _held: held }))
    }

    fn check(self, folder: &Path, used: u64) -> Result<(), String> {
        let shown = folder.display();
        let failed = |error| format!("{shown}: {error}");
        let in_memory = rustix::fs::statfs(folder).map_err(failed)?.f_type == TMPFS_MAGIC;
        match self {
            Self::Disk if in_memory => {
                return Err(format!("{shown} is in memory; --dir names a folder on a disk"));
            }
            Self::Loop if !in_memory => {
                return Err(format!("{shown} is no tmpfs; --memory-dir names a folder on one"));
            }
            Self::Disk | Self::Loop => {}
        }
        let stat = rustix::fs::statvfs(folder).map_err(failed)?;
        let mut free = stat.f_bavail * stat.f_frsize;
        if self == Self::Loop {
            free = free.min(available_memory().unwrap_or(u64::MAX));
        }
        if free < used {
            return Err(format!("{shown}: {free} bytes are free, {used} needed; see --size"));
        }
        Ok(())
    }
}

impl Place {
    /// Bytes of random data in it; 0 until somebody has filled it.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.data_bytes.load(Ordering::Relaxed)
    }

    /// It holds `bytes` of data from now on.
    pub(crate) fn set_data_bytes(&self, bytes: u64) {
        self.data_bytes.store(bytes, Ordering::Relaxed);
    }
}

/// A sparse file in `folder` that goes when its last descriptor does. Its first sector is written:
/// glommio asks a file with data whether its device can be polled, and a nameless file has no
/// folder in which to put another one.
fn nameless(folder: &Path, bytes: u64) -> io::Result<File> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = folder.join(format!(".bench-store-{}-{number}", process::id()));
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&name)?;
    fs::remove_file(&name)?;
    file.write_all(&[0; 4096])?;
    file.set_len(bytes)?;
    file.sync_all()?;
    Ok(file)
}

/// A loop device over `file`, open and detached.
fn attach(file: &Path) -> Result<(PathBuf, File), String> {
    let attach = |options: &[&str]| {
        losetup(&[options, &["--find", "--show"]].concat(), file).map(PathBuf::from)
    };
    // Without a page cache between the device and its file; before Linux 6.6 tmpfs has no direct
    // I/O, and is its own page cache anyway.
    let device = attach(&["--direct-io=on"]).or_else(|_| attach(&[]))?;
    let opened = OpenOptions::new().read(true).write(true).open(&device);
    losetup(&["--detach"], &device)?;
    let held = opened.map_err(|error| format!("{}: {error}", device.display()))?;
    Ok((device, held))
}

fn losetup(options: &[&str], path: &Path) -> Result<String, String> {
    let output = Command::new("losetup").args(options).arg(path).output();
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            "losetup is not installed; the Debian package is `mount`".to_owned()
        }
        _ => format!("losetup: {error}"),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{said} (a loop device needs root)"))
}

/// Bytes of memory that can be had without swapping.
fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
