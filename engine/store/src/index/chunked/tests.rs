use alloc::vec::Vec;

use engine_types::Rng;

use super::*;

type Row = Chunked<u64, 3>;

#[test]
fn it_is_a_dense_row() {
    let mut rng = Rng::new(1);
    let (mut row, mut model) = (Row::new(), Vec::new());
    for round in 0..20_000u64 {
        let grows = 250 + 500 * u32::from(round / 2000 % 2 == 0);
        if model.is_empty() || rng.chance(grows) {
            assert_eq!(row.push(round) as usize, model.len());
            model.push(round);
        } else {
            let at = usize::try_from(rng.below(model.len() as u64)).unwrap();
            model.swap_remove(at);
            let last = u32::try_from(model.len()).unwrap();
            let at = u32::try_from(at).unwrap();
            assert_eq!(row.swap_remove(at), (at != last).then_some(last));
        }
        assert_eq!(row.count() as usize, model.len());
        if round % 100 == 0 {
            assert!(row.iter().map(|(_, &item)| item).eq(model.iter().copied()));
        }
        // A chunk more than needed at most, and a bounded list.
        let needed = (model.len() / 8 + 2) * (8 * 8 + 16);
        let list = (model.len() / 8 + 200) * 24;
        assert!(row.bytes() <= (needed + list) as u64, "{} of {}", row.bytes(), model.len());
    }
}

#[test]
fn an_item_that_comes_and_goes_does_not_allocate() {
    let mut row = Row::new();
    (0..8).for_each(|item| assert!(u64::from(row.push(item)) == item));
    let one = row.bytes();
    row.push(8);
    let two = row.bytes();
    assert!(one < two && two - one <= Row::GROWTH_BYTES);
    for item in 0..10 {
        assert_eq!(row.swap_remove(8), None);
        assert_eq!(row.bytes(), two);
        row.push(item);
    }
    (5..9).rev().for_each(|last| assert!(row.swap_remove(last).is_none()));
    assert_eq!(row.bytes(), two);
    row.swap_remove(4);
    assert_eq!(row.bytes(), one, "half a chunk is left");
}
