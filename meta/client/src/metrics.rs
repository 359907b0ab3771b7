//! Counts of what was asked and what came of it.

use core::cell::RefCell;
use std::collections::BTreeMap;

use meta_protocol::Answer;

use crate::error::MetaError;

/// What a client has counted since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Calls that were answered, by name of the operation.
    pub answered: BTreeMap<&'static str, u64>,
    /// Calls that were refused, by name.
    pub refused: BTreeMap<&'static str, u64>,
    /// Calls that ended without either, by name.
    pub failed: BTreeMap<&'static str, u64>,
    /// Attempts beyond the first of their call.
    pub retries: u64,
    /// Of them, those at another service than the attempt before.
    pub failovers: u64,
    /// Requests that were given up with unknown effect.
    pub abandoned: u64,
    /// Of them, those that cannot have an effect any more (E472).
    pub overtaken: u64,
}

#[derive(Default)]
pub(crate) struct Metrics(RefCell<MetricsSnapshot>);

impl Metrics {
    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        self.0.borrow().clone()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut MetricsSnapshot)) {
        change(&mut self.0.borrow_mut());
    }

    pub(crate) fn ended(&self, name: &'static str, outcome: &Result<Answer, MetaError>) {
        self.count(|counts| {
            let of = match outcome {
                Ok(_) => &mut counts.answered,
                Err(MetaError::Refused { .. }) => &mut counts.refused,
                Err(_) => &mut counts.failed,
            };
            *of.entry(name).or_default() += 1;
        });
    }
}
