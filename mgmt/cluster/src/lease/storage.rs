//! A replica's lease, on its node (L1, R4, R5, R8).
//!
//! The node keeps one per target and asks `serves` at admission, at the tail's commit, when a read
//! picks its version and when a version query is answered. Each grant stands for itself: it names
//! target, incarnation and chain version, and ends a fixed time after the heartbeat that it answers
//! was sent. So the order of answers decides how long a replica serves, never whether it may.

use core::time::Duration;

use engine_types::{ChainVersion, Incarnation, Instant, TargetId, reached};

/// Longest storage lease: a dead replica stops writes to its chain for that long.
pub const STORAGE_LEASE_MAX: Duration = Duration::from_secs(60);

/// A lease as the answer to a heartbeat carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who may serve.
    pub target: TargetId,
    /// In which start of its store (R5).
    pub incarnation: Incarnation,
    /// Which version of its chain (R4).
    pub version: ChainVersion,
    /// When the heartbeat was sent, on the node's clock: echoed by the manager.
    pub sent: Instant,
    /// D_s: counted from `sent`.
    pub lasts: Duration,
}

/// What became of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantOutcome {
    /// The lease lasts longer now, or is of a newer chain version.
    Extended,
    /// It answers an older heartbeat than the lease in force: harmless, of no use.
    Older,
    /// It is of a chain version that was given up (R4), or left behind.
    OldVersion,
    /// It answers a heartbeat that was sent before the lease was dropped: the manager may have been
    /// told since that the target is offline, and count on it.
    Dropped,
    /// It belongs to another target or start.
    Foreign,
    /// The echo is later than the clock, or it lasts too long: the peer made it up.
    Nonsense,
}

/// The lease of one target in one start of its store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageLease {
    pub(super) target: TargetId,
    pub(super) incarnation: Incarnation,
    pub(super) version: ChainVersion,
    /// End of the lease; not valid at this instant.
    pub(super) until: Instant,
    /// When the lease was dropped last: answers to heartbeats sent by then count for nothing.
    pub(super) dropped: Option<Instant>,
}

impl StorageLease {
    /// A store has started: nothing was granted to this start.
    pub fn new(target: TargetId, incarnation: Incarnation) -> Self {
        let (version, until) = (ChainVersion::default(), Instant::ZERO);
        Self { target, incarnation, version, until, dropped: None }
    }

    /// An answer arrived.
    pub fn granted(&mut self, now: Instant, grant: Grant) -> GrantOutcome {
        let Grant { target, incarnation, version, sent, lasts } = grant;
        if (target, incarnation) != (self.target, self.incarnation) {
            return GrantOutcome::Foreign;
        }
        if now < sent || STORAGE_LEASE_MAX < lasts {
            return GrantOutcome::Nonsense;
        }
        if version < self.version {
            reached!("E289: a grant of a chain version that was given up");
            return GrantOutcome::OldVersion;
        }
        if self.dropped.is_some_and(|dropped| sent <= dropped) {
            reached!("E289: a late answer to a heartbeat sent before the lease was dropped");
            return GrantOutcome::Dropped;
        }
        let until = sent + lasts;
        if version == self.version && until <= self.until {
            return GrantOutcome::Older;
        }
        self.version = version;
        self.until = until;
        GrantOutcome::Extended
    }

    /// The node gives up every chain version before `version` (E289): it installed that one, and
    /// may now tell the manager so (R4). Requests of older versions that are in flight fail their
    /// next check.
    pub fn give_up_before(&mut self, version: ChainVersion) {
        if self.version < version {
            self.version = version;
            self.until = Instant::ZERO;
        }
    }

    /// The store has failed or stops: nothing is served until a heartbeat is answered that is sent
    /// later than `now` (E289). Only after this call the manager may be told that the target is
    /// offline; it takes that for the end of every lease, late answers included.
    pub fn drop_lease(&mut self, now: Instant) {
        self.until = Instant::ZERO;
        self.dropped = self.dropped.max(Some(now));
    }

    /// Whether the target may serve `version` of its chain.
    pub fn serves(&self, now: Instant, version: ChainVersion, incarnation: Incarnation) -> bool {
        incarnation == self.incarnation && version == self.version && now < self.until
    }

    /// The end of the lease, on the node's clock.
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// The chain version of the lease, or the oldest that one may be granted for.
    pub const fn version(&self) -> ChainVersion {
        self.version
    }
}

#[cfg(test)]
mod tests;
