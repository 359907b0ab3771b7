use super::*;

#[test]
fn the_end_of_a_prefix_is_the_first_key_behind_it() {
    for (prefix, end) in [
        (&b"a"[..], Some(&b"b"[..])),
        (b"a\xff", Some(b"b")),
        (b"a\xff\xff", Some(b"b")),
        (b"\xff", None),
        (b"", None),
        (b"ab", Some(b"ac")),
    ] {
        assert_eq!(prefix_end(prefix).as_deref(), end, "prefix {}", Shown::of(prefix));
    }
}

#[test]
fn single_keys_are_recognised() {
    for (begin, end, single) in [
        (&b"a"[..], &b"a\0"[..], true),
        (b"", b"\0", true),
        (b"a", b"a\0\0", false),
        (b"a", b"b\0", false),
        (b"a", b"a", false),
        (b"a", b"a\x01", false),
    ] {
        let range = KeyRange::new(begin, end);
        assert_eq!(range.is_single(), single, "{range:?}");
    }
}

#[test]
fn bad_keys_and_ranges_are_named() {
    let long = vec![b'x'; KEY_BYTES_MAX + 1];
    let (found, limit) = (KEY_BYTES_MAX + 1, KEY_BYTES_MAX);
    assert_eq!(check_key(&long), Err(KvError::KeyTooLong { found, limit }));
    assert_eq!(check_key(&long[1..]), Ok(()));
    assert_eq!(KeyRange::single(&long[1..]).check(), Ok(()));
    let system = check_key(b"\xffmine").unwrap_err();
    assert_eq!(system.to_string(), "key \"\\xffmine\" is outside the legal range");
    assert_eq!(KeyRange::all().check(), Ok(()));
    assert!(KeyRange::new("a", "\u{80}").check().is_ok());
    let inverted = KeyRange::new("b", "a").check().unwrap_err();
    assert_eq!(inverted.to_string(), "inverted range: begins at \"b\", ends at \"a\"");
    assert_eq!(KeyRange::new("a", "a").check(), Ok(()), "an empty range is harmless");
}
