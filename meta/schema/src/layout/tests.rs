use std::collections::BTreeSet;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use engine_types::Rng;

use super::*;
use crate::sample::any;

fn layout(chunk: u32, stripe: u32, base: u32, seed: u64) -> Layout {
    let template = LayoutTemplate {
        chunk_size: ChunkSize::new(chunk).unwrap(),
        stripe,
        table: ChainTableId::new(1),
    };
    template.layout(ChainTableVersion::new(1), base, seed)
}

/// Where the chunks of files that exist lie: these numbers never change (E402).
#[test]
fn e402_golden_chains() {
    let of = |stripe, base, seed, chains| {
        let layout = layout(4096, stripe, base, seed);
        let chunks = [0, 1, 2, 3, 4, 5, 6, 7];
        chunks.map(|chunk| layout.chain_index(chunk, chains))
    };
    assert_eq!(of(1, 0, 0, 1), [0; 8]);
    let found = [of(8, 0, 0, 8), of(8, 3, 1, 100), of(5, u32::MAX, u64::MAX, 262_144)];
    let golden = [
        [4, 2, 5, 6, 0, 7, 3, 1],
        [60, 8, 2, 84, 6, 68, 33, 44],
        [116_116, 208_189, 200_753, 213_383, 109_310, 116_116, 208_189, 200_753],
    ];
    assert_eq!(found, golden);
}

/// Every position of the table is taken once, whatever its size, base and seed are.
#[test]
fn e402_selection_is_a_permutation() {
    let rng = &mut Rng::new(1);
    for chains in (1..70).chain([255, 256, 257, 1000, 1024, 1025]) {
        for _ in 0..4 {
            let stripe = chains.min(STRIPE_MAX);
            let layout = layout(4096, stripe, any(rng), rng.next_u64());
            let indices: BTreeSet<_> =
                (0..stripe).map(|chunk| layout.chain_index(chunk, chains)).collect();
            assert_eq!(indices.len(), stripe as usize, "{chains} chains, {layout:?}");
            assert!(indices.iter().all(|&index| index < chains));
            assert_eq!(layout.chain_index(stripe, chains), layout.chain_index(0, chains));
            let last = u32::MAX - 1;
            assert_eq!(layout.chain_index(last, chains), layout.chain_index(last % stripe, chains));
        }
    }
}

/// Files of random base and seed load all chains alike; two that share a chain share few others.
#[test]
fn files_spread_over_all_chains() {
    let rng = &mut Rng::new(2);
    let mut loads = vec![0_u32; 96];
    let mut pairs = BTreeSet::new();
    for _ in 0..4000 {
        let layout = layout(4096, 4, any(rng), rng.next_u64());
        let indices: Vec<_> = (0..4).map(|chunk| layout.chain_index(chunk, 96)).collect();
        indices.iter().for_each(|&index| loads[index as usize] += 1);
        pairs.insert((indices[0], indices[1]));
    }
    // 166 each on average; six standard deviations are 77.
    assert!(loads.iter().all(|load| (90..=243).contains(load)), "{loads:?}");
    // Of 9,120 ordered pairs, 4,000 random draws find about 3,240.
    assert!(3000 < pairs.len(), "{}", pairs.len());
}

#[test]
fn layouts_are_checked() {
    let template = |stripe| layout(4096, stripe, 0, 0).template();
    for (stripe, chains, error) in [
        (0, 9, Some("a stripe of 0 chains, expected 1 to 1024")),
        (1025, 2000, Some("a stripe of 1025 chains, expected 1 to 1024")),
        (10, 9, Some("a stripe of 10 chains in a table of 9")),
        (9, 9, None),
        (1024, 1024, None),
    ] {
        let found = template(stripe).check_in(chains).map_err(|error| error.to_string()).err();
        assert_eq!(found.as_deref(), error);
    }
    assert_eq!(template(0).check().unwrap_err().errno(), Errno::EINVAL);
}

#[test]
fn ranges_touch_chunks() {
    let layout = layout(4096, 3, 0, 0);
    let pieces = |offset, length| -> Vec<(u32, u32, u32)> {
        let pieces = layout.pieces(offset, length).unwrap();
        pieces.map(|piece| (piece.chunk, piece.offset.bytes(), piece.length)).collect()
    };
    assert_eq!(pieces(100, 0), []);
    assert_eq!(pieces(0, 1), [(0, 0, 1)]);
    assert_eq!(pieces(0, 4096), [(0, 0, 4096)]);
    assert_eq!(pieces(4095, 2), [(0, 4095, 1), (1, 0, 1)]);
    assert_eq!(pieces(4096, 8192), [(1, 0, 4096), (2, 0, 4096)]);
    assert_eq!(pieces(5000, 8000), [(1, 904, 3192), (2, 0, 4096), (3, 0, 712)]);
    assert_eq!(layout.chunk_count(0), 0);
    assert_eq!(layout.chunk_count(4096), 1);
    assert_eq!(layout.chunk_count(4097), 2);
    assert_eq!(layout.chunk_count(u64::MAX), 1 << 52);
}

#[test]
fn files_end_at_four_billion_chunks_or_two_to_the_63() {
    let small = layout(4096, 1, 0, 0);
    let end = u64::from(u32::MAX) * 4096;
    assert_eq!(small.file_bytes_max(), end);
    let (chunk, offset) = small.place(end - 1).unwrap();
    assert_eq!((chunk, offset.bytes()), (u32::MAX - 1, 4095));
    assert_eq!(small.place(end), Err(Errno::EFBIG));
    assert_eq!(small.pieces(end - 1, 1).unwrap().count(), 1);
    for (offset, length) in [(end - 1, 2), (end, 1), (u64::MAX, 1), (1, u64::MAX)] {
        assert_eq!(small.pieces(offset, length).unwrap_err(), Errno::EFBIG);
    }
    let large = layout(64 << 20, 1, 0, 0);
    assert_eq!(large.file_bytes_max(), u64::from(u32::MAX) * (64 << 20));
    assert!(large.file_bytes_max() < FILE_BYTES_MAX);
}
