//! Bytes to be written, with their checksums.
//!
//! A CRC32C per checksum block of the chunk (or part of one) is computed here, once (W5): attempts
//! send the same ones again, replicas verify and store them.

use engine_net::Part;
use engine_runtime::{Bytes, Env};
use engine_types::{ChunkOffset, ChunkSize};
use engine_wire::checksum_blocks;

struct Piece<E: Env> {
    bytes: Bytes<E::Memory>,
    phase: u32,
    crcs: Vec<u32>,
}

/// Bytes that lie one behind the other in a chunk.
pub(crate) struct Data<E: Env> {
    pieces: Vec<Piece<E>>,
    shift: u8,
}

impl<E: Env> Data<E> {
    /// None.
    pub(crate) const fn none() -> Self {
        Self { pieces: Vec::new(), shift: 0 }
    }

    /// `parts` from `offset` on, in a chunk of `size`. They end within `CHUNK_BYTES_MAX`.
    pub(crate) fn new(size: ChunkSize, offset: u32, parts: Vec<Bytes<E::Memory>>) -> Self {
        let shift = size.checksum_block_shift();
        let mut at = ChunkOffset::new(offset).expect("the caller has checked the range");
        let mut pieces = Vec::with_capacity(parts.len());
        for bytes in parts.into_iter().filter(|bytes| !bytes.is_empty()) {
            let phase = at.checksum_phase(size);
            let len = u32::try_from(bytes.len()).expect("the caller has checked the range");
            let mut crcs = Vec::with_capacity(((phase + len) >> shift) as usize + 1);
            checksum_blocks(&bytes, shift, phase, &mut |crc| crcs.push(crc));
            at = at.checked_add(len).expect("the caller has checked the range");
            pieces.push(Piece { bytes, phase, crcs });
        }
        Self { pieces, shift }
    }

    /// As `net` sends them.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part<'_, E>> {
        self.pieces.iter().map(|piece| Part {
            bytes: piece.bytes.clone(),
            block_shift: self.shift,
            phase: piece.phase,
            crcs: Some(&piece.crcs),
        })
    }
}
