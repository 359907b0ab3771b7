use std::path::Path;

use super::*;
use crate::config::Config;

fn parse(text: &str) -> Result<MetaSection, String> {
    let config = Config::parse(Path::new("f"), &format!("[meta]\n{text}"));
    config.map(|config| config.meta.unwrap()).map_err(|error| error.to_string())
}

#[test]
fn a_section_is_read_and_becomes_settings() {
    assert_eq!(parse("").unwrap(), MetaSection::default());
    assert_eq!(parse("").unwrap().settings(), Ok(Settings::default()));
    let whole = parse(
        "listen = '0.0.0.0:7400'\nadvertise = 'm:7400'\nkv = 'kv:7100'\nmanagers = ['a:1', 'b:2']\n\
         node = 3\nrequests = 64\nchunk_size = '1MiB'\nstripe = 4\nremove_files = 0\n\
         remove_chunks = 1\nremove_entries = 2",
    );
    let settings = whole.unwrap().settings().unwrap();
    assert_eq!(settings.requests, 64);
    assert_eq!(settings.root_layout.stripe, 4);
    assert_eq!(settings.root_layout.chunk_size.bytes(), 1 << 20);
    let DeletionSettings { small_per_second, large_chunks_per_second, .. } = settings.deletion;
    assert_eq!((small_per_second, large_chunks_per_second), (0, 1));
}

#[test]
fn mistakes_are_told_with_what_is_expected() {
    for (text, expected) in [
        ("chunk_size = '3MiB'", "[meta] chunk_size: found 3 MiB, expected a power of two"),
        ("stripe = 0", "[meta] stripe: found 0, expected 1 to 1024"),
        ("requests = 100000", "[meta] requests: found 100000, expected 1 to 65536"),
        ("listen = '0.0.0.0:1'", "[meta] listen: nobody can connect to 0.0.0.0:1"),
        ("number = 1", "unknown key \"number\" in [meta]"),
    ] {
        let why = parse(text).unwrap_err();
        assert!(why.contains(expected), "{text}: {why}");
    }
}
