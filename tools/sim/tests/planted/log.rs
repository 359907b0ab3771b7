//! The log of one replica on its disk, through `Env::File`.
//!
//! ```text
//!   block 0, 1     header, in turn: serial, stamp, generation, CRC
//!   2 ..           records of even generations, one block each
//!   2 + N ..       records of odd generations
//! ```
//!
//! A record says its generation and place, so a record of an older generation is none. Replacing
//! the log writes the other area, flushes, then writes the header that names it, and flushes.
//! A record fills its block, its words lie in different sectors: what a crash tears, the CRC shows.
//! Failure: any error of the disk ends the process, which then recovers.

use std::path::Path;
use std::time::Duration;

use engine_runtime::{BUFFER_ALIGN, Bytes, Env, File, FileError, OpenOptions, until};
use engine_types::{Rng, crc32c};

use crate::bug::Bug;
use crate::message::{Entry, Stamp};

/// Records of one generation: more than a world writes.
const RECORDS_MAX: u64 = 256;
const HEADERS: u64 = 2;
const BLOCK: usize = BUFFER_ALIGN;
/// What a disk writes whole or not at all.
const LOGICAL_SECTOR: usize = 512;
/// What [`Bug::PlaceReusedBeforeCompletion`] waits for a write.
const IMPATIENCE: Duration = Duration::from_millis(2);

pub(crate) struct Log<E: Env> {
    env: E,
    file: E::File,
    bug: Option<Bug>,
    serial: u64,
    generation: u64,
    pub(crate) stamp: Stamp,
    pub(crate) entries: Vec<Entry>,
}

impl<E: Env> Log<E> {
    /// Opens and recovers. What it found is durable when this returns: after a kill it may have
    /// been in the cache of the disk only.
    pub(crate) async fn recover(env: &E, bug: Option<Bug>) -> Result<Self, FileError> {
        let options = OpenOptions { write: true, create: true, ..OpenOptions::default() };
        let file = env.open(Path::new("log"), options).await?;
        let bytes = (HEADERS + 2 * RECORDS_MAX) * BLOCK as u64;
        if file.geometry().size < bytes {
            file.preallocate(0, bytes).await?;
        }
        let (env, stamp, entries) = (env.clone(), Stamp::default(), Vec::new());
        let mut log = Self { env, file, bug, serial: 0, generation: 0, stamp, entries };
        for block in 0..HEADERS {
            let bytes = log.file.read(block * BLOCK as u64, BLOCK).await?;
            if let Some([serial, epoch, attempt, generation]) = open_block(&bytes, b"head", true)
                && log.serial < serial
            {
                (log.serial, log.generation) = (serial, generation);
                log.stamp = Stamp { epoch, attempt };
            }
        }
        while let Some(entry) = log.read(log.entries.len() as u64).await? {
            log.entries.push(entry);
        }
        log.file.flush().await?;
        Ok(log)
    }

    async fn read(&self, index: u64) -> Result<Option<Entry>, FileError> {
        let bytes = self.file.read(self.place(index), BLOCK).await?;
        let check = self.bug != Some(Bug::TornTailTaken);
        let words = open_block::<6>(&bytes, b"reco", check);
        let Some([generation, place, client, sequence, key, value]) = words else {
            return Ok(None);
        };
        let (Ok(client), Ok(key)) = (u32::try_from(client), u32::try_from(key)) else {
            return Ok(None);
        };
        let expected = (generation, place) == (self.generation, index);
        Ok(expected.then_some(Entry { client, sequence, key, value }))
    }

    /// Adds a record; durable when this returns true. False when the write was given up, which
    /// only a planted bug does.
    pub(crate) async fn append(&mut self, entry: Entry) -> Result<bool, FileError> {
        let index = self.entries.len() as u64;
        let bytes = self.record(index, entry).await;
        let write = self.file.write(self.place(index), bytes);
        if self.bug == Some(Bug::PlaceReusedBeforeCompletion) {
            match until(&self.env, self.env.now() + IMPATIENCE, write).await {
                Ok(written) => written?,
                Err(_) => return Ok(false),
            }
        } else {
            write.await?;
        }
        if self.bug != Some(Bug::MissingFlush) {
            self.file.flush().await?;
        }
        self.entries.push(entry);
        Ok(true)
    }

    /// Replaces the whole log.
    pub(crate) async fn replace(
        &mut self,
        stamp: Stamp,
        entries: Vec<Entry>,
    ) -> Result<(), FileError> {
        assert!(self.stamp < stamp, "stamps ascend: {stamp:?} after {:?}", self.stamp);
        self.generation += 1;
        let mut writes = Vec::new();
        for (index, &entry) in entries.iter().enumerate() {
            let bytes = self.record(index as u64, entry).await;
            writes.push(self.file.write(self.place(index as u64), bytes));
        }
        for write in writes {
            write.await?;
        }
        self.file.flush().await?;
        self.entries = entries;
        self.set_stamp(stamp).await
    }

    /// From now on only the primary with this stamp may add records.
    pub(crate) async fn set_stamp(&mut self, stamp: Stamp) -> Result<(), FileError> {
        assert!(self.stamp < stamp, "stamps ascend: {stamp:?} after {:?}", self.stamp);
        self.serial += 1;
        self.stamp = stamp;
        let words = [self.serial, stamp.epoch, stamp.attempt, self.generation];
        let bytes = self.block(b"head", &words).await;
        self.file.write(self.serial % HEADERS * BLOCK as u64, bytes).await?;
        self.file.flush().await
    }

    fn place(&self, index: u64) -> u64 {
        assert!(index < RECORDS_MAX, "a world writes fewer than {RECORDS_MAX} records");
        (HEADERS + self.generation % 2 * RECORDS_MAX + index) * BLOCK as u64
    }

    async fn record(&self, index: u64, entry: Entry) -> Bytes<E::Memory> {
        let Entry { client, sequence, key, value } = entry;
        let words = [self.generation, index, client.into(), sequence, key.into(), value];
        self.block(b"reco", &words).await
    }

    async fn block(&self, magic: &[u8; 4], words: &[u64]) -> Bytes<E::Memory> {
        seal_block(&self.env, magic, words).await
    }
}

/// `magic`, CRC and two words at the start of a block, every further word in a sector of its own.
pub(crate) async fn seal_block<E: Env>(
    env: &E,
    magic: &[u8; 4],
    words: &[u64],
) -> Bytes<E::Memory> {
    let mut bytes = vec![0; BLOCK];
    Rng::new(words.iter().fold(0, |sum, word| sum ^ word)).fill_bytes(&mut bytes[24..]);
    bytes[..4].copy_from_slice(magic);
    for (index, word) in words.iter().enumerate() {
        let at = place(index);
        bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    bytes[4..8].fill(0);
    let crc = crc32c(&bytes).get();
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    let mut buf = env.pool().alloc_wait(BLOCK).await.expect("a block fits into any pool");
    buf.extend_from_slice(&bytes);
    buf.freeze()
}

/// The words of a block, when it is one of `magic` and whole.
pub(crate) fn open_block<const N: usize>(
    bytes: &[u8],
    magic: &[u8; 4],
    check: bool,
) -> Option<[u64; N]> {
    if bytes.len() != BLOCK || &bytes[..4] != magic {
        return None;
    }
    let crc = u32::from_le_bytes(bytes[4..8].try_into().expect("4 bytes"));
    let mut zeroed = bytes.to_vec();
    zeroed[4..8].fill(0);
    if check && crc32c(&zeroed).get() != crc {
        return None;
    }
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    Some(core::array::from_fn(|index| word(place(index))))
}

/// Where word `index` of a block lies.
const fn place(index: usize) -> usize {
    if index < 2 { 8 + index * 8 } else { index * LOGICAL_SECTOR }
}
