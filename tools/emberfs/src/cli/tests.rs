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
    let mut verbs = 0;
    for noun in command.get_subcommands_mut().filter(|noun| noun.get_name() != "help") {
        let name = noun.get_name().to_owned();
        for verb in noun.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
            verbs += 1;
            let example = format!("emberfs {name} {} ", verb.get_name());
            let help = verb.render_long_help().to_string();
            assert!(help.contains("Examples:") && help.matches(&example).count() >= 2, "{help}");
            for argument in verb.get_arguments() {
                assert!(argument.get_help().is_some(), "{example}: {argument}");
            }
        }
    }
    assert_eq!(verbs, 15);
}

#[test]
fn arguments_are_checked() {
    for line in [
        "emberfs cluster create c.toml",
        "emberfs cluster show c.toml --json",
        "emberfs config validate kv.toml",
        "emberfs kv create --dir d --cluster c",
        "emberfs kv serve --config f",
        "emberfs kv serve --config f --dir d --listen [::1]:0 --cache 4GiB --node 3 --json",
        "emberfs kv serve --dir d --cluster c",
        "emberfs kv status --address h:1 --cluster c --timeout 500ms",
        "emberfs kv status --config f",
        "emberfs kv status --cluster c",
        "emberfs kv check --dir d",
        "emberfs kv backup b --dir d",
        "emberfs kv backup b --address h:1 --cluster c --json",
        "emberfs kv restore b --dir d --json",
        "emberfs kv verify b",
        r"emberfs kv get k\x00 --dir d",
        "emberfs kv range k --address h:1 --cluster c --limit 5",
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
        ("emberfs cluster create", ErrorKind::MissingRequiredArgument),
        ("emberfs config validate", ErrorKind::MissingRequiredArgument),
        ("emberfs kv create --dir d", ErrorKind::MissingRequiredArgument),
        ("emberfs kv serve --dir d --cluster c --listen 7100", ErrorKind::ValueValidation),
        ("emberfs kv serve --dir d --cluster c --cache ten", ErrorKind::ValueValidation),
        ("emberfs kv status --address h:1", ErrorKind::MissingRequiredArgument),
        ("emberfs kv status --address h:1 --cluster c --config f", ErrorKind::ArgumentConflict),
        ("emberfs kv status --config f --timeout 5", ErrorKind::ValueValidation),
        ("emberfs kv restore b", ErrorKind::MissingRequiredArgument),
        ("emberfs kv get --dir d", ErrorKind::MissingRequiredArgument),
        (r"emberfs kv get \q --dir d", ErrorKind::ValueValidation),
        ("emberfs kv get k --dir d --address h:1 --cluster c", ErrorKind::ArgumentConflict),
        ("emberfs kv range k --dir d --limit 0", ErrorKind::ValueValidation),
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
