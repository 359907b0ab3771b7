//! The table on standard output: aligned, printed row by row while the suite runs.

use crate::suite::{Figure, Row};

#[cfg(test)]
mod tests;

/// Widths of the columns after the name; wide enough for every figure this project can reach.
const COLUMNS: [(&str, usize); 8] = [
    ("value", 10),
    ("limit", 10),
    ("unit", 5),
    ("ratio", 6),
    ("goal", 6),
    ("CPU us/op client+server", 23),
    ("limit's", 17),
    ("p50/p99 us (limit's)", 29),
];

/// Two spaces between columns.
const GAP: &str = "  ";

/// Alignment of one run.
pub(crate) struct Table {
    name_width: usize,
}

impl Table {
    /// A table for rows of these names.
    pub(crate) fn new(names: &[String]) -> Self {
        Self { name_width: names.iter().map(String::len).max().unwrap_or(0) }
    }

    /// Titles of the columns.
    pub(crate) fn header(&self) -> String {
        self.line("row", COLUMNS.map(|(title, _)| title.to_owned()))
    }

    /// One row. A row below its goal carries `<` before the goal.
    pub(crate) fn row(&self, row: &Row) -> String {
        let goal = match (row.goal, row.goal_met()) {
            (Some(goal), Some(false)) => format!("<{goal:.2}"),
            (Some(goal), _) => format!("{goal:.2}"),
            (None, _) => "-".to_owned(),
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
        ];
        self.line(&row.name, cells)
    }

    fn line(&self, name: &str, cells: [String; COLUMNS.len()]) -> String {
        let mut line = format!("{name:<width$}", width = self.name_width);
        for (cell, (_, width)) in cells.iter().zip(COLUMNS) {
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
