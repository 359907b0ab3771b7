//! Leases that standbys renew while the primary does not answer (L5), so that its death does not
//! stop data I/O until a successor has taken over.
//!
//! ```text
//!   node --heartbeat--> primary            no answer: the same to a standby
//!   standby: has it seen the primary's record unchanged for 1.25 renewal intervals? (`stands_in`)
//!     one transaction: reads, with conflict, the primary's lease record, the cluster, the node,
//!                      the summary of sessions, and the chains of the targets that serve
//!                      `renew` on what it read
//!                      writes the node's grant record, counted up
//!   committed: the answer, with leases from the sending of the heartbeat on
//! ```
//! Owner: a manager that does not hold the primary's lease. It keeps nothing between two calls.
//!
//! A standby renews what is there. It changes no record but the grant record, gives no chain
//! versions to install, demotes nobody, and leaves to the primary whatever needs memory: whether a
//! shard makes progress (L5b), whether a clock runs away (E290).
//!
//! **Why nobody reads stale data.** A standby grants for the committed version `v` of a chain to
//! who serves in it, and only while nobody is listed as departed. By E261 whoever holds a lease of
//! an earlier version then serves in `v` too, so this lease is compatible with all that are held.
//! It stays so: a later version `w` without that target is a change that demotes it, and the
//! transaction of such a change reads, with conflict, the grant records of the nodes that lose a
//! serving target (`Change::demoted`). The KV orders the two transactions.
//!   - The standby's comes first: the primary finds a grant record that differs from what it knew
//!     when it made the change. It aborts the change, counts the node as holding leases
//!     (`Cluster::standby_granted`), and proposes anew: now the target is listed as departed and is
//!     waited for (R4), like one that the primary had granted a lease itself.
//!   - The demotion comes first: the standby reads `w`, or conflicts with it. No lease.
//!
//! So who reads "nobody departed" in a record knows it of the leases of standbys too. Sessions are
//! fenced by the same argument: raising `fenced_to` reads the grant records of *all* nodes, and a
//! standby reads `fenced_to` in its transaction (E294). A change that demotes nobody needs none of
//! that: whoever holds a lease serves on. Neither does registering a later start of a node, or
//! disabling it: those write its record, which the standby reads, and demote afterwards.
//!
//! **For how long.** `PrimaryLease::standby` of the record that is read. Every lease that a standby
//! grants answers a heartbeat that arrived before its transaction committed, so it is over
//! `stretched(standby)` after the primary learned of the grant; `StorageLeases::until`, asked for
//! *after* the grant record was read, covers all lengths that its records have let standbys grant.
//!
//! **Takeover (L3).** Grants that were committed before a new primary read the grant records answer
//! heartbeats that arrived before; all leases of that kind are over at `StorageLeases::until` of a
//! moment behind that reading, before which nobody is demoted or fenced. So the order is: take the
//! lease, read the grant records, read the clock, `Cluster::load` and `Sessions::load` with that
//! moment. Grants committed later differ from what was read. A takeover conflicts with every grant,
//! as both touch the lease record; standbys that go on by the new record have seen it unchanged.
//! A record that was released has no holder: standbys renew by it at once, until it is taken.
//!
//! **Reordering.** A heartbeat that says "offline" gives back what the primary granted, as nodes
//! take no answer to heartbeats sent before. One that arrives late may have been sent before the
//! heartbeat that a standby answered, so leases of standbys are never given back that way (`Hold`).
//!
//! **R5, R20.** A lease names a start of a store, and stores are opened by one process at a time;
//! members that never reported have no start and get no lease from standbys. The record lists the
//! stores of its serving members (E260), so another store under the number of a target gets none.
//! Who installed its version in another timeline than the cluster's gets none: after the timeline
//! was raised that is everybody until the primary has lifted the chains. A KV that came back from a
//! backup is not noticed here: a store that knows more than the record freezes its chain at the
//! primary that heard of it, while a standby, like a primary that has not heard of it yet, renews
//! for the members that were left behind. After restoring, nodes have to be stopped, or no manager
//! may run, until all stores can be heard.
//!
//! Invariants
//!   E309  a standby grants (target, start, chain, version) only by records that the transaction
//!         which counts the grant has read: the target serves in the committed version as that
//!         start, has installed it, and nobody departed is listed
//!   E310  a change that stops a target from serving, or raises `fenced_to`, is committed only if
//!         the grant records of the nodes concerned are as the primary knew them when it made it
//!   E311  no lease of a standby is longer than the stored lease record lets it be
//!
//! Crash: a grant record without an answer costs the primary a wait, nothing else. The same holds
//! for a transaction whose result is unknown: it is not answered.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use engine_types::{ChainId, Incarnation, NodeId, NodeRole, RoutingVersion, reached};

use crate::chain::LocalState;
use crate::fields::{DecodeError, Reader, Writer};
use crate::heartbeat::{Heartbeat, HeartbeatAnswer, HeartbeatError, Lease, TargetReport};
use crate::lease::PrimaryLease;
use crate::record::{ChainRecord, ClusterRecord, NodeRecord, UNADOPTED};
use crate::session::{FenceError, SessionSummary};

const VERSION: u8 = 1;
const RECORD: &str = "grant";

/// What the KV holds of the leases that standbys have renewed for a node: that they did.
///
/// ```text
///   0  version u8 = 1, body length u32          the frame of `fields`
///   5  number u64  manager: node u32, incarnation u64
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantRecord {
    /// Counts the grants of the node, from 1: no two records of a node are equal.
    pub number: u64,
    /// The standby that granted last, for people.
    pub manager: NodeId,
    /// Its start.
    pub incarnation: Incarnation,
}

impl GrantRecord {
    /// For the KV.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        out.u64(self.number);
        out.u32(self.manager.get());
        out.u64(self.incarnation.get());
        out.finish()
    }

    /// From the KV.
    ///
    /// # Errors
    /// The first field that does not fit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(RECORD, bytes)?;
        let number = reader.u64("number")?;
        let manager = NodeId::new(reader.u32("manager")?);
        let incarnation = Incarnation::new(reader.u64("incarnation")?);
        Ok(Self { number, manager, incarnation })
    }

    /// The record of the grant behind `former`.
    fn after(former: Option<&Self>, (manager, incarnation): (NodeId, Incarnation)) -> Self {
        let number = former.map_or(0, |former| former.number).checked_add(1);
        let number = number.expect("E310: a grant takes milliseconds, 2^64 do not pass");
        Self { number, manager, incarnation }
    }
}

/// What one transaction has read, all of it with conflict, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct StandbyInput<'a> {
    /// This manager, in its present start.
    pub me: (NodeId, Incarnation),
    /// The record by which it stands in, as `Observer::stands_in` gave it.
    pub observed: &'a PrimaryLease,
    /// The record of the primary's lease that is stored.
    pub lease: Option<&'a PrimaryLease>,
    /// The cluster.
    pub cluster: &'a ClusterRecord,
    /// The node that sent the heartbeat, if it is registered.
    pub node: Option<&'a NodeRecord>,
    /// The summary of the sessions.
    pub sessions: &'a SessionSummary,
    /// The chains that [`chains_of`] names, those that exist.
    pub chains: &'a BTreeMap<ChainId, ChainRecord>,
    /// What standbys granted to the node before.
    pub grant: Option<&'a GrantRecord>,
    /// A mistake that a test plants.
    #[cfg(test)]
    pub(crate) planted: Option<crate::cluster::planted::Planted>,
}

/// What a standby does for a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// For the node, once the transaction has committed for certain. It gives nothing to install,
    /// and 0 as routing version: what is published is the primary's to say.
    pub answer: HeartbeatAnswer,
    /// To be written in the transaction; nothing if no lease is granted.
    pub grant: Option<GrantRecord>,
}

/// Why a standby does not answer a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StandbyError {
    /// There was never a primary, so nothing says how long leases may be.
    #[error("there is no record of a primary")]
    NoPrimary,
    /// The primary has renewed its lease, or another one took it.
    #[error("the primary's record has changed: ask the primary")]
    PrimaryLives,
    /// What a primary would refuse as well.
    #[error(transparent)]
    Refused(#[from] HeartbeatError),
}

/// The chains whose records are to be read for a heartbeat: those of targets that serve, as far as
/// their node knows.
pub fn chains_of(beat: &Heartbeat) -> BTreeSet<ChainId> {
    let serving = beat.targets.iter().filter(|report| report.local == LocalState::UpToDate);
    serving.filter_map(|report| report.chain).collect()
}

/// What becomes of a heartbeat that the primary did not answer (E309).
///
/// # Errors
/// Nothing is to be written, and nothing answered but that.
pub fn renew(input: &StandbyInput<'_>, beat: &Heartbeat) -> Result<Renewal, StandbyError> {
    let lease = input.lease.ok_or(StandbyError::NoPrimary)?;
    if lease != input.observed {
        reached!("L5: a primary came back before a standby could stand in");
        return Err(StandbyError::PrimaryLives);
    }
    let node = admit(input.node, beat)?;
    let fenced = match node.role {
        NodeRole::Storage => fence(input, beat).err(),
        _ => None,
    };
    let lasts = lease.standby;
    #[cfg(test)]
    let (lasts, fenced) = crate::cluster::planted::standby(input.planted, lasts, fenced);
    let leases: Vec<Lease> = match fenced {
        Some(_) => Vec::new(),
        None => beat.targets.iter().filter_map(|said| granted(input, beat, said)).collect(),
    };
    let grant = (!leases.is_empty()).then(|| GrantRecord::after(input.grant, input.me));
    if grant.is_some() {
        reached!("L5: a standby renews leases");
    }
    let answer = HeartbeatAnswer {
        sequence: beat.sequence,
        sent: beat.sent,
        lease: lasts,
        routing: RoutingVersion::new(0),
        timeline: input.cluster.timeline,
        leases,
        moves: Vec::new(),
        unknown: Vec::new(),
        fenced,
    };
    Ok(Renewal { answer, grant })
}

/// Only the registered start of an enabled node is answered (E276). Order does not matter here: the
/// primary does not learn from what standbys are told, and nodes know what they have dropped since.
fn admit<'a>(
    node: Option<&'a NodeRecord>,
    beat: &Heartbeat,
) -> Result<&'a NodeRecord, HeartbeatError> {
    let id = beat.node;
    let node = node.ok_or(HeartbeatError::Unknown { node: id })?;
    if !node.enabled {
        return Err(HeartbeatError::Disabled { node: id });
    }
    let (found, expected) = (beat.incarnation, node.incarnation);
    if found != expected {
        return Err(HeartbeatError::OtherStart { node: id, found, expected });
    }
    Ok(node)
}

/// Whether the node has drained what is fenced (E294).
fn fence(input: &StandbyInput<'_>, beat: &Heartbeat) -> Result<(), FenceError> {
    let same = beat.timeline == input.cluster.timeline;
    let found = if same { beat.drained } else { RoutingVersion::default() };
    let needed = input.sessions.fenced_to;
    if needed <= found {
        return Ok(());
    }
    let (node, incarnation) = (beat.node, beat.incarnation);
    Err(FenceError::NotDrained { node, incarnation, found, needed })
}

/// The lease of a target, if its chain's record lets it serve.
fn granted(input: &StandbyInput<'_>, beat: &Heartbeat, said: &TargetReport) -> Option<Lease> {
    let chain = said.chain?;
    let record = input.chains.get(&chain)?;
    let TargetReport { target, incarnation, store, version, .. } = *said;
    let runs = beat.shards.iter().any(|shard| shard.core == said.core);
    let usable = runs
        && said.local == LocalState::UpToDate
        && !said.damaged
        && said.timeline == input.cluster.timeline
        && incarnation != UNADOPTED
        && !input.cluster.stopped;
    let serves = record.serves(target, incarnation);
    let nobody_departed = record.departed.is_empty();
    #[cfg(test)]
    let (serves, nobody_departed) = crate::cluster::planted::by_standby(
        input.planted,
        record,
        target,
        (serves, nobody_departed),
    );
    let may = usable
        && serves
        && record.served_last(target, store)
        && record.version == version
        && nobody_departed;
    may.then_some(Lease { target, incarnation, chain, version })
}

#[cfg(test)]
mod tests;
