//! What a service counts of its requests, by operation.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use meta_protocol::{Operation, OperationCount, ServiceStatus};

/// Times are kept from 1 us to 60 s with two significant digits, as those of the net layer.
const TIME_US_MAX: u64 = 60_000_000;
const TIME_DIGITS: u8 = 2;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    Refused,
    /// Without either: the store did not answer, or not in time.
    Failed,
}

struct Kind {
    count: OperationCount,
    time_us: Histogram<u32>,
}

impl Kind {
    fn new() -> Self {
        let time_us = Histogram::new_with_bounds(1, TIME_US_MAX, TIME_DIGITS)
            .expect("constant bounds that the library accepts");
        Self { count: OperationCount::default(), time_us }
    }

    fn told(&self) -> OperationCount {
        let us = |us| u32::try_from(us).unwrap_or(u32::MAX);
        let at = |quantile| us(self.time_us.value_at_quantile(quantile));
        let (p50_us, p99_us, max_us) = (at(0.5), at(0.99), us(self.time_us.max()));
        OperationCount { p50_us, p99_us, max_us, ..self.count }
    }
}

/// Of one core.
#[derive(Default)]
pub(crate) struct Counts(RefCell<BTreeMap<usize, Kind>>);

impl Counts {
    /// A request for `operation` has ended after `took`.
    pub(crate) fn ended(&self, operation: &Operation, ended: Ended, took: Duration) {
        let mut kinds = self.0.borrow_mut();
        let kind = kinds.entry(operation.index()).or_insert_with(Kind::new);
        match ended {
            Ended::Done => kind.count.done += 1,
            Ended::Refused => kind.count.refused += 1,
            Ended::Failed => kind.count.failed += 1,
        }
        let us = u64::try_from(took.as_micros()).unwrap_or(TIME_US_MAX).clamp(1, TIME_US_MAX);
        kind.time_us.saturating_record(us);
    }

    /// `status` with what was counted.
    pub(crate) fn told(&self, status: ServiceStatus) -> ServiceStatus {
        let kinds = self.0.borrow();
        let count = |index| kinds.get(&index).map(Kind::told).unwrap_or_default();
        let operations = (0..Operation::NAMES.len()).map(count).collect();
        ServiceStatus { operations, ..status }
    }
}
