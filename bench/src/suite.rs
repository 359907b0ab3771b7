//! What a suite is, and what it reports. A new suite is a module and one entry of [`SUITES`].

use core::time::Duration;

use serde::Serialize;

use crate::rpc;

/// Everything this binary can measure.
pub(crate) const SUITES: &[Suite] = &[rpc::SUITE];

/// A group of rows that share what they measure and what bounds it.
pub(crate) struct Suite {
    /// Its argument on the command line.
    pub(crate) name: &'static str,
    /// What is measured, one line.
    pub(crate) about: &'static str,
    /// What each row stands beside, one line.
    pub(crate) limit: &'static str,
    /// Names of all rows, in the order in which they are measured.
    pub(crate) rows: fn() -> Vec<String>,
    /// Measures the rows that the plan wants and reports each of them once.
    pub(crate) run: fn(&Plan, &mut dyn FnMut(Event)),
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Time per row, subject and limit together.
    pub(crate) seconds: Duration,
    /// Rows whose name contains this.
    pub(crate) filter: String,
}

impl Plan {
    /// Whether the row is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        name.contains(&self.filter)
    }

    /// Names of the rows of `suite` that are to be measured.
    pub(crate) fn names(&self, suite: &Suite) -> Vec<String> {
        (suite.rows)().into_iter().filter(|name| self.wants(name)).collect()
    }
}

/// What a suite tells while it runs.
pub(crate) enum Event {
    /// The row of this name begins.
    Starting(String),
    /// A row is complete.
    Measured(Row),
    /// A row cannot be measured; the suite goes on.
    Failed {
        /// The row.
        name: String,
        /// Why.
        reason: String,
    },
}

/// One row: a figure beside its limit. Field names are part of the JSON format.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    /// Unique and stable: what is compared over time is found by it.
    pub(crate) name: String,
    /// Unit of `subject.value` and `limit.value`.
    pub(crate) unit: &'static str,
    /// What this project built.
    pub(crate) subject: Figure,
    /// What it stands on.
    pub(crate) limit: Figure,
    /// Median over the pairs of subject to limit (B3).
    pub(crate) ratio: f64,
    /// The lowest ratio of a pair.
    pub(crate) ratio_min: f64,
    /// The highest ratio of a pair.
    pub(crate) ratio_max: f64,
    /// The ratio that is asked for, where one is.
    pub(crate) goal: Option<f64>,
    /// Pairs that were measured.
    pub(crate) pairs: usize,
    /// Length of one slice, seconds.
    pub(crate) slice_seconds: f64,
}

impl Row {
    /// Whether the goal is met, where there is one.
    pub(crate) fn goal_met(&self) -> Option<bool> {
        self.goal.map(|goal| goal <= self.ratio)
    }
}

/// What one side of a row did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// Median over its slices, in the unit of the row.
    pub(crate) value: f64,
    /// CPU time of the client's thread per operation, microseconds, median.
    pub(crate) client_cpu_us_per_op: f64,
    /// CPU time of the rest of the process per operation, microseconds, median.
    pub(crate) server_cpu_us_per_op: f64,
    /// Where the row is a latency: one operation in flight per connection.
    pub(crate) latency_us: Option<Latency>,
}

/// Percentiles over all slices, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Latency {
    /// Half of the operations were at most this slow.
    pub(crate) p50: f64,
    /// All but one of a hundred were at most this slow.
    pub(crate) p99: f64,
}
