//! What campaigns found: a row each, as lines of JSON in a file, and their sums.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::child;

/// What is counted: the name in JSON, and the head of its column.
pub(super) type Columns = &'static [(&'static str, &'static str)];

/// One campaign.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) commit: String,
    date: String,
    command: String,
    columns: Columns,
    /// One for each column.
    counts: Vec<u64>,
    /// Of real time.
    pub(super) seconds: f64,
    pub(super) failures: Vec<String>,
    /// Rare paths that were taken, and how often; none where nobody counts them.
    pub(super) marks: BTreeMap<String, u64>,
}

impl Row {
    pub(super) fn new(columns: Columns, commit: &str, date: &str, command: &str) -> Self {
        let (commit, date, command) = (commit.to_owned(), date.to_owned(), command.to_owned());
        let counts = vec![0; columns.len()];
        let (failures, marks) = (Vec::new(), BTreeMap::new());
        Self { commit, date, command, columns, counts, seconds: 0.0, failures, marks }
    }

    /// The count of a column.
    pub(super) fn get(&self, name: &str) -> u64 {
        self.counts[self.place(name)]
    }

    pub(super) fn add(&mut self, name: &str, more: u64) {
        let place = self.place(name);
        self.counts[place] += more;
    }

    fn place(&self, name: &str) -> usize {
        let found = self.columns.iter().position(|(column, _)| *column == name);
        found.expect("campaigns count what they have columns for")
    }

    /// Adds worlds as the simulator printed them: each of its counts to the column beside it.
    pub(super) fn add_worlds(
        &mut self,
        found: &Value,
        columns: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        for (printed, column) in columns {
            self.add(column, number(found, printed)?);
        }
        for failed in found["failures"].as_array().context("no `failures`")? {
            let (what, replay) = (text(failed, "failed")?, text(failed, "replay")?);
            self.failures.push(format!("{replay}: {what}"));
        }
        Ok(())
    }

    pub(super) fn add_marks(&mut self, more: &BTreeMap<String, u64>) {
        for (mark, count) in more {
            *self.marks.entry(mark.clone()).or_default() += count;
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut all = Map::new();
        for (name, value) in
            [("commit", &self.commit), ("date", &self.date), ("command", &self.command)]
        {
            all.insert(name.to_owned(), json!(value));
        }
        for ((name, _), count) in self.columns.iter().zip(&self.counts) {
            all.insert((*name).to_owned(), json!(count));
        }
        all.insert("seconds".to_owned(), json!(self.seconds));
        all.insert("failures".to_owned(), json!(self.failures));
        if !self.marks.is_empty() {
            all.insert("marks".to_owned(), json!(self.marks));
        }
        Value::Object(all)
    }

    fn of_json(columns: Columns, value: &Value) -> anyhow::Result<Self> {
        let (commit, date) = (text(value, "commit")?, text(value, "date")?);
        let mut row = Self::new(columns, &commit, &date, &text(value, "command")?);
        for (name, _) in columns {
            row.add(name, number(value, name)?);
        }
        row.seconds = value["seconds"].as_f64().context("no `seconds`")?;
        let failures = value["failures"].as_array().context("no `failures`")?;
        row.failures = failures.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        if value.get("marks").is_some() {
            row.marks = marks(value)?;
        }
        Ok(row)
    }
}

/// A text in JSON.
pub(super) fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    Ok(value[name].as_str().with_context(|| format!("no text `{name}`"))?.to_owned())
}

fn number(value: &Value, name: &str) -> anyhow::Result<u64> {
    value[name].as_u64().with_context(|| format!("no number `{name}`"))
}

/// The marks that the simulator printed.
pub(super) fn marks(value: &Value) -> anyhow::Result<BTreeMap<String, u64>> {
    let all = value["marks"].as_object().context("no `marks`")?;
    all.iter().map(|(mark, count)| Ok((mark.clone(), count.as_u64().context("a count")?))).collect()
}

/// Of a person's calendar.
pub(super) fn date() -> anyhow::Result<String> {
    let text = child::output(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M"]))?;
    Ok(text.trim().to_owned())
}

/// A line for people, and of a table in Markdown.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit: String = self.commit.chars().take(12).collect();
        write!(f, "| {commit} | {} | `{}` |", self.date, self.command)?;
        self.counts.iter().try_for_each(|count| write!(f, " {count} |"))?;
        write!(f, " {:.1} | {} |", self.seconds / 60.0, self.failures.len())
    }
}

/// The rows of a file, or of this campaign alone.
#[derive(Debug, PartialEq)]
pub(super) struct Sums {
    columns: Columns,
    pub(super) rows: Vec<Row>,
}

impl Sums {
    /// A file that is not there is empty, and so is none.
    pub(super) fn read(columns: Columns, path: Option<&Path>) -> anyhow::Result<Self> {
        let empty = Self { columns, rows: Vec::new() };
        let Some(path) = path else { return Ok(empty) };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(empty),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let rows = text.lines().map(|line| Row::of_json(columns, &serde_json::from_str(line)?));
        let rows: anyhow::Result<Vec<Row>> = rows.collect();
        Ok(Self { columns, rows: rows.with_context(|| path.display().to_string())? })
    }

    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let lines: String = self.rows.iter().map(|row| format!("{}\n", row.to_json())).collect();
        // In one step: whoever is killed here leaves the former file.
        let beside = path.with_extension("new");
        fs::write(&beside, lines).with_context(|| beside.display().to_string())?;
        fs::rename(&beside, path).with_context(|| path.display().to_string())
    }

    pub(super) fn failures(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().flat_map(|row| &row.failures).map(String::as_str)
    }

    /// All rows added up.
    pub(super) fn total(&self) -> Row {
        let mut total = Row::new(self.columns, "sum", "", "");
        for row in &self.rows {
            for (sum, count) in total.counts.iter_mut().zip(&row.counts) {
                *sum += count;
            }
            total.seconds += row.seconds;
            total.failures.extend(row.failures.iter().cloned());
            total.add_marks(&row.marks);
        }
        total
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let heads = self.columns.iter().map(|(_, head)| *head);
        let heads: Vec<&str> = ["commit", "date", "command"]
            .into_iter()
            .chain(heads)
            .chain(["minutes", "failures"])
            .collect();
        let lines = " --- |".repeat(heads.len());
        let rows: String = self.rows.iter().map(|row| format!("{row}\n")).collect();
        let failures: String = self.failures().map(|failure| format!("{failure}\n")).collect();
        format!("| {} |\n|{lines}\n{rows}{}\n{failures}", heads.join(" | "), self.total())
    }

    /// With more about the sum.
    pub(super) fn to_json(&self, more: Option<(&str, Value)>) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::to_json).collect();
        let mut all = json!({ "rows": rows, "sum": self.total().to_json() });
        if let Some((name, value)) = more {
            all[name] = value;
        }
        all
    }
}

#[cfg(test)]
mod tests;
