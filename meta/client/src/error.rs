//! Why an operation has no answer, in words for those who have to find out why.

use core::fmt;
use core::net::SocketAddr;

use engine_types::SessionId;
use meta_protocol::Refusal;
use meta_schema::Errno;

/// How one service was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Where.
    pub address: SocketAddr,
    /// Attempts.
    pub count: u32,
    /// What came of the last one.
    pub why: String,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, count, why } = self;
        write!(f, "{address}: {count} times, last {why}")
    }
}

/// Why an operation has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// POSIX says so; nothing was done.
    #[error("{operation}: {refusal}")]
    Refused {
        /// What was asked for.
        operation: &'static str,
        /// Why not.
        refusal: Refusal,
    },
    /// The session is over: whoever asks opens another one, and has lost its locks and open files.
    #[error("{operation}: {session} is over{}", effect(*may_have_happened))]
    SessionLost {
        /// What was asked for.
        operation: &'static str,
        /// The session.
        session: SessionId,
        /// An earlier attempt may have done it.
        may_have_happened: bool,
    },
    /// No service did it in time.
    #[error("{operation}: not done in time{}{}", listed(tried), effect(*may_have_happened))]
    DeadlineExceeded {
        /// What was asked for.
        operation: &'static str,
        /// Who was asked.
        tried: Vec<Tried>,
        /// It may have happened all the same, or still happen (E472 says until when).
        may_have_happened: bool,
    },
    /// A service and this client do not understand each other.
    #[error("{operation}: {address}: {why}{}", effect(*may_have_happened))]
    Senseless {
        /// What was asked for.
        operation: &'static str,
        /// Who was asked.
        address: SocketAddr,
        /// What makes no sense.
        why: String,
        /// It may have happened all the same.
        may_have_happened: bool,
    },
    /// It was done, and is answered with something else than such an operation is.
    #[error("{operation}: answered with {found}")]
    OtherAnswer {
        /// What was asked for.
        operation: &'static str,
        /// The answer, or its begin.
        found: String,
    },
    /// The operation itself breaks a limit; nothing was sent.
    #[error("{operation}: a request of {found} bytes, at most {limit}")]
    TooLarge {
        /// What was asked for.
        operation: &'static str,
        /// Its size.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The client was closed.
    #[error("{operation}: the client is closed{}", effect(*may_have_happened))]
    Closed {
        /// What was asked for.
        operation: &'static str,
        /// An earlier attempt may have done it.
        may_have_happened: bool,
    },
}

fn listed(tried: &[Tried]) -> String {
    if tried.is_empty() {
        return "; no metadata service is known".to_owned();
    }
    tried.iter().map(|tried| format!("; {tried}")).collect()
}

const fn effect(may_have_happened: bool) -> &'static str {
    if may_have_happened { "; it may have happened" } else { "" }
}

impl MetaError {
    /// What a program is told.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Refused { refusal, .. } => refusal.errno,
            Self::SessionLost { .. } => Errno::ESTALE,
            Self::DeadlineExceeded { .. }
            | Self::Senseless { .. }
            | Self::OtherAnswer { .. }
            | Self::Closed { .. } => Errno::EIO,
            Self::TooLarge { .. } => Errno::E2BIG,
        }
    }

    /// Whether it may have had its effect all the same.
    pub const fn may_have_happened(&self) -> bool {
        match self {
            Self::SessionLost { may_have_happened, .. }
            | Self::DeadlineExceeded { may_have_happened, .. }
            | Self::Senseless { may_have_happened, .. }
            | Self::Closed { may_have_happened, .. } => *may_have_happened,
            Self::OtherAnswer { .. } => true,
            Self::Refused { .. } | Self::TooLarge { .. } => false,
        }
    }
}
