//! The primary's side of its lease (L2, L5): renew in time, and know when to stop answering.
//!
//! A manager that was too slow to renew may still do so: as long as its record is the stored one,
//! nobody took over, and a successful write proves it. Between its end and that proof it answers
//! nothing.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use engine_types::{Instant, reached};

use super::record::{LeaseConflict, PrimaryLease, Term};
use super::{LeaseTimes, Taking};

/// A lease record to write, and what must be stored for it to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseWrite {
    /// The new record.
    pub record: PrimaryLease,
    /// The clock before the transaction began. Counting starts here.
    pub sent: Instant,
}

impl LeaseWrite {
    /// The check to make inside the transaction, on the record that it reads.
    ///
    /// # Errors
    /// When the record must not be written.
    pub fn check(&self, stored: Option<&PrimaryLease>) -> Result<(), LeaseConflict> {
        self.record.check_tenure(stored)?;
        match stored {
            Some(stored) if self.record.sequence <= stored.sequence => {
                Err(self.record.passed_by(stored))
            }
            _ => Ok(()),
        }
    }
}

/// How the transaction that writes a lease record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteResult {
    /// It took effect.
    Committed,
    /// Its check failed: somebody else holds the lease.
    Refused,
    /// It took no effect, for another reason: a conflict, the KV is away.
    Failed,
    /// It may have taken effect, or may yet.
    Unknown,
}

/// What a primary may grant, and has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageLeases {
    /// D_s of the leases that may be granted now.
    pub lasts: Duration,
    /// From here on every lease that was granted until now, in this term or before, is over.
    pub until: Instant,
}

/// What a primary knows about its own lease.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The newest record that was begun to be written.
    pub(super) record: PrimaryLease,
    pub(super) times: LeaseTimes,
    /// End of validity; not valid at this instant.
    pub(super) until: Instant,
    /// The write under way.
    pub(super) pending: Option<LeaseWrite>,
    pub(super) begun: Instant,
    pub(super) took: Instant,
    pub(super) demotes_from: Instant,
    /// The longest D_s that predecessors announced; their leases run until `demotes_from`.
    pub(super) inherited: Duration,
    /// The longest D_s that was set in this term, and with it the longest that standbys were let
    /// grant.
    pub(super) longest: Duration,
    /// The D_s that the stored record names at least, whichever attempt it is of.
    pub(super) announced: Duration,
    /// The largest drift bound that was set in this term.
    pub(super) drift_ppm: u32,
    /// The one that predecessors announced. It counts until their leases are over and the times
    /// are known to be the cluster's.
    pub(super) inherited_ppm: u32,
    /// Whether `set_times` was called: before that, the times are what a standby had.
    pub(super) informed: bool,
    pub(super) over: bool,
}

impl Holder {
    /// The taking transaction has committed, or the stored record was read and is the taken one;
    /// `known` is the clock after that. Validity counts from before the transaction, but standbys
    /// granted leases by the former record until this one took its place (L5), so their end is
    /// counted from behind it.
    pub fn taken(taking: Taking, times: LeaseTimes, known: Instant) -> Self {
        let Taking { record, expected, sent } = taking;
        let inherited = expected.map(|expected| (expected.storage, expected.drift_ppm));
        let (inherited, inherited_ppm) = inherited.unwrap_or_default();
        let storage = inherited.max(record.storage);
        let stretched = times.drifting(record.drift_ppm).stretched(storage);
        Self {
            inherited,
            longest: times.storage().max(record.standby),
            announced: record.storage,
            until: sent + record.primary,
            pending: None,
            begun: sent,
            took: sent,
            demotes_from: known.max(sent) + stretched,
            drift_ppm: times.drift_ppm(),
            inherited_ppm,
            informed: false,
            over: false,
            record,
            times,
        }
    }

    /// The newest record that it began to write.
    pub const fn record(&self) -> &PrimaryLease {
        &self.record
    }

    /// The term it holds or held.
    pub const fn term(&self) -> Term {
        self.record.term
    }

    /// Whether heartbeats may be answered and routing info be vouched for.
    pub fn valid(&self, now: Instant) -> bool {
        !self.over && now < self.until
    }

    /// The end of validity, if nothing is renewed.
    pub const fn valid_until(&self) -> Instant {
        self.until
    }

    /// Whether it has ended for good: released or superseded. A new term must be taken.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// When the lease was taken (T of L3).
    pub const fn took_at(&self) -> Instant {
        self.took
    }

    /// From here on nodes may be demoted or removed (L3): every lease of a predecessor is over.
    pub const fn demotes_from(&self) -> Instant {
        self.demotes_from
    }

    /// When the next renewal is due (L5).
    pub fn renewal_due(&self) -> Instant {
        self.begun + self.times.renewal_interval()
    }

    /// The times of the cluster, for the next record: to be called when its settings are known,
    /// before anything is granted, and when they change. Storage leases longer than before are
    /// granted only when [`storage`](Self::storage) says so, that is after a renewal has announced
    /// them.
    pub fn set_times(&mut self, times: LeaseTimes) {
        self.times = times;
        self.longest = self.longest.max(times.storage());
        self.drift_ppm = self.drift_ppm.max(times.drift_ppm());
        self.informed = true;
    }

    /// By how much clocks may differ, for waits at `now` and for the record that is written then.
    fn drift_ppm(&self, now: Instant) -> u32 {
        if self.informed && self.demotes_from <= now {
            return self.drift_ppm;
        }
        self.drift_ppm.max(self.inherited_ppm)
    }

    /// D_s of the leases that may be granted now: what is set, or less while the record that
    /// announces more is not known to be stored.
    pub fn storage(&self) -> Duration {
        self.times.storage().min(self.announced)
    }

    /// What may be granted at `now`, and until when a lease may be in force. The one source of both
    /// for those who grant: heartbeats are answered with `lasts`, and records that are loaded at
    /// `now`, within the term too, are waited for until `until`.
    pub fn storage_leases(&self, now: Instant) -> StorageLeases {
        // Leases granted before this moment, by standbys too, answer heartbeats received before it
        // (E288); none is longer than the longest of this term, and those of predecessors end at
        // `demotes_from`.
        let longest = self.times.drifting(self.drift_ppm(now)).stretched(self.longest);
        let until = self.demotes_from.max(now + longest);
        StorageLeases { lasts: self.storage(), until }
    }

    /// Starts a renewal; `now` is read before. A renewal under way is given up: its result is of no
    /// interest any more. Nothing once it is over.
    pub fn begin_renewal(&mut self, now: Instant) -> Option<LeaseWrite> {
        if self.over {
            return None;
        }
        let write = self.begin_write(now, false);
        self.pending = Some(write.clone());
        Some(write)
    }

    /// Ends the tenure and hands it to whoever takes it: from this call on nothing is valid,
    /// whether or not the record reaches the KV. It may be called again when the write failed.
    pub fn begin_release(&mut self, now: Instant) -> LeaseWrite {
        self.over = true;
        self.pending = None;
        self.begin_write(now, true)
    }

    fn begin_write(&mut self, now: Instant, released: bool) -> LeaseWrite {
        let next = self.record.sequence.checked_add(1);
        let mut record = self.record.clone();
        record.sequence = next.expect("E285: a renewal takes milliseconds, 2^64 do not pass");
        record.released = released;
        record.primary = self.times.primary();
        // Leases of predecessors are over some time; those of this term are not told apart.
        let inherited = if now < self.demotes_from { self.inherited } else { Duration::ZERO };
        record.storage = self.longest.max(inherited);
        record.standby = self.times.storage();
        record.drift_ppm = self.drift_ppm(now);
        assert!(record.standby <= record.storage, "L5: standbys grant what is announced");
        // E286: whoever reads this record waits for these lengths only.
        self.until = self.until.min(now + record.primary);
        self.announced = self.announced.min(record.storage);
        self.begun = now;
        // Attempts are numbered whatever becomes of them (E285). What a record announces holds
        // once it is stored.
        self.record.sequence = record.sequence;
        LeaseWrite { record, sent: now }
    }

    /// A renewal has ended. Only a certain success prolongs (an unknown result does not), and it
    /// counts from the sending. Results of renewals that were given up, or of a former term, are
    /// left alone.
    pub fn renewed(&mut self, write: &LeaseWrite, result: WriteResult) {
        let Some(pending) = self.pending.take_if(|pending| pending == write) else {
            reached!("E286: the result of a renewal that was given up");
            return;
        };
        match result {
            WriteResult::Committed => {
                self.until = self.until.max(pending.sent + pending.record.primary);
                self.announced = pending.record.storage;
                // Addresses set while it was under way are of the next record.
                let addresses = core::mem::take(&mut self.record.holder.addresses);
                self.record = pending.record;
                self.record.holder.addresses = addresses;
            }
            WriteResult::Refused => self.step_down(),
            WriteResult::Unknown => reached!("E286: a renewal with unknown result"),
            WriteResult::Failed => {}
        }
    }

    /// Nothing is valid from here on: the lease was seen with another holder, or the manager has
    /// reason to distrust itself.
    pub fn step_down(&mut self) {
        self.over = true;
        self.pending = None;
    }

    /// The check that every writing transaction of a primary makes on the lease record it reads:
    /// no clock is involved, the transaction conflicts with a takeover. It conflicts with a renewal
    /// too: a manager that does not know the result of a transaction renews its lease, after which
    /// the transaction cannot take effect any more, and reads what is stored.
    ///
    /// # Errors
    /// When another tenure is stored or this one has ended.
    pub fn guard(&self, stored: Option<&PrimaryLease>) -> Result<(), LeaseConflict> {
        self.record.check_tenure(stored)
    }

    /// Where it is reached, from the next renewal on.
    pub fn set_addresses(&mut self, addresses: Vec<String>) {
        self.record.holder.addresses = addresses;
    }
}

#[cfg(test)]
mod tests;
