//! What a suite is, and what it reports. A new suite is a module and one entry of [`SUITES`].

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::{kv, meta, open, rpc, storage, store};

/// Everything this binary can measure.
pub(crate) const SUITES: &[Suite] =
    &[rpc::SUITE, store::SUITE, open::SUITE, kv::SUITE, storage::SUITE, meta::SUITE];

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
    pub(crate) rows: fn(&Plan) -> Vec<String>,
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
    /// Whether [`Storage::bytes`] says how much data they work on.
    pub(crate) sized: bool,
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
    /// How much suites of keys and values work on.
    pub(crate) keys: Keys,
}

/// Sizes of a suite of keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    /// Most tasks at the same time.
    pub(crate) tasks: u64,
    /// Keys of a store whose rate is measured.
    pub(crate) stored: u64,
    /// Keys of a store that is opened again after its process was killed.
    pub(crate) reopened: u64,
}

impl Default for Keys {
    /// Keys of small directories of ten thousand users, and of a file system that has grown.
    fn default() -> Self {
        Self { tasks: 64, stored: 1_000_000, reopened: 5_000_000 }
    }
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
        (suite.rows)(self).into_iter().filter(|name| self.wants(name)).collect()
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
    /// What only a store of keys and values has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kv: Option<Box<KvTold>>,
    /// What only a row of replicated storage has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storage: Option<Box<StorageTold>>,
    /// What only a row of metadata operations has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta: Option<Box<MetaTold>>,
}

/// What a row of metadata operations tells beside its figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MetaTold {
    /// What it stands beside, the limit first.
    pub(crate) layers: Vec<LayerFigure>,
    /// CPU time of each thread per operation of the subject, microseconds; `kernel` are all threads
    /// of the kernel.
    pub(crate) threads_us_per_op: BTreeMap<String, f64>,
    /// Commits of the store during slices of the subject, whoever made them.
    pub(crate) commits: u64,
    /// Groups that they were written in.
    pub(crate) groups: u64,
    /// Reads of a transaction that is replayed, mean; likewise below.
    pub(crate) reads: f64,
    /// Round trips of these reads.
    pub(crate) rounds: f64,
    /// Ranges that it conflicts with.
    pub(crate) conflicts: f64,
    /// Writes.
    pub(crate) mutations: f64,
    /// Bytes of its commit.
    pub(crate) commit_bytes: f64,
}

/// What a row of replicated storage tells beside its figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct StorageTold {
    /// The layers below, each measured alone in the slices of this row.
    pub(crate) layers: Vec<LayerFigure>,
    /// Median over the rounds of the subject to 1 / sum(1 / layer), over `rpc` and `store`.
    pub(crate) of_layers: f64,
    /// CPU time of each thread of the subject per operation, microseconds; `kernel` are all
    /// threads of the kernel.
    pub(crate) threads_us_per_op: BTreeMap<String, f64>,
}

/// What a layer below did alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LayerFigure {
    /// Which.
    pub(crate) name: &'static str,
    /// What it did.
    pub(crate) figure: Figure,
}

/// What a row of keys and values tells beside its figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct KvTold {
    /// The least value that is asked for, in the row's unit, on the project's own machine.
    pub(crate) value_goal: Option<f64>,
    /// How commits shared flushes.
    pub(crate) commits: Option<Commits>,
    /// How a killed store came back.
    pub(crate) reopening: Option<Reopening>,
}

/// Commits of the subject, over all slices but the first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Commits {
    /// Durable transactions.
    pub(crate) commits: u64,
    /// Groups that they were written in.
    pub(crate) groups: u64,
    /// Flushes of the file; nothing where the engine does not tell. Each acknowledgement was
    /// checked to come after the flush of its group.
    pub(crate) flushes: Option<u64>,
}

/// A store opened again after `kill -9`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Reopening {
    /// From the call to the first value read, median.
    pub(crate) seconds: f64,
    /// Longest of all runs.
    pub(crate) seconds_max: f64,
    /// The same after an orderly end, median.
    pub(crate) orderly_seconds: f64,
    /// Bytes of the file.
    pub(crate) file_bytes: u64,
    /// Groups that were acknowledged before the kills, all of them found again.
    pub(crate) acknowledged: u64,
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
    /// Whether all goals are met, where there are any.
    pub(crate) fn goal_met(&self) -> Option<bool> {
        let value_goal = self.kv.as_ref().and_then(|kv| kv.value_goal);
        let asked = [(self.goal, self.ratio), (value_goal, self.subject.value)];
        let met = asked.iter().filter_map(|(goal, found)| goal.map(|goal| goal <= *found));
        met.reduce(|all, one| all && one)
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
