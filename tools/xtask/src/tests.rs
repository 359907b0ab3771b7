use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_simulator_gets_every_argument_as_it_stands() {
    let line = ["cargo x", "sim", "--seed", "7", "--help", "--", "resync"];
    let Command::Sim { args } = Cli::try_parse_from(line).expect("sim takes anything").command
    else {
        panic!("parsed as another command")
    };
    assert_eq!(args[..3], ["--seed", "7", "--help"].map(OsString::from));
    assert_eq!(args.last(), Some(&OsString::from("resync")));
}

#[test]
fn growth_of_the_ratchet_needs_bless_and_a_reason() {
    assert!(Cli::try_parse_from(["cargo x", "tidy", "--grow", "why"]).is_err());
    assert!(Cli::try_parse_from(["cargo x", "tidy", "--bless", "--grow"]).is_err());
    assert!(Cli::try_parse_from(["cargo x", "tidy", "--bless", "--grow", "why"]).is_ok());
}
