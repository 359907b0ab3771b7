use super::*;
use crate::tree::tests::tree;

const CLEAN: [(&str, &str); 7] = [
    (".ci/run", ""),
    ("Cargo.toml", ""),
    ("Cargo.lock", ""),
    ("LICENSE", ""),
    ("README.md", ""),
    ("engine/DESIGN.md", ""),
    ("engine/types/src/lib.rs", ""),
];

#[test]
fn the_agreed_names_are_clean() {
    assert_eq!(check(&tree(&CLEAN)), []);
}

#[test]
fn what_is_not_agreed_is_found() {
    for extra in ["scripts/run.sh", "docs/a.md", "NOTES.md", "engine.rs", "README.md/x"] {
        let found = check(&tree(&[&CLEAN[..], &[(extra, "")]].concat()));
        assert_eq!(found.len(), 1, "{extra}: {found:?}");
        assert!(extra.starts_with(found[0].file.as_str()));
    }
}

#[test]
fn what_is_missing_is_found() {
    for (at, (gone, _)) in CLEAN.iter().enumerate().skip(1).take(5) {
        let mut files = CLEAN.to_vec();
        files.remove(at);
        let found = check(&tree(&files));
        assert_eq!(found.len(), 1, "without {gone}: {found:?}");
        assert_eq!(found[0].file, *gone);
    }
}
