//! A standby's side of the primary's lease (L2): when it may take over.
//!
//! Reads of the record may be rare, late or fail: they only delay. What must not happen is that
//! time is counted from before the record was read, for the holder may have begun to write it
//! after that.

use engine_types::{Instant, reached};

use super::record::{Contact, LeaseConflict, PrimaryLease, Term};
use super::{LeaseTimes, RENEWALS_PER_LEASE};

/// A standby renews storage leases when it saw the primary's record unchanged for so many quarters
/// of the renewal interval: 2.5 s with the defaults. A renewal is seen up to 0.2 s (a poll) and two
/// transactions later than the last one, and the leases of nodes should not run out before.
pub const STANDBY_AFTER_QUARTERS: u32 = 5;

/// A takeover that may be tried: the record to write and the one it replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taking {
    /// The record of the new term.
    pub record: PrimaryLease,
    /// What must be stored, to the last field; nothing in a new cluster.
    pub expected: Option<PrimaryLease>,
    /// The clock before the transaction began.
    pub sent: Instant,
}

impl Taking {
    /// The check to make inside the transaction, on the record that it reads.
    ///
    /// # Errors
    /// When another record is stored than the one that was observed.
    pub fn check(&self, stored: Option<&PrimaryLease>) -> Result<(), LeaseConflict> {
        if stored == self.expected.as_ref() {
            return Ok(());
        }
        let found = stored.map(|stored| (stored.term, stored.sequence));
        Err(LeaseConflict::Changed { found })
    }

    /// Settles an unknown result: whether a record read later is the one written here. Then the
    /// lease is held, counted from `sent`.
    pub fn is_stored(&self, stored: Option<&PrimaryLease>) -> bool {
        stored == Some(&self.record)
    }
}

/// The lease cannot be taken yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooEarly {
    /// The record was not read yet.
    #[error("the lease record was not read yet")]
    NotObserved,
    /// The holder may still be valid.
    #[error("{term} may be valid until {until} on this clock, now {now}")]
    MayBeValid {
        /// The holder's term.
        term: Term,
        /// When it is not any more.
        until: Instant,
        /// The clock.
        now: Instant,
    },
}

/// What a standby knows about the lease.
#[derive(Clone, Debug)]
pub struct Observer {
    pub(super) times: LeaseTimes,
    pub(super) seen: Option<Seen>,
}

#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) record: Option<PrimaryLease>,
    pub(super) since: Instant,
    pub(super) holder_ended: bool,
}

impl Observer {
    /// Nothing was read yet.
    pub const fn new(times: LeaseTimes) -> Self {
        Self { times, seen: None }
    }

    /// Other times; the drift bound of the observed record counts if that is larger.
    pub const fn set_times(&mut self, times: LeaseTimes) {
        self.times = times;
    }

    /// The record was read; `now` is read from the clock *after* that.
    pub fn observe(&mut self, now: Instant, record: Option<PrimaryLease>) {
        if self.seen.as_ref().is_some_and(|seen| seen.record == record) {
            return;
        }
        self.seen = Some(Seen { record, since: now, holder_ended: false });
    }

    /// The record seen last.
    pub fn record(&self) -> Option<&PrimaryLease> {
        self.seen.as_ref()?.record.as_ref()
    }

    /// The process that holds the observed lease is known to have ended, for example because it was
    /// an earlier start of this one and the operating system gave its lock away. Without proof,
    /// silence means nothing: the process may be frozen.
    ///
    /// Nothing happens unless the observed holder is `node` in a start before `incarnation`.
    pub fn predecessor_ended(&mut self, me: &Contact) {
        let Some(seen) = &mut self.seen else { return };
        let holder = seen.record.as_ref().map(|record| &record.holder);
        seen.holder_ended |=
            holder.is_some_and(|old| old.node == me.node && old.incarnation < me.incarnation);
    }

    /// From when on the lease may be taken, if the record stays as it is; nothing before it was
    /// read for the first time.
    pub fn may_take_at(&self) -> Option<Instant> {
        let seen = self.seen.as_ref()?;
        Some(match &seen.record {
            Some(record) if !record.released && !seen.holder_ended => {
                // The holder counts what its record says, whatever is configured here. Its clock
                // may be off by what its settings allow, which a standby has not read.
                seen.since + self.times.drifting(record.drift_ppm).stretched(record.primary)
            }
            Some(_) => {
                reached!("L2: the holder has ended, nobody waits for its lease");
                seen.since
            }
            None => seen.since,
        })
    }

    /// The record that this standby renews storage leases by (L5), if the holder seems to be gone:
    /// a living one would have renewed it by now. That is a guess, and no lease stands on it; it
    /// keeps nodes that cannot reach a living primary from being kept in service behind its back. A
    /// holder that has released its record is gone, so nobody waits then.
    pub fn stands_in(&self, now: Instant) -> Option<&PrimaryLease> {
        let seen = self.seen.as_ref()?;
        let record = seen.record.as_ref()?;
        let renewal = record.primary / RENEWALS_PER_LEASE;
        let overdue = seen.since + renewal * STANDBY_AFTER_QUARTERS / 4 <= now;
        (overdue || record.released).then_some(record)
    }

    /// Starts to take the lease for `me`; `now` is read before.
    ///
    /// # Errors
    /// While another holder may be valid.
    pub fn begin_take(&self, now: Instant, me: Contact) -> Result<Taking, TooEarly> {
        let Some((seen, until)) = self.seen.as_ref().zip(self.may_take_at()) else {
            return Err(TooEarly::NotObserved);
        };
        let expected = seen.record.clone();
        let old = expected.as_ref().map_or(Term::default(), |record| record.term);
        // Leases of predecessors may outlive a term that ends at once: it hands their length on,
        // and what their clocks may be off by.
        let inherited = expected.as_ref().map(|record| (record.storage, record.drift_ppm));
        let (storage, drift_ppm) = inherited.unwrap_or_default();
        if now < until {
            return Err(TooEarly::MayBeValid { term: old, until, now });
        }
        let record = PrimaryLease {
            holder: me,
            term: old.next(),
            // E285: an attempt that was given up may take effect later. It must not pass for this
            // one, which counts from another sending; equal readings are equal sendings.
            sequence: now.nanos(),
            released: false,
            primary: self.times.primary(),
            storage: self.times.storage().max(storage),
            standby: self.times.storage(),
            drift_ppm: self.times.drift_ppm().max(drift_ppm),
        };
        Ok(Taking { record, expected, sent: now })
    }
}

#[cfg(test)]
mod tests;
