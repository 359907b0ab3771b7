//! The directory of a store: what stands there, and which cluster it belongs to.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use engine_types::{ClusterId, StoreId};
use meta_kv::engine::directory::{CREATE_FILE, OpenError, RESTORE_FILE, STORE_FILE};
use meta_kv::engine::redb::{Identity, RedbEngine, RedbOptions};

use crate::cluster::{ClusterFile, sync_directory};
use crate::config::read_text;
use crate::config::reader::Reader;
use crate::exit::Failure;

/// Names the cluster of a store, so that it is not served under another one's secret by mistake.
/// No part of the store: without it, the first to serve the store decides.
const CLUSTER_FILE: &str = "cluster";

/// Bytes of a block as the system counts them.
const STAT_BLOCK_BYTES: u64 = 512;

/// Whether something is a directory that a store may be in, told in words of an operator.
pub(super) fn check(dir: &Path) -> Result<(), Failure> {
    let shown = dir.display();
    match fs::metadata(dir) {
        Ok(data) if data.is_dir() => Ok(()),
        Ok(_) => Err(Failure::usage(anyhow!("{shown} is a file, expected a directory"))),
        Err(error) => {
            let missing = error.kind() == ErrorKind::NotFound;
            let error = anyhow::Error::new(error).context(format!("cannot open {shown}"));
            let failure = Failure::environment(error);
            if missing {
                let hint = format!("make one: emberfs kv create --dir {shown} --cluster FILE");
                return Err(failure.hint(hint));
            }
            Err(failure)
        }
    }
}

/// Whether a new store may be made there: nothing is, or a directory.
pub(super) fn check_new(dir: &Path) -> Result<(), Failure> {
    match fs::metadata(dir) {
        Ok(data) if !data.is_dir() => {
            Err(Failure::usage(anyhow!("{} is a file, expected a directory", dir.display())))
        }
        _ => Ok(()), // what is wrong with it is told by whoever opens it
    }
}

/// Opens the store that nobody serves.
pub(super) fn open(dir: &Path, options: RedbOptions) -> Result<RedbEngine, Failure> {
    check(dir)?;
    // Before the lock is made: a directory of something else stays as it is.
    if ![STORE_FILE, CREATE_FILE, RESTORE_FILE].iter().any(|name| dir.join(name).exists()) {
        return Err(OpenError::Missing { path: dir.to_path_buf() }.into());
    }
    Ok(RedbEngine::open(dir, options)?)
}

/// The name of a store as it is printed.
pub(super) fn store_id(identity: &Identity) -> StoreId {
    StoreId::new(identity.store)
}

/// Bytes that the store takes on its disk.
pub(super) fn disk_bytes(dir: &Path) -> u64 {
    fs::metadata(dir.join(STORE_FILE)).map_or(0, |data| data.blocks() * STAT_BLOCK_BYTES)
}

/// The cluster that the store of a directory belongs to, if that has been noted.
pub(super) fn cluster(dir: &Path) -> Result<Option<ClusterId>, Failure> {
    let path = dir.join(CLUSTER_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let text = read_text(&path)?;
    let read = || {
        let reader = Reader::new(&path, &text)?;
        let id = reader.root(&["id"]).need("id");
        reader.finish(id)
    };
    read().map_err(|error: crate::config::reader::ConfigError| {
        let hint = format!("remove {}; the next to serve the store writes it", path.display());
        Failure::problem(error).hint(hint)
    })
}

/// Notes the cluster of a store, or refuses another one.
pub(super) fn claim(dir: &Path, file: &ClusterFile) -> Result<(), Failure> {
    let Some(found) = cluster(dir)? else { return note(dir, file.id) };
    if found == file.id {
        return Ok(());
    }
    let why = anyhow!(
        "the store in {} belongs to cluster {found}, the cluster file is of {}",
        dir.display(),
        file.id
    );
    let hint =
        "use the file of its own cluster; to take the store over on purpose, remove the file";
    let path: PathBuf = dir.join(CLUSTER_FILE);
    Err(Failure::problem(why).hint(format!("{hint} {}", path.display())))
}

fn note(dir: &Path, cluster: ClusterId) -> Result<(), Failure> {
    let path = dir.join(CLUSTER_FILE);
    let new = dir.join(format!("{CLUSTER_FILE}.new"));
    let mut options = fs::OpenOptions::new();
    let written = options.write(true).create(true).truncate(true).mode(0o600).open(&new);
    let written = written.and_then(|mut file| {
        writeln!(file, "id = \"{cluster}\"")?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        sync_directory(&path)
    });
    let written = written.with_context(|| format!("cannot write {}", path.display()));
    written.map_err(Failure::environment)
}
