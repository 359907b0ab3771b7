//! Sectors whose newest content is in the journal and in memory, not yet in their home blocks.
//!
//! Owner: one store; the driver executes the applies it names. `T` is the driver's handle of 4 KiB.
//! Content of a chunk = home blocks overlaid, per sector, by its image here ([`Overlay::overlay`]);
//! that, and only that, matches the checksums of the record (S2).
//!
//! ```text
//! insert    commit       commit durable   plans passed   write done    flush done
//!    pending -> committed -> ready ---------> due -> applying -> applied -> released
//!       |           |          |               |        |          |
//!       +-----------+----------+---- killed ---+--------|----------+-> dead -> released when the
//!                                                       +-> doomed ----^      kill is durable
//!                                                            write done
//! ```
//!
//! *Killed* is an image that nobody will read again: a newer committed image of its sector, a
//! sector that a newer committed version wrote home directly, made a hole or cut off, a chunk that
//! was removed or moved, an aborted version, a pending version logged again. Recovery could still
//! go back behind the entry that killed it while that is not durable, so it stays in the journal
//! until then; its memory is freed at once.
//!
//! Order. Versions of a chunk start again at 1 when it is removed and created anew, so nothing here
//! compares them. A chunk has two layers: images of its committed content, at most one alive per
//! sector, and those of its one pending version. Whatever belonged to an older lineage is dead by
//! the removal, at the moment of the removal, and is never seen again whatever its version is.
//!
//! Invariants
//!   E130  an image is released exactly once: when its home write completed before a flush began
//!         that has completed (S3), or when the entry that killed it is durable; and never while a
//!         write of it is in flight (S5)
//!   E131  per sector at most one committed image is alive, per chunk at most one version is
//!         pending; a version never kills its own images
//!   E132  a sector is applied once at a time, only from its alive committed image, and only when
//!         the commit is durable and every plan made before it has ended (S4)
//!   E133  reads see alive images only, from the commit on until the release
//!   E134  an image is in the queue of its state, and in its chunk's list, until it is released
//!
//! Crash: all of this is in the journal; recovery inserts what is still needed.

use alloc::vec::Vec;
use core::ops::Range;

use engine_types::{ChunkVersion, Map, SECTOR_BYTES, reached};

use crate::address::{ChunkKey, Lsn};
use crate::entry::SectorRange;
use crate::planted;

mod check;
mod images;
mod view;

#[cfg(test)]
mod tests;

use images::{Id, Images, Queue, State};
pub use view::{Kills, View};

/// Ready images that one call of [`Overlay::next_apply`] looks at: with a slow plan gone, tens of
/// thousands can become due at once, and a turn of the shard must stay short.
const TURN_MAX: usize = 64;

/// An image to be written home.
#[derive(Debug)]
#[must_use = "its ticket has to come back when the write has completed"]
pub struct Apply<T> {
    /// The chunk; the committed record names the block.
    pub key: ChunkKey,
    /// The version that logged it: the committed one or an older one.
    pub version: ChunkVersion,
    /// The sector of the chunk.
    pub sector: u16,
    /// Its group.
    pub lsn: Lsn,
    /// Its content.
    pub image: T,
    /// For [`Overlay::apply_written`].
    pub ticket: ApplyTicket,
}

/// Names a home write in flight.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an apply that is never reported keeps its place in the journal"]
pub struct ApplyTicket {
    id: Id,
    order: u64,
}

/// Names a flush that has begun, by the home writes that had completed then.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "images are released when the flush is reported"]
pub struct FlushToken(u64);

#[derive(Debug, Default)]
struct Chunk {
    /// All unreleased images by sector, those of one sector in the order of their insertion.
    images: Vec<(u16, Id)>,
    /// The alive images of the pending version, in the order of their insertion.
    pending: Vec<Id>,
    pending_version: ChunkVersion,
}

/// Images by chunk; see the module.
#[derive(Debug)]
pub struct Overlay<T> {
    chunks: Map<ChunkKey, Chunk>,
    images: Images<T>,
    images_max: usize,
    durable: Lsn,
    /// Home writes completed.
    written: u64,
}

impl Chunk {
    /// Places of the list that are about these sectors.
    fn places(&self, sectors: Range<u32>) -> Range<usize> {
        let start = self.images.partition_point(|&(at, _)| u32::from(at) < sectors.start);
        let count = self.images[start..].partition_point(|&(at, _)| u32::from(at) < sectors.end);
        start..start + count
    }

    /// Images of these sectors.
    fn of(&self, sectors: Range<u32>) -> &[(u16, Id)] {
        &self.images[self.places(sectors)]
    }

    fn check_pending(&self, key: &ChunkKey, version: ChunkVersion) {
        let pending = self.pending_version;
        let known = self.pending.is_empty() || pending == version;
        assert!(known, "E131: {key}: {pending} is pending, not {version}");
    }

    /// Images of a sector, in the order of their insertion.
    fn of_sector(&self, sector: u16) -> &[(u16, Id)] {
        self.of(sector.into()..u32::from(sector) + 1)
    }
}

impl<T: Clone> Overlay<T> {
    /// No images, room for `images_max`.
    pub fn new(images_max: usize) -> Self {
        Self {
            chunks: Map::default(),
            images: Images::default(),
            images_max,
            durable: Lsn::ZERO,
            written: 0,
        }
    }

    // --- what versions do ------------------------------------------------------------------

    /// An image of pending version `version` is logged in group `lsn`. An older one of the same
    /// version and sector was logged again: it is dead as of `lsn`.
    ///
    /// # Panics
    /// E131: another version of the chunk has pending images. E130: the group is durable already,
    /// or older than another image of the sector.
    pub fn insert(
        &mut self,
        key: ChunkKey,
        version: ChunkVersion,
        lsn: Lsn,
        sector: u16,
        image: T,
    ) {
        self.check_not_durable(&key, lsn);
        let chunk = self.chunks.entry(key).or_default();
        chunk.check_pending(&key, version);
        chunk.pending_version = version;
        let place = chunk.places(sector.into()..u32::from(sector) + 1).end;
        let newest = place.checked_sub(1).map(|place| chunk.images[place]);
        if let Some((_, older)) = newest.filter(|&(at, _)| at == sector) {
            let older_lsn = self.images.get(older).lsn;
            assert!(older_lsn <= lsn, "E130: {key} sector {sector}: {lsn} after {older_lsn}");
            if self.images.get(older).state == State::Pending {
                reached!("S9: an image of a pending version is logged again");
                chunk.pending.retain(|&id| id != older);
                self.images.set(older, State::Dead { lsn });
            }
        }
        let id = self.images.add((key, version), lsn, sector, image);
        chunk.images.insert(place, (sector, id));
        chunk.pending.push(id);
    }

    /// Pending version `version` was logged again in group `lsn`, with these sectors written home
    /// directly: its older images of them are dead as of `lsn`.
    ///
    /// # Panics
    /// E131: another version of the chunk has pending images.
    pub fn rewritten(
        &mut self,
        key: &ChunkKey,
        version: ChunkVersion,
        lsn: Lsn,
        direct: &[SectorRange],
    ) {
        self.check_not_durable(key, lsn);
        let Some(chunk) = self.chunks.get_mut(key) else { return };
        chunk.check_pending(key, version);
        let (images, kills) = (&mut self.images, Kills::direct(direct));
        chunk.pending.retain(|&id| {
            let killed = kills.covers(images.get(id).sector);
            if killed {
                images.set(id, State::Dead { lsn });
            }
            !killed
        });
    }

    /// `version` has become the committed version in memory, by an entry of group `lsn`, when
    /// `pin` was the number of the next plan. Its images replace older ones of their sectors; those
    /// and the ones that `kills` names are dead as of `lsn`.
    ///
    /// # Panics
    /// E131: another version of the chunk has pending images, or `kills` names one of its own.
    /// E130: the group is durable already.
    pub fn committed(
        &mut self,
        key: &ChunkKey,
        version: ChunkVersion,
        lsn: Lsn,
        pin: u64,
        kills: &Kills<'_>,
    ) {
        self.check_not_durable(key, lsn);
        self.kill_committed(key, lsn, kills);
        let Some(chunk) = self.chunks.get_mut(key) else { return };
        chunk.check_pending(key, version);
        let images = &mut self.images;
        for id in core::mem::take(&mut chunk.pending) {
            let sector = images.get(id).sector;
            assert!(!kills.covers(sector), "E131: {key} {version} kills its image of {sector}");
            for &(_, older) in chunk.of_sector(sector) {
                if images.get(older).state.is_committed() {
                    images.kill(older, lsn);
                }
            }
            let early = planted!(AppliedBeforeDurable);
            images
                .set(id, if early { State::Ready { pin } } else { State::Committed { lsn, pin } });
        }
    }

    /// The committed content was copied, as reads see it, to other blocks by an entry of group
    /// `lsn`: images of the copied sectors are dead. Those of a pending version stay.
    ///
    /// # Panics
    /// E130: the group is durable already.
    pub fn moved(&mut self, key: &ChunkKey, lsn: Lsn, direct: &[SectorRange]) {
        self.check_not_durable(key, lsn);
        self.kill_committed(key, lsn, &Kills::direct(direct));
    }

    /// The chunk is gone, by an entry of group `lsn`: every image of it is dead, pending ones too.
    ///
    /// # Panics
    /// E130: the group is durable already.
    pub fn removed(&mut self, key: &ChunkKey, lsn: Lsn) {
        self.check_not_durable(key, lsn);
        let Some(chunk) = self.chunks.get_mut(key) else { return };
        chunk.pending = Vec::new();
        for &(_, id) in &chunk.images {
            self.images.kill(id, lsn);
        }
    }

    /// Pending version `version` is aborted by an entry of group `lsn`: its images are dead.
    ///
    /// # Panics
    /// E131: another version of the chunk has pending images. E130: the group is durable already.
    pub fn dropped_version(&mut self, key: &ChunkKey, version: ChunkVersion, lsn: Lsn) {
        self.check_not_durable(key, lsn);
        let Some(chunk) = self.chunks.get_mut(key) else { return };
        chunk.check_pending(key, version);
        for id in core::mem::take(&mut chunk.pending) {
            self.images.set(id, State::Dead { lsn });
        }
    }

    /// Groups up to `lsn` are durable. Images that they killed are released: the group of each goes
    /// to `released`. Images that they committed are ready.
    ///
    /// # Panics
    /// When durability goes back.
    pub fn durable(&mut self, lsn: Lsn, released: &mut Vec<Lsn>) {
        assert!(self.durable <= lsn, "S-e: {lsn} is durable after {}", self.durable);
        self.durable = lsn;
        while let Some(id) = self.images.first(Queue::Dead, lsn.get()) {
            self.release(id, released);
        }
        while let Some(id) = self.images.first(Queue::Committed, lsn.get()) {
            let State::Committed { pin, .. } = self.images.get(id).state else {
                unreachable!("E134: the queue is of its state")
            };
            self.images.set(id, State::Ready { pin });
        }
    }

    // --- writing home ----------------------------------------------------------------------

    /// The next image to be written home, oldest group first; `oldest` is the smallest number of a
    /// plan under way. Several may be in flight.
    pub fn next_apply(&mut self, oldest: u64) -> Option<Apply<T>> {
        for _ in 0..TURN_MAX {
            let Some(id) = self.images.first(Queue::Ready, oldest) else { break };
            let image = self.images.get(id);
            let sector = self.chunks[&image.key].of_sector(image.sector);
            if sector.iter().any(|&(_, other)| self.images.get(other).state.is_writing()) {
                reached!("E132: an image waits for the write of an older one of its sector");
                self.images.set(id, State::Blocked);
            } else {
                self.images.set(id, State::Due);
            }
        }
        let id = self.images.first(Queue::Due, u64::MAX)?;
        self.images.set(id, State::Applying);
        let image = self.images.get(id);
        let content = image.content.clone().expect("E133: an alive image has content");
        Some(Apply {
            key: image.key,
            version: image.version,
            sector: image.sector,
            lsn: image.lsn,
            image: content,
            ticket: ApplyTicket { id, order: image.order },
        })
    }

    /// A home write has completed, on the device or in its cache. An image that was killed in the
    /// meantime may be released by that; its group goes to `released` then.
    pub fn apply_written(&mut self, ticket: ApplyTicket, released: &mut Vec<Lsn>) {
        let ApplyTicket { id, order } = ticket;
        let image = self.images.get(id);
        let (key, sector, state) = (image.key, image.sector, image.state);
        assert_eq!(image.order, order, "E130: {key} sector {sector}: a foreign ticket");
        assert!(state.is_writing(), "E130: {key} sector {sector} is not being written: {state:?}");
        let State::Doomed { lsn } = state else {
            self.images.set(id, State::Applied { stamp: self.written });
            self.written += 1;
            return;
        };
        self.images.set(id, State::Dead { lsn });
        if lsn <= self.durable {
            reached!("S5: an image is released by the end of its write");
            self.release(id, released);
        }
        let waiting = self.chunks.get(&key).into_iter().flat_map(|chunk| chunk.of_sector(sector));
        let mut waiting = waiting.map(|&(_, other)| other);
        if let Some(next) = waiting.find(|&o| self.images.get(o).state == State::Blocked) {
            self.images.set(next, State::Due);
        }
    }

    /// A flush of the device begins.
    pub const fn flush_started(&self) -> FlushToken {
        FlushToken(self.written)
    }

    /// That flush has completed: images whose home write had completed before it began are
    /// released; the group of each goes to `released`.
    pub fn flush_done(&mut self, flush: FlushToken, released: &mut Vec<Lsn>) {
        let FlushToken(written) = flush;
        let Some(last) = written.checked_sub(1) else { return };
        while let Some(id) = self.images.first(Queue::Applied, last) {
            self.release(id, released);
        }
    }

    // --- reads -----------------------------------------------------------------------------

    /// Lends the image of each of these sectors that has one, ascending.
    ///
    /// # Panics
    /// E131: another version than the one asked for has pending images.
    pub fn overlay(
        &self,
        key: &ChunkKey,
        view: View<'_>,
        sectors: Range<u16>,
        mut each: impl FnMut(u16, &T),
    ) {
        let Some(chunk) = self.chunks.get(key) else { return };
        if let View::Pending(version, _) = view {
            chunk.check_pending(key, version);
        }
        // Images of a sector come in the order of their insertion, and a pending one comes after
        // the committed one: the last one that is seen is the newest.
        let mut newest: Option<(u16, &T)> = None;
        for &(sector, id) in chunk.of(sectors.start.into()..sectors.end.into()) {
            let image = self.images.get(id);
            let seen = match (image.state, view) {
                (State::Pending, View::Pending(..)) => true,
                (state, View::Pending(_, kills)) => state.is_committed() && !kills.covers(sector),
                (state, View::Committed) => state.is_committed(),
            };
            if !seen {
                continue;
            }
            if let Some((before, content)) = newest.filter(|&(before, _)| before != sector) {
                each(before, content);
            }
            newest = image.content.as_ref().map(|content| (sector, content));
        }
        if let Some((sector, content)) = newest {
            each(sector, content);
        }
    }

    /// The images of a pending version for these sectors, in their order: to log them again.
    ///
    /// # Panics
    /// E133: one of the sectors has no pending image, or another version has.
    pub fn images_of(&self, key: &ChunkKey, version: ChunkVersion, sectors: &[u16]) -> Vec<T> {
        let chunk = self.chunks.get(key);
        chunk.inspect(|chunk| chunk.check_pending(key, version));
        let image = |&sector: &u16| {
            let newest = chunk.and_then(|chunk| chunk.of_sector(sector).last());
            let image = newest.map(|&(_, id)| self.images.get(id));
            let image = image.filter(|image| image.state == State::Pending);
            let content = image.and_then(|image| image.content.clone());
            content.unwrap_or_else(|| panic!("E133: {key} {version}: no image of {sector}"))
        };
        sectors.iter().map(image).collect()
    }

    /// Whether any unreleased image of the sector exists, alive or dead: then its home must not be
    /// written directly.
    pub fn live_image(&self, key: &ChunkKey, sector: u16) -> bool {
        self.chunks.get(key).is_some_and(|chunk| !chunk.of_sector(sector).is_empty())
    }

    // --- figures ---------------------------------------------------------------------------

    /// Whether `images` more may be admitted.
    pub const fn room(&self, images: usize) -> bool {
        self.images.alive() + images <= self.images_max
    }

    /// Images that there is room for.
    pub const fn images_max(&self) -> usize {
        self.images_max
    }

    /// Images that are not released.
    pub fn count(&self) -> usize {
        self.images.len()
    }

    /// Bytes of the images that are kept in memory: those that are not dead.
    pub const fn bytes(&self) -> u64 {
        self.images.alive() as u64 * SECTOR_BYTES as u64
    }

    /// Images that wait for nothing but plans, or older writes of their sector, to be written home.
    pub fn ready_count(&self) -> usize {
        let images = &self.images;
        images.queued(Queue::Ready) + images.queued(Queue::Due) + images.blocked()
    }

    /// Home writes in flight.
    pub const fn applying_count(&self) -> usize {
        self.images.writing()
    }

    /// Images that are home and wait for a flush.
    pub fn applied_count(&self) -> usize {
        self.images.queued(Queue::Applied)
    }

    fn check_not_durable(&self, key: &ChunkKey, lsn: Lsn) {
        let durable = self.durable;
        assert!(durable < lsn, "E130: {key}: {lsn} is to be logged, {durable} is durable");
    }

    /// Kills alive committed images.
    fn kill_committed(&mut self, key: &ChunkKey, lsn: Lsn, kills: &Kills<'_>) {
        let Some(chunk) = self.chunks.get(key) else { return };
        let images = &mut self.images;
        let mut kill = |&(_, id): &(u16, Id)| {
            if images.get(id).state.is_committed() {
                images.kill(id, lsn);
            }
        };
        for range in kills.direct {
            chunk.of(range.first.into()..range.end()).iter().for_each(&mut kill);
        }
        if let Some(is_dead) = kills.is_dead {
            chunk.images.iter().filter(|&&(sector, _)| is_dead(sector)).for_each(kill);
        }
    }

    fn release(&mut self, id: Id, released: &mut Vec<Lsn>) {
        let image = self.images.remove(id);
        let chunk = self.chunks.get_mut(&image.key).expect("E134: an image is in its chunk's list");
        let run = chunk.places(image.sector.into()..u32::from(image.sector) + 1);
        let place = { run }.find(|&place| chunk.images[place].1 == id);
        chunk.images.remove(place.expect("E134: an image is in its chunk's list"));
        if chunk.images.is_empty() {
            self.chunks.remove(&image.key);
        }
        released.push(image.lsn);
    }
}
