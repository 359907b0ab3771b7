//! Decides the order of commits: which conflict, at which version, in which group. Pure.
//!
//! Owner: the one task of a store that commits ([`embedded`](crate::embedded)). The engine applies
//! what is decided here, one group after the other.
//!
//! Requests of one group are judged one after the other, each against the writes of those before
//! it: they all carry read versions below the group's, so two that read what the other writes
//! cannot both pass (E200).

use core::time::Duration;

use engine_types::Instant;

use crate::api::{Committed, Versionstamp};
use crate::conflict::Conflicts;
use crate::engine::Batch;
use crate::error::KvError;
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_COMMITS_MAX, CONFLICT_BYTES_MAX, CONFLICT_ENTRIES_MAX,
    TRANSACTION_AGE_MAX,
};
use crate::mutation::Mutation;
use crate::source::CommitRequest;

#[cfg(test)]
mod tests;

/// What is remembered beyond the age of a transaction: a commit may have been under way for a
/// while when it is judged, as a group waits for the flush of the one before it.
const AGE_MARGIN: Duration = Duration::from_secs(1);

/// Order of commits.
pub struct Sequencer {
    conflicts: Conflicts,
    version: u64,
}

/// A group being formed.
#[derive(Debug)]
pub struct Group {
    batch: Batch,
    bytes: usize,
    commits: u16,
}

impl Sequencer {
    /// After the group of `version`; reads from before it commit nothing (E205).
    pub fn new(version: u64) -> Self {
        Self {
            conflicts: Conflicts::new(version, CONFLICT_ENTRIES_MAX, CONFLICT_BYTES_MAX),
            version,
        }
    }

    /// Version of the newest group that was formed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Keys and ranges remembered.
    pub fn remembered(&self) -> usize {
        self.conflicts.len()
    }

    /// Opens the next group.
    pub fn open_group(&mut self, now: Instant) -> Group {
        let oldest = now.saturating_sub(TRANSACTION_AGE_MAX + AGE_MARGIN);
        self.conflicts.forget(oldest);
        self.version += 1;
        let batch = Batch { version: self.version, mutations: Vec::new() };
        Group { batch, bytes: 0, commits: 0 }
    }

    /// Takes a request into `group`, the newest, or refuses it. What it answers counts once the
    /// group is durable.
    ///
    /// # Errors
    /// [`KvError::Conflict`] and [`KvError::TooOld`]; what [`CommitRequest::check`] finds.
    pub fn admit(
        &mut self,
        group: &mut Group,
        request: CommitRequest,
        now: Instant,
    ) -> Result<Committed, KvError> {
        assert_eq!(group.batch.version, self.version, "only the newest group is open");
        request.check()?;
        if let Some(version) = request.read_version.filter(|_| !request.read_conflicts.is_empty()) {
            if version < self.conflicts.floor() {
                return Err(KvError::TooOld);
            }
            if self.version <= version {
                let reason = format!("read version {version} was never handed out");
                return Err(KvError::Failed { reason });
            }
            let mut read = request.read_conflicts.iter();
            if read.any(|range| self.conflicts.written_since(range, version)) {
                return Err(KvError::Conflict);
            }
        }
        let stamp = Versionstamp::new(self.version, group.commits);
        group.bytes += request.size();
        group.commits += 1;
        for range in &request.write_conflicts {
            self.conflicts.add(range, self.version, now);
        }
        for mut mutation in request.mutations {
            mutation.stamp(stamp.0);
            self.conflicts.add(&mutation.written(), self.version, now);
            group.batch.mutations.push(mutation);
        }
        Ok(Committed { version: self.version, stamp: Some(stamp) })
    }
}

impl Group {
    /// Whether a request of `bytes` still fits. An empty group takes any.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.commits == 0
            || usize::from(self.commits) < BATCH_COMMITS_MAX
                && self.bytes + bytes <= BATCH_BYTES_MAX
    }

    /// Commits in it.
    pub fn commits(&self) -> usize {
        usize::from(self.commits)
    }

    /// What the engine has to apply.
    pub fn into_batch(self) -> Batch {
        assert!(
            !self.batch.mutations.iter().any(|write| matches!(
                write,
                Mutation::StampedKey { .. } | Mutation::StampedValue { .. }
            )),
            "E203: stamps are resolved before the engine sees them"
        );
        self.batch
    }
}
