//! The file system as such: made once, checked by every service that starts.
//!
//! Invariants
//!   E430  superblock and root come into being in one transaction, once in the life of a cluster

use engine_runtime::Env;
use engine_types::ClusterId;
use engine_types::fields::DecodeError;
use meta_kv::{Abort, Kv, KvError, Policy, ReadMode, Transaction, transact};
use meta_schema::codec::Record;
use meta_schema::superblock::{FORMAT, FsId};
use meta_schema::{
    DirectoryData, Gid, HashKey, INODE_ROOT, Inode, InodeKind, LayoutTemplate, Mode, Superblock,
    Timestamp, Uid, key,
};

#[cfg(test)]
mod tests;

/// Mode of a new root: everybody may read and search, root alone may write.
const ROOT_MODE: Mode = Mode::new(0o755);

/// Why the file system cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was made by another version of the service.
    #[error("the namespace has format {found}, this service reads format {FORMAT}")]
    Format {
        /// Its format.
        found: u32,
    },
    /// The store holds the namespace of another cluster.
    #[error("the store holds the namespace of {found}, this service belongs to {expected}")]
    Cluster {
        /// Whose it is.
        found: FsId,
        /// Whose it should be.
        expected: FsId,
    },
    /// The superblock cannot be read.
    #[error("the superblock cannot be read: {0}")]
    Damaged(#[from] DecodeError),
    /// The store does not answer.
    #[error("the superblock cannot be read or written: {0}")]
    Store(#[from] KvError),
}

/// The superblock of the cluster's file system; makes both, and the root, if there is none.
///
/// # Errors
/// The store does not answer, or holds something else.
pub async fn open<E: Env, K: Kv>(
    env: &E,
    kv: &K,
    cluster: ClusterId,
    root_layout: LayoutTemplate,
) -> Result<Superblock, OpenError> {
    let mut random = [0; 16];
    env.random_secret(&mut random);
    let fresh = Superblock {
        format: FORMAT,
        fs: FsId::new(cluster.get()),
        hash_key: HashKey::new(u128::from_le_bytes(random)),
        created: Timestamp::from_wall(env.wall()),
        root_layout,
    };
    // It recognises in its first read that it was committed (M9).
    let policy = Policy { idempotent: true, ..Policy::default() };
    let opened = transact(kv, &policy, async |transaction: &K::Transaction| {
        match transaction.get(&key::superblock(), ReadMode::Conflict).await? {
            Some(found) => check(&found, fresh.fs).map_err(Abort::Own),
            None => {
                make(transaction, &fresh)?;
                Ok(fresh)
            }
        }
    });
    opened.await.map_err(|abort| match abort {
        Abort::Own(error) => error,
        Abort::Kv(error) => OpenError::Store(error),
    })
}

/// The superblock of the cluster's file system, if there is one.
///
/// # Errors
/// The store does not answer, or holds something else.
pub async fn existing<K: Kv>(kv: &K, cluster: ClusterId) -> Result<Option<Superblock>, OpenError> {
    let policy = Policy { idempotent: true, ..Policy::default() };
    let found = transact(kv, &policy, async |transaction: &K::Transaction| {
        match transaction.get(&key::superblock(), ReadMode::Snapshot).await? {
            Some(found) => check(&found, FsId::new(cluster.get())).map(Some).map_err(Abort::Own),
            None => Ok(None),
        }
    });
    found.await.map_err(|abort| match abort {
        Abort::Own(error) => error,
        Abort::Kv(error) => OpenError::Store(error),
    })
}

fn check(found: &[u8], expected: FsId) -> Result<Superblock, OpenError> {
    let found = Superblock::decode(found)?;
    if found.format != FORMAT {
        return Err(OpenError::Format { found: found.format });
    }
    if found.fs != expected {
        return Err(OpenError::Cluster { found: found.fs, expected });
    }
    Ok(found)
}

/// Writes superblock and root (E430).
fn make<T: Transaction>(transaction: &T, superblock: &Superblock) -> Result<(), KvError> {
    let kind = InodeKind::Directory(DirectoryData::default());
    let root = Inode::new(ROOT_MODE, Uid::ROOT, Gid::ROOT, superblock.created, kind);
    transaction.set(&key::superblock(), &superblock.encode())?;
    transaction.set(&key::inode(INODE_ROOT), &root.encode())
}
