//! What the harness knows by itself: versions are read as a driver would read them, and each write
//! is compared with the bytes that it must hold and with the records that could come back.

use core::ops::Range;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::format;
use std::rc::Rc;
use std::vec::Vec;

use engine_types::SECTOR_BYTES;
use engine_types::limits::BLOCK_BYTES_MAX;

use super::mini::{Found, Memory, Mini, Request, S, Version, Write, short};
use super::mistake::Mistake;
use crate::address::{BlockAddress, BlockClass};
use crate::plan::{Assembled, IMAGE_BYTES_MAX, WritePlan};
use crate::read::{Home, Piece, Source, pieces, valid, verify_piece};
use crate::record::RecordRef;
use crate::request::Change;

impl Mini {
    /// Bytes that a device read brings, under the images of a version, verified.
    pub(super) fn bring<'a>(
        &'a self,
        version: &Version,
        record: &RecordRef<'_>,
        home: &Home,
    ) -> Found<Cow<'a, [u8]>> {
        let at = home.at() as usize;
        let Some(block) = self.home.get(&home.block.get()) else {
            return Err(format!("{} was freed", home.block));
        };
        let mut bytes = Cow::Borrowed(&block[at..at + home.bytes() as usize]);
        let first = home.sectors.first;
        let images = version.images.range(first..first + home.sectors.count);
        for (sector, image) in images.filter(|(_, image)| !image.released.get()) {
            let at = usize::from(sector - first) * S;
            bytes.to_mut()[at..at + S].copy_from_slice(&image.bytes);
        }
        for block in home.verify.clone() {
            let data = &bytes[home.within(&valid(record, block))];
            verify_piece(self.key.chunk, record, block, data)
                .map_err(|block| format!("v{}: checksum block {block} differs", version.number))?;
        }
        Ok(bytes)
    }

    /// Reads bytes of a version as a driver would, and compares them with what they must be.
    pub(super) fn read(&self, version: &Version, range: Range<u32>, all: bool) -> Found {
        let record = version.record.as_ref().unwrap().as_ref();
        let mut found = Vec::new();
        pieces(record, range.clone(), all, &mut found);
        let mut at = range.start;
        for Piece { wanted, source } in &found {
            ensure!(wanted.start == at && at < wanted.end, "E126: {found:?}");
            at = wanted.end;
            let expected = &version.bytes[wanted.start as usize..wanted.end as usize];
            let same = match source {
                Source::Hole => is_zero(expected),
                Source::Home(home) => {
                    let bytes = self.size.checksum_block_bytes();
                    for block in wanted.start / bytes..wanted.end.div_ceil(bytes) {
                        let valid = valid(&record, block);
                        let whole = wanted.start <= valid.start && valid.end <= wanted.end;
                        let verified = home.verify.contains(&block);
                        ensure!(verified == (whole || all), "E126: {block} of {found:?}");
                    }
                    let brought = self.bring(version, &record, home)?;
                    brought[home.within(wanted)] == *expected
                }
            };
            ensure!(same, "v{}: {wanted:?} differs", version.number);
        }
        ensure!(at == range.end.min(record.head.len).max(range.start), "E126: {found:?}");
        Ok(())
    }

    /// A version reads as it must, and all its checksums are right.
    pub(super) fn check(&self, version: &Version) -> Found {
        let Some(record) = &version.record else { return Ok(()) };
        let record = record.as_ref();
        let (len, number) = (record.head.len, version.number);
        record.check().map_err(|why| format!("v{number}: {why}"))?;
        ensure!(version.bytes.len() == len as usize, "v{number}: {len} bytes");
        self.read(version, 0..self.size.bytes(), false)
    }

    /// E121, E123: each written sector is written once, as a whole, with what it must read as.
    pub(super) fn check_accounts(
        &self,
        planned: &WritePlan,
        base: &Version,
        version: &Version,
        assembled: &Assembled,
        memory: &Memory<'_>,
    ) -> Found {
        let images: Vec<u16> = memory.images.iter().map(|image| image.0).collect();
        ensure!(images == assembled.images, "images {images:?}, said {:?}", assembled.images);
        ensure!(
            images.len() == planned.image_count(),
            "the plan said {} images",
            planned.image_count()
        );
        ensure!(images.len() <= 128, "at most two kept blocks have images: {}", images.len());
        let copied: usize = memory.writes.iter().filter(|w| w.copied).map(|w| w.bytes.len()).sum();
        ensure!(copied as u64 == planned.copy_bytes(), "{copied} bytes are copied");
        let said: Vec<u16> = assembled
            .direct
            .iter()
            .flat_map(|range| range.first..u16::try_from(range.end()).unwrap())
            .collect();
        let sectors = |write: &Write| {
            write.sector..write.sector + u16::try_from(write.bytes.len() / S).unwrap()
        };
        let direct: Vec<u16> = memory.writes.iter().flat_map(sectors).collect();
        ensure!(direct == said, "direct {direct:?}, said {said:?}");
        ensure!(direct.is_sorted_by(|a, b| a < b), "a sector is written twice: {direct:?}");
        ensure!(images.is_sorted_by(|a, b| a < b), "a sector has two images: {images:?}");
        ensure!(!images.iter().any(|s| direct.binary_search(s).is_ok()), "image and direct");
        let written = memory.images.iter().map(|(sector, bytes)| (*sector, &bytes[..]));
        let direct =
            memory.writes.iter().flat_map(|write| (write.sector..).zip(write.bytes.chunks(S)));
        for (sector, bytes) in written.chain(direct) {
            let start = (usize::from(sector) * S).min(version.bytes.len());
            let end = (start + S).min(version.bytes.len());
            let (data, rest) = bytes.split_at(end - start);
            ensure!(data == &version.bytes[start..end], "E121: sector {sector} differs");
            ensure!(is_zero(rest), "E123: behind the end of sector {sector}");
        }
        let old = base.record.as_ref().map(|r| r.as_ref().head.word_count());
        ensure!(
            planned.chunk_len() as usize == version.bytes.len(),
            "the plan said {} bytes",
            planned.chunk_len()
        );
        let words = version.record.as_ref().map(|record| record.words.len());
        ensure!(words == planned.words_max(), "{words:?} words, the base has {old:?}");
        Ok(())
    }

    /// E122, seen from the records.
    pub(super) fn check_in_place(
        &self,
        base: &Version,
        fresh: &[BlockAddress],
        memory: &Memory<'_>,
    ) -> Found {
        for write in &memory.writes {
            let count = u16::try_from(write.bytes.len() / S).unwrap();
            let place = usize::from(write.sector) / 1024;
            let expected = u32::from(write.sector) * SECTOR_BYTES % BLOCK_BYTES_MAX;
            ensure!(write.at == expected, "E121: sector {} at {}", write.sector, write.at);
            let len = self.home[&write.block.get()].len();
            ensure!(write.at as usize + write.bytes.len() <= len, "E121: beyond the block");
            if fresh.contains(&write.block) {
                continue;
            }
            let held = base.record.as_ref().map(|record| record.as_ref().block(place));
            ensure!(held == Some(write.block), "E125: {} is not the chunk's", write.block);
            for sector in write.sector..write.sector + count {
                let live = self.images.iter().any(|i| i.sector == sector && !i.released.get());
                ensure!(!live, "E122: sector {sector} has an image");
                let named = self.named();
                let naming = named.iter().find(|v| names(v, write.block, place, sector));
                ensure!(naming.is_none(), "E122: v{} names {sector}", naming.unwrap().number);
            }
        }
        Ok(())
    }

    /// E125, S19 and the threshold.
    pub(super) fn check_blocks(
        &self,
        base: &Version,
        version: &Version,
        fresh: &[BlockAddress],
        planned: &WritePlan,
        request: &Request<'_>,
    ) -> Found {
        let blocks = |version: &Version| -> BTreeSet<BlockAddress> {
            let record = version.record.as_ref();
            record.into_iter().flat_map(|r| r.as_ref().blocks()).map(|(_, b)| b).collect()
        };
        let (old, new) = (blocks(base), blocks(version));
        let dropped: BTreeSet<BlockAddress> = planned.dropped().iter().copied().collect();
        ensure!(dropped == &old - &new, "E125: dropped {dropped:?} of {old:?}, new {new:?}");
        let reserved: BTreeSet<BlockAddress> = fresh.iter().copied().collect();
        ensure!(reserved == &new - &old, "E125: reserved {reserved:?} of {new:?}, old {old:?}");
        let Some(record) = &version.record else { return Ok(()) };
        let head = record.head;
        if new.is_empty() {
            return Ok(());
        }
        let smallest = BlockClass::holding(head.data_end).unwrap_or(BlockClass::MAX);
        let whole = BlockClass::holding(self.size.bytes().min(BLOCK_BYTES_MAX)).unwrap();
        let replaced = matches!(request.change, Change::Replace { .. });
        let held = base.record.as_ref().filter(|_| !old.is_empty() && !replaced);
        let class = match held.map(|record| record.head.class) {
            None => smallest,
            Some(class) if smallest <= class => class,
            Some(_) => whole,
        };
        ensure!(head.class == class, "S19: {} instead of {class}", head.class);
        let wrong = self.mistake == Mistake::WrongThreshold;
        let limit = if wrong { IMAGE_BYTES_MAX / 64 } else { IMAGE_BYTES_MAX };
        for (place, _) in record.as_ref().blocks().filter(|(_, block)| old.contains(block)) {
            let start = short(place) * BLOCK_BYTES_MAX;
            let range = start..start + BLOCK_BYTES_MAX;
            let sectors = version.images.values().filter(|image| {
                let kept = base.images.get(&image.sector).is_some_and(|old| Rc::ptr_eq(old, image));
                !kept && range.contains(&(u32::from(image.sector) * SECTOR_BYTES))
            });
            let bytes = short(sectors.count() * S);
            let valid = valid_bytes(&record.as_ref(), &range);
            ensure!(bytes <= limit, "{bytes} bytes of images in one block");
            ensure!(bytes == 0 || 2 * bytes < valid, "{bytes} bytes of images for {valid}");
        }
        Ok(())
    }

    pub(super) fn count(&mut self, planned: &WritePlan, memory: &Memory<'_>) {
        let counts = &mut self.counts;
        counts.updates += 1;
        counts.images += memory.images.len() as u64;
        counts.in_place += u64::from(planned.writes_in_place());
        counts.copied_blocks += u64::from(!planned.dropped().is_empty() && planned.fresh().1 != 0);
        counts.fetches += planned.fetches().len() as u64;
        counts.payload_writes += memory.writes.iter().filter(|write| !write.copied).count() as u64;
    }
}

/// Compared in large steps, which is what most of the harness's time depends on.
fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    bytes.chunks(ZEROS.len()).all(|piece| *piece == ZEROS[..piece.len()])
}

/// Whether a record names a sector of a block.
fn names(version: &Version, block: BlockAddress, place: usize, sector: u16) -> bool {
    let Some(record) = &version.record else { return false };
    let record = record.as_ref();
    let byte = u32::from(sector) * SECTOR_BYTES;
    let held = record.block(place) == block;
    let hole = record.is_hole(byte / record.head.size.checksum_block_bytes());
    held && !hole && byte < record.head.data_end
}

fn valid_bytes(record: &RecordRef<'_>, range: &Range<u32>) -> u32 {
    let bytes = record.head.size.checksum_block_bytes();
    let blocks = (range.start / bytes)..(range.end / bytes);
    blocks.filter(|&b| !record.is_hole(b)).map(|b| record.head.valid_bytes(b)).sum()
}
