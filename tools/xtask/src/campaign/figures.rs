//! Campaigns with processes: tests of `tools-emberfs` in full length, which tell figures in a file,
//! a document per line, and what is printed of them.

use std::fs;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::{Map, Value};

use crate::finding::Paint;
use crate::{child, tree};

/// What a campaign says of its figures.
pub(super) struct Kind {
    /// Of the campaign.
    pub(super) name: &'static str,
    /// Cargo's words for the tests.
    pub(super) test: &'static [&'static str],
    /// Tells the tests where figures go.
    pub(super) report: &'static str,
    /// Kinds of figures.
    pub(super) figures: &'static [&'static str],
    /// Name in the document of whether the tests held.
    pub(super) held: &'static str,
    /// Last line of the table when they held, and when they did not.
    pub(super) said: [&'static str; 2],
    /// The rows that figures make.
    pub(super) rows: fn(&Figures) -> Vec<Row>,
}

/// A row of the table: what was measured, what came of it, and whether it is as it should be where
/// there is a goal.
pub(super) struct Row {
    pub(super) what: String,
    pub(super) found: String,
    pub(super) goal: Option<(String, bool)>,
}

/// Figures in the order in which they were taken.
pub(super) struct Figures {
    kind: &'static Kind,
    taken: Vec<Vec<Value>>,
}

/// Runs the tests and prints their figures; `Ok(false)` when they did not hold.
pub(super) fn run(
    kind: &'static Kind,
    set: impl FnOnce(&mut Command),
    json: bool,
) -> anyhow::Result<bool> {
    let report = std::env::temp_dir();
    let report = report.join(format!("emberfs-{}-{}", kind.name, std::process::id()));
    remove(&report)?;
    let mut command = child::cargo(kind.test);
    set(&mut command);
    command.env(kind.report, &report).current_dir(tree::root()?);
    if json {
        // Standard output is for the document alone.
        command.stdout(std::io::stderr());
    }
    let held = child::succeeds(&mut command)?;
    let told = match fs::read_to_string(&report) {
        Ok(told) => told,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).context(format!("reading {}", report.display())),
    };
    remove(&report)?;
    let figures = Figures::read(kind, &told)?;
    let mut out = stdout().lock();
    if json {
        writeln!(out, "{:#}", figures.document(held)).context("printing the figures")?;
    } else {
        write!(out, "{}", figures.table(held)).context("printing the figures")?;
    }
    Ok(held)
}

fn remove(report: &Path) -> anyhow::Result<()> {
    match fs::remove_file(report) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(format!("removing {}", report.display()))
        }
        _ => Ok(()),
    }
}

impl Figures {
    /// Reads documents, one per line.
    pub(super) fn read(kind: &'static Kind, text: &str) -> anyhow::Result<Self> {
        let mut taken = vec![Vec::new(); kind.figures.len()];
        for line in text.lines() {
            let figure: Value =
                serde_json::from_str(line).with_context(|| format!("a figure: {line}"))?;
            for (name, into) in kind.figures.iter().zip(&mut taken) {
                if !figure[name].is_null() {
                    into.push(figure[name].clone());
                }
            }
        }
        Ok(Self { kind, taken })
    }

    /// Those of one kind.
    pub(super) fn of(&self, name: &str) -> &[Value] {
        let place = self.kind.figures.iter().position(|kind| *kind == name);
        &self.taken[place.expect("campaigns ask for figures that they name")]
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        (self.kind.rows)(self)
    }

    pub(super) fn document(&self, held: bool) -> Value {
        let met = self.rows().iter().all(|row| row.goal.as_ref().is_none_or(|goal| goal.1));
        let mut all = Map::new();
        all.insert(self.kind.held.to_owned(), held.into());
        all.insert("goals_met".to_owned(), met.into());
        for (name, taken) in self.kind.figures.iter().zip(&self.taken) {
            all.insert((*name).to_owned(), taken.clone().into());
        }
        Value::Object(all)
    }

    pub(super) fn table(&self, held: bool) -> String {
        let rows = self.rows();
        let width = |of: fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or(0);
        let (what, found) =
            (width(|row| row.what.chars().count()), width(|row| row.found.chars().count()));
        let paint = Paint::stdout();
        let mut text = String::new();
        for row in &rows {
            let goal = row.goal.as_ref().map(|(goal, met)| match met {
                true => format!("  goal {goal}: met"),
                false => format!("  goal {goal}: {}", paint.bold("missed")),
            });
            let line = format!("{:<what$}  {:>found$}", row.what, row.found);
            text += &format!("{line}{}\n", goal.unwrap_or_default());
        }
        let [well, wrong] = self.kind.said;
        text += if held { well } else { wrong };
        text + "\n"
    }
}

/// A number of each figure that has it.
pub(super) fn numbers<'a>(figures: impl IntoIterator<Item = &'a Value>, field: &str) -> Vec<u64> {
    figures.into_iter().filter_map(|figure| figure[field].as_u64()).collect()
}
