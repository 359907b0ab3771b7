//! The arithmetic of leases: who may act as manager, and which replica may serve (L1-L5, R4, R8).
//!
//! Everything here is told the time of *one* clock, the monotonic clock of the process it runs in
//! (suspend included, R8). No reading of one process is ever compared with that of another; only
//! lengths are, and the one assumption is about lengths:
//!
//!   **Drift.** While one clock advances by `a`, any other advances by at least `a / (1 + e)`, for
//!   stretches as long as a lease; the cutting of readings to whole nanoseconds is part of `e`.
//!
//! `stretched(d) = d * (1 + e)`, rounded up. Hence, in real time and whatever the two clocks show:
//!
//!   (1) if A starts to count `d` not later than B starts to count `stretched(d)`, A has ended when
//!       B ends.
//!
//! **One primary (L2, E287).** A holder is valid until `sent + D_p` on its clock, where `sent` was
//! read before the transaction that wrote the record began. An observer reads the clock after the
//! record was read and counts `stretched(D_p)`. Writing lies before reading, so (1) applies: at the
//! end the holder is not valid by this record. It is not by an older one either, because beginning
//! to write a record cuts validity down to what that record says (E286). A newer one does not
//! exist if the taking transaction succeeds: it names the observed record, and no record is ever
//! written twice (E285), so "the same" means "nothing was written since". Should the holder's
//! renewal come first, the taking fails, and the other way round: they conflict in the KV.
//! Pauses between any two steps only make `sent` older or the observer later.
//!
//! **Storage leases (L1, E288).** A node counts `D_s` from before it sent the heartbeat; the
//! primary counts `stretched(D_s)` from its receipt, later. By (1) the node's lease has ended when
//! the primary's count ends. Late, doubled and reordered answers change nothing: an answer names
//! the sending that it answers.
//!
//! **Takeover (L3).** Every lease that a predecessor granted answers a heartbeat which was received
//! while the predecessor was valid, so sent before its successor began to take. Those that standbys
//! granted by its record (`standby`) answer heartbeats received before the successor's record took
//! its place, so before the successor knew that it had. It counts `stretched(D_s)` from there: by
//! (1) all of them have ended. `D_s` is what the record of
//! the predecessor announces, so that managers with different settings cannot misjudge each other:
//! no longer lease is granted than the stored record is known to announce, and a term announces
//! what it took over until those leases have ended, for it may be shorter than they are.
//!
//! **Whose drift bound.** Managers may know different values of `e`: it is a setting, which a
//! standby has not read. So each record says the bound that its holder counts with, and whoever
//! waits for what stands on a record takes the larger of that and his own. A holder writes the
//! largest bound of its term, as what was granted by it is not told apart, and goes on writing what
//! its predecessors announced until their leases have ended *and* it was told the cluster's own: a
//! manager that has not read the settings knows only the default. A raised bound is thus relied on
//! (clocks that need it may join) when a record has announced it and what was granted before has
//! run out; a lowered one when the operator, who vouches for the clocks, sets it.
//!
//! **Planned handover.** The primary ends itself, then writes its record with `released`; whoever
//! reads that may take at once, for the holder is not valid any more. No storage lease is harmed:
//! they run on, nodes renew them with the successor, and the successor obeys L3. The other
//! way, to hand over who was granted what so that it need not wait, was not taken: it would save
//! two seconds for nodes that die during a handover, and a grant missing in it would be a replica
//! that serves stale data.
//!
//! Invariants
//!   E285  no two written records are equal: `(term, sequence)` ascends with every attempt
//!   E286  a holder is valid at most `D_p` from the sending of the last record it began to write
//!   E287  at no instant two holders are valid
//!   E288  a storage lease ends on its node before the primary's clock shows `granted_until`
//!   E289  a node that gave a chain version up, or dropped its lease, has none any more by answers
//!         to heartbeats that it sent before, whenever they arrive
//!   E290  a node whose clock leaves the drift bound is found; one within a sixth of it never is
//!
//! Crash: a restarted process has another incarnation and starts with nothing; holder, observer and
//! leases are memory only.

mod clock;
mod holder;
mod observer;
mod record;
mod storage;

pub use clock::{CLOCK_BLOCKS, CLOCK_JITTER, ClockCheck, ClockVerdict, own_clock_is_suspect};
pub use holder::{Holder, LeaseWrite, StorageLeases, WriteResult};
pub use observer::{Observer, STANDBY_AFTER_QUARTERS, Taking, TooEarly};
pub use record::{ADDRESS_BYTES_MAX, Contact, LeaseConflict, PrimaryLease, Term};
pub use storage::{Grant, GrantOutcome, STORAGE_LEASE_MAX, StorageLease};

use core::time::Duration;

use engine_types::Instant;

/// Shortest interval of heartbeats: 16,384 nodes then send 160,000 a second, what one manager can
/// read at most.
pub const BEAT_MIN: Duration = Duration::from_millis(100);
/// Longest interval of heartbeats: beyond it failover is no matter of seconds any more.
pub const BEAT_MAX: Duration = Duration::from_secs(10);
/// A storage lease covers this many beats at least, so that one lost heartbeat stops nobody.
pub const BEATS_PER_STORAGE_LEASE_MIN: u32 = 2;
/// Shortest lease of a primary (L5): a KV restart of several seconds must be invisible.
pub const PRIMARY_LEASE_MIN: Duration = Duration::from_secs(10);
/// Longest lease of a primary: a cluster whose primary died waits that long for its successor.
pub const PRIMARY_LEASE_MAX: Duration = Duration::from_secs(300);
/// Shortest lease of a primary in tests that start processes; nothing but L5's patience with the
/// KV depends on the length.
pub const PRIMARY_LEASE_TEST_MIN: Duration = Duration::from_millis(200);
/// A primary renews this many times in its lease (L5).
pub const RENEWALS_PER_LEASE: u32 = 5;
/// Smallest drift bound: the kernel slews by 500 ppm, the crystal is off by 50, both ways.
pub const DRIFT_PPM_MIN: u32 = 1_100;
/// Largest drift bound: worse clocks are broken, and every wait grows with it.
pub const DRIFT_PPM_MAX: u32 = 100_000;

const MILLION: u128 = 1_000_000;

/// The lengths that a cluster agrees on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    beat: Duration,
    storage: Duration,
    primary: Duration,
    drift_ppm: u32,
}

/// Times that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseTimesError {
    /// Too frequent or too rare heartbeats.
    #[error("heartbeat interval: found {found:?}, expected {min:?} to {max:?}")]
    Beat {
        /// Asked for.
        found: Duration,
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// One lost heartbeat would stop a node, or a dead one would be trusted for minutes.
    #[error("storage lease: found {found:?}, expected {min:?} (two heartbeats) to {max:?}")]
    Storage {
        /// Asked for.
        found: Duration,
        /// Two beats.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// A KV restart would depose the primary, or its death would stop the cluster for minutes.
    #[error("primary lease: found {found:?}, expected {min:?} to {max:?}")]
    Primary {
        /// Asked for.
        found: Duration,
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// No clock is that good, or none is that bad.
    #[error("drift bound: found {found} ppm, expected {min} to {max} ppm")]
    Drift {
        /// Asked for, in parts per million.
        found: u32,
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl LeaseTimes {
    /// A dead node is out in 2.02 s and a transaction, a dead primary is replaced in 10.1 s (L4,
    /// L5); 1 % of drift is ten times what an undisturbed clock can be off.
    pub const DEFAULT: Self = Self {
        beat: Duration::from_secs(1),
        storage: Duration::from_secs(2),
        primary: Duration::from_secs(10),
        drift_ppm: 10_000,
    };

    /// Times of a cluster.
    ///
    /// # Errors
    /// The first time that is out of bounds.
    pub fn new(
        beat: Duration,
        storage: Duration,
        primary: Duration,
        drift_ppm: u32,
    ) -> Result<Self, LeaseTimesError> {
        Self::with_primary_min(PRIMARY_LEASE_MIN, Self { beat, storage, primary, drift_ppm })
    }

    /// The same with a primary lease that may be short, for tests that kill managers and do not
    /// want to wait ten seconds each time. Safe, but a restart of the KV deposes the primary.
    ///
    /// # Errors
    /// The first time that is out of bounds.
    pub fn new_for_tests(
        beat: Duration,
        storage: Duration,
        primary: Duration,
        drift_ppm: u32,
    ) -> Result<Self, LeaseTimesError> {
        Self::with_primary_min(PRIMARY_LEASE_TEST_MIN, Self { beat, storage, primary, drift_ppm })
    }

    fn with_primary_min(min: Duration, times: Self) -> Result<Self, LeaseTimesError> {
        let Self { beat, storage, primary, drift_ppm } = times;
        if !(BEAT_MIN..=BEAT_MAX).contains(&beat) {
            return Err(LeaseTimesError::Beat { found: beat, min: BEAT_MIN, max: BEAT_MAX });
        }
        let beats = beat * BEATS_PER_STORAGE_LEASE_MIN;
        if !(beats..=STORAGE_LEASE_MAX).contains(&storage) {
            let max = STORAGE_LEASE_MAX;
            return Err(LeaseTimesError::Storage { found: storage, min: beats, max });
        }
        if !(min..=PRIMARY_LEASE_MAX).contains(&primary) {
            let max = PRIMARY_LEASE_MAX;
            return Err(LeaseTimesError::Primary { found: primary, min, max });
        }
        if !(DRIFT_PPM_MIN..=DRIFT_PPM_MAX).contains(&drift_ppm) {
            let (min, max) = (DRIFT_PPM_MIN, DRIFT_PPM_MAX);
            return Err(LeaseTimesError::Drift { found: drift_ppm, min, max });
        }
        Ok(times)
    }

    /// Between two heartbeats of a node.
    pub const fn beat(&self) -> Duration {
        self.beat
    }

    /// D_s: how long a replica may serve after it sent the heartbeat that was answered.
    pub const fn storage(&self) -> Duration {
        self.storage
    }

    /// D_p: how long a primary may answer after it began to write its record.
    pub const fn primary(&self) -> Duration {
        self.primary
    }

    /// e: by how much one clock may run faster than another, in parts per million.
    pub const fn drift_ppm(&self) -> u32 {
        self.drift_ppm
    }

    /// `length * (1 + e)`, rounded up: counted on one clock, it is over when `length` is over on
    /// any other that started to count no later.
    pub fn stretched(&self, length: Duration) -> Duration {
        let factor = MILLION + u128::from(self.drift_ppm);
        let nanos = length.as_nanos().saturating_mul(factor).div_ceil(MILLION);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The same times on clocks that differ by `drift_ppm`, if that is more: for counting what
    /// stands on the record of a manager with another setting.
    #[must_use]
    pub(crate) fn drifting(mut self, drift_ppm: u32) -> Self {
        self.drift_ppm = self.drift_ppm.max(drift_ppm);
        self
    }

    /// When a lease that answers a heartbeat received at `received` is over for certain, on the
    /// clock that `received` was read from (E288). The same instant says that its node is dead
    /// (L4), if no later heartbeat was received.
    pub fn granted_until(&self, received: Instant) -> Instant {
        received + self.stretched(self.storage)
    }

    /// Between two renewals of the primary's lease (L5).
    pub fn renewal_interval(&self) -> Duration {
        self.primary / RENEWALS_PER_LEASE
    }
}

const _: () = assert!(BEAT_MIN.as_nanos() <= BEAT_MAX.as_nanos());
const _: () = assert!(2 * BEAT_MAX.as_nanos() <= STORAGE_LEASE_MAX.as_nanos());
const _: () = assert!(PRIMARY_LEASE_TEST_MIN.as_nanos() < PRIMARY_LEASE_MIN.as_nanos());

#[cfg(test)]
mod tests;
