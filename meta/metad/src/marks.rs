//! Small keys of this service's own work, beside those of the namespace.
//!
//! ```text
//! LENQ le64(ino)    le64 stamp            the length has to be asked of the chunks (M3, M4)
//! DELC shard        le64 session, le64 beat   who collects a shard of the deletion queue
//! ```
//! A stamp is a time, raised above the stamp that it replaces: equal ones are of one mark.

use engine_types::{InodeId, SessionId};
use meta_kv::KeyRange;
use meta_schema::Timestamp;

#[cfg(test)]
mod tests;

fn of_inode(letters: [u8; 4], ino: InodeId) -> Vec<u8> {
    let mut key = letters.to_vec();
    key.extend_from_slice(&ino.get().to_le_bytes());
    key
}

/// The mark on a file whose length is not exact.
pub(crate) fn length_query(ino: InodeId) -> Vec<u8> {
    of_inode(*b"LENQ", ino)
}

/// All of those marks.
pub(crate) fn length_queries() -> KeyRange {
    KeyRange::prefix(b"LENQ").expect("letters are below 0xff")
}

/// The file of such a key.
pub(crate) fn inode_of(key: &[u8]) -> Option<InodeId> {
    let id = key.get(4..)?.try_into().ok()?;
    Some(InodeId::new(u64::from_le_bytes(id)))
}

/// The stamp of a mark that is set at `now`, over `old` if that is there.
pub(crate) fn stamp(old: Option<&[u8]>, now: Timestamp) -> [u8; 8] {
    let old = old.and_then(|old| old.try_into().ok()).map_or(0, u64::from_le_bytes);
    let now = u64::try_from(now.nanos()).unwrap_or(0);
    now.max(old.saturating_add(1)).to_le_bytes()
}

/// All unfinished cuts.
pub(crate) fn shrinks() -> KeyRange {
    KeyRange::prefix(b"TRUN").expect("letters are below 0xff")
}

/// Who collects a shard.
pub(crate) fn claim(shard: u8) -> Vec<u8> {
    [b"DELC".as_slice(), &[shard]].concat()
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
