use std::vec::Vec;

use core::hash::{BuildHasher, Hash};

use super::*;
use crate::{ChunkId, InodeId};

fn hash(key: impl Hash) -> u64 {
    BuildHasherDefault::<FixedHasher>::default().hash_one(key)
}

#[test]
fn hashes_are_the_same_in_every_process() {
    let found = [hash(1u64), hash(7u32), hash("name")];
    let expected = [0x00b7_18e3_9562_d3d7, 0x576b_aed2_aab3_af67, 0xd3f9_40b9_f2b1_5baa];
    assert_eq!(found, expected, "{found:#018x?}");
}

#[test]
fn keys_that_differ_a_little_hash_differently() {
    assert_ne!(hash([0u8; 3].as_slice()), hash([0u8; 4].as_slice()));
    assert_ne!(hash((1u32, 2u32)), hash((2u32, 1u32)));
}

/// Dense ids are the common case: neither the index bits nor the tag bits may cluster.
#[test]
fn dense_and_strided_ids_spread_over_a_table() {
    for stride in [1u64, 2, 64, 4096, 1 << 32, 1 << 40] {
        let mut low = [0u32; 256];
        let mut high = [0u32; 128];
        for i in 0..25_600 {
            let hash = hash(i * stride);
            low[(hash & 255) as usize] += 1;
            high[(hash >> 57) as usize] += 1;
        }
        let worst = (low.iter().max().unwrap(), high.iter().max().unwrap());
        assert!(*worst.0 < 200 && *worst.1 < 400, "stride {stride}: {worst:?} of mean 100, 200");
    }
}

#[test]
fn two_maps_built_alike_iterate_alike() {
    let build = || {
        let mut map = Map::default();
        for i in 0..1000 {
            map.insert(
                ChunkId { inode: InodeId::new(i % 37), index: u32::try_from(i).unwrap() },
                i,
            );
        }
        map.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(build(), build());
    let set: Set<u64> = (0..10).collect();
    assert!(set.contains(&9) && !set.contains(&10));
}
