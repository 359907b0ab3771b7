//! Sizes and marks of an allocator.

use crate::address::{SEGMENT_BYTES, SEGMENT_SECTORS};

/// Segments of the largest store: sector numbers fit in 32 bits, and the highest means no block.
pub const SEGMENTS_MAX: u32 = u32::MAX / SEGMENT_SECTORS;
/// Fill at which writes stop: 2 % stay free, because moving blocks together costs the more the
/// fuller the store is.
const FULL_PERMILLE: u32 = 980;
/// Segments that are claimed before they are needed: one is being filled while the next is claimed.
const CLAIM_AHEAD: u32 = 2;

/// What an allocator is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocatorConfig {
    /// Segments of the data area.
    pub segments: u32,
    /// Whether segments have to be claimed before use, as in a sparse file.
    pub sparse: bool,
    /// Segments that writes leave to deletes, compaction and recovery. While the host gives no
    /// more space, the same share of the segments that are claimed.
    pub reserve_segments: u32,
    /// Fill of the data area at which writes stop.
    pub full_permille: u32,
    /// Segments that are claimed before writes need them.
    pub claim_ahead: u32,
}

/// A configuration that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// None or too many.
    #[error("{found} segments, expected 1 to {max}")]
    Segments {
        /// As given.
        found: u32,
        /// The limit.
        max: u32,
    },
    /// Nothing would be left for writes.
    #[error("a reserve of {reserve} segments leaves nothing of {segments}")]
    Reserve {
        /// As given.
        reserve: u32,
        /// As given.
        segments: u32,
    },
    /// Not a share.
    #[error("writes stop at {found} permille, expected 1 to 1000")]
    Mark {
        /// As given.
        found: u32,
    },
    /// Writes would wait for ever.
    #[error("no segment is claimed ahead of writes")]
    ClaimAhead,
}

impl AllocatorConfig {
    /// The usual marks: a reserve of 1 %, at least 2 segments, but never all there are.
    pub const fn new(segments: u32, sparse: bool) -> Self {
        let share = if segments < 300 { 2 } else { segments / 100 };
        let reserve_segments = if share < segments { share } else { segments.saturating_sub(1) };
        Self {
            segments,
            sparse,
            reserve_segments,
            full_permille: FULL_PERMILLE,
            claim_ahead: CLAIM_AHEAD,
        }
    }

    /// Bytes of the data area.
    pub const fn bytes(&self) -> u64 {
        self.segments as u64 * SEGMENT_BYTES as u64
    }

    /// Bytes at which writes stop.
    pub const fn full_bytes(&self) -> u64 {
        self.bytes() * self.full_permille as u64 / 1000
    }

    /// Whether an allocator can be made of it.
    ///
    /// # Errors
    /// The first contradiction.
    pub const fn check(&self) -> Result<(), ConfigError> {
        let Self { segments, reserve_segments: reserve, full_permille: found, .. } = *self;
        if segments == 0 || SEGMENTS_MAX < segments {
            return Err(ConfigError::Segments { found: segments, max: SEGMENTS_MAX });
        }
        if segments <= reserve {
            return Err(ConfigError::Reserve { reserve, segments });
        }
        if found == 0 || 1000 < found {
            return Err(ConfigError::Mark { found });
        }
        if self.claim_ahead == 0 {
            return Err(ConfigError::ClaimAhead);
        }
        Ok(())
    }
}

const _: () = assert!(SEGMENTS_MAX == 262_143);
