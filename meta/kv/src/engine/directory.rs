//! The directory of a store: one owner, created whole or not at all.
//!
//! ```text
//!   lock           held for life by the process whose id is in it
//!   kv.redb        the store; its name appears when it is complete
//!   kv.redb.new    a creation that was interrupted; the next one begins again
//!   restore.tmp    a restore that was interrupted; the next one begins again
//! ```
//!
//! Invariants
//!   E212 one process has a directory at a time, and a second one is told which (M10)
//!   E213 `kv.redb` is there only once it is complete and durable: a crash inside a creation or a
//!        restore leaves what the next one recognises as its own and repeats

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// The store inside its directory.
pub const STORE_FILE: &str = "kv.redb";
/// A store that is being created.
pub const CREATE_FILE: &str = "kv.redb.new";
/// A store that is being restored.
pub const RESTORE_FILE: &str = "restore.tmp";
/// The lock.
pub const LOCK_FILE: &str = "lock";

/// Bytes of a process id in decimal, and to spare.
const PID_BYTES_MAX: u64 = 32;

/// Why a store could not be opened, created or restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by process {holder}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Its process id, or what else is known.
        holder: String,
    },
    /// There is no store.
    #[error("{} holds no store: create or restore one", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// A creation or restore was interrupted.
    #[error("{} was never completed: create or restore it again", path.display())]
    Unfinished {
        /// The file it left.
        path: PathBuf,
    },
    /// Something is there already.
    #[error("{} is not empty: it holds {found:?}", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// A name in it.
        found: String,
    },
    /// Not a store of ours.
    #[error("{path} is not a store: {reason}")]
    Foreign {
        /// The file.
        path: String,
        /// What was found.
        reason: String,
    },
    /// Written by a later version of this program.
    #[error("{path} has format version {found}, this program knows up to {known}")]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        found: u64,
        /// The newest known.
        known: u64,
    },
    /// What is stored does not make sense.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What was found.
        reason: String,
    },
    /// The system refused.
    #[error("{path}: {reason}")]
    Io {
        /// The file or directory.
        path: String,
        /// What it said.
        reason: String,
    },
}

/// An error of the system at `path`.
pub(crate) fn io_error(path: &Path, error: &io::Error) -> OpenError {
    OpenError::Io { path: path.display().to_string(), reason: error.to_string() }
}

/// A directory that belongs to this process until it is dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The lock goes with the descriptor (E212).
    _lock: File,
}

impl Directory {
    /// Takes an existing directory.
    ///
    /// # Errors
    /// Locked, or the system's.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        if !path.is_dir() {
            return Err(OpenError::Missing { path: path.to_path_buf() });
        }
        let lock_path = path.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(&lock_path).map_err(|error| io_error(&lock_path, &error))?;
        let exclusive = FlockOperation::NonBlockingLockExclusive;
        match rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, exclusive)) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = (&lock).take(PID_BYTES_MAX).read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "unknown".to_owned(),
                    pid => pid.to_owned(),
                };
                return Err(OpenError::Locked { path: path.to_path_buf(), holder });
            }
            Err(error) => return Err(io_error(&lock_path, &error.into())),
        }
        let named = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        named.map_err(|error| io_error(&lock_path, &error))?;
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// Takes a directory for a new store: made if it is missing, else empty but for what an
    /// interrupted creation or restore left, which is removed (E213).
    ///
    /// # Errors
    /// Not empty, locked, or the system's.
    pub fn prepare(path: &Path) -> Result<Self, OpenError> {
        make(path, sync_directory)?;
        // Before the lock file is made: a foreign directory stays as it is.
        check_empty(path)?;
        let directory = Self::take(path)?;
        check_empty(path)?;
        for name in [CREATE_FILE, RESTORE_FILE] {
            match fs::remove_file(path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error(&path.join(name), &error));
                }
                _ => {}
            }
        }
        Ok(directory)
    }

    /// Path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Path of the store.
    ///
    /// # Errors
    /// When there is none.
    pub fn store(&self) -> Result<PathBuf, OpenError> {
        let path = self.file(STORE_FILE);
        if path.exists() {
            return Ok(path);
        }
        for unfinished in [CREATE_FILE, RESTORE_FILE].map(|name| self.file(name)) {
            if unfinished.exists() {
                return Err(OpenError::Unfinished { path: unfinished });
            }
        }
        Err(OpenError::Missing { path: self.path.clone() })
    }

    /// Gives the file `name`, complete and durable, the name of the store (E213).
    ///
    /// # Errors
    /// The system's.
    pub fn publish(&self, name: &str) -> Result<(), OpenError> {
        let from = self.file(name);
        let flushed = File::open(&from).and_then(|file| file.sync_all());
        flushed.map_err(|error| io_error(&from, &error))?;
        fs::rename(&from, self.file(STORE_FILE)).map_err(|error| io_error(&from, &error))?;
        sync_directory(&self.path)
    }
}

/// Makes the directory `path` and what is missing on the way to it, each durable before the next.
fn make(
    path: &Path,
    mut flush: impl FnMut(&Path) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.is_dir();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    if missing.is_empty() {
        return flush(holder(path));
    }
    if let Some(there) = path.ancestors().nth(missing.len()) {
        // An interrupted attempt may have made it last. It may as well have been there for years,
        // in a directory that this process may not read.
        let _ = flush(holder(there));
    }
    for directory in missing.into_iter().rev() {
        match fs::DirBuilder::new().mode(0o700).create(directory) {
            Err(_) if directory.is_dir() => {} // by another process, or it is a name with `..`
            made => made.map_err(|error| io_error(directory, &error))?,
        }
        flush(holder(directory))?;
    }
    Ok(())
}

/// The directory that holds the name of `path`.
fn holder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path, // the root, or here
    }
}

/// Names are durable only when their directory is.
fn sync_directory(path: &Path) -> Result<(), OpenError> {
    let flushed = File::open(path).and_then(|directory| directory.sync_all());
    flushed.map_err(|error| io_error(path, &error))
}

fn check_empty(path: &Path) -> Result<(), OpenError> {
    let entries = fs::read_dir(path).map_err(|error| io_error(path, &error))?;
    for entry in entries {
        let name = entry.map_err(|error| io_error(path, &error))?.file_name();
        let ours = [LOCK_FILE, CREATE_FILE, RESTORE_FILE].iter().any(|own| name == *own);
        if !ours {
            let found = name.to_string_lossy().into_owned();
            return Err(OpenError::NotEmpty { path: path.to_path_buf(), found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
