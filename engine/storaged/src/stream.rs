//! The bytes of an update while they arrive, pass on and are stored (R2, R3).
//!
//! Owner: a shard. Whoever brings the bytes pushes them; relays to the successor follow behind; the
//! store takes them when all are there. A stream ends once: complete or given up. What arrives
//! after that is dropped.
//!
//! Invariants
//!   E382  a stream that was given up never counts as complete, here or further down (R3)
//!   E383  no byte lies outside of what the description names

use core::cell::{Cell, RefCell};

use engine_links::{Chunklet, Description};
use engine_net::{Crcs, Segment};
use engine_runtime::{Bytes, Env, Notify};
use engine_shard::Payload;
use engine_store::Change;
use engine_types::Crc32c;

use crate::lanes::Reserved;

/// A run of bytes at its place in the chunk.
pub(crate) struct Piece<E: Env> {
    pub(crate) at: u32,
    pub(crate) bytes: Bytes<E::Memory>,
    pub(crate) block_shift: u8,
    pub(crate) phase: u32,
    /// As the sender computed them, verified.
    pub(crate) crcs: Option<Crcs>,
}

/// See the module.
pub(crate) struct Stream<E: Env> {
    description: Description,
    pieces: RefCell<Vec<Piece<E>>>,
    /// Bytes so far.
    arrived: Cell<u32>,
    ended: Cell<Option<bool>>,
    /// The links that it has passed on its way here.
    lane: Cell<u8>,
    /// Its room here, if it came over a link (W2).
    reserved: RefCell<Option<Reserved>>,
    changed: Notify,
}

/// More bytes than were announced, or other places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overrun;

impl<E: Env> Stream<E> {
    pub(crate) fn new(description: Description) -> Self {
        Self {
            description,
            pieces: RefCell::default(),
            arrived: Cell::new(0),
            ended: Cell::new(None),
            lane: Cell::new(0),
            reserved: RefCell::default(),
            changed: Notify::default(),
        }
    }

    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<bool> {
        self.ended.get()
    }

    /// Told when bytes have come, or the end.
    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Its sender has taken room for it in a lane; it goes with the last use of the bytes.
    pub(crate) fn begin(&self, lane: u8, reserved: Reserved) {
        self.lane.set(lane);
        if self.ended.get() != Some(false) {
            *self.reserved.borrow_mut() = Some(reserved);
        }
    }

    /// The links that it has passed on its way here.
    pub(crate) fn lane(&self) -> u8 {
        self.lane.get()
    }

    /// Bytes that the description announces.
    pub(crate) fn expected(&self) -> u32 {
        expected(&self.description)
    }

    /// Takes bytes that follow on those before.
    ///
    /// # Errors
    /// They do not belong to it; it is as before.
    pub(crate) fn push(&self, segment: Segment<E>) -> Result<(), Overrun> {
        if self.ended.get().is_some() {
            return Ok(());
        }
        let Segment { bytes, block_shift, phase, crcs, .. } = segment;
        let at = self.take_place(&bytes)?;
        self.pieces.borrow_mut().push(Piece { at, bytes, block_shift, phase, crcs: Some(crcs) });
        self.changed.notify();
        Ok(())
    }

    /// The same with bytes that were read here.
    ///
    /// # Errors
    /// As `push`.
    pub(crate) fn push_read(&self, bytes: Bytes<E::Memory>) -> Result<(), Overrun> {
        if self.ended.get().is_some() {
            return Ok(());
        }
        let at = self.take_place(&bytes)?;
        let block_shift = self.description.size.checksum_block_shift();
        let phase = at & (self.description.size.checksum_block_bytes() - 1);
        self.pieces.borrow_mut().push(Piece { at, bytes, block_shift, phase, crcs: None });
        self.changed.notify();
        Ok(())
    }

    fn take_place(&self, bytes: &Bytes<E::Memory>) -> Result<u32, Overrun> {
        let len = u32::try_from(bytes.len()).map_err(|_| Overrun)?;
        let at = self.place(self.arrived.get(), len).ok_or(Overrun)?;
        self.arrived.set(self.arrived.get() + len);
        Ok(at)
    }

    /// Where in the chunk `len` bytes belong that begin at `position` of the stream.
    fn place(&self, position: u32, len: u32) -> Option<u32> {
        if len == 0 {
            return None;
        }
        if let Change::Write { offset, len: all } = self.description.change {
            let end = position.checked_add(len).filter(|end| *end <= all)?;
            return offset.checked_add(end).map(|end| end - len);
        }
        let mut before = 0;
        for &(offset, extent) in &self.description.extents {
            if position < before + extent {
                let within = position - before;
                return (len <= extent - within).then(|| offset + within);
            }
            before += extent;
        }
        None
    }

    /// No more bytes come. Gives whether they are all there; nothing if it had ended before.
    pub(crate) fn end(&self, complete: bool) -> Option<bool> {
        if self.ended.get().is_some() {
            return None;
        }
        let whole = complete && self.arrived.get() == self.expected();
        self.ended.set(Some(whole));
        self.changed.notify();
        Some(whole)
    }

    /// Nobody here wants it any more.
    pub(crate) fn discard(&self) {
        let _ = self.end(false);
        drop(self.reserved.take());
    }

    /// For the store.
    pub(crate) fn payload(&self) -> Payload<E::Memory> {
        assert_eq!(self.ended.get(), Some(true), "E382: what is stored is complete");
        let shift = self.description.size.checksum_block_shift();
        let block = self.description.size.checksum_block_bytes();
        let pieces = self.pieces.borrow();
        let fits = |piece: &Piece<E>| {
            let in_place = piece.block_shift == shift && piece.phase == piece.at & (block - 1);
            in_place && piece.crcs.is_some()
        };
        let extents = pieces.iter().map(|piece| (piece.at, piece.bytes.clone())).collect();
        let checksums = match pieces.iter().all(fits) {
            true => {
                let all =
                    pieces.iter().flat_map(|piece| piece.crcs.iter().flat_map(Crcs::as_slice));
                all.map(|crc| Crc32c::new(*crc)).collect()
            }
            false => Vec::new(),
        };
        Payload { extents, checksums }
    }

    /// Pieces from the `from`th on, to be passed on.
    pub(crate) fn chunklets(&self, from: usize) -> Vec<Chunklet<E>> {
        let pieces = self.pieces.borrow();
        let new = pieces.get(from..).unwrap_or_default().iter();
        new.map(|piece| Chunklet {
            bytes: piece.bytes.clone(),
            offset: piece.at,
            block_shift: piece.block_shift,
            phase: piece.phase,
            crcs: piece.crcs.as_ref().map(|crcs| crcs.as_slice().to_vec()),
        })
        .collect()
    }
}

/// Bytes that come with an update.
pub(crate) fn expected(description: &Description) -> u32 {
    match description.change {
        Change::Write { len, .. } => len,
        Change::Replace { .. } => {
            let all = description.extents.iter();
            all.fold(0, |sum: u32, (_, len)| sum.saturating_add(*len))
        }
        Change::Truncate { .. } | Change::Extend { .. } | Change::Zero { .. } | Change::Remove => 0,
    }
}

#[cfg(test)]
mod tests;
