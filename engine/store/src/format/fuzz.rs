//! Every decoder under mutated input (E105). Blind mutation ends at the first checksum, so most
//! inputs get their checksums and hashes repaired; the marks show that the rules behind them were
//! reached. A failure names the seed of its input.

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
use crate::format::testing::{self, SALT, STORE, encoded, identity, mutate};
use crate::format::{CheckpointRef, Item, decode, encode};

/// Names of outcomes that occurred: variants, by their `Debug` form.
#[derive(Default)]
struct Marks(BTreeSet<String>);

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

    /// Fails unless all of `names` occurred.
    fn assert_hit(&self, names: &str) {
        for name in names.split_whitespace() {
            assert!(self.0.contains(name), "{name} never occurred, only {:?}", self.0);
        }
    }
}

/// One to three mutations among the first `span` bytes.
fn mutations(rng: &mut Rng, bytes: &mut Vec<u8>, span: usize) {
    for _ in 0..=rng.below(3) {
        mutate(rng, bytes, span);
    }
    if rng.chance(50) {
        let len = rng.below(bytes.len() as u64 + 1);
        bytes.truncate(usize::try_from(len).unwrap());
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

#[test]
fn entries_survive_mutation() {
    let mut marks = Marks::default();
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let size_max = if seed % 16 == 0 { ChunkSize::MAX } else { ChunkSize::MIN };
        let mut bytes = encoded(&[testing::entry(&mut rng, size_max)]);
        mutations(&mut rng, &mut bytes, 100);
        match decode(&bytes) {
            Ok((entry, len)) => {
                assert!(len <= bytes.len(), "seed {seed}");
                check_entry(&entry, len);
                marks.hit(&"Passed");
            }
            Err(why) => marks.hit(&why),
        }
    }
    marks.assert_hit(
        "Truncated Length UnknownKind UnknownFlags ChunkSize Class Record Sectors \
         NoChain Phase Misplaced Lengths EndInHole Block Unaligned",
    );
}

#[test]
fn noise_is_no_entry_group_or_page() {
    let reference = CheckpointRef {
        generation: 1,
        half: 0,
        start: Lsn::new(1),
        bytes: 4096,
        pages: 1,
        items: 0,
        digest: 0,
    };
    for seed in 0..2000 {
        let mut rng = Rng::new(seed);
        let mut bytes = [0; 4096];
        rng.fill_bytes(&mut bytes);
        assert!(decode(&bytes).is_err() || bytes[0] < 64, "seed {seed}");
        assert_eq!(peek(&bytes, STORE, SALT), None, "seed {seed}");
        assert!(Superblock::decode(&bytes).is_err(), "seed {seed}");
        assert!(newest(&bytes, &bytes[..100]).is_err(), "seed {seed}");
        let mut reader = PageReader::new(STORE, reference, 9);
        assert!(reader.page(&bytes).is_err(), "seed {seed}");
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

#[test]
fn groups_survive_mutation() {
    let mut marks = Marks::default();
    let expected = Expected {
        store: STORE,
        salt: SALT,
        mount_gen_min: Incarnation::new(2),
        mount_gen_max: Incarnation::new(4),
        lsn: Lsn::new(7),
        prev_hash: 70,
    };
    for seed in 0..8000 {
        let mut rng = Rng::new(seed);
        let size_max = ChunkSize::new(64 << 10).unwrap();
        let entries: Vec<_> = (0..3).map(|_| testing::entry(&mut rng, size_max)).collect();
        let mut bytes = testing::group(identity(7, 70), &entries);
        let span = if rng.chance(500) { 128 } else { 400 };
        mutations(&mut rng, &mut bytes, span);
        if GROUP_HEADER_BYTES <= bytes.len() && rng.chance(900) {
            repair_group(&mut bytes, None);
            let hash = rng.chance(900).then(|| hash_of(&bytes));
            repair_group(&mut bytes, hash);
        }
        peek(&bytes, STORE, SALT);
        match parse(&bytes, &expected) {
            Ok(group) => {
                assert!(group.header.bytes() <= bytes.len(), "seed {seed}");
                group.entries.iter().for_each(|entry| check_entry(entry, bytes.len()));
                assert_eq!(group.images().count(), group.header.image_count as usize);
                marks.hit(&"Passed");
            }
            Err(why) => marks.hit(&why),
        }
    }
    marks.assert_hit(
        "Passed NoHeader OtherStore OtherSalt OtherLsn OtherGeneration OtherChain Short Torn \
         Entry EntryBytes ImageCount",
    );
}

#[test]
fn superblocks_survive_mutation() {
    let mut marks = Marks::default();
    let layout = Layout::plan(&FormatOptions::new(1 << 30)).unwrap();
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let (cluster, now) = (ClusterId::new(1), WallTime::from_nanos(2));
        let mut superblock = Superblock::fresh(cluster, STORE, now, layout, seed);
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
        let mut bytes = page.to_vec();
        mutations(&mut rng, &mut bytes, 264);
        let at = SUPERBLOCK_BYTES - 4;
        if bytes.len() == SUPERBLOCK_BYTES && rng.chance(950) {
            let crc = crc32c(&bytes[..at]);
            put(&mut bytes, at, crc.get().to_le_bytes());
        }
        let found = Superblock::decode(&bytes);
        match found {
            Ok(found) => {
                // E106: `encode` asserts everything that makes a superblock trusted.
                found.encode(&mut page);
                assert_eq!(Superblock::decode(&page), Ok(found), "seed {seed}");
                marks.hit(&"Passed");
            }
            Err(why) => marks.hit(&why),
        }
        assert_eq!(newest(&bytes, &[]).is_ok(), found.is_ok(), "seed {seed}");
    }
    marks.assert_hit(
        "Passed Length Magic Checksum Version Incompatible Geometry TooSmall OutOfRange Unaligned \
         Overlap",
    );
}

fn checkpoint(rng: &mut Rng) -> (Vec<u8>, CheckpointRef) {
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
        let record = testing::record(rng, ChunkSize::new(64 << 10).unwrap());
        let key = ChunkKey::new(Slot::new(1), inode, 0);
        push(&Item::Chunk { key, record: record.as_ref() });
    }
    let (page, reference, _) = writer.finish();
    (page.bytes.to_vec(), reference)
}

#[test]
fn checkpoints_survive_mutation() {
    let mut marks = Marks::default();
    for seed in 0..15_000 {
        let mut rng = Rng::new(seed);
        let (mut bytes, mut reference) = checkpoint(&mut rng);
        let used = PAGE_HEADER_BYTES + u32_at(&bytes, 12) as usize;
        let span = if rng.chance(250) { PAGE_HEADER_BYTES } else { used };
        mutations(&mut rng, &mut bytes, span);
        if 4096 == bytes.len() && rng.chance(950) {
            let end = bytes.len().min(PAGE_HEADER_BYTES + u32_at(&bytes, 12) as usize);
            let crc = crc32c(&bytes[8..end]);
            put(&mut bytes, 4, crc.get().to_le_bytes());
            let digest = engine_types::checksum::mix64(u64::from(crc.get()));
            reference.digest = if rng.chance(900) { digest } else { 1 };
        }
        let mut reader = PageReader::new(STORE, reference, 1);
        let mut items = 0;
        let result = reader.page(&bytes).and_then(|mut page| {
            while let Some(item) = page.next_item() {
                item?;
                items += 1;
            }
            Ok(())
        });
        assert!(items <= bytes.len() / 16, "seed {seed}");
        match result.and_then(|()| reader.finish()) {
            Ok(counts) => {
                assert_eq!(counts.sum(), items as u64, "seed {seed}");
                marks.hit(&"Passed");
            }
            Err(why) => marks.hit(&why),
        }
    }
    marks.assert_hit(
        "Passed Length Magic ItemBytes Checksum OtherStore OtherGeneration PageNumber Item Order \
         Keys LeftOver Counts Digest NoEnd",
    );
}

/// The harness itself: a decoder that forgot a check would be seen.
#[test]
fn what_encodes_to_more_is_noticed() {
    let mut rng = Rng::new(1);
    let entry = testing::entry(&mut rng, ChunkSize::MIN);
    let mut bytes = Vec::new();
    encode(&entry, &mut bytes);
    let short = bytes.len() - 1;
    let result = std::panic::catch_unwind(|| check_entry(&entry, short));
    assert!(result.is_err());
}
