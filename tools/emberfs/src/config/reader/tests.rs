use std::path::PathBuf;

use super::*;

const KEYS: &[&str] = &["dir", "listen", "cache"];

/// A number below 10, or the word "ten".
#[derive(Debug, PartialEq, Eq)]
struct Small(u64);

impl Value for Small {
    const EXPECTED: &'static str = "a small number";

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "ten" { Ok(Self(10)) } else { Err("no word".to_owned()) }
    }

    fn from_integer(number: u64) -> Option<Self> {
        (number < 10).then_some(Self(number))
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Hidden;

impl Value for Hidden {
    const EXPECTED: &'static str = "something hidden";
    const SECRET: bool = true;

    fn from_text(_: &str) -> Result<Self, String> {
        Err("it is wrong".to_owned())
    }
}

/// Reads `[kv]` with a `dir` that is needed and a `cache` that is a [`Small`].
fn read(text: &str) -> Result<(Option<PathBuf>, Option<Small>), String> {
    let done = || {
        let reader = Reader::new(Path::new("f.toml"), text)?;
        let root = reader.root(&["kv", "cluster"]);
        let Some(kv) = root.section("kv", KEYS) else { return reader.finish((None, None)) };
        let (dir, cache) = (kv.need("dir"), kv.get("cache"));
        reader.finish((dir, cache))
    };
    done().map_err(|error: ConfigError| error.to_string())
}

#[test]
fn what_is_right_is_read() {
    for (text, dir, cache) in [
        ("", None, None),
        ("[kv]\ndir = 'a'\n", Some("a"), None),
        ("[kv]\ndir = \"a b\" # why\ncache = 0x7", Some("a b"), Some(7)),
        ("kv = { dir = 'a', cache = 'ten' }", Some("a"), Some(10)),
        ("kv.dir = 'a'\nkv.cache = 1_0\n", Some("a"), None),
    ] {
        let expected = (dir.map(PathBuf::from), cache.map(Small));
        match read(text) {
            Ok(found) => assert_eq!(found, expected, "{text}"),
            Err(why) => assert!(why.contains("the number 10"), "{text}: {why}"),
        }
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, expected) in [
        (
            "[kv]\ndir = 'a'\nchache = 1",
            "f.toml:3:1: unknown key \"chache\" in [kv]; did you mean \"cache\"?",
        ),
        (
            "[kv]\ndir = 'a'\nport = 1",
            "f.toml:3:1: unknown key \"port\" in [kv]; expected one of dir, listen, cache",
        ),
        ("[kx]\n", "f.toml:1:2: unknown key \"kx\"; did you mean \"kv\"?"),
        ("[storage]\n", "f.toml:1:2: unknown key \"storage\"; expected one of kv, cluster"),
        ("\n[kv]\ncache = 1", "f.toml:2:1: [kv] dir is missing, expected a path in quotes"),
        ("kv = 5", "f.toml:1:6: kv: found the number 5, expected a section [kv]"),
        (
            "[kv]\ndir = 'a'\n  cache = 11",
            "f.toml:3:11: [kv] cache: found the number 11, expected a small number",
        ),
        (
            "[kv]\ndir = 'a'\ncache = -1",
            "f.toml:3:9: [kv] cache: found the number -1, expected a small number",
        ),
        (
            "[kv]\ndir = 'a'\ncache = 'x'",
            "f.toml:3:9: [kv] cache: found \"x\", expected a small number (no word)",
        ),
        ("[kv]\ndir = true", "f.toml:2:7: [kv] dir: found true, expected a path in quotes"),
        ("[kv]\ndir = ['a']", "f.toml:2:7: [kv] dir: found a list, expected a path in quotes"),
        (
            "[kv]\ndir = ''",
            "f.toml:2:7: [kv] dir: found \"\", expected a path in quotes (it is empty)",
        ),
        (
            "[kv]\ndir = 1.5",
            "f.toml:2:7: [kv] dir: found the number 1.5, expected a path in quotes",
        ),
        ("[kv]\ndir = 2020-01-01", "f.toml:2:7: [kv] dir: found a date, expected a path in quotes"),
    ] {
        assert_eq!(read(text), Err(expected.to_owned()), "{text}");
    }
    for (text, place) in [
        ("[kv]\ndir = 'a'\ndir = 'b'", "f.toml:3:1: duplicate key"),
        ("[kv\ndir = 'a'", "f.toml:1:4: "),
        ("[kv]\ndir = a\n", "f.toml:2:7: "),
        ("[kv]\ndir = 'a\n", "f.toml:2:"),
    ] {
        let why = read(text).unwrap_err();
        assert!(why.starts_with(place), "{text}: {why}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_their_order() {
    let text = "[kv]\ncache = 'x'\nlisten = 'here'\nlisen = 'there'\n";
    let expected = "f.toml has 3 mistakes\n  \
        f.toml:1:1: [kv] dir is missing, expected a path in quotes\n  \
        f.toml:2:9: [kv] cache: found \"x\", expected a small number (no word)\n  \
        f.toml:4:1: unknown key \"lisen\" in [kv]; did you mean \"listen\"?";
    assert_eq!(read(text), Err(expected.to_owned()));
}

#[test]
fn columns_count_characters() {
    let text = "kv = { dir = 'äöü', cache = 'x' }";
    let why = read(text).unwrap_err();
    assert!(why.starts_with("f.toml:1:29: [kv] cache"), "{why}");
}

#[test]
fn a_secret_is_never_repeated() {
    for value in ["'sesame'", "'sesame", "sesame", "12345", "['sesame']", "\"ses\\ame\""] {
        let text = format!("secret = {value}");
        let done = || {
            let reader = Reader::new(Path::new("f"), &text)?;
            let hidden = reader.root(&["secret"]).need::<Hidden>("secret");
            reader.finish(hidden)
        };
        let error: ConfigError = done().unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(!told.contains("sesame") && !told.contains("12345"), "{told}");
    }
}

#[test]
fn the_nearest_key_is_one_that_may_have_been_meant() {
    for (found, expected) in [
        ("lisen", Some("listen")),
        ("Listen", Some("listen")),
        ("litsen", Some("listen")),
        ("directory", None),
        ("dri", None),
        ("di", Some("dir")),
        ("", None),
        ("kache", Some("cache")),
    ] {
        assert_eq!(nearest(found, KEYS), expected, "{found}");
    }
    for (a, b, expected) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
    {
        assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
    }
}
