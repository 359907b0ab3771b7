use super::*;
use crate::testing::Paper;

fn entry(version: u64, text: &str) -> ConfigEntry {
    let version = ConfigVersion::new(version);
    ConfigEntry { role: NodeRole::Manager, version, note: String::new(), text: text.to_owned() }
}

fn args(line: &str) -> DiffArgs {
    use clap::Parser as _;
    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        args: DiffArgs,
    }
    Alone::try_parse_from(line.split(' ')).unwrap().args
}

#[test]
fn versions_are_compared_by_what_is_in_force() {
    let entries = [entry(7, "lease.storage = \"3 s\"\n"), entry(8, "syncing.node_max = 8\n")];
    for (line, expected) in [
        ("diff manager 7", &["lease.storage", "syncing.node_max"] as &[_]),
        ("diff manager config-7 config-7", &[]),
        ("diff manager 0 7", &["lease.storage"]),
        ("diff manager 0", &["syncing.node_max"]),
    ] {
        let found = compare(&args(line), &entries).unwrap();
        let names: Vec<&str> = found.iter().map(|difference| difference.name).collect();
        assert_eq!(names, expected, "{line}");
    }
    let failure = compare(&args("diff manager 6"), &entries).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.error.to_string().contains("config-6, expected config-7 to config-8"));
}

#[test]
fn nothing_that_differs_is_said() {
    let paper = Paper::default();
    print(&mut Output::to(paper.clone(), false), &[]).unwrap();
    assert_eq!(paper.lines(), ["no setting differs"]);
    let paper = Paper::default();
    print(&mut Output::to(paper.clone(), true), &[]).unwrap();
    assert_eq!(paper.lines(), [""; 0]);
}
