//! A version of a chunk as a whole, on its way to another replica (R6, R12).
//!
//! The version is chosen and pinned in one turn; its bytes are read while they are sent, a few
//! pieces at a time. Beside the pin a shipment holds the images of the version: later versions
//! would kill them.
//!
//! While it lives, nothing that was committed after its beginning is written home, and no block
//! that was dropped since is used again, in the whole store (S4). So whoever holds it bounds its
//! time, and gives it up when the receiver does not take what it brings.

use core::ops::Range;
use std::collections::VecDeque;
use std::rc::Rc;

use engine_runtime::{Bytes, Env, Memory};
use engine_store::entry::Put;
use engine_store::overlay::{Kills, View};
use engine_store::read::{Source, data_map, pieces};
use engine_store::store::is_dead;
use engine_store::{ChunkKey, Record, RecordRef, Tag, TruncateEpoch};
use engine_types::{ChainVersion, ChunkSize, ChunkVersion, Crc32c, SECTOR_BYTES};

use crate::error::ReadError;
use crate::fetch::{Fetch, Pinned};
use crate::read::{Which, active, read_error};
use crate::store::{ChunkStore, Image, Inner};

/// Bytes of a piece at most: one segment of a payload on the wire (R3). Pieces end at multiples of
/// it in the chunk, so each is in one block and made of whole checksum blocks.
pub const PIECE_BYTES_MAX: u32 = 256 << 10;
/// Pieces that are read ahead of the caller: two keep a device busy while one is sent.
const AHEAD_MAX: usize = 2;

/// What the version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// The chunk.
    pub key: ChunkKey,
    /// The version.
    pub version: ChunkVersion,
    /// The chain version under which it was admitted.
    pub chain_version: ChainVersion,
    /// Truncate epoch (M1). Of a removal none is kept: one that is newer than the chunk's.
    pub epoch: TruncateEpoch,
    /// Size of the chunk when full. Of a removal: that of the committed version, if there is one.
    pub size: ChunkSize,
    /// Length of the chunk; 0 of a removal.
    pub len: u32,
    /// The chunk goes: send `Change::Remove`, not `Change::Replace`.
    pub is_removal: bool,
    /// The request that made it, while it is pending (R15).
    pub tag: Option<Tag>,
    /// Its digest (R13).
    pub digest: u64,
}

/// Neighbouring bytes of a version.
#[derive(Clone, Debug)]
pub struct Piece<M: Memory> {
    /// First byte in the chunk: the start of a checksum block.
    pub offset: u32,
    /// The bytes, `PIECE_BYTES_MAX` at most. They were compared with the checksums of the record.
    pub bytes: Bytes<M>,
    /// Their checksums, one per checksum block: as [`crate::Payload`] takes them (W5).
    pub checksums: Vec<Crc32c>,
}

/// A version under way; see the module. Dropping it gives the pin back when the device has
/// answered (S5).
pub struct Shipment<E: Env> {
    /// What it is.
    pub head: Shipped,
    /// Offset and length of its data, ascending, each from the start of a checksum block; the rest
    /// up to the length are zeros without a home.
    pub extents: Vec<(u32, u32)>,
    inner: Rc<Inner<E>>,
    /// Nothing of a removal.
    record: Option<Record>,
    /// Ascending by sector.
    images: Vec<(u16, Image<E>)>,
    /// The extents, cut into pieces.
    cuts: Vec<Range<u32>>,
    /// Pieces that the caller has got.
    done: usize,
    /// The pieces behind, by number.
    under_way: VecDeque<(usize, Fetch<E>)>,
    /// Until all is there.
    pinned: Option<Rc<Pinned<E>>>,
}

impl<E: Env> ChunkStore<E> {
    /// Picks and pins a version in this turn (S4), to be sent to another replica as a whole. It
    /// keeps the pin for as long as it lives: see [`Shipment`].
    ///
    /// # Errors
    /// `NoTarget`, `NoSuchChunk`, `TooManyReads`, `OutOfService`. A removal is no error: see
    /// [`Shipped::is_removal`].
    pub fn start_content(&self, key: ChunkKey, which: Which) -> Result<Shipment<E>, ReadError> {
        let inner = &self.inner;
        if inner.device.is_failed() {
            return Err(ReadError::OutOfService);
        }
        inner.room_for_read()?;
        let (shipped, record, images) = {
            let state = inner.state.borrow();
            active(&state, key.slot)?;
            let committed = state.committed(&key);
            let put = state.pending(&key).filter(|_| which == Which::Pending);
            if let Some(put) = put.filter(|put| put.record.is_none()) {
                (removal(put, committed), None, Vec::new())
            } else {
                let record = match which {
                    Which::Committed => committed,
                    Which::Pending => put.and_then(|put| put.record.as_ref()).map(Record::as_ref),
                };
                let Some(record) = record else { return Err(ReadError::NoSuchChunk { key }) };
                let is_dead = |sector| is_dead(&record, sector);
                let view = put.map_or(View::Committed, |put| {
                    View::Pending(put.version, Kills::new(&put.direct, &is_dead))
                });
                let end = record.head.data_end.div_ceil(SECTOR_BYTES);
                let end = u16::try_from(end).expect("a chunk has 16,384 sectors");
                let mut images = Vec::new();
                state.overlay().overlay(&key, view, 0..end, |sector, image: &Image<E>| {
                    images.push((sector, image.clone()));
                });
                let tag = put.and_then(|put| put.tag);
                (shipped(key, record, tag), Some(record.to_owned()), images)
            }
        };
        Ok(Shipment::new(inner, shipped, record, images))
    }
}

fn shipped(key: ChunkKey, record: RecordRef<'_>, tag: Option<Tag>) -> Shipped {
    let head = record.head;
    Shipped {
        key,
        version: head.version,
        chain_version: head.chain_version,
        epoch: head.epoch,
        size: head.size,
        len: head.len,
        is_removal: false,
        tag,
        digest: record.digest(key.chunk),
    }
}

fn removal(put: &Put, committed: Option<RecordRef<'_>>) -> Shipped {
    let head = committed.map(|record| record.head);
    let epoch = head.map_or(0, |head| head.epoch.get().saturating_add(1));
    Shipped {
        key: put.key,
        version: put.version,
        chain_version: put.chain_version,
        epoch: TruncateEpoch::new(epoch),
        size: head.map_or(ChunkSize::MIN, |head| head.size),
        len: 0,
        is_removal: true,
        tag: put.tag,
        digest: put.digest(),
    }
}

impl<E: Env> Shipment<E> {
    /// In the turn in which the record and the images were found.
    fn new(
        inner: &Rc<Inner<E>>,
        head: Shipped,
        record: Option<Record>,
        images: Vec<(u16, Image<E>)>,
    ) -> Self {
        let map = record.as_ref().map(|record| data_map(record.as_ref(), 0..head.len));
        let data = map.unwrap_or_default().into_iter().filter(|extent| extent.data);
        let data: Vec<Range<u32>> = data.map(|extent| extent.range).collect();
        let extents = data.iter().map(|range| (range.start, range.end - range.start)).collect();
        let cuts: Vec<Range<u32>> = data.into_iter().flat_map(cut).collect();
        let pinned = (!cuts.is_empty()).then(|| Pinned::take(inner));
        let inner = inner.clone();
        let under_way = VecDeque::new();
        Self { head, extents, inner, record, images, cuts, done: 0, under_way, pinned }
    }

    /// The next bytes, in order; nothing when all were brought. A call that is dropped or fails
    /// takes nothing away: the next one brings the same piece.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Memory`, `OutOfService`.
    pub async fn next(&mut self) -> Result<Option<Piece<E::Memory>>, ReadError> {
        if self.inner.device.is_failed() {
            return Err(ReadError::OutOfService);
        }
        if self.under_way.front().is_some_and(|(number, _)| *number != self.done) {
            self.under_way.clear(); // the piece before them was given up
        }
        self.read_ahead(self.done);
        let Some((_, fetch)) = self.under_way.pop_front() else { return Ok(None) };
        let Shipped { key, version, .. } = self.head;
        let fetched = fetch.finish().await.map_err(|why| read_error(key, version, why))?;
        let fetched = fetched.into_iter().next().expect("E126: a piece was asked for");
        let Range { start: offset, end } = self.cuts[self.done];
        self.done += 1;
        self.read_ahead(self.done);
        if self.done == self.cuts.len() {
            self.pinned = None;
            self.images = Vec::new();
        }
        let bytes = fetched.bytes.expect("E126: bytes with a home have arrived");
        let bytes = bytes.slice(0..(end - offset) as usize);
        Ok(Some(Piece { offset, bytes, checksums: fetched.checksums }))
    }

    /// Submits reads of pieces, from number `first` on what is not under way.
    fn read_ahead(&mut self, first: usize) {
        let Some(pinned) = &self.pinned else { return };
        let record = self.record.as_ref().expect("a removal has no pieces").as_ref();
        let ahead = first + AHEAD_MAX;
        for number in first + self.under_way.len()..ahead.min(self.cuts.len()) {
            let mut planned = self.inner.pieces.take();
            pieces(record, self.cuts[number].clone(), true, &mut planned);
            let piece = planned.pop().filter(|_| planned.is_empty());
            self.inner.pieces.replace(planned);
            let piece = piece.expect("E126: neighbouring data of one block is one piece");
            let Source::Home(home) = &piece.source else { unreachable!("E126: it has a home") };
            let sectors = u32::from(home.sectors.first)..home.sectors.end();
            let before = |end: u32| self.images.partition_point(|(at, _)| u32::from(*at) < end);
            let images = &self.images[before(sectors.start)..before(sectors.end)];
            let fetch = Fetch::start_piece(pinned, self.head.key, record, images, piece);
            self.under_way.push_back((number, fetch));
        }
    }
}

impl<E: Env> core::fmt::Debug for Shipment<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { head, extents, done, .. } = self;
        write!(f, "{head:?} with {} extents, {done} pieces brought", extents.len())
    }
}

/// Cuts a range of data at the multiples of a piece's size.
fn cut(range: Range<u32>) -> impl Iterator<Item = Range<u32>> {
    let mut at = range.start;
    core::iter::from_fn(move || {
        let end = range.end.min((at / PIECE_BYTES_MAX + 1) * PIECE_BYTES_MAX);
        let piece = at..end;
        at = end;
        (!piece.is_empty()).then_some(piece)
    })
}
