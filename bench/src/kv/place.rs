//! Stores that are filled and go with the process, and what their files were asked to do.
//!
//! The file of redb has no name, so that the kernel takes it back however the process ends. fjall
//! needs a folder: it is removed unless the process is killed.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use engine_types::WallTime;
use meta_kv::KvEngine;
use meta_kv::engine::file::FileDevice;
use meta_kv::engine::redb::{Birth, RedbEngine, RedbOptions};
use meta_kv::engine::seam::{Event, Trace};

use super::keys;

/// Bytes of disk per key: redb takes 110 after filling in order, up to 400 once it was written
/// everywhere, and more while kept snapshots hold copies of pages.
const DISK_BYTES_PER_KEY: u64 = 600;
/// `f_type` of tmpfs.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

const BIRTH: Birth = Birth { store: 0xbe_4c4b, created: WallTime::from_nanos(0) };

/// What an engine asked of its file, and whether its batches were flushed in time.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Whether the engine tells.
    told: AtomicBool,
    unflushed: AtomicBool,
    early: AtomicBool,
    durable: AtomicU64,
    flushes: AtomicU64,
}

impl Watch {
    pub(crate) fn trace(self: &Arc<Self>) -> Trace {
        let watch = Arc::clone(self);
        watch.told.store(true, Ordering::SeqCst);
        Trace::new(move |event| watch.see(event))
    }

    pub(crate) fn see(&self, event: Event) {
        match event {
            Event::Write { .. } => self.unflushed.store(true, Ordering::SeqCst),
            // What is written while the flush runs is not covered by it.
            Event::SyncBegin => self.unflushed.store(false, Ordering::SeqCst),
            Event::SyncEnd => drop(self.flushes.fetch_add(1, Ordering::SeqCst)),
            Event::SetLen { .. } => {}
            Event::Applied { version } => {
                if self.unflushed.load(Ordering::SeqCst) {
                    self.early.store(true, Ordering::SeqCst);
                }
                self.durable.store(version, Ordering::SeqCst);
            }
        }
    }

    /// Flushes so far, where the engine tells.
    pub(crate) fn flushes(&self) -> Option<u64> {
        self.told.load(Ordering::SeqCst).then(|| self.flushes.load(Ordering::SeqCst))
    }

    /// A commit of `version` was acknowledged just now: its flush has to be over (E202).
    pub(crate) fn acknowledged(&self, version: u64) -> Result<(), String> {
        if !self.told.load(Ordering::SeqCst) {
            return Ok(());
        }
        if self.early.load(Ordering::SeqCst) {
            return Err("a batch ended before what it wrote was flushed".to_owned());
        }
        let durable = self.durable.load(Ordering::SeqCst);
        if durable < version {
            return Err(format!("acknowledged at version {version}, flushed to {durable}"));
        }
        Ok(())
    }
}

/// What keeps the data of a store on the disk.
pub(crate) enum Held {
    /// A file without a name.
    File(File),
    /// A folder, removed with this value.
    #[cfg(feature = "fjall")]
    Folder(PathBuf),
}

impl Drop for Held {
    fn drop(&mut self) {
        #[cfg(feature = "fjall")]
        if let Self::Folder(path) = self
            && let Err(error) = fs::remove_dir_all(&*path)
        {
            eprintln!("bench: {} stays: {error}", path.display());
        }
    }
}

impl Held {
    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&File> {
        match self {
            Self::File(file) => Some(file),
            #[cfg(feature = "fjall")]
            Self::Folder(_) => None,
        }
    }
}

/// An engine that this suite can start in a folder.
pub(crate) trait Opened: KvEngine + Sized {
    /// An empty one.
    fn create(folder: &Path, watch: &Arc<Watch>) -> Result<(Self, Held), String>;
}

impl Opened for RedbEngine {
    fn create(folder: &Path, watch: &Arc<Watch>) -> Result<(Self, Held), String> {
        let failed = |error: io::Error| format!("{}: {error}", folder.display());
        let file = nameless(folder).map_err(failed)?;
        let path = path_of(&file);
        let device = || FileDevice::open(&path).map(Arc::new).map_err(failed);
        Self::create_on(device()?, BIRTH).map_err(|error| error.to_string())?;
        let options = RedbOptions { trace: Some(watch.trace()), ..RedbOptions::default() };
        let engine = Self::open_on(device()?, options).map_err(|error| error.to_string())?;
        Ok((engine, Held::File(file)))
    }
}

#[cfg(feature = "fjall")]
impl Opened for meta_kv::engine::fjall::FjallEngine {
    fn create(folder: &Path, _: &Arc<Watch>) -> Result<(Self, Held), String> {
        let path = folder.join(fresh_name());
        let held = Held::Folder(path.clone());
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok((Self::open(&path).map_err(|error| error.to_string())?, held))
    }
}

/// A filled store. The engine goes before its data.
pub(crate) struct Store<G> {
    pub(crate) engine: Arc<G>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) held: Held,
}

impl<G: Opened> Store<G> {
    /// One of `keys` in `folder`.
    ///
    /// # Errors
    /// No room, or what the engine says.
    pub(crate) fn filled(folder: &Path, keys: u64) -> Result<Self, String> {
        check(folder, keys * DISK_BYTES_PER_KEY)?;
        let watch = Arc::new(Watch::default());
        let (engine, held) = G::create(folder, &watch)?;
        for batch in keys::fill(keys, engine.version() + 1) {
            engine.apply(&batch).map_err(|error| error.to_string())?;
        }
        Ok(Self { engine: Arc::new(engine), watch, held })
    }
}

fn check(folder: &Path, needed: u64) -> Result<(), String> {
    let shown = folder.display();
    let failed = |error| format!("{shown}: {error}");
    if rustix::fs::statfs(folder).map_err(failed)?.f_type == TMPFS_MAGIC {
        eprintln!("bench: {shown} is in memory: flushes cost nothing there");
    }
    let stat = rustix::fs::statvfs(folder).map_err(failed)?;
    let free = stat.f_bavail * stat.f_frsize;
    if free < needed {
        return Err(format!("{shown}: {free} bytes are free, {needed} needed; see --keys"));
    }
    Ok(())
}

fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(".bench-kv-{}-{number}", process::id())
}

/// An empty file in `folder` that goes when its last descriptor does.
pub(crate) fn nameless(folder: &Path) -> io::Result<File> {
    let name = folder.join(fresh_name());
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&name)?;
    fs::remove_file(&name)?;
    Ok(file)
}

/// Where this process and its children reach an open file.
pub(crate) fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()))
}

/// Bytes that this process read from disks and wrote to them; pages that were in memory do not
/// count.
pub(crate) fn disk_bytes() -> io::Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/self/io")?;
    let count = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.strip_prefix(": ")?.parse().ok())
    };
    let missing = || io::Error::other("/proc/self/io does not count bytes");
    Ok((count("read_bytes").ok_or_else(missing)?, count("write_bytes").ok_or_else(missing)?))
}
