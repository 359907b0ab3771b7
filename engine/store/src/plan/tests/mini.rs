//! A store in memory that carries plans out for real: blocks full of poison, images over them, and
//! every record that recovery could bring back, each with the bytes it must read as. Everything is
//! checked from outside: against a plain byte vector, not against the planner's own reasoning.

use core::cell::Cell;
use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::rc::Rc;
use std::string::String;
use std::vec;
use std::vec::Vec;

use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::{ChunkSize, ChunkVersion, Crc32c, Rng, SECTOR_BYTES, crc32c};

use super::mistake::Mistake;
use crate::address::{BlockAddress, BlockClass, ChunkKey, Slot};
use crate::plan::{Assembled, Facts, Material, Sink, WritePlan, plan};
use crate::read::{Source, valid, whole_blocks};
use crate::record::{Record, RecordRef};
use crate::request::{Change, Update};

/// What went wrong; the harness never panics by itself, so that planted mistakes can be counted.
pub(super) type Found<T = ()> = Result<T, String>;

pub(super) const S: usize = SECTOR_BYTES as usize;
const FRESH_POISON: u8 = 0xa5;
pub(super) const BUFFER_POISON: u8 = 0x5a;

/// An image of a sector in the journal.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) sector: u16,
    pub(super) bytes: Vec<u8>,
    pub(super) applied: Cell<bool>,
    pub(super) released: Cell<bool>,
}

/// One version of the chunk.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) number: u32,
    pub(super) record: Option<Record>,
    /// What it must read as.
    pub(super) bytes: Vec<u8>,
    /// Images over its blocks, released ones included.
    pub(super) images: BTreeMap<u16, Rc<Image>>,
}

/// How often what was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) updates: u64,
    pub(super) images: u64,
    pub(super) in_place: u64,
    pub(super) copied_blocks: u64,
    pub(super) fetches: u64,
    pub(super) payload_writes: u64,
    pub(super) torn: u64,
    pub(super) applied: u64,
}

pub(super) struct Mini {
    pub(super) rng: Rng,
    pub(super) size: ChunkSize,
    pub(super) key: ChunkKey,
    pub(super) home: BTreeMap<u32, Vec<u8>>,
    next_sector: u32,
    pub(super) committed: Rc<Version>,
    durable: Rc<Version>,
    pending: Option<Rc<Version>>,
    /// Aborted, the abort not durable yet.
    ghosts: Vec<Rc<Version>>,
    pub(super) images: Vec<Rc<Image>>,
    pub(super) mistake: Mistake,
    pub(super) counts: Counts,
}

/// A request with its payload.
pub(super) struct Request<'a> {
    pub(super) change: Change,
    pub(super) payload: Vec<(u32, &'a [u8])>,
    pub(super) with_checksums: bool,
}

pub(super) struct Write {
    pub(super) block: BlockAddress,
    pub(super) at: u32,
    pub(super) sector: u16,
    pub(super) bytes: Vec<u8>,
    pub(super) copied: bool,
}

pub(super) struct Memory<'a> {
    payload: &'a [(u32, &'a [u8])],
    pub(super) images: Vec<(u16, Vec<u8>)>,
    pub(super) writes: Vec<Write>,
    shift: bool,
}

impl Sink for Memory<'_> {
    fn image(&mut self, sector: u16) -> &mut [u8] {
        self.images.push((sector, vec![BUFFER_POISON; S]));
        &mut self.images.last_mut().unwrap().1
    }

    fn direct(&mut self, block: BlockAddress, at: u32, sector: u16, len: u32) -> &mut [u8] {
        let bytes = vec![BUFFER_POISON; len as usize];
        self.writes.push(Write { block, at, sector, bytes, copied: true });
        &mut self.writes.last_mut().unwrap().bytes
    }

    fn payload(&mut self, block: BlockAddress, at: u32, extent: usize, range: Range<u32>) {
        let (start, data) = self.payload[extent];
        let aligned = [start, range.start, range.end, at].iter().all(|n| n % SECTOR_BYTES == 0);
        assert!(aligned, "sectors of the chunk must be sectors of the memory: {range:?}");
        let sector = u16::try_from((start + range.start) / SECTOR_BYTES).unwrap();
        let mut bytes = data[range.start as usize..range.end as usize].to_vec();
        if self.shift {
            bytes.rotate_left(S);
        }
        self.writes.push(Write { block, at, sector, bytes, copied: false });
    }
}

impl Mini {
    pub(super) fn new(seed: u64, size: ChunkSize, mistake: Mistake) -> Self {
        let absent =
            Version { number: 0, record: None, bytes: Vec::new(), images: BTreeMap::new() };
        let absent = Rc::new(absent);
        Self {
            rng: Rng::new(seed),
            size,
            key: ChunkKey::new(Slot::new(1), seed, 3),
            home: BTreeMap::new(),
            next_sector: 1024,
            committed: absent.clone(),
            durable: absent,
            pending: None,
            ghosts: Vec::new(),
            images: Vec::new(),
            mistake,
            counts: Counts::default(),
        }
    }

    /// Every version that recovery could bring back.
    pub(super) fn named(&self) -> Vec<Rc<Version>> {
        let mut all: Vec<Rc<Version>> = self.ghosts.clone();
        all.extend(self.pending.clone());
        for version in [&self.durable, &self.committed] {
            if !all.iter().any(|other| Rc::ptr_eq(other, version)) {
                all.push(version.clone());
            }
        }
        all
    }

    /// Does an update up to the moment at which its PUT is durable; false when it was torn.
    pub(super) fn update(&mut self, request: &Request<'_>) -> Found<bool> {
        let base = self.committed.clone();
        let update = Update {
            key: self.key,
            version: ChunkVersion::new(base.number + 1),
            chain_version: engine_types::ChainVersion::new(1),
            epoch: crate::address::TruncateEpoch::new(0),
            size: self.size,
            change: request.change,
            tag: None,
        };
        let extents: Vec<(u32, u32)> =
            request.payload.iter().map(|(start, data)| (*start, short(data.len()))).collect();
        let planned = self.plan(&base, &update, &extents)?;
        let (assembled, memory, fresh) = self.assemble(&base, &planned, request)?;
        let bytes = expected(&base.bytes, request);
        let version = Version {
            number: base.number + 1,
            bytes,
            images: self.images_of(&base, &assembled, &memory),
            record: assembled.record.clone(),
        };
        self.check_accounts(&planned, &base, &version, &assembled, &memory)?;
        self.check_in_place(&base, &fresh, &memory)?;
        self.check_blocks(&base, &version, &fresh, &planned, request)?;
        self.count(&planned, &memory);
        let torn = self.write(memory.writes);
        for named in self.named() {
            self.check(&named).map_err(|why| format!("before the PUT of {update:?}: {why}"))?;
        }
        if torn {
            self.counts.torn += 1;
            self.forget();
            return Ok(false);
        }
        // The PUT is durable: so is the commit of its base, and every abort before it.
        self.durable = base;
        self.ghosts.clear();
        self.images.extend(version.images.values().filter(|i| !i.released.get()).cloned());
        let mut seen = BTreeSet::new();
        self.images.retain(|image| seen.insert(Rc::as_ptr(image)));
        self.pending = Some(Rc::new(version));
        let pending = self.pending.clone().unwrap();
        self.check(&pending).map_err(|why| format!("after {update:?}: {why}"))?;
        Ok(true)
    }

    fn plan(&self, base: &Version, update: &Update, extents: &[(u32, u32)]) -> Found<WritePlan> {
        let base = base.record.as_ref().map(Record::as_ref);
        let end = |version: &Version| version.record.as_ref().map_or(0, |r| r.head.data_end);
        let named = self.named();
        let live: BTreeSet<u16> =
            self.images.iter().filter(|i| !i.released.get()).map(|i| i.sector).collect();
        let mut facts = Facts {
            named_end: named.iter().map(|version| end(version)).max().unwrap_or(0),
            holes_in_place: named.len() == 1,
            live_image: &|sector| live.contains(&sector) && self.mistake != Mistake::IgnoresImages,
        };
        if self.mistake == Mistake::ForgetsOldRecords {
            facts.named_end = base.map_or(0, |base| base.head.data_end);
            facts.holes_in_place = true;
        }
        plan(base, update, extents, &facts).map_err(|why| format!("{update:?} {extents:?}: {why}"))
    }

    fn assemble<'a>(
        &mut self,
        base: &Version,
        planned: &WritePlan,
        request: &'a Request<'a>,
    ) -> Found<(Assembled, Memory<'a>, Vec<BlockAddress>)> {
        let old = base.record.as_ref().map(Record::as_ref);
        let fetched = match old {
            Some(old) => self.fetch(base, old, planned.fetches())?,
            None => BTreeMap::new(),
        };
        ensure!(fetched.len() == planned.fetches().len(), "fetches {:?}", planned.fetches());
        let (class, count) = planned.fresh();
        let blocks: Vec<BlockAddress> = (0..count).map(|_| self.reserve(class)).collect();
        let checksums = match request.with_checksums {
            true => checksums(&request.payload, self.size),
            false => Vec::new(),
        };
        ensure!(
            checksums.is_empty() || checksums.len() == planned.checksum_count(),
            "{} checksums, the plan says {}",
            checksums.len(),
            planned.checksum_count()
        );
        let mut pieces = Vec::new();
        let whole = planned.check_payload(&request.payload, &checksums, usize::MAX, &mut pieces);
        ensure!(whole == Ok(true), "the payload is refused: {whole:?}");
        let material = Material {
            blocks: &blocks,
            payload: &request.payload,
            pieces: &pieces,
            fetched: &|block| fetched.get(&block).map_or(&[][..], |bytes| bytes),
        };
        let shift = self.mistake == Mistake::ShiftsPayload;
        let mut memory =
            Memory { payload: &request.payload, images: vec![], writes: vec![], shift };
        let mut assembled = planned.assemble(old, &material, &mut memory);
        self.plant(base, &mut assembled, &mut memory);
        Ok((assembled, memory, blocks))
    }

    fn fetch(
        &self,
        version: &Version,
        record: RecordRef<'_>,
        blocks: &[u32],
    ) -> Found<BTreeMap<u32, Vec<u8>>> {
        let mut wanted = Vec::new();
        whole_blocks(record, blocks, &mut wanted);
        let mut fetched = BTreeMap::new();
        for piece in wanted {
            let Source::Home(home) = &piece.source else {
                return Err(format!("a hole is fetched: {piece:?}"));
            };
            let bytes = self.bring(version, &record, home)?;
            for block in home.verify.clone() {
                fetched.insert(block, bytes[home.within(&valid(&record, block))].to_vec());
            }
        }
        Ok(fetched)
    }

    fn reserve(&mut self, class: BlockClass) -> BlockAddress {
        let first = self.next_sector.next_multiple_of(class.sectors());
        self.next_sector = first + class.sectors();
        self.home.insert(first, vec![FRESH_POISON; class.bytes() as usize]);
        BlockAddress::new(first)
    }

    /// What the overlay shows over the blocks of a new version.
    fn images_of(
        &self,
        base: &Version,
        assembled: &Assembled,
        memory: &Memory<'_>,
    ) -> BTreeMap<u16, Rc<Image>> {
        let Some(record) = &assembled.record else { return BTreeMap::new() };
        let mut images = base.images.clone();
        images.retain(|&sector, image| {
            let byte = u32::from(sector) * SECTOR_BYTES;
            let block = byte / self.size.checksum_block_bytes();
            let dead = record.head.data_end <= byte || record.as_ref().is_hole(block);
            let rewritten = assembled.direct.iter().any(|range| range.contains(sector));
            !dead && !rewritten && !image.released.get()
        });
        for (sector, bytes) in &memory.images {
            let image = Image {
                sector: *sector,
                bytes: bytes.clone(),
                applied: Cell::new(false),
                released: Cell::new(false),
            };
            images.insert(*sector, Rc::new(image));
        }
        images
    }

    /// Writes in any order; sometimes power fails in between.
    fn write(&mut self, mut writes: Vec<Write>) -> bool {
        let torn = self.rng.chance(60);
        self.rng.shuffle(&mut writes);
        for write in writes {
            let home = self.home.get_mut(&write.block.get()).unwrap();
            for (sector, bytes) in write.bytes.chunks(S).enumerate() {
                let at = write.at as usize + sector * S;
                let bytes_done = if torn { index(&mut self.rng, S + 1) } else { S };
                home[at..at + bytes_done].copy_from_slice(&bytes[..bytes_done]);
            }
        }
        torn
    }

    /// The pending version becomes the committed one; its COMMIT is not durable yet.
    pub(super) fn commit(&mut self) {
        self.committed = self.pending.take().unwrap();
    }

    /// The pending version is dropped; its ABORT is not durable yet.
    pub(super) fn abort(&mut self) {
        self.ghosts.extend(self.pending.take());
    }

    /// Every decision so far becomes durable.
    pub(super) fn sync(&mut self) {
        self.durable = self.committed.clone();
        self.ghosts.clear();
        self.forget();
    }

    /// Power fails: a commit that was not durable happened or not.
    pub(super) fn crash(&mut self) {
        if self.rng.chance(500) {
            self.committed = self.durable.clone();
        }
        self.pending = None;
        self.images.iter().for_each(|image| image.applied.set(image.released.get()));
        self.sync();
    }

    /// Images of the durably committed version are written home, some of them only half; then a
    /// flush may release those that were written.
    pub(super) fn apply(&mut self) -> Found {
        let durable = self.durable.clone();
        let committed = self.committed.clone();
        for (sector, image) in &durable.images {
            let dead = !committed.images.get(sector).is_some_and(|i| Rc::ptr_eq(i, image));
            if dead || image.released.get() || self.rng.chance(300) {
                continue;
            }
            let place = u32::from(*sector) / (BLOCK_BYTES_MAX / SECTOR_BYTES);
            let block = |v: &Version| v.record.as_ref().unwrap().as_ref().block(place as usize);
            ensure!(block(&durable) == block(&committed), "an image outlived its block");
            let at = (u32::from(*sector) * SECTOR_BYTES % BLOCK_BYTES_MAX) as usize;
            let home = self.home.get_mut(&block(&durable).get()).unwrap();
            // Torn at first: until it is released, the image hides whatever is at home.
            home[at..at + S].fill(FRESH_POISON);
            image.applied.set(false);
            if self.rng.chance(800) {
                home[at..at + S].copy_from_slice(&image.bytes);
                image.applied.set(true);
                self.counts.applied += 1;
            }
        }
        if self.rng.chance(700) {
            self.images.iter().for_each(|i| i.released.set(i.released.get() || i.applied.get()));
            self.images.retain(|image| !image.released.get());
        }
        for named in self.named() {
            self.check(&named).map_err(|why| format!("after images were applied: {why}"))?;
        }
        Ok(())
    }

    /// Blocks and images that nothing names any more are released.
    fn forget(&mut self) {
        let named = self.named();
        let blocks: BTreeSet<u32> = named
            .iter()
            .filter_map(|version| version.record.as_ref())
            .flat_map(|record| record.as_ref().blocks().map(|(_, block)| block.get()))
            .collect();
        self.home.retain(|block, _| blocks.contains(block));
        for image in &self.images {
            let of =
                |v: &Rc<Version>| v.images.get(&image.sector).is_some_and(|i| Rc::ptr_eq(i, image));
            if !named.iter().any(of) {
                image.released.set(true);
            }
        }
        self.images.retain(|image| !image.released.get());
    }
}

/// A number of bytes of a chunk.
pub(super) fn short(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap()
}

/// A random number below `bound`.
pub(super) fn index(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap()
}

/// What a chunk reads as after a change.
pub(super) fn expected(old: &[u8], request: &Request<'_>) -> Vec<u8> {
    let mut bytes = old.to_vec();
    let at = |n: u32| n as usize;
    match request.change {
        Change::Write { offset, len } => bytes.resize(bytes.len().max(at(offset + len)), 0),
        Change::Truncate { len } => bytes.resize(at(len), 0),
        Change::Extend { len } => bytes.resize(bytes.len().max(at(len)), 0),
        Change::Zero { offset, len } => {
            let end = bytes.len().min(at(offset + len));
            bytes[at(offset).min(end)..end].fill(0);
        }
        Change::Replace { len } => {
            bytes.clear();
            bytes.resize(at(len), 0);
        }
        Change::Remove => bytes.clear(),
    }
    for (start, data) in &request.payload {
        bytes[at(*start)..at(*start) + data.len()].copy_from_slice(data);
    }
    bytes
}

/// What a client sends with a payload.
pub(super) fn checksums(payload: &[(u32, &[u8])], size: ChunkSize) -> Vec<Crc32c> {
    let bytes = size.checksum_block_bytes() as usize;
    let mut all = Vec::new();
    for (start, mut data) in payload.iter().copied() {
        let mut left = bytes - start as usize % bytes;
        while !data.is_empty() {
            let (piece, rest) = data.split_at(left.min(data.len()));
            all.push(crc32c(piece));
            (data, left) = (rest, bytes);
        }
    }
    all
}
