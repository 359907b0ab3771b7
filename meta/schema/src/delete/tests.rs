use engine_types::{ChainTableId, ChainTableVersion, ChunkSize};

use super::*;
use crate::layout::LayoutTemplate;

#[test]
fn small_files_have_a_chunk_per_chain() {
    let template =
        LayoutTemplate { chunk_size: ChunkSize::MIN, stripe: 3, table: ChainTableId::new(1) };
    let layout = template.layout(ChainTableVersion::new(1), 0, 0);
    for (length, class) in [
        (0, DeletionClass::Small),
        (1, DeletionClass::Small),
        (3 * 4096, DeletionClass::Small),
        (3 * 4096 + 1, DeletionClass::Large),
        (u64::MAX, DeletionClass::Large),
    ] {
        assert_eq!(DeletionClass::of_file(&layout, length), class, "{length}");
    }
    for class in DeletionClass::ALL {
        assert_eq!(DeletionClass::from_code(class.code()), Some(class));
    }
    assert_eq!(DeletionClass::from_code(3), None);
}

/// Inode ids come in runs, and their deletions spread over the shards all the same.
#[test]
fn neighbours_wait_in_all_shards() {
    let mut counts = [0_u32; DELETION_SHARDS as usize];
    for ino in 5000..6600 {
        counts[usize::from(deletion_shard(InodeId::new(ino)))] += 1;
    }
    assert!(counts.iter().all(|count| (60..=140).contains(count)), "{counts:?}");
    assert_eq!([1, 1024, 1 << 55].map(|ino| deletion_shard(InodeId::new(ino))), GOLDEN_SHARDS);
}

const GOLDEN_SHARDS: [u8; 3] = [1, 12, 0];
