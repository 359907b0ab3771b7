//! Bugs that tests plant, to show that they would find them: each takes one step of a rule away.
//!
//! `planted!(Name)` stands where the step is. Without the feature `planted` it is a constant
//! `false`, and nothing of this is compiled in; builds without debug assertions refuse the feature,
//! so that no release can carry a bug. One bug at a time holds for the whole process.

#[cfg(feature = "planted")]
use core::sync::atomic::{AtomicUsize, Ordering};

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("planted bugs are refused by builds without debug assertions");

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One step that is missing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug { $($(#[$doc])* $name,)* }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

bugs! {
    /// S1: a block is free as soon as a group is durable, whichever dropped it.
    FreedBeforeDurable,
    /// S2: a sector that the committed version names in part is written in place.
    PartialSectorInPlace,
    /// S3: an image is released when its home write has ended, flushed or not.
    ReleasedBeforeFlush,
    /// S4: an image goes home while reads of the version before are under way.
    AppliedUnderReads,
    /// S4: a block is free while reads of it are under way.
    FreedUnderReads,
    /// S5: a moved chunk is published while its copies are under way.
    MovedBeforeCopied,
    /// S6: recovery keeps images of sectors that a later version wrote, cut off or made a hole.
    BlindRedo,
    /// S7: a group is taken by its number alone, whatever it follows and whenever it was written.
    GhostsTaken,
    /// S8: the end of the chain is always taken for a torn tail.
    RotTakenForTornTail,
    /// S9: pending versions are not logged again.
    NotLoggedAgain,
    /// S9, S20: targets live in the journal alone.
    TargetsNotDumped,
    /// S9: fences live in the journal alone.
    FencesNotDumped,
    /// S9: requests live in the journal alone.
    RequestsNotDumped,
    /// S10: commits never ride in a group.
    CommitsNotLogged,
    /// S11: callers are told before the flush.
    ToldBeforeFlush,
    /// S11: the flush does not wait for the data.
    DataNotAwaited,
    /// S11: the data of the last group is not looked at.
    LastGroupNotVerified,
    /// S12: what recovery could bring back is not spared by writes in place.
    InPlaceOverUndurable,
    /// S13: the old end is not completed with zeros.
    GapNotZeroed,
    /// S14: checksums are not bound to their place.
    ChecksumNotBound,
    /// S15: the scrubber looks at home blocks without their images.
    ScrubIgnoresImages,
    /// S16: merges trust what they read.
    MergeNotVerified,
    /// S17: records are stored without end.
    RecordsUnbounded,
    /// S19: blocks grow from class to class.
    GrowsByClasses,
    /// R15: a replayed commit forgets its request.
    RequestNotReplayed,
    /// R17: aborts are not logged.
    AbortsNotLogged,
    /// S-a: blocks of an aborted version are nobody's.
    AbortKeepsBlocks,
    /// S-b: an image goes home before its commit is durable.
    AppliedBeforeDurable,
    /// S-d: a superblock names a checkpoint that was not flushed.
    CheckpointNotFlushed,
    /// S-d: the tail of the ring passes images that are not home.
    TailPassesImages,
}

/// The bug that holds, as its place in [`Bug::ALL`] and one; 0 is none.
#[cfg(feature = "planted")]
static PLANTED: AtomicUsize = AtomicUsize::new(0);

/// Plants a bug, or none, for the whole process.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as usize + 1), Ordering::Relaxed);
}

/// Whether this bug is planted.
#[cfg(feature = "planted")]
pub fn is(bug: Bug) -> bool {
    PLANTED.load(Ordering::Relaxed) == bug as usize + 1
}

/// Whether this bug is planted: it cannot be.
#[cfg(not(feature = "planted"))]
pub const fn is(_: Bug) -> bool {
    false
}

/// Whether a bug of [`planted`](mod@crate::planted) is planted.
#[macro_export]
macro_rules! planted {
    ($name:ident) => {
        $crate::planted::is($crate::planted::Bug::$name)
    };
}
