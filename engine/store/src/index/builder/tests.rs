use alloc::vec::Vec;

use engine_types::Rng;

use super::*;
use crate::index::tests::{full, key};

#[test]
fn keys_must_ascend() {
    let record = full(&mut Rng::new(1), 1 << 12);
    let mut builder = Builder::new(u64::MAX);
    assert!(builder.is_empty());
    let last = key(1, 5, 5);
    builder.push(last, record.as_ref()).unwrap();
    for found in [last, key(1, 5, 4), key(1, 4, 9), key(0, 9, 9)] {
        assert_eq!(builder.push(found, record.as_ref()), Err(NotAscending { last, found }));
    }
    builder.push(key(2, 0, 0), record.as_ref()).unwrap();
    assert_eq!((builder.len(), builder.finish().len()), (2, 2));
}

/// Leaves are full, whatever the records; afterwards it is an index like any other.
#[test]
fn what_is_built_is_complete_and_can_change() {
    let mut rng = Rng::new(2);
    for count in [0, 1, 63, 64, 65, 128, 4096, 64 * 64 * 3 + 17] {
        let mut builder = Builder::new(0);
        let sizes = [1 << 12, 1 << 19, 1 << 22, 1 << 23];
        let records: Vec<_> = sizes.iter().map(|&size| full(&mut rng, size)).collect();
        let record = |at: u32| &records[if at.is_multiple_of(50) { 3 } else { at as usize % 3 }];
        for at in 0..count {
            builder.push(key(0, u64::from(at) / 100, at), record(at).as_ref()).unwrap();
        }
        let mut index = builder.finish();
        index.check().unwrap();
        assert_eq!(index.len(), u64::from(count));
        assert_eq!(index.leaves.count(), count.div_ceil(64).max(1), "{count} records");
        let found = index.after(None).map(|(key, record)| (key.chunk.index, record));
        assert!(found.eq((0..count).map(|at| (at, record(at).as_ref()))));
        // The budget was not asked, but holds from now on.
        assert!(!index.room_for(0));
        index.set_budget(u64::MAX);
        for at in (0..count).step_by(3) {
            assert!(index.remove(&key(0, u64::from(at) / 100, at)));
            index.insert(key(1, u64::from(at), 0), record(at).as_ref()).unwrap();
        }
        index.check().unwrap();
    }
}
