//! Why an operation was not done, in words for those who have to find out why.

use core::fmt;

use engine_types::{ChainId, ChunkId, CoreId, NodeId, Retry, SessionId, Status, TargetId};

/// An operation on a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Bytes are read.
    Read,
    /// Version and length are read.
    Head,
    /// The map of data is read.
    Map,
    /// Bytes are written.
    Write,
    /// The length is set.
    Truncate,
    /// The length is raised.
    Extend,
    /// A range becomes zeros.
    Zero,
    /// The chunk goes.
    Remove,
    /// Bytes of another chunk are written.
    Copy,
    /// An abandoned update is overtaken (E373); nobody waits for it.
    Fence,
    /// The chunks of a file are counted or listed.
    Query,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Head => "head",
            Self::Map => "map",
            Self::Write => "write",
            Self::Truncate => "truncate",
            Self::Extend => "extend",
            Self::Zero => "zero",
            Self::Remove => "remove",
            Self::Copy => "copy",
            Self::Fence => "fence",
            Self::Query => "query",
        })
    }
}

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What is done.
    pub op: Op,
    /// The chain.
    pub chain: ChainId,
    /// The chunk; of a query, the first one.
    pub chunk: ChunkId,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} of {}", self.op, self.chunk, self.chain)
    }
}

/// How one replica was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The replica.
    pub target: TargetId,
    /// Its node.
    pub node: NodeId,
    /// Its core.
    pub core: CoreId,
    /// Attempts.
    pub count: u32,
    /// What came of the last one.
    pub status: Status,
    /// The same in words, where there is more to say.
    pub why: String,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, node, core, count, status, why } = self;
        write!(f, "{target} on {node} {core}: {count} times, last {status}")?;
        if why.is_empty() { Ok(()) } else { write!(f, " ({why})") }
    }
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// Nobody did it in time.
    #[error(
        "{subject}: not done in time{}{}{}",
        waiting(wanted),
        listed(tried),
        effect(*may_have_happened)
    )]
    DeadlineExceeded {
        /// What.
        subject: Subject,
        /// What it waited for when it ended, if not for an answer.
        wanted: Option<&'static str>,
        /// Who was asked.
        tried: Vec<Tried>,
        /// An update may have happened all the same, or still happen (E373 says until when).
        may_have_happened: bool,
    },
    /// A replica refused it for what it asks.
    #[error("{subject}: {target} refused: {status}{}", effect(*may_have_happened))]
    Refused {
        /// What.
        subject: Subject,
        /// Who.
        target: TargetId,
        /// Why.
        status: Status,
        /// An earlier attempt may have done it all the same.
        may_have_happened: bool,
    },
    /// The client's session was revoked (L6): this client never updates anything again.
    #[error("{subject}: {session} was revoked{}", effect(*may_have_happened))]
    Fenced {
        /// What.
        subject: Subject,
        /// The session.
        session: SessionId,
        /// An earlier attempt may have done it.
        may_have_happened: bool,
    },
    /// The operation itself breaks a limit; nothing was sent.
    #[error("{subject}: {what} is {found}, at most {limit}")]
    TooLarge {
        /// What.
        subject: Subject,
        /// What is too large.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The storage client was closed.
    #[error("{subject}: the storage client is closed{}", effect(*may_have_happened))]
    Closed {
        /// What.
        subject: Subject,
        /// An earlier attempt may have done it.
        may_have_happened: bool,
    },
}

fn waiting(wanted: &Option<&'static str>) -> String {
    wanted.map(|what| format!(", waiting for {what}")).unwrap_or_default()
}

fn listed(tried: &[Tried]) -> String {
    if tried.is_empty() {
        return "; nobody was asked".to_owned();
    }
    tried.iter().map(|tried| format!("; {tried}")).collect()
}

const fn effect(may_have_happened: bool) -> &'static str {
    if may_have_happened { "; it may have happened" } else { "" }
}

impl StorageError {
    /// The status that says the same.
    pub const fn status(&self) -> Status {
        match self {
            Self::DeadlineExceeded { .. } => Status::DeadlineExceeded,
            Self::Refused { status, .. } => *status,
            Self::Fenced { .. } => Status::Fenced,
            Self::TooLarge { .. } => Status::TooLarge,
            Self::Closed { .. } => Status::Draining,
        }
    }

    /// What a caller does next. What can be repeated was repeated here, until the deadline.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::DeadlineExceeded { may_have_happened: false, .. } => Retry::AfterBackoff,
            // Another call is another request: it does not meet the tag of this one.
            Self::DeadlineExceeded { may_have_happened: true, .. } => Retry::IfIdempotent,
            _ => Retry::Never,
        }
    }

    /// Whether an update may have had its effect all the same.
    pub const fn may_have_happened(&self) -> bool {
        match self {
            Self::DeadlineExceeded { may_have_happened, .. }
            | Self::Refused { may_have_happened, .. }
            | Self::Fenced { may_have_happened, .. }
            | Self::Closed { may_have_happened, .. } => *may_have_happened,
            Self::TooLarge { .. } => false,
        }
    }
}
