//! What the manager keeps in the KV: one record per node, target, chain and table version, and two
//! singletons.
//!
//! Owner: the primary manager. A record is written whole, in the transaction of the `Change` that
//! holds it; what is not in here is soft state, which a new primary learns from heartbeats.
//!
//! Invariants
//!   E260  a chain with serving members lists exactly those, with their stores, as its last serving
//!         set; without serving members its last-serving members are those of the set that are
//!         still members (R10)
//!   E261  `departed` lists every target that may hold a lease for an earlier version of the chain
//!         and does not serve in this one; whoever reads an empty list may grant leases at once

pub mod codec;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use engine_types::{
    ChainId, ChainInfo, ChainTableId, ChainTableVersion, ChainVersion, ClusterId, CoreId,
    Incarnation, Member, NodeId, NodeRole, PublicState, RoutingVersion, StoreId, TargetId,
    Timeline,
};

/// The incarnation of a member of a fresh chain until its target has reported once (R5). Stores
/// count their starts from 1.
pub const UNADOPTED: Incarnation = Incarnation::new(0);

/// Which record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKey {
    /// The cluster itself.
    Cluster,
    /// How far routing versions are reserved.
    Routing,
    /// A node.
    Node(NodeId),
    /// A target.
    Target(TargetId),
    /// A chain.
    Chain(ChainId),
    /// A part of one version of a chain table, from 0; layouts name a version, so all are kept.
    Table(ChainTableId, ChainTableVersion, u32),
}

/// The contents of a record, of the kind its key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Of `RecordKey::Cluster`.
    Cluster(ClusterRecord),
    /// Of `RecordKey::Routing`.
    Routing(RoutingRecord),
    /// Of `RecordKey::Node`.
    Node(NodeRecord),
    /// Of `RecordKey::Target`.
    Target(TargetRecord),
    /// Of `RecordKey::Chain`.
    Chain(ChainRecord),
    /// Of `RecordKey::Table`.
    Table(TableRecord),
}

impl Record {
    /// True if a record of this kind belongs under `key`.
    pub const fn is_of(&self, key: &RecordKey) -> bool {
        matches!(
            (self, key),
            (Self::Cluster(_), RecordKey::Cluster)
                | (Self::Routing(_), RecordKey::Routing)
                | (Self::Node(_), RecordKey::Node(_))
                | (Self::Target(_), RecordKey::Target(_))
                | (Self::Chain(_), RecordKey::Chain(_))
                | (Self::Table(_), RecordKey::Table(..))
        )
    }
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRecord {
    /// Chosen at random when it was created.
    pub id: ClusterId,
    /// For people.
    pub name: String,
    /// Raised when the KV comes back from a backup (R20).
    pub timeline: Timeline,
    /// True from "shutdown all chains" to "start all chains".
    pub stopped: bool,
    /// The next node to register is given this id.
    pub next_node: u32,
    /// The next target to be created is given this id.
    pub next_target: u64,
    /// The next chain to be created is given this id.
    pub next_chain: u32,
}

impl ClusterRecord {
    /// A cluster in which nothing is registered yet.
    pub const fn new(id: ClusterId, name: String) -> Self {
        Self {
            id,
            name,
            timeline: Timeline::new(0),
            stopped: false,
            next_node: 1,
            next_target: 1,
            next_chain: 1,
        }
    }
}

/// Routing versions that may be published without a further write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoutingRecord {
    /// No version above it was ever published.
    pub reserved: RoutingVersion,
}

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// What it chose at random when it was created, never 0; tells it from others for life.
    pub uuid: StoreId,
    /// What it does; never changes.
    pub role: NodeRole,
    /// `host:port` per network, the preferred one first.
    pub addresses: Vec<String>,
    /// The start that registered last.
    pub incarnation: Incarnation,
    /// False after the operator disabled it: its heartbeats are refused.
    pub enabled: bool,
    /// True while the operator wants its targets out of their chains.
    pub draining: bool,
    /// Its failure domain, for placement.
    pub domain: String,
    /// The operator's tags.
    pub tags: BTreeMap<String, String>,
}

/// Whether a target is to leave its chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leaving {
    /// It stays.
    #[default]
    No,
    /// It stops serving as soon as another member serves, and is not synced again.
    Drained,
    /// It stops serving when this one serves, and is then removed from the chain.
    ReplacedBy(TargetId),
}

/// A replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetRecord {
    /// The node with its store.
    pub node: NodeId,
    /// The core whose shard owned the store when the target was created; reports name the present
    /// one.
    pub core: CoreId,
    /// The store; another one in its place is refused until the operator adopts it.
    pub store: StoreId,
    /// The chain it is a replica of.
    pub chain: ChainId,
    /// Which disk of the node, for people.
    pub disk: u16,
    /// The timeline in which it was created.
    pub created: Timeline,
    /// Whether it is to leave.
    pub leaving: Leaving,
}

/// A member of the set that served last, and the store that holds its data (R10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastServer {
    /// The target.
    pub target: TargetId,
    /// Its store at that time.
    pub store: StoreId,
}

/// A target that may still hold a lease for an earlier version (E261).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Departed {
    /// The target.
    pub target: TargetId,
    /// The start that holds it.
    pub incarnation: Incarnation,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainRecord {
    /// Raised by every change of `members`.
    pub version: ChainVersion,
    /// In the order in which writes pass, then those that hold nothing to offer.
    pub members: Vec<Member>,
    /// Who served in the last version in which anybody did (E260).
    pub last_serving: Vec<LastServer>,
    /// The operator's wish for the order, empty if he has none.
    pub preferred: Vec<TargetId>,
    /// Who may hold a lease for an earlier version without serving in this one (E261).
    pub departed: Vec<Departed>,
}

/// Chains in one part of a table: 64 KiB of the 100,000 bytes that a value of the KV may have. All
/// parts but the last are full; they are written in one transaction.
pub const TABLE_PART_CHAINS: usize = 16_384;

/// A part of one version of a chain table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRecord {
    /// A layout names positions in the list that all parts make.
    pub chains: Vec<ChainId>,
}

impl ChainRecord {
    /// What nodes and clients see of it.
    pub fn info(&self) -> ChainInfo {
        ChainInfo { version: self.version, members: self.members.clone() }
    }

    /// The serving members, head first.
    pub fn serving(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.state == PublicState::Serving)
    }

    /// The member that is `target`.
    pub fn member(&self, target: TargetId) -> Option<&Member> {
        self.members.iter().find(|member| member.target == target)
    }

    /// True if `target` serves here, as the start `incarnation`.
    pub fn serves(&self, target: TargetId, incarnation: Incarnation) -> bool {
        self.serving().any(|m| m.target == target && m.incarnation == incarnation)
    }

    /// True if `target` served last, with the data of `store` (R10).
    pub fn served_last(&self, target: TargetId, store: StoreId) -> bool {
        self.last_serving.contains(&LastServer { target, store })
    }
}
