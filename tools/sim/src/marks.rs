//! Marks on rare paths: which of them ran, and which never did as far as the sources tell.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use engine_types::reached;

/// Hits per mark. Marks that the sources name and nothing hit are there with zero.
pub fn table() -> BTreeMap<String, u64> {
    let mut table: BTreeMap<String, u64> = known().into_iter().map(|mark| (mark, 0)).collect();
    for (name, count) in reached::marks() {
        *table.entry(name.to_owned()).or_default() += count;
    }
    table
}

/// Where marks are: what ships, and the workloads of the simulator.
const FOLDERS: [&str; 4] = ["engine", "client", "mgmt", "tools/sim/src/scenarios"];

/// Every mark in the sources of [`FOLDERS`], when the simulator runs inside the repository.
fn known() -> Vec<String> {
    let mut marks = Vec::new();
    if let Some(root) = root() {
        FOLDERS.iter().for_each(|folder| collect(&root.join(folder), &mut marks));
    }
    marks
}

fn root() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let is_root =
        |folder: &&Path| folder.join("Cargo.lock").exists() && folder.join("engine").exists();
    here.ancestors().find(is_root).map(Path::to_owned)
}

fn collect(folder: &Path, marks: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, marks);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("tests.rs")
            && let Ok(text) = fs::read_to_string(&path)
        {
            marks.extend(marks_in(&text));
        }
    }
}

/// Names in `reached!("…")`, outside comments.
fn marks_in(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.flat_map(|line| [line, "\n"]).collect();
    let after = code.split("reached!(").skip(1);
    let names = after.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
