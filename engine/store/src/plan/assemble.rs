//! The synchronous part: checksums, images, copies, the record.

use alloc::vec::Vec;
use core::ops::Range;

use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::{ChecksumBlock, ChunkId, Crc32c, Crc32cState, SECTOR_BYTES, crc32c, reached};

use super::content::{Content, Segment, Source};
use super::output::Output;
use super::place::Place;
use super::{Assembled, Material, Sink, WritePlan, short};
use crate::address::{BLOCK_SECTORS_MAX, BlockAddress};
use crate::entry::SectorRange;
use crate::record::{HOLE, Record, RecordRef, checksum_word};
use crate::request::UpdateError;

impl WritePlan {
    /// Builds the new version: verifies the payload, hands everything that is written to `sink`,
    /// and returns the record. `base` is the record that the plan was made of.
    ///
    /// # Panics
    /// When the material is not what the plan asked for (E120).
    pub fn assemble(
        &self,
        base: Option<RecordRef<'_>>,
        material: &Material<'_, '_>,
        sink: &mut impl Sink,
    ) -> Assembled {
        self.check_material(base, material);
        let pieces = material.pieces;
        assert_eq!(pieces.len(), self.checksum_count(), "E120: the payload was checked");
        let content = self.content(base);
        let blocks = self.blocks(material.blocks);
        let record = self.head.map(|head| {
            let words = self.words(&content, material, pieces, &blocks);
            Record { head, block: blocks[0], words }
        });
        let mut done = Assembled {
            record,
            direct: Vec::new(),
            images: Vec::with_capacity(self.image_count()),
            dropped: self.dropped.clone(),
        };
        for output in &self.decisions.outputs {
            write(&content, material, output, &blocks, sink);
            match output {
                Output::Images(sectors) => done.images.extend(sectors.clone().map(short)),
                Output::Copy(sectors) | Output::Payload(sectors, _) => {
                    extend(&mut done.direct, sectors);
                }
            }
        }
        debug_assert_eq!(done.record.as_ref().map_or(Ok(()), |new| new.as_ref().check()), Ok(()));
        done
    }

    fn check_material(&self, base: Option<RecordRef<'_>>, material: &Material<'_, '_>) {
        let (found, planned) = (base.map(|base| base.head), self.base);
        assert_eq!(found, planned, "E120: {} has another base now", self.update.key);
        for (place, what) in self.decisions.places.iter().enumerate() {
            let Place::Kept(block) = *what else { continue };
            let held = base.map_or(BlockAddress::NONE, |base| base.block(place));
            assert_eq!(held, block, "E120: place {place} of {} was moved", self.update.key);
        }
        let (class, count) = self.fresh();
        let blocks = material.blocks;
        assert_eq!(blocks.len(), count, "E120: the plan has asked for {count} blocks");
        let aligned =
            |block: &BlockAddress| block.is_some() && block.get().is_multiple_of(class.sectors());
        assert!(blocks.iter().all(aligned), "E120: {blocks:?} are not blocks of {class}");
        self.check_places(material.payload);
    }

    fn check_places(&self, payload: &[(u32, &[u8])]) {
        let given = payload.iter().map(|&(start, data)| (start as usize, data.len()));
        let planned = self.extents.iter().map(|e| (e.start as usize, (e.end - e.start) as usize));
        assert!(given.eq(planned), "E120: {} has another payload now", self.update.key);
    }

    /// Compares the client's checksums, and appends the checksum of each piece of payload to
    /// `found` where it is of use: of the pieces that begin a checksum block (E124). One pass over
    /// the payload, in turns: it goes on behind what was found, and says whether it came to the
    /// end, having looked at `bytes_max` bytes and one piece more at most.
    ///
    /// # Errors
    /// `BadPayload` when payload and checksums do not belong together.
    ///
    /// # Panics
    /// When the payload is not what the plan was told of (E120).
    pub fn check_payload(
        &self,
        payload: &[(u32, &[u8])],
        checksums: &[Crc32c],
        bytes_max: usize,
        found: &mut Vec<Crc32c>,
    ) -> Result<bool, UpdateError> {
        let key = self.update.key;
        let bytes = self.update.size.checksum_block_bytes();
        if !checksums.is_empty() && checksums.len() != self.checksum_count() {
            let block = self.extents.first().map_or(0, |extent| extent.start / bytes);
            return Err(UpdateError::BadPayload { key, block });
        }
        self.check_places(payload);
        found.reserve(self.checksum_count() - found.len());
        let (mut before, mut seen) = (found.len(), 0);
        for (extent, &(_, data)) in self.extents.iter().zip(payload) {
            for block in self.pieces(extent) {
                if 0 < before {
                    before -= 1;
                    continue;
                }
                if bytes_max < seen {
                    return Ok(false);
                }
                let start = extent.start.max(block * bytes);
                let end = extent.end.min((block + 1) * bytes);
                if checksums.is_empty() && start != block * bytes {
                    found.push(Crc32c::default());
                    continue;
                }
                let piece = &data[(start - extent.start) as usize..(end - extent.start) as usize];
                seen += piece.len();
                let crc = crc32c(piece);
                if checksums.get(found.len()).is_some_and(|&sent| sent != crc) {
                    return Err(UpdateError::BadPayload { key, block });
                }
                found.push(crc);
            }
        }
        Ok(true)
    }

    /// The block of each place.
    fn blocks(&self, fresh: &[BlockAddress]) -> Vec<BlockAddress> {
        let mut fresh = fresh.iter().copied();
        let places = self.decisions.places.iter().map(|place| match place {
            Place::Empty => BlockAddress::NONE,
            Place::Kept(block) => *block,
            Place::Fresh => fresh.next().expect("E120: as many blocks as fresh places"),
        });
        places.collect()
    }

    /// The table of the new record.
    fn words(
        &self,
        content: &Content<'_>,
        material: &Material<'_, '_>,
        pieces: &[Crc32c],
        blocks: &[BlockAddress],
    ) -> Vec<u32> {
        let (further, count) = (&blocks[1..], content.count() as usize);
        let mut words = Vec::with_capacity(further.len() + count);
        words.extend(further.iter().map(|block| block.get()));
        let old = content.base.map_or(&[][..], |base| base.checksums());
        words.extend(&old[..old.len().min(count)]);
        words.resize(further.len() + count, HOLE);
        let table = &mut words[further.len()..];
        let zeroed = content.checksum_block(self.zeroed.start)..content.count();
        let zeroed = zeroed.take_while(|&block| content.start(block) < self.zeroed.end);
        for block in zeroed.filter(|&block| content.is_hole(block)) {
            table[block as usize] = HOLE;
        }
        for &block in &self.decisions.changed {
            let crc = self.checksum(content, material, pieces, block);
            table[block as usize] = checksum_word(self.update.key.chunk, block, crc);
        }
        words
    }

    /// E124: the checksum of the new valid bytes of a checksum block.
    fn checksum(
        &self,
        content: &Content<'_>,
        material: &Material<'_, '_>,
        pieces: &[Crc32c],
        block: u32,
    ) -> Crc32c {
        let chunk = self.update.key.chunk;
        if let Some(patched) = self.patched(content, material, block) {
            return patched;
        }
        let mut segments = content.segments(content.valid(block)).peekable();
        let first = segments.peek().expect("a changed checksum block has valid bytes");
        let known = match first.source {
            Source::Payload(extent) => {
                let extent = &self.extents[extent];
                let first = content.checksum_block(extent.start);
                Some(pieces[extent.piece + (block - first) as usize])
            }
            Source::Base if content.is_continued(block, first) => {
                reached!("E124: a stored checksum is continued");
                Some(stored(content, chunk, block))
            }
            Source::Base | Source::Zero => None,
        };
        if known.is_some() {
            segments.next();
        }
        if let (Some(known), None) = (known, segments.peek()) {
            return known;
        }
        let mut state = known.map_or_else(Crc32cState::new, Crc32cState::after);
        for segment in segments {
            with_bytes(content, material, &segment, |bytes| state.update(bytes));
        }
        state.finish()
    }
}

/// Bytes of a checksum block that change, at most, while its checksum is found from what they were
/// and are: beyond a half, one pass over all of it is not slower than two over them.
const PATCH_SHARE: u32 = 2;

impl WritePlan {
    /// The checksum of a checksum block that was fetched, hence verified (S16), and of which less
    /// than a half changes: from the stored one, without a second pass over it (E124).
    fn patched(
        &self,
        content: &Content<'_>,
        material: &Material<'_, '_>,
        block: u32,
    ) -> Option<Crc32c> {
        let valid = content.valid(block);
        let known = content.known(block).filter(|_| {
            content.base_valid(block) == valid && self.fetches().binary_search(&block).is_ok()
        })?;
        let changes = || content.segments(valid.clone()).filter(|s| s.source != Source::Base);
        let changed: u32 = changes().map(|segment| segment.range.end - segment.range.start).sum();
        if valid.end - valid.start <= PATCH_SHARE * changed {
            return None;
        }
        reached!("E124: a stored checksum is patched");
        let mut crc = Crc32c::new(known).unbind(self.update.key.chunk, ChecksumBlock::new(block));
        for segment in changes() {
            let (mut old, mut new) = (Crc32cState::new(), Crc32cState::new());
            let kept = Segment { range: segment.range.clone(), source: Source::Base };
            with_bytes(content, material, &kept, |bytes| old.update(bytes));
            with_bytes(content, material, &segment, |bytes| new.update(bytes));
            crc = crc.patched(old.finish(), new.finish(), valid.end - segment.range.end);
        }
        Some(crc)
    }
}

/// The plain checksum of a checksum block of the base.
fn stored(content: &Content<'_>, chunk: ChunkId, block: u32) -> Crc32c {
    let base = content.base.expect("a segment of the base has one");
    Crc32c::new(base.checksums()[block as usize]).unbind(chunk, ChecksumBlock::new(block))
}

/// Lends the bytes of a segment, in pieces.
fn with_bytes(
    content: &Content<'_>,
    material: &Material<'_, '_>,
    segment: &Segment,
    mut lend: impl FnMut(&[u8]),
) {
    let Segment { range, source } = segment;
    let within = |start: u32| (range.start - start) as usize..(range.end - start) as usize;
    match *source {
        Source::Payload(extent) => {
            let (start, data) = material.payload[extent];
            lend(&data[within(start)]);
        }
        Source::Base => {
            let block = content.checksum_block(range.start);
            let valid = content.base_valid(block);
            let data = (material.fetched)(block);
            let expected = (valid.end - valid.start) as usize;
            assert_eq!(data.len(), expected, "E120: bytes fetched of checksum block {block}");
            lend(&data[within(valid.start)]);
        }
        Source::Zero => {
            let mut left = range.len();
            while 0 < left {
                let part = left.min(ZEROS.len());
                lend(&ZEROS[..part]);
                left -= part;
            }
        }
    }
}

static ZEROS: [u8; SECTOR_BYTES as usize] = [0; SECTOR_BYTES as usize];

/// Fills whole sectors with what they hold in the new version (E123).
fn fill(
    content: &Content<'_>,
    material: &Material<'_, '_>,
    sectors: Range<u32>,
    buffer: &mut [u8],
) {
    let bytes = sectors.start * SECTOR_BYTES..sectors.end * SECTOR_BYTES;
    assert_eq!(buffer.len(), bytes.len(), "E123: room for {} sectors", sectors.len());
    let mut at = 0;
    for segment in content.segments(bytes) {
        with_bytes(content, material, &segment, |bytes| {
            buffer[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        });
    }
    assert_eq!(at, buffer.len(), "E123: sectors are filled");
}

/// Does one output.
fn write(
    content: &Content<'_>,
    material: &Material<'_, '_>,
    output: &Output,
    blocks: &[BlockAddress],
    sink: &mut impl Sink,
) {
    let place = |sectors: &Range<u32>| {
        let block = blocks[(sectors.start / BLOCK_SECTORS_MAX) as usize];
        (block, sectors.start * SECTOR_BYTES % BLOCK_BYTES_MAX)
    };
    match output {
        Output::Images(sectors) => {
            for sector in sectors.clone() {
                fill(content, material, sector..sector + 1, sink.image(short(sector)));
            }
        }
        Output::Copy(sectors) => {
            let (block, at) = place(sectors);
            let len = (sectors.end - sectors.start) * SECTOR_BYTES;
            let buffer = sink.direct(block, at, short(sectors.start), len);
            fill(content, material, sectors.clone(), buffer);
        }
        Output::Payload(sectors, extent) => {
            let (block, at) = place(sectors);
            let start = content.extents[*extent].start;
            let range = sectors.start * SECTOR_BYTES - start..sectors.end * SECTOR_BYTES - start;
            sink.payload(block, at, *extent, range);
        }
    }
}

/// Adds sectors behind the last range, or to it.
fn extend(ranges: &mut Vec<SectorRange>, sectors: &Range<u32>) {
    let count = short(sectors.end - sectors.start);
    match ranges.last_mut() {
        Some(last) if last.end() == sectors.start => last.count += count,
        _ => ranges.push(SectorRange { first: short(sectors.start), count }),
    }
}
