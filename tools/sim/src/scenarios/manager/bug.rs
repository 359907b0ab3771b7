//! Mistakes that a test plants into model nodes: the checks have to find each of them.

/// What a node does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// It uses a lease for a while after its end.
    LeaseAfterEnd,
    /// It serves the version of its lease, although it has installed a later one.
    OldVersion,
    /// It says that a syncing target is up to date before the data is copied.
    EarlyUpToDate,
    /// It says that a target is offline, and goes on to use its lease.
    LeaseKeptOffline,
    /// It counts a lease from the answer instead of from the sending of the heartbeat.
    LeaseFromAnswer,
    /// A store that starts again says that it did not.
    StartForgotten,
    /// It says that it has drained what it still works on.
    DrainedTooEarly,
    /// It admits what is revoked in the routing info that it follows.
    RevokedAdmitted,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::LeaseAfterEnd,
        Self::OldVersion,
        Self::EarlyUpToDate,
        Self::LeaseKeptOffline,
        Self::LeaseFromAnswer,
        Self::StartForgotten,
        Self::DrainedTooEarly,
        Self::RevokedAdmitted,
    ];
}
