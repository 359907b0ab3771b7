//! A simulated disk below an engine: it forgets what was not flushed, tears writes, fails and
//! fills up when told.
//!
//! A crash keeps any subset of the 512-byte sectors that were written since the last flush, and
//! the former length or the new one. The log of operations makes a crash at every one of them a
//! matter of replaying: [`Image`] is the disk after the first n.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine_types::Rng;
use rustix::io::Errno;

use crate::engine::file::Device;

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// An operation that changes the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Bytes written.
    Write {
        /// The first one's place.
        offset: u64,
        /// The bytes.
        data: Arc<[u8]>,
    },
    /// Length set.
    SetLen(u64),
    /// Space taken up to here.
    Claim(u64),
    /// Flushed.
    Sync,
}

/// What a crash keeps of what was not flushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// Each sector, and the length, by chance.
    Random(Rng),
}

impl Survival {
    fn keeps(&mut self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Random(rng) => rng.chance(500),
        }
    }
}

/// Content of a disk: what is seen, and what of it is durable.
#[derive(Clone, Debug, Default)]
pub struct Image {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that may differ between the two.
    dirty: BTreeSet<usize>,
    /// A planted fault: flushes do nothing.
    ignores_sync: bool,
}

impl Image {
    /// A disk that holds `bytes`, durably.
    pub fn holding(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), seen: bytes, ..Self::default() }
    }

    /// Carries out one operation.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Write { offset, data } => {
                let start = usize::try_from(*offset).expect("a simulated disk is small");
                let end = start + data.len();
                if self.seen.len() < end {
                    self.seen.resize(end, 0);
                }
                self.seen[start..end].copy_from_slice(data);
                self.dirty.extend(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
            }
            Operation::SetLen(len) => {
                let len = usize::try_from(*len).expect("a simulated disk is small");
                let old = self.seen.len();
                self.seen.resize(len, 0);
                // What is cut off and grown again reads as zeros.
                let (from, to) = (len.min(old), len.max(old));
                self.dirty.extend(from / SECTOR_BYTES..to.div_ceil(SECTOR_BYTES));
            }
            Operation::Claim(_) => {}
            Operation::Sync if self.ignores_sync => {}
            Operation::Sync => self.flush(),
        }
    }

    fn flush(&mut self) {
        self.durable.resize(self.seen.len(), 0);
        for sector in core::mem::take(&mut self.dirty) {
            copy_sector(&self.seen, &mut self.durable, sector);
        }
    }

    /// What a crash leaves.
    pub fn crash(&self, mut survival: Survival) -> Vec<u8> {
        let mut left = self.durable.clone();
        if self.seen.len() != left.len() && survival.keeps() {
            left.resize(self.seen.len(), 0);
        }
        for &sector in &self.dirty {
            if survival.keeps() {
                copy_sector(&self.seen, &mut left, sector);
            }
        }
        left
    }
}

fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let start = sector * SECTOR_BYTES;
    let end = (start + SECTOR_BYTES).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    image: Image,
    log: Vec<Operation>,
    /// Operations that fail once, by their number in the log.
    faults: Vec<(usize, Errno)>,
    crash_at: Option<usize>,
    /// The power has failed; a flush leaves no entry in the log that would say so.
    crashed: bool,
    fails_reads: bool,
    capacity: Option<u64>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that holds `bytes`, durably.
    pub fn holding(bytes: Vec<u8>) -> Self {
        let disk = Self::new();
        disk.state().image = Image::holding(bytes);
        disk
    }

    /// The operation that is `number`th in the log fails with `error`, once, and does nothing.
    pub fn fail_at(&self, number: usize, error: Errno) {
        self.state().faults.push((number, error));
    }

    /// The power fails at the `number`th operation: it may be done in part, and it and all later
    /// ones fail.
    pub fn crash_at(&self, number: usize) {
        let mut state = self.state();
        (state.crash_at, state.crashed) = (Some(number), false);
    }

    /// Whether reads fail.
    pub fn fail_reads(&self, fails: bool) {
        self.state().fails_reads = fails;
    }

    /// No space is left behind `bytes`; nothing: it is endless.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// A planted fault: flushes succeed and do nothing.
    pub fn ignore_syncs(&self) {
        self.state().image.ignores_sync = true;
    }

    /// Operations so far, those that failed included.
    pub fn operations(&self) -> usize {
        self.state().log.len()
    }

    /// All operations that changed the disk, in order.
    pub fn log(&self) -> Vec<Operation> {
        self.state().log.clone()
    }

    /// What is on it.
    pub fn image(&self) -> Image {
        self.state().image.clone()
    }

    /// What a crash now leaves.
    pub fn crash(&self, survival: Survival) -> Vec<u8> {
        self.state().image.crash(survival)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, operation: Operation) -> io::Result<()> {
        let mut state = self.state();
        let number = state.log.len();
        if state.crash_at.is_some_and(|at| at <= number) {
            let first = !core::mem::replace(&mut state.crashed, true);
            if first && state.crash_at == Some(number) && operation != Operation::Sync {
                state.image.apply(&operation);
                state.log.push(operation);
            }
            return Err(Errno::IO.into());
        }
        if let Some(index) = state.faults.iter().position(|(at, _)| *at == number) {
            let (_, error) = state.faults.remove(index);
            state.log.push(Operation::Claim(0)); // it keeps its number
            return Err(error.into());
        }
        let end = match &operation {
            Operation::Write { offset, data } => offset + data.len() as u64,
            Operation::Claim(to) => *to,
            Operation::SetLen(_) | Operation::Sync => 0,
        };
        if state.capacity.is_some_and(|capacity| capacity < end) {
            return Err(Errno::NOSPC.into());
        }
        state.image.apply(&operation);
        state.log.push(operation);
        Ok(())
    }
}

impl Device for SimDisk {
    fn name(&self) -> String {
        "a simulated disk".to_owned()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state().image.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        if state.fails_reads {
            return Err(Errno::IO.into());
        }
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let stored = state.image.seen.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(stored);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.run(Operation::Write { offset, data: data.into() })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.run(Operation::SetLen(len))
    }

    fn claim(&self, _from: u64, to: u64) -> io::Result<()> {
        self.run(Operation::Claim(to))
    }

    fn sync(&self) -> io::Result<()> {
        self.run(Operation::Sync)
    }
}

#[cfg(test)]
mod tests;
