//! Write plans: where the bytes of a new version go, and the record that names them.
//!
//! A plan is made of numbers alone, from the committed record and the ranges of an update. It tells
//! the driver what to obtain (bytes to fetch, blocks, images, buffers); then one synchronous call
//! assembles the new version: it fills buffers and images and returns the record. Nothing that
//! recovery could bring back is changed before the record is durable, whatever the driver does of
//! it: a plan can be dropped at any moment.
//!
//! Per block place (4 MiB of the chunk) a plan keeps the block, takes a fresh one, or has none.
//! Sectors that change in a kept block are written to it directly where nobody could miss what they
//! held (E122), else logged as images; when the images are many, a fresh block takes everything.
//!
//! Invariants
//!   E120  a plan is assembled with what it was made of: the same base, the payload it was told
//!         of, the blocks and fetched bytes it asked for
//!   E121  each valid byte of the new version is at its home or in an image of a whole sector:
//!         kept from the base, or written; gaps and completed checksum blocks as zeros (S13)
//!   E122  a sector of a kept block is written to directly only where no record that could come
//!         back names it and no unreleased image of it exists (S-b, S12)
//!   E123  a written sector is written as a whole; behind the valid bytes it is zeros, so that
//!         nothing of a former owner survives in it
//!   E124  the word of each checksum block is that of its new valid bytes; checksums of the client
//!         are used where a piece of payload is the whole block or begins it (W5), a stored one
//!         where the block is only continued
//!   E125  a block is dropped if and only if the base names it and the new record does not; it is
//!         reserved if and only if the new record names it and the base does not
//!
//! Crash: a plan leaves nothing. Direct writes that were done are not named by any record.

use alloc::vec::Vec;
use core::ops::Range;

use engine_types::{Crc32c, SECTOR_BYTES};

use crate::address::{BlockAddress, BlockClass};
use crate::entry::SectorRange;
use crate::record::{Head, Record, RecordRef};
use crate::request::{Change, Update, UpdateError};

mod assemble;
mod change;
mod content;
mod output;
mod place;

pub use place::IMAGE_BYTES_MAX;

use content::{Content, Extent};
use output::Output;
use place::{Decisions, Place};

/// What a store knows about a chunk beside its committed record. Between plan and assembly these
/// facts may only become looser: less named, fewer images.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Highest `data_end` of any record of the chunk that recovery could bring back: committed,
    /// durably committed, aborted but not durably so. Records that a read under way was planned
    /// with count as well (S4): what is written directly would be seen by that read.
    pub named_end: u32,
    /// The committed record is durably so and nothing else of the chunk could come back or is
    /// being read: its holes may be written directly.
    pub holes_in_place: bool,
    /// Whether a sector has an unreleased image.
    pub live_image: &'a dyn Fn(u16) -> bool,
}

/// What an update will do; see the module.
#[derive(Clone, Debug)]
pub struct WritePlan {
    update: Update,
    /// Of the base, to recognise it (E120).
    base: Option<Head>,
    /// Blocks of the base that go.
    dropped: Vec<BlockAddress>,
    /// Of the new version; nothing for a removal.
    head: Option<Head>,
    extents: Vec<Extent>,
    zeroed: Range<u32>,
    decisions: Decisions,
}

/// What the driver obtained for a plan.
#[derive(Clone, Copy)]
pub struct Material<'a, 'f> {
    /// Reserved blocks, as many as [`WritePlan::fresh`] says.
    pub blocks: &'a [BlockAddress],
    /// The extents, at the places that the plan was told.
    pub payload: &'a [(u32, &'a [u8])],
    /// What [`WritePlan::check_payload`] found.
    pub pieces: &'a [Crc32c],
    /// The valid bytes of a checksum block of the base, as verified.
    pub fetched: &'a dyn Fn(u32) -> &'f [u8],
}

/// Takes what an assembly writes. Places are bytes within a block and sectors of the chunk.
pub trait Sink {
    /// 4 KiB for the image of a sector; the caller fills all of it.
    fn image(&mut self, sector: u16) -> &mut [u8];

    /// `len` bytes to be written to `block` from its byte `at` on, which hold the chunk's sectors
    /// from `sector` on; the caller fills all of them.
    fn direct(&mut self, block: BlockAddress, at: u32, sector: u16, len: u32) -> &mut [u8];

    /// Bytes `range` of extent number `extent` are to be written to `block` from its byte `at` on.
    /// `at` and both ends of the range are multiples of the sector.
    fn payload(&mut self, block: BlockAddress, at: u32, extent: usize, range: Range<u32>);
}

/// An assembled update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// The new version, or nothing for a removal.
    pub record: Option<Record>,
    /// Sectors of the chunk that went to blocks, ascending.
    pub direct: Vec<SectorRange>,
    /// Sectors of the chunk that became images, ascending: the order of the `Sink::image` calls.
    pub images: Vec<u16>,
    /// Blocks of the base that the new version does not name (E125).
    pub dropped: Vec<BlockAddress>,
}

/// Plans an update of the committed record `base`. The caller has checked version, epoch and chunk
/// size; `extents` are offset and length of the pieces of the payload.
///
/// # Errors
/// `OutOfRange` when a range is empty, too long or does not lie inside the chunk, or when the
/// extents are not what the change says.
pub fn plan(
    base: Option<RecordRef<'_>>,
    update: &Update,
    extents: &[(u32, u32)],
    facts: &Facts<'_>,
) -> Result<WritePlan, UpdateError> {
    let outline = change::outline(base, update, extents)?;
    let change::Outline { len, data_end, zeroed, touched, extents } = outline;
    let base_end = base.map_or(0, |base| base.head.data_end);
    let named_end = facts.named_end.max(base_end);
    assert!(
        !facts.holes_in_place || named_end == base_end,
        "E122: nothing else could come back, but data up to {named_end} is named, not {base_end}"
    );
    let facts = Facts { named_end, ..*facts };
    let kept = base.filter(|_| !matches!(update.change, Change::Replace { .. } | Change::Remove));
    let size_kept = kept.is_none_or(|kept| kept.head.size == update.size);
    assert!(size_kept, "E120: the caller compares chunk sizes, {} differs", update.size);
    let content =
        Content { base: kept, size: update.size, data_end, extents: &extents, zeroed: &zeroed };
    let class = place::class(&content);
    let decisions = place::decide(content, class, &touched, &facts);
    let head = Head {
        len,
        data_end,
        version: update.version,
        chain_version: update.chain_version,
        epoch: update.epoch,
        size: update.size,
        class,
    };
    let held = base.into_iter().flat_map(RecordRef::blocks);
    let stays =
        |place: usize, block| decisions.places.get(place).is_some_and(|p| *p == Place::Kept(block));
    let dropped = held.filter(|&(place, block)| !stays(place, block)).map(|(_, block)| block);
    Ok(WritePlan {
        update: *update,
        base: base.map(|base| base.head),
        dropped: dropped.collect(),
        head: (update.change != Change::Remove).then_some(head),
        extents,
        zeroed,
        decisions,
    })
}

impl WritePlan {
    /// The update that it does.
    pub const fn update(&self) -> &Update {
        &self.update
    }

    /// Bytes of the chunk at the new version; 0 for a removal.
    pub fn chunk_len(&self) -> u32 {
        self.head.map_or(0, |head| head.len)
    }

    /// Checksum blocks of the base whose valid bytes the assembly needs, ascending. They are read
    /// through the overlay and verified (S16): see [`crate::read::whole_blocks`].
    pub fn fetches(&self) -> &[u32] {
        &self.decisions.fetches
    }

    /// Blocks to reserve.
    pub fn fresh(&self) -> (BlockClass, usize) {
        let fresh = self.decisions.places.iter().filter(|&&place| place == Place::Fresh);
        (self.head.map_or(BlockClass::MIN, |head| head.class), fresh.count())
    }

    /// Bytes of these blocks.
    pub fn fresh_bytes(&self) -> u64 {
        let (class, count) = self.fresh();
        u64::from(class.bytes()) * count as u64
    }

    /// Blocks of the base that the new version does not name.
    pub fn dropped(&self) -> &[BlockAddress] {
        &self.dropped
    }

    /// Bytes of these blocks.
    pub fn dropped_bytes(&self) -> u64 {
        let class = self.base.map_or(BlockClass::MIN, |base| base.class);
        u64::from(class.bytes()) * self.dropped.len() as u64
    }

    /// Bytes of blocks that the chunk holds more than before, once what is dropped is free.
    pub fn growth_bytes(&self) -> u64 {
        self.fresh_bytes().saturating_sub(self.dropped_bytes())
    }

    /// Whether the update brings no data and leaves the chunk no larger than it is. Such updates
    /// are admitted to a store that is full (R18).
    pub fn shrinks(&self) -> bool {
        let words = self.base.map_or(0, |base| base.word_count());
        self.growth_bytes() == 0
            && self.words_max().is_none_or(|new| self.base.is_some() && new <= words)
            && self.extents.is_empty()
    }

    /// Words of the new record; nothing for a removal.
    pub fn words_max(&self) -> Option<usize> {
        self.head.map(|head| head.word_count())
    }

    /// Images that the assembly makes.
    pub fn image_count(&self) -> usize {
        let counts = self.decisions.outputs.iter().map(|output| match output {
            Output::Images(sectors) => sectors.len(),
            Output::Copy(_) | Output::Payload(..) => 0,
        });
        counts.sum()
    }

    /// Bytes of all buffers that [`Sink::direct`] is asked for.
    pub fn copy_bytes(&self) -> u64 {
        let counts = self.decisions.outputs.iter().map(|output| match output {
            Output::Copy(sectors) => u64::from(SECTOR_BYTES) * sectors.len() as u64,
            Output::Images(_) | Output::Payload(..) => 0,
        });
        counts.sum()
    }

    /// Bytes of each buffer that [`Sink::direct`] is asked for, in the order of the calls.
    pub fn copies(&self) -> impl Iterator<Item = u32> {
        self.decisions.outputs.iter().filter_map(|output| match output {
            Output::Copy(sectors) => Some(SECTOR_BYTES * (sectors.end - sectors.start)),
            Output::Images(_) | Output::Payload(..) => None,
        })
    }

    /// Whether a block that already belongs to the chunk is written to.
    pub const fn writes_in_place(&self) -> bool {
        self.decisions.in_place
    }

    /// Checksums that a client sends with this update, if it sends any.
    pub fn checksum_count(&self) -> usize {
        self.extents.last().map_or(0, |last| last.piece + self.pieces(last).count())
    }

    /// The checksum blocks that an extent touches: one piece in each.
    fn pieces(&self, extent: &Extent) -> impl Iterator<Item = u32> + use<> {
        let shift = self.update.size.checksum_block_shift();
        extent.start >> shift..=(extent.end - 1) >> shift
    }

    /// The content that was planned, of the same base.
    fn content<'a>(&'a self, base: Option<RecordRef<'a>>) -> Content<'a> {
        let replaced = matches!(self.update.change, Change::Replace { .. } | Change::Remove);
        Content {
            base: base.filter(|_| !replaced),
            size: self.update.size,
            data_end: self.head.map_or(0, |head| head.data_end),
            extents: &self.extents,
            zeroed: &self.zeroed,
        }
    }
}

/// A sector of a chunk as it is kept in records.
fn short(sector: u32) -> u16 {
    u16::try_from(sector).expect("a chunk has 16,384 sectors at most")
}

#[cfg(test)]
mod tests;
