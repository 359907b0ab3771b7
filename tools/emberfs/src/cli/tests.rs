use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Args, ErrorKind> {
    Args::try_parse_from(line.split(' ')).map_err(|error| error.kind())
}

#[test]
fn the_command_line_is_well_formed_and_shows_examples() {
    Args::command().debug_assert();
    let mut command = Args::command();
    command.build();
    let store = command.find_subcommand_mut("store").unwrap();
    let verbs = ["format", "check", "dump"];
    for verb in verbs {
        let verb_command = store.find_subcommand_mut(verb).unwrap();
        let help = verb_command.render_long_help().to_string();
        let example = format!("emberfs store {verb} ");
        assert!(help.contains("Examples:") && help.matches(&example).count() >= 2, "{help}");
        for argument in verb_command.get_arguments() {
            assert!(argument.get_help().is_some(), "{verb}: {argument}");
        }
    }
}

#[test]
fn arguments_are_checked() {
    for line in [
        "emberfs store format s --size 10GiB",
        "emberfs store format s --size 10G --cluster random --journal 64M --index 1G --force",
        "emberfs store format /dev/x --cluster 01234567-89ab-cdef-0123-456789abcdef",
        "emberfs store check s",
        "emberfs store check s --deep --json",
        "emberfs store dump s",
        "emberfs store dump s --superblock",
        "emberfs store dump s --targets --json",
        "emberfs store dump s --chunks --slot 1 --inode 7 --limit 10",
        "emberfs store dump s --journal --limit 5",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
    for (line, kind) in [
        ("emberfs", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("emberfs --help", ErrorKind::DisplayHelp),
        ("emberfs --version", ErrorKind::DisplayVersion),
        ("emberfs stores", ErrorKind::InvalidSubcommand),
        ("emberfs store mend s", ErrorKind::InvalidSubcommand),
        ("emberfs store format", ErrorKind::MissingRequiredArgument),
        ("emberfs store format s t", ErrorKind::UnknownArgument),
        ("emberfs store format s --size ten", ErrorKind::ValueValidation),
        ("emberfs store format s --size 1.5", ErrorKind::ValueValidation),
        ("emberfs store format s --cluster mine", ErrorKind::ValueValidation),
        ("emberfs store check", ErrorKind::MissingRequiredArgument),
        ("emberfs store check s --force", ErrorKind::UnknownArgument),
        ("emberfs store dump s --targets --journal", ErrorKind::ArgumentConflict),
        ("emberfs store dump s --chunks --superblock", ErrorKind::ArgumentConflict),
        ("emberfs store dump s --slot 1", ErrorKind::MissingRequiredArgument),
        ("emberfs store dump s --targets --inode 1", ErrorKind::ArgumentConflict),
        ("emberfs store dump s --chunks --slot 65536", ErrorKind::ValueValidation),
        ("emberfs store dump s --limit 0", ErrorKind::ValueValidation),
        ("emberfs store dump s --limit -1", ErrorKind::UnknownArgument),
    ] {
        assert_eq!(parse(line).err(), Some(kind), "{line}");
    }
}

#[test]
fn a_failure_is_told_with_its_causes_and_a_way_out() {
    let error = anyhow::anyhow!("no such file").context("cannot open x");
    let failure = Failure::environment(error).hint("look again");
    let expected = "emberfs: cannot open x: no such file\n  hint: look again";
    assert_eq!(message(&failure, Style::PLAIN), expected);
    assert_eq!(message(&Failure::usage(anyhow::anyhow!("no")), Style::PLAIN), "emberfs: no");
}
