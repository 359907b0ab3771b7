use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Args, ErrorKind> {
    Args::try_parse_from(line.split(' ')).map_err(|error| error.kind())
}

#[test]
fn help_is_well_formed_and_names_every_suite() {
    Args::command().debug_assert();
    let help = Args::command().render_long_help().to_string();
    for suite in SUITES {
        assert!(help.contains(suite.name) && help.contains(suite.about), "{help}");
    }
}

#[test]
fn arguments_are_checked() {
    let args = parse("bench rpc --seconds 0.5 --filter 4k --require-goals").expect("valid");
    assert_eq!(args.suite.as_deref(), Some("rpc"));
    assert_eq!(args.seconds, Duration::from_millis(500));
    assert_eq!(args.filter, "4k");
    assert!(args.require_goals && !args.list && args.json.is_none());

    assert!(parse("bench --list").is_ok(), "a list needs no suite");
    for (line, kind) in [
        ("bench", ErrorKind::MissingRequiredArgument),
        ("bench nothing", ErrorKind::InvalidValue),
        ("bench rpc --seconds 0", ErrorKind::ValueValidation),
        ("bench rpc --seconds -1", ErrorKind::UnknownArgument),
        ("bench rpc --seconds nan", ErrorKind::ValueValidation),
        ("bench rpc --seconds soon", ErrorKind::ValueValidation),
        ("bench store --size 1M", ErrorKind::ValueValidation),
        ("bench store --size 1T", ErrorKind::ValueValidation),
        ("bench store --size G", ErrorKind::ValueValidation),
        ("bench kv --keys 9", ErrorKind::ValueValidation),
        ("bench kv --tasks 0", ErrorKind::ValueValidation),
        ("bench rpc --threads 3", ErrorKind::UnknownArgument),
    ] {
        assert_eq!(parse(line).err(), Some(kind), "{line}");
    }
}

#[test]
fn sizes_are_whole_largest_chunks() {
    for (text, expected) in [
        ("64M", 64 << 20),
        ("65m", 128 << 20),
        ("4G", 4 << 30),
        ("65537k", 128 << 20),
        ("67108864", 64 << 20),
    ] {
        assert_eq!(bytes(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_filter_that_matches_nothing_is_an_error() {
    let args = parse("bench rpc --filter no-such-row").expect("valid");
    let error = run(&args).expect_err("nothing to measure");
    assert!(error.to_string().contains("no-such-row"), "{error}");
}

#[test]
fn names_of_rows_are_unique_and_fit_a_shell() {
    let storage = Storage { dir: "".into(), memory_dir: "".into(), bytes: 0 };
    let (seconds, filter) = (Duration::from_secs(1), String::new());
    let plan = Plan { seconds, filter, storage, keys: Keys::default() };
    for suite in SUITES {
        let mut names = plan.names(suite);
        let count = names.len();
        assert!(0 < count);
        for name in &names {
            assert!(
                name.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.".contains(c)),
                "{name}"
            );
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "suite {}", suite.name);
    }
}
