//! Formatting: a new store on a file or device.

use std::path::Path;

use engine_runtime::{Env, File, FileError, FileKind, OpenOptions};
use engine_store::format::{FormatOptions, Layout, Superblock};
use engine_types::{ClusterId, StoreId};

use crate::device::Device;
use crate::error::StoreError;
use crate::probe::{look, wipe};
use crate::store::{ChunkStore, write_superblock};

/// What a new store is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateOptions {
    /// The cluster it will belong to.
    pub cluster: ClusterId,
    /// Bytes of a file that is created or grown; nothing: the size of the device or file.
    pub size: Option<u64>,
    /// Bytes of the journal ring; nothing: by size.
    pub journal_bytes: Option<u64>,
    /// Index memory; nothing: by size.
    pub index_bytes: Option<u64>,
    /// Channels whose newest request is remembered; nothing: the default.
    pub dedup_channels: Option<u32>,
    /// Destroy what is there.
    pub force: bool,
}

impl<E: Env> ChunkStore<E> {
    /// Makes a store. A file is created when it does not exist, grown when it is shorter, and its
    /// space claimed except that of the segments. The superblock is written last.
    ///
    /// # Errors
    /// When something else is there and `force` is off, the size makes no store, or the host has no
    /// space: then the file is as it was, and one that was created is empty.
    pub async fn format(
        env: &E,
        path: &Path,
        options: &CreateOptions,
    ) -> Result<Superblock, StoreError> {
        let is_device = path.metadata().is_ok_and(|found| is_block(&found));
        let open = OpenOptions { write: true, create: !is_device, truncate: false, lock: true };
        let file = env.open(path, open).await?;
        let found = file.geometry();
        if found.align != engine_types::SECTOR_BYTES {
            return Err(StoreError::Alignment { found: found.align });
        }
        refuse_foreign::<E>(&file, options).await?;
        let size = options.size.unwrap_or(found.size);
        let layout = Layout::plan(&FormatOptions {
            size,
            journal_bytes: options.journal_bytes,
            index_bytes: options.index_bytes,
            dedup_channels: options.dedup_channels,
        })?;
        if found.kind == FileKind::Regular {
            if let Err(why) = clear_file::<E>(&file, &layout, size).await {
                // As long as it was; one that was created now is empty.
                file.set_len(found.size).await?;
                return Err(why.into());
            }
        } else if found.size < size {
            return Err(StoreError::TooShort { found: found.size, expected: size });
        }
        if found.kind == FileKind::Block {
            // What the former owner left at the end would let the system take the disk back.
            wipe(env, &file).await?;
        }
        let mut entropy = [0; 8];
        env.random_secret(&mut entropy);
        let mut id = [0; 16];
        env.random_secret(&mut id);
        let store = StoreId::new(u128::from_le_bytes(id));
        let entropy = u64::from_le_bytes(entropy);
        let superblock = Superblock::fresh(options.cluster, store, env.wall(), layout, entropy);
        let device = Device::<E>::new(env, file, core::time::Duration::MAX, true);
        // The second copy first: a superblock of a former store with a higher sequence is gone
        // before the first one counts.
        let second = Superblock { sequence: superblock.sequence + 1, ..superblock };
        write_superblock(env, &device, &second).await?;
        write_superblock(env, &device, &Superblock { sequence: second.sequence + 1, ..second })
            .await?;
        Ok(Superblock { sequence: superblock.sequence + 2, ..superblock })
    }
}

/// A file of zeros whose space is claimed except that of the segments.
async fn clear_file<E: Env>(file: &E::File, layout: &Layout, size: u64) -> Result<(), FileError> {
    // Whether there is space is known before anything is lost.
    file.preallocate(0, layout.data_offset).await?;
    // Old bytes of the ring or a checkpoint must never be found again.
    file.set_len(0).await?;
    file.set_len(layout.size.max(size)).await?;
    file.preallocate(0, layout.data_offset).await
}

#[cfg(unix)]
fn is_block(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_block_device()
}

async fn refuse_foreign<E: Env>(file: &E::File, options: &CreateOptions) -> Result<(), StoreError> {
    if options.force || file.geometry().size == 0 {
        return Ok(());
    }
    let found = look::<E>(file).await?.blocks_format(options.cluster);
    found.map_or(Ok(()), |found| Err(StoreError::Occupied { found }))
}
