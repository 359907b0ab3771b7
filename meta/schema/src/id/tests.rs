use std::vec::Vec;

use super::*;

#[test]
fn batches_share_no_id_and_leave_the_first_ones() {
    let mut seen = std::collections::BTreeSet::new();
    for shard in 0..INODE_SHARDS {
        let first = InodeIds::first_counter(shard);
        for counter in first..first + 3 {
            let batch = InodeIds::batch(shard, counter).unwrap();
            assert_eq!(batch.left(), INODES_PER_BATCH);
            for ino in batch {
                assert!(is_inode(ino) && INODES_PER_BATCH <= ino.get(), "{ino}");
                assert!(seen.insert(ino), "{ino} twice");
            }
        }
    }
    assert_eq!(InodeIds::batch(0, 0), None);
    assert_eq!(InodeIds::batch(INODE_SHARDS, 5), None);
    let ids: Vec<_> = InodeIds::batch(3, 2).unwrap().take(2).map(InodeId::get).collect();
    assert_eq!(ids, [(2 * 32 + 3) << 10, ((2 * 32 + 3) << 10) + 1]);
}

#[test]
fn ids_end_below_two_to_the_56() {
    let last = (INODE_END >> 10) / 32 - 1;
    let ids = InodeIds::batch(INODE_SHARDS - 1, last).unwrap();
    assert_eq!(ids.last(), Some(InodeId::new(INODE_END - 1)));
    assert_eq!(InodeIds::batch(0, last + 1), None);
    assert_eq!(InodeIds::batch(5, u64::MAX), None);
    assert!(is_inode(INODE_ROOT) && !is_inode(INODE_NONE) && !is_inode(InodeId::new(0)));
}

#[test]
fn all_ones_name_nobody() {
    assert!(!Uid::new(u32::MAX).is_valid() && !Gid::new(u32::MAX).is_valid());
    assert!(Uid::ROOT.is_valid() && Gid::ROOT.is_valid());
    assert_eq!(TruncateEpoch::new(u32::MAX).next(), None);
    assert_eq!(TruncateEpoch::FIRST.next(), Some(TruncateEpoch::new(1)));
}
