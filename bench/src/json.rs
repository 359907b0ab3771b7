//! The JSON document. Its field names are stable: `schema` counts incompatible changes.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::machine::Machine;
use crate::suite::{Plan, Row, Suite};

#[cfg(test)]
mod tests;

/// Counts changes that break readers.
const SCHEMA: u32 = 1;

/// Everything that one run measured.
#[derive(Serialize)]
pub(crate) struct Document<'a> {
    schema: u32,
    suite: &'a str,
    limit: &'a str,
    seconds_per_row: f64,
    filter: &'a str,
    /// Bytes of data that rows worked on, where the suite needs a disk.
    data_bytes: Option<u64>,
    /// Whose the two shares of CPU time are.
    cpu_shares: [&'static str; 2],
    machine: &'a Machine,
    rows: Vec<JsonRow<'a>>,
    failures: Vec<Failure<'a>>,
}

#[derive(Serialize)]
struct JsonRow<'a> {
    #[serde(flatten)]
    row: &'a Row,
    goal_met: Option<bool>,
}

#[derive(Serialize)]
struct Failure<'a> {
    name: &'a str,
    reason: &'a str,
}

impl<'a> Document<'a> {
    /// The document of a run.
    pub(crate) fn new(
        suite: &'a Suite,
        plan: &'a Plan,
        machine: &'a Machine,
        rows: &'a [Row],
        failures: &'a [(String, String)],
    ) -> Self {
        Self {
            schema: SCHEMA,
            suite: suite.name,
            limit: suite.limit,
            seconds_per_row: plan.seconds.as_secs_f64(),
            filter: &plan.filter,
            data_bytes: suite.shown.sized.then_some(plan.storage.bytes),
            cpu_shares: suite.shown.cpu_shares,
            machine,
            rows: rows.iter().map(|row| JsonRow { row, goal_met: row.goal_met() }).collect(),
            failures: failures.iter().map(|(name, reason)| Failure { name, reason }).collect(),
        }
    }

    /// Writes the document to `file`, replacing what is there.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub(crate) fn write(&self, file: &Path) -> io::Result<()> {
        let mut out = BufWriter::new(File::create(file)?);
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")?;
        out.flush()
    }
}
