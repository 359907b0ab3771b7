//! Finding the groups of the ring, one behind the other.

use engine_runtime::{Bytes, Env};
use engine_store::format::group::{parse, parse_header, peek};
use engine_store::format::{Expected, GROUP_BYTES_MAX, Group, Layout, Superblock};
use engine_store::ring::Ring;
use engine_types::{Crc32c, Incarnation, SECTOR_BYTES, crc32c, reached};

use super::READINGS;
use crate::device::Device;
use crate::error::StoreError;
use crate::metrics::Io;

/// Bytes read at once: sequential reads of this size reach a device's bandwidth.
const WINDOW_BYTES: u64 = 4 << 20;
/// How far behind a bad group a good one is looked for (S8). The next group begins within the
/// largest group's length, or at the start of the ring; the rest is for neighbours that rotted too.
const SEARCH_BYTES: u64 = 16 * GROUP_BYTES_MAX as u64;

/// A part of the ring in memory.
struct Window<E: Env> {
    offset: u64,
    bytes: Option<Bytes<E::Memory>>,
}

/// Reads the ring.
pub(crate) struct Scanner<'a, E: Env> {
    device: &'a Device<E>,
    layout: Layout,
    store: engine_types::StoreId,
    salt: u64,
    generation: Incarnation,
    /// Highest generation of any group of this store that was seen, whether it fits or not.
    generation_seen: Incarnation,
    /// Behind the last group, and at the start of the ring.
    windows: [Window<E>; 2],
    /// Whether the header of the next group of the chain is there, of which the rest is not.
    begun: bool,
}

/// A group found, and its place in the ring.
pub(crate) struct Found {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) generation: Incarnation,
    pub(crate) hash: u64,
    pub(crate) applied: engine_store::Lsn,
    pub(crate) entries: Vec<engine_store::Entry>,
    /// Ring offset of its first image.
    pub(crate) images: u64,
    /// Checksum of each of its images, which are read again later.
    pub(crate) image_sums: Vec<Crc32c>,
}

impl<'a, E: Env> Scanner<'a, E> {
    pub(crate) fn new(device: &'a Device<E>, superblock: &Superblock) -> Self {
        Self {
            device,
            layout: superblock.layout,
            store: superblock.store,
            salt: superblock.salt,
            generation: Incarnation::new(0),
            generation_seen: Incarnation::new(0),
            windows: [Window { offset: 0, bytes: None }, Window { offset: 0, bytes: None }],
            begun: false,
        }
    }

    /// The next group of the chain, which `ring` expects at one of two places.
    pub(crate) async fn next(&mut self, ring: &Ring) -> Result<Option<Found>, StoreError> {
        self.begun = false;
        let (first, second) = ring.expected();
        let one = self.look(0, first).await?;
        let two = match second {
            Some(second) => self.look(1, second).await?,
            None => None,
        };
        let found = match (one, two) {
            (Some(one), Some(two)) if one.generation < two.generation => Some(two),
            (Some(one), _) => Some(one),
            (None, two) => two,
        };
        if let Some(found) = &found {
            self.generation = found.generation;
            self.generation_seen = self.generation_seen.max(found.generation);
        }
        Ok(found)
    }

    /// Whether the writing of another group had begun when the chain ended: its header names the
    /// last one by its hash. Groups are written one after the other, so the last one was flushed
    /// before, and its data with it (S11).
    pub(crate) const fn is_next_begun(&self) -> bool {
        self.begun
    }

    /// Highest generation of any group that was seen: the next opening has a higher one, also when
    /// no superblock tells of it any more.
    pub(crate) fn generation_seen(&self) -> Incarnation {
        self.generation_seen
    }

    /// The expected group at a place of the ring. What is not there at the first reading is read
    /// again from the device: what follows from its absence cannot be taken back.
    async fn look(
        &mut self,
        window: usize,
        at: engine_store::ring::Position,
    ) -> Result<Option<Found>, StoreError> {
        if let Some(found) = self.look_once(Some(window), at).await? {
            return Ok(Some(found));
        }
        for _ in 1..READINGS {
            if let Some(found) = self.look_once(None, at).await? {
                reached!("S8: a group was whole when it was read again");
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn look_once(
        &mut self,
        window: Option<usize>,
        at: engine_store::ring::Position,
    ) -> Result<Option<Found>, StoreError> {
        let expected = Expected {
            store: self.store,
            salt: self.salt,
            mount_gen_min: self.generation,
            lsn: at.lsn,
            prev_hash: at.prev_hash,
        };
        let sector = u64::from(SECTOR_BYTES);
        if self.layout.ring.len < at.offset + sector {
            return Ok(None);
        }
        let Some(page) = self.bytes(window, at.offset, sector).await? else { return Ok(None) };
        let header = match parse_header(&page, &expected) {
            Ok(header) => header,
            Err(why) if why.is_unreadable() => return Err(unreadable(&why)),
            Err(_) => return Ok(None),
        };
        self.begun = true;
        let bytes = header.bytes() as u64;
        if self.layout.ring.len < at.offset + bytes {
            return Ok(None);
        }
        let Some(whole) = self.bytes(window, at.offset, bytes).await? else { return Ok(None) };
        match parse(&whole, &expected) {
            Ok(group) => Ok(Some(self.found(at.offset, group))),
            Err(why) if why.is_unreadable() => Err(unreadable(&why)),
            Err(_) => Ok(None),
        }
    }

    fn found(&self, offset: u64, group: Group<'_>) -> Found {
        let image_sums = group.images().map(|(_, _, image)| crc32c(image)).collect();
        let Group { header, entries, .. } = group;
        let bytes = header.bytes() as u64;
        let images = bytes - u64::from(header.image_count) * u64::from(SECTOR_BYTES);
        Found {
            offset,
            bytes,
            generation: header.identity.mount_gen,
            hash: header.hash(self.salt),
            applied: header.identity.applied_lsn,
            entries,
            images: offset + images,
            image_sums,
        }
    }

    /// Bytes of the ring, through a window or straight from the device; nothing behind the end of
    /// a file that was cut.
    async fn bytes(
        &mut self,
        window: Option<usize>,
        offset: u64,
        len: u64,
    ) -> Result<Option<Bytes<E::Memory>>, StoreError> {
        let Some(window) = window else {
            let count = usize::try_from(len).expect("a few megabytes");
            let position = self.layout.ring.offset + offset;
            let read = self.device.read_again(Io::Journal, position, count).await?;
            return Ok(Some(read).filter(|read| read.len() == count));
        };
        let slot = &self.windows[window];
        let held = slot.bytes.as_ref().filter(|bytes| {
            slot.offset <= offset && offset + len <= slot.offset + bytes.len() as u64
        });
        if held.is_none() {
            let wanted = WINDOW_BYTES.max(len).min(self.layout.ring.len - offset);
            let count = usize::try_from(wanted).expect("a few megabytes");
            let position = self.layout.ring.offset + offset;
            // An error is no rot: the range may be whole, so nothing is concluded from it.
            let read = self.device.read_again(Io::Journal, position, count).await?;
            self.windows[window] = Window { offset, bytes: Some(read) };
        }
        let slot = &self.windows[window];
        let start = usize::try_from(offset - slot.offset).expect("inside the window");
        let count = usize::try_from(len).expect("a few megabytes");
        Ok(slot
            .bytes
            .as_ref()
            .filter(|bytes| start + count <= bytes.len())
            .map(|bytes| bytes.slice(start..start + count)))
    }

    /// Whether a group that was written after the missing one is there: then the missing one was
    /// whole once, because groups are written one after the other (S8). Returns the highest LSN. A
    /// generation above the superblock's is no ghost: it says that a newer superblock is lost.
    pub(crate) async fn later_group(
        &mut self,
        ring: &Ring,
    ) -> Result<Option<engine_store::Lsn>, StoreError> {
        let (first, _) = ring.expected();
        let behind = first.offset..self.layout.ring.len.min(first.offset + SEARCH_BYTES);
        let start = 0..self.layout.ring.len.min(SEARCH_BYTES);
        let mut highest = None;
        for range in [behind, start] {
            let mut at = range.start;
            while at < range.end {
                let len = WINDOW_BYTES.min(range.end - at);
                let Some(bytes) = self.bytes(Some(0), at, len).await? else {
                    at += len;
                    continue;
                };
                for page in bytes.chunks_exact(SECTOR_BYTES as usize) {
                    let Some(header) = peek(page, self.store, self.salt) else { continue };
                    let identity = header.identity;
                    self.generation_seen = self.generation_seen.max(identity.mount_gen);
                    if first.lsn < identity.lsn && self.generation <= identity.mount_gen {
                        highest = highest.max(Some(identity.lsn));
                    }
                }
                at += len;
            }
        }
        Ok(highest)
    }
}

fn unreadable(why: &dyn core::fmt::Display) -> StoreError {
    StoreError::Recovery(format!("journal: {why}"))
}
