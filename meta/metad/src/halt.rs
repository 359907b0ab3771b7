//! Why an operation, or the request for one, ends without an answer.

use core::fmt::Display;

use engine_types::InodeId;
use meta_kv::Abort;
use meta_protocol::Refusal;
use meta_schema::Errno;

/// The service's own decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// It is not done, and this is why. Nothing was changed.
    #[error("{0}")]
    Refused(Refusal),
    /// The file was cut and old chunks are still there (M2): whoever asked finishes that, outside
    /// of a transaction, and asks again.
    #[error("{0} was cut, and old chunks are still there")]
    Unsettled(InodeId),
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// An operation ends: by its own decision or by an answer of the KV.
pub(crate) type Stop = Abort<Halt>;

/// The refusal `errno`; `why` says what and which.
pub(crate) fn refused(errno: Errno, why: impl Display) -> Stop {
    Abort::Own(Halt::Refused(Refusal::new(errno, why.to_string())))
}

/// What the KV holds cannot be: EIO, and a line in the log that `fsck` is needed.
pub(crate) fn damaged(what: impl Display, why: impl Display) -> Stop {
    tracing::error!(%what, %why, "metadata is damaged: fsck");
    refused(Errno::EIO, format_args!("{what}: {why}"))
}
