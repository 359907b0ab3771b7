//! Pure crates are `#![no_std]`: the compiler then proves that no clock, file, thread or randomly
//! seeded map is in them. What they stand on may use std, so it is listed here.

use crate::finding::Finding;
use crate::manifest::{DependencyKind, Manifest};
use crate::rust_source::{Token, tokens};
use crate::tree::Tree;

/// A pure crate and the third-party crates it may use; crates that are pure themselves need no
/// mention. A folder that is not there yet is skipped.
struct Pure {
    folder: &'static str,
    may_use: &'static [&'static str],
}

const PURE: [Pure; 7] = [
    Pure { folder: "engine/types", may_use: &["crc-fast", "hashbrown", "thiserror"] },
    Pure { folder: "engine/wire", may_use: &["hmac", "rkyv", "sha2", "thiserror"] },
    Pure { folder: "engine/craq", may_use: &["thiserror"] },
    Pure { folder: "engine/store", may_use: &["thiserror"] },
    Pure { folder: "meta/schema", may_use: &["siphasher", "thiserror"] },
    Pure { folder: "mgmt/cluster", may_use: &["thiserror"] },
    Pure { folder: "mgmt/placement", may_use: &["thiserror"] },
];

const WHY: &str = "a pure crate cannot reach a clock, file, thread or random map by construction";

/// Declaration, return of std through the back door, and dependencies.
pub(crate) fn check(tree: &Tree, manifests: &[Manifest]) -> Vec<Finding> {
    let mut found = Vec::new();
    for pure in &PURE {
        let root = format!("{}/src/lib.rs", pure.folder);
        let Some(file) = tree.get(&root) else { continue };
        if !declares_no_std(&tokens(&file.text)) {
            let fix = "open src/lib.rs with `#![no_std]` and take the rest from alloc".to_owned();
            found.push(finding(root, 0, "is not `#![no_std]`".to_owned(), fix));
        }
        for file in tree.rust().filter(|file| file.is_in(&format!("{}/src", pure.folder))) {
            if let Some(line) = brings_std_back(&tokens(&file.text)) {
                let what = "`extern crate std` outside tests".to_owned();
                let fix = "put `#[cfg(test)]` right before it, or do without".to_owned();
                found.push(finding(file.path.clone(), line, what, fix));
            }
        }
        let manifest = manifests.iter().find(|manifest| manifest.folder == pure.folder);
        found.extend(manifest.into_iter().flat_map(|manifest| dependencies(pure, manifest)));
    }
    found
}

fn dependencies(pure: &Pure, manifest: &Manifest) -> Vec<Finding> {
    let is_pure = |package: &str| PURE.iter().any(|p| p.folder.replace('/', "-") == package);
    let linked = manifest.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
    linked
        .filter(|d| !is_pure(&d.package) && !pure.may_use.contains(&d.package.as_str()))
        .map(|d| {
            let what = format!("pure crate uses `{}`, which is not on its list", d.package);
            let fix = "do without, or list it in tools/xtask/src/tidy/pure.rs".to_owned();
            finding(manifest.path(), d.line, what, fix)
        })
        .collect()
}

/// Unconditionally, or in all builds but tests.
fn declares_no_std(tokens: &[Token<'_>]) -> bool {
    let plain = ["#", "!", "[", "no_std", "]"];
    let but_tests =
        ["#", "!", "[", "cfg_attr", "(", "not", "(", "test", ")", ",", "no_std", ")", "]"];
    find(tokens, &plain).is_some() || find(tokens, &but_tests).is_some()
}

/// The line of an `extern crate std` that is in the crate itself.
fn brings_std_back(tokens: &[Token<'_>]) -> Option<usize> {
    let guard = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut from = 0;
    while let Some(at) = find(&tokens[from..], &["extern", "crate", "std"]) {
        let at = from + at;
        let guarded = at
            .checked_sub(guard.len())
            .is_some_and(|start| find(&tokens[start..at], &guard) == Some(0));
        if !guarded {
            return Some(tokens[at].line);
        }
        from = at + 1;
    }
    None
}

fn find(tokens: &[Token<'_>], texts: &[&str]) -> Option<usize> {
    tokens
        .windows(texts.len())
        .position(|window| window.iter().map(|token| token.text).eq(texts.iter().copied()))
}

fn finding(file: String, line: usize, what: String, fix: String) -> Finding {
    Finding { file, line, check: "pure", what, why: WHY, fix }
}

#[cfg(test)]
mod tests;
