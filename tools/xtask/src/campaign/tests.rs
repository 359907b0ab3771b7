use super::*;

#[test]
fn the_list_and_the_commands_are_the_same() {
    let commands = Which::augment_subcommands(clap::Command::new("x"));
    let commands: Vec<_> = commands.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    assert_eq!(commands, names().collect::<Vec<_>>());
}
