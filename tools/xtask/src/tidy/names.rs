//! The root shows the agreed names and nothing else, and every folder in it explains itself.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::tree::Tree;

/// The folders of the layout; one appears when it has content.
const FOLDERS: [&str; 6] = ["engine", "meta", "mgmt", "client", "bench", "tools"];

/// The files beside them; names with a leading dot are tool settings and free.
const FILES: [&str; 4] = ["Cargo.toml", "Cargo.lock", "README.md", "LICENSE"];

const WHY_NAME: &str = "the root is the map of the project: the agreed names and dot-files only";
const WHY_FILE: &str = "a clean clone builds, is licensed and explains itself";
const WHY_DESIGN: &str = "each top-level folder carries its own copy of the design";

/// Judges the first component of every path.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut top: BTreeSet<(&str, bool)> = BTreeSet::new();
    for file in &tree.0 {
        top.insert(match file.path.split_once('/') {
            Some((folder, _)) => (folder, true),
            None => (&file.path, false),
        });
    }
    let mut found = Vec::new();
    for (name, is_folder) in &top {
        let agreed = if *is_folder { FOLDERS.contains(name) } else { FILES.contains(name) };
        if !agreed && !name.starts_with('.') {
            let what = format!("`{name}` is not an agreed top-level name");
            let fix = format!("move it into one of {}", FOLDERS.join(", "));
            found.push(finding((*name).to_owned(), what, WHY_NAME, fix));
        }
    }
    for name in FILES.into_iter().filter(|name| !top.contains(&(name, false))) {
        let fix = format!("add {name}, and see that it is not ignored");
        found.push(finding(name.to_owned(), "is missing".to_owned(), WHY_FILE, fix));
    }
    for folder in FOLDERS.into_iter().filter(|folder| top.contains(&(folder, true))) {
        let design = format!("{folder}/DESIGN.md");
        if tree.get(&design).is_none() {
            let fix = "write it: picture, invariants, what is absent on purpose".to_owned();
            found.push(finding(design, "is missing".to_owned(), WHY_DESIGN, fix));
        }
    }
    found
}

fn finding(file: String, what: String, why: &'static str, fix: String) -> Finding {
    Finding { file, line: 0, check: "names", what, why, fix }
}

#[cfg(test)]
mod tests;
