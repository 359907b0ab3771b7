//! What a suite is, and what it reports. A new suite is a module and one entry of [`SUITES`].

use core::time::Duration;
use std::path::PathBuf;

use serde::Serialize;

use crate::{open, rpc, store};

/// Everything this binary can measure.
pub(crate) const SUITES: &[Suite] = &[rpc::SUITE, store::SUITE, open::SUITE];

/// A group of rows that share what they measure and what bounds it.
pub(crate) struct Suite {
    /// Its argument on the command line.
    pub(crate) name: &'static str,
    /// What is measured, one line.
    pub(crate) about: &'static str,
    /// What each row stands beside, one line.
    pub(crate) limit: &'static str,
    /// What its columns mean.
    pub(crate) shown: Shown,
    /// Names of all rows, in the order in which they are measured.
    pub(crate) rows: fn() -> Vec<String>,
    /// Measures the rows that the plan wants and reports each of them once.
    pub(crate) run: fn(&Plan, &mut dyn FnMut(Event)),
}

/// What the columns of a suite mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Whose CPU time [`Figure::client_cpu_us_per_op`] and [`Figure::server_cpu_us_per_op`] are.
    pub(crate) cpu_shares: [&'static str; 2],
    /// Whether rows carry [`Row::device`].
    pub(crate) device_bytes: bool,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Time per row, subject and limit together.
    pub(crate) seconds: Duration,
    /// Rows whose name contains this.
    pub(crate) filter: String,
    /// Where suites that need a disk put their data.
    pub(crate) storage: Storage,
}

/// Where data goes, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    /// Folder on the disk that is measured.
    pub(crate) dir: PathBuf,
    /// Folder in memory (tmpfs) for what is behind loop devices.
    pub(crate) memory_dir: PathBuf,
    /// Bytes that are written before they are read.
    pub(crate) bytes: u64,
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
#[expect(clippy::large_enum_variant, reason = "a few per second, each consumed at once")]
pub(crate) enum Event {
    /// Something that takes a while is done before a row.
    Preparing(String),
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
    /// What the subject moved to and from its device, where it counts that.
    pub(crate) device: Option<DeviceBytes>,
    /// What the opening of a store cost, where that is the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) opening: Option<Box<Opening>>,
}

/// The opening of a store.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Opening {
    /// Median.
    pub(crate) seconds: f64,
    /// Bytes of its checkpoint.
    pub(crate) checkpoint_bytes: u64,
    /// Reading these alone, median.
    pub(crate) read_seconds: f64,
    /// Memory of the index.
    pub(crate) index_bytes: u64,
    /// The same per chunk, words included.
    pub(crate) index_bytes_per_chunk: f64,
    /// Chunks of the projection.
    pub(crate) projected_chunks: u64,
    /// Memory of their index.
    pub(crate) projected_index_bytes: u64,
    /// Most memory that the process held while the row was measured; nothing where the kernel does
    /// not tell.
    pub(crate) peak_bytes: Option<u64>,
}

/// What the subject of a row asked of its device, over all slices but the first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct DeviceBytes {
    /// Bytes read from the device per byte that the operations moved.
    pub(crate) read_per_byte: f64,
    /// Bytes written to the device per byte that the operations moved.
    pub(crate) written_per_byte: f64,
    /// Operations that one flush of the device made durable, mean; none without flushes.
    pub(crate) ops_per_flush: Option<f64>,
    /// The journal, where writes went through one.
    pub(crate) journal: Option<JournalTurns>,
}

/// How often a ring was filled: bytes written per byte are final after two turns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct JournalTurns {
    /// Bytes of the ring.
    pub(crate) ring_bytes: u64,
    /// Bytes written to it, in rings.
    pub(crate) turns: f64,
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
    /// CPU time of the first of [`Shown::cpu_shares`] per operation, microseconds, median.
    pub(crate) client_cpu_us_per_op: f64,
    /// CPU time of the second of [`Shown::cpu_shares`] per operation, microseconds, median.
    pub(crate) server_cpu_us_per_op: f64,
    /// Where single operations can be told apart.
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
