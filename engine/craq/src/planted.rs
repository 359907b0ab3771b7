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
}
