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
    assert_eq!(verbs, 62);
}

const GOOD: &[&str] = &[
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
    "emberfs kv status --address h:1",
    "emberfs kv check --dir d",
    "emberfs kv backup b --dir d",
    "emberfs kv backup b --address h:1 --cluster c --json",
    "emberfs kv restore b --dir d --json",
    "emberfs kv verify b",
    r"emberfs kv get k\x00 --dir d",
    "emberfs kv range k --address h:1 --cluster c --limit 5",
    "emberfs cluster stop",
    "emberfs cluster start --json --managers h:1,i:2 --cluster c",
    "emberfs cluster raise-timeline --yes",
    "emberfs mgmt serve --cluster c --node 2 --listen 0.0.0.0:0 --advertise h:1,i:2 --name n",
    "emberfs mgmt serve --config f --kv h:1 --json --test-primary-lease 500ms",
    "emberfs mgmt status --config f --timeout 500ms",
    "emberfs mgmt handover",
    "emberfs fsck --cluster c --kv h:1 --managers h:1,i:2 --no-chunks --json",
    "emberfs fsck --repair --yes",
    "emberfs meta serve --cluster c --node 2 --listen 0.0.0.0:0 --advertise h:1 --kv h:1",
    "emberfs meta serve --config f --managers h:1,i:2 --requests 8 --chunk-size 1MiB --stripe 4",
    "emberfs meta status --config f --operations --json",
    "emberfs meta df --config f --json",
    "emberfs node list --role storage",
    "emberfs node show node-3 --targets",
    "emberfs node drain 3",
    "emberfs node drain 3 --wait --json",
    "emberfs node drain --wait=5m 3",
    "emberfs node undrain 3",
    "emberfs node enable 3",
    "emberfs node disable 3",
    "emberfs node unregister 3",
    "emberfs node tag 3 a=b c=d --remove e,f",
    "emberfs node tag 3 --remove e",
    "emberfs chain list --unwhole",
    "emberfs chain show chain-5",
    "emberfs chain create 1/01234567-89ab-cdef-0123-456789abcdef",
    "emberfs chain create --file f --json",
    "emberfs chain order 5 7 target-8",
    "emberfs chain order 5",
    "emberfs chain rotate 5",
    "emberfs chain give-up-to target-7 --accept-data-loss",
    "emberfs target add 5 1/01234567-89ab-cdef-0123-456789abcdef/2/3",
    "emberfs target remove target-7",
    "emberfs target drain 7",
    "emberfs target undrain 7",
    "emberfs target replace 7 1/01234567-89ab-cdef-0123-456789abcdef",
    "emberfs target adopt-store 7 01234567-89ab-cdef-0123-456789abcdef",
    "emberfs table show 1 v3",
    "emberfs table set table-1 chain-1..chain-64 70",
    "emberfs table set 1 --file f",
    "emberfs table plan --nodes f --replicas 2 --seed 7 --chains",
    "emberfs table plan --disks 4 --targets 6",
    "emberfs session list --all",
    "emberfs session revoke 17 session-18",
    "emberfs settings show manager --help-text",
    "emberfs settings set manager lease.storage=3s a.b=true --note why --based-on 4",
    "emberfs settings unset manager lease.storage",
    "emberfs settings history manager --json",
    "emberfs settings diff manager 3",
    "emberfs settings diff manager config-3 config-4",
    "emberfs settings rollback manager 3",
    "emberfs routing show --json",
    "emberfs routing watch --count 10",
    "emberfs storage serve --config f --listen h:1 --managers h:2,i:3 --json",
    "emberfs storage serve --cluster c --identity i --store s --store t --domain d --pool 1G",
    "emberfs storage status h:1 --cluster c",
    "emberfs storage status --config f --json",
    "emberfs storage space",
    "emberfs storage space h:1 --timeout 500ms",
    "emberfs storage targets h:1 --unwhole --json",
    "emberfs storage targets --config f",
    "emberfs storage scrub h:1 --store 01234567-89ab-cdef-0123-456789abcdef",
    "emberfs storage scrub --config f --json",
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
];

const BAD: &[(&str, ErrorKind)] = &[
    ("emberfs", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
    ("emberfs --help", ErrorKind::DisplayHelp),
    ("emberfs --version", ErrorKind::DisplayVersion),
    ("emberfs stores", ErrorKind::InvalidSubcommand),
    ("emberfs cluster create", ErrorKind::MissingRequiredArgument),
    ("emberfs config validate", ErrorKind::MissingRequiredArgument),
    ("emberfs kv create --dir d", ErrorKind::MissingRequiredArgument),
    ("emberfs kv serve --dir d --cluster c --listen 7100", ErrorKind::ValueValidation),
    ("emberfs kv serve --dir d --cluster c --cache ten", ErrorKind::ValueValidation),
    ("emberfs kv status --address h:1 --cluster c --config f", ErrorKind::ArgumentConflict),
    ("emberfs kv status --config f --timeout 5", ErrorKind::ValueValidation),
    ("emberfs kv restore b", ErrorKind::MissingRequiredArgument),
    ("emberfs kv get --dir d", ErrorKind::MissingRequiredArgument),
    (r"emberfs kv get \q --dir d", ErrorKind::ValueValidation),
    ("emberfs kv get k --dir d --address h:1 --cluster c", ErrorKind::ArgumentConflict),
    ("emberfs kv range k --dir d --limit 0", ErrorKind::ValueValidation),
    ("emberfs cluster raise-timeline now", ErrorKind::UnknownArgument),
    ("emberfs mgmt", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
    ("emberfs mgmt serve --test-primary-lease 1ms", ErrorKind::ValueValidation),
    ("emberfs mgmt serve --name ", ErrorKind::ValueValidation),
    ("emberfs mgmt status --config f --managers h:1", ErrorKind::ArgumentConflict),
    ("emberfs mgmt status --managers h", ErrorKind::ValueValidation),
    ("emberfs node list --role disk", ErrorKind::ValueValidation),
    ("emberfs node show target-3", ErrorKind::ValueValidation),
    ("emberfs node drain", ErrorKind::MissingRequiredArgument),
    ("emberfs node drain 3 --wait=5", ErrorKind::ValueValidation),
    ("emberfs node tag 3", ErrorKind::MissingRequiredArgument),
    ("emberfs node tag 3 rack", ErrorKind::ValueValidation),
    ("emberfs chain show 0", ErrorKind::ValueValidation),
    ("emberfs chain create", ErrorKind::MissingRequiredArgument),
    ("emberfs chain create 1/x", ErrorKind::ValueValidation),
    (
        "emberfs chain create 1/01234567-89ab-cdef-0123-456789abcdef --file f",
        ErrorKind::ArgumentConflict,
    ),
    ("emberfs target add 5", ErrorKind::MissingRequiredArgument),
    ("emberfs target adopt-store 7 mine", ErrorKind::ValueValidation),
    ("emberfs table set 1", ErrorKind::MissingRequiredArgument),
    ("emberfs table set 1 9..3", ErrorKind::ValueValidation),
    ("emberfs table plan --nodes f --disks 3", ErrorKind::ArgumentConflict),
    ("emberfs session revoke", ErrorKind::MissingRequiredArgument),
    ("emberfs settings show boss", ErrorKind::ValueValidation),
    ("emberfs settings set manager lease.storage", ErrorKind::ValueValidation),
    ("emberfs settings unset manager", ErrorKind::MissingRequiredArgument),
    ("emberfs routing watch --count 0", ErrorKind::ValueValidation),
    ("emberfs storage serve --domain ", ErrorKind::ValueValidation),
    ("emberfs storage serve --pool ten", ErrorKind::ValueValidation),
    ("emberfs storage status h", ErrorKind::ValueValidation),
    ("emberfs storage status h:1 --config f", ErrorKind::ArgumentConflict),
    ("emberfs storage space --cluster c --config f", ErrorKind::ArgumentConflict),
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
];

#[test]
fn arguments_are_checked() {
    for line in GOOD {
        assert!(parse(line).is_ok(), "{line}");
    }
    for (line, kind) in BAD {
        assert_eq!(parse(line).err(), Some(*kind), "{line}");
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
