use super::*;
use crate::manifest::parse;
use crate::tree::tests::tree;

const ELSEWHERE: &str = "engine/net/src/lib.rs";
const INSIDE: &str = "engine/runtime/src/lib.rs";

#[test]
fn engines_are_named_in_one_folder() {
    #[rustfmt::skip]
    let rows = [
        (ELSEWHERE, "use glommio::LocalExecutor;",                    1),
        (ELSEWHERE, "use ::monoio;",                                  1),
        (ELSEWHERE, "extern crate glommio;",                          1),
        (ELSEWHERE, "fn f() { ::monoio::spawn(async {}); }",          1),
        (ELSEWHERE, "use engine_runtime::glommio::run;",              0),
        (ELSEWHERE, "use engine_runtime::{glommio, monoio};",         0),
        (ELSEWHERE, "// use glommio\nconst S: &str = \"use monoio\";", 0),
        (ELSEWHERE, "enum Backend { Glommio }",                       0),
        (INSIDE,    "use glommio::LocalExecutor;",                    0),
        (INSIDE,    "pub use glommio;",                               1),
        (INSIDE,    "pub use ::monoio::net;",                         1),
        (INSIDE,    "pub use self::glommio::Glommio;",                0),
        (INSIDE,    "pub mod glommio;",                               0),
    ];
    for (path, text, expected) in rows {
        let found = check(&tree(&[(path, text)]), &[]);
        assert_eq!(found.len(), expected, "{path}: {text}: {found:?}");
    }
}

#[test]
fn dependencies_on_engines_and_own_versions_are_found() {
    let rows = [
        ("engine/net", "[dependencies]\nglommio.workspace = true", 1),
        ("engine/net", "[dev-dependencies]\nmonoio-compat.workspace = true", 1),
        ("engine/net", "[dependencies]\nx = { workspace = true, package = \"monoio\" }", 1),
        ("engine/net", "[dependencies]\nmonoioish.workspace = true", 0),
        ("engine/runtime", "[dependencies]\nglommio.workspace = true", 0),
        ("engine/runtime", "[dependencies]\nlibc = \"0.2\"", 1),
        ("tools/fuzz", "[dependencies]\nlibc = \"0.2\"\n[workspace]", 0),
        ("tools/fuzz", "[dependencies]\nglommio = \"0.9\"\n[workspace]", 1),
        ("", "[workspace.dependencies]\nglommio = \"0.9\"", 0),
        ("", "[workspace.dependencies]\ng = { package = \"glommio\", version = \"0.9\" }", 1),
    ];
    for (folder, text, expected) in rows {
        let package = if folder.is_empty() { "" } else { "[package]\nname = \"x\"\n" };
        let found = check(&Tree::default(), &[parse(folder, &format!("{package}{text}"))]);
        assert_eq!(found.len(), expected, "{folder}: {text}: {found:?}");
    }
}

#[test]
fn unsafe_code_is_found_outside_edge_crates() {
    let text = "\n#[cfg(unix)]\npub fn f() { unsafe { g() } }";
    let found = check(&tree(&[(ELSEWHERE, text)]), &[]);
    assert_eq!(found.iter().map(|f| f.line).collect::<Vec<_>>(), [3]);
    assert_eq!(check(&tree(&[(INSIDE, text)]), &[]), []);
    assert_eq!(check(&tree(&[(ELSEWHERE, "#![deny(unsafe_code)] // unsafe")]), &[]), []);
}
