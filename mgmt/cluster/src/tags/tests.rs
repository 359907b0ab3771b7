use alloc::string::ToString;
use alloc::vec;

use engine_types::Rng;

use super::*;

#[test]
fn golden_bytes() {
    let mut tags = Tags::new();
    tags.set_all([("rack", "r7"), ("gpu", "")]).unwrap();
    #[rustfmt::skip]
    let bytes = [
        1, 26, 0, 0, 0, 2,
        3, 0, 0, 0, b'g', b'p', b'u', 0, 0, 0, 0,
        4, 0, 0, 0, b'r', b'a', b'c', b'k', 2, 0, 0, 0, b'r', b'7',
    ];
    assert_eq!(tags.encode(), bytes);
    assert_eq!(Tags::decode(&bytes), Ok(tags));
    crate::fields::check_decoder(&bytes, Tags::decode);
    assert_eq!(Tags::decode(&Tags::new().encode()), Ok(Tags::new()));
}

#[test]
fn what_is_stored_is_checked_as_what_is_set() {
    let record = |tags: &[(&str, &str)]| {
        let mut out = Writer::new(1);
        out.u8(u8::try_from(tags.len()).unwrap());
        tags.iter().for_each(|(key, value)| {
            out.text(key);
            out.text(value);
        });
        Tags::decode(&out.finish()).unwrap_err().to_string()
    };
    assert_eq!(record(&[("b", ""), ("a", "")]), "tags: key: \"a\" is out of order");
    assert_eq!(record(&[("b", ""), ("b", "")]), "tags: key: \"b\" is out of order");
    assert!(record(&[("B", "")]).starts_with("tags: tag: tag key \"B\": found 'B'"));
    assert_eq!(record(&[("b", ""); 33]), "tags: count: found 33, expected at most 32");
}

#[test]
fn bad_tags_are_refused_and_nothing_changes() {
    let long = "k".repeat(TAG_KEY_BYTES_MAX + 1);
    let value = "v".repeat(TAG_VALUE_BYTES_MAX + 1);
    let rows = vec![
        ("", "v", "tag key \"\": found 0 characters, expected 1 to 63"),
        (long.as_str(), "v", "found 64 characters, expected 1 to 63"),
        ("7k", "v", "tag key \"7k\": found '7'"),
        ("rack id", "v", "found ' '"),
        ("r\u{e4}ck", "v", "found '\u{e4}'"),
        ("rack", "a b", "tag rack: the value contains ' '"),
        ("rack", "\n", "tag rack: the value contains '\\n'"),
        ("rack", value.as_str(), "tag rack: the value has 128 bytes, at most 127"),
    ];
    let mut tags = Tags::new();
    tags.set("zone", "a").unwrap();
    let before = tags.clone();
    for (key, value, expected) in rows {
        let error = tags.set(key, value).unwrap_err().to_string();
        assert!(error.contains(expected), "{key:?}={value:?}: {error}");
        assert!(tags.set_all([("a", "b"), (key, value)]).is_err());
        assert_eq!(tags, before);
    }
    assert_eq!(tags.remove("rack"), Err(TagError::Missing { key: "rack".into() }));
    assert_eq!(parse_pair("a=b=c"), Ok(("a", "b=c")));
    assert_eq!(parse_pair("ab"), Err(TagError::NotAPair { found: "ab".into() }));
}

#[test]
fn e298_random_tags_equal_a_map() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let (mut tags, mut reference) = (Tags::new(), BTreeMap::new());
        for _ in 0..300 {
            let (key, value) = (format!("k{}", rng.below(45)), format!("v{}", rng.below(9)));
            if rng.chance(350) {
                assert_eq!(tags.remove(&key).ok(), reference.remove(&key), "seed {seed}");
            } else if reference.len() < TAGS_MAX || reference.contains_key(&key) {
                let old = reference.insert(key.clone(), value.clone());
                assert_eq!(tags.set(&key, &value), Ok(old), "seed {seed}");
            } else {
                let error = TagError::TooMany { found: 33, limit: 32 };
                assert_eq!(tags.set(&key, &value), Err(error), "seed {seed}");
            }
            let expected = reference.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            assert!(tags.iter().eq(expected), "seed {seed}");
            assert_eq!((tags.len(), tags.is_empty()), (reference.len(), reference.is_empty()));
            assert_eq!(Tags::decode(&tags.encode()).as_ref(), Ok(&tags), "seed {seed}");
        }
        assert_eq!(tags.get("nothing"), None);
    }
}

#[test]
fn tags_of_a_record_have_the_same_limits() {
    let mut map = BTreeMap::new();
    assert_eq!(change(&mut map, "rack", Some("r1")), Ok(None));
    assert_eq!(change(&mut map, "rack", Some("r2")), Ok(Some("r1".into())));
    let before = map.clone();
    for (key, value) in [("", "v"), ("Rack", "v"), ("rack", "a b"), ("rack", &*"v".repeat(128))] {
        assert!(change(&mut map, key, Some(value)).is_err(), "{key:?}={value:?}");
    }
    assert_eq!((change(&mut map, "row", None), &map), (Ok(None), &before));
    for number in 1..TAGS_MAX {
        change(&mut map, &format!("t{number}"), Some("")).unwrap();
    }
    let (found, limit) = (TAGS_MAX + 1, TAGS_MAX);
    assert_eq!(change(&mut map, "more", Some("")), Err(TagError::TooMany { found, limit }));
    assert_eq!(change(&mut map, "rack", Some("r3")), Ok(Some("r2".into())), "no other one");
    // What was stored under wider limits can be removed.
    map.insert("Old Tag".into(), String::new());
    assert_eq!(change(&mut map, "Old Tag", None), Ok(Some(String::new())));
}
