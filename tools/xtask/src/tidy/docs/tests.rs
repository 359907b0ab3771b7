use super::*;
use crate::tree::tests::tree;

fn known() -> Known {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Known {
        subcommands: owned(&["tidy", "sim", "campaign"]),
        campaigns: owned(&["fuzz"]),
        packages: owned(&["bench"]),
        test_command: "cargo test --workspace".to_owned(),
    }
}

#[test]
fn commands_that_do_not_exist_are_found() {
    #[rustfmt::skip]
    let rows = [
        ("`cargo x tidy`",                                   0),
        ("`cargo x vm`",                                     1),
        ("`cargo x tidy` and `cargo x up`",                  1),
        ("`cargo x …` and `cargo x COMMAND`",                0),
        ("`cargo x campaign fuzz --seconds 9`",              0),
        ("`cargo x campaign NAME`, `cargo x campaign --json`", 0),
        ("`cargo x campaign sleep`",                         1),
        ("```\n$ cargo run --release -p bench -- rpc\n```",  0),
        ("```\ncargo run -p emberfs # starts\n```",          1),
        ("```\nA=1 cargo run --release -- up -p bench\n```", 1),
        ("`cargo test -p engine-craq`",                      1),
        ("`cargo run` runs; cargo x vm in prose",            0),
    ];
    for (text, expected) in rows {
        let found = check(&tree(&[("tools/DESIGN.md", text)]), &known());
        assert_eq!(found.len(), expected, "{text:?}: {found:?}");
    }
}

#[test]
fn the_readme_is_short_and_names_the_test_command() {
    let head = "`cargo test --workspace`\n";
    let fits = head.to_owned() + &"x\n".repeat(README_LINES_MAX - 1);
    assert_eq!(check(&tree(&[("README.md", &fits)]), &known()), []);
    assert_eq!(check(&tree(&[("README.md", &(fits + "x\n"))]), &known()).len(), 1);
    assert_eq!(check(&tree(&[("README.md", "`cargo test`\n")]), &known()).len(), 1);
}

#[test]
fn lines_are_those_of_the_file() {
    let found = check(&tree(&[("a.md", "a\n\n```sh\ncargo x vm\n```\n`cargo x up`")]), &known());
    assert_eq!(found.iter().map(|f| f.line).collect::<Vec<_>>(), [4, 6]);
}
