use engine_types::Rng;

use super::*;
use crate::config::tests::{SAMPLE, random_value, sample};

const ROLE: NodeRole = NodeRole::Storage;

fn v(raw: u64) -> ConfigVersion {
    ConfigVersion::new(raw)
}

fn empty() -> ClusterConfig {
    let mut config = ClusterConfig::new();
    config.register(sample()).unwrap();
    config
}

fn set(config: &mut ClusterConfig, name: &str, value: Option<&str>) {
    let (version, _) = config.current(ROLE).unwrap();
    let change = config.plan_set(ROLE, version, &[(name, value)], "a test").unwrap();
    config.committed(change);
}

#[test]
fn golden_bytes() {
    let (note, text) = (String::from("why"), String::from("a = 1\n"));
    let entry = ConfigEntry { role: NodeRole::Meta, version: v(7), note, text };
    #[rustfmt::skip]
    let mut bytes = [
        1, 26, 0, 0, 0, 2,
        7, 0, 0, 0, 0, 0, 0, 0,
        3, 0, 0, 0, b'w', b'h', b'y',
        6, 0, 0, 0, b'a', b' ', b'=', b' ', b'1', b'\n',
    ];
    assert_eq!(entry.encode(), bytes);
    assert_eq!(ConfigEntry::decode(&bytes), Ok(entry));
    crate::fields::check_decoder(&bytes, ConfigEntry::decode);
    bytes[5] = 7;
    let error = ConfigEntry::decode(&bytes).unwrap_err().to_string();
    assert_eq!(error, "config: role: found 7, expected 1 to 6");
}

#[test]
fn every_change_raises_the_version_and_names_the_one_it_saw() {
    let mut config = empty();
    set(&mut config, "cache.shards", Some("9"));
    set(&mut config, "log.filter", Some("\"debug\""));
    let (version, settings) = config.current(ROLE).unwrap();
    assert_eq!((version, settings.number("cache.shards")), (v(2), 9));
    let late = config.plan_replace(ROLE, v(1), "", "").unwrap_err();
    assert_eq!(late, ConfigError::Conflict { role: ROLE, based_on: v(1), current: v(2) });
    let change = config.plan_replace(ROLE, v(2), "scrub.share = 9", "less").unwrap();
    config.committed(change);
    let differences = config.diff(ROLE, v(2), v(3)).unwrap();
    let names: Vec<_> = differences.iter().map(|d| (d.name, d.apply)).collect();
    let expected =
        [("cache.shards", Apply::Hot), ("scrub.share", Apply::Hot), ("log.filter", Apply::Restart)];
    assert_eq!(names, expected);
    assert_eq!(
        (&differences[0].before, &differences[0].after),
        (&Value::Count(9), &Value::Count(8))
    );
    assert_eq!(config.diff(ROLE, v(0), v(0)), Ok(Vec::new()));
    let (oldest, newest) = (v(1), v(3));
    let error = ConfigError::NoSuchVersion { role: ROLE, found: v(4), oldest, newest };
    assert_eq!(config.diff(ROLE, v(4), v(3)), Err(error));
    assert_eq!(config.newest(ROLE).unwrap().note, "less");
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut config = empty();
    set(&mut config, "cache.shards", Some("9"));
    let changes: [&[(&str, Option<&str>)]; 5] = [
        &[("cache.shards", Some("10")), ("cache.shard", Some("1"))],
        &[("cache.shards", Some("0"))],
        &[("cache.shards", Some("nine"))],
        &[("cache.shard", None)],
        &[("cache.bytes", Some("4096"))],
    ];
    for change in changes {
        assert!(config.plan_set(ROLE, v(1), change, "").is_err(), "{change:?}");
    }
    let note = "n".repeat(CONFIG_NOTE_BYTES_MAX + 1);
    let error = config.plan_set(ROLE, v(1), &[], &note).unwrap_err();
    assert_eq!(error, ConfigError::TooLong { what: "the note", found: 257, limit: 256 });
    assert_eq!(config.current(ROLE).unwrap().0, v(1));
    let role = NodeRole::Kv;
    assert_eq!(config.current(role).unwrap_err(), ConfigError::NoSchema { role });
    assert_eq!(config.register(sample()), Err(SchemaError::Registered { role: ROLE }));
    set(&mut config, "cache.shards", None);
    assert_eq!(config.newest(ROLE).unwrap().text, "");
}

#[test]
fn entries_of_a_newer_binary_are_kept() {
    let mut config = empty();
    let entry = |version, text: &str| ConfigEntry {
        role: ROLE,
        version: v(version),
        note: String::new(),
        text: text.into(),
    };
    config.load(entry(5, "cache.shards = 9\nnew.setting = 7\n")).unwrap();
    let error = config.load(entry(7, "")).unwrap_err();
    assert_eq!(error, ConfigLoadError::Order { role: ROLE, found: v(7), last: v(5) });
    let error = config.load(entry(6, "no setting")).unwrap_err().to_string();
    assert!(error.starts_with("storage config-6: line 1: found \"no setting\""), "{error}");
    let stranger = ConfigEntry { role: NodeRole::Kv, ..entry(6, "") };
    assert_eq!(config.load(stranger), Err(ConfigLoadError::NoSchema { role: NodeRole::Kv }));
    set(&mut config, "cache.shards", Some("10"));
    assert_eq!(config.newest(ROLE).unwrap().text, "cache.shards = 10\nnew.setting = 7\n");
    // As it is it may stay, otherwise it is refused, and it can be removed.
    let same = config.plan_replace(ROLE, v(6), "new.setting = 7", "");
    assert_eq!(same.unwrap().put.text, "new.setting = 7\n");
    assert!(config.plan_replace(ROLE, v(6), "new.setting = 8", "").is_err());
    set(&mut config, "new.setting", None);
    assert_eq!(config.newest(ROLE).unwrap().text, "cache.shards = 10\n");
}

#[test]
#[should_panic(expected = "E297")]
fn a_change_is_committed_once() {
    let mut config = empty();
    let change = config.plan_replace(ROLE, v(0), "", "").unwrap();
    config.committed(change.clone());
    config.committed(change);
}

/// Random changes against a map, with loading anew now and then.
#[test]
fn e297_random_changes_equal_a_map() {
    for seed in 0..10 {
        let mut rng = Rng::new(seed);
        let (mut config, mut kv) = (empty(), BTreeMap::new());
        let mut reference: BTreeMap<&str, Value> = BTreeMap::new();
        for step in 0..200 {
            let setting = rng.pick(SAMPLE).unwrap();
            let (version, _) = config.current(ROLE).unwrap();
            let value = rng.chance(800).then(|| random_value(&mut rng, &setting.range));
            let written = value.as_ref().map(Value::to_string);
            let changes = [(setting.name, written.as_deref())];
            let based_on = if rng.chance(100) { v(rng.below(300)) } else { version };
            let Ok(change) = config.plan_set(ROLE, based_on, &changes, "") else { continue };
            assert_eq!(based_on, version, "seed {seed}, step {step}");
            match value {
                Some(value) => reference.insert(setting.name, value),
                None => reference.remove(setting.name),
            };
            kv.insert(change.put.version, change.put.encode());
            change.remove.iter().for_each(|gone| assert!(kv.remove(gone).is_some()));
            config.committed(change);
            if rng.chance(100) {
                config = empty();
                kv.values().for_each(|row| config.load(ConfigEntry::decode(row).unwrap()).unwrap());
            }
            let (newest, settings) = config.current(ROLE).unwrap();
            assert_eq!(newest, version.next(), "seed {seed}, step {step}: E297");
            for setting in SAMPLE {
                let expected = reference.get(setting.name).cloned();
                let expected = expected.unwrap_or_else(|| setting.range.default_value());
                let found = settings.get(setting.name);
                assert_eq!(found, Some(expected), "seed {seed}, step {step}: {}", setting.name);
            }
            let kept: Vec<_> = config.history(ROLE).map(|entry| entry.version).collect();
            assert!(kept.iter().eq(kv.keys()) && kept.len() <= CONFIG_HISTORY_MAX);
        }
        assert!(kv.len() == CONFIG_HISTORY_MAX, "seed {seed}: {}", kv.len());
    }
}
