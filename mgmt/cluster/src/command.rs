//! What operators ask for. Each command is checked whole and becomes one change, or is refused
//! with both values, and then nothing has changed.
//!
//! Commands that concern all chains (a planned stop, a new timeline) only write that wish; the
//! chains follow in batches, as `propose` finds them.
//!
//! Invariants
//!   E278  a chain never loses its only member, nor one that served last, by a command that does
//!         not say that data may be lost
//!   E279  a command on a chain whose version is withheld is refused, and can be repeated within
//!         `D_s * (1 + e)`

mod chains;
mod nodes;

use alloc::boxed::Box;
use alloc::vec::Vec;

use engine_types::{
    ChainId, ChainTableId, ChainVersion, CoreId, Instant, NodeId, PublicState, StoreId, TargetId,
};

use crate::cluster::{CHANGE_WRITES_MAX, Change, Cluster};
use crate::record::{Leaving, Record, RecordKey};
use crate::words::{leaving, list, public_state, role, span};

/// Where a new target lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewTarget {
    /// Its node.
    pub node: NodeId,
    /// The core whose shard owns the store.
    pub core: CoreId,
    /// The store.
    pub store: StoreId,
    /// Which disk, for people.
    pub disk: u16,
}

/// Something an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Creates chains whose members all serve, in the order given, which is also the preferred one.
    CreateChains(Vec<Vec<NewTarget>>),
    /// Writes the next version of a table.
    SetTable(ChainTableId, Vec<ChainId>),
    /// Adds a member, offline at first; it is synced.
    AddTarget(ChainId, NewTarget),
    /// Removes a member that does not serve.
    RemoveTarget(TargetId),
    /// Adds the new member; when it serves, the old one is removed.
    Replace(TargetId, NewTarget),
    /// Takes a target out of service as soon as another member serves, or lets it return.
    DrainTarget(TargetId, bool),
    /// The target's data is in another store from now on; the old one's is given up.
    AdoptStore(TargetId, StoreId),
    /// States the preferred order, a permutation of the members; empty for none.
    SetPreferredOrder(ChainId, Vec<TargetId>),
    /// Takes one step towards the preferred order.
    Rotate(ChainId),
    /// Lets a target with older data serve, because nobody of the last serving set returns.
    GiveUpTo {
        /// Who is to serve.
        target: TargetId,
        /// Without it the command is refused with what can be lost.
        accept_data_loss: bool,
    },
    /// Enables or disables a node.
    EnableNode(NodeId, bool),
    /// Drains all targets of a node, or lets them return.
    DrainNode(NodeId, bool),
    /// Forgets a node without targets.
    UnregisterNode(NodeId),
    /// Sets a tag of a node, or removes it.
    TagNode(NodeId, alloc::string::String, Option<alloc::string::String>),
    /// Stops all chains for a planned shutdown, or starts them again.
    StopChains(bool),
    /// The KV came back from a backup: lifts chain versions above what stores report (R20).
    RaiseTimeline,
}

/// What a command has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// To be written; nothing if everything is as wanted already.
    pub change: Option<Change>,
    /// Chains it creates, in the order given.
    pub chains: Vec<ChainId>,
    /// Targets it creates, in the order given.
    pub targets: Vec<TargetId>,
}

/// What giving up to an older target can lose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{chain}: every write acknowledged since {target} last served may be lost, and files may hold \
     older data in {chain} than in other chains; the last to serve were {}, of whom {} can be \
     reached; all but {target} are overwritten by its data",
    list(.last), list(.reachable)
)]
pub struct Loss {
    /// The chain.
    pub chain: ChainId,
    /// Its present version.
    pub version: ChainVersion,
    /// Who is to serve.
    pub target: TargetId,
    /// Who has everything.
    pub last: Vec<TargetId>,
    /// Those of them that are alive: waiting for them, or mending them, loses nothing.
    pub reachable: Vec<TargetId>,
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Another change is in flight: try again when it is decided.
    #[error("another change is in flight")]
    Busy,
    /// This primary has just taken over: try again at once.
    #[error("the manager has not taken over yet")]
    NotReady,
    /// A tag breaks a limit (E298).
    #[error(transparent)]
    Tag(#[from] crate::tags::TagError),
    /// No such node.
    #[error("{node} is not registered")]
    NoNode {
        /// The node.
        node: NodeId,
    },
    /// No such target.
    #[error("{target} does not exist")]
    NoTarget {
        /// The target.
        target: TargetId,
    },
    /// No such chain.
    #[error("{chain} does not exist")]
    NoChain {
        /// The chain.
        chain: ChainId,
    },
    /// A node without shards has no targets.
    #[error("{node} is of role {}, not a storage node", role(*.found))]
    NotStorage {
        /// The node.
        node: NodeId,
        /// Its role.
        found: engine_types::NodeRole,
    },
    /// A number of things is out of its range.
    #[error("{what}: found {found}, expected {min} to {max}")]
    Count {
        /// The things.
        what: &'static str,
        /// How many there are or would be.
        found: usize,
        /// How many there must be.
        min: usize,
        /// How many there may be.
        max: usize,
    },
    /// A store holds one replica of a chain at most, or one loss is two.
    #[error("{store} would hold two members of one chain")]
    SameStore {
        /// The store.
        store: StoreId,
    },
    /// The chain waits for a lease to run out (E279).
    #[error("{chain}: {version} waits for a lease to run out; ask again in a few seconds")]
    Withheld {
        /// The chain.
        chain: ChainId,
        /// Its committed version.
        version: ChainVersion,
    },
    /// A store knows more of the chain than the KV (R20): raise the timeline first.
    #[error("{chain}: the store of {target} is ahead of {version}: was the KV restored?")]
    Ahead {
        /// The chain.
        chain: ChainId,
        /// Its committed version.
        version: ChainVersion,
        /// Whose store has installed a later one.
        target: TargetId,
    },
    /// The target's standing does not allow it.
    #[error("{target} is {}, {expected}", public_state(*.found))]
    State {
        /// The target.
        target: TargetId,
        /// Its standing.
        found: PublicState,
        /// What it would have to be.
        expected: &'static str,
    },
    /// A chain keeps one member.
    #[error("{target} is the only member of {chain}")]
    OnlyMember {
        /// The target.
        target: TargetId,
        /// Its chain.
        chain: ChainId,
    },
    /// It is to leave already, or somebody else waits for it to serve.
    #[error("{target} is to leave already: {}", leaving(*.found))]
    Leaves {
        /// The target.
        target: TargetId,
        /// How.
        found: Leaving,
    },
    /// Another member is to be replaced by it.
    #[error("{target} replaces {old}, which has not left yet")]
    Replaces {
        /// The target.
        target: TargetId,
        /// Whom it replaces.
        old: TargetId,
    },
    /// A preferred order names each member once.
    #[error("{chain}: {target} is not named exactly once by the order")]
    Order {
        /// The chain.
        chain: ChainId,
        /// The target.
        target: TargetId,
    },
    /// There is nothing to rotate, or not now.
    #[error("{chain}: {why}")]
    Rotation {
        /// The chain.
        chain: ChainId,
        /// Why.
        why: &'static str,
    },
    /// Somebody serves, so nothing has to be given up.
    #[error("{chain} is served by {serving}")]
    Served {
        /// The chain.
        chain: ChainId,
        /// Its head.
        serving: TargetId,
    },
    /// It cannot serve now.
    #[error("{target} cannot serve: {why}")]
    Unfit {
        /// The target.
        target: TargetId,
        /// Why.
        why: &'static str,
    },
    /// It has to be said that data may be lost.
    #[error("{0}")]
    DataLoss(Box<Loss>),
    /// A node has targets.
    #[error("{node} has {count} targets, one of them is {target}")]
    HasTargets {
        /// The node.
        node: NodeId,
        /// How many.
        count: usize,
        /// The first.
        target: TargetId,
    },
    /// A counter has run out.
    #[error("{what} have run out")]
    RunOut {
        /// The counter.
        what: &'static str,
    },
    /// Demotions are not allowed yet (L3).
    #[error("nobody is demoted for another {} after a takeover", span(.left))]
    TooEarly {
        /// Time left.
        left: core::time::Duration,
    },
}

/// What a command writes, and what it names.
#[derive(Default)]
struct Plan {
    writes: Vec<(RecordKey, Option<Record>)>,
    chains: Vec<ChainId>,
    targets: Vec<TargetId>,
}

impl Plan {
    fn put(&mut self, key: RecordKey, record: Record) {
        self.writes.push((key, Some(record)));
    }

    /// One record.
    fn of(key: RecordKey, record: Record) -> Self {
        Self { writes: Vec::from([(key, Some(record))]), ..Self::default() }
    }
}

impl Cluster {
    /// Checks a command and makes its change.
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then.
    pub fn command(&mut self, command: &Command, now: Instant) -> Result<Accepted, CommandError> {
        if !self.publisher.is_ready() {
            return Err(CommandError::NotReady);
        }
        if self.is_busy() {
            return Err(CommandError::Busy);
        }
        let plan = match command {
            Command::CreateChains(chains) => self.create_chains(chains),
            Command::SetTable(table, chains) => self.set_table(*table, chains),
            Command::AddTarget(chain, target) => self.add_target(*chain, target, None),
            Command::RemoveTarget(target) => self.remove_target(*target),
            Command::Replace(old, new) => {
                self.add_target(self.target_record(*old)?.chain, new, Some(*old))
            }
            Command::DrainTarget(target, drain) => self.drain_target(*target, *drain),
            Command::AdoptStore(target, store) => self.adopt_store(*target, *store),
            Command::SetPreferredOrder(chain, order) => self.set_order(*chain, order),
            Command::Rotate(chain) => self.rotate(*chain, now),
            &Command::GiveUpTo { target, accept_data_loss } => {
                self.give_up_to(target, accept_data_loss, now)
            }
            Command::EnableNode(node, enabled) => {
                self.change_node(*node, |record| record.enabled = *enabled)
            }
            Command::DrainNode(node, draining) => {
                self.change_node(*node, |record| record.draining = *draining)
            }
            Command::UnregisterNode(node) => self.unregister_node(*node),
            Command::TagNode(node, tag, value) => self.tag_node(*node, tag, value.as_ref()),
            Command::StopChains(stop) => self.change_cluster(|record| {
                record.stopped = *stop;
                Ok(())
            }),
            Command::RaiseTimeline => self.change_cluster(|record| {
                let next = record.timeline.next();
                record.timeline = next.ok_or(CommandError::RunOut { what: "timelines" })?;
                Ok(())
            }),
        }?;
        let Plan { writes, chains, targets } = plan;
        count("records of a change", writes.len(), 0, CHANGE_WRITES_MAX)?;
        let change = (!writes.is_empty()).then(|| self.stage(writes, now));
        Ok(Accepted { change, chains, targets })
    }
}

fn count(what: &'static str, found: usize, min: usize, max: usize) -> Result<(), CommandError> {
    let fits = (min..=max).contains(&found);
    if fits { Ok(()) } else { Err(CommandError::Count { what, found, min, max }) }
}

#[cfg(test)]
mod tests;
