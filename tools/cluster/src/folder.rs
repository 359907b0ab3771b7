//! The directory of a cluster: what lies where, and that one program uses it.
//!
//! ```text
//! DIR/lock            held while somebody runs the cluster
//! DIR/cluster.toml    id and secret, mode 0600
//! DIR/kv/             a folder for each process, with
//!   config.toml         what it is told; written anew at each start
//!   address             where it listened last, and listens again
//!   ready               its standard output: the document that says it serves
//!   log, log.old        its standard error
//!   data/               the key-value store
//! DIR/mgmt-1/ ..
//! DIR/storage-1/ ..
//!   identity            who the node is
//!   store-0.img ..      its stores, shard by shard
//! DIR/meta-1/ ..
//! ```
//!
//! Paths in configuration files are relative, so that a directory can be moved.

use core::net::SocketAddr;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::error::ClusterError;
use crate::name::Name;

/// The directory, held by this program.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// Locked.
    lock: File,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing it would not do: a child that another thread is just starting may still have it.
        let _ = self.lock.unlock();
    }
}

impl Folder {
    /// Makes the directory if it is not there, and holds it.
    pub(crate) fn open(root: &Path) -> Result<Self, ClusterError> {
        fs::create_dir_all(root).map_err(ClusterError::file("create", root))?;
        let root = root.canonicalize().map_err(ClusterError::file("find", root))?;
        let path = root.join("lock");
        let lock = File::create(&path).map_err(ClusterError::file("create", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root, lock }),
            Err(TryLockError::WouldBlock) => Err(ClusterError::InUse { dir: root }),
            Err(TryLockError::Error(source)) => {
                Err(ClusterError::File { what: "lock", path, source })
            }
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn cluster_file(&self) -> PathBuf {
        self.root.join("cluster.toml")
    }

    /// The folder of a process, made if it is not there.
    pub(crate) fn home(&self, name: Name) -> Result<Home, ClusterError> {
        let dir = self.root.join(name.to_string());
        fs::create_dir_all(&dir).map_err(ClusterError::file("create", &dir))?;
        Ok(Home { dir })
    }

    /// Whether a process has been there before.
    pub(crate) fn knows(&self, name: Name) -> bool {
        self.root.join(name.to_string()).exists()
    }
}

/// The folder of a process.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    dir: PathBuf,
}

impl Home {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The file name of a store.
    pub(crate) fn store_name(index: usize) -> String {
        format!("store-{index}.img")
    }

    /// Where it listened last, if it has ever.
    pub(crate) fn address(&self) -> Result<Option<SocketAddr>, ClusterError> {
        let path = self.path("address");
        match fs::read_to_string(&path) {
            // What cannot be read as one is as good as none: it finds a free port then.
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ClusterError::File { what: "read", path, source }),
        }
    }

    /// Keeps where it listens.
    pub(crate) fn remember(&self, address: SocketAddr) -> Result<(), ClusterError> {
        self.write("address", &format!("{address}\n"))
    }

    /// Writes a small file as a whole or not at all.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), ClusterError> {
        let (path, fresh) = (self.path(name), self.path(&format!("{name}.new")));
        let written = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path));
        written.map_err(|source| ClusterError::File { what: "write", path, source })
    }
}

/// Removes a file or folder that a former attempt may have left.
pub(crate) fn remove_left(path: &Path) -> Result<(), ClusterError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(ClusterError::file("remove", path))
}

/// Gives what was made its name.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), ClusterError> {
    let renamed: io::Result<()> = fs::rename(from, to);
    renamed.map_err(ClusterError::file("rename", from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::testing::Scratch;

    #[test]
    fn a_directory_has_one_owner() {
        let scratch = Scratch::new("owner");
        let folder = Folder::open(&scratch.0).unwrap();
        let other = Folder::open(&scratch.0).unwrap_err();
        assert!(matches!(other, ClusterError::InUse { .. }), "{other}");
        drop(folder);
        assert!(Folder::open(&scratch.0).is_ok());
    }

    #[test]
    fn addresses_are_remembered() {
        let scratch = Scratch::new("address");
        let folder = Folder::open(&scratch.0).unwrap();
        assert!(!folder.knows(Name::Kv));
        let home = folder.home(Name::Kv).unwrap();
        assert!(folder.knows(Name::Kv));
        assert_eq!(home.address().unwrap(), None);
        let address = ([127, 0, 0, 1], 7100).into();
        home.remember(address).unwrap();
        assert_eq!(home.address().unwrap(), Some(address));
        home.write("address", "half").unwrap();
        assert_eq!(home.address().unwrap(), None);
    }
}
