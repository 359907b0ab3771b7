use super::*;
use crate::config::Config;

const SIMPLE: &str = "[storage]\nidentity = 'id'\nstores = ['a', '/dev/b']\n";
const SHARDS: &str = "[storage]\nidentity = 'id'\nshards = [\n\
    { core = 1, listen = 'h:1', stores = ['a'] },\n\
    { core = 2, listen = 'h:2', stores = ['b', 'c'] },\n]\n";

fn parse(text: &str) -> Result<StorageSection, String> {
    let config = Config::parse(Path::new("/etc/f"), text).map_err(|error| error.to_string())?;
    Ok(config.storage.unwrap())
}

#[test]
fn both_forms_are_read_with_paths_relative_to_the_file() {
    let section = parse(SIMPLE).unwrap();
    assert_eq!(section.stores, [Path::new("/etc/a"), Path::new("/dev/b")]);
    assert_eq!(section.identity, Path::new("/etc/id"));
    assert_eq!(section.store.config(), StoreConfig::default());
    assert_eq!(section.settings(), Settings::default());
    let section = parse(SHARDS).unwrap();
    let shards: Vec<_> = section
        .shards
        .iter()
        .map(|shard| (shard.core, shard.listen.to_string(), shard.stores.len()))
        .collect();
    assert_eq!(shards, [(1, "h:1".to_owned(), 1), (2, "h:2".to_owned(), 2)]);
    assert_eq!(section.shards[1].stores[1], Path::new("/etc/c"));
    assert_eq!((section.stores.len(), section.listen), (0, None));
}

#[test]
fn shards_listen_at_one_port_after_the_other() {
    for (listen, more, expected) in [
        ("", "", Ok(["127.0.0.1:7300", "127.0.0.1:7301"])),
        ("listen = 'h:9'", "", Ok(["h:9", "h:10"])),
        ("listen = 'h:9'", "listen = 'h:77'", Ok(["h:9", "h:77"])),
        ("listen = 'h:0'", "", Ok(["h:0", "h:0"])),
        ("listen = 'h:65535'", "", Err("[storage] shards[1] listen: there is no port so far")),
        ("listen = 'h:65535'", "listen = 'h:1'", Ok(["h:65535", "h:1"])),
        ("listen = 'h:9'", "listen = 'h:9'", Err("two of them listen on h:9")),
        ("listen = 'h:9'", "listen = 'i:9'", Err("all are at one host, found h:9 and i:9")),
    ] {
        let text = format!(
            "[storage]\nidentity = 'id'\n{listen}\nshards = [\n\
             {{ core = 1, stores = ['a'] }},\n{{ core = 2, {more}, stores = ['b'] }},\n]\n"
        );
        let text = text.replace(", ,", ",");
        match (parse(&text), expected) {
            (Ok(section), Ok(expected)) => {
                let found: Vec<_> = section.shards.iter().map(|s| s.listen.to_string()).collect();
                assert_eq!(found, expected, "{listen} {more}");
                assert_eq!(section.listen, None);
            }
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
            (found, expected) => panic!("{listen} {more}: {found:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn every_setting_of_stores_is_read() {
    let text = format!(
        "{SIMPLE}verify_small_reads = true\noverlay = '512KiB'\nfull_permille = 1000\n\
         discard = false\nalways_flush = true\nresync_rate = '1MiB'\nscrub_rate = '0'\n"
    );
    let expected = StoreConfig {
        verify_small_reads: true,
        overlay_bytes_max: 512 << 10,
        full_permille: 1000,
        discard: false,
        always_flush: true,
        ..StoreConfig::default()
    };
    let section = parse(&text).unwrap();
    assert_eq!(section.store.config(), expected);
    let Settings { resync_bytes_per_second, scrub_bytes_per_second, .. } = section.settings();
    assert_eq!((resync_bytes_per_second, scrub_bytes_per_second), (1 << 20, 0));
}

#[test]
fn turns_between_clients_resync_and_scrub_are_read_and_bounded() {
    assert_eq!(parse(SIMPLE).unwrap().settings().admission, AdmissionSettings::default());
    let text = format!(
        "{SIMPLE}client_weight = 1000\nresync_weight = 3\nscrub_weight = 1\n\
         running_max = 32768\nwaiting_max = 1048576\nclient_waiting_max = 7\n"
    );
    let expected = AdmissionSettings {
        client_weight: 1000,
        resync_weight: 3,
        scrub_weight: 1,
        running_max: 32_768,
        waiting_max: 1 << 20,
        client_waiting_max: 7,
    };
    assert_eq!(parse(&text).unwrap().settings().admission, expected);
    for (wrong, expected) in [
        ("client_weight = 0", "[storage] client_weight: found 0, expected 1 to 1000"),
        ("resync_weight = 1001", "[storage] resync_weight: found 1001, expected 1 to 1000"),
        ("scrub_weight = '1'", "[storage] scrub_weight: found \"1\", expected a number"),
        ("running_max = 0", "[storage] running_max: found 0, expected 1 to 32768"),
        ("waiting_max = 1048577", "waiting_max: found 1048577, expected 1 to 1048576"),
        ("waiting_max = 100", "waiting_max: one client may wait with 10240, all together with 100"),
        ("client_waiting_max = 131073", "client_waiting_max: one client may wait with 131073"),
        ("clients_weight = 1", "unknown key \"clients_weight\" in [storage]; did you mean"),
    ] {
        let why = parse(&format!("{SIMPLE}{wrong}\n")).unwrap_err();
        assert!(why.contains(expected), "{wrong}: {why}");
    }
}

#[test]
fn mistakes_are_told_with_what_is_expected() {
    for (from, to, expected) in [
        ("identity", "#", "[storage] identity is missing, expected a path"),
        ("stores = ['a', '/dev/b']", "", "[storage] stores: it is missing, expected paths"),
        ("['a', '/dev/b']", "[]", "[storage] stores: there is none, expected paths"),
        ("'/dev/b'", "'a'", "[storage] stores: /etc/a is there twice"),
        ("stores", "stors", "unknown key \"stors\" in [storage]; did you mean \"stores\"?"),
        ("'id'", "'id'\nlisten = '0.0.0.0:1'", "[storage] listen: nobody can connect to 0.0.0.0:1"),
        ("'id'", "'id'\nmanagers = ['h:0']", "[storage] managers: nobody can connect to one"),
        ("'id'", "'id'\npool = '4MiB'", "[storage] pool: found 4 MiB, expected 16 MiB to 1 TiB"),
        ("'id'", "'id'\noverlay = '4KiB'", "[storage] overlay: expected 512 KiB to 1 TiB"),
        ("'id'", "'id'\nfull_permille = 0", "[storage] full_permille: found 0, expected 1 to 1000"),
        ("'id'", "'id'\nresync_rate = 5", "[storage] resync_rate: found the number 5, expected a"),
        ("'id'", "'id'\ndiscard = 'no'", "[storage] discard: found \"no\", expected true or false"),
        ("'id'", "'id'\ndiscard = 1", "[storage] discard: found the number 1, expected true"),
        ("'id'", "'id'\ndomain = ''", "[storage] domain: found \"\", expected a name in quotes"),
    ] {
        let why = parse(&SIMPLE.replacen(from, to, 1)).unwrap_err();
        assert!(why.contains(expected), "{to}: {why}");
    }
}

#[test]
fn shards_that_cannot_stand_beside_each_other_are_refused() {
    for (from, to, expected) in [
        ("core = 2", "core = 1", "[storage] shards: core 1 has two of them"),
        ("core = 2", "core = 65536", "shards[1] core: found 65536, at most 65535"),
        ("core = 2, ", "", "[storage] shards[1] core is missing, expected a number"),
        ("core = 2", "cor = 2", "unknown key \"cor\" in [storage] shards[1]; did you mean"),
        ("h:2", "h:1", "[storage] shards: two of them listen on h:1"),
        ("h:2", "i:2", "[storage] shards: all are at one host, found h:1 and i:2"),
        ("'c'", "'a'", "[storage] shards: /etc/a is there twice"),
        ("'h:1'", "'0.0.0.0:1'", "[storage] shards: nobody can connect to 0.0.0.0:1"),
        ("'id'", "'id'\nstores = 'x'", "[storage] stores: each of `shards` has its own"),
        ("'id'", "'id'\nlisten = 'h:9'", "[storage] listen: each of `shards` has its own"),
    ] {
        let why = parse(&SHARDS.replacen(from, to, 1)).unwrap_err();
        assert!(why.contains(expected), "{to}: {why}");
    }
    for (shards, expected) in [
        ("[]", "[storage] shards: there is none"),
        ("3", "[storage] shards: found the number 3, expected a list of tables"),
        ("['x']", "[storage] shards: found \"x\", expected a table in braces"),
    ] {
        let why = parse(&format!("[storage]\nidentity = 'id'\nshards = {shards}\n")).unwrap_err();
        assert!(why.contains(expected), "{shards}: {why}");
    }
}
