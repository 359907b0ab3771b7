use engine_types::Rng;

use super::*;
use crate::index::tests::{key, record};

#[test]
fn packed_keys_keep_key_and_order() {
    let mut rng = Rng::new(1);
    let mut random = || {
        let bits = rng.next_u64();
        let slot = u16::try_from(bits >> 62).unwrap();
        key(slot, rng.next_u64() >> (bits % 64), u32::try_from(rng.below(4)).unwrap())
    };
    for _ in 0..10_000 {
        let (a, b) = (random(), random());
        assert_eq!((unpack(pack(a)), pack(a) & START), (a, 0));
        assert_eq!(pack(a).cmp(&pack(b)), a.cmp(&b), "{a}, {b}");
        let started = with_start(pack(a), 4097);
        assert_eq!((unpack(started), start(started)), (a, 4097));
        if a < b {
            assert!(with_start(pack(a), 4097) < pack(b));
        }
    }
    assert!(pack(ChunkKey::MAX) | 4097 < UNUSED && pack(ChunkKey::MIN) == 0);
}

#[test]
fn heads_survive_packing() {
    let mut rng = Rng::new(2);
    for shift in 12..=26 {
        let size = ChunkSize::new(1 << shift).unwrap();
        let all = size.bytes();
        let random = u32::try_from(rng.below(all.into())).unwrap();
        for data_end in [0, 1, 4095, 4096, all / 2 + 1, all - 1, all, random] {
            let record = record(&mut rng, size, data_end.min(all));
            let packed = PackedHead::new(&record.as_ref());
            assert_eq!((packed.head(), packed.block()), (record.head, record.block));
            assert_eq!(packed.word_count(), record.head.word_count(), "{:?}", record.head);
            assert_eq!(packed.has_table(), LEAF_WORDS_MAX < record.words.len());
        }
    }
}

#[test]
fn the_count_below_a_bound_is_that_of_a_search() {
    let mut rng = Rng::new(3);
    for count in 0..=PLACES {
        let mut keys = [UNUSED; PLACES];
        keys[..count].iter_mut().for_each(|key| *key = u128::from(rng.below(200)));
        keys.sort_unstable();
        for bound in (0..=200).chain([UNUSED]) {
            let expected = keys.partition_point(|&key| key < bound);
            assert_eq!(count_below(&keys, bound), expected, "{bound} in {keys:?}");
        }
    }
}
