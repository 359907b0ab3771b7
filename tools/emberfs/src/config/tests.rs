use super::*;

const WHOLE: &str = "\
[cluster]
file = 'cluster.toml'

[kv]
dir = '/var/lib/kv'
listen = '0.0.0.0:7100'
cache = '1.5GiB'
node = 7

[mgmt]
listen = '0.0.0.0:7200'
advertise = ['m1:7200', '[fd00::1]:7200']
kv = 'kv:7100'
node = 2
name = 'test'
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
    let mgmt = MgmtSection {
        listen: Some("0.0.0.0:7200".parse().unwrap()),
        advertise: vec!["m1:7200".parse().unwrap(), "[fd00::1]:7200".parse().unwrap()],
        kv: Some("kv:7100".parse().unwrap()),
        node: Some(2),
        name: Some("test".parse().unwrap()),
    };
    for (path, file) in
        [("/etc/emberfs/kv.toml", "/etc/emberfs/cluster.toml"), ("kv.toml", "cluster.toml")]
    {
        let cluster = Some(ClusterSection { file: file.into() });
        assert_eq!(
            parse(path, WHOLE),
            Ok(Config {
                cluster,
                kv: Some(kv.clone()),
                mgmt: Some(mgmt.clone()),
                ..Config::default()
            })
        );
    }
    assert_eq!(parse("f", "# nothing\n"), Ok(Config::default()));
    let mgmt = Some(MgmtSection::default());
    assert_eq!(parse("f", "[mgmt]\n"), Ok(Config { mgmt, ..Config::default() }));
    let one = parse("f", "[mgmt]\nadvertise = 'm1:7200'").unwrap().mgmt.unwrap().advertise;
    assert_eq!(one, ["m1:7200".parse().unwrap()]);
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
        ("'m1:7200'", "'m1'", "f:12:14: [mgmt] advertise: found \"m1\", expected an address"),
        ("'m1:7200'", "7200", "f:12:14: [mgmt] advertise: found the number 7200, expected an"),
        ("'m1:7200'", "'m1:0'", "f:12:13: [mgmt] advertise: nobody can connect to m1:0"),
        ("advertise", "#", "f:11:10: [mgmt] listen: nobody can connect to 0.0.0.0:7200"),
        ("'test'", "''", "f:15:8: [mgmt] name: found \"\", expected a name in quotes (it has 0"),
    ] {
        let why = parse("f", &WHOLE.replacen(from, to, 1)).unwrap_err();
        assert!(why.contains(expected), "{to}: {why}");
    }
}

/// The file that `--help` shows is one.
#[test]
fn the_example_in_the_help_is_valid() {
    let text = EXAMPLES.split_once("with --config:\n").unwrap().1;
    let (text, shards) = text.split_once("\n\nSeveral shards").unwrap();
    let shards = shards.split_once("of its own:\n").unwrap().1;
    let shards = format!("[storage]\nidentity = 'i'\n{shards}");
    let shards = parse("/etc/s.toml", &shards).unwrap().storage.unwrap().shards;
    assert_eq!(shards.iter().map(|shard| shard.core).collect::<Vec<_>>(), [2, 3]);
    let config = parse("/etc/kv.toml", text).unwrap();
    let kv = config.kv.unwrap();
    assert_eq!(kv.listen.unwrap(), crate::kv::listen_default());
    assert_eq!(kv.cache.unwrap(), crate::kv::CACHE_DEFAULT);
    assert_eq!(kv.node.unwrap(), crate::kv::NODE_DEFAULT);
    let mgmt = config.mgmt.unwrap();
    assert_eq!(mgmt.listen.unwrap(), crate::mgmt::listen_default());
    assert_eq!(mgmt.kv.unwrap(), crate::kv::listen_default());
    assert_eq!(mgmt.node.unwrap(), crate::mgmt::NODE_DEFAULT);
    assert_eq!(mgmt.name.unwrap(), crate::mgmt::name_default());
    let storage = config.storage.unwrap();
    assert_eq!(storage.listen.clone().unwrap(), crate::storage::listen_default());
    assert_eq!(storage.managers, [crate::mgmt::listen_default()]);
    assert_eq!(storage.pool.unwrap(), crate::storage::POOL_DEFAULT);
    assert_eq!(storage.settings(), engine_storaged::Settings::default());
    assert_eq!(storage.store.config(), engine_shard::StoreConfig::default());
    let meta = config.meta.unwrap();
    assert_eq!(meta.listen.clone().unwrap(), crate::meta::listen_default());
    assert_eq!(meta.kv.clone().unwrap(), crate::kv::listen_default());
    assert_eq!(meta.managers, [crate::mgmt::listen_default()]);
    assert_eq!(meta.node.unwrap(), crate::meta::NODE_DEFAULT);
    assert_eq!(meta.settings(), Ok(meta_metad::Settings::default()));
    assert_eq!(config.cluster.unwrap().file, Path::new("/etc/cluster.toml"));
}
