//! The messages.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use engine_types::{
    ChainId, ChainInfo, ChainTableId, ChainTableVersion, ClusterId, NodeId, NodeRole, NodeState,
    RoutingVersion, SessionId, StoreId, TargetId, Timeline,
};
use mgmt_cluster::chain::LocalState;
use mgmt_cluster::command::Command;
use mgmt_cluster::config::{ConfigEntry, ConfigVersion};
use mgmt_cluster::delta::Delta;
use mgmt_cluster::explain::DrainProgress;
use mgmt_cluster::heartbeat::{Heartbeat, HeartbeatAnswer};
use mgmt_cluster::lease::{Contact, PrimaryLease};
use mgmt_cluster::record::{LastServer, Leaving, NodeRecord};
use mgmt_cluster::registry::Registration;
use mgmt_cluster::session::{Client, SessionRecord};

/// How are you? Any manager answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusAsk {
    /// With the cluster in numbers. Counting all chains is work on the core that answers
    /// heartbeats, so whoever only looks for the primary asks without.
    pub summary: bool,
}

/// What a manager is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandingSaid {
    /// Somebody else is primary, or nobody.
    Standby,
    /// It holds the lease and reads the records, or its lease has lapsed.
    TakingOver,
    /// It acts.
    Primary,
}

/// A manager and, if it is primary, its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerStatus {
    /// The manager that answers.
    pub me: Contact,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// What it is.
    pub standing: StandingSaid,
    /// The lease record that it read or wrote last.
    pub lease: Option<PrimaryLease>,
    /// Since when it is what it is, by its own clock.
    pub since: Duration,
    /// Of a primary that is asked for it.
    pub summary: Option<ClusterSummary>,
    /// Why its last takeover failed, for people; empty if it did not. Longer ones than
    /// [`Refusal::MESSAGE_BYTES_MAX`](crate::Refusal::MESSAGE_BYTES_MAX) are cut.
    pub trouble: String,
}

/// A cluster in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSummary {
    /// Its name.
    pub name: String,
    /// Its timeline (R20).
    pub timeline: Timeline,
    /// All chains are stopped for a planned shutdown.
    pub stopped: bool,
    /// Version of the published routing info.
    pub routing: RoutingVersion,
    /// Registered nodes.
    pub nodes: u32,
    /// Of them, those that are alive.
    pub nodes_alive: u32,
    /// Replicas.
    pub targets: u32,
    /// Of them, those that serve.
    pub targets_serving: u32,
    /// Of them, those that are synced.
    pub targets_syncing: u32,
    /// Chains.
    pub chains: u32,
    /// Of them, those whose members all serve.
    pub chains_whole: u32,
    /// Of them, those that nobody serves.
    pub chains_unserved: u32,
    /// Live sessions.
    pub sessions: u32,
    /// Changes written in this term.
    pub changes: u64,
    /// How long nobody is demoted yet, after a takeover (L3).
    pub grace: Duration,
}

/// A node takes part, or has started again. Repeating it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// The node.
    pub wanted: Registration,
}

/// It does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id for life.
    pub node: NodeId,
    /// How often it is to send a heartbeat.
    pub beat: Duration,
}

/// A heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// What the node says.
    pub heartbeat: Heartbeat,
}

/// What becomes of a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeatAnswer {
    /// Leases, and versions to install.
    pub answer: HeartbeatAnswer,
    /// How often a heartbeat is wanted.
    pub beat: Duration,
    /// Version of the settings of the node's role.
    pub config: ConfigVersion,
    /// A standby has answered (L5): it renews leases of unchanged targets and does nothing else.
    pub by_standby: bool,
}

/// Asks for routing info that is newer than version `since` of `timeline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutingAsk {
    /// Timeline of the version that is known.
    pub timeline: Timeline,
    /// The version that is known; 0 if none.
    pub since: RoutingVersion,
    /// How long to wait for a newer one; the manager may answer earlier.
    pub wait: Duration,
    /// The next piece of an image: its version, and where the piece begins.
    pub image: Option<(RoutingVersion, u64)>,
}

/// Routing info, or the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutingTold {
    /// There is nothing newer.
    Current,
    /// What changed.
    Delta(Delta),
    /// A piece of all of it: the bytes of `RoutingInfo` as a message, `total` in all. Of another
    /// version than was asked for, if that is not kept any more: then this is its first piece.
    Image {
        /// Of the routing info.
        version: RoutingVersion,
        /// Bytes of the whole image.
        total: u64,
        /// Where the piece begins.
        offset: u64,
        /// The piece; not empty unless it begins at the end.
        bytes: Vec<u8>,
    },
}

/// What a client wants of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionAsk {
    /// Give me one; the same one again if it was given already.
    Open(Client),
    /// I am alive.
    Extend(SessionId),
    /// I am done.
    Close(SessionId),
    /// Can nothing of it happen any more?
    Fenced(SessionId),
    /// Of which of these can nothing happen any more? Asked by storage nodes, that drop what they
    /// remember of them (R16); at most [`SESSIONS_ASKED_MAX`], more are cut off.
    Ended(Vec<SessionId>),
}

/// Sessions in one [`SessionAsk::Ended`]: with the answer of as many, half of its room.
pub const SESSIONS_ASKED_MAX: usize = 1024;

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionTold {
    /// It is open.
    Opened {
        /// Its id.
        session: SessionId,
        /// Silence that ends it.
        timeout: Duration,
        /// Timeline that the id is of.
        timeline: Timeline,
    },
    /// It lives.
    Extended {
        /// Silence that ends it.
        timeout: Duration,
    },
    /// It is revoked.
    Closed,
    /// Whether anything of it can still happen.
    Fenced {
        /// Nothing can.
        fenced: bool,
        /// Nodes that stand in the way; of more than 1,024 the first ones arrive.
        waits_for: Vec<NodeId>,
    },
    /// Those of the sessions asked for of which nothing can happen any more, in the same order.
    Ended(Vec<SessionId>),
}

/// What an operator wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Nodes, targets, chains, tables, the cluster.
    Cluster(Command),
    /// Ends sessions of clients; at most 1,000.
    RevokeSessions(Vec<SessionId>),
    /// Changes single settings of a role, `None` back to the default.
    SetConfig {
        /// The role.
        role: NodeRole,
        /// The version that the operator saw; nothing for the one in force.
        based_on: Option<ConfigVersion>,
        /// Names and values, as a text writes them.
        changes: Vec<(String, Option<String>)>,
        /// Why.
        note: String,
    },
    /// Replaces all settings of a role.
    ReplaceConfig {
        /// The role.
        role: NodeRole,
        /// The version that the operator saw.
        based_on: ConfigVersion,
        /// The new settings.
        text: String,
        /// Why.
        note: String,
    },
    /// The primary gives its lease to another manager.
    HandOver,
}

/// It is done, and durable; a handover is begun and may yet find no other manager.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// False if nothing had to be written, as everything was as wanted already. True for a
    /// handover, which writes nothing before this is told.
    pub changed: bool,
    /// Chains that were created, in the order given.
    pub chains: Vec<ChainId>,
    /// Targets that were created, in the order given.
    pub targets: Vec<TargetId>,
    /// The version of the settings that is in force now.
    pub config: ConfigVersion,
}

/// What an operator or a node wants to know. Pages go on behind the last id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Nodes with an id above this one.
    Nodes(NodeId),
    /// Chains with an id above this one.
    Chains {
        /// The last one known.
        after: Option<ChainId>,
        /// Without those whose members all serve.
        unwhole: bool,
    },
    /// One chain.
    Chain(ChainId),
    /// Chains of a version of a table, from this position on; of the newest if none is named.
    Table {
        /// The table.
        table: ChainTableId,
        /// Which version.
        version: Option<ChainTableVersion>,
        /// Position of the first.
        from: u32,
    },
    /// Sessions with an id above this one.
    Sessions(Option<SessionId>),
    /// The settings of a role that are in force.
    Config(NodeRole),
    /// All versions of the settings of a role that are kept.
    ConfigHistory(NodeRole),
    /// How far the draining of a node is.
    Drain(NodeId),
}

/// The answer to a question, of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// In the order of ids.
    Nodes {
        /// The nodes.
        rows: Vec<NodeRow>,
        /// There are further ones.
        more: bool,
    },
    /// In the order of ids; of one chain too.
    Chains {
        /// The chains.
        rows: Vec<ChainRow>,
        /// There are further ones.
        more: bool,
    },
    /// In the order of the table.
    Table {
        /// Which version.
        version: ChainTableVersion,
        /// The chains.
        chains: Vec<ChainId>,
        /// There are further ones.
        more: bool,
    },
    /// In the order of ids.
    Sessions {
        /// The sessions.
        rows: Vec<SessionRow>,
        /// There are further ones.
        more: bool,
    },
    /// Nothing if only defaults are in force.
    Config(Option<ConfigEntry>),
    /// Oldest first.
    ConfigHistory(Vec<ConfigEntry>),
    /// How far it is.
    Drain(DrainProgress),
}

/// A node, as the primary knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its id.
    pub node: NodeId,
    /// Its record.
    pub record: NodeRecord,
    /// What others see of it.
    pub state: NodeState,
    /// How long ago it was heard.
    pub silent: Duration,
    /// By how much its clock runs away, if it was found to (ppm).
    pub clock_away: Option<i64>,
    /// Replicas it has.
    pub targets: u32,
    /// Of them, those that serve.
    pub serving: u32,
}

/// A chain, as the primary knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainRow {
    /// Its id.
    pub chain: ChainId,
    /// Its committed version.
    pub info: ChainInfo,
    /// In the order of `info.members`.
    pub members: Vec<ChainMember>,
    /// Who served last.
    pub last_serving: Vec<LastServer>,
    /// The order that the operator prefers, if any.
    pub preferred: Vec<TargetId>,
    /// What keeps it from being whole, most important first, for people. At most 32 arrive, of
    /// 1,024 bytes each.
    pub reasons: Vec<String>,
}

/// What is known of a member beside its standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainMember {
    /// Its node.
    pub node: NodeId,
    /// Its store.
    pub store: StoreId,
    /// Its disk, for people.
    pub disk: u16,
    /// Whether it is to leave.
    pub leaving: Leaving,
    /// What its node said last.
    pub local: Option<LocalState>,
}

/// A session, as the primary knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub session: SessionId,
    /// Its record.
    pub record: SessionRecord,
    /// How long ago a live one was heard.
    pub silent: Option<Duration>,
    /// Nothing of it can happen any more.
    pub fenced: bool,
}
