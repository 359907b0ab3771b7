//! What readers may see, and what not.

use engine_types::InodeId;

use super::super::writer::{Cut, Deeds, Seen, Write};
use super::judge;

const INO: InodeId = InodeId::new(9);

fn write(cell: u64, tag: u64, (began, done, synced): (i64, i64, i64)) -> Write {
    Write { ino: INO, cell, tag, began, done: Some(done), refused: false, synced: Some(synced) }
}

fn cut(cells: u64, began: i64, done: Option<i64>) -> Cut {
    Cut { ino: INO, cells, began, done }
}

fn seen(began: i64, cells: &[u64]) -> Seen {
    Seen { ino: INO, began, ended: began + 5, cells: cells.to_vec() }
}

/// The check that fails, of two writes, some cuts and one look.
fn check(writes: &[Write], cuts: &[Cut], look: Seen) -> Option<&'static str> {
    let mut deeds = Deeds::default();
    deeds.writes.extend(writes);
    deeds.cuts.extend(cuts);
    deeds.seen.push(look);
    judge(&deeds).err().map(|(_, failure)| failure.check)
}

#[test]
fn what_was_synced_is_seen() {
    let one = [write(1, 7, (10, 20, 30))];
    assert_eq!(check(&one, &[], seen(40, &[0, 7])), None);
    assert_eq!(check(&one, &[], seen(40, &[0, 0])), Some(super::T120), "zeros");
    assert_eq!(check(&one, &[], seen(40, &[0])), Some(super::T120), "too short");
    assert_eq!(check(&one, &[], seen(25, &[])), None, "it is not synced yet");
    assert_eq!(check(&one, &[cut(0, 15, Some(18))], seen(40, &[])), None, "it may be cut");
    assert_eq!(check(&one, &[cut(0, 15, None)], seen(40, &[])), None, "it may be cut later");
    assert_eq!(check(&one, &[cut(2, 15, Some(18))], seen(40, &[])), Some(super::T120), "behind");
    assert_eq!(check(&one, &[cut(0, 5, Some(8))], seen(40, &[])), Some(super::T120), "before");
    let two = [one[0], write(1, 8, (12, 22, 32))];
    assert_eq!(check(&two, &[], seen(40, &[0, 7])), None, "either is the last");
    assert_eq!(check(&two, &[], seen(40, &[0, 8])), None, "either is the last");
}

#[test]
fn what_was_cut_is_not_seen_again() {
    let one = [write(1, 7, (10, 20, 30))];
    assert_eq!(check(&one, &[cut(1, 31, Some(35))], seen(40, &[0, 7])), Some(super::T119));
    assert_eq!(check(&one, &[cut(1, 31, Some(35))], seen(40, &[0, 0])), None);
    assert_eq!(check(&one, &[cut(2, 31, Some(35))], seen(40, &[0, 7])), None, "it stays");
    assert_eq!(check(&one, &[cut(1, 25, Some(28))], seen(40, &[0, 7])), None, "told later");
    assert_eq!(check(&one, &[cut(1, 31, Some(45))], seen(40, &[0, 7])), None, "not over yet");
    assert_eq!(check(&one, &[], seen(40, &[7])), Some(super::T119), "another cell");
    assert_eq!(check(&one, &[], seen(40, &[0, 7, 99])), Some(super::T119), "nobody's");
}
