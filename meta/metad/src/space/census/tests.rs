use engine_types::Rng;
use meta_kv::{Kv, TransactionOptions};

use super::*;
use crate::bed::with_bed;

/// Starts of samples.
fn starts(rng: &mut Rng) -> [u64; SAMPLES] {
    core::array::from_fn(|_| rng.next_u64())
}

/// Ids as services hand them out: batches of 1,024 of some counters of 32.
fn ids(count: u64, rng: &mut Rng) -> Vec<u64> {
    let mut next = [0_u64; 32];
    let mut ids = Vec::new();
    while (ids.len() as u64) < count {
        let shard = rng.next_u64() % 32;
        let counter = &mut next[usize::try_from(shard).unwrap()];
        for _ in 0..4 {
            *counter += 1;
            let first = (*counter * 32 + shard) << 10;
            ids.extend(first..first + 1024);
        }
    }
    ids.truncate(usize::try_from(count).unwrap());
    ids
}

/// Few are counted, many estimated.
#[test]
fn inodes_are_counted_or_estimated() {
    with_bed(1, async |bed| {
        let rng = &mut Rng::new(3);
        for count in [0, 1, 100, 2000, 30_000] {
            let bed = bed.another().await;
            for group in ids(count, rng).chunks(5000) {
                let transaction = bed.kv.begin(TransactionOptions::default());
                for &id in group {
                    transaction.set(&key::inode(InodeId::new(id)), b"x").unwrap();
                    // Every tenth is a directory.
                    if id % 10 == 0 {
                        transaction.set(&key::side_counts(InodeId::new(id)), b"x").unwrap();
                        transaction.set(&key::side_times(InodeId::new(id)), b"x").unwrap();
                    }
                }
                transaction.commit().await.unwrap();
            }
            let (all, mut worst) = (count + 1, 0); // the root is there
            for _ in 0..20 {
                let transaction = bed.kv.begin(TransactionOptions::default());
                let found = super::count(&transaction, starts(rng)).await.unwrap();
                worst = worst.max(found.abs_diff(all));
            }
            let allowed = if count <= 100 { 0 } else { all / 4 };
            assert!(worst <= allowed, "{all} inodes, {worst} away at worst");
        }
    });
}

#[test]
fn samples_are_put_together() {
    let sample = |inodes, gone| Sample { inodes, gone };
    let rows = [
        // A quarter of all keys has 250, an eighth 125.
        (vec![sample(250, Some(1 << 62)), sample(125, Some(1 << 61))], 1000),
        (vec![sample(7, None), sample(125, Some(1 << 61))], 7),
        (vec![sample(0, Some(0))], 0),
        (vec![sample(9, Some(0))], u64::MAX),
    ];
    for (samples, expected) in rows {
        assert_eq!(estimate(&samples), expected, "{samples:?}");
    }
}
