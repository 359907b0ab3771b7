//! Bugs that tests plant, to show that they would find them: each takes one step of a rule away.
//!
//! The model worlds of this crate plant them in one replica each. With the feature `planted` one
//! holds for the whole process, for worlds of the code that ships; builds without debug assertions
//! refuse the feature, so that no release can carry a bug.

#[cfg(feature = "planted")]
use core::sync::atomic::{AtomicUsize, Ordering};

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("planted bugs are refused by builds without debug assertions");

/// One step that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// R1: the tail commits without the trailer.
    TailIgnoresTrailer,
    /// R1: the trailer is passed on before the own record is durable.
    TrailerBeforeDurable,
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
    /// R9: a pending version is no reason to ask.
    NeverAsk,
    /// R9: the answer counts although the chunk has changed since.
    StaleAnswerCounts,
    /// R6: a new tail serves the version before one that the former tail may have committed.
    InheritedServed,
    /// R14: what was done is done again.
    RepeatedExecuted,
    /// R14, R16: a repeated request is answered while its version is pending.
    PendingAnswered,
    /// R17: an abort stays at the head.
    AbortNotSent,
    /// R17: an abort is not journaled.
    AbortNotJournaled,
    /// R12: the cursor passes a chunk with a version in flight.
    PassedInFlight,
    /// R15: remembered requests are not shipped a second time.
    NoLastOutcomes,
    /// R5 (of the node): the start of a store is not counted.
    StartNotCounted,
    /// R9 (of the node): reads show a version that is pending.
    PendingServed,
    /// R14 (of the node): records do not name their request.
    RequestNotRecorded,
    /// R15 (of the node): remembered requests are confirmed and not stored.
    OutcomesNotStored,
    /// R20 (of the node): a chain version is reported before it is durable.
    ReportedBeforeDurable,
    /// R1: who is not the tail commits as soon as it has passed the trailer on.
    CommittedBeforeTail,
    /// R6: who serves in a new chain version gives up what is durable and pending.
    PendingsGivenUp,
    /// R6: a new tail does not take up what is pending.
    NewTailWaits,
    /// R6: a pending removal is none after a restart (3FS brings the chunk back).
    RemovalForgotten,
    /// R11: a link lost after `SyncDone` ends the resync, and commits go on without the successor.
    DroppedAfterSyncDone,
    /// R12: updates do not flow to a successor that syncs.
    ResyncNotFollowed,
    /// R12: what the predecessor lacks stays at the successor.
    ExtraChunksKept,
    /// R13: a resync compares versions.
    DigestsIgnored,
    /// R14: a request older than the remembered one is done.
    OldExecuted,
    /// R15: requests do not travel down the chain.
    RequestNotForwarded,
    /// R18: the head looks at its own room alone, and keeps no reserve.
    ReserveNotKept,
    /// R19: a greater version at the successor is taken for a newer one.
    GreaterVersionWins,
    /// L6: requests of a revoked session are admitted.
    FencedAdmitted,
    /// L1 (of the node): a lease counts from the arrival of its answer.
    LeaseFromReceipt,
    /// R4 (of the node): a lease of one chain version counts for the next.
    LeaseOfAnyVersion,
    /// R10 (of the node): a damaged store says that it is whole.
    DamageHidden,
    /// R11 (of the node): "up to date" of a former chain version is repeated in a newer one.
    UpToDateRepeated,
    /// L6 (of the node): a revocation is confirmed before what was admitted has ended.
    FenceNotAwaited,
    /// R3 (of a link): requests are taken in as they arrive (E360).
    TurnNotKept,
    /// R3 (of a link): a link goes on although a request was lost (E367).
    LinkContinued,
    /// W3 (of a link): credit for bytes does not return.
    CreditKept,
    /// R14 (of the client): each attempt has a number of its own (E372).
    RetriedAnew,
    /// R14 (of the client): an abandoned update is not overtaken (E373).
    NotOvertaken,
    /// R17 (of the client): an update that may have happened is called one that has not.
    UnknownCalledFailed,
    /// R4 (of the manager): a demotion is published at once.
    #[cfg(test)]
    PublishedAtOnce,
    /// R10 (of the manager): anybody may restart a chain.
    #[cfg(test)]
    RestartedByAnybody,
    /// R15 (of the store): only the head remembers what was done.
    #[cfg(test)]
    RecordAtHeadAlone,
}

/// The bug that holds for the process, as its number and one; 0 is none.
#[cfg(feature = "planted")]
static PLANTED: AtomicUsize = AtomicUsize::new(0);

/// Plants a bug, or none, for the whole process.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as usize + 1), Ordering::Relaxed);
}

/// Whether this bug holds for the whole process.
#[cfg(feature = "planted")]
pub fn is(bug: Bug) -> bool {
    PLANTED.load(Ordering::Relaxed) == bug as usize + 1
}

/// Whether this bug holds for the whole process: it cannot.
#[cfg(not(feature = "planted"))]
pub const fn is(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
impl Bug {
    /// Those that hold in the code that ships.
    pub const SHIPPED: &[Self] = &[
        Self::TailIgnoresTrailer,
        Self::TrailerBeforeDurable,
        Self::AbortedStreamStored,
        Self::ReadWithoutLease,
        Self::StartInherits,
        Self::PendingsNotWalked,
        Self::PendingsKept,
        Self::AnyChainVersion,
        Self::NeverAsk,
        Self::StaleAnswerCounts,
        Self::InheritedServed,
        Self::RepeatedExecuted,
        Self::PendingAnswered,
        Self::AbortNotSent,
        Self::AbortNotJournaled,
        Self::PassedInFlight,
        Self::NoLastOutcomes,
        Self::StartNotCounted,
        Self::PendingServed,
        Self::RequestNotRecorded,
        Self::OutcomesNotStored,
        Self::ReportedBeforeDurable,
        Self::CommittedBeforeTail,
        Self::PendingsGivenUp,
        Self::NewTailWaits,
        Self::RemovalForgotten,
        Self::DroppedAfterSyncDone,
        Self::ResyncNotFollowed,
        Self::ExtraChunksKept,
        Self::DigestsIgnored,
        Self::OldExecuted,
        Self::RequestNotForwarded,
        Self::ReserveNotKept,
        Self::GreaterVersionWins,
        Self::FencedAdmitted,
        Self::LeaseFromReceipt,
        Self::LeaseOfAnyVersion,
        Self::DamageHidden,
        Self::UpToDateRepeated,
        Self::FenceNotAwaited,
        Self::TurnNotKept,
        Self::LinkContinued,
        Self::CreditKept,
        Self::RetriedAnew,
        Self::NotOvertaken,
        Self::UnknownCalledFailed,
    ];
}

#[cfg(test)]
impl Bug {
    /// All, with the number of worlds within which each is found.
    pub(crate) const ALL: &[(Self, u64)] = &[
        (Self::TailIgnoresTrailer, 20),
        (Self::TrailerBeforeDurable, 20),
        (Self::AbortedStreamStored, 20),
        (Self::ReadWithoutLease, 100),
        (Self::StartInherits, 100),
        (Self::PendingsNotWalked, 20),
        (Self::PendingsKept, 1000),
        (Self::AnyChainVersion, 1000),
        (Self::NeverAsk, 50),
        (Self::StaleAnswerCounts, 200),
        (Self::RepeatedExecuted, 20),
        (Self::PendingAnswered, 20),
        (Self::AbortNotSent, 20),
        (Self::AbortNotJournaled, 20),
        (Self::NoLastOutcomes, 500),
        (Self::CommittedBeforeTail, 20),
        (Self::PendingsGivenUp, 20),
        (Self::ResyncNotFollowed, 20),
        (Self::ExtraChunksKept, 20),
        (Self::DigestsIgnored, 100),
        (Self::GreaterVersionWins, 20),
        (Self::PublishedAtOnce, 1000),
        (Self::RestartedByAnybody, 100),
        (Self::RecordAtHeadAlone, 100),
    ];

    /// Those that take more worlds than each run of the tests can afford.
    pub(crate) const RARE: &[(Self, u64)] = &[
        (Self::DroppedAfterSyncDone, 5_000),
        (Self::InheritedServed, 10_000),
        (Self::PassedInFlight, 20_000),
    ];
}
