//! Harnesses with seeded input. A failure names the seed of its input.

use super::*;
use crate::format::encode;
use crate::format::testing::mutate;

impl Marks {
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

/// Runs `harness` with seeds, and says which one failed.
fn with_seeds(seeds: u64, mut harness: impl FnMut(&mut Rng, &mut Marks)) -> Marks {
    let mut marks = Marks::default();
    for seed in 0..seeds {
        let mut run = || harness(&mut Rng::new(seed), &mut marks);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut run));
        assert!(caught.is_ok(), "seed {seed}");
    }
    marks
}

#[test]
fn entries_survive_mutation() {
    let marks = with_seeds(20_000, |rng, marks| {
        let size_max = if rng.below(16) == 0 { ChunkSize::MAX } else { ChunkSize::MIN };
        let mut bytes = encoded(&[testing::entry(rng, size_max)]);
        mutations(rng, &mut bytes, 100);
        entry(&bytes, marks);
    });
    marks.assert_hit(
        "Passed Truncated Length UnknownKind UnknownFlags ChunkSize Class Record Sectors \
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

#[test]
fn groups_survive_mutation() {
    let marks = with_seeds(8000, |rng, marks| {
        let size_max = ChunkSize::new(64 << 10).unwrap();
        let entries: Vec<_> = (0..3).map(|_| testing::entry(rng, size_max)).collect();
        let mut bytes = testing::group(identity(7, 70), &entries);
        let span = if rng.chance(500) { 128 } else { 400 };
        mutations(rng, &mut bytes, span);
        let repairs = Repairs { checksums: rng.chance(900), hash: rng.chance(900) };
        group(&mut bytes, repairs, marks);
    });
    marks.assert_hit(
        "Passed NoHeader OtherStore OtherSalt OtherLsn OtherGeneration OtherChain Short Torn \
         Entry EntryBytes ImageCount",
    );
}

#[test]
fn superblocks_survive_mutation() {
    let marks = with_seeds(20_000, |rng, marks| {
        let mut bytes = fresh_superblock(rng.next_u64());
        mutations(rng, &mut bytes, 264);
        let repairs = Repairs { checksums: rng.chance(950), hash: true };
        superblock(&mut bytes, repairs, marks);
    });
    marks.assert_hit(
        "Passed Length Magic Checksum Version Incompatible Geometry TooSmall OutOfRange Unaligned \
         Overlap",
    );
}

#[test]
fn checkpoints_survive_mutation() {
    // So many because `NoEnd` takes one value of one byte among the 64 of the header.
    let marks = with_seeds(90_000, |rng, marks| {
        let (mut bytes, reference) = fresh_checkpoint(rng);
        let used = PAGE_HEADER_BYTES + u32_at(&bytes, 12) as usize;
        let span = if rng.chance(250) { PAGE_HEADER_BYTES } else { used };
        mutations(rng, &mut bytes, span);
        let repairs = Repairs { checksums: rng.chance(950), hash: rng.chance(900) };
        checkpoint(&mut bytes, reference, repairs, marks);
    });
    marks.assert_hit(
        "Passed Length Magic ItemBytes Checksum OtherStore OtherGeneration PageNumber Item Order \
         Keys LeftOver Counts Digest NoEnd",
    );
}

/// What libFuzzer is given reaches the rules behind the checksums, whichever bytes it begins with.
#[test]
fn the_entry_of_the_fuzzer_reaches_every_decoder() {
    let marks = with_seeds(10_000, |rng, marks| {
        let mut data = alloc::vec![0; usize::try_from(rng.range(0..=24)).unwrap()];
        rng.fill_bytes(&mut data);
        // Changes near the start meet more rules.
        data.iter_mut().skip(7).step_by(3).for_each(|high| *high %= 2);
        decoders(&data, marks);
    });
    marks.assert_hit("Passed Truncated Record OtherLsn Torn Checksum Geometry Item Keys Digest");
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
