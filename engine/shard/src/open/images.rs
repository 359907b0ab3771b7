//! Images that were not home: into memory again.

use engine_runtime::{Env, FileError, yield_now};
use engine_store::address::BLOCK_SECTORS_MAX;
use engine_store::format::Layout;
use engine_store::overlay::{Kills, Overlay};
use engine_store::recover::{Image, Recovered};
use engine_store::ring::Ring;
use engine_store::{ChunkKey, Lsn};
use engine_types::{ChunkVersion, SECTOR_BYTES, Set, crc32c, reached};

use super::READINGS;
use crate::device::Device;
use crate::error::StoreError;
use crate::metrics::Io;
use crate::store::Image as Handle;

const SECTOR: usize = SECTOR_BYTES as usize;
/// Images that are read before they are used, and brought home by one flush when they are too many
/// for memory: 4 MiB.
const BATCH: usize = 1024;
/// Reads under way: as many as keep a flash device busy.
const DEPTH: usize = 128;
/// Images that are looked at between two yields.
const LOOK_COUNT: usize = 16_384;

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
        let send = self.must_go_home(recovered, ring).await;
        let mut done: Option<(ChunkKey, ChunkVersion)> = None;
        for batch in recovered.homeward.chunks(BATCH) {
            let goes_home = |(key, _): &&(ChunkKey, Image)| send && !self.undecided.contains(key);
            let (home, kept): (Vec<_>, Vec<_>) = batch.iter().partition(goes_home);
            self.send_home(recovered, &home).await?;
            for ((key, image), bytes) in kept.iter().zip(self.read(&kept).await?) {
                let version = recovered.index.get(key).map(|record| record.head.version);
                let version = version.expect("recovery keeps images of chunks that are there");
                if let Some((before, version)) = done.filter(|(before, _)| before != key) {
                    overlay.committed(&before, version, last, 0, &Kills::NONE);
                }
                self.insert(&mut overlay, ring, (key, version), image, bytes);
                done = Some((*key, version));
            }
            yield_now().await;
        }
        if let Some((key, version)) = done {
            overlay.committed(&key, version, last, 0, &Kills::NONE);
        }
        let pending = |key: &ChunkKey| {
            let found = recovered.pending.binary_search_by_key(key, |(put, _)| put.key);
            recovered.pending[found.expect("recovery keeps images of pending versions")].0.version
        };
        for batch in recovered.overlaid.chunks(BATCH) {
            let batch: Vec<_> = batch.iter().collect();
            for ((key, image), bytes) in batch.iter().zip(self.read(&batch).await?) {
                self.insert(&mut overlay, ring, (key, pending(key)), image, bytes);
            }
            yield_now().await;
        }
        let mut released = Vec::new();
        if Lsn::ZERO < last {
            overlay.durable(last, &mut released);
        }
        assert!(released.is_empty(), "E130: nothing is dead yet");
        Ok(overlay)
    }

    async fn must_go_home(&self, recovered: &Recovered, ring: &Ring) -> bool {
        if self.read_only || self.images_max / 2 < recovered.homeward.len() {
            return !self.read_only;
        }
        for some in recovered.homeward.chunks(LOOK_COUNT) {
            if some.iter().any(|(_, image)| image.lsn < ring.tail_lsn()) {
                return true;
            }
            yield_now().await;
        }
        false
    }

    fn insert(
        &self,
        overlay: &mut Overlay<Handle<E>>,
        ring: &mut Ring,
        (key, version): (&ChunkKey, ChunkVersion),
        image: &Image,
        bytes: Handle<E>,
    ) {
        overlay.insert(*key, version, image.lsn, image.sector, bytes);
        if !self.read_only {
            ring.hold(image.lsn);
        }
    }

    /// The bytes of images, in their order. They are read in the order of the ring, many at once.
    async fn read(&self, images: &[&(ChunkKey, Image)]) -> Result<Vec<Handle<E>>, StoreError> {
        let mut order: Vec<usize> = (0..images.len()).collect();
        order.sort_unstable_by_key(|&index| images[index].1.position);
        let mut arrived: Vec<Option<Handle<E>>> = images.iter().map(|_| None).collect();
        for turn in order.chunks(DEPTH) {
            let start = |&index: &usize| {
                self.device.start_read(Io::Journal, self.position(images[index]), SECTOR)
            };
            let reads: Vec<_> = turn.iter().map(start).collect();
            for (&index, read) in turn.iter().zip(reads) {
                let bytes = self.device.finish(read).await;
                arrived[index] = Some(self.whole(images[index], bytes).await?);
            }
        }
        Ok(arrived.into_iter().map(|bytes| bytes.expect("each was read")).collect())
    }

    fn position(&self, (_, image): &(ChunkKey, Image)) -> u64 {
        self.layout.ring.offset + image.position
    }

    /// What was read of an image if it is as it was, otherwise what is read again: nothing else
    /// verifies an image before it is written home.
    async fn whole(
        &self,
        place: &(ChunkKey, Image),
        first: Result<Handle<E>, FileError>,
    ) -> Result<Handle<E>, StoreError> {
        let (key, image) = place;
        let mut found = None;
        if let Ok(bytes) = first {
            if crc32c(&bytes) == image.sum {
                return Ok(bytes);
            }
            found = Some(crc32c(&bytes));
        }
        for _ in 1..READINGS {
            let bytes = self.device.read_again(Io::Journal, self.position(place), SECTOR).await?;
            if crc32c(&bytes) == image.sum {
                reached!("S2: an image was whole when it was read again");
                return Ok(bytes);
            }
            found = Some(crc32c(&bytes));
        }
        let Image { sector, lsn, sum, .. } = image;
        let found = found.expect("it was read");
        // The next opening finds its group torn, and judges that.
        let what = format!("{key}: image of sector {sector} in {lsn}: {found}, expected {sum}");
        Err(StoreError::Recovery(what))
    }

    async fn send_home(
        &self,
        recovered: &Recovered,
        images: &[&(ChunkKey, Image)],
    ) -> Result<(), StoreError> {
        if images.is_empty() {
            return Ok(());
        }
        reached!("S6: recovery wrote images home");
        let sector = u64::from(SECTOR_BYTES);
        let mut writes = Vec::with_capacity(images.len());
        for ((key, image), bytes) in images.iter().zip(self.read(images).await?) {
            let record = recovered.index.get(key).expect("recovery keeps images of chunks");
            let block = record.block((u32::from(image.sector) / BLOCK_SECTORS_MAX) as usize);
            let at = u64::from(u32::from(image.sector) % BLOCK_SECTORS_MAX) * sector;
            let home = self.layout.block_offset(block) + at;
            writes.push(self.device.start_write(Io::Apply, home, bytes));
        }
        for write in writes {
            self.device.finish(write).await?;
        }
        Ok(self.device.flush().await?)
    }
}
