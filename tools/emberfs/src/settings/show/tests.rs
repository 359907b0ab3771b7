use super::*;
use crate::testing::Paper;

const TEXT: &str = "lease.storage = \"3 s\"\nof.a.newer.manager = 7\n";

fn entry() -> ConfigEntry {
    ConfigEntry {
        role: NodeRole::Manager,
        version: ConfigVersion::new(4),
        note: "slow network".to_owned(),
        text: TEXT.to_owned(),
    }
}

fn args(line: &str) -> Args {
    use clap::Parser as _;
    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }
    Alone::try_parse_from(line.split(' ')).unwrap().args
}

#[test]
fn what_is_set_stands_beside_defaults() {
    let entry = entry();
    let config = load(NodeRole::Manager, core::slice::from_ref(&entry)).unwrap().unwrap();
    let (version, settings) = config.current(NodeRole::Manager).unwrap();
    let report = report(NodeRole::Manager, version, Some(&entry), settings);
    assert_eq!((report.version, report.note.as_deref()), (4, Some("slow network")));
    let storage = report.settings.iter().find(|setting| setting.name == "lease.storage").unwrap();
    assert_eq!((storage.value.as_str(), storage.default.as_str()), ("\"3 s\"", "\"2 s\""));
    assert!(storage.set && report.settings.iter().filter(|setting| setting.set).count() == 1);
    assert_eq!(report.ignored, [("of.a.newer.manager".to_owned(), "7".to_owned())]);

    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), false);
    print(&mut out, &args("show manager"), version, Some(&entry), settings).unwrap();
    let lines = paper.lines();
    assert_eq!(lines[0], "settings of manager, config-4: slow network");
    let line = lines.iter().find(|line| line.starts_with("lease.storage")).unwrap();
    let words: Vec<&str> = line.split("  ").filter(|word| !word.is_empty()).collect();
    assert_eq!(words[1..3], ["\"3 s\" (set)", " \"2 s\""].map(str::trim), "{line}");
    assert!(lines.last().unwrap().ends_with("of.a.newer.manager = 7"), "{lines:?}");
}

#[test]
fn a_role_without_settings_is_told() {
    let mut out = Output::to(Paper::default(), false);
    let failure = unknown(NodeRole::Kv, None, &mut out).unwrap_err();
    assert_eq!(
        (failure.exit, failure.error.to_string().as_str()),
        (Exit::Usage, "kv has no settings")
    );
}
