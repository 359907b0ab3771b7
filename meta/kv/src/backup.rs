//! Backup and restore of a whole store, while it runs (M12, R20).
//!
//! A backup is the keys of one snapshot in our own format, so that it outlives the engine:
//!
//! ```text
//!   header   magic 8 · format u32 · 0 u32 · store u128 · version u64 · restores u64 · created u64
//!            · 0 u32 · CRC u32                                                        64 bytes
//!   block    kind 1 u32 · number u32 · entries u32 · bytes u32 · CRC u32, then the entries:
//!            key bytes u32 · key · value bytes u32 · value                up to 1 MiB of them
//!   footer   kind 2 u32 · number u32 · 0 u32 · 28 u32 · CRC u32, then
//!            keys u64 · bytes of entries u64 · blocks u64 · CRC of all entries u32
//! ```
//!
//! Numbers are little-endian; a CRC is CRC32C of everything before it and behind it in its part.
//! Keys rise through the whole file. Without its footer a backup is not one.
//!
//! Invariants
//!   E220 what a backup yields is exactly one snapshot: a file with any byte changed, missing or
//!        added is refused, with the offset
//!   E221 no file makes the decoder panic, or take more memory than a block
//!   E222 a directory opens only when its backup was read to the footer and is durable (E213)
//!   E223 a restored store has a version above all of the lost one ([`RESTORE_JUMP`]), with room
//!        for as much again, and counts its restores, so that the cluster can lift what else must
//!        not go back (R20)

mod format;
mod reader;
mod writer;

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use engine_types::WallTime;

use crate::engine::directory::{Directory, OpenError, RESTORE_FILE, io_error};
use crate::engine::file::FileDevice;
use crate::engine::redb::{Beginning, Birth, Identity, Loader, RESTORE_JUMP};
use crate::engine::{EngineError, EngineSnapshot};
pub use format::{BLOCK_BYTES_MAX, FORMAT_VERSION};
use reader::Reader;
pub use writer::{PIECE_BYTES_MAX, Pieces};

/// What a backup is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Names the store.
    pub store: u128,
    /// When it was created.
    pub created: WallTime,
    /// How often it had been restored.
    pub restores: u64,
    /// Version of the snapshot.
    pub version: u64,
}

impl Origin {
    /// The store of `identity` at `version`.
    pub fn new(identity: Identity, version: u64) -> Self {
        let Identity { store, created, restores, .. } = identity;
        Self { store, created, restores, version }
    }
}

/// How far a backup or restore is; at its end, what it held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Keys so far.
    pub keys: u64,
    /// Bytes of the file so far.
    pub bytes: u64,
}

/// A whole backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// What it is of.
    pub origin: Origin,
    /// What it holds.
    pub size: Progress,
}

/// Why a backup was not written, is not one, or was not restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The snapshot could not be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The directory of the restore, or the store in it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file could not be written.
    #[error("cannot write the backup at offset {offset}: {reason}")]
    Write {
        /// Bytes written before.
        offset: u64,
        /// What the system said.
        reason: String,
    },
    /// The file could not be read.
    #[error("cannot read the backup at offset {offset}: {reason}")]
    Read {
        /// Bytes read before.
        offset: u64,
        /// What the system said.
        reason: String,
    },
    /// It is no backup of ours.
    #[error("not a backup: it begins with \"{}\", not \"{}\"", found.escape_ascii(),
        expected.escape_ascii())]
    Foreign {
        /// Its first bytes.
        found: [u8; 8],
        /// Those of a backup.
        expected: [u8; 8],
    },
    /// A later version of this program wrote it.
    #[error("the backup has format version {found}, this program knows up to {known}")]
    Newer {
        /// Its version.
        found: u64,
        /// The newest known.
        known: u64,
    },
    /// It ends too early.
    #[error("the backup is cut: at offset {offset} are {found} bytes, not {expected}")]
    Cut {
        /// Where a part begins.
        offset: u64,
        /// Its length.
        expected: u64,
        /// What is left of it.
        found: u64,
    },
    /// Two things that must agree do not.
    #[error("the backup is damaged at offset {offset}: {what} is {found}, not {expected}")]
    Damaged {
        /// Where the part begins.
        offset: u64,
        /// What was compared.
        what: &'static str,
        /// What should be there.
        expected: u64,
        /// What is there.
        found: u64,
    },
}

/// Writes all keys of `snapshot` to `writer`, which it flushes; making the file durable is the
/// caller's. `progress` is called after every block.
///
/// # Errors
/// Of the snapshot and of the writer. What was written then has no footer, and is no backup.
pub fn backup<S: EngineSnapshot>(
    snapshot: &S,
    origin: Origin,
    writer: impl Write,
    progress: impl FnMut(Progress),
) -> Result<Summary, BackupError> {
    let size = writer::write(snapshot, origin, writer, progress)?;
    Ok(Summary { origin, size })
}

/// Reads a backup to its end and checks everything (E220). `progress` is called after every block.
///
/// # Errors
/// For anything but a whole backup and nothing behind it.
pub fn verify(
    reader: impl Read,
    mut progress: impl FnMut(Progress),
) -> Result<Summary, BackupError> {
    let mut reader = Reader::new(reader)?;
    while reader.next()?.is_some() {
        progress(reader.progress());
    }
    Ok(Summary { origin: reader.origin(), size: reader.progress() })
}

/// Makes a store in `directory` (missing, empty, or with an interrupted restore) of a backup. Open
/// it afterwards.
///
/// # Errors
/// For anything but a whole backup, a directory that holds something, and the system's. Then there
/// is no store (E222).
pub fn restore(
    reader: impl Read,
    directory: &Path,
    progress: impl FnMut(Progress),
) -> Result<Summary, BackupError> {
    // First, so that a file that is no backup leaves no directory behind.
    let reader = Reader::new(reader)?;
    let directory = Directory::prepare(directory)?;
    let result = load(reader, &directory, progress);
    match &result {
        Ok(_) => directory.publish(RESTORE_FILE)?,
        // It could not be opened, and takes space; the next attempt would remove it too.
        Err(_) => drop(std::fs::remove_file(directory.file(RESTORE_FILE))),
    }
    result
}

fn load<R: Read>(
    mut reader: Reader<R>,
    directory: &Directory,
    mut progress: impl FnMut(Progress),
) -> Result<Summary, BackupError> {
    let path = directory.file(RESTORE_FILE);
    let device = FileDevice::create(&path).map_err(|error| io_error(&path, &error))?;
    let mut loader = Loader::new(Arc::new(device))?;
    while let Some(block) = reader.next()? {
        loader.put(&block.entries())?;
        progress(reader.progress());
    }
    let origin = reader.origin();
    let beyond = |what: &'static str, found: u64, expected: u64| BackupError::Damaged {
        offset: 0,
        what,
        expected,
        found,
    };
    // With room for all that the restored store may do until it is lost (E223).
    const LAST: u64 = u64::MAX - 2 * RESTORE_JUMP;
    let version = (origin.version <= LAST).then(|| origin.version + RESTORE_JUMP);
    let restores = origin.restores.checked_add(1);
    loader.finish(Beginning {
        birth: Birth { store: origin.store, created: origin.created },
        version: version.ok_or_else(|| beyond("the version", origin.version, LAST))?,
        starts: 0,
        restores: restores.ok_or_else(|| beyond("the number of restores", origin.restores, 0))?,
    })?;
    Ok(Summary { origin, size: reader.progress() })
}

#[cfg(test)]
mod tests;
