//! Reads of callers.

use std::rc::Rc;

use engine_runtime::{Bytes, Env, Memory};
use engine_store::overlay::{Kills, View};
use engine_store::read::{Source, data_map, pieces};
use engine_store::store::{Store, is_dead};
use engine_store::{ChunkKey, RecordRef, Slot, TargetPhase};
use engine_types::ChunkVersion;
use engine_types::limits::PAYLOAD_BYTES_MAX;

use crate::error::ReadError;
use crate::fetch::{Fetch, FetchError, Fetched};
use crate::metrics::{Io, add};
use crate::store::{ChunkStore, Inner};

/// Which version a read wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The committed one.
    #[default]
    Committed,
    /// The durable pending one.
    Pending,
}

/// A read of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The chunk.
    pub key: ChunkKey,
    /// First byte.
    pub offset: u32,
    /// Bytes, at most `PAYLOAD_BYTES_MAX`; the answer ends at the length of the chunk.
    pub len: u32,
    /// The version.
    pub version: Which,
    /// Verify checksum blocks that are covered only in part as well (the store's configuration may
    /// ask for it anyway).
    pub verify: bool,
}

/// What a read brought: the parts, one behind the other, are the bytes.
#[derive(Clone, Debug)]
pub struct Content<M: Memory> {
    /// The version that was read.
    pub version: ChunkVersion,
    /// Length of the chunk at that version.
    pub chunk_len: u32,
    /// The bytes, none when the offset is behind the length.
    pub parts: Vec<Bytes<M>>,
}

impl<M: Memory> Content<M> {
    /// Bytes of all parts.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of all bytes in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        self.parts.iter().flat_map(|part| part.iter().copied()).collect()
    }
}

impl<E: Env> ChunkStore<E> {
    /// Reads bytes of a version. What covers a checksum block as a whole is verified.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, read: Read) -> Result<Content<E::Memory>, ReadError> {
        self.start_read(read)?.finish().await
    }

    /// Picks the version, pins its blocks and submits the reads of the device, all in this turn
    /// (S4): whatever is decided about the chunk from now on, this version is what is read.
    ///
    /// # Errors
    /// All but those of the device and its bytes: see [`ReadError`].
    pub fn start_read(&self, read: Read) -> Result<Reading<E>, ReadError> {
        let inner = &self.inner;
        let Read { key, offset, len, version, verify } = read;
        if PAYLOAD_BYTES_MAX < len {
            return Err(ReadError::TooLarge { key, found: len, max: PAYLOAD_BYTES_MAX });
        }
        if inner.device.is_failed() {
            return Err(ReadError::OutOfService);
        }
        inner.room_for_read()?;
        let verify = verify || inner.config.verify_small_reads;
        let state = inner.state.borrow();
        active(&state, key.slot)?;
        let put = state.pending(&key).filter(|_| version == Which::Pending);
        let record: Option<RecordRef<'_>> = match version {
            Which::Committed => state.committed(&key),
            Which::Pending => put.and_then(|put| put.record.as_ref()).map(|record| record.as_ref()),
        };
        let Some(record) = record else { return Err(ReadError::NoSuchChunk { key }) };
        let mut planned = inner.pieces.take();
        pieces(record, offset..offset.saturating_add(len), verify, &mut planned);
        let is_dead = |sector| is_dead(&record, sector);
        let view = put.map_or(View::Committed, |put| {
            View::Pending(put.version, Kills::new(&put.direct, &is_dead))
        });
        let fetch = Fetch::start(inner, Io::Read, key, record, view, planned.drain(..));
        inner.pieces.replace(planned);
        let (version, chunk_len) = (record.head.version, record.head.len);
        Ok(Reading { inner: inner.clone(), key, version, chunk_len, fetch })
    }

    /// Reads that are answered together: all are submitted before the first is waited for.
    pub async fn read_batch(&self, reads: &[Read]) -> Vec<Result<Content<E::Memory>, ReadError>> {
        let mut under_way: Vec<_> = reads.iter().map(|read| Box::pin(self.read(*read))).collect();
        let mut done: Vec<Option<_>> = reads.iter().map(|_| None).collect();
        core::future::poll_fn(|cx| {
            let mut waiting = false;
            for (read, slot) in under_way.iter_mut().zip(&mut done) {
                if slot.is_none() {
                    match read.as_mut().poll(cx) {
                        core::task::Poll::Ready(answer) => *slot = Some(answer),
                        core::task::Poll::Pending => waiting = true,
                    }
                }
            }
            if waiting { core::task::Poll::Pending } else { core::task::Poll::Ready(()) }
        })
        .await;
        done.into_iter().map(|answer| answer.expect("every read has ended")).collect()
    }

    /// What of a range of the committed version is data, what is hole; nothing for an absent chunk.
    pub fn data_map(
        &self,
        key: &ChunkKey,
        range: core::ops::Range<u32>,
    ) -> Option<Vec<engine_store::read::Extent>> {
        let state = self.inner.state.borrow();
        state.committed(key).map(|record| data_map(record, range))
    }

    /// Bytes of blocks that the committed version holds.
    pub fn allocated_bytes(&self, key: &ChunkKey) -> Option<u64> {
        let state = self.inner.state.borrow();
        state.committed(key).map(|record| record.allocated_bytes())
    }
}

/// A read under way: its version is chosen and its blocks are pinned. Dropping it gives the pin
/// back when the device has answered (S5).
#[must_use = "its bytes come from `finish`"]
pub struct Reading<E: Env> {
    inner: Rc<Inner<E>>,
    key: ChunkKey,
    version: ChunkVersion,
    chunk_len: u32,
    fetch: Fetch<E>,
}

impl<E: Env> Reading<E> {
    /// The version that is read.
    pub const fn version(&self) -> ChunkVersion {
        self.version
    }

    /// Length of the chunk at it.
    pub const fn chunk_len(&self) -> u32 {
        self.chunk_len
    }

    /// Waits for the bytes.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Memory`.
    pub async fn finish(self) -> Result<Content<E::Memory>, ReadError> {
        let Self { inner, key, version, chunk_len, fetch } = self;
        let fetched = fetch.finish().await.map_err(|why| read_error(key, version, why))?;
        let parts = inner.parts(fetched);
        let content = Content { version, chunk_len, parts };
        add(&inner.device.counters.user_bytes_read, content.len() as u64);
        Ok(content)
    }
}

impl<E: Env> core::fmt::Debug for Reading<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "reading version {} of {}", self.version, self.key)
    }
}

/// Refuses reads of a slot without an active target.
pub(crate) fn active<T: Clone>(state: &Store<T>, slot: Slot) -> Result<(), ReadError> {
    let target = state.targets().get(slot);
    if target.is_none_or(|target| target.phase != TargetPhase::Active) {
        return Err(ReadError::NoTarget { slot });
    }
    Ok(())
}

pub(crate) fn read_error(key: ChunkKey, version: ChunkVersion, why: FetchError) -> ReadError {
    match why {
        FetchError::Io(source) => ReadError::Io { key, source },
        FetchError::Memory(why) => ReadError::Memory(why),
        FetchError::Corrupt { block } => ReadError::Corrupt { key, block, version },
    }
}

impl<E: Env> Inner<E> {
    /// The wanted bytes of fetched pieces.
    fn parts(&self, fetched: Vec<Fetched<E>>) -> Vec<Bytes<E::Memory>> {
        let mut parts = Vec::with_capacity(fetched.len());
        for Fetched { piece, bytes, .. } in fetched {
            match (&piece.source, bytes) {
                (Source::Home(home), Some(bytes)) => {
                    let within = home.within(&piece.wanted);
                    let whole = within == (0..bytes.len());
                    parts.push(if whole { bytes } else { bytes.slice(within) });
                }
                (Source::Hole, _) => {
                    self.push_zeros((piece.wanted.end - piece.wanted.start) as usize, &mut parts);
                }
                (Source::Home(_), None) => {
                    unreachable!("E126: bytes {:?} have a home and did not arrive", piece.wanted)
                }
            }
        }
        parts
    }

    fn push_zeros(&self, mut len: usize, parts: &mut Vec<Bytes<E::Memory>>) {
        while 0 < len {
            let now = len.min(self.zeros.len());
            parts.push(self.zeros.slice(0..now));
            len -= now;
        }
    }
}
