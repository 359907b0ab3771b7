use engine_types::Rng;

use super::*;
use crate::engine::tests::{Model, entries, random_batch};

/// Count of nodes; panics where the order is broken (E219).
fn check(link: &Link, above: Option<&[u8]>, below: Option<&[u8]>, parent: u64) -> usize {
    let Some(node) = link else { return 0 };
    assert!(above.is_none_or(|key| key < &*node.key), "E219: keys rise");
    assert!(below.is_none_or(|key| &*node.key < key), "E219: keys rise");
    assert!(node.priority <= parent, "E219: priorities fall");
    let left = check(&node.left, above, Some(&node.key), node.priority);
    left + check(&node.right, Some(&node.key), below, node.priority) + 1
}

#[test]
fn old_states_stay_as_they_were() {
    let mut rng = Rng::new(5);
    let engine = MemoryEngine::new();
    let mut model = Model::default();
    let mut states = Vec::new();
    for version in 1..300 {
        let batch = random_batch(&mut rng, version);
        engine.apply(&batch).unwrap();
        model.apply(&batch);
        let snapshot = engine.snapshot().unwrap();
        assert_eq!(snapshot.version(), version);
        assert_eq!(check(&snapshot.root, None, None, u64::MAX), model.0.len());
        states.push((snapshot, model.clone()));
    }
    for (snapshot, model) in states {
        assert_eq!(entries(&snapshot), model.0, "E218: version {}", snapshot.version());
    }
}

/// A change copies a path, not the tree; a range goes in as much.
#[test]
fn a_change_shares_all_but_a_path() {
    fn shared(old: &Link, new: &Link) -> usize {
        match (old, new) {
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {
                check(&Some(Arc::clone(old)), None, None, u64::MAX)
            }
            (Some(old), Some(new)) => shared(&old.left, &new.left) + shared(&old.right, &new.right),
            _ => 0,
        }
    }
    let engine = MemoryEngine::new();
    let set = |index: u32| Mutation::Set { key: index.to_le_bytes().to_vec(), value: vec![1] };
    engine.apply(&Batch { version: 1, mutations: (0..10_000).map(set).collect() }).unwrap();
    let before = engine.snapshot().unwrap();
    let value = vec![2];
    let mutations = vec![Mutation::Set { key: 77u32.to_le_bytes().to_vec(), value }];
    engine.apply(&Batch { version: 2, mutations }).unwrap();
    let after = engine.snapshot().unwrap();
    let shared = shared(&before.root, &after.root);
    assert!(9_900 < shared, "only {shared} of 10000 nodes are shared");
}

#[test]
fn a_restart_keeps_keys_and_raises_the_version() {
    let engine = MemoryEngine::new();
    let mutations = vec![Mutation::Set { key: b"k".to_vec(), value: b"v".to_vec() }];
    engine.apply(&Batch { version: 7, mutations }).unwrap();
    let again = engine.restarted(100);
    assert_eq!(again.version(), 107);
    assert_eq!(again.snapshot().unwrap().get(b"k").unwrap(), Some(b"v".to_vec()));
}
