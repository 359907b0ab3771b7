//! The list of size exceptions, which only shrinks.
//!
//! One line per exception: `LINES PATH[::FUNCTION] REASON`. An entry admits exactly its number of
//! lines: more is a finding, and so is less, because room that is not needed would be used again.

use crate::finding::Finding;
use crate::tidy::sizes::{FILE_LINES_MAX, FUNCTION_LINES_MAX, Oversized};

/// Where the list is checked in.
pub(crate) const PATH: &str = "tools/xtask/ratchet.txt";

const WHY: &str = "functions fit a screen, files one sitting; exceptions are listed and shrink";
const BLESS: &str = "cargo x tidy --bless";

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry<'a> {
    lines: usize,
    item: &'a str,
    reason: &'a str,
    at: usize,
}

/// Compares the list with what is above a limit now.
pub(crate) fn check(listed: &str, oversized: &[Oversized]) -> Vec<Finding> {
    let (entries, broken) = parse(listed);
    let of_list = |at, what, fix| finding(PATH.to_owned(), at, what, fix);
    let mut found: Vec<Finding> = broken
        .into_iter()
        .map(|(at, line)| {
            let fix = "write `LINES PATH[::FUNCTION] REASON`, each item once".to_owned();
            of_list(at, format!("not an entry: `{line}`"), fix)
        })
        .collect();
    for over in oversized {
        let Oversized { item, lines, limit, .. } = over;
        let admitted = entries.iter().find(|entry| entry.item == item).map(|entry| entry.lines);
        if admitted.is_none_or(|admitted| admitted < *lines) {
            let bound = admitted.map_or(format!("the limit is {limit}"), |admitted| {
                format!("{PATH} admits {admitted}")
            });
            let what = format!("`{item}` has {lines} lines, {bound}");
            let fix = "split it; if it must stay, see `cargo x tidy --help` on --grow".to_owned();
            found.push(finding(over.path.clone(), over.line, what, fix));
        }
    }
    for entry in entries {
        let now = oversized.iter().find(|over| over.item == entry.item).map(|over| over.lines);
        if now.is_none_or(|now| now < entry.lines) {
            let now = now
                .map_or("is within the limit or gone".to_owned(), |now| format!("has {now} lines"));
            let what = format!("entry admits {} lines, `{}` {now}", entry.lines, entry.item);
            found.push(of_list(entry.at, what, BLESS.to_owned()));
        }
    }
    found
}

/// The list as it should be now. Entries shrink or go; only with a reason to grow does it admit
/// what is above.
pub(crate) fn blessed(listed: &str, oversized: &[Oversized], grow: Option<&str>) -> String {
    let (entries, _) = parse(listed);
    let mut text = format!(
        "# Functions above {FUNCTION_LINES_MAX} lines and files above {FILE_LINES_MAX}: \
         LINES PATH[::FUNCTION] REASON\n# Rewritten by `{BLESS}`; entries only shrink.\n"
    );
    for over in oversized {
        let entry = entries.iter().find(|entry| entry.item == over.item);
        let kept = match (entry, grow) {
            (Some(entry), _) if over.lines <= entry.lines => Some((over.lines, entry.reason)),
            (_, Some(reason)) => Some((over.lines, reason)),
            (Some(entry), None) => Some((entry.lines, entry.reason)),
            (None, None) => None,
        };
        if let Some((lines, reason)) = kept {
            text.push_str(&format!("{lines} {} {}\n", over.item, reason.trim()));
        }
    }
    text
}

/// Entries, and the lines that are none: without number, without reason, or named before.
fn parse(listed: &str) -> (Vec<Entry<'_>>, Vec<(usize, &str)>) {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut broken = Vec::new();
    for (index, line) in listed.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match entry(line, index + 1) {
            Some(new) if entries.iter().all(|old| old.item != new.item) => entries.push(new),
            _ => broken.push((index + 1, line)),
        }
    }
    (entries, broken)
}

fn entry(line: &str, at: usize) -> Option<Entry<'_>> {
    let (lines, rest) = line.split_once(' ')?;
    let (item, reason) = rest.trim_start().split_once(' ')?;
    let reason = reason.trim();
    let lines = lines.parse().ok()?;
    (!reason.is_empty()).then_some(Entry { lines, item, reason, at })
}

fn finding(file: String, line: usize, what: String, fix: String) -> Finding {
    Finding { file, line, check: "sizes", what, why: WHY, fix }
}

#[cfg(test)]
mod tests;
