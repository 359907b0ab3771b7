//! Who is in the cluster and which chain lives where: the plain data that the manager publishes and
//! everybody else follows.
//!
//! Containers are ordered, so that two nodes with the same version hold and print the same thing.
//!
//! `RoutingInfo::validate` checks what every published version must keep:
//!   each target of a chain exists, names that chain, and is a member of it exactly once
//!   each target's node exists
//!   members stand in the order serving, syncing, then those without data to offer; at most one of
//!     them is syncing, and none is while nobody serves
//!   a last-serving member is present only while nobody serves (R10)
//!   each chain of a table exists, and counts stay within the limits

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use crate::ids::{
    ChainId, ChainTableId, ChainTableVersion, ChainVersion, ClusterId, CoreId, Incarnation, NodeId,
    RoutingVersion, SessionId, StoreId, TargetId, Timeline,
};
use crate::limits::{
    CHAIN_MEMBERS_MAX, CHAIN_TABLES_MAX, CHAINS_MAX, NODE_ADDRESSES_MAX, NODES_MAX, TARGETS_MAX,
};

/// What a node or process does. The numbers are part of the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum NodeRole {
    /// Holds replicas.
    Storage = 1,
    /// Serves metadata operations.
    Meta = 2,
    /// Manages the cluster.
    Manager = 3,
    /// Serves the embedded KV.
    Kv = 4,
    /// Mounts the file system, or links the client library.
    Client = 5,
    /// The operator's command line.
    Operator = 6,
}

impl NodeRole {
    /// Every role, in the order of codes.
    pub const ALL: [Self; 6] =
        [Self::Storage, Self::Meta, Self::Manager, Self::Kv, Self::Client, Self::Operator];

    /// The number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Nothing for a number without a meaning here.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }
}

/// Whether a node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// Its heartbeats arrive.
    Alive,
    /// It leaves on request and takes no new work.
    Draining,
    /// No heartbeat for a lease and its drift bound (L4).
    Dead,
}

/// What the cluster thinks of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PublicState {
    /// Up to date; serves reads and takes part in writes.
    Serving,
    /// Receives the data it missed from its predecessor.
    Syncing,
    /// Alive, waits for its turn to sync.
    Waiting,
    /// One of the last that served: it alone or its likes may restart the chain (R10).
    LastServing,
    /// Not reachable.
    Offline,
}

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// What it does.
    pub role: NodeRole,
    /// `host:port` per network, the preferred one first. Roles with shards listen on further
    /// ports that the handshake tells.
    pub addresses: Vec<String>,
    /// Its present start.
    pub incarnation: Incarnation,
    /// Whether it takes part.
    pub state: NodeState,
}

/// Where a target lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetInfo {
    /// The node with its store.
    pub node: NodeId,
    /// The core whose shard owns the store.
    pub core: CoreId,
    /// The store.
    pub store: StoreId,
    /// The chain it is a replica of.
    pub chain: ChainId,
}

/// One replica's standing in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The replica.
    pub target: TargetId,
    /// Its standing.
    pub state: PublicState,
    /// The start of its store that this standing belongs to (R5).
    pub incarnation: Incarnation,
}

/// A chain: its replicas from head to tail, then those that hold nothing to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainInfo {
    /// Raised by every change of `members`.
    pub version: ChainVersion,
    /// In the order in which writes pass.
    pub members: Vec<Member>,
}

impl ChainInfo {
    /// The serving members, head first.
    pub fn serving(&self) -> impl DoubleEndedIterator<Item = &Member> {
        self.members.iter().filter(|member| member.state == PublicState::Serving)
    }

    /// Where writes enter: the first serving member.
    pub fn head(&self) -> Option<TargetId> {
        self.serving().next().map(|member| member.target)
    }

    /// Where writes commit: the last serving member.
    pub fn tail(&self) -> Option<TargetId> {
        self.serving().next_back().map(|member| member.target)
    }
}

/// The chains that files are laid out over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainTable {
    /// Raised by every change of `chains`.
    pub version: ChainTableVersion,
    /// A layout names positions in this list.
    pub chains: Vec<ChainId>,
}

/// One version of everything the manager publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingInfo {
    /// The cluster it describes.
    pub cluster: ClusterId,
    /// Raised by every change.
    pub version: RoutingVersion,
    /// Raised when the KV comes back from a backup (R20).
    pub timeline: Timeline,
    /// Registered nodes.
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// Replicas of all chains.
    pub targets: BTreeMap<TargetId, TargetInfo>,
    /// All chains.
    pub chains: BTreeMap<ChainId, ChainInfo>,
    /// All chain tables.
    pub tables: BTreeMap<ChainTableId, ChainTable>,
    /// Sessions below it are revoked, unless they are listed as live elsewhere (L6).
    pub revoked_below: SessionId,
    /// Revoked sessions at or above that floor.
    pub revoked: BTreeSet<SessionId>,
}

/// Why routing info must not be installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoutingError {
    /// A collection is larger than its limit.
    #[error("{what}: found {found}, at most {limit}")]
    TooMany {
        /// The collection.
        what: &'static str,
        /// Its size.
        found: usize,
        /// Its limit.
        limit: usize,
    },
    /// A node without an address cannot be reached.
    #[error("{node} has no address")]
    NoAddress {
        /// The node.
        node: NodeId,
    },
    /// A target lives on a node that is not registered.
    #[error("{target} lives on {node}, which is not registered")]
    UnknownNode {
        /// The target.
        target: TargetId,
        /// The node it names.
        node: NodeId,
    },
    /// A chain lists a target that is not registered.
    #[error("{chain} lists {target}, which is not registered")]
    UnknownTarget {
        /// The chain.
        chain: ChainId,
        /// The target it lists.
        target: TargetId,
    },
    /// A chain lists a target that belongs to another chain.
    #[error("{target} is listed by {found}, expected {expected}")]
    ForeignTarget {
        /// The target.
        target: TargetId,
        /// The chain that lists it.
        found: ChainId,
        /// The chain it belongs to.
        expected: ChainId,
    },
    /// A target is listed twice by its chain.
    #[error("{chain} lists {target} twice")]
    DuplicateMember {
        /// The chain.
        chain: ChainId,
        /// The target.
        target: TargetId,
    },
    /// A target is not listed by the chain it belongs to.
    #[error("{target} belongs to {chain}, which does not list it")]
    UnlistedTarget {
        /// The target.
        target: TargetId,
        /// The chain it names.
        chain: ChainId,
    },
    /// A chain without members.
    #[error("{chain} has no members")]
    EmptyChain {
        /// The chain.
        chain: ChainId,
    },
    /// A member stands behind one that must come after it.
    #[error("{chain}: {target} is {found:?} behind a member that is {before:?}")]
    MemberOrder {
        /// The chain.
        chain: ChainId,
        /// The member out of order.
        target: TargetId,
        /// Its state.
        found: PublicState,
        /// The state of the member before it.
        before: PublicState,
    },
    /// A chain syncs two members at once.
    #[error("{chain}: {first} and {second} are both syncing")]
    TwoSyncing {
        /// The chain.
        chain: ChainId,
        /// The one.
        first: TargetId,
        /// The other.
        second: TargetId,
    },
    /// Nobody serves, so nobody can be synced from.
    #[error("{chain}: {target} is syncing while nobody serves")]
    SyncingAlone {
        /// The chain.
        chain: ChainId,
        /// The syncing member.
        target: TargetId,
    },
    /// The record of who served last outlived its purpose.
    #[error("{chain}: {target} is last-serving while {serving} serves")]
    LastServingBesideServing {
        /// The chain.
        chain: ChainId,
        /// The last-serving member.
        target: TargetId,
        /// A serving member.
        serving: TargetId,
    },
    /// A table lists a chain that does not exist.
    #[error("{table} lists {chain}, which does not exist")]
    UnknownChain {
        /// The table.
        table: ChainTableId,
        /// The chain it lists.
        chain: ChainId,
    },
}

impl RoutingInfo {
    /// Version 0 of a cluster in which nothing is registered yet.
    pub const fn empty(cluster: ClusterId) -> Self {
        Self {
            cluster,
            version: RoutingVersion::new(0),
            timeline: Timeline::new(0),
            nodes: BTreeMap::new(),
            targets: BTreeMap::new(),
            chains: BTreeMap::new(),
            tables: BTreeMap::new(),
            revoked_below: SessionId::new(0),
            revoked: BTreeSet::new(),
        }
    }

    /// True if work of `session` must be refused (L6).
    pub fn is_revoked(&self, session: SessionId) -> bool {
        session < self.revoked_below || self.revoked.contains(&session)
    }

    /// Checks the rules of the module header.
    ///
    /// # Errors
    /// The first rule that does not hold, in the order of ids.
    pub fn validate(&self) -> Result<(), RoutingError> {
        at_most("nodes", self.nodes.len(), NODES_MAX)?;
        at_most("targets", self.targets.len(), TARGETS_MAX)?;
        at_most("chains", self.chains.len(), CHAINS_MAX)?;
        at_most("chain tables", self.tables.len(), CHAIN_TABLES_MAX)?;
        for (&node, info) in &self.nodes {
            at_most("addresses of a node", info.addresses.len(), NODE_ADDRESSES_MAX)?;
            if info.addresses.is_empty() {
                return Err(RoutingError::NoAddress { node });
            }
        }
        for (&chain, info) in &self.chains {
            self.validate_membership(chain, info)?;
            validate_states(chain, info)?;
        }
        for (&target, info) in &self.targets {
            self.validate_target(target, info)?;
        }
        for (&table, info) in &self.tables {
            at_most("chains of a table", info.chains.len(), CHAINS_MAX)?;
            if let Some(&chain) = info.chains.iter().find(|id| !self.chains.contains_key(id)) {
                return Err(RoutingError::UnknownChain { table, chain });
            }
        }
        Ok(())
    }

    fn validate_membership(&self, chain: ChainId, info: &ChainInfo) -> Result<(), RoutingError> {
        if info.members.is_empty() {
            return Err(RoutingError::EmptyChain { chain });
        }
        at_most("members of a chain", info.members.len(), CHAIN_MEMBERS_MAX)?;
        for (index, &Member { target, .. }) in info.members.iter().enumerate() {
            let known = self.targets.get(&target);
            let expected = known.ok_or(RoutingError::UnknownTarget { chain, target })?.chain;
            if expected != chain {
                return Err(RoutingError::ForeignTarget { target, found: chain, expected });
            }
            if info.members[..index].iter().any(|earlier| earlier.target == target) {
                return Err(RoutingError::DuplicateMember { chain, target });
            }
        }
        Ok(())
    }

    fn validate_target(&self, target: TargetId, info: &TargetInfo) -> Result<(), RoutingError> {
        if !self.nodes.contains_key(&info.node) {
            return Err(RoutingError::UnknownNode { target, node: info.node });
        }
        let chain = self.chains.get(&info.chain);
        if chain.is_some_and(|chain| chain.members.iter().any(|m| m.target == target)) {
            Ok(())
        } else {
            Err(RoutingError::UnlistedTarget { target, chain: info.chain })
        }
    }
}

/// Place of a state in the order of a chain: those that writes pass, then the others.
const fn place(state: PublicState) -> u8 {
    match state {
        PublicState::Serving => 0,
        PublicState::Syncing => 1,
        PublicState::Waiting | PublicState::LastServing | PublicState::Offline => 2,
    }
}

fn validate_states(chain: ChainId, info: &ChainInfo) -> Result<(), RoutingError> {
    for [before, member] in info.members.array_windows() {
        if place(member.state) < place(before.state) {
            let (target, found, before) = (member.target, member.state, before.state);
            return Err(RoutingError::MemberOrder { chain, target, found, before });
        }
    }
    let in_state = |state| info.members.iter().filter(move |m| m.state == state).map(|m| m.target);
    let mut syncing = in_state(PublicState::Syncing);
    let first = syncing.next();
    if let (Some(first), Some(second)) = (first, syncing.next()) {
        return Err(RoutingError::TwoSyncing { chain, first, second });
    }
    match (info.head(), first, in_state(PublicState::LastServing).next()) {
        (None, Some(target), _) => Err(RoutingError::SyncingAlone { chain, target }),
        (Some(serving), _, Some(target)) => {
            Err(RoutingError::LastServingBesideServing { chain, target, serving })
        }
        _ => Ok(()),
    }
}

fn at_most(what: &'static str, found: usize, limit: usize) -> Result<(), RoutingError> {
    if found <= limit { Ok(()) } else { Err(RoutingError::TooMany { what, found, limit }) }
}

#[cfg(test)]
mod tests;
