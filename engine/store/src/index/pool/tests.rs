use alloc::vec::Vec;

use engine_types::Rng;

use super::*;

const BUFFERS: Sizes = Sizes::BUFFERS;

#[test]
fn sizes_fit_closely() {
    for (sizes, part) in [(BUFFERS, 32), (Sizes::TABLES, 128)] {
        let pool = Pool::new(sizes);
        for words in 1..=sizes.max {
            let item = pool.classes[pool.class_for(words)].item_words;
            assert!(words < item, "the owner needs a word, too");
            let slack = item - 1 - words.max(sizes.first - 1);
            assert!(slack < sizes.step_min.max(words / part + 1), "{words} words in {item}");
        }
    }
    // Full chunks of 8 to 64 MiB waste nothing.
    let tables = Pool::new(Sizes::TABLES);
    let item = |words| tables.classes[tables.class_for(words)].item_words;
    assert_eq!([129, 259, 519, 1039].map(item), [130, 260, 520, 1040]);
}

/// An item of the model: what was written into it, and who owns it.
struct Item {
    handle: Handle,
    words: Vec<u32>,
}

#[test]
fn items_keep_their_content_while_others_come_and_go() {
    let mut rng = Rng::new(1);
    let mut pool = Pool::new(BUFFERS);
    let mut model: Vec<Item> = Vec::new();
    for round in 0..30_000u32 {
        let grows = 300 + 400 * u32::from(round / 3000 % 2 == 0);
        if model.is_empty() || rng.chance(grows) {
            let count = usize::try_from(rng.range(1..=600)).unwrap();
            let handle = pool.take(count, u32::try_from(model.len()).unwrap());
            let words = alloc::vec![round; count];
            pool.words_mut(handle)[..count].copy_from_slice(&words);
            model.push(Item { handle, words });
        } else {
            let at = usize::try_from(rng.below(model.len() as u64)).unwrap();
            let item = model.swap_remove(at);
            if let Some(last) = model.get(at) {
                pool.set_owner(last.handle, u32::try_from(at).unwrap());
            }
            let given = item.handle;
            // The last item of the size may be the one that got another place in the model.
            if let Some(Moved { owner, from, to }) = pool.give_back(given) {
                let moved = &mut model[owner as usize];
                assert_eq!((moved.handle, to), (from, given));
                moved.handle = to;
            }
        }
        assert_eq!(pool.count(), model.len() as u64);
        if round % 1000 == 0 {
            for (at, item) in model.iter().enumerate() {
                assert!(pool.is_item(item.handle));
                assert_eq!(pool.owner(item.handle) as usize, at);
                assert_eq!(pool.words(item.handle)[..item.words.len()], item.words);
            }
            assert_eq!(pool.bytes(), pool.recount());
        }
    }
}

/// E118: pages are full but for the last of each size, so memory follows the content.
#[test]
fn pages_go_when_items_go() {
    let mut rng = Rng::new(2);
    let mut pool = Pool::new(BUFFERS);
    let empty = pool.bytes();
    let mut handles: Vec<Handle> = (0..2000).map(|owner| pool.take(400, owner)).collect();
    let full = pool.bytes();
    assert!(full < empty + 2000 * 420 * 4);
    let mut owners: Vec<u32> = (0..2000).collect();
    rng.shuffle(&mut owners);
    for owner in owners.drain(1900..) {
        if let Some(moved) = pool.give_back(handles[owner as usize]) {
            handles[moved.owner as usize] = moved.to;
        }
    }
    assert!(pool.bytes() <= full - 90 * 408 * 4);
    for owner in owners {
        if let Some(moved) = pool.give_back(handles[owner as usize]) {
            handles[moved.owner as usize] = moved.to;
        }
    }
    // The list of page numbers stays, and its numbers are used again.
    let rest = pool.bytes();
    assert!(rest - empty < 10_000, "{rest} after {empty}");
    (0..2000).for_each(|owner| assert!(!pool.take(400, owner).is_none()));
    assert_eq!(pool.bytes(), full);
}

#[test]
fn a_step_grows_by_what_was_announced() {
    let mut rng = Rng::new(3);
    let mut pool = Pool::new(BUFFERS);
    for _ in 0..2000 {
        let words = usize::try_from(rng.range(1..=4096) >> rng.below(5)).unwrap().max(1);
        let (before, growth) = (pool.bytes(), pool.growth_bytes());
        for items in 1..=DOUBLE_AFTER as u64 {
            pool.take(words, 0);
            assert!(pool.bytes() - before <= items * growth);
        }
    }
}

#[test]
#[should_panic(expected = "E118")]
fn an_item_is_given_back_once() {
    let mut pool = Pool::new(BUFFERS);
    let handle = pool.take(10, 0);
    let other = pool.take(10, 0);
    assert!(pool.give_back(other).is_none() && pool.give_back(handle).is_none());
    // Its page is gone.
    let _ = pool.give_back(handle);
}
