//! Every decoder under mutated input (E105), as harnesses that panic when a promise is broken.
//!
//! `tools/fuzz` runs [`decoders`] under libFuzzer, `cargo test` all of them with seeded input.
//! Blind mutation ends at the first checksum, so most inputs get their checksums and hashes
//! repaired; the marks show that the rules behind them were reached.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use engine_types::{ChunkSize, ClusterId, Incarnation, Rng, WallTime, crc32c};

use crate::address::{ChunkKey, Lsn, Slot};
use crate::entry::Entry;
use crate::format::bytes::{put, u32_at};
use crate::format::checkpoint::{PAGE_HEADER_BYTES, PageReader, PageWriter, Pushed};
use crate::format::group::{Expected, GROUP_HEADER_BYTES, parse, peek};
use crate::format::layout::{FormatOptions, Layout};
use crate::format::superblock::{SUPERBLOCK_BYTES, Superblock, newest};
use crate::format::testing::{self, SALT, STORE, encoded, identity};
use crate::format::{CheckpointRef, Item, decode};

#[cfg(test)]
mod tests;

/// Names of outcomes that occurred: variants, by their `Debug` form.
#[derive(Debug, Default)]
pub struct Marks(BTreeSet<String>);

impl Marks {
    /// Records the variants named in `outcome`.
    fn hit(&mut self, outcome: &dyn core::fmt::Debug) {
        let text = format!("{outcome:?}");
        let words = text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()) && word.len() < 20);
        for word in words {
            if !self.0.contains(word) {
                self.0.insert(word.into());
            }
        }
    }
}

/// What is put right after the mutation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Checksums.
    pub checksums: bool,
    /// The hash of a group, the digest of a checkpoint.
    pub hash: bool,
}

/// The harness of libFuzzer. The first bytes say which structure, what is repaired and what a good
/// one is drawn from; the others are changes: a position and what is there.
///
/// # Panics
/// When a decoder does, or takes what it must not take.
pub fn decoders(data: &[u8], marks: &mut Marks) {
    let Some((&[kind, repairs, size, a, b, c], changes)) = data.split_first_chunk() else { return };
    let mut rng = Rng::new(u64::from(u32::from_le_bytes([a, b, c, 0])));
    let repairs = Repairs { checksums: repairs & 1 == 0, hash: repairs & 2 == 0 };
    let size_max = if size == 0 { ChunkSize::MAX } else { ChunkSize::MIN };
    let change = |bytes: &mut Vec<u8>| {
        for &[at, high, becomes] in changes.as_chunks().0 {
            let at = usize::from(u16::from_le_bytes([at, high]));
            match bytes.get_mut(at) {
                Some(byte) => *byte = becomes,
                None => bytes.truncate(usize::from(u16::from_le_bytes([becomes, high & 15]))),
            }
        }
    };
    match kind % 4 {
        0 => {
            let mut bytes = encoded(&[testing::entry(&mut rng, size_max)]);
            change(&mut bytes);
            entry(&bytes, marks);
        }
        1 => {
            let entries: Vec<_> = (0..3).map(|_| testing::entry(&mut rng, size_max)).collect();
            let mut bytes = testing::group(identity(7, 70), &entries);
            change(&mut bytes);
            group(&mut bytes, repairs, marks);
        }
        2 => {
            let mut bytes = fresh_superblock(rng.next_u64());
            change(&mut bytes);
            superblock(&mut bytes, repairs, marks);
        }
        _ => {
            let (mut bytes, reference) = fresh_checkpoint(&mut rng);
            change(&mut bytes);
            checkpoint(&mut bytes, reference, repairs, marks);
        }
    }
}

/// A decoded entry is a good one: it encodes, to no more bytes than it came from, and back. What it
/// keeps is in proportion to those bytes.
fn check_entry(entry: &Entry, len: usize) {
    let bytes = encoded(core::slice::from_ref(entry));
    assert!(bytes.len() <= len, "{entry} came from {len} bytes");
    assert_eq!(decode(&bytes), Ok((entry.clone(), bytes.len())));
    let (record, direct, images) = match entry {
        Entry::Put(put) => (put.record.as_ref(), put.direct.capacity(), put.images.capacity()),
        Entry::Move { record, direct, .. } => (Some(&**record), direct.capacity(), 0),
        _ => return,
    };
    let words = record.map_or(0, |record| record.words.capacity());
    assert!(4 * (words + direct) + 2 * images <= 2 * len + 64, "{entry} came from {len} bytes");
}

/// One entry, with the record in it.
///
/// # Panics
/// When a promise of the decoder is broken.
pub fn entry(bytes: &[u8], marks: &mut Marks) {
    match decode(bytes) {
        Ok((entry, len)) => {
            assert!(len <= bytes.len(), "{entry} is longer than {}", bytes.len());
            check_entry(&entry, len);
            marks.hit(&"Passed");
        }
        Err(why) => marks.hit(&why),
    }
}

/// Puts checksums of body and header, and sometimes the hash, right.
fn repair_group(bytes: &mut [u8], hash: Option<u64>) {
    let total = bytes.len().min(u32_at(bytes, 8) as usize);
    if GROUP_HEADER_BYTES <= total {
        let crc = crc32c(&bytes[GROUP_HEADER_BYTES..total]);
        put(bytes, 24, crc.get().to_le_bytes());
    }
    if let Some(hash) = hash {
        put(bytes, 112, hash.to_le_bytes());
    }
    let crc = crc32c(&bytes[..124]);
    put(bytes, 124, crc.get().to_le_bytes());
}

/// The hash that belongs to a header, as the module describes it.
fn hash_of(bytes: &[u8]) -> u64 {
    let words = bytes[..112].as_chunks().0.iter();
    let mix = engine_types::checksum::mix64;
    words.fold(mix(SALT), |hash, word| mix(hash ^ u64::from_le_bytes(*word)))
}

/// A group: its header and its entries.
///
/// # Panics
/// When a promise of the decoder is broken.
pub fn group(bytes: &mut [u8], repairs: Repairs, marks: &mut Marks) {
    let expected = Expected {
        store: STORE,
        salt: SALT,
        mount_gen_min: Incarnation::new(2),
        lsn: Lsn::new(7),
        prev_hash: 70,
    };
    if GROUP_HEADER_BYTES <= bytes.len() && repairs.checksums {
        repair_group(bytes, None);
        let hash = repairs.hash.then(|| hash_of(bytes));
        repair_group(bytes, hash);
    }
    peek(bytes, STORE, SALT);
    match parse(bytes, &expected) {
        Ok(group) => {
            assert!(group.header.bytes() <= bytes.len(), "{:?}", group.header);
            group.entries.iter().for_each(|entry| check_entry(entry, bytes.len()));
            assert_eq!(group.images().count(), group.header.image_count as usize);
            marks.hit(&"Passed");
        }
        Err(why) => marks.hit(&why),
    }
}

/// A good superblock that names a checkpoint.
fn fresh_superblock(salt: u64) -> Vec<u8> {
    let layout = Layout::plan(&FormatOptions::new(1 << 30)).expect("a gigabyte is enough");
    let (cluster, now) = (ClusterId::new(1), WallTime::from_nanos(2));
    let mut superblock = Superblock::fresh(cluster, STORE, now, layout, salt);
    superblock.checkpoint = Some(CheckpointRef {
        generation: 5,
        half: 1,
        start: Lsn::new(50),
        bytes: (2 << 20) + 8192,
        pages: 3,
        items: 40_000,
        digest: 0xd16e,
    });
    let mut page = [0; SUPERBLOCK_BYTES];
    superblock.encode(&mut page);
    page.to_vec()
}

/// A superblock.
///
/// # Panics
/// When a promise of the decoder is broken.
pub fn superblock(bytes: &mut [u8], repairs: Repairs, marks: &mut Marks) {
    let at = SUPERBLOCK_BYTES - 4;
    if bytes.len() == SUPERBLOCK_BYTES && repairs.checksums {
        let crc = crc32c(&bytes[..at]);
        put(bytes, at, crc.get().to_le_bytes());
    }
    let found = Superblock::decode(bytes);
    match found {
        Ok(found) => {
            // E106: `encode` asserts everything that makes a superblock trusted.
            let mut page = [0; SUPERBLOCK_BYTES];
            found.encode(&mut page);
            assert_eq!(Superblock::decode(&page), Ok(found), "E106");
            marks.hit(&"Passed");
        }
        Err(why) => marks.hit(&why),
    }
    assert_eq!(newest(bytes, &[]).is_ok(), found.is_ok(), "E106: one copy decides");
}

/// A good checkpoint of one page.
fn fresh_checkpoint(rng: &mut Rng) -> (Vec<u8>, CheckpointRef) {
    let mut writer = PageWriter::new(STORE, 5, 0, 1 << 20, Lsn::new(1));
    let record = testing::target(rng);
    let mut push = |item: &Item<'_>| assert_eq!(writer.push(item), Pushed::Done);
    push(&Item::Target { slot: Slot::new(1), record });
    push(&Item::Target { slot: Slot::new(2), record });
    push(&Item::Fence(testing::fence(rng)));
    let put = testing::put(rng, ChunkSize::MIN).into();
    push(&Item::Pending { lsn: Lsn::new(1), put });
    let (key, tag) = (testing::key(rng), testing::tag(rng));
    let outcome = testing::outcome(rng, key, tag.seq);
    push(&Item::Dedup { slot: key.slot, tag, outcome });
    for inode in [1, 300, 301] {
        let record = testing::record(rng, ChunkSize::new(64 << 10).expect("a power of two"));
        let key = ChunkKey::new(Slot::new(1), inode, 0);
        push(&Item::Chunk { key, record: record.as_ref() });
    }
    let (page, reference, _) = writer.finish();
    (page.bytes.to_vec(), reference)
}

/// A checkpoint of one page.
///
/// # Panics
/// When a promise of the decoder is broken.
pub fn checkpoint(
    bytes: &mut [u8],
    mut reference: CheckpointRef,
    repairs: Repairs,
    marks: &mut Marks,
) {
    if 4096 == bytes.len() && repairs.checksums {
        let end = bytes.len().min(PAGE_HEADER_BYTES + u32_at(bytes, 12) as usize);
        let crc = crc32c(&bytes[8..end]);
        put(bytes, 4, crc.get().to_le_bytes());
        let digest = engine_types::checksum::mix64(u64::from(crc.get()));
        reference.digest = if repairs.hash { digest } else { 1 };
    }
    let mut reader = PageReader::new(STORE, reference, 1);
    let mut items = 0;
    let result = reader.page(bytes).and_then(|mut page| {
        while let Some(item) = page.next_item() {
            item?;
            items += 1;
        }
        Ok(())
    });
    assert!(items <= bytes.len() / 16, "{items} items in {} bytes", bytes.len());
    match result.and_then(|()| reader.finish()) {
        Ok(counts) => {
            assert_eq!(counts.sum(), items as u64, "E109: the counts are those of the items");
            marks.hit(&"Passed");
        }
        Err(why) => marks.hit(&why),
    }
}
