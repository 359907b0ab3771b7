//! What nodes and the manager say to each other every second.

use core::time::Duration;

use alloc::vec::Vec;

use engine_types::{
    ChainId, ChainInfo, ChainVersion, CoreId, Incarnation, Instant, NodeId, RoutingVersion,
    StoreId, TargetId, Timeline,
};

use crate::chain::LocalState;
use crate::session::FenceError;

/// What a node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who says it.
    pub node: NodeId,
    /// Its start, as registered.
    pub incarnation: Incarnation,
    /// Rises with every heartbeat of one start.
    pub sequence: u64,
    /// When it was sent, on the node's clock.
    pub sent: Instant,
    /// It has installed routing info up to this version, and nothing that a session revoked in it
    /// had begun is left (E294).
    pub drained: RoutingVersion,
    /// The timeline of the routing info that `drained` is a version of: in another one than the
    /// cluster's the number names something else, and counts as nothing (R20).
    pub timeline: Timeline,
    /// Its shards.
    pub shards: Vec<ShardReport>,
    /// All its targets; one that is missing counts as offline.
    pub targets: Vec<TargetReport>,
}

/// A shard of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardReport {
    /// Its core.
    pub core: CoreId,
    /// Changes as long as the shard takes turns (L5b).
    pub progress: u64,
}

/// A target of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetReport {
    /// The target.
    pub target: TargetId,
    /// The start of its store, from 1.
    pub incarnation: Incarnation,
    /// Its store.
    pub store: StoreId,
    /// The chain it belongs to, as far as its node knows. The primary knows better and ignores it;
    /// a standby finds the chain's record by it.
    pub chain: Option<ChainId>,
    /// The core whose shard owns the store in this start of the node.
    pub core: CoreId,
    /// Its state.
    pub local: LocalState,
    /// True if its store has lost something and was not resynced since (S8).
    pub damaged: bool,
    /// The chain version it has installed, 0 if none.
    pub version: ChainVersion,
    /// The timeline it has installed that version in.
    pub timeline: Timeline,
}

/// The right to serve, from the sending of the heartbeat for `HeartbeatAnswer::lease`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who may serve.
    pub target: TargetId,
    /// As which start.
    pub incarnation: Incarnation,
    /// In which chain.
    pub chain: ChainId,
    /// In which version.
    pub version: ChainVersion,
}

/// A chain version that a target is to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The target.
    pub target: TargetId,
    /// Its chain.
    pub chain: ChainId,
    /// What it is to install. Others may not know that version yet (R4).
    pub info: ChainInfo,
}

/// What the node gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// The heartbeat it answers.
    pub sequence: u64,
    /// When that was sent, on the node's clock.
    pub sent: Instant,
    /// `D_s`: leases are valid while the node's clock is below `sent + lease`.
    pub lease: Duration,
    /// Version of the published routing info.
    pub routing: RoutingVersion,
    /// Timeline of the cluster.
    pub timeline: Timeline,
    /// In the order of the reports.
    pub leases: Vec<Lease>,
    /// In the order of the reports.
    pub moves: Vec<Move>,
    /// Reported targets that are not this node's.
    pub unknown: Vec<TargetId>,
    /// Why there are no leases in it, if it has not drained what is fenced (E294).
    pub fenced: Option<FenceError>,
}

/// Why a heartbeat is refused. A refused one renews nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeartbeatError {
    /// This primary has just taken over: try again at once.
    #[error("the manager has not taken over yet")]
    NotReady,
    /// Register first.
    #[error("{node} is not registered")]
    Unknown {
        /// The node.
        node: NodeId,
    },
    /// The operator disabled it.
    #[error("{node} is disabled")]
    Disabled {
        /// The node.
        node: NodeId,
    },
    /// The process is a left-over, or has yet to register.
    #[error("{node} beats as {found}, but registered as {expected}")]
    OtherStart {
        /// The node.
        node: NodeId,
        /// The start that sent it.
        found: Incarnation,
        /// The start that is registered.
        expected: Incarnation,
    },
    /// A later one has arrived before.
    #[error("{node} sent heartbeat {found}, but {last} has arrived")]
    Stale {
        /// The node.
        node: NodeId,
        /// Its number.
        found: u64,
        /// The highest number so far.
        last: u64,
    },
    /// Leases of this clock mean nothing (E290); the node has to start anew.
    #[error("the clock of {node} is off the manager's by {ppm} ppm; leases allow {bound} ppm")]
    ClockAway {
        /// The node.
        node: NodeId,
        /// Parts per million, positive when the node's clock is the faster one. From half of the
        /// bound on it is not trusted.
        ppm: i64,
        /// The drift that leases allow.
        bound: u32,
    },
}
