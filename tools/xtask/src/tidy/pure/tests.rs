use super::*;
use crate::manifest::parse;
use crate::tree::tests::tree;

#[test]
fn pure_crates_are_no_std() {
    #[rustfmt::skip]
    let rows = [
        ("//! Doc.\n#![no_std]\nextern crate alloc;",             0),
        ("#![cfg_attr(not(test), no_std)]",                       0),
        ("#![no_std]\n#[cfg(test)]\nextern crate std;",           0),
        ("//! Doc.",                                              1),
        ("// #![no_std]",                                         1),
        ("#![cfg_attr(test, no_std)]",                            1),
        ("#![no_std]\nextern crate std;",                         1),
        ("#![no_std]\n#[cfg(test)] extern crate std; extern crate std;", 1),
    ];
    for (text, expected) in rows {
        let found = check(&tree(&[("engine/types/src/lib.rs", text)]), &[]);
        assert_eq!(found.len(), expected, "{text:?}: {found:?}");
        assert_eq!(check(&tree(&[("engine/net/src/lib.rs", text)]), &[]), [], "not a pure crate");
    }
}

#[test]
fn dependencies_of_pure_crates_are_listed() {
    let tree = tree(&[("engine/wire/src/lib.rs", "#![no_std]")]);
    let text = "[package]\nname = \"engine-wire\"\n[dependencies]\nrkyv.workspace = true\n\
        engine-types.workspace = true\ntokio.workspace = true\n[dev-dependencies]\nrand = \"1\"\n";
    let found = check(&tree, &[parse("engine/wire", text)]);
    assert_eq!(found.iter().map(|f| f.line).collect::<Vec<_>>(), [6], "{found:?}");
}
