//! What documents promise: every command they show exists, and the README stays short.

use crate::finding::Finding;
use crate::tree::{File, Tree};

/// A newcomer reads the README to the end or not at all.
const README_LINES_MAX: usize = 120;

const README: &str = "README.md";

const WHY_COMMAND: &str = "a document never shows a command that does not work yet";
const WHY_SHORT: &str = "the README is read to the end only if it is short";
const WHY_TEST: &str = "the README names the very command that continuous integration runs";

/// What exists now.
pub(crate) struct Known {
    pub(crate) subcommands: Vec<String>,
    pub(crate) campaigns: Vec<String>,
    pub(crate) packages: Vec<String>,
    pub(crate) test_command: String,
}

/// All Markdown files; the README has rules of its own.
pub(crate) fn check(tree: &Tree, known: &Known) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        tree.markdown().flat_map(|file| check_commands(file, known)).collect();
    if let Some(readme) = tree.get(README) {
        let lines = readme.text.lines().count();
        if lines > README_LINES_MAX {
            let what = format!("has {lines} lines, at most {README_LINES_MAX} are allowed");
            let fix = "move detail into a DESIGN.md or tools/docs".to_owned();
            found.push(finding(README, 0, what, WHY_SHORT, fix));
        }
        let shown = readme.text.contains(&known.test_command);
        if !shown {
            let what = format!("does not show `{}`", known.test_command);
            found.push(finding(README, 0, what, WHY_TEST, "show it".to_owned()));
        }
    }
    found
}

fn check_commands(file: &File, known: &Known) -> Vec<Finding> {
    let mut found = Vec::new();
    for (line, code) in code_spans(&file.text) {
        if let Some(what) = cargo_words(code).and_then(|words| wrong(&words, known)) {
            let fix = "show what exists, or build it first".to_owned();
            found.push(finding(&file.path, line, what, WHY_COMMAND, fix));
        }
    }
    found
}

/// Inline code and the lines of fenced blocks, with their line.
fn code_spans(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push((index + 1, line));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(|code| (index + 1, code)));
        }
    }
    found
}

/// The words after `cargo`, if this is a cargo command: prompt, variables and remark are dropped.
fn cargo_words(code: &str) -> Option<Vec<&str>> {
    let code = code.split(" #").next()?;
    let mut words = code.split_whitespace().skip_while(|word| *word == "$" || word.contains('='));
    (words.next()? == "cargo").then(|| words.collect())
}

/// What is wrong with `cargo` followed by these words.
fn wrong(words: &[&str], known: &Known) -> Option<String> {
    let missing = |kind: &str, name: &str, all: &[String]| {
        let placeholder =
            !name.chars().all(|c| c.is_ascii_lowercase() || "-_0123456789".contains(c));
        let exists = placeholder || all.iter().any(|known| known == name);
        (!exists).then(|| format!("there is no {kind} `{name}`"))
    };
    match words {
        ["x", "campaign", name, ..] if !name.starts_with('-') => {
            missing("campaign", name, &known.campaigns)
        }
        ["x", name, ..] if *name != "help" => {
            missing("`cargo x` command", name, &known.subcommands)
        }
        ["run", _, ..] if package(words).is_none() => {
            Some("`cargo run` without a package has nothing to run".to_owned())
        }
        _ => missing("package", package(words)?, &known.packages),
    }
}

fn package<'a>(words: &[&'a str]) -> Option<&'a str> {
    let own = words.split(|word| *word == "--").next()?;
    let at = own.iter().position(|word| matches!(*word, "-p" | "--package"))?;
    own.get(at + 1).copied()
}

fn finding(file: &str, line: usize, what: String, why: &'static str, fix: String) -> Finding {
    Finding { file: file.to_owned(), line, check: "docs", what, why, fix }
}

#[cfg(test)]
mod tests;
