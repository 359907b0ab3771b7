//! Versions kept for remote readers. Pure.
//!
//! A view handed out is kept for as long as a transaction may last, and by no request of its
//! reader: so a reader that dies leaves nothing behind, and no message is spent on giving back.
//!
//! Invariants
//!   E240 a version is readable from the moment it is handed out until [`VIEW_AGE`] later, unless
//!        more than [`VIEWS_MAX`] are held: then the oldest go first, and their readers are told
//!        "too old"

use core::time::Duration;
use std::collections::VecDeque;

use engine_types::Instant;
use meta_kv::limits::TRANSACTION_AGE_MAX;

#[cfg(test)]
mod tests;

/// A transaction's age, and a second for messages under way.
pub(crate) const VIEW_AGE: Duration = TRANSACTION_AGE_MAX.saturating_add(Duration::from_secs(1));

/// Versions kept: six seconds of 680 groups a second, more than a disk flushes.
pub(crate) const VIEWS_MAX: usize = 4_096;

/// Versions of a store, oldest first.
pub(crate) struct Views<V> {
    held: VecDeque<(u64, Instant, V)>,
}

impl<V> Default for Views<V> {
    fn default() -> Self {
        Self { held: VecDeque::new() }
    }
}

impl<V: Clone> Views<V> {
    /// Keeps the newest version, handed out now.
    pub(crate) fn keep(&mut self, version: u64, view: V, now: Instant) {
        match self.held.back_mut() {
            Some((newest, at, _)) if *newest == version => *at = now,
            newest => {
                let before = newest.map_or(0, |(newest, ..)| *newest);
                assert!(before <= version, "E201: version {version} after {before}");
                self.held.push_back((version, now, view));
            }
        }
        self.forget(now);
    }

    /// Drops what no transaction may read any more.
    pub(crate) fn forget(&mut self, now: Instant) {
        while let Some((_, at, _)) = self.held.front() {
            let kept = now.saturating_since(*at) <= VIEW_AGE;
            if kept && self.held.len() <= VIEWS_MAX {
                return;
            }
            self.held.pop_front();
        }
    }

    /// The view of `version`, if it is still kept.
    pub(crate) fn get(&self, version: u64, now: Instant) -> Option<V> {
        let index = self.held.binary_search_by_key(&version, |(held, ..)| *held).ok()?;
        let (_, at, view) = &self.held[index];
        (now.saturating_since(*at) <= VIEW_AGE).then(|| view.clone())
    }

    /// Versions kept.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }
}
