//! Checkers: what must hold of a history or of final states, whatever the workload was.
//!
//! Each is a function from data to a verdict, with tests that show it failing. They know neither
//! roles nor faults.

use core::fmt::Debug;
use std::collections::{BTreeMap, BTreeSet};

use crate::history::{End, Operation};

pub mod chunks;
pub mod linearizable;
#[cfg(test)]
mod tests;

pub use linearizable::{AppendLog, LogCall, Model, Register, RegisterCall, linearizable};

/// A check that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{check}: {what}")]
pub struct CheckFailure {
    /// Which check.
    pub check: &'static str,
    /// What was found, and what should have been.
    pub what: String,
}

/// What a check answers.
pub type Verdict = Result<(), CheckFailure>;

/// A verdict that says no.
pub fn fail(check: &'static str, what: impl Into<String>) -> Verdict {
    Err(CheckFailure { check, what: what.into() })
}

/// Every operation has ended: nobody waits for ever.
///
/// # Errors
/// The first operation that is still pending.
pub fn every_call_ends<C: Debug, R>(operations: &[Operation<C, R>]) -> Verdict {
    match operations.iter().find(|operation| matches!(operation.end, End::Pending)) {
        None => Ok(()),
        Some(Operation { client, invoked, call, .. }) => {
            let what = format!("client {client} asked {call:?} at {invoked} and still waits");
            fail("every call ends", what)
        }
    }
}

/// No effect happened twice, and none that nobody asked for.
///
/// # Errors
/// The effect.
pub fn exactly_once<V: Ord + Debug>(asked: &BTreeSet<V>, found: &[V]) -> Verdict {
    let mut seen = BTreeSet::new();
    for value in found {
        if !asked.contains(value) {
            return fail("exactly once", format!("{value:?} was found and never asked for"));
        }
        if !seen.insert(value) {
            return fail("exactly once", format!("{value:?} was applied twice"));
        }
    }
    Ok(())
}

/// What was acknowledged is still there.
///
/// # Errors
/// The first acknowledged effect that is missing.
pub fn durable<V: Ord + Debug>(acknowledged: &BTreeSet<V>, found: &[V]) -> Verdict {
    let found: BTreeSet<&V> = found.iter().collect();
    match acknowledged.iter().find(|value| !found.contains(value)) {
        None => Ok(()),
        Some(lost) => fail("durable", format!("{lost:?} was acknowledged and is lost")),
    }
}

/// All replicas hold the same.
///
/// # Errors
/// The first two that differ, and where.
pub fn replicas_equal<T: PartialEq + Debug>(replicas: &[(String, Vec<T>)]) -> Verdict {
    for pair in replicas.windows(2) {
        let [(one, a), (other, b)] = pair else { continue };
        let common = a.len().min(b.len());
        let differs = (0..common).find(|&index| a[index] != b[index]);
        let index = differs.unwrap_or(common);
        if a.len() != b.len() || differs.is_some() {
            let (a, b) = (a.get(index), b.get(index));
            let what = format!("at {index}, {one} holds {a:?} and {other} holds {b:?}");
            return fail("replicas equal", what);
        }
    }
    Ok(())
}

/// Nobody sees a log shrink or change: what a client read later begins with what it read before.
/// `reads` are in the order in which each client asked, one operation at a time.
///
/// # Errors
/// The client and the two reads.
pub fn monotonic_reads<K: Ord + Debug, T: PartialEq + Debug>(
    reads: impl IntoIterator<Item = (u32, K, Vec<T>)>,
) -> Verdict {
    let mut last: BTreeMap<(u32, K), Vec<T>> = BTreeMap::new();
    for (client, key, read) in reads {
        let key = (client, key);
        if let Some(before) = last.get(&key)
            && !read.starts_with(before)
        {
            let what = format!("client {client} read {read:?} of {:?} after {before:?}", key.1);
            return fail("monotonic reads", what);
        }
        last.insert(key, read);
    }
    Ok(())
}
