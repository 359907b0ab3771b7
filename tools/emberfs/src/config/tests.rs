use super::*;

const WHOLE: &str = "\
[cluster]
file = 'cluster.toml'

[kv]
dir = '/var/lib/kv'
listen = '0.0.0.0:7100'
cache = '1.5GiB'
node = 7
";

fn parse(path: &str, text: &str) -> Result<Config, String> {
    Config::parse(Path::new(path), text).map_err(|error| error.to_string())
}

#[test]
fn a_whole_file_is_read_with_paths_relative_to_it() {
    let kv = KvSection {
        dir: "/var/lib/kv".into(),
        listen: Some("0.0.0.0:7100".parse().unwrap()),
        cache: Some(ByteSize(3 << 29)),
        node: Some(7),
    };
    for (path, file) in
        [("/etc/emberfs/kv.toml", "/etc/emberfs/cluster.toml"), ("kv.toml", "cluster.toml")]
    {
        let cluster = Some(ClusterSection { file: file.into() });
        assert_eq!(parse(path, WHOLE), Ok(Config { cluster, kv: Some(kv.clone()) }));
    }
    assert_eq!(parse("f", "# nothing\n"), Ok(Config::default()));
}

#[test]
fn mistakes_are_told_with_what_is_expected() {
    for (from, to, expected) in [
        ("file =", "path =", "f has 2 mistakes"),
        ("1.5GiB", "1.5GiBy", "f:7:9: [kv] cache: found \"1.5GiBy\", expected a size in quotes"),
        ("'1.5GiB'", "256", "f:7:9: [kv] cache: found the number 256, expected a size in quotes"),
        ("0.0.0.0:7100", "7100", "f:6:10: [kv] listen: found \"7100\", expected an address"),
        ("0.0.0.0:7100", "h:99999", "\"99999\" is no port, which is 0 to 65535"),
        ("node = 7", "node = '7'", "f:8:8: [kv] node: found \"7\", expected a number"),
        ("node = 7", "node = 4294967296", "[kv] node: found the number 4294967296"),
        ("node", "mode", "f:8:1: unknown key \"mode\" in [kv]; did you mean \"node\"?"),
        ("[kv]", "[kvs]", "f:4:2: unknown key \"kvs\"; did you mean \"kv\"?"),
    ] {
        let why = parse("f", &WHOLE.replacen(from, to, 1)).unwrap_err();
        assert!(why.contains(expected), "{to}: {why}");
    }
}

/// The file that `--help` shows is one.
#[test]
fn the_example_in_the_help_is_valid() {
    let text = EXAMPLES.split_once("kv.toml`:\n").unwrap().1;
    let config = parse("/etc/kv.toml", text).unwrap();
    let kv = config.kv.unwrap();
    assert_eq!(kv.listen.unwrap(), crate::kv::listen_default());
    assert_eq!(kv.cache.unwrap(), crate::kv::CACHE_DEFAULT);
    assert_eq!(kv.node.unwrap(), crate::kv::NODE_DEFAULT);
    assert_eq!(config.cluster.unwrap().file, Path::new("/etc/cluster.toml"));
}
