//! Files and devices of a node, and the operations under way on them.
//!
//! A write takes effect when it completes; until then, and until a crash has passed, any part of
//! it may be seen: a read that overlaps it in time and place returns any mixture of sectors.
//!
//! Crash: un-flushed writes and those under way survive by any subset of their sectors (E44);
//! un-flushed changes of length and space survive or not. A killed process loses nothing that had
//! completed; what was under way lands whole, in part, or not at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::arena::{Arena, Key};
use super::env::Memory;
use super::fault::{Count, DiskFaults};
use super::operation::{Covered, Trouble, Work};
pub(super) use super::pages::Page;
use super::pages::{CrashMode, PAGE, Pages, Ranges, SECTOR, Stamp, WHOLE};
use super::trace::Happened;
use super::world::State;
use crate::buffer::{Buf, Bytes};
use crate::file::FileKind;

/// One file or device.
pub(super) struct FileState {
    pub(super) path: PathBuf,
    pub(super) kind: FileKind,
    pub(super) logical_block: u32,
    /// Of a device: completed writes are lost with the power unless a flush covered them.
    pub(super) volatile_cache: bool,
    pub(super) size: u64,
    pub(super) durable_size: u64,
    pub(super) pages: Pages,
    /// Space of a regular file.
    pub(super) allocated: Ranges,
    pub(super) durable_allocated: Ranges,
    /// Number of the write, discard or change of length that completed last.
    pub(super) seq: u64,
    /// Newest number that a flush has made durable.
    pub(super) durable_seq: u64,
    /// Flushes under way.
    pub(super) flushes: u32,
    pub(super) faults: Option<DiskFaults>,
    pub(super) locked_by: Option<Key>,
    pub(super) under_way: Vec<Key>,
}

impl FileState {
    /// The next change completes.
    fn next_stamp(&mut self) -> Stamp {
        self.seq += 1;
        Stamp { seq: self.seq, forget: self.flushes == 0 }
    }
}

/// An open file as the kernel sees it: it lives until its handles and its operations have ended.
pub(super) struct Opened {
    pub(super) file: u32,
    pub(super) held: bool,
    pub(super) operations: u32,
}

/// Everything that a node stores.
pub(super) struct NodeDisk {
    pub(super) files: Vec<FileState>,
    pub(super) by_path: BTreeMap<PathBuf, u32>,
    pub(super) faults: DiskFaults,
    /// Bytes that all regular files may take together.
    pub(super) space: Option<u64>,
    pub(super) opened: Arena<Opened>,
}

impl NodeDisk {
    pub(super) fn new(faults: DiskFaults) -> Self {
        let (files, by_path) = (Vec::new(), BTreeMap::new());
        Self { files, by_path, faults, space: None, opened: Arena::default() }
    }

    pub(super) fn find(&self, path: &Path) -> Option<u32> {
        self.by_path.get(path).copied()
    }

    pub(super) fn add(&mut self, path: &Path, kind: FileKind, size: u64, logical: u32) -> u32 {
        let number = u32::try_from(self.files.len()).expect("a node has few files");
        self.by_path.insert(path.to_owned(), number);
        self.files.push(FileState {
            path: path.to_owned(),
            kind,
            logical_block: logical,
            volatile_cache: true,
            size,
            durable_size: size,
            pages: Pages::default(),
            allocated: Ranges::default(),
            durable_allocated: Ranges::default(),
            seq: 0,
            durable_seq: 0,
            flushes: 0,
            faults: None,
            locked_by: None,
            under_way: Vec::new(),
        });
        number
    }

    fn has_room(&self, more: u64) -> bool {
        more <= self.available()
    }

    /// Bytes that files may still take.
    pub(super) fn available(&self) -> u64 {
        let Some(space) = self.space else { return u64::MAX };
        let used: u64 = self.files.iter().map(|file| file.allocated.total()).sum();
        space.saturating_sub(used)
    }

    pub(super) fn release(&mut self, opened: Key) {
        let Some(entry) = self.opened.get(opened) else { return };
        if !entry.held && entry.operations == 0 {
            let file = &mut self.files[entry.file as usize];
            if file.locked_by == Some(opened) {
                file.locked_by = None;
            }
            self.opened.remove(opened);
        }
    }
}

impl State {
    pub(super) fn file(&self, node: u32, file: u32) -> &FileState {
        &self.node(node).disk.files[file as usize]
    }

    pub(super) fn file_mut(&mut self, node: u32, file: u32) -> &mut FileState {
        &mut self.node_mut(node).disk.files[file as usize]
    }

    pub(super) fn faults_of(&self, node: u32, file: u32) -> DiskFaults {
        let disk = &self.node(node).disk;
        disk.files.get(file as usize).and_then(|file| file.faults).unwrap_or(disk.faults)
    }

    pub(super) fn check_gone(&mut self, node: u32, file: u32) -> Result<(), Trouble> {
        if self.faults_of(node, file).gone {
            self.count(Count::DeviceGone);
            return Err(Trouble::Gone);
        }
        Ok(())
    }

    fn fault(&mut self, permille: u32) -> bool {
        0 < permille && self.streams.disk_fault.chance(permille)
    }

    pub(super) fn record_fault(&mut self, node: u32, file: u32, what: &'static str, position: u64) {
        self.record(node, Happened::Fault { file, what, position });
    }

    // Reading

    pub(super) fn read_ends(
        &mut self,
        node: u32,
        file: u32,
        position: u64,
        len: usize,
        (mut buf, early): (Buf<Memory>, Vec<(u64, [u8; SECTOR])>),
    ) -> Result<Bytes<Memory>, Trouble> {
        self.count(Count::Read);
        self.check_gone(node, file)?;
        let faults = self.faults_of(node, file);
        if self.fault(faults.read_error_permille) {
            self.count(Count::ReadError);
            self.record_fault(node, file, "read error", position);
            return Err(Trouble::Io);
        }
        let left = self.file(node, file).size.saturating_sub(position);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(len);
        buf.set_len(len);
        if len == 0 {
            return Ok(buf.freeze());
        }
        if self.fault(faults.rot_permille) {
            let byte = position + self.streams.disk_fault.below(len as u64);
            let bit = self.streams.disk_fault.next_u64().to_le_bytes()[0];
            self.rot(node, file, byte, bit);
        }
        let out = &mut buf.whole_mut()[..len];
        self.file(node, file).pages.read(position / PAGE as u64, out);
        self.mix_writes(node, file, position, out);
        for (at, old) in early {
            // Only sectors inside the request were kept.
            let from = usize::try_from(at - position).expect("inside the buffer");
            let until = (from + SECTOR).min(len);
            if from < until {
                out[from..until].copy_from_slice(&old[..until - from]);
            }
        }
        if self.fault(faults.read_flip_permille) {
            let byte = self.streams.disk_fault.below(len as u64);
            out[usize::try_from(byte).expect("an index")] ^= 1 << (byte % 8);
            self.count(Count::ReadFlip);
            self.record_fault(node, file, "bit flipped in a read", position + byte);
        }
        Ok(buf.freeze())
    }

    /// Flips one stored bit.
    pub(super) fn rot(&mut self, node: u32, file: u32, byte: u64, bit: u8) {
        let within = usize::try_from(byte % PAGE as u64).expect("inside a page");
        if self.file_mut(node, file).pages.flip(byte / PAGE as u64, within, bit) {
            self.count(Count::Rot);
            self.record_fault(node, file, "bit flipped on the medium", byte);
        }
    }

    /// Writes under way may be seen, by sectors.
    fn mix_writes(&mut self, node: u32, file: u32, position: u64, out: &mut [u8]) {
        let mut mixed = false;
        let under_way = &self.nodes[node as usize].disk.files[file as usize].under_way;
        for key in under_way {
            let other = self.operations.get(*key).map(|operation| &operation.work);
            let Some(Work::Write { position: start, data, .. }) = other else { continue };
            for (at, new) in overlap(*start, data, position, out.len() as u64) {
                if self.streams.disk.chance(500) {
                    let from = usize::try_from(at - position).expect("inside the buffer");
                    let until = (from + SECTOR).min(out.len());
                    out[from..until].copy_from_slice(&new[..until - from]);
                    mixed = true;
                }
            }
        }
        if mixed {
            self.count(Count::MixedRead);
        }
    }

    // Writing

    pub(super) fn write_ends(
        &mut self,
        node: u32,
        file: u32,
        position: u64,
        data: &[u8],
    ) -> Result<(), Trouble> {
        self.count(Count::Write);
        self.check_gone(node, file)?;
        let faults = self.faults_of(node, file);
        if self.fault(faults.write_error_permille) {
            self.count(Count::WriteError);
            self.record_fault(node, file, "write error", position);
            if self.claim(node, file, position, data.len() as u64).is_ok() {
                self.land_torn(node, file, position, data);
            }
            return Err(Trouble::Io);
        }
        self.claim(node, file, position, data.len() as u64)?;
        let mut at = position;
        if self.fault(faults.misdirect_permille) {
            let size = self.file(node, file).size;
            let places = size.saturating_sub(data.len() as u64) / PAGE as u64 + 1;
            at = self.streams.disk_fault.below(places) * PAGE as u64;
            self.count(Count::Misdirected);
            self.record_fault(node, file, "write misdirected", at);
        }
        self.land(node, file, at, data, |_| WHOLE);
        if !self.file(node, file).volatile_cache {
            self.settle(node, file, at, data.len() as u64);
        }
        Ok(())
    }

    /// Makes a completed write of a write-through device durable. A discard promises nothing there
    /// either, so that only the pages of this write are.
    fn settle(&mut self, node: u32, file: u32, position: u64, len: u64) {
        let pages = &mut self.nodes[node as usize].disk.files[file as usize].pages;
        for number in position / PAGE as u64..(position + len) / PAGE as u64 {
            pages.settle(number, &mut self.free_pages);
        }
    }

    /// Changes what a device does with completed writes; a cache that is switched off is written
    /// out.
    pub(super) fn set_volatile_cache(&mut self, node: u32, file: u32, volatile: bool) {
        let entry = &mut self.nodes[node as usize].disk.files[file as usize];
        assert_eq!(entry.kind, FileKind::Block, "{} is no device", entry.path.display());
        entry.volatile_cache = volatile;
        if !volatile {
            entry.pages.flushed(entry.seq, &mut self.free_pages);
        }
    }

    /// Makes sure of space for a range of a regular file, and counts it.
    pub(super) fn claim(
        &mut self,
        node: u32,
        file: u32,
        position: u64,
        len: u64,
    ) -> Result<(), Trouble> {
        let entry = self.file(node, file);
        if entry.kind == FileKind::Block {
            return Ok(());
        }
        let end = position + len;
        let missing = entry.allocated.missing(position, end);
        if missing == 0 {
            return Ok(());
        }
        if !self.node(node).disk.has_room(missing) {
            self.count(Count::NoSpace);
            self.record_fault(node, file, "no space", position);
            return Err(Trouble::Full);
        }
        self.file_mut(node, file).allocated.insert(position, end);
        Ok(())
    }

    /// A write takes effect, by the sectors that `mask` names for each page.
    pub(super) fn land(
        &mut self,
        node: u32,
        file: u32,
        position: u64,
        data: &[u8],
        mut mask: impl FnMut(&mut Self) -> u8,
    ) {
        self.keep_early(node, file, position, data.len() as u64);
        let entry = self.file_mut(node, file);
        let stamp = entry.next_stamp();
        if entry.kind == FileKind::Regular {
            entry.size = entry.size.max(position + data.len() as u64);
        }
        for (number, data) in (position / PAGE as u64..).zip(data.chunks(PAGE)) {
            let mask = mask(self);
            if mask != 0 {
                let pages = &mut self.nodes[node as usize].disk.files[file as usize].pages;
                pages.write(number, stamp, data, mask, &mut self.free_pages);
            }
        }
    }

    /// A write that ended badly: any subset of its sectors.
    pub(super) fn land_torn(&mut self, node: u32, file: u32, position: u64, data: &[u8]) {
        let mode = match self.crash_mode {
            None => self.streams.crash.below(3),
            Some(CrashMode::LoseAll) => 0,
            Some(CrashMode::KeepAll) => 1,
            Some(CrashMode::PerSector) => 2,
        };
        self.land(node, file, position, data, |state| match mode {
            0 => 0,
            1 => WHOLE,
            _ => state.streams.crash.next_u64().to_le_bytes()[0],
        });
    }

    /// Reads under way may have seen what is there before it changes.
    fn keep_early(&mut self, node: u32, file: u32, position: u64, len: u64) {
        let entry = &self.nodes[node as usize].disk.files[file as usize];
        for key in &entry.under_way {
            let other = self.operations.get_mut(*key).map(|operation| &mut operation.work);
            let Some(Work::Read { position: start, len: wanted, early, .. }) = other else {
                continue;
            };
            let from = position.max(*start);
            let until = (position + len).min(*start + *wanted as u64);
            if until <= from {
                continue;
            }
            let mut old = vec![0; usize::try_from(until - from).expect("at most a buffer")];
            entry.pages.read(from / PAGE as u64, &mut old);
            for (at, sector) in (from..).step_by(SECTOR).zip(old.as_chunks::<SECTOR>().0) {
                let seen = early.iter().any(|(other, _)| *other == at);
                if !seen && self.streams.disk.chance(500) {
                    early.push((at, *sector));
                }
            }
        }
    }

    // Flushing

    pub(super) fn flush_ends(
        &mut self,
        node: u32,
        file: u32,
        covered: Covered,
    ) -> Result<(), Trouble> {
        self.count(Count::Flush);
        self.check_gone(node, file)?;
        let faults = self.faults_of(node, file);
        if self.fault(faults.flush_error_permille) {
            self.count(Count::FlushError);
            self.record_fault(node, file, "flush error", 0);
            return Err(Trouble::Io);
        }
        if self.fault(faults.flush_lie_permille) {
            self.count(Count::FlushLie);
            self.record_fault(node, file, "flush lied", 0);
            return Ok(());
        }
        let entry = &mut self.nodes[node as usize].disk.files[file as usize];
        entry.pages.flushed(covered.seq, &mut self.free_pages);
        if entry.durable_seq <= covered.seq {
            entry.durable_seq = covered.seq;
            entry.durable_size = covered.size;
            if let Some(allocated) = covered.allocated {
                entry.durable_allocated = allocated;
            }
        }
        Ok(())
    }

    // Space and length

    pub(super) fn preallocate_ends(
        &mut self,
        node: u32,
        file: u32,
        position: u64,
        len: u64,
    ) -> Result<(), Trouble> {
        self.check_gone(node, file)?;
        self.claim(node, file, position, len)?;
        let entry = self.file_mut(node, file);
        if entry.kind == FileKind::Regular && entry.size < position + len {
            entry.seq += 1;
            entry.size = position + len;
        }
        Ok(())
    }

    pub(super) fn discard_ends(
        &mut self,
        node: u32,
        file: u32,
        position: u64,
        len: u64,
    ) -> Result<(), Trouble> {
        self.check_gone(node, file)?;
        if self.faults_of(node, file).no_discard {
            return Err(Trouble::Unsupported);
        }
        self.keep_early(node, file, position, len.min(self.file(node, file).size));
        let entry = self.file_mut(node, file);
        let (stamp, kind) = (entry.next_stamp(), entry.kind);
        let numbers = entry.pages.numbers(position / PAGE as u64, (position + len) / PAGE as u64);
        if kind == FileKind::Regular {
            entry.allocated.remove(position, position + len);
        }
        for number in numbers {
            // A device may keep what was there, forget it, or show anything at all (V8).
            let becomes = if kind == FileKind::Regular { 0 } else { self.streams.disk.below(3) };
            let pages = &mut self.nodes[node as usize].disk.files[file as usize].pages;
            match becomes {
                0 => pages.zero(number, stamp, &mut self.free_pages),
                1 => {}
                _ => {
                    let mut data = [0; PAGE];
                    self.streams.disk.fill_bytes(&mut data);
                    pages.write(number, stamp, &data, WHOLE, &mut self.free_pages);
                }
            }
        }
        Ok(())
    }

    /// Changes the length of a regular file.
    pub(super) fn resize(&mut self, node: u32, file: u32, len: u64) {
        let entry = &mut self.nodes[node as usize].disk.files[file as usize];
        let stamp = entry.next_stamp();
        if len < entry.size {
            for number in entry.pages.numbers(len.div_ceil(PAGE as u64), u64::MAX) {
                entry.pages.zero(number, stamp, &mut self.free_pages);
            }
            entry.allocated.remove(len, u64::MAX);
        }
        entry.size = len;
    }

    /// The machine lost power, after [`Self::end_operations`].
    pub(super) fn crash_disk(&mut self, node: u32) {
        let mode = self.crash_mode.unwrap_or_else(|| match self.streams.crash.below(6) {
            0 => CrashMode::KeepAll,
            1 => CrashMode::LoseAll,
            _ => CrashMode::PerSector,
        });
        let rng = &mut self.streams.crash;
        let mut lost = 0;
        for file in &mut self.nodes[node as usize].disk.files {
            lost += file.pages.crash(mode, rng, &mut self.free_pages);
            let keep = match mode {
                CrashMode::KeepAll => true,
                CrashMode::LoseAll => false,
                CrashMode::PerSector => rng.chance(500),
            };
            if !keep {
                file.size = file.durable_size;
                file.allocated = file.durable_allocated.clone();
            }
            file.durable_size = file.size;
            if file.kind == FileKind::Regular {
                file.pages.cut(file.size.div_ceil(PAGE as u64));
                // What holds data has space, whatever became of the rest.
                for number in file.pages.numbers(0, u64::MAX) {
                    let start = number * PAGE as u64;
                    file.allocated.insert(start, start + PAGE as u64);
                }
            }
            file.durable_allocated = file.allocated.clone();
            file.durable_seq = file.seq;
        }
        self.report.bump(Count::SectorLost, lost);
    }
}

/// The sectors of a write that lie inside a request, with their positions.
fn overlap(
    start: u64,
    data: &[u8],
    position: u64,
    len: u64,
) -> impl Iterator<Item = (u64, &[u8; SECTOR])> {
    let sectors = data.as_chunks::<SECTOR>().0;
    (start..)
        .step_by(SECTOR)
        .zip(sectors)
        .filter(move |(at, _)| position <= *at && *at < position + len)
}

#[cfg(test)]
mod tests;
