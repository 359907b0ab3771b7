//! Groups of the journal: what is written, flushed and found again as one.
//!
//! ```text
//! | header 128 | entries | zeros to 4 KiB | images, 4 KiB each, in the order of their PUTs |
//!
//!  0  magic "EMBG"       u32      32  store id           u128
//!  4  zero               4        48  mount generation   u64
//!  8  bytes of the group u32      56  LSN                u64
//! 12  bytes of entries   u32      64  hash of the group before it   u64
//! 16  entries            u32      72  applied LSN: images up to it are released   u64
//! 20  images             u32      80  zero               32
//! 24  CRC32C of the body u32     112  hash of this header   u64
//! 28  zero               4       120  zero               4
//!                                124  CRC32C of 0..124   u32
//! ```
//!
//! The body is everything behind the header. The hash is a mix of bytes 0 to 112 keyed with the
//! salt of the superblock: it binds the body by its checksum and all groups before by their hash
//! (S7), and nobody who does not know the salt can make one. The ring holds sectors of clients as
//! images; without the salt a client could write a sector that passes for a group of the future,
//! and the next torn tail would be taken for damage (S8).
//!
//! A reader looks for the next group behind the last one and at the start of the ring. Both places
//! can hold a group that fits: one that recovery has dropped, because its data was not durable,
//! stays where it was when its successor did not fit there. The higher mount generation is the
//! one that counts ([`Group::newer`]).

use alloc::rc::Rc;
use alloc::vec::Vec;

use engine_types::checksum::mix64;
use engine_types::{Crc32c, Crc32cState, Incarnation, SECTOR_BYTES, StoreId, crc32c, reached};

use crate::address::Lsn;
use crate::entry::{Entry, Put};
use crate::format::bytes::{len_u32, put, u32_at, u64_at, u128_at};
use crate::format::entry::{self, COMMIT_BYTES, ENTRY_BYTES_MIN};
use crate::format::limits::{
    DIRECT_RANGES_MAX, GROUP_BYTES_MAX, IMAGES_PER_PUT_MAX, JOURNAL_BYTES_MIN,
};
use crate::planted;
use crate::record::RECORD_WORDS_MAX;

mod error;

pub use error::GroupError;

/// Bytes of a group's header; the first entry follows in the same page.
pub const GROUP_HEADER_BYTES: usize = 128;
/// "EMBG" in memory order.
pub const GROUP_MAGIC: u32 = u32::from_le_bytes(*b"EMBG");

const PAGE: usize = SECTOR_BYTES as usize;
const HASHED_BYTES: usize = 112;
const CRC_AT: usize = 124;
const ZEROS: [u8; PAGE] = [0; PAGE];

/// Which group it is and what it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupIdentity {
    /// The store.
    pub store: StoreId,
    /// The opening of the store in which it was written.
    pub mount_gen: Incarnation,
    /// Its number.
    pub lsn: Lsn,
    /// Hash of the group before it.
    pub prev_hash: u64,
    /// All images of groups up to this one are released.
    pub applied_lsn: Lsn,
}

/// The header of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHeader {
    /// Which group it is.
    pub identity: GroupIdentity,
    /// Bytes of its entries.
    pub entry_bytes: u32,
    /// Its entries.
    pub entry_count: u32,
    /// Its images.
    pub image_count: u32,
    /// Covers entries, padding and images.
    pub body_crc: Crc32c,
}

/// What the next group of a scan must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The store.
    pub store: StoreId,
    /// That of the superblock.
    pub salt: u64,
    /// Generation of the group before it, or 0: generations do not descend along the chain. The
    /// superblock's is no upper bound: the copy that carried a higher one may be lost, and a group
    /// that continues the chain was written after it.
    pub mount_gen_min: Incarnation,
    /// Its number.
    pub lsn: Lsn,
    /// Hash of the group before it.
    pub prev_hash: u64,
}

/// A group that was read and found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// Its header.
    pub header: GroupHeader,
    /// Its entries, in order.
    pub entries: Vec<Entry>,
    images: &'a [u8],
}

/// Bytes of a group's header and entries, as they are written: whole pages.
pub const fn head_bytes(entry_bytes: usize) -> usize {
    (GROUP_HEADER_BYTES + entry_bytes).next_multiple_of(PAGE)
}

/// Bytes of a group in the ring.
pub const fn group_bytes(entry_bytes: usize, images: usize) -> usize {
    head_bytes(entry_bytes) + images * PAGE
}

/// Most ring bytes that a PUT of so many words and images, with its COMMIT, adds to groups.
///
/// Its direct ranges are counted as one per checksum block, of which there is a word each, and one
/// more per image, which may part a block's sectors in two.
pub const fn put_bytes_max(words: usize, images: usize) -> u64 {
    let ranges = words + images + 1;
    let ranges = if ranges < DIRECT_RANGES_MAX { ranges } else { DIRECT_RANGES_MAX };
    group_bytes(entry::put_bytes(words, ranges, images, true) + COMMIT_BYTES, images) as u64
}

/// The body of a group that is being put together: its checksum, piece by piece.
#[derive(Clone, Debug)]
pub struct Body {
    crc: Crc32cState,
    entry_bytes: usize,
    entry_count: u32,
    image_count: u32,
}

impl Body {
    /// Begins with `entry_count` encoded entries.
    pub fn new(entries: &[u8], entry_count: u32) -> Self {
        let mut crc = Crc32cState::new();
        crc.update(entries);
        let end = GROUP_HEADER_BYTES + entries.len();
        crc.update(&ZEROS[..end.next_multiple_of(PAGE) - end]);
        Self { crc, entry_bytes: entries.len(), entry_count, image_count: 0 }
    }

    /// Appends the image of a sector.
    ///
    /// # Panics
    /// Unless it is one sector.
    pub fn image(&mut self, image: &[u8]) {
        assert_eq!(image.len(), PAGE, "S2: an image is a whole sector");
        self.crc.update(image);
        self.image_count += 1;
    }

    /// The header that belongs to it.
    ///
    /// # Panics
    /// If the group exceeds `GROUP_BYTES_MAX`.
    pub fn header(&self, identity: GroupIdentity) -> GroupHeader {
        let header = GroupHeader {
            identity,
            entry_bytes: len_u32(self.entry_bytes),
            entry_count: self.entry_count,
            image_count: self.image_count,
            body_crc: self.crc.finish(),
        };
        assert!(header.is_possible(), "E107: no group is like {header:?}");
        header
    }
}

/// Writes a whole group into `out`, which has exactly its bytes; returns its header.
///
/// # Panics
/// If `out` has another length, or the group is too large.
pub fn fill<'a>(
    out: &mut [u8],
    identity: GroupIdentity,
    salt: u64,
    entries: (&[u8], u32),
    images: impl Iterator<Item = &'a [u8]>,
) -> GroupHeader {
    let (entries, entry_count) = entries;
    let mut body = Body::new(entries, entry_count);
    let (head, mut places) = out.split_at_mut(head_bytes(entries.len()));
    let (header, rest) = head.split_at_mut(GROUP_HEADER_BYTES);
    let (entry_place, padding) = rest.split_at_mut(entries.len());
    entry_place.copy_from_slice(entries);
    padding.fill(0);
    for image in images {
        body.image(image);
        let (place, rest) = places.split_at_mut(PAGE);
        place.copy_from_slice(image);
        places = rest;
    }
    assert!(places.is_empty(), "E107: {} bytes are left behind the last image", places.len());
    let made = body.header(identity);
    header.copy_from_slice(&made.encode(salt));
    made
}

impl GroupHeader {
    /// Bytes of the group in the ring.
    pub const fn bytes(&self) -> usize {
        group_bytes(self.entry_bytes as usize, self.image_count as usize)
    }

    /// Where its image `index` lies, in bytes from its start.
    pub const fn image_offset(&self, index: usize) -> usize {
        group_bytes(self.entry_bytes as usize, index)
    }

    /// Whether such a group can exist. Bounds every length before it is used (E105).
    const fn is_possible(&self) -> bool {
        self.entry_bytes as usize <= GROUP_BYTES_MAX
            && self.image_count as usize <= GROUP_BYTES_MAX / PAGE
            && self.bytes() <= GROUP_BYTES_MAX
            && self.entry_count as usize <= self.entry_bytes as usize / ENTRY_BYTES_MIN
    }

    /// What the next group carries as `prev_hash`.
    pub fn hash(&self, salt: u64) -> u64 {
        u64_at(&self.encode(salt), HASHED_BYTES)
    }

    /// The bytes in the ring.
    pub fn encode(&self, salt: u64) -> [u8; GROUP_HEADER_BYTES] {
        let GroupIdentity { store, mount_gen, lsn, prev_hash, applied_lsn } = self.identity;
        let mut out = [0; GROUP_HEADER_BYTES];
        put(&mut out, 0, GROUP_MAGIC.to_le_bytes());
        put(&mut out, 8, len_u32(self.bytes()).to_le_bytes());
        put(&mut out, 12, self.entry_bytes.to_le_bytes());
        put(&mut out, 16, self.entry_count.to_le_bytes());
        put(&mut out, 20, self.image_count.to_le_bytes());
        put(&mut out, 24, self.body_crc.get().to_le_bytes());
        put(&mut out, 32, store.get().to_le_bytes());
        put(&mut out, 48, mount_gen.get().to_le_bytes());
        put(&mut out, 56, lsn.get().to_le_bytes());
        put(&mut out, 64, prev_hash.to_le_bytes());
        put(&mut out, 72, applied_lsn.get().to_le_bytes());
        let hash = keyed_hash(salt, &out);
        put(&mut out, HASHED_BYTES, hash.to_le_bytes());
        let crc = crc32c(&out[..CRC_AT]);
        put(&mut out, CRC_AT, crc.get().to_le_bytes());
        out
    }

    /// Reads a header, of whichever store, and the hash it carries.
    fn decode(bytes: &[u8; GROUP_HEADER_BYTES]) -> Option<(Self, u64)> {
        let stored = Crc32c::new(u32_at(bytes, CRC_AT));
        if u32_at(bytes, 0) != GROUP_MAGIC || crc32c(&bytes[..CRC_AT]) != stored {
            return None;
        }
        let header = Self {
            identity: GroupIdentity {
                store: StoreId::new(u128_at(bytes, 32)),
                mount_gen: Incarnation::new(u64_at(bytes, 48)),
                lsn: Lsn::new(u64_at(bytes, 56)),
                prev_hash: u64_at(bytes, 64),
                applied_lsn: Lsn::new(u64_at(bytes, 72)),
            },
            entry_bytes: u32_at(bytes, 12),
            entry_count: u32_at(bytes, 16),
            image_count: u32_at(bytes, 20),
            body_crc: Crc32c::new(u32_at(bytes, 24)),
        };
        let whole = header.is_possible() && u32_at(bytes, 8) as usize == header.bytes();
        whole.then_some((header, u64_at(bytes, HASHED_BYTES)))
    }

    fn check(&self, expected: &Expected) -> Result<(), GroupError> {
        let GroupIdentity { mount_gen, lsn, prev_hash, .. } = self.identity;
        if lsn != expected.lsn {
            return Err(GroupError::OtherLsn { found: lsn, expected: expected.lsn });
        }
        if planted!(GhostsTaken) {
            return Ok(());
        }
        let min = expected.mount_gen_min;
        if mount_gen < min {
            return Err(GroupError::OtherGeneration { found: mount_gen, min });
        }
        if prev_hash != expected.prev_hash {
            let (found, expected) = (prev_hash, expected.prev_hash);
            return Err(GroupError::OtherChain { found, expected });
        }
        Ok(())
    }

    /// Whether `bytes`, which begin with this header, are the group that was written with it.
    ///
    /// # Errors
    /// `Short` or `Torn`.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), GroupError> {
        let needed = self.bytes();
        let Some(group) = bytes.get(..needed) else {
            return Err(GroupError::Short { needed, found: bytes.len() });
        };
        let (found, expected) = (crc32c(&group[GROUP_HEADER_BYTES..]), self.body_crc);
        if found == expected {
            return Ok(());
        }
        reached!("E108: a group is torn");
        Err(GroupError::Torn { found, expected })
    }
}

/// A mix of what the hash covers.
fn keyed_hash(salt: u64, header: &[u8; GROUP_HEADER_BYTES]) -> u64 {
    let words = header[..HASHED_BYTES].as_chunks().0.iter();
    words.fold(mix64(salt), |hash, word| mix64(hash ^ u64::from_le_bytes(*word)))
}

/// What the first group of a store carries as `prev_hash`.
pub const fn first_hash(salt: u64) -> u64 {
    mix64(mix64(salt))
}

/// The header at the front of `page` if it was written into this store, whatever its number and
/// generation: for the search for groups behind a bad one (S8). The body is not looked at.
pub fn peek(page: &[u8], store: StoreId, salt: u64) -> Option<GroupHeader> {
    read_header(page, store, salt).ok()
}

fn read_header(bytes: &[u8], store: StoreId, salt: u64) -> Result<GroupHeader, GroupError> {
    let raw = bytes.first_chunk().ok_or(GroupError::NoHeader)?;
    let (header, found) = GroupHeader::decode(raw).ok_or(GroupError::NoHeader)?;
    if header.identity.store != store {
        let (found, expected) = (header.identity.store, store);
        return Err(GroupError::OtherStore { found, expected });
    }
    let expected = keyed_hash(salt, raw);
    if found != expected {
        return Err(GroupError::OtherSalt { found, expected });
    }
    Ok(header)
}

/// The header at the front of `page` if it is the expected one: says how much [`parse`] needs.
///
/// # Errors
/// Why it is not.
pub fn parse_header(page: &[u8], expected: &Expected) -> Result<GroupHeader, GroupError> {
    let header = read_header(page, expected.store, expected.salt)?;
    header.check(expected)?;
    Ok(header)
}

/// The expected group at the front of `bytes` (E108).
///
/// # Errors
/// Why it is not there; see [`GroupError::is_torn`] and [`GroupError::is_unreadable`].
pub fn parse<'a>(bytes: &'a [u8], expected: &Expected) -> Result<Group<'a>, GroupError> {
    let header = parse_header(bytes, expected)?;
    header.verify(bytes)?;
    let end = GROUP_HEADER_BYTES + header.entry_bytes as usize;
    let entries = decode_entries(&bytes[GROUP_HEADER_BYTES..end], &header)?;
    let images = &bytes[head_bytes(header.entry_bytes as usize)..header.bytes()];
    let group = Group { header, entries, images };
    let found = group.puts().map(|put| put.images.len()).sum();
    if found != header.image_count as usize {
        return Err(GroupError::ImageCount { found, expected: header.image_count });
    }
    Ok(group)
}

fn decode_entries(bytes: &[u8], header: &GroupHeader) -> Result<Vec<Entry>, GroupError> {
    // Not reserved by the count of the header: an entry takes several times its smallest encoding.
    let (mut entries, mut at) = (Vec::new(), 0);
    for index in 0..header.entry_count {
        let decoded = entry::decode(&bytes[at..]);
        let (entry, len) = decoded.map_err(|why| GroupError::Entry { index, why })?;
        entries.push(entry);
        at += len;
    }
    if at != bytes.len() {
        return Err(GroupError::EntryBytes { found: at, expected: header.entry_bytes });
    }
    Ok(entries)
}

impl<'a> Group<'a> {
    /// Its PUTs, in order.
    pub fn puts(&self) -> impl Iterator<Item = &Rc<Put>> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Put(put) => Some(put),
            _ => None,
        })
    }

    /// Its images, in order: the PUT, the sector of its chunk, the bytes.
    pub fn images(&self) -> impl Iterator<Item = (&Rc<Put>, u16, &'a [u8])> {
        let sectors = self.puts().flat_map(|put| put.images.iter().map(move |&s| (put, s)));
        let images = self.images.chunks_exact(PAGE);
        sectors.zip(images).map(|((put, sector), image)| (put, sector, image))
    }

    /// The one of two groups that follow the same group which was written last; see the module.
    #[must_use]
    pub fn newer(self, other: Self) -> Self {
        let (own, others) = (self.header.identity.mount_gen, other.header.identity.mount_gen);
        if own < others { other } else { self }
    }
}

const _: () = assert!(GROUP_BYTES_MAX.is_multiple_of(PAGE));
// One PUT of the largest record is a group: with all images that one block can have in the smallest
// ring, with all that the format allows in a ring of twice that.
const _: () = assert!(
    put_bytes_max(RECORD_WORDS_MAX, IMAGES_PER_PUT_MAX) <= GROUP_BYTES_MAX as u64
        && GROUP_BYTES_MAX as u64 <= JOURNAL_BYTES_MIN / 2
);

#[cfg(test)]
mod tests;
