//! Bulk payload: what is sent, and what has arrived.

use engine_runtime::{Bytes, Env, yield_now};
use engine_types::limits::SEGMENT_CRC_COUNT_MAX;

/// One piece of payload to send: shared bytes and how they lie in their checksum blocks.
///
/// It is cut into segments where needed. Several parts follow each other as one payload.
pub struct Part<'a, E: Env> {
    /// The bytes; kept until the kernel has taken them.
    pub bytes: Bytes<E::Memory>,
    /// Checksum blocks are `1 << block_shift` bytes (12 to 16).
    pub block_shift: u8,
    /// Offset of the first byte within its checksum block.
    pub phase: u32,
    /// CRC32C of each (part of a) checksum block, when already known (W5); else computed here.
    pub crcs: Option<&'a [u32]>,
}

impl<E: Env> Part<'_, E> {
    /// Bytes without a position in a chunk: checksum blocks of 64 KiB from their start.
    pub fn plain(bytes: Bytes<E::Memory>) -> Self {
        Self { bytes, block_shift: PLAIN_BLOCK_SHIFT, phase: 0, crcs: None }
    }
}

/// The largest checksum block: the fewest CRCs.
const PLAIN_BLOCK_SHIFT: u8 = 16;

/// Copies of more than this give way to other tasks in between.
const COPY_BYTES: usize = 256 << 10;

/// `bytes` in memory that can be sent, once there is some; nothing when the pool cannot hold them.
pub async fn pooled<E: Env>(env: &E, bytes: &[u8]) -> Option<Bytes<E::Memory>> {
    let mut buf = env.pool().alloc_wait(bytes.len()).await.ok()?;
    for piece in bytes.chunks(COPY_BYTES) {
        buf.extend_from_slice(piece);
        if piece.len() == COPY_BYTES {
            yield_now().await;
        }
    }
    Some(buf.freeze())
}

/// Bodies up to this size are kept beside the request instead of in a buffer: most are a handful
/// of numbers, and a page of the pool for each would only push payload out of the cache.
const INLINE_BYTES: usize = 128;

/// A body with its capability behind it, aligned for reading in place.
pub(crate) enum Inline<E: Env> {
    Here { bytes: Aligned, len: usize },
    Pooled(Bytes<E::Memory>),
}

#[repr(C, align(16))]
pub(crate) struct Aligned([u8; INLINE_BYTES]);

const _: () = assert!(align_of::<Aligned>() == engine_wire::bodies::BODY_ALIGN);

impl<E: Env> Inline<E> {
    /// Copies `body` and `capability`, one behind the other, if both fit.
    pub(crate) fn here(body: &[u8], capability: &[u8]) -> Option<Self> {
        let len = body.len() + capability.len();
        if INLINE_BYTES < len {
            return None;
        }
        let mut bytes = Aligned([0; INLINE_BYTES]);
        bytes.0[..body.len()].copy_from_slice(body);
        bytes.0[body.len()..len].copy_from_slice(capability);
        Some(Self::Here { bytes, len })
    }

    /// Nothing.
    pub(crate) fn empty() -> Self {
        Self::Here { bytes: Aligned([0; INLINE_BYTES]), len: 0 }
    }
}

impl<E: Env> core::ops::Deref for Inline<E> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Here { bytes, len } => &bytes.0[..*len],
            Self::Pooled(bytes) => bytes,
        }
    }
}

/// CRCs kept without a heap allocation: a segment of 256 KiB in blocks of 64 KiB has at most 5.
const INLINE_CRCS: usize = 8;

/// The CRCs of a received segment's checksum blocks, as its sender computed them.
#[derive(Clone, Debug)]
pub struct Crcs {
    count: usize,
    inline: [u32; INLINE_CRCS],
    more: Option<Box<[u32; SEGMENT_CRC_COUNT_MAX]>>,
}

impl Crcs {
    /// Of a segment that did not come over a connection.
    ///
    /// # Panics
    /// When there are more than a segment has.
    pub fn from_slice(crcs: &[u32]) -> Self {
        let mut kept = Self { count: crcs.len(), inline: [0; INLINE_CRCS], more: None };
        if crcs.len() <= INLINE_CRCS {
            kept.inline[..crcs.len()].copy_from_slice(crcs);
        } else {
            let mut more = Box::new([0; SEGMENT_CRC_COUNT_MAX]);
            more[..crcs.len()].copy_from_slice(crcs);
            kept.more = Some(more);
        }
        kept
    }

    /// One CRC32C per (part of a) checksum block, in order.
    pub fn as_slice(&self) -> &[u32] {
        match &self.more {
            None => &self.inline[..self.count],
            Some(more) => &more[..self.count],
        }
    }
}

/// A piece of payload that has arrived and matches its CRCs, in a buffer of its own.
pub struct Segment<E: Env> {
    /// Position within the request's payload.
    pub offset: u32,
    /// The bytes.
    pub bytes: Bytes<E::Memory>,
    /// Checksum blocks are `1 << block_shift` bytes.
    pub block_shift: u8,
    /// Offset of the first byte within its checksum block.
    pub phase: u32,
    /// The sender's CRCs, verified; stored as they are (W5).
    pub crcs: Crcs,
}
