//! From slices of time to a row: alternating pairs, medians, ratios (B1-B4).

use core::time::Duration;

use hdrhistogram::Histogram;

use crate::cpu::CpuUsed;
use crate::suite::{Figure, Latency, Row};

#[cfg(test)]
mod tests;

/// Longest slice: shorter than the drifts of a shared machine, so that both sides of a pair see
/// the same weather, and long enough that starting and stopping does not matter.
pub(crate) const SLICE_MAX: Duration = Duration::from_millis(200);
/// Fewest pairs of a row: with fewer a median cannot leave a stall out.
const PAIRS_MIN: u32 = 3;
/// A slice is measured after this share of it, when every connection is busy: one eighth.
const SETTLE_DIVISOR: u32 = 8;
/// Longest latency that is told apart from longer ones.
const LATENCY_NANOS_MAX: u64 = 60_000_000_000;

/// How the time of a row is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Division {
    /// Pairs of slices.
    pub(crate) pairs: u32,
    /// Time before the measured part of a slice.
    pub(crate) settle: Duration,
    /// Measured part of a slice.
    pub(crate) measured: Duration,
}

impl Division {
    /// Divides `seconds` into an odd number of pairs, so that the median is one of them, with
    /// slices of at most `slice_max`.
    pub(crate) fn of(seconds: Duration, slice_max: Duration) -> Self {
        let slices = seconds.as_nanos().div_ceil(slice_max.as_nanos());
        let pairs = u32::try_from(slices.div_ceil(2)).unwrap_or(u32::MAX / 4).max(PAIRS_MIN) | 1;
        let slice = seconds / (2 * pairs);
        let settle = slice / SETTLE_DIVISOR;
        Self { pairs, settle, measured: slice - settle }
    }

    /// A whole slice.
    pub(crate) fn slice(&self) -> Duration {
        self.settle + self.measured
    }
}

/// What one side did in the measured part of one slice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slice {
    /// Operations that ended in it.
    pub(crate) ops: u64,
    /// Its true length.
    pub(crate) nanos: u64,
    /// CPU time in it.
    pub(crate) cpu: CpuUsed,
}

impl Slice {
    fn ops_per_second(&self) -> f64 {
        per(self.ops, self.nanos) * 1e9
    }
}

/// A quotient that is zero where nothing happened.
fn per(value: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { value as f64 / count as f64 }
}

/// What a side did over all slices of a row.
pub(crate) struct Side {
    slices: Vec<Slice>,
    latency: Histogram<u64>,
}

impl Side {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { slices: Vec::new(), latency: latency_histogram() }
    }

    /// Adds a slice and the latencies in it, nanoseconds.
    pub(crate) fn add(&mut self, slice: Slice, latency: &Histogram<u64>) {
        self.slices.push(slice);
        self.latency.add(latency).expect("both histograms have the same bounds");
    }

    /// Medians of what was added.
    pub(crate) fn figure(&self, scale: f64) -> Figure {
        let over = |of: fn(&Slice) -> f64| median(self.slices.iter().map(of));
        let percentile = |share| self.latency.value_at_quantile(share) as f64 / 1e3;
        let latency = Latency { p50: percentile(0.5), p99: percentile(0.99) };
        Figure {
            value: over(Slice::ops_per_second) * scale,
            client_cpu_us_per_op: over(|slice| per(slice.cpu.client_nanos, slice.ops) / 1e3),
            server_cpu_us_per_op: over(|slice| per(slice.cpu.server_nanos, slice.ops) / 1e3),
            latency_us: (!self.latency.is_empty()).then_some(latency),
        }
    }
}

/// An empty histogram of nanoseconds, exact to three digits.
pub(crate) fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, 3).expect("bounds and digits are valid")
}

/// What identifies a row and gives its figures a unit.
pub(crate) struct Heading {
    /// Name of the row.
    pub(crate) name: String,
    /// Unit of its values.
    pub(crate) unit: &'static str,
    /// From operations per second to that unit.
    pub(crate) scale: f64,
    /// Ratio that is asked for.
    pub(crate) goal: Option<f64>,
}

/// The row of a subject and its limit, whose slices were measured in turns.
///
/// # Panics
/// When the sides have different numbers of slices, or none.
pub(crate) fn row(heading: Heading, division: &Division, subject: &Side, limit: &Side) -> Row {
    assert_eq!(subject.slices.len(), limit.slices.len(), "B1: slices come in pairs");
    assert!(!subject.slices.is_empty(), "a row has at least one pair");
    let ratios: Vec<f64> = subject
        .slices
        .iter()
        .zip(&limit.slices)
        .map(|(subject, limit)| ratio(subject.ops_per_second(), limit.ops_per_second()))
        .collect();
    Row {
        name: heading.name,
        unit: heading.unit,
        subject: subject.figure(heading.scale),
        limit: limit.figure(heading.scale),
        ratio: median(ratios.iter().copied()),
        ratio_min: ratios.iter().copied().fold(f64::INFINITY, f64::min),
        ratio_max: ratios.iter().copied().fold(0.0, f64::max),
        goal: heading.goal,
        pairs: ratios.len(),
        slice_seconds: division.slice().as_secs_f64(),
        device: None,
        opening: None,
        kv: None,
        storage: None,
        meta: None,
    }
}

/// A limit that stood still for a whole slice says nothing: the pair counts as a ratio of 0, which
/// can only make a row look worse.
fn ratio(subject: f64, limit: f64) -> f64 {
    if limit == 0.0 { 0.0 } else { subject / limit }
}

/// The middle value, or the mean of the two middle ones.
///
/// # Panics
/// When there is none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    assert!(!values.is_empty(), "a median needs a value");
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[middle - 1] + values[middle]) / 2.0
    } else {
        values[middle]
    }
}
