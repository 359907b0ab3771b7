//! What has to be so, because an operator was told that it is done (T85).
//!
//! An operation of unknown result may have happened, or may yet happen for a while: until then both
//! values are right.

use core::time::Duration;
use std::collections::BTreeMap;

use engine_types::{ChainId, Instant, NodeId, TargetId};

/// An operation of unknown result has happened by then, or never will: a manager that froze with
/// it and kept its lease, and a transaction that waits for the KV.
const DOUBT: Duration = Duration::from_secs(20);

/// Something that operators decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::scenarios::manager) enum Fact {
    Chain(ChainId),
    Draining(NodeId),
    Enabled(NodeId),
    Drained(TargetId),
    Stopped,
    Table,
    Setting(&'static str),
}

#[derive(Debug, Default)]
struct Known {
    sure: Option<String>,
    doubts: Vec<(Instant, String)>,
}

/// What has to be so.
#[derive(Debug, Default)]
pub(in crate::scenarios::manager) struct Facts(BTreeMap<Fact, Known>);

impl Facts {
    /// An operation was answered as done.
    pub(super) fn done(&mut self, fact: Fact, value: String, now: Instant) {
        let known = self.0.entry(fact).or_default();
        known.sure = Some(value);
        known.doubts.retain(|(at, _)| now < *at + DOUBT);
    }

    /// Nobody knows what became of an operation.
    pub(super) fn doubted(&mut self, fact: Fact, value: String, now: Instant) {
        self.0.entry(fact).or_default().doubts.push((now, value));
    }

    /// Whether `fact` was never touched, or is `value` for certain.
    pub(super) fn is(&self, fact: &Fact, value: &str) -> bool {
        let known = self.0.get(fact);
        known.is_none_or(|k| k.sure.as_deref() == Some(value) && k.doubts.is_empty())
    }

    /// Compares with what is; `is` says nothing of what cannot be known.
    pub(super) fn compare(
        &self,
        is: impl Fn(&Fact) -> Option<String>,
        asked: Instant,
    ) -> Result<(), String> {
        for (fact, known) in &self.0 {
            let (Some(found), Some(sure)) = (is(fact), &known.sure) else { continue };
            let doubted = known.doubts.iter().any(|(_, value)| *value == found);
            if found != *sure && !doubted {
                return Err(format!("T85: at {asked} {fact:?} is {found:?}, done was {known:?}"));
            }
        }
        Ok(())
    }
}
