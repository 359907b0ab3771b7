//! What campaigns found: a row each, as lines of JSON in a file, and their sums.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::marks::Judged;

/// One campaign.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) commit: String,
    pub(super) date: String,
    pub(super) command: String,
    pub(super) worlds: u64,
    pub(super) operations: u64,
    pub(super) faults: u64,
    /// Of real time.
    pub(super) seconds: f64,
    pub(super) failures: Vec<String>,
    pub(super) marks: BTreeMap<String, u64>,
}

impl Row {
    pub(super) fn new(command: &str, date: String) -> Self {
        Self { command: command.to_owned(), date, ..Self::default() }
    }

    /// Adds what the simulator printed.
    pub(super) fn add(&mut self, printed: &str) -> anyhow::Result<()> {
        let found: Value = serde_json::from_str(printed).context("reading the simulator's JSON")?;
        let commit = text(&found, "commit")?;
        let same = self.commit.is_empty() || self.commit == commit || self.worlds == 0;
        ensure!(same || commit == "unknown", "the tree is at {commit} now, not {}", self.commit);
        self.commit = commit;
        self.worlds += number(&found, "worlds")?;
        self.operations += number(&found, "operations")?;
        self.faults += number(&found, "faults_begun")?;
        self.seconds += found["real_seconds"].as_f64().context("no `real_seconds`")?;
        for (mark, count) in marks(&found)? {
            *self.marks.entry(mark).or_default() += count;
        }
        for failed in found["failures"].as_array().context("no `failures`")? {
            let (what, replay) = (text(failed, "failed")?, text(failed, "replay")?);
            self.failures.push(format!("{replay}: {what}"));
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        json!({
            "commit": self.commit,
            "date": self.date,
            "command": self.command,
            "worlds": self.worlds,
            "operations": self.operations,
            "faults": self.faults,
            "seconds": self.seconds,
            "failures": self.failures,
            "marks": self.marks,
        })
    }

    fn of_json(value: &Value) -> anyhow::Result<Self> {
        let failures = value["failures"].as_array().context("no `failures`")?;
        let failures = failures.iter().filter_map(Value::as_str).map(str::to_owned);
        Ok(Self {
            commit: text(value, "commit")?,
            date: text(value, "date")?,
            command: text(value, "command")?,
            worlds: number(value, "worlds")?,
            operations: number(value, "operations")?,
            faults: number(value, "faults")?,
            seconds: value["seconds"].as_f64().context("no `seconds`")?,
            failures: failures.collect(),
            marks: marks(value)?,
        })
    }
}

fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    Ok(value[name].as_str().with_context(|| format!("no text `{name}`"))?.to_owned())
}

fn number(value: &Value, name: &str) -> anyhow::Result<u64> {
    value[name].as_u64().with_context(|| format!("no number `{name}`"))
}

fn marks(value: &Value) -> anyhow::Result<BTreeMap<String, u64>> {
    let all = value["marks"].as_object().context("no `marks`")?;
    all.iter().map(|(mark, count)| Ok((mark.clone(), count.as_u64().context("a count")?))).collect()
}

/// A line for people, and of a table in Markdown.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit: String = self.commit.chars().take(12).collect();
        let Self { date, command, worlds, operations, faults, seconds, failures, .. } = self;
        let minutes = seconds / 60.0;
        write!(f, "| {commit} | {date} | `{command}` | {worlds} | {operations} | {faults} |")?;
        write!(f, " {minutes:.1} | {} |", failures.len())
    }
}

/// The rows of a file, or of this campaign alone.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sums(pub(super) Vec<Row>);

impl Sums {
    /// A file that is not there is empty.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let rows = text.lines().map(|line| Row::of_json(&serde_json::from_str(line)?));
        let rows: anyhow::Result<Vec<Row>> = rows.collect();
        Ok(Self(rows.with_context(|| path.display().to_string())?))
    }

    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let lines: String = self.0.iter().map(|row| format!("{}\n", row.to_json())).collect();
        // In one step: whoever is killed here leaves the former file.
        let beside = path.with_extension("new");
        fs::write(&beside, lines).with_context(|| beside.display().to_string())?;
        fs::rename(&beside, path).with_context(|| path.display().to_string())
    }

    pub(super) fn marks(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (mark, count) in self.0.iter().flat_map(|row| &row.marks) {
            *sums.entry(mark.clone()).or_default() += count;
        }
        sums
    }

    pub(super) fn failures(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|row| &row.failures).map(String::as_str)
    }

    /// All rows added up.
    fn total(&self) -> Row {
        let mut total = Row { commit: "sum".to_owned(), ..Row::default() };
        for row in &self.0 {
            total.worlds += row.worlds;
            total.operations += row.operations;
            total.faults += row.faults;
            total.seconds += row.seconds;
            total.failures.extend(row.failures.iter().cloned());
        }
        total
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let head = "| commit | date | command | worlds | operations | faults | minutes \
            | failures |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n";
        let rows: String = self.0.iter().map(|row| format!("{row}\n")).collect();
        let failures: String = self.failures().map(|failure| format!("{failure}\n")).collect();
        format!("{head}{rows}{}\n{failures}", self.total())
    }

    pub(super) fn to_json(&self, judged: &Judged) -> Value {
        let rows: Vec<Value> = self.0.iter().map(Row::to_json).collect();
        let mut sum = self.total();
        sum.marks = self.marks();
        json!({ "rows": rows, "sum": sum.to_json(), "rare": judged.rare })
    }
}
