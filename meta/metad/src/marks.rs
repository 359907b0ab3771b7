//! Values of this service's own work: stamps under `LENQ`, claims under `DELC`.
//!
//! ```text
//! LENQ   le64 stamp                 a time, raised above the stamp that it replaces: equal
//!                                   ones are of one mark
//! DELC   le64 session, le64 beat    who collects a shard of the deletion queue
//! ```

use engine_types::SessionId;
use meta_kv::KeyRange;
use meta_schema::{Timestamp, key};

use crate::view::prefix;

#[cfg(test)]
mod tests;

/// All marks on files whose length is not exact.
pub(crate) fn length_queries() -> KeyRange {
    prefix(&key::length_queries())
}

/// The stamp of a mark that is set at `now`, over `old` if that is there.
pub(crate) fn stamp(old: Option<&[u8]>, now: Timestamp) -> [u8; 8] {
    let old = old.and_then(|old| old.try_into().ok()).map_or(0, u64::from_le_bytes);
    let now = u64::try_from(now.nanos()).unwrap_or(0);
    now.max(old.saturating_add(1)).to_le_bytes()
}

/// All unfinished cuts.
pub(crate) fn shrinks() -> KeyRange {
    prefix(&key::shrinks())
}

/// A claim as a value.
pub(crate) fn encode_claim(session: SessionId, beat: u64) -> Vec<u8> {
    [session.get().to_le_bytes(), beat.to_le_bytes()].concat()
}

/// The inverse of `encode_claim`; nothing for anything but 16 bytes: a claim decides nothing, so
/// one that cannot be read counts as none.
pub(crate) fn decode_claim(value: &[u8]) -> Option<(SessionId, u64)> {
    let (words, rest) = value.as_chunks::<8>();
    match words {
        [session, beat] if rest.is_empty() => {
            Some((SessionId::new(u64::from_le_bytes(*session)), u64::from_le_bytes(*beat)))
        }
        _ => None,
    }
}
