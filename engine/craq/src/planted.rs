//! Bugs that tests plant, to show that the model world finds them: each takes one step of a rule
//! away. Outside tests none can hold.

/// One step that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// R1: the tail commits without the trailer.
    TailIgnoresTrailer,
    /// R1: the trailer is passed on before the own record is durable.
    TrailerBeforeDurable,
    /// R2: a version counts as pending only when it is durable.
    MarkedLate,
    /// R3: what arrived of an aborted stream is stored.
    AbortedStreamStored,
    /// R4, R5: reads are served without a look at the lease.
    ReadWithoutLease,
    /// R5: a start inherits the standing of the former one.
    StartInherits,
    /// R6: a new dialogue does not walk the pendings.
    PendingsNotWalked,
    /// R6: pendings survive the entry into SYNCING.
    PendingsKept,
    /// R7: messages of any chain version count, whoever sends them.
    AnyChainVersion,
    /// R7: work that was admitted goes on after the replica was out.
    WorkKept,
    /// R8: the tail commits without a lease.
    CommitWithoutLease,
    /// R8: version queries are answered without a lease.
    AnswerWithoutLease,
    /// R9: a pending version is no reason to ask.
    NeverAsk,
    /// R9: the answer counts although the chunk has changed since.
    StaleAnswerCounts,
    /// R14: what was done is done again.
    RepeatedExecuted,
    /// R14, R16: a repeated request is answered while its version is pending.
    PendingAnswered,
    /// R17: an abort stays at the head.
    AbortNotSent,
    /// R17: an abort is not journaled.
    AbortNotJournaled,
    /// L6: revoked sessions are admitted.
    RevokedAdmitted,
    /// R4 (of the manager): a demotion is published at once.
    PublishedAtOnce,
    /// R10 (of the manager): anybody may restart a chain.
    RestartedByAnybody,
    /// R15 (of the store): only the head remembers what was done.
    RecordAtHeadAlone,
}

#[cfg(test)]
impl Bug {
    /// All, with the number of worlds within which each is found.
    pub(crate) const ALL: &[(Self, u64)] = &[
        (Self::TailIgnoresTrailer, 400),
        (Self::TrailerBeforeDurable, 400),
        (Self::MarkedLate, 400),
        (Self::AbortedStreamStored, 400),
        (Self::ReadWithoutLease, 400),
        (Self::StartInherits, 400),
        (Self::PendingsNotWalked, 400),
        (Self::PendingsKept, 400),
        (Self::AnyChainVersion, 400),
        (Self::WorkKept, 400),
        (Self::CommitWithoutLease, 400),
        (Self::AnswerWithoutLease, 400),
        (Self::NeverAsk, 400),
        (Self::StaleAnswerCounts, 400),
        (Self::RepeatedExecuted, 400),
        (Self::PendingAnswered, 400),
        (Self::AbortNotSent, 400),
        (Self::AbortNotJournaled, 400),
        (Self::PublishedAtOnce, 400),
        (Self::RestartedByAnybody, 400),
        (Self::RecordAtHeadAlone, 400),
    ];
}
