//! What campaigns of the metadata service found: a row each, as lines of JSON in a file.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

/// One campaign.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) commit: String,
    pub(super) date: String,
    pub(super) command: String,
    pub(super) histories: u64,
    /// Operations of histories.
    pub(super) judged: u64,
    pub(super) worlds: u64,
    /// Operations of worlds.
    pub(super) asked: u64,
    pub(super) faults: u64,
    /// Of real time.
    pub(super) seconds: f64,
    pub(super) failures: Vec<String>,
}

impl Row {
    pub(super) fn new(commit: &str, date: &str, command: &str) -> Self {
        let (commit, date, command) = (commit.to_owned(), date.to_owned(), command.to_owned());
        Self { commit, date, command, ..Self::default() }
    }

    /// Operations of both kinds.
    pub(super) fn operations(&self) -> u64 {
        self.judged + self.asked
    }

    /// Adds what the simulator printed.
    pub(super) fn add_worlds(&mut self, printed: &str) -> anyhow::Result<()> {
        let found: Value = serde_json::from_str(printed).context("reading the simulator's JSON")?;
        self.worlds += number(&found, "worlds")?;
        self.asked += number(&found, "operations")?;
        self.faults += number(&found, "faults_begun")?;
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
            "histories": self.histories,
            "judged": self.judged,
            "worlds": self.worlds,
            "asked": self.asked,
            "faults": self.faults,
            "seconds": self.seconds,
            "failures": self.failures,
        })
    }

    fn of_json(value: &Value) -> anyhow::Result<Self> {
        let failures = value["failures"].as_array().context("no `failures`")?;
        let failures = failures.iter().filter_map(Value::as_str).map(str::to_owned);
        Ok(Self {
            commit: text(value, "commit")?,
            date: text(value, "date")?,
            command: text(value, "command")?,
            histories: number(value, "histories")?,
            judged: number(value, "judged")?,
            worlds: number(value, "worlds")?,
            asked: number(value, "asked")?,
            faults: number(value, "faults")?,
            seconds: value["seconds"].as_f64().context("no `seconds`")?,
            failures: failures.collect(),
        })
    }
}

fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    Ok(value[name].as_str().with_context(|| format!("no text `{name}`"))?.to_owned())
}

fn number(value: &Value, name: &str) -> anyhow::Result<u64> {
    value[name].as_u64().with_context(|| format!("no number `{name}`"))
}

/// A line for people, and of a table in Markdown.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit: String = self.commit.chars().take(12).collect();
        let Self { date, command, histories, judged, worlds, asked, faults, .. } = self;
        let (minutes, failures) = (self.seconds / 60.0, self.failures.len());
        write!(f, "| {commit} | {date} | `{command}` | {histories} | {judged} | {worlds} |")?;
        write!(f, " {asked} | {faults} | {minutes:.1} | {failures} |")
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

    /// All rows added up.
    fn total(&self) -> Row {
        let mut total = Row { commit: "sum".to_owned(), ..Row::default() };
        for row in &self.0 {
            total.histories += row.histories;
            total.judged += row.judged;
            total.worlds += row.worlds;
            total.asked += row.asked;
            total.faults += row.faults;
            total.seconds += row.seconds;
            total.failures.extend(row.failures.iter().cloned());
        }
        total
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let head = "| commit | date | command | histories | their operations | worlds \
            | their operations | faults | minutes | failures |\n\
            | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
        let rows: String = self.0.iter().map(|row| format!("{row}\n")).collect();
        let total = self.total();
        let failures: String = total.failures.iter().map(|failed| format!("{failed}\n")).collect();
        format!("{head}{rows}{total}\n{failures}")
    }

    pub(super) fn to_json(&self) -> Value {
        let rows: Vec<Value> = self.0.iter().map(Row::to_json).collect();
        json!({ "rows": rows, "sum": self.total().to_json() })
    }
}
