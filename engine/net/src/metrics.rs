//! Counters and latency per method, kept by one core and read by copying.

use core::cell::RefCell;
use core::time::Duration;

use engine_types::{Map, Status};
use hdrhistogram::Histogram;

use crate::link::EndReason;

#[cfg(test)]
mod tests;

/// Latencies are kept from 1 us to 60 s with two significant digits: 1 % is below what a shared
/// network lets one see, and a method costs about 20 KiB.
const LATENCY_US_MAX: u64 = 60_000_000;
const LATENCY_DIGITS: u8 = 2;

struct Method {
    calls: u64,
    failures: u64,
    bytes_in: u64,
    bytes_out: u64,
    latency_us: Histogram<u32>,
}

impl Method {
    fn new() -> Self {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, LATENCY_DIGITS)
            .expect("constant bounds that the library accepts");
        Self { calls: 0, failures: 0, bytes_in: 0, bytes_out: 0, latency_us }
    }
}

/// What one client or server has counted.
#[derive(Default)]
pub struct Metrics {
    methods: RefCell<Map<u16, Method>>,
    other: RefCell<Counters>,
    last_failure: RefCell<Option<String>>,
}

/// Counters of a client or server as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections established.
    pub connections: u64,
    /// Connections refused or ended because of the peer's mistake or silence.
    pub connections_failed: u64,
    /// Requests whose caller stopped waiting.
    pub abandoned: u64,
    /// Times that a request waited for byte credit.
    pub credit_waits: u64,
    /// Pings sent.
    pub pings: u64,
}

/// One method's figures at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodSnapshot {
    /// The kind of request.
    pub kind: u16,
    /// Requests completed, failures included.
    pub calls: u64,
    /// Requests that ended in another status than `Ok`.
    pub failures: u64,
    /// Payload and body bytes received.
    pub bytes_in: u64,
    /// Payload and body bytes sent.
    pub bytes_out: u64,
    /// Median latency.
    pub p50: Duration,
    /// Latency that 99 % stay below.
    pub p99: Duration,
    /// Largest latency.
    pub max: Duration,
}

/// All figures at a moment, methods in order of kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Per method.
    pub methods: Vec<MethodSnapshot>,
    /// Of the whole.
    pub counters: Counters,
    /// Why a connection failed last.
    pub last_failure: Option<String>,
}

impl Metrics {
    pub(crate) fn count(&self, add: impl FnOnce(&mut Counters)) {
        add(&mut self.other.borrow_mut());
    }

    pub(crate) fn connection_failed(&self, reason: &EndReason) {
        self.count(|counters| counters.connections_failed += 1);
        *self.last_failure.borrow_mut() = Some(reason.to_string());
    }

    pub(crate) fn record(&self, kind: u16, status: Status, took: Duration, bytes: (u64, u64)) {
        let mut methods = self.methods.borrow_mut();
        let method = methods.entry(kind).or_insert_with(Method::new);
        method.calls += 1;
        method.failures += u64::from(!status.is_ok());
        method.bytes_in += bytes.0;
        method.bytes_out += bytes.1;
        let us = u64::try_from(took.as_micros()).unwrap_or(LATENCY_US_MAX).clamp(1, LATENCY_US_MAX);
        method.latency_us.saturating_record(us);
    }

    /// A copy of everything counted so far.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let methods = self.methods.borrow();
        let mut methods: Vec<MethodSnapshot> = methods
            .iter()
            .map(|(&kind, method)| MethodSnapshot {
                kind,
                calls: method.calls,
                failures: method.failures,
                bytes_in: method.bytes_in,
                bytes_out: method.bytes_out,
                p50: Duration::from_micros(method.latency_us.value_at_quantile(0.5)),
                p99: Duration::from_micros(method.latency_us.value_at_quantile(0.99)),
                max: Duration::from_micros(method.latency_us.max()),
            })
            .collect();
        methods.sort_by_key(|method| method.kind);
        let last_failure = self.last_failure.borrow().clone();
        MetricsSnapshot { methods, counters: *self.other.borrow(), last_failure }
    }
}
