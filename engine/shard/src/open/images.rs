//! Images that were not home: into memory again.

use engine_runtime::Env;
use engine_store::address::BLOCK_SECTORS_MAX;
use engine_store::format::Layout;
use engine_store::overlay::{Kills, Overlay};
use engine_store::recover::{Image, Recovered};
use engine_store::ring::Ring;
use engine_store::{ChunkKey, Lsn};
use engine_types::{ChunkVersion, SECTOR_BYTES, Set, reached};

use crate::device::Device;
use crate::error::StoreError;
use crate::metrics::Io;
use crate::store::Image as Handle;

/// Images brought home by one flush when they are too many for memory.
const BATCH: usize = 1024;

/// Where images are read from and go to.
pub(crate) struct Images<'a, E: Env> {
    pub(crate) device: &'a Device<E>,
    pub(crate) layout: &'a Layout,
    /// Most that the overlay should hold.
    pub(crate) images_max: usize,
    /// Nothing may be written: all stay in memory.
    pub(crate) read_only: bool,
    /// Chunks that a group names which may still be given up: their images stay in memory, for the
    /// commit of such an image may be in that group.
    pub(crate) undecided: Set<ChunkKey>,
}

impl<E: Env> Images<'_, E> {
    /// An overlay with the images that recovery found. When they are more than it should hold, or
    /// their groups are not in the ring any more, those of committed versions are written home.
    pub(crate) async fn load(
        &self,
        recovered: &Recovered,
        ring: &mut Ring,
    ) -> Result<Overlay<Handle<E>>, StoreError> {
        let mut overlay = Overlay::new(self.images_max);
        let last = ring.last();
        let orphaned = |(_, image): &(ChunkKey, Image)| image.lsn < ring.tail_lsn();
        let too_many = self.images_max / 2 < recovered.homeward.len();
        let send = !self.read_only && (too_many || recovered.homeward.iter().any(orphaned));
        let (home, kept): (Vec<_>, Vec<_>) =
            recovered.homeward.iter().partition(|(key, _)| send && !self.undecided.contains(key));
        self.send_home(recovered, &home).await?;
        let mut done: Option<(ChunkKey, ChunkVersion)> = None;
        for (key, image) in kept {
            let version = recovered.index.get(key).map(|record| record.head.version);
            let version = version.expect("recovery keeps images of chunks that are there");
            if let Some((before, version)) = done.filter(|(before, _)| before != key) {
                overlay.committed(&before, version, last, 0, &Kills::NONE);
            }
            self.insert(&mut overlay, ring, (key, version), image).await?;
            done = Some((*key, version));
        }
        if let Some((key, version)) = done {
            overlay.committed(&key, version, last, 0, &Kills::NONE);
        }
        let pending = |key: &ChunkKey| {
            let found = recovered.pending.binary_search_by_key(key, |(put, _)| put.key);
            recovered.pending[found.expect("recovery keeps images of pending versions")].0.version
        };
        for (key, image) in &recovered.overlaid {
            self.insert(&mut overlay, ring, (key, pending(key)), image).await?;
        }
        let mut released = Vec::new();
        if Lsn::ZERO < last {
            overlay.durable(last, &mut released);
        }
        assert!(released.is_empty(), "E130: nothing is dead yet");
        Ok(overlay)
    }

    async fn insert(
        &self,
        overlay: &mut Overlay<Handle<E>>,
        ring: &mut Ring,
        (key, version): (&ChunkKey, ChunkVersion),
        image: &Image,
    ) -> Result<(), StoreError> {
        let position = self.layout.ring.offset + image.position;
        let sector = SECTOR_BYTES as usize;
        let bytes = self.device.read_again(Io::Journal, position, sector).await?;
        overlay.insert(*key, version, image.lsn, image.sector, bytes);
        if !self.read_only {
            ring.hold(image.lsn);
        }
        Ok(())
    }

    async fn send_home(
        &self,
        recovered: &Recovered,
        images: &[&(ChunkKey, Image)],
    ) -> Result<(), StoreError> {
        let sector = u64::from(SECTOR_BYTES);
        for batch in images.chunks(BATCH) {
            reached!("S6: recovery wrote images home");
            let mut writes = Vec::with_capacity(batch.len());
            for (key, image) in batch {
                let position = self.layout.ring.offset + image.position;
                let len = SECTOR_BYTES as usize;
                let bytes = self.device.read_again(Io::Journal, position, len).await?;
                let record = recovered.index.get(key).expect("recovery keeps images of chunks");
                let block = record.block((u32::from(image.sector) / BLOCK_SECTORS_MAX) as usize);
                let at = u64::from(u32::from(image.sector) % BLOCK_SECTORS_MAX) * sector;
                let home = self.layout.block_offset(block) + at;
                writes.push(self.device.start_write(Io::Apply, home, bytes));
            }
            for write in writes {
                self.device.finish(write).await?;
            }
            self.device.flush().await?;
        }
        Ok(())
    }
}
