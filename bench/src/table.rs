//! The table on standard output: aligned, printed row by row while the suite runs.

use std::collections::BTreeMap;

use crate::suite::{
    DeviceBytes, Figure, KvTold, LayerFigure, MetaTold, Opening, Row, Shown, StorageTold,
};

#[cfg(test)]
mod tests;

/// Widths of the columns after the name; wide enough for every figure this project can reach. The
/// titles of the shares of CPU time and the last column are the suite's.
const WIDTHS: [usize; 9] = [10, 10, 5, 6, 6, 24, 17, 29, 29];

/// Two spaces between columns.
const GAP: &str = "  ";

/// Alignment of one run.
pub(crate) struct Table {
    name_width: usize,
    shown: Shown,
}

impl Table {
    /// A table for rows of these names.
    pub(crate) fn new(names: &[String], shown: Shown) -> Self {
        Self { name_width: names.iter().map(String::len).max().unwrap_or(0), shown }
    }

    /// Titles of the columns.
    pub(crate) fn header(&self) -> String {
        let [first, second] = self.shown.cpu_shares;
        let cpu = format!("CPU us/op {first}+{second}");
        let titles = [
            "value",
            "limit",
            "unit",
            "ratio",
            "goal",
            &cpu,
            "limit's",
            "p50/p99 us (limit's)",
            "device r+w/B, ops/flush, ring",
        ];
        self.line("row", titles.map(str::to_owned))
    }

    /// One row. A row below its goal carries `<` before the goal.
    pub(crate) fn row(&self, row: &Row) -> String {
        let goal = match (row.goal, row.goal_met()) {
            (Some(goal), Some(false)) => format!("<{goal:.2}"),
            (Some(goal), _) => format!("{goal:.2}"),
            (None, met) => value_goal(row, met == Some(false)),
        };
        let cells = [
            number(row.subject.value),
            number(row.limit.value),
            row.unit.to_owned(),
            format!("{:.2}", row.ratio),
            goal,
            cpu(&row.subject),
            cpu(&row.limit),
            latency(row),
            row.device.as_ref().map_or("-".to_owned(), device),
        ];
        let line = self.line(&row.name, cells);
        let opening = row.opening.as_ref().map(|opening| told(opening));
        let more = [opening, kv_told(row), storage_told(row), meta_told(row)];
        more.into_iter().flatten().fold(line, |line, more| format!("{line}\n{more}"))
    }

    fn line(&self, name: &str, cells: [String; WIDTHS.len()]) -> String {
        let mut line = format!("{name:<width$}", width = self.name_width);
        let columns = if self.shown.device_bytes { WIDTHS.len() } else { WIDTHS.len() - 1 };
        for (cell, width) in cells.iter().zip(WIDTHS).take(columns) {
            line.push_str(GAP);
            line.push_str(&format!("{cell:>width$}"));
        }
        line
    }
}

fn cpu(figure: &Figure) -> String {
    let (client, server) = (figure.client_cpu_us_per_op, figure.server_cpu_us_per_op);
    format!("{client:.1}+{server:.1}={:.1}", client + server)
}

fn device(device: &DeviceBytes) -> String {
    let DeviceBytes { read_per_byte, written_per_byte, ops_per_flush, journal } = device;
    let mut text = format!("{read_per_byte:.2}+{written_per_byte:.2}");
    if let Some(ops) = ops_per_flush {
        text += &format!(", {ops:.1}");
    }
    if let Some(journal) = journal {
        text += &format!(", {:.1}x{}M", journal.turns, journal.ring_bytes >> 20);
    }
    text
}

fn told(opening: &Opening) -> String {
    let mib = |bytes: u64| number((bytes >> 20) as f64);
    let peak = opening.peak_bytes.map_or("unknown".to_owned(), |bytes| mib(bytes) + " MiB");
    format!(
        "    opened in {:.2} s, its checkpoint of {} MiB read in {:.2} s; index {} MiB, {:.1} \
         bytes per chunk, {} MiB for {} million chunks; peak memory {peak}",
        opening.seconds,
        mib(opening.checkpoint_bytes),
        opening.read_seconds,
        mib(opening.index_bytes),
        opening.index_bytes_per_chunk,
        mib(opening.projected_index_bytes),
        opening.projected_chunks / 1_000_000,
    )
}

/// A goal of its own, in thousands of the unit.
fn value_goal(row: &Row, missed: bool) -> String {
    let Some(goal) = row.kv.as_ref().and_then(|kv| kv.value_goal) else { return "-".to_owned() };
    format!("{}{:.0}k", if missed { "<" } else { "" }, goal / 1e3)
}

fn kv_told(row: &Row) -> Option<String> {
    let KvTold { commits, reopening, .. } = row.kv.as_deref()?;
    if let Some(commits) = commits {
        let groups = commits.groups.max(1) as f64;
        let flushes = commits.flushes.map_or(String::new(), |flushes| {
            let each = flushes as f64 / groups;
            format!(", {each:.2} flushes each, all before their acknowledgements")
        });
        let each = commits.commits as f64 / groups;
        return Some(format!(
            "    {} commits in {} groups of {each:.1}{flushes}",
            commits.commits, commits.groups
        ));
    }
    let reopening = (*reopening)?;
    Some(format!(
        "    opened and read in {:.4} s after kill -9 (at most {:.4} s), {:.4} s after an orderly \
         end; file {} MiB; {} acknowledged groups found",
        reopening.seconds,
        reopening.seconds_max,
        reopening.orderly_seconds,
        number((reopening.file_bytes >> 20) as f64),
        reopening.acknowledged,
    ))
}

fn storage_told(row: &Row) -> Option<String> {
    let StorageTold { layers, of_layers, threads_us_per_op } = row.storage.as_deref()?;
    Some(format!(
        "    {}; {of_layers:.2} of 1 / sum(1 / rpc, 1 / store); CPU us/op: {}",
        layers_told(layers, row.unit),
        threads_told(threads_us_per_op),
    ))
}

fn layers_told(layers: &[LayerFigure], unit: &str) -> String {
    let layer = |layer: &LayerFigure| {
        let Figure { value, latency_us, .. } = &layer.figure;
        let us = latency_us.map_or(String::new(), |latency| format!(" ({:.0} us)", latency.p50));
        format!("{} {} {unit}{us}", layer.name, number(*value))
    };
    layers.iter().map(layer).collect::<Vec<_>>().join(", ")
}

fn threads_told(threads_us_per_op: &BTreeMap<String, f64>) -> String {
    let thread = |(name, us): (&String, &f64)| {
        format!("{} {us:.1}", name.strip_prefix("bench-").unwrap_or(name))
    };
    threads_us_per_op.iter().map(thread).collect::<Vec<_>>().join(", ")
}

fn meta_told(row: &Row) -> Option<String> {
    let told = row.meta.as_deref()?;
    let MetaTold { layers, threads_us_per_op, commits, groups, .. } = told;
    let shared = match groups {
        0 => String::new(),
        _ => format!("; {:.1} commits a group", *commits as f64 / *groups as f64),
    };
    let MetaTold { reads, rounds, conflicts, mutations, commit_bytes, .. } = told;
    Some(format!(
        "    {}; CPU us/op: {}{shared}; a transaction: {reads:.1} reads in {rounds:.1} rounds, \
         {conflicts:.1} conflict ranges, {mutations:.1} writes, {commit_bytes:.0} bytes",
        layers_told(layers, row.unit),
        threads_told(threads_us_per_op),
    ))
}

fn latency(row: &Row) -> String {
    match (row.subject.latency_us, row.limit.latency_us) {
        (Some(subject), Some(limit)) => {
            format!("{:.0}/{:.0} ({:.0}/{:.0})", subject.p50, subject.p99, limit.p50, limit.p99)
        }
        _ => "-".to_owned(),
    }
}

/// Four significant digits or more, digits in groups of three.
fn number(value: f64) -> String {
    if value < 1000.0 {
        let decimals = if value < 10.0 { 3 } else { 1 };
        return format!("{value:.decimals$}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
