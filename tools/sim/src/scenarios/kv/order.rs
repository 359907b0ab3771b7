//! The order of transactions, and what it has to explain.

use std::collections::BTreeMap;

use meta_kv::Versionstamp;

use crate::check::{Verdict, fail};

/// What a transaction read and wrote.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Registers and what they held; those it had written itself are left out.
    pub(super) reads: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Registers and their new values.
    pub(super) writes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Seen {
    /// Whether it has written `key`.
    pub(super) fn wrote(&self, key: &[u8]) -> bool {
        self.writes.iter().any(|(written, _)| written == key)
    }
}

/// A transaction that happened.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) number: u8,
    pub(super) round: u32,
    /// Moments of the world, comparable between clients.
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) stamp: Versionstamp,
    pub(super) seen: Seen,
}

impl Done {
    fn name(&self) -> String {
        format!("transaction {} of client {} at {}", self.round, self.number, self.stamp)
    }
}

/// T60 to T62.
pub(super) fn check(done: &[Done]) -> Verdict {
    let mut order: Vec<&Done> = done.iter().collect();
    order.sort_by_key(|done| done.stamp);
    for pair in order.windows(2) {
        if pair[0].stamp == pair[1].stamp {
            let (a, b) = (pair[0].name(), pair[1].name());
            return fail("T60 stamps are unique", format!("{a} and {b}"));
        }
    }
    let mut registers: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
    let mut latest: Option<&Done> = None;
    for done in order {
        if let Some(before) = latest.filter(|before| done.ended < before.began) {
            let (late, early) = (before.name(), done.name());
            return fail("T62 real time", format!("{late} began after {early} was acknowledged"));
        }
        latest = latest.filter(|before| done.began < before.began).or(Some(done));
        for (key, seen) in &done.seen.reads {
            let holds = registers.get(key.as_slice()).copied();
            if holds != seen.as_deref() {
                let (name, key) = (done.name(), key.escape_ascii());
                let what = format!("{name} read {seen:?} from {key}, which holds {holds:?}");
                return fail("T61 serialisable", what);
            }
        }
        for (key, value) in &done.seen.writes {
            registers.insert(key, value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
