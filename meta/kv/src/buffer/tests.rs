use super::*;

fn set(key: &str) -> Mutation {
    Mutation::Set { key: key.into(), value: b"v".to_vec() }
}

fn clear(begin: &str, end: &str) -> Mutation {
    Mutation::Clear { range: KeyRange::new(begin, end) }
}

#[test]
fn cleared_ranges_that_touch_become_one() {
    let mut buffer = Buffer::default();
    for (begin, end) in [("c", "e"), ("g", "i"), ("e", "g"), ("a", "b"), ("d", "h")] {
        buffer.mutate(clear(begin, end)).unwrap();
    }
    let ranges: Vec<_> = buffer.cleared.iter().map(|(b, e)| (b.as_slice(), e.as_slice())).collect();
    assert_eq!(ranges, [(&b"a"[..], &b"b"[..]), (b"c", b"i")]);
}

/// Page after page of one walk is one range in the commit.
#[test]
fn read_ranges_are_joined() {
    let mut buffer = Buffer::default();
    for (begin, end) in [("c", "e"), ("e", "g"), ("a", "b"), ("d", "d\0"), ("x", "x")] {
        buffer.note_read(KeyRange::new(begin, end));
    }
    let request = buffer.into_request().unwrap();
    assert_eq!(request.read_conflicts, [KeyRange::new("a", "b"), KeyRange::new("c", "g")]);
    assert!(request.mutations.is_empty());
}

#[test]
fn an_empty_clear_is_no_write() {
    let mut buffer = Buffer::default();
    buffer.mutate(clear("a", "a")).unwrap();
    assert!(buffer.is_read_only());
    buffer.mutate(set("a")).unwrap();
    assert!(!buffer.is_read_only());
    let counted = 2 * crate::limits::ITEM_BYTES + 4;
    assert_eq!(buffer.size(), counted, "two bounds, a key and a value");
}

/// A read meets a cleared part without asking the store, from either end.
#[test]
fn cleared_parts_are_met_first() {
    let mut buffer = Buffer::default();
    buffer.mutate(clear("c", "f")).unwrap();
    for (begin, end, reverse, part) in [
        ("a", "z", false, None),
        ("c", "z", false, Some(("c", "f"))),
        ("d", "e", false, Some(("d", "e"))),
        ("f", "z", false, None),
        ("a", "z", true, None),
        ("a", "f", true, Some(("c", "f"))),
        ("d", "e", true, Some(("d", "e"))),
        ("a", "c", true, None),
    ] {
        let part = part.map(|(begin, end)| KeyRange::new(begin, end));
        let found = buffer.cleared_first(&KeyRange::new(begin, end), reverse);
        assert_eq!(found, part, "{begin} to {end}, reverse {reverse}");
    }
}

/// The same key read again and again is one range.
#[test]
fn repeated_reads_count_once() {
    let mut buffer = Buffer::default();
    for _ in 0..100 {
        assert_eq!(buffer.find(b"k", ReadMode::Conflict), Ok(Found::Ask));
    }
    assert_eq!(buffer.size(), KeyRange::single(b"k").size());
}
