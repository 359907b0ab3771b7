use super::*;

fn args(line: &str) -> RollbackArgs {
    use clap::Parser as _;
    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        args: RollbackArgs,
    }
    Alone::try_parse_from(line.split(' ')).unwrap().args
}

#[test]
fn a_rollback_writes_an_older_version_anew() {
    let entry = |version, text: &str| ConfigEntry {
        role: NodeRole::Manager,
        version: ConfigVersion::new(version),
        note: String::new(),
        text: text.to_owned(),
    };
    let entries = [entry(3, "a = 1\n"), entry(4, "a = 2\n")];
    for (line, text, note) in [
        ("rollback manager config-3", "a = 1\n", "back to config-3"),
        ("rollback manager 4 --note why", "a = 2\n", "why"),
        ("rollback manager 0", "", "back to config-0"),
    ] {
        let expected = Operation::ReplaceConfig {
            role: NodeRole::Manager,
            based_on: ConfigVersion::new(4),
            text: text.to_owned(),
            note: note.to_owned(),
        };
        assert_eq!(former(&args(line), &entries).unwrap(), expected, "{line}");
    }
    let failure = former(&args("rollback manager 2"), &entries).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert_eq!(failure.error.to_string(), "config-2 of the settings of manager is not kept");
}
