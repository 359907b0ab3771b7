//! Fields and their places.

use engine_types::{Crc32cState, WallTime};

use super::Origin;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// Version of the format of backups.
pub const FORMAT_VERSION: u32 = 1;
/// Entries of one block: what is read before it can be checked is kept in memory.
pub const BLOCK_BYTES_MAX: usize = 1 << 20;

pub(super) const MAGIC: [u8; 8] = *b"EMBERKVB";
pub(super) const HEADER_BYTES: usize = 64;
pub(super) const HEAD_BYTES: usize = 20;
pub(super) const FOOTER_BYTES: usize = 28;
pub(super) const KIND_BLOCK: u32 = 1;
pub(super) const KIND_FOOTER: u32 = 2;
/// Lengths of key and value.
pub(super) const ENTRY_HEAD_BYTES: usize = 8;

const _: () = assert!(ENTRY_HEAD_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX <= BLOCK_BYTES_MAX);

pub(super) fn crc(parts: &[&[u8]]) -> u32 {
    let mut state = Crc32cState::new();
    parts.iter().for_each(|part| state.update(part));
    state.finish().get()
}

pub(super) fn header(origin: &Origin) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[16..32].copy_from_slice(&origin.store.to_le_bytes());
    bytes[32..40].copy_from_slice(&origin.version.to_le_bytes());
    bytes[40..48].copy_from_slice(&origin.restores.to_le_bytes());
    bytes[48..56].copy_from_slice(&origin.created.nanos().to_le_bytes());
    let crc = crc(&[&bytes[..60]]);
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The fields of a header whose CRC is right.
pub(super) fn origin(bytes: &[u8; HEADER_BYTES]) -> Origin {
    let mut store = [0; 16];
    store.copy_from_slice(&bytes[16..32]);
    Origin {
        store: u128::from_le_bytes(store),
        version: u64_at(bytes, 32),
        restores: u64_at(bytes, 40),
        created: WallTime::from_nanos(u64_at(bytes, 48)),
    }
}

/// What stands before the payload of a block or footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: u32,
    pub(super) number: u32,
    pub(super) entries: u32,
    pub(super) bytes: u32,
    pub(super) crc: u32,
}

impl Head {
    /// Of a part with this payload.
    pub(super) fn new(kind: u32, number: u32, entries: u32, payload: &[u8]) -> Self {
        let bytes = u32::try_from(payload.len()).expect("at most a block");
        let head = Self { kind, number, entries, bytes, crc: 0 };
        Self { crc: head.checksum(payload), ..head }
    }

    /// What its CRC should be.
    pub(super) fn checksum(&self, payload: &[u8]) -> u32 {
        crc(&[&self.encoded()[..16], payload])
    }

    pub(super) fn encoded(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let fields = [self.kind, self.number, self.entries, self.bytes, self.crc];
        for (place, field) in bytes.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    pub(super) fn decoded(bytes: &[u8; HEAD_BYTES]) -> Self {
        let field = |index: usize| u32_at(bytes, index * 4);
        let [kind, number, entries, bytes, crc] = [0, 1, 2, 3, 4].map(field);
        Self { kind, number, entries, bytes, crc }
    }
}

/// Totals at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) keys: u64,
    pub(super) bytes: u64,
    pub(super) blocks: u64,
    pub(super) digest: u32,
}

impl Footer {
    pub(super) fn encoded(&self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        bytes[..8].copy_from_slice(&self.keys.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[24..].copy_from_slice(&self.digest.to_le_bytes());
        bytes
    }

    pub(super) fn decoded(bytes: &[u8; FOOTER_BYTES]) -> Self {
        let (keys, length) = (u64_at(bytes, 0), u64_at(bytes, 8));
        Self { keys, bytes: length, blocks: u64_at(bytes, 16), digest: u32_at(bytes, 24) }
    }
}

/// # Panics
/// When `bytes` is too short, which its callers' types exclude.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}

/// # Panics
/// When `bytes` is too short, which its callers' types exclude.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}
