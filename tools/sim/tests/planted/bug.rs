//! The planted bugs: each removes or reorders one step of the store that these tests carry.

/// One step that is missing or comes too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A record is taken for durable when its write has completed: the flush is missing.
    MissingFlush,
    /// The primary answers while its own write and the replica's are still under way.
    AckBeforeDurable,
    /// The primary answers when its own record is durable, the replica's is under way.
    AckBeforeReplication,
    /// A retry is executed again: nobody looks for the request in the table of those done.
    DoubleApply,
    /// The table of requests done is not rebuilt from the log after a restart or failover.
    VolatileDedup,
    /// A client takes whichever answer comes, also that to its request before.
    StaleReply,
    /// A write that takes too long is given up, and its place in the log is used again while it
    /// may still land.
    PlaceReusedBeforeCompletion,
    /// The lease is judged by the time of day of two machines, which differ.
    LeaseByWallClock,
    /// Reads are answered without looking at the lease.
    ReadWithoutLease,
    /// Recovery takes the last record without looking at its checksum.
    TornTailTaken,
    /// The arbiter makes a replica primary that was excluded before.
    ExcludedElected,
}

impl Bug {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::MissingFlush,
        Self::AckBeforeDurable,
        Self::AckBeforeReplication,
        Self::DoubleApply,
        Self::VolatileDedup,
        Self::StaleReply,
        Self::PlaceReusedBeforeCompletion,
        Self::LeaseByWallClock,
        Self::ReadWithoutLease,
        Self::TornTailTaken,
        Self::ExcludedElected,
    ];
}
