//! Small tables that a store keeps beside its chunks: its targets, revoked sessions, and what
//! became of the newest request of every channel.
//!
//! Owner: one store. Each is in every checkpoint and changed by journal entries; `replay` methods
//! overwrite blindly, as the last entry about a thing decides (S-d), and accept whatever was
//! accepted once, although a limit was lowered since. The other methods are for decisions at run
//! time and keep the rules.

use engine_types::{ChainId, ChainVersion, Incarnation, Retry, TargetId};

use crate::address::Slot;

mod dedup;
mod fences;
mod targets;

pub use dedup::{CHANNELS_MAX, Dedup, DedupKey, Known, OUTCOMES_MAX};
pub use fences::{FENCES_MAX, Fences};
pub use targets::{SLOTS_MAX, Targets};

/// Why a table was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A store has fewer slots.
    #[error("{slot} is beyond the last of {max} slots")]
    NoSuchSlot {
        /// As asked.
        slot: Slot,
        /// How many there are.
        max: u16,
    },
    /// The slot holds another target.
    #[error("{slot} holds {held}, not {found}")]
    SlotTaken {
        /// As asked.
        slot: Slot,
        /// As asked.
        found: TargetId,
        /// In the slot.
        held: TargetId,
    },
    /// The target is in the store already.
    #[error("{target} is in {held}, it cannot be in {found} too")]
    HeldElsewhere {
        /// As asked.
        target: TargetId,
        /// As asked.
        found: Slot,
        /// Where it is.
        held: Slot,
    },
    /// A target stays in its chain.
    #[error("{target} is of {held}, not of {found}")]
    OtherChain {
        /// As asked.
        target: TargetId,
        /// As asked.
        found: ChainId,
        /// By its record.
        held: ChainId,
    },
    /// R20: a lower chain version than the installed one, as from a manager restored from backup.
    #[error("{target}: chain {found} is older than the installed {installed}")]
    StaleChain {
        /// The target.
        target: TargetId,
        /// As asked.
        found: ChainVersion,
        /// By its record.
        installed: ChainVersion,
    },
    /// R5: a lower incarnation than one that was used.
    #[error("{target}: {found} is older than {current}")]
    StaleIncarnation {
        /// The target.
        target: TargetId,
        /// As asked.
        found: Incarnation,
        /// By its record.
        current: Incarnation,
    },
    /// A slot is emptied when nothing of its target is left: drop the target first.
    #[error("{slot} is not empty: chunks or updates of its target are left")]
    NotEmpty {
        /// As asked.
        slot: Slot,
    },
    /// A target that is being dropped has lost chunks: it never comes back.
    #[error("{target} is being dropped")]
    Dropping {
        /// The target.
        target: TargetId,
    },
    /// The manager has to name a bound below which all sessions are revoked.
    #[error("{max} sessions are fenced one by one, no more fit")]
    TooManyFences {
        /// The limit.
        max: usize,
    },
}

impl TableError {
    /// What a caller does next.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::StaleChain { .. } | Self::SlotTaken { .. } | Self::HeldElsewhere { .. } => {
                Retry::RefreshRouting
            }
            Self::TooManyFences { .. } => Retry::AfterBackoff,
            Self::NoSuchSlot { .. }
            | Self::OtherChain { .. }
            | Self::StaleIncarnation { .. }
            | Self::NotEmpty { .. }
            | Self::Dropping { .. } => Retry::Never,
        }
    }
}
