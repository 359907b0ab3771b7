//! A committed version gets other blocks: compaction, and repair of damage (S15).
//!
//! The driver copies the content, as reads see it, to the new blocks and then switches; the chunk
//! is closed to updates in between (E140), which wait for it.

use alloc::rc::Rc;
use alloc::vec::Vec;

use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::{ChunkVersion, SECTOR_BYTES};

use super::{Store, Token};
use crate::address::{BlockAddress, ChunkKey, SegmentId};
use crate::allocator::{NoBlock, Purpose};
use crate::entry::{Entry, Put, SectorRange};
use crate::pins::{Pin, User};
use crate::record::Record;

/// A move under way.
#[derive(Debug)]
pub struct MoveTicket {
    /// The chunk.
    pub key: ChunkKey,
    /// Its record as it was when the move began, and still is.
    pub record: Record,
    /// Places that move, with their new blocks.
    pub places: Vec<(usize, BlockAddress)>,
    pin: Pin,
}

impl MoveTicket {
    /// Sectors of a place that have to be written to its new block: the valid ones.
    pub fn sectors(&self, place: usize) -> Vec<SectorRange> {
        valid_sectors(&self.record, place)
    }
}

impl<T: Clone> Store<T> {
    /// The version of the update that keeps a chunk from being moved: it is under way, or pending.
    /// A move of the chunk counts as one of its committed version.
    pub fn occupied_by(&self, key: &ChunkKey) -> Option<ChunkVersion> {
        let moved = || self.index.get(key).filter(|_| self.moving.contains(key));
        self.busy(key).or_else(|| moved().map(|record| record.head.version))
    }

    /// Chunks whose pending version has a block in `segment`, in chunk order: such a block can be
    /// moved once the version is committed.
    pub fn pending_owners(&self, segment: SegmentId) -> Vec<ChunkKey> {
        let is_there = |put: &Put| {
            let record = put.record.as_ref().map(Record::as_ref);
            record.is_some_and(|it| it.blocks().any(|(_, block)| block.segment() == segment))
        };
        let puts = self.pending.values().map(|pending| &pending.put).filter(|put| is_there(put));
        let mut keys: Vec<ChunkKey> = puts.map(|put| put.key).collect();
        keys.sort_unstable();
        keys
    }

    /// Closes a chunk and reserves new blocks for the places that `wanted` names. Nothing when the
    /// chunk is gone, busy, or has no such place.
    ///
    /// # Errors
    /// When there is no block.
    pub fn begin_move(
        &mut self,
        key: &ChunkKey,
        wanted: impl Fn(usize, BlockAddress) -> bool,
    ) -> Result<Option<MoveTicket>, NoBlock> {
        let busy = self.busy(key).is_some() || self.moving.contains(key);
        if busy || !self.room_for(User::Store) {
            return Ok(None);
        }
        let Some(record) = self.index.get(key).map(|record| record.to_owned()) else {
            return Ok(None);
        };
        let mut places = Vec::new();
        for (place, block) in record.as_ref().blocks() {
            if !wanted(place, block) {
                continue;
            }
            match self.allocator.reserve(record.head.class, Purpose::Compact) {
                Ok(new) => places.push((place, new)),
                Err(why) => {
                    places.iter().for_each(|&(_, block)| self.allocator.unreserve(block));
                    return Err(why);
                }
            }
        }
        if places.is_empty() {
            return Ok(None);
        }
        self.moving.insert(*key);
        let pin = self.take_pin();
        Ok(Some(MoveTicket { key: *key, record, places, pin }))
    }

    /// Switches to the new blocks, whose writes have completed.
    pub fn finish_move(&mut self, ticket: MoveTicket) -> Token {
        let MoveTicket { key, mut record, places, pin } = ticket;
        assert!(self.moving.remove(&key), "E140: a move closes its chunk");
        let current = self.index.get(&key).expect("E140: a closed chunk stays");
        assert_eq!(current, record.as_ref(), "E140: a closed chunk does not change");
        let mut direct = Vec::new();
        let mut old = Vec::new();
        for &(place, block) in &places {
            direct.extend(valid_sectors(&record, place));
            old.push(record.as_ref().block(place));
            self.allocator.publish(block);
            set_block(&mut record, place, block);
        }
        self.give_pin(pin);
        let record = Rc::new(record);
        let entry = Entry::Move { key, record: record.clone(), direct: direct.clone() };
        let (lsn, token) = self.queue_small(entry);
        let number = self.pins.borrow().next();
        for block in old {
            self.allocator.quarantine(block, lsn, number);
        }
        self.index.insert(key, record.as_ref().as_ref()).expect("E144: a move does not grow");
        self.overlay.moved(&key, lsn, &direct);
        self.note_undurable(key, lsn, record.head.data_end);
        token
    }

    /// Leaves the chunk where it is; the copy's I/O has completed.
    pub fn cancel_move(&mut self, ticket: MoveTicket) {
        assert!(self.moving.remove(&ticket.key), "E140: a move closes its chunk");
        for &(_, block) in &ticket.places {
            self.allocator.unreserve(block);
        }
        self.give_pin(ticket.pin);
    }
}

/// Puts `block` into a place of a record that has one there.
fn set_block(record: &mut Record, place: usize, block: BlockAddress) {
    match place.checked_sub(1) {
        None => record.block = block,
        Some(further) => record.words[further] = block.get(),
    }
}

/// Sectors with valid bytes of one place, as few ranges as possible.
fn valid_sectors(record: &Record, place: usize) -> Vec<SectorRange> {
    let lent = record.as_ref();
    let per_block = record.head.size.checksum_block_bytes();
    let blocks_per_place = BLOCK_BYTES_MAX / per_block;
    let first = u32::try_from(place).expect("at most 16 places") * blocks_per_place;
    let count = u32::try_from(record.head.checksum_count()).expect("at most 1,024");
    let mut ranges: Vec<SectorRange> = Vec::new();
    for index in first..count.min(first + blocks_per_place) {
        if lent.is_hole(index) {
            continue;
        }
        let sector = index * (per_block / SECTOR_BYTES);
        let sectors = record.head.valid_bytes(index).div_ceil(SECTOR_BYTES);
        let count = u16::try_from(sectors).expect("at most 16 sectors per checksum block");
        match ranges.last_mut().filter(|range| range.end() == sector) {
            Some(range) => range.count += count,
            None => {
                let first = u16::try_from(sector).expect("a chunk has at most 16,384 sectors");
                ranges.push(SectorRange { first, count });
            }
        }
    }
    ranges
}
