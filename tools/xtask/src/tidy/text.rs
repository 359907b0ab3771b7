//! What no text of the project contains: unfinished marks, paths of somebody's machine, stray
//! blanks, lines too long to read.

use crate::finding::Finding;
use crate::tree::{File, Tree};

/// The width rustfmt keeps for code; it leaves comments and strings alone.
const RUST_COLUMNS_MAX: usize = 100;

/// Tables need more room than code.
const MARKDOWN_COLUMNS_MAX: usize = 160;

/// Words that say "not done". Written in halves, so that this file holds none of them.
const UNFINISHED: [&str; 7] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("HA", "CK"),
    concat!("XX", "X"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
    concat!("#[", "ignore"),
];

/// Folders of a machine: a path below one of them works for one person. Halved as above.
const MACHINE: [&str; 5] = [
    concat!("/wo", "rk/"),
    concat!("/fa", "rm/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
];

const WHY_UNFINISHED: &str = "what is in the tree is finished; what is not is an issue";
const WHY_MACHINE: &str = "a path of one machine fails on every other";
const WHY_BLANKS: &str = "blanks nobody sees make diffs nobody wants";
const WHY_WIDTH: &str = "a line that wraps or scrolls is not read";

/// Every line of every file.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.0.iter().flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Finding> {
    let columns_max = match (file.is_rust(), file.is_markdown()) {
        (true, _) => RUST_COLUMNS_MAX,
        (_, true) => MARKDOWN_COLUMNS_MAX,
        _ => usize::MAX,
    };
    let prose = file.is_rust() || file.is_markdown();
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let mut add = |what: String, why, fix: &str| {
            let (file, line, fix) = (file.path.clone(), index + 1, fix.to_owned());
            found.push(Finding { file, line, check: "text", what, why, fix });
        };
        if let Some(mark) = UNFINISHED.into_iter().find(|mark| prose && has_mark(line, mark)) {
            add(format!("contains `{mark}`"), WHY_UNFINISHED, "do it now, or open an issue");
        }
        if let Some(path) = machine_path(line) {
            let fix = "use a path relative to the root, a temporary folder or an argument";
            add(format!("contains a path below `{path}`"), WHY_MACHINE, fix);
        }
        if prose && line.ends_with([' ', '\t', '\r']) {
            add("ends in blanks".to_owned(), WHY_BLANKS, "remove them");
        }
        if prose && line.contains('\t') {
            add("contains a tab".to_owned(), WHY_BLANKS, "write blanks, or \\t in a string");
        }
        let columns = line.chars().count();
        if columns > columns_max {
            let what = format!("has {columns} columns, at most {columns_max} are allowed");
            add(what, WHY_WIDTH, "break the line");
        }
    }
    found
}

/// Marks made of letters count as whole words only.
fn has_mark(line: &str, mark: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(mark).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + mark.len()..].chars().next();
        let whole = |c: Option<char>| !c.is_some_and(is_letter);
        (whole(before) || mark.starts_with('#')) && (whole(after) || !mark.ends_with(is_letter))
    })
}

/// The folder of a machine below which the line names something.
fn machine_path(line: &str) -> Option<&'static str> {
    MACHINE.into_iter().find(|folder| {
        line.match_indices(folder).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || "_./-".contains(c))
        })
    })
}

#[cfg(test)]
mod tests;
