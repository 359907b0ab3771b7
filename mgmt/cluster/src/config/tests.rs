use alloc::vec;

use engine_types::Rng;

use super::*;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn row(name: &'static str, range: Range) -> Setting {
    Setting { name, range, apply: Apply::Hot, help: "For a test." }
}

/// One setting of each type; the last needs a restart.
pub(super) const SAMPLE: &[Setting] = &[
    row("flush.interval", Range::Duration { default: ms(500), min: ms(1), max: ms(90_000) }),
    row("cache.bytes", Range::Bytes { default: 64 << 20, min: 4096, max: 1 << 40 }),
    row("cache.shards", Range::Count { default: 8, min: 1, max: 64 }),
    row("scrub.share", Range::Permille { default: 50, min: 0, max: 1000 }),
    row("scrub.enabled", Range::Bool { default: true }),
    Setting {
        apply: Apply::Restart,
        ..row("log.filter", Range::Text { default: "info", bytes_max: 20 })
    },
];

fn check(settings: &Settings) -> Result<(), String> {
    if settings.number("cache.bytes") / settings.number("cache.shards") < 4096 {
        return Err("cache.bytes gives less than 4096 to each of cache.shards".into());
    }
    Ok(())
}

pub(super) fn sample() -> Schema {
    Schema::new(NodeRole::Storage, SAMPLE, check).unwrap()
}

#[test]
fn what_is_not_set_has_its_default() {
    let settings = sample().parse("cache.shards = 9 # odd\n\n# a comment\nscrub.enabled=false");
    let settings = settings.unwrap();
    assert_eq!((settings.number("cache.shards"), settings.flag("scrub.enabled")), (9, false));
    assert_eq!(settings.duration("flush.interval"), ms(500));
    assert_eq!((settings.text("log.filter"), settings.number("scrub.share")), ("info".into(), 50));
    assert!(settings.is_set("cache.shards") && !settings.is_set("cache.bytes"));
    assert_eq!(settings.get("cache.bites"), None);
    assert_eq!(settings.print(), "cache.shards = 9\nscrub.enabled = false\n");
    assert_eq!(sample().parse(&settings.print_all()).unwrap().print(), settings.print());
    let all = settings.print_all();
    assert!(all.contains("# flush.interval = \"500 ms\"\n") && all.contains("\ncache.shards = 9"));
    assert!(all.contains("# 1 to 64; default 8; takes effect at once.\n"), "{all}");
}

#[test]
fn every_mistake_is_named() {
    let rows = [
        (
            "cache.shard = 1",
            r#"storage has no setting "cache.shard"; did you mean "cache.shards"?"#,
        ),
        ("shards = 1", r#"storage has no setting "shards"; did you mean "cache.shards"?"#),
        ("quite.else = 1", r#"storage has no setting "quite.else""#),
        ("cache.shards = 65", "cache.shards: found 65, expected 1 to 64"),
        ("cache.shards = true", "cache.shards: found true, expected a number"),
        ("scrub.share = 1001", "scrub.share: found 1001, expected 0 to 1000 thousandths"),
        ("scrub.share = 5000000000", "scrub.share: found 5000000000, expected a number of t"),
        ("flush.interval = 500", "flush.interval: found 500, expected a time with a unit, such"),
        ("flush.interval = \"500\"", "flush.interval: found \"500\", expected a time such as"),
        ("flush.interval = \"2 min\"", "found \"2 min\", expected \"1 ms\" to \"90 s\""),
        ("cache.bytes = \"1 KB\"", "cache.bytes: found \"1 KB\", expected an amount such as"),
        ("cache.bytes = 4095", "cache.bytes: found \"4095 B\", expected \"4 KiB\" to \"1 TiB\""),
        ("scrub.enabled = 1", "scrub.enabled: found 1, expected true or false"),
        ("log.filter = info", "line 1: found \"info\", expected a number from 0 to"),
        ("log.filter = 7", "log.filter: found 7, expected a text in double quotes"),
        ("log.filter = \"a very long filter indeed\"", "expected a text of at most 20 bytes"),
        ("\n[cache]\nshards = 1", "line 2: found \"[cache]\", expected name = value"),
        ("Cache.shards = 1", "line 1: found \"Cache.shards\", expected a name of lower-case"),
        ("cache..shards = 1", "line 1: found \"cache..shards\", expected a name of lower-case"),
        ("cache.shards = 1\ncache.shards = 1", "cache.shards is set twice, in lines 1 and 2"),
        ("cache.bytes = \"8 KiB\"", "do not fit together: cache.bytes gives less than 4096 to"),
    ];
    for (text, expected) in rows {
        let error = sample().parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let long = "#".repeat(CONFIG_TEXT_BYTES_MAX + 1);
    let error = sample().parse(&long).unwrap_err().to_string();
    assert_eq!(error, "the settings: found 32769 bytes, at most 32768");
}

#[test]
fn a_schema_must_be_sound() {
    const ODD: &[Setting] = &[row("Cache", Range::Bool { default: true })];
    const TWICE: &[Setting] =
        &[row("a", Range::Bool { default: true }), row("a", Range::Bool { default: true })];
    const BEYOND: &[Setting] = &[row("a", Range::Count { default: 9, min: 1, max: 8 })];
    let error = |rows| Schema::new(NodeRole::Meta, rows, |_| Ok(())).unwrap_err().to_string();
    assert_eq!(error(ODD), "meta: \"Cache\" is no name of a setting");
    assert_eq!(error(TWICE), "meta: a is there twice");
    assert_eq!(error(BEYOND), "meta: a: the default 9 is not allowed, expected 1 to 8");
    let bad = Schema::new(NodeRole::Meta, &[], |_| Err("no".into())).unwrap_err().to_string();
    assert_eq!(bad, "meta: the defaults do not fit together: no");
}

#[test]
fn e296_stored_lines_that_are_not_admitted_are_kept_without_effect() {
    let stored = "cache.shards = 99\nscrub.share = 7\nnew.setting = \"x\"\n";
    let settings = sample().parse_stored(stored).unwrap();
    assert_eq!((settings.number("cache.shards"), settings.number("scrub.share")), (8, 7));
    let ignored: Vec<_> = settings.ignored().collect();
    assert_eq!(ignored, [("cache.shards", "99"), ("new.setting", "\"x\"")]);
    assert_eq!(settings.print(), "scrub.share = 7\ncache.shards = 99\nnew.setting = \"x\"\n");
    let together = sample().parse_stored("cache.bytes = \"8 KiB\"\nscrub.share = 7").unwrap();
    assert_eq!((together.number("cache.bytes"), together.number("scrub.share")), (64 << 20, 50));
    assert_eq!(together.ignored().count(), 2);
}

#[test]
#[should_panic(expected = "E296")]
fn reading_a_setting_that_is_not_there_is_a_mistake() {
    sample().defaults().duration("cache.shards");
}

#[test]
fn distances() {
    let rows =
        [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)];
    for (one, other, expected) in rows {
        assert_eq!(distance(one, other), expected, "{one} {other}");
    }
}

/// A random value within the bounds of a setting, in whole microseconds.
pub(super) fn random_value(rng: &mut Rng, range: &Range) -> Value {
    match *range {
        Range::Duration { .. } => {
            let unit = *rng.pick(&[1, 1000, 1_000_000]).unwrap();
            let us = (rng.below(90) + 1) * unit;
            Value::Duration(Duration::from_micros(us.max(1000)))
        }
        Range::Bytes { min, .. } => Value::Bytes(min << rng.below(20) | rng.below(2)),
        Range::Count { min, max, .. } => Value::Count(rng.range(min..=max)),
        Range::Permille { min, max, .. } => {
            Value::Permille(u32::try_from(rng.range(min.into()..=max.into())).unwrap())
        }
        Range::Bool { .. } => Value::Bool(rng.chance(500)),
        Range::Text { .. } => {
            let chars: Vec<char> = "a\"\\\n\t#= \u{e4}".chars().collect();
            let count = rng.below(9);
            Value::Text((0..count).map(|_| *rng.pick(&chars).unwrap()).collect())
        }
    }
}

#[test]
fn what_is_printed_is_read_back() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut text = String::new();
        let mut expected = vec![];
        for setting in SAMPLE {
            let value = random_value(&mut rng, &setting.range);
            assert!(setting.range.admits(&value), "seed {seed}: {value}");
            text += &format!("{} = {value}\n", setting.name);
            expected.push(Some(value));
        }
        let Ok(settings) = sample().parse(&text) else {
            let why = sample().parse(&text).unwrap_err();
            assert!(matches!(why, ConfigError::Together { .. }), "seed {seed}: {why}\n{text}");
            continue;
        };
        let found: Vec<_> = SAMPLE.iter().map(|setting| settings.get(setting.name)).collect();
        assert_eq!(found, expected, "seed {seed}");
        assert_eq!(settings.print(), text, "seed {seed}");
    }
}
