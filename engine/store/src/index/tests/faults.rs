//! Each check of the index can fail.

use super::*;

fn index() -> Index {
    let mut rng = Rng::new(3);
    let mut index = Index::new(u64::MAX);
    for at in 0..5000 {
        let size = if at % 100 == 0 { 1 << 23 } else { 1 << 19 };
        index.insert(key(0, 1, at), full(&mut rng, size).as_ref()).unwrap();
    }
    index.check().unwrap();
    assert!(0 < index.height);
    index
}

/// What the check says after `harm` was done to a leaf in the middle.
fn fault(harm: impl FnOnce(&mut Index, u32)) -> IndexFault {
    let mut index = index();
    let leaf = index.path(pack(key(0, 1, 2500))).leaf;
    harm(&mut index, leaf);
    let fault = index.check().unwrap_err();
    assert!(std::format!("{fault}").starts_with("E11"), "{fault}");
    fault
}

#[test]
fn disorder_is_found() {
    let found = fault(|index, leaf| index.leaves[leaf].keys.swap(10, 11));
    assert!(matches!(found, IndexFault::Order { .. }), "{found}");
    let found = fault(|index, leaf| index.leaves[leaf].keys[0] -= 1 << 40);
    assert!(matches!(found, IndexFault::Order { .. }), "{found}");
    let found = fault(|index, _| index.inners[index.root].keys[1] += 1 << 20);
    assert!(matches!(found, IndexFault::Order { .. }), "{found}");
    let found = fault(|index, _| index.inners[index.root].keys[0] = 1 << 20);
    assert!(matches!(found, IndexFault::Order { .. }), "{found}");
}

#[test]
fn wrong_fill_is_found() {
    let found = fault(|index, leaf| index.leaves[leaf].fill(&[], &[]));
    assert!(matches!(found, IndexFault::Fill { level: 0, count: 0, .. }), "{found}");
    let found = fault(|index, _| index.inners[index.root].keys[63] = 0);
    assert!(matches!(found, IndexFault::Fill { .. }), "{found}");
    let found = fault(|index, _| {
        let root = index.root;
        while 1 < index.inners[root].count() {
            index.inners[root].remove(1);
        }
    });
    assert!(matches!(found, IndexFault::Fill { level: 1.., count: 1, .. }), "{found}");
}

#[test]
fn misplaced_words_are_found() {
    let found = fault(|index, leaf| index.leaves[leaf].keys[5] += 1);
    assert!(matches!(found, IndexFault::Words { .. }), "{found}");
    let found = fault(|index, leaf| {
        let words = index.leaves[leaf].words();
        index.leaves[leaf].set_words(words - 1);
    });
    assert!(matches!(found, IndexFault::Words { .. }), "{found}");
}

#[test]
fn wrong_owners_are_found() {
    let found = fault(|index, leaf| {
        let buffer = index.leaves[leaf].buffer;
        index.buffers.set_owner(buffer, leaf + 1);
    });
    assert!(matches!(found, IndexFault::Owner { .. }), "{found}");
    let found = fault(|index, leaf| index.leaves[leaf].buffer = Handle::from_word(u32::MAX - 1));
    assert!(matches!(found, IndexFault::Owner { .. }), "{found}");
    let found = fault(|index, leaf| {
        let start = index.leaves[leaf].tables().next().unwrap();
        index.buffers.words_mut(index.leaves[leaf].buffer)[start] += 1;
    });
    assert!(matches!(found, IndexFault::Owner { .. }), "{found}");
}

#[test]
fn lost_items_are_found() {
    let found = fault(|index, _| {
        index.leaves.push(Leaf::EMPTY);
    });
    assert!(matches!(found, IndexFault::Lost { what: "leaves", .. }), "{found}");
    let found = fault(|index, _| {
        index.inners.push(Inner::EMPTY);
    });
    assert!(matches!(found, IndexFault::Lost { what: "inner nodes", .. }), "{found}");
    let found = fault(|index, leaf| {
        index.buffers.take(100, leaf);
    });
    assert!(matches!(found, IndexFault::Lost { what: "buffers", .. }), "{found}");
    let found = fault(|index, leaf| {
        index.tables.take(100, leaf);
    });
    assert!(matches!(found, IndexFault::Lost { what: "tables", .. }), "{found}");
}

#[test]
fn a_wrong_account_is_found() {
    let found = fault(|index, _| index.len += 1);
    assert!(matches!(found, IndexFault::Account { what: "records", .. }), "{found}");
    let found = fault(|index, _| index.buffers.miscount(4));
    assert!(matches!(found, IndexFault::Account { what: "bytes of buffers", .. }), "{found}");
    let found = fault(|index, _| index.tables.miscount(4));
    assert!(matches!(found, IndexFault::Account { what: "bytes of tables", .. }), "{found}");
}
