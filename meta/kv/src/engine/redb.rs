//! The engine that ships: redb, a copy-on-write B-tree in one file.
//!
//! ```text
//!   apply   write transaction: mutations in order, then the version
//!             -> space for what the file grew by (E211) -> commit, flushed twice
//!   tables  data: key -> value      meta: name -> number
//! ```
//!
//! Every commit records which pages are free and is flushed in two phases ("quick repair"), so
//! that opening after a crash reads a few pages; without it redb walks the whole tree. Any commit
//! without the record drops it, so "every nth commit" gains nothing. Measured with redb 4.5 on two
//! shared cores, 5 million keys of 24 + 64 bytes (2 GB), opened after `kill -9` inside a commit:
//!
//! ```text
//!                             file cached    not cached
//!   quick repair (ships)      1 to 19 ms     4 to 15 ms
//!   plain                     1.3 to 1.6 s   7.0 s
//!   quick every 16th commit   1.1 s          -
//! ```
//!
//! Its price is a second flush and some pages: over seven alternating pairs of runs (400,000 keys,
//! 192 writes a commit, four pairs with scattered keys, three with new files) it made 0.58 to 1.15,
//! on average 0.77, of the plain rate. A plain start would take longer than the 5 s that it may as
//! soon as the file is not cached.
//!
//! The rate of commits is that of the disk: each group rewrites the leaves that it touches, 192 for
//! 3 random keys in each of 64 transactions, and they are scattered. The shipped mode, durable
//! transactions of 3 keys in groups of 64, where the disk does 170 to 200 flushes a second with 130
//! scattered pages each (5,500 to 6,400 with one), and in memory (`/dev/shm`), where only the
//! processor counts. Single runs of 5 s; the disk is shared, and gave half as much at other times:
//!
//! ```text
//!                                     400,000 keys           5 million keys
//!                                     disk      memory       disk      memory
//!   3 random keys                     11,000    32,500        6,000    17,900
//!   3 neighbours at a random place    13,400    65,900       14,800    43,500
//!   new inode, dirent, session         6,800    36,700        8,800    34,300
//! ```
//!
//! Invariants
//!   E214 mutations and version of a batch are one write transaction (E203), applied in order
//!   E215 after "full" nothing of the batch is there: either the transaction was dropped before
//!        its commit, or the file was opened again and its version is still the former one; then
//!        snapshots from before answer errors, and the caller takes a new one after every "full"
//!   E216 a start raises the stored version by [`START_JUMP`] before anything is served, and no
//!        version that high above the stored one is answered "full": so all that was told of an
//!        earlier start, stored or not, is below all of this one (M10)
//!   E217 no content of the file makes the engine panic, nor yields keys and values that no batch
//!        can have stored (too long, outside the range that was read, out of order): a panic of
//!        redb is caught here, either is an error "damaged", and ends the engine
//!
//! A full disk: redb refuses all work after a failed operation, so the file grows without space
//! first, and the space is claimed before the commit; if there is none the transaction is dropped
//! and the file cut back. Only growth inside the commit itself can fail later. Then the file is
//! opened again, as after a crash, and its version says whether the batch is there.

mod birth;
mod guard;
mod load;
mod snapshot;
mod write;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use ::redb::{Database, TableDefinition};
use engine_types::{WallTime, reached};

use crate::engine::directory::{CREATE_FILE, Directory, OpenError, io_error};
use crate::engine::file::{Device, FileDevice};
use crate::engine::seam::{Event, Failure, Seam, Trace};
use crate::engine::{Batch, EngineError, KvEngine};
pub(crate) use birth::Beginning;
use guard::{Trouble, guarded};
pub(crate) use load::Loader;
pub use snapshot::RedbSnapshot;

const DATA: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("data");
const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");

/// Version of the tables and what is in them.
pub const FORMAT_VERSION: u64 = 1;

/// What a start adds to the version. Versions count groups of commits, one at a time. Told to
/// others and yet not stored are only those of groups that found the disk full, since the last one
/// that was stored: at 1,000 a second, 2^24 of them take more than four hours of nothing else, and
/// the engine ends then (E216). A start each second uses up 2^64 versions in 34,000 years.
pub const START_JUMP: u64 = 1 << 24;

/// What a restore adds to the version: above all that the lost store can have reached since the
/// backup. A start each second and 1,000 groups a second reach 2^56 after 136 years, 1,000 groups a
/// second alone after two million. Of the 2^64 versions there is room for 254 restores, each of a
/// backup of what the one before it made; one that would leave less than this is refused.
pub const RESTORE_JUMP: u64 = 1 << 56;

/// How the answer of an engine begins that had failed before: nothing of the batch was written.
pub const REFUSED_BEFORE_WRITING: &str = "refused before writing: ";

/// Memory for pages when nobody says: the inner nodes of 100 million keys, and the leaves in use.
pub const CACHE_BYTES_DEFAULT: usize = 256 << 20;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct RedbOptions {
    /// Memory for pages. Half of it may be dirty pages of one batch.
    pub cache_bytes: usize,
    /// Verify the checksum of every page first: reads the whole file. redb does not verify what it
    /// reads later, so this is how a decayed disk is found.
    pub verify: bool,
    /// Receives what is done to the file; for tests.
    pub trace: Option<Trace>,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_bytes: CACHE_BYTES_DEFAULT, verify: false, trace: None }
    }
}

/// What a new store is told about itself: engines have no clock and no chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Names the store for life, and what is restored from it.
    pub store: u128,
    /// When it was created.
    pub created: WallTime,
}

/// What a store knows about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Names the store; a restored one keeps the name.
    pub store: u128,
    /// When it was first created.
    pub created: WallTime,
    /// How often it was opened, this time included.
    pub starts: u64,
    /// How often it was restored from a backup (R20).
    pub restores: u64,
}

/// A store in a file.
#[derive(Debug)]
pub struct RedbEngine {
    open: RwLock<Option<Open>>,
    device: Arc<dyn Device>,
    options: RedbOptions,
    identity: Identity,
    version: AtomicU64,
    failed: Arc<OnceLock<EngineError>>,
    /// Last, so that the directory is free when the file is closed.
    directory: Option<Directory>,
}

/// One opening of the file.
#[derive(Debug)]
struct Open {
    database: Database,
    seam: Seam,
}

impl RedbEngine {
    /// Creates an empty store in `directory`, which is missing, empty, or holds what an
    /// interrupted creation left. Open it afterwards.
    ///
    /// # Errors
    /// When anything else is in the directory, and the system's.
    pub fn create(directory: &Path, birth: Birth) -> Result<(), OpenError> {
        let directory = Directory::prepare(directory)?;
        let path = directory.file(CREATE_FILE);
        let device = FileDevice::create(&path).map_err(|error| io_error(&path, &error))?;
        Self::create_on(Arc::new(device), birth)?;
        directory.publish(CREATE_FILE)
    }

    /// Opens the store in `directory` and takes the directory for as long as it is open.
    ///
    /// # Errors
    /// When another process has it, and for anything that is not a whole store of a known format.
    pub fn open(directory: &Path, options: RedbOptions) -> Result<Self, OpenError> {
        let directory = Directory::take(directory)?;
        let path = directory.store()?;
        let device = FileDevice::open(&path).map_err(|error| io_error(&path, &error))?;
        let mut engine = Self::open_on(Arc::new(device), options)?;
        engine.directory = Some(directory);
        Ok(engine)
    }

    /// Creates an empty store on an empty device.
    ///
    /// # Errors
    /// The device's.
    pub fn create_on(device: Arc<dyn Device>, birth: Birth) -> Result<(), OpenError> {
        birth::create(&device, birth)
    }

    /// Opens the store on a device.
    ///
    /// # Errors
    /// For anything that is not a whole store of a known format.
    pub fn open_on(device: Arc<dyn Device>, options: RedbOptions) -> Result<Self, OpenError> {
        let open = birth::open(&device, &options)?;
        let (identity, version) = match birth::start(&open, &device) {
            Ok(started) => started,
            Err(error) => {
                close(open);
                return Err(error);
            }
        };
        Ok(Self {
            open: RwLock::new(Some(open)),
            device,
            options,
            identity,
            version: AtomicU64::new(version),
            failed: Arc::new(OnceLock::new()),
            directory: None,
        })
    }

    /// What the store knows about itself.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Why the engine refuses all calls, if it does.
    pub fn failure(&self) -> Option<EngineError> {
        self.failed.get().cloned()
    }

    fn check(&self) -> Result<(), EngineError> {
        match self.failed.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Ends the engine (E206, E217).
    fn fail(&self, error: EngineError) -> EngineError {
        if let Some(open) = &*self.open.read().unwrap_or_else(PoisonError::into_inner) {
            open.seam.cut();
        }
        self.failed.get_or_init(|| error).clone()
    }

    /// Writes `batch`, or says what it left.
    fn write(&self, batch: &Batch) -> Result<(), EngineError> {
        let (written, seam) = {
            // Shared with snapshots, which need not wait for the flush.
            let slot = self.open.read().unwrap_or_else(PoisonError::into_inner);
            let open = slot.as_ref().expect("open until it has failed");
            (guarded(|| write::apply(open, batch)), open.seam.clone())
        };
        match (written, seam.failure()) {
            (Err(Trouble::Failed(_)), Some(Failure::Full(reason))) => {
                self.reopen(reason, batch.version)
            }
            (written, _) => written.map_err(|trouble| trouble.explained(&seam)),
        }
    }

    /// Opens the file again after it was full inside a commit, and says whether `batch` is there.
    /// Snapshots of the former opening read nothing from the device any more.
    fn reopen(&self, reason: String, batch: u64) -> Result<(), EngineError> {
        reached!("E215: the disk was full inside a commit");
        let mut slot = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = slot.take() {
            open.seam.cut();
            close(open);
        }
        let failed =
            |error: OpenError| EngineError::Io { reason: format!("{reason}; then {error}") };
        let open = birth::open(&self.device, &self.options).map_err(failed)?;
        let version = birth::version(&open);
        let found = version.map_err(|trouble| trouble.explained(&open.seam));
        *slot = Some(open);
        let found = found?;
        if found == batch {
            return Ok(());
        }
        let expected = self.version.load(Ordering::SeqCst);
        if found != expected {
            let found = format!("{reason}; then version {found} was found, not {expected}");
            return Err(EngineError::Damaged { reason: found });
        }
        Err(EngineError::Full { reason })
    }
}

/// Drops a database; closing writes, and could panic on a damaged one (E217).
fn close(open: Open) {
    let _ = guarded(|| {
        drop(open.database);
        Ok(())
    });
}

impl Drop for RedbEngine {
    fn drop(&mut self) {
        // For the snapshots that are left.
        let reason = format!("{}: the store was closed", self.device.name());
        self.failed.get_or_init(|| EngineError::Io { reason });
        let slot = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = slot.take() {
            close(open);
        }
        self.directory = None;
    }
}

impl KvEngine for RedbEngine {
    type Snapshot = RedbSnapshot;

    const BLOCKS: bool = true;

    fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    fn snapshot(&self) -> Result<RedbSnapshot, EngineError> {
        self.check()?;
        let slot = self.open.read().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(open) => RedbSnapshot::of(open, Arc::clone(&self.failed)),
            // It failed to open again, and is about to say so.
            None => Err(EngineError::Io { reason: format!("{}: closed", self.device.name()) }),
        }
    }

    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        if let Err(error) = self.check() {
            return Err(EngineError::Io { reason: format!("{REFUSED_BEFORE_WRITING}{error}") });
        }
        let former = self.version();
        let version = batch.version;
        assert!(former < version, "E201: {version} follows {former}");
        match self.write(batch) {
            Ok(()) => {
                self.version.store(version, Ordering::SeqCst);
                if let Some(trace) = &self.options.trace {
                    trace.emit(Event::Applied { version });
                }
                Ok(())
            }
            Err(EngineError::Full { reason }) if START_JUMP <= version - former => {
                reached!("E216: too many groups found the disk full");
                let far = format!("{reason}; {version} is too far above {former} (E216)");
                Err(self.fail(EngineError::Io { reason: far }))
            }
            Err(full @ EngineError::Full { .. }) => Err(full),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn failed(&self) -> bool {
        self.failed.get().is_some()
    }
}

#[cfg(test)]
mod tests;
