//! The scrubber: reads everything as reads see it, verifies it, and repairs (S15).
//!
//! A pass is resumed from the key it stopped at. It reads through the overlay, so images that are
//! not home raise no false alarm. Every step looks at the committed version of its moment: a chunk
//! that changes meanwhile is looked at to its end all the same, each part as it is when its turn
//! comes.
//!
//! Nothing is called whole that was not read and verified: a step in which anything is wrong is
//! looked at again block by block, and each block is then right, damaged, or an error of the
//! device. Lack of memory is neither; it ends the pass.

use core::ops::Range;
use core::time::Duration;
use std::io::ErrorKind;

use engine_runtime::Env;
use engine_store::overlay::View;
use engine_store::read::{Source, pieces, valid, whole_blocks};
use engine_store::record::checksum_word;
use engine_store::{BlockAddress, ChunkKey, Record, RecordRef};
use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::{ChunkVersion, Instant, crc32c};

use crate::error::ReadError;
use crate::fetch::{Fetch, FetchError};
use crate::metrics::Io;
use crate::read::read_error;
use crate::store::ChunkStore;

/// Damaged places kept in one report; more are counted only.
pub const DAMAGE_LIST_MAX: usize = 1024;
/// Bytes read at once: large enough for a device's bandwidth, small beside reads of callers.
const STEP_BYTES: u32 = 1 << 20;

/// Checksum blocks with their valid bytes, ascending.
type Replacements = std::collections::BTreeMap<u32, Vec<u8>>;

/// When a pass may go on.
struct Pace {
    began: Instant,
    bytes_per_second: u64,
}

impl Pace {
    /// The moment at which so many bytes are due.
    fn due(&self, bytes: u64) -> Instant {
        let nanos = u128::from(bytes) * 1_000_000_000;
        let nanos = nanos.checked_div(self.bytes_per_second.into()).unwrap_or_default();
        self.began.saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

/// Checksum blocks with bytes in a range, which begins and ends at checksum blocks.
fn blocks_of(record: &RecordRef<'_>, bytes: Range<u32>) -> Vec<u32> {
    let count = u32::try_from(record.head.checksum_count()).expect("at most 1,024");
    let per_block = record.head.size.checksum_block_bytes();
    let blocks = bytes.start / per_block..(bytes.end / per_block).min(count);
    blocks.filter(|&block| !record.is_hole(block)).collect()
}

/// The core has no memory for a read: that says nothing about the device.
fn is_memory(why: &FetchError) -> bool {
    match why {
        FetchError::Memory(_) => true,
        FetchError::Io(why) => why.source.kind() == ErrorKind::OutOfMemory,
        FetchError::Corrupt { .. } => false,
    }
}

/// How fast a pass goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubLimits {
    /// Bytes per second; 0: as fast as the device.
    pub bytes_per_second: u64,
    /// Chunks of this pass; nothing: to the end.
    pub chunks: Option<u64>,
}

/// What is wrong with a checksum block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// Its bytes are not those that were written.
    Checksum,
    /// The device does not give its bytes.
    Unreadable,
}

/// A checksum block that is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The chunk.
    pub key: ChunkKey,
    /// Its committed version.
    pub version: ChunkVersion,
    /// The checksum block.
    pub block: u32,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// How far a pass has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    /// The last chunk that was looked at: resume behind it.
    pub after: Option<ChunkKey>,
    /// Chunks looked at.
    pub chunks: u64,
    /// Bytes verified.
    pub bytes: u64,
    /// Checksum blocks that do not match, twice read and twice wrong.
    pub damaged: u64,
    /// Checksum blocks that the device did not give, and reads that were wrong once and right when
    /// repeated: such a device, or the path to it, is not to be trusted either.
    pub errors: u64,
    /// The first of those that do not match and those that the device does not give.
    pub damage: Vec<Damage>,
    /// Whether the end was reached.
    pub finished: bool,
}

/// Why a checksum block was not repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The chunk is gone, busy, or has another version by now: nothing is to be repaired.
    #[error("{key}: version {version} is not committed and at rest")]
    Changed {
        /// As asked.
        key: ChunkKey,
        /// As asked.
        version: ChunkVersion,
    },
    /// The replacement is not what was written once.
    #[error("{key}: the replacement for checksum block {block} does not match its checksum")]
    Mismatch {
        /// As asked.
        key: ChunkKey,
        /// As asked.
        block: u32,
    },
    /// Another part of the same block cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store has left service.
    #[error("the store is out of service")]
    OutOfService,
}

impl<E: Env> ChunkStore<E> {
    /// Verifies chunks behind `after`, in order; tells `observe` after each chunk.
    ///
    /// # Errors
    /// When the store has left service, and when the core's memory does not suffice to read: what
    /// `observe` was told last holds then.
    pub async fn scrub(
        &self,
        after: Option<ChunkKey>,
        limits: ScrubLimits,
        mut observe: impl FnMut(&ScrubProgress),
    ) -> Result<ScrubProgress, ReadError> {
        let pace = Pace { began: self.inner.env.now(), bytes_per_second: limits.bytes_per_second };
        let mut progress = ScrubProgress { after, ..ScrubProgress::default() };
        loop {
            if self.inner.is_over() {
                return Err(ReadError::OutOfService);
            }
            if limits.chunks.is_some_and(|max| max <= progress.chunks) {
                return Ok(progress);
            }
            let next = {
                let state = self.inner.state.borrow();
                state.index().after(progress.after).next().map(|(key, _)| key)
            };
            let Some(key) = next else {
                progress.finished = true;
                return Ok(progress);
            };
            self.scrub_chunk(&key, &pace, &mut progress).await?;
            progress.after = Some(key);
            progress.chunks += 1;
            observe(&progress);
        }
    }

    /// Looks at one chunk, step by step; its end is that of the version of that moment.
    async fn scrub_chunk(
        &self,
        key: &ChunkKey,
        pace: &Pace,
        progress: &mut ScrubProgress,
    ) -> Result<(), ReadError> {
        let mut at = 0;
        loop {
            if self.inner.is_over() {
                return Err(ReadError::OutOfService);
            }
            self.inner.room_for_own().await;
            let fetch = {
                let state = self.inner.state.borrow();
                let Some(now) = state.committed(key).filter(|now| at < now.head.data_end) else {
                    return Ok(());
                };
                let step = blocks_of(&now, at..at.saturating_add(STEP_BYTES));
                let valid = step.iter().map(|&block| u64::from(now.head.valid_bytes(block)));
                progress.bytes += valid.sum::<u64>();
                self.start_scrub(key, now, &step)
            };
            match fetch.finish().await {
                Ok(_) => {}
                Err(why) if is_memory(&why) => {
                    return Err(read_error(*key, ChunkVersion::default(), why));
                }
                Err(_) => {
                    self.find_damage(key, at..at.saturating_add(STEP_BYTES), progress).await?;
                }
            }
            at = at.saturating_add(STEP_BYTES);
            self.inner.env.sleep_until(pace.due(progress.bytes)).await;
        }
    }

    /// Looks at each checksum block of a step by itself.
    async fn find_damage(
        &self,
        key: &ChunkKey,
        step: Range<u32>,
        progress: &mut ScrubProgress,
    ) -> Result<(), ReadError> {
        let blocks = {
            let state = self.inner.state.borrow();
            state.committed(key).map_or(Vec::new(), |now| blocks_of(&now, step))
        };
        let before = (progress.damaged, progress.errors);
        for block in blocks {
            self.inner.room_for_own().await;
            let (fetch, version) = {
                let state = self.inner.state.borrow();
                let here = |now: &RecordRef<'_>| {
                    (block as usize) < now.checksums().len() && !now.is_hole(block)
                };
                let Some(now) = state.committed(key).filter(here) else { continue };
                (self.start_scrub(key, now, &[block]), now.head.version)
            };
            let kind = match fetch.finish().await {
                Ok(_) => continue,
                Err(why) if is_memory(&why) => return Err(read_error(*key, version, why)),
                Err(FetchError::Memory(_) | FetchError::Io(_)) => DamageKind::Unreadable,
                Err(FetchError::Corrupt { .. }) => DamageKind::Checksum,
            };
            match kind {
                DamageKind::Checksum => progress.damaged += 1,
                DamageKind::Unreadable => progress.errors += 1,
            }
            if progress.damage.len() < DAMAGE_LIST_MAX {
                progress.damage.push(Damage { key: *key, version, block, kind });
            }
        }
        progress.errors += u64::from(before == (progress.damaged, progress.errors));
        Ok(())
    }

    /// Begins to read whole checksum blocks of the committed version.
    fn start_scrub(&self, key: &ChunkKey, now: RecordRef<'_>, blocks: &[u32]) -> Fetch<E> {
        let mut planned = Vec::new();
        whole_blocks(now, blocks, &mut planned);
        Fetch::start(&self.inner, Io::Scrub, *key, now, View::Committed, planned)
    }

    /// Puts the valid bytes of checksum blocks, as another replica has them, in the place of
    /// damaged ones: the blocks of the chunk that hold them are written anew elsewhere, with them,
    /// and switched to if the version is still the committed one. Everything else in those blocks
    /// is verified; when that finds more damage, its checksum block has to be given as well.
    ///
    /// # Errors
    /// See [`RepairError`].
    pub async fn repair(
        &self,
        key: ChunkKey,
        version: ChunkVersion,
        replacements: &[(u32, &[u8])],
    ) -> Result<(), RepairError> {
        self.inner.in_service().map_err(|_| RepairError::OutOfService)?;
        if replacements.is_empty() {
            return Ok(());
        }
        let owned = replacements.iter().map(|(block, data)| (*block, data.to_vec())).collect();
        // In a task: a caller that gives up must not leave a closed chunk behind (E151).
        let store = self.clone();
        self.inner.env.spawn(async move { store.repair_to_end(key, version, owned).await }).await
    }

    async fn repair_to_end(
        &self,
        key: ChunkKey,
        version: ChunkVersion,
        replacements: Replacements,
    ) -> Result<(), RepairError> {
        let inner = &self.inner;
        inner.room_for_own().await;
        let changed = RepairError::Changed { key, version };
        let ticket = {
            let mut state = inner.state.borrow_mut();
            let Some(record) = state.committed(&key).filter(|r| r.head.version == version) else {
                return Err(changed);
            };
            let mut places = Vec::new();
            for (block, data) in &replacements {
                let word = checksum_word(key.chunk, *block, crc32c(data));
                if record.checksums().get(*block as usize) != Some(&word) {
                    return Err(RepairError::Mismatch { key, block: *block });
                }
                places.push((valid(&record, *block).start / BLOCK_BYTES_MAX) as usize);
            }
            let begun = state.begin_move(&key, |place, _| places.contains(&place));
            let Ok(Some(ticket)) = begun else { return Err(changed) };
            ticket
        };
        let mut copied = Ok(());
        for &place in &ticket.places {
            if copied.is_ok() {
                copied = self.copy_repaired(&ticket.record, key, place, &replacements).await;
            }
        }
        let token = {
            let mut state = inner.state.borrow_mut();
            match &copied {
                Ok(()) => Some(state.finish_move(ticket)),
                Err(_) => {
                    state.cancel_move(ticket);
                    None
                }
            }
        };
        inner.progress.notify();
        copied?;
        let token = token.expect("the copy was made");
        inner.durable(token).await.map_err(|_| RepairError::OutOfService)
    }

    /// Writes one place anew: verified bytes as they are, and the replacements among them.
    async fn copy_repaired(
        &self,
        record: &Record,
        key: ChunkKey,
        (place, new): (usize, BlockAddress),
        replacements: &Replacements,
    ) -> Result<(), RepairError> {
        let inner = &self.inner;
        let record = record.as_ref();
        let version = record.head.version;
        let start = u32::try_from(place).expect("at most 16 places") * BLOCK_BYTES_MAX;
        let end = start.saturating_add(BLOCK_BYTES_MAX).min(record.head.data_end);
        let own = replacements.iter().map(|(block, data)| (valid(&record, *block), data));
        let own = own.filter(|(bytes, _)| (start..end).contains(&bytes.start));
        let mut planned = Vec::new();
        let mut at = start;
        for (bytes, _) in own.clone() {
            pieces(record, at..bytes.start, true, &mut planned);
            at = bytes.end;
        }
        pieces(record, at..end, true, &mut planned);
        let fetch = Fetch::start(inner, Io::MoveRead, key, record, View::Committed, planned);
        let fetched = fetch.finish().await.map_err(|why| read_error(key, version, why))?;
        for part in fetched {
            if let (Source::Home(home), Some(bytes)) = (&part.piece.source, part.bytes) {
                let position = inner.block_start(new) + u64::from(home.at());
                let written = inner.device.write(Io::Move, position, bytes).await;
                written.map_err(|_| RepairError::OutOfService)?;
            }
        }
        for (bytes, data) in own {
            let sectors = data.len().next_multiple_of(engine_types::SECTOR_BYTES as usize);
            let mut buf = inner.env.pool().alloc_wait(sectors).await.map_err(ReadError::Memory)?;
            buf.extend_from_slice(data);
            buf.set_len(sectors);
            buf[data.len()..].fill(0);
            let position = inner.block_start(new) + u64::from(bytes.start - start);
            let written = inner.device.write(Io::Move, position, buf.freeze()).await;
            written.map_err(|_| RepairError::OutOfService)?;
        }
        Ok(())
    }
}
