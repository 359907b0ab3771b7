//! Creation and opening: what is in the file before anything is served.

use std::sync::Arc;

use ::redb::{Database, DatabaseError, ReadableTable, StorageError, Table, WriteTransaction};
use engine_types::WallTime;

use super::guard::{Trouble, guarded};
use super::write::{self, VERSION};
use super::{Birth, DATA, FORMAT_VERSION, Identity, META, Open, RedbOptions, START_JUMP};
use crate::engine::directory::OpenError;
use crate::engine::file::Device;
use crate::engine::seam::Seam;

/// How every file of redb begins.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

const FORMAT: &str = "format";
const STORE_HIGH: &str = "store-high";
const STORE_LOW: &str = "store-low";
const CREATED: &str = "created";
const STARTS: &str = "starts";
const RESTORES: &str = "restores";

type Meta<'a> = Table<'a, &'static str, u64>;

/// What a store begins with: nothing for a new one, a history for a restored one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    pub(crate) birth: Birth,
    pub(crate) version: u64,
    pub(crate) starts: u64,
    pub(crate) restores: u64,
}

pub(super) fn create(device: &Arc<dyn Device>, birth: Birth) -> Result<(), OpenError> {
    let open = open_empty(device, &RedbOptions::default())?;
    let beginning = Beginning { birth, version: 0, starts: 0, restores: 0 };
    let written = guarded(|| {
        let transaction = write::begin(&open)?;
        begin_store(&transaction, beginning)?;
        transaction.open_table(DATA)?;
        Ok(transaction.commit()?)
    });
    let result = written.map_err(|trouble| told(trouble, &open.seam, device));
    super::close(open);
    result
}

/// Writes the table `meta` of a new store.
pub(crate) fn begin_store(
    transaction: &WriteTransaction,
    beginning: Beginning,
) -> Result<(), Trouble> {
    let mut meta = transaction.open_table(META)?;
    let (high, low) = halves(beginning.birth.store);
    meta.insert(FORMAT, FORMAT_VERSION)?;
    meta.insert(STORE_HIGH, high)?;
    meta.insert(STORE_LOW, low)?;
    meta.insert(CREATED, beginning.birth.created.nanos())?;
    meta.insert(STARTS, beginning.starts)?;
    meta.insert(RESTORES, beginning.restores)?;
    meta.insert(VERSION, beginning.version)?;
    Ok(())
}

fn halves(id: u128) -> (u64, u64) {
    let half = |shift: u32| u64::try_from(id >> shift & u128::from(u64::MAX));
    (half(64).expect("masked"), half(0).expect("masked"))
}

/// Opens redb on an empty device.
pub(super) fn open_empty(
    device: &Arc<dyn Device>,
    options: &RedbOptions,
) -> Result<Open, OpenError> {
    match device.is_empty() {
        Ok(true) => open_any(device, options),
        Ok(false) => Err(foreign(device, "something is in it already")),
        Err(error) => Err(OpenError::Io { path: device.name(), reason: error.to_string() }),
    }
}

/// Opens redb on a device that holds a store.
pub(super) fn open(device: &Arc<dyn Device>, options: &RedbOptions) -> Result<Open, OpenError> {
    let refused =
        |error: std::io::Error| OpenError::Io { path: device.name(), reason: error.to_string() };
    if device.len().map_err(refused)? < MAGIC.len() as u64 {
        return Err(foreign(device, "it is shorter than any store"));
    }
    let mut magic = [0; MAGIC.len()];
    device.read(0, &mut magic).map_err(refused)?;
    if magic != MAGIC {
        let (found, expected) = (magic.escape_ascii(), MAGIC.escape_ascii());
        return Err(foreign(device, &format!("it begins with {found}, not {expected}")));
    }
    open_any(device, options)
}

fn foreign(device: &Arc<dyn Device>, reason: &str) -> OpenError {
    OpenError::Foreign { path: device.name(), reason: reason.to_owned() }
}

fn open_any(device: &Arc<dyn Device>, options: &RedbOptions) -> Result<Open, OpenError> {
    let path = device.name();
    let seam = Seam::new(Arc::clone(device), options.trace.clone())
        .map_err(|error| OpenError::Io { path: path.clone(), reason: error.to_string() })?;
    let mut newer = None;
    let opened = guarded(|| {
        let mut builder = Database::builder();
        builder.set_cache_size(options.cache_bytes);
        builder.set_check_integrity_on_open(options.verify);
        builder.create_with_backend(seam.clone()).map_err(|error| {
            if let DatabaseError::UpgradeRequired(found) = error {
                newer = Some(u64::from(found));
            }
            match error {
                // redb says so about bytes that it does not understand.
                DatabaseError::Storage(StorageError::Io(error)) if seam.failure().is_none() => {
                    Trouble::Damaged(error.to_string())
                }
                error => error.into(),
            }
        })
    });
    match (opened, newer) {
        (Ok(database), _) => Ok(Open { database, seam }),
        (Err(_), Some(found)) => Err(OpenError::Newer { path, found, known: REDB_FORMAT }),
        (Err(trouble), None) => Err(told(trouble, &seam, device)),
    }
}

/// Format of the file below the tables, redb's own number.
const REDB_FORMAT: u64 = 3;

/// Trouble of opening or creating.
pub(super) fn told(trouble: Trouble, seam: &Seam, device: &Arc<dyn Device>) -> OpenError {
    use crate::engine::EngineError as E;
    let path = device.name();
    match trouble.explained(seam) {
        E::Damaged { reason } => OpenError::Damaged { path, reason },
        E::Full { reason } | E::Io { reason } => OpenError::Io { path, reason },
    }
}

/// The stored version.
pub(super) fn version(open: &Open) -> Result<u64, Trouble> {
    guarded(|| {
        let transaction = open.database.begin_write()?;
        let version = number(&transaction.open_table(META)?, VERSION);
        transaction.abort()?;
        version
    })
}

fn number(meta: &Meta<'_>, name: &str) -> Result<u64, Trouble> {
    let stored = meta.get(name)?.map(|number| number.value());
    stored.ok_or_else(|| Trouble::Damaged(format!("the table meta has no {name:?}")))
}

/// Counts the start and raises the version, durably (E216).
pub(super) fn start(open: &Open, device: &Arc<dyn Device>) -> Result<(Identity, u64), OpenError> {
    let mut newer = None;
    let started = guarded(|| {
        let transaction = write::begin(open)?;
        let result = {
            let mut meta = transaction.open_table(META)?;
            let found = number(&meta, FORMAT)?;
            if found != FORMAT_VERSION {
                newer = Some(found);
                return Err(Trouble::Damaged(format!("format version {found}")));
            }
            raise(&mut meta)?
        };
        transaction.open_table(DATA)?;
        transaction.commit()?;
        Ok(result)
    });
    match (started, newer) {
        (Ok(started), _) => Ok(started),
        (Err(_), Some(found)) if FORMAT_VERSION < found => {
            Err(OpenError::Newer { path: device.name(), found, known: FORMAT_VERSION })
        }
        (Err(trouble), _) => {
            open.seam.cut();
            Err(told(trouble, &open.seam, device))
        }
    }
}

fn raise(meta: &mut Meta<'_>) -> Result<(Identity, u64), Trouble> {
    let beyond = |name: &str| Trouble::Damaged(format!("{name:?} is at its end"));
    let starts = number(meta, STARTS)?.checked_add(1).ok_or_else(|| beyond(STARTS))?;
    let version = number(meta, VERSION)?;
    let version = version.checked_add(START_JUMP).ok_or_else(|| beyond(VERSION))?;
    let (high, low) = (number(meta, STORE_HIGH)?, number(meta, STORE_LOW)?);
    let identity = Identity {
        store: u128::from(high) << 64 | u128::from(low),
        created: WallTime::from_nanos(number(meta, CREATED)?),
        starts,
        restores: number(meta, RESTORES)?,
    };
    meta.insert(STARTS, starts)?;
    meta.insert(VERSION, version)?;
    Ok((identity, version))
}
