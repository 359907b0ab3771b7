//! What only some folders may contain: the two engines of `Env`, `unsafe`, and versions of
//! third-party crates.

use crate::finding::Finding;
use crate::manifest::Manifest;
use crate::rust_source::{Kind, Token, tokens};
use crate::tree::{File, Tree};

/// The engines that `Env` hides; replacing one is one folder's work.
const ENGINES: [&str; 2] = ["glommio", "monoio"];

/// The folder that may name them.
const ENGINE_FOLDER: &str = "engine/runtime";

/// Where `unsafe` is expected, each with its reason: edge crates, or single files.
const UNSAFE_PLACES: [(&str, &str); 6] = [
    (ENGINE_FOLDER, "I/O into buffers that the kernel writes, and system calls"),
    ("engine/types/src/reached.rs", "an intrusive list of statics in a crate without std"),
    ("engine/net/tests/allocations.rs", "a global allocator that counts, in a test"),
    ("meta/kv/src/fdb/network.rs", "starts FoundationDB's thread, to be stopped before exit"),
    ("tools/cluster/src/system.rs", "signals, and children that end with their parent"),
    ("engine/wire/tests/allocations.rs", "a global allocator that counts, in a test"),
];

const WHY_ENGINE: &str = "glommio and monoio are named in engine/runtime only, so either can go";
const WHY_UNSAFE: &str = "unsafe code lives in edge crates, where it is reviewed as such";
const WHY_VERSION: &str = "one version per dependency, in the root manifest";

/// Manifests and sources of the whole tree, packages outside the workspace too.
pub(crate) fn check(tree: &Tree, manifests: &[Manifest]) -> Vec<Finding> {
    let mut found: Vec<Finding> = manifests.iter().flat_map(dependencies).collect();
    for file in tree.rust() {
        let tokens = tokens(&file.text);
        found.extend(engines(file, &tokens));
        found.extend(unsafe_code(file, &tokens));
    }
    found
}

fn dependencies(manifest: &Manifest) -> Vec<Finding> {
    let mut found = Vec::new();
    let finding = |line, what, why, fix: &str| {
        let (file, fix) = (manifest.path(), fix.to_owned());
        Finding { file, line, check: "confine", what, why, fix }
    };
    for dependency in &manifest.dependencies {
        let package = &dependency.package;
        if manifest.is_member() && !dependency.inherited {
            let what = format!("`{package}` is not taken from workspace.dependencies");
            let fix = "list it in the root Cargo.toml and write `NAME.workspace = true` here";
            found.push(finding(dependency.line, what, WHY_VERSION, fix));
        }
        if is_engine(package) && manifest.folder != ENGINE_FOLDER {
            let what = format!("depends on `{package}`");
            let fix = "use `Env` of engine-runtime; what it lacks is added there";
            found.push(finding(dependency.line, what, WHY_ENGINE, fix));
        }
    }
    for (name, package, line) in &manifest.shared {
        if is_engine(package) && name != package {
            let what = format!("`{package}` is shared under another name, `{name}`");
            found.push(finding(*line, what, WHY_ENGINE, "share it under its own name"));
        }
    }
    found
}

/// The engine itself or a companion such as `monoio-compat`.
fn is_engine(package: &str) -> bool {
    ENGINES.iter().any(|engine| {
        package.strip_prefix(engine).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

/// Outside its folder an engine may not start a path: `use glommio`, `extern crate glommio`,
/// `::glommio`. Inside, it may not be re-exported, which would let others name it. A module of our
/// own with that name, reached through its crate, is fine.
fn engines(file: &File, tokens: &[Token<'_>]) -> Vec<Finding> {
    let inside = file.is_in(ENGINE_FOLDER);
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.kind != Kind::Word || !ENGINES.contains(&token.text) {
            continue;
        }
        let before = &tokens[..index];
        let (global, before) = match before.split_last() {
            Some((sign, before)) if sign.is_sign("::") => {
                let is_path = before.last().is_some_and(|t| t.kind == Kind::Word && !starts(t));
                let after_generic = before.last().is_some_and(|t| t.is_sign(">"));
                if is_path || after_generic {
                    continue;
                }
                (true, before)
            }
            _ => (false, before),
        };
        let (last, before) = match before.split_last() {
            Some((last, before)) => (Some(last), before),
            None => (None, before),
        };
        let imported = last.is_some_and(|t| t.is_word("use") || t.is_word("crate"));
        let public = before.last().is_some_and(|t| t.is_word("pub") || t.is_word("extern"));
        let what = if inside && imported && public && !last.is_some_and(|t| t.is_word("crate")) {
            format!("re-exports `{}`", token.text)
        } else if !inside && (imported || global) {
            format!("names `{}`", token.text)
        } else {
            continue;
        };
        let fix = "use `Env` of engine-runtime; what it lacks is added there".to_owned();
        let (file, line) = (file.path.clone(), token.line);
        found.push(Finding { file, line, check: "confine", what, why: WHY_ENGINE, fix });
    }
    found
}

/// Keywords after which `::` starts a path instead of continuing one.
fn starts(token: &Token<'_>) -> bool {
    ["use", "as", "dyn", "impl", "in", "return", "match", "if", "for", "mut", "where", "else"]
        .contains(&token.text)
}

fn unsafe_code(file: &File, tokens: &[Token<'_>]) -> Option<Finding> {
    if UNSAFE_PLACES.iter().any(|(place, _)| file.path == *place || file.is_in(place)) {
        return None;
    }
    let token = tokens.iter().find(|token| token.is_word("unsafe"))?;
    let fix = "move it into an edge crate behind a safe interface, or name the place and its \
               reason in tools/xtask/src/tidy/confine.rs";
    Some(Finding {
        file: file.path.clone(),
        line: token.line,
        check: "confine",
        what: "contains `unsafe`".to_owned(),
        why: WHY_UNSAFE,
        fix: fix.to_owned(),
    })
}

#[cfg(test)]
mod tests;
