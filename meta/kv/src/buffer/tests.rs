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
    assert_eq!(buffer.size(), 4, "two bounds, a key and a value");
}
