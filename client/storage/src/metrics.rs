//! Counts of what was asked and what came of it.

use core::cell::RefCell;
use std::collections::BTreeMap;

use engine_types::{Retry, Status, TargetId};

use crate::error::Op;

/// What a storage client has counted since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Operations that have ended, by code of their status ([`Status::code`]).
    pub ended: BTreeMap<(Op, u16), u64>,
    /// Attempts without success, by class of their status.
    pub retries: BTreeMap<&'static str, u64>,
    /// Attempts of reads, by replica.
    pub reads: BTreeMap<TargetId, u64>,
    /// Messages sent.
    pub messages: u64,
    /// Updates that were given up with unknown effect.
    pub abandoned: u64,
    /// Abandoned updates that cannot have an effect any more (E373).
    pub fenced: u64,
}

impl MetricsSnapshot {
    /// Operations of a kind that have ended with `status`.
    pub fn ended(&self, op: Op, status: Status) -> u64 {
        self.ended.get(&(op, status.code())).copied().unwrap_or(0)
    }

    /// Attempts without success whose status was of this class.
    pub fn retries(&self, class: Retry) -> u64 {
        self.retries.get(name(class)).copied().unwrap_or(0)
    }
}

const fn name(class: Retry) -> &'static str {
    match class {
        Retry::Never => "never",
        Retry::SameTarget => "same_target",
        Retry::OtherTarget => "other_target",
        Retry::RefreshRouting => "refresh_routing",
        Retry::AfterBackoff => "after_backoff",
        Retry::IfIdempotent => "if_idempotent",
    }
}

#[derive(Default)]
pub(crate) struct Metrics {
    counts: RefCell<MetricsSnapshot>,
}

impl Metrics {
    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        self.counts.borrow().clone()
    }

    pub(crate) fn ended(&self, op: Op, status: Status) {
        *self.counts.borrow_mut().ended.entry((op, status.code())).or_default() += 1;
    }

    pub(crate) fn retried(&self, class: Retry) {
        *self.counts.borrow_mut().retries.entry(name(class)).or_default() += 1;
    }

    pub(crate) fn read(&self, target: TargetId) {
        *self.counts.borrow_mut().reads.entry(target).or_default() += 1;
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut MetricsSnapshot)) {
        change(&mut self.counts.borrow_mut());
    }
}
