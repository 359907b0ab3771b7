//! Opening files for glommio without falling into its probe for polled I/O.
//!
//! At the first open on each file system, glommio reads 512 bytes at offset 0 through a polling
//! ring and keeps the verdict for its thread. Where the device cannot be polled, the kernel says
//! so only if the read reaches the driver; an empty file or a hole at offset 0 answers without
//! it, glommio concludes that the device can be polled, and every later read on that file system
//! fails with EOPNOTSUPP. So the first file that glommio opens on a file system here has a sector
//! of data on the device: the file itself, or a nameless one beside it.
//!
//! glommio opens by path; it is given the path of our own descriptor in /proc, so that both mean
//! the same file whatever happens to its name.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use ::glommio::io::{DmaFile, OpenOptions as GlommioOptions};
use rustix::fs::{self as rfs, AtFlags, Mode, OFlags};

use super::core_state::Core;
use super::plain;
use crate::file::FileKind;
use crate::system::disk::{self, Opened, TMPFS_MAGIC};

/// Opens what `opened` holds once more, through glommio.
pub(super) async fn open(
    core: &Rc<Core>,
    opened: &Arc<Opened>,
    path: &Path,
    write: bool,
) -> io::Result<DmaFile> {
    let in_memory = rfs::fstatfs(&opened.descriptor)?.f_type == TMPFS_MAGIC;
    match opened.geometry.kind {
        // glommio takes a node on devtmpfs for a file in memory: it never polls and leaves
        // O_DIRECT to us. Elsewhere it would judge the disk that holds the node.
        FileKind::Block if !in_memory => {
            let message = "the device node must lie in /dev (on devtmpfs or tmpfs)";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        FileKind::Regular if !in_memory => judge(core, opened, path).await?,
        FileKind::Block | FileKind::Regular => {}
    }
    open_descriptor(&opened.descriptor, write).await
}

async fn open_descriptor(descriptor: &OwnedFd, write: bool) -> io::Result<DmaFile> {
    let direct = rfs::fcntl_getfl(descriptor)?.contains(OFlags::DIRECT);
    GlommioOptions::new()
        .read(true)
        .write(write)
        .custom_flags(if direct { libc::O_DIRECT } else { 0 })
        .dma_open(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
        .await
        .map_err(plain)
}

/// Sees to it that glommio's verdict on the file system comes from a file with data.
async fn judge(core: &Rc<Core>, opened: &Arc<Opened>, path: &Path) -> io::Result<()> {
    if !is_probed(opened.file_system)? || core.judged.borrow().contains(&opened.file_system) {
        return Ok(());
    }
    let theirs = opened.clone();
    let has_data = core.blocking.run(move || disk::has_first_sector(theirs.descriptor.as_fd()));
    if !has_data.await? {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let probe = core.blocking.run(move || probe_file(&folder)).await.map_err(|error| {
            let message = format!(
                "the file has no data yet and no probe for polled I/O can be put beside it: {error}"
            );
            io::Error::new(error.kind(), message)
        })?;
        open_descriptor(&probe, false).await?.close().await.map_err(plain)?;
    }
    core.judged.borrow_mut().insert(opened.file_system);
    Ok(())
}

/// Whether glommio would probe a file on `file_system` at all.
///
/// # Errors
/// When it would panic there: it looks for the queue of minor 0, which may be a partition.
fn is_probed(file_system: u64) -> io::Result<bool> {
    let major = rfs::major(file_system);
    let device = PathBuf::from(format!("/sys/dev/block/{major}:0"));
    if !device.exists() {
        return Ok(false);
    }
    if device.join("queue").exists() {
        return Ok(true);
    }
    let message = format!("block device {major}:0 has no queue in sysfs, which glommio relies on");
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}

/// A file in `folder` without a name, with a sector of data on the device.
fn probe_file(folder: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = match rfs::open(folder, flags | OFlags::TMPFILE, mode) {
        Ok(file) => file,
        // The file system has no nameless files: one that loses its name at once.
        Err(rustix::io::Errno::OPNOTSUPP) => {
            let name = folder.join(format!(".emberfs-probe-{}", std::process::id()));
            let file = rfs::open(&name, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
            rfs::unlinkat(rfs::CWD, &name, AtFlags::empty())?;
            file
        }
        Err(errno) => return Err(errno.into()),
    };
    let data = [0x5A_u8; 4096];
    let written = rustix::io::pwrite(&file, &data, 0)?;
    if written < data.len() {
        return Err(io::ErrorKind::StorageFull.into());
    }
    rfs::fdatasync(&file)?;
    Ok(file)
}
