//! Why a handshake failed.

use engine_types::{ClusterId, NodeId};

use super::{Identity, Kind, Status, Versions, WireError};

/// A handshake has failed; the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// A message breaks the wire format.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A message that does not belong here, or that is no plain one-way frame.
    #[error("message: found {found}, expected {expected}")]
    Unexpected {
        /// Its kind.
        found: Kind,
        /// What belongs here.
        expected: Kind,
    },
    /// A message after the last one.
    #[error("message: found {found} after the end of the handshake")]
    AfterEnd {
        /// Its kind.
        found: Kind,
    },
    /// The peer belongs to another cluster.
    #[error("cluster: found {found}, expected {expected}")]
    WrongCluster {
        /// The peer's.
        found: ClusterId,
        /// Ours.
        expected: ClusterId,
    },
    /// The address leads to another node than the one meant.
    #[error("node: found {found}, expected {expected}")]
    WrongNode {
        /// Who answers.
        found: NodeId,
        /// Who is meant.
        expected: NodeId,
    },
    /// No common protocol version.
    #[error("protocol versions: found {found}, expected one of {expected}")]
    Versions {
        /// The peer's.
        found: Versions,
        /// Ours.
        expected: Versions,
    },
    /// A role without meaning here.
    #[error("role: found {found}, expected 1 to 6")]
    UnknownRole {
        /// Its code.
        found: u8,
    },
    /// The peer says what we said: a loop, or an attack by reflection.
    #[error("{peer} answers with our own identity or nonce")]
    Reflected {
        /// Who it says it is.
        peer: Identity,
    },
    /// The peer does not know the secret.
    #[error("{peer} does not know the secret of this cluster")]
    BadProof {
        /// Who it says it is.
        peer: Identity,
    },
    /// A window that no client can work with.
    #[error("{window}: found {found}, expected {min} to {max}")]
    Window {
        /// Which one.
        window: &'static str,
        /// Its size.
        found: u64,
        /// Smallest accepted.
        min: u64,
        /// Largest accepted.
        max: u64,
    },
    /// The server ended the handshake for another reason than those above.
    #[error("refused: {status}")]
    Refused {
        /// What it says.
        status: Status,
    },
}

impl HandshakeError {
    /// What the peer, or the caller of a request, is told.
    pub const fn status(&self) -> Status {
        match self {
            Self::Wire(error) => error.status(),
            Self::Unexpected { .. } | Self::AfterEnd { .. } => Status::NotAuthenticated,
            Self::WrongCluster { .. } => Status::WrongCluster,
            Self::WrongNode { .. } => Status::WrongNode,
            Self::Versions { .. } => Status::UnsupportedVersion,
            Self::UnknownRole { .. } | Self::Window { .. } => Status::InvalidArgument,
            Self::Reflected { .. } | Self::BadProof { .. } => Status::NotAuthenticated,
            Self::Refused { status } => *status,
        }
    }
}
