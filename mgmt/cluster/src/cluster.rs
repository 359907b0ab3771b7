//! The whole cluster, as the primary manager keeps it in memory.
//!
//! ```text
//!   records of the KV --load--> Cluster <--heartbeats, registrations, commands-- nodes, operators
//!                                  |  propose, command, register
//!                                  v
//!                               Change --one KV transaction--> committed | abort | load again
//!                                  |
//!                                  v
//!                  routing info, deltas, leases (in answers to heartbeats)
//! ```
//!
//! Owner: the primary. Only `committed` changes what records say; everything derived from a record
//! is derived in `apply`, which loading uses as well, so a new primary and an old one that
//! committed the same records agree. A change whose result is unknown is resolved by loading anew.
//!
//! Invariants
//!   E270  at most one change is in flight, and nothing of it shows before it is committed
//!   E271  routing versions rise over all primaries: version v is published only while v is at most
//!         the reserved one in the KV, and a primary starts above everything reserved before it
//!   E272  every published routing info validates
//!
//! Takeover (L3): a primary that loads at T knows nothing of the leases its predecessor granted,
//! but every one of them answers a heartbeat that was sent before T, so it has run out at
//! T + D_s * (1 + e). Until then every serving or departed member counts as a holder and nobody is
//! demoted. See `publish` for what becomes of versions that the predecessor may not have published.

mod apply;
mod inspect;
mod lapse;
mod order;
mod stage;

use core::time::Duration;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use engine_types::{
    ChainId, ChainTableId, ChainTableVersion, Instant, Map, NodeId, PublicState, RoutingInfo,
    RoutingVersion, TargetId, reached,
};

pub use inspect::{NodeView, TargetView};
pub use lapse::LAPSE;
pub use stage::Change;
pub(crate) use stage::InFlight;
use stage::RESERVED_STEP;

use crate::chain::{LocalState, Moment, View, update};
use crate::fields::DecodeError;
use crate::lease::ClockCheck;
use crate::publish::{Publisher, Withheld};
use crate::record::{ChainRecord, ClusterRecord, Leaving, Record, RecordKey, RoutingRecord};
use crate::registry::{Node, Target};
use crate::rules::Rules;
use crate::slots::SyncSlots;

/// Records in one change: at 200 bytes each, 4,096 are a twelfth of what a transaction may carry.
pub const CHANGE_WRITES_MAX: usize = 4096;

/// A chain.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) record: ChainRecord,
    /// Set while leases of earlier versions bar this one.
    pub(crate) withheld: Option<Withheld>,
}

/// What may become due without an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// Demotions are allowed again (L3).
    Grace,
    /// A node may be dead (L4).
    Node(NodeId),
    /// A withheld version may be published (R4).
    Chain(ChainId),
}

/// Why records are no cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Without it there is no cluster.
    #[error("no record {key:?}")]
    Missing {
        /// The record.
        key: RecordKey,
    },
    /// A record is of another kind than its key.
    #[error("record {key:?} holds something of another kind")]
    OtherKind {
        /// Its key.
        key: RecordKey,
    },
    /// A chain's record contradicts itself.
    #[error("{chain}: {why}")]
    Chain {
        /// The chain.
        chain: ChainId,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A part of a chain table does not follow on those before it.
    #[error("{table} {version}: part {part} behind {before} chains")]
    TablePart {
        /// The table.
        table: ChainTableId,
        /// Its version.
        version: ChainTableVersion,
        /// The part.
        part: u32,
        /// Chains in the parts before it.
        before: usize,
    },
    /// What the records publish contradicts itself.
    #[error("records contradict each other: {0}")]
    Routing(#[from] engine_types::RoutingError),
}

/// The whole cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub(crate) rules: Rules,
    /// From here on nobody holds a lease of a predecessor.
    pub(crate) grace_until: Instant,
    pub(crate) record: ClusterRecord,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) targets: Map<TargetId, Target>,
    pub(crate) chains: Map<ChainId, Chain>,
    pub(crate) tables: BTreeMap<(ChainTableId, ChainTableVersion), Vec<ChainId>>,
    pub(crate) publisher: Publisher,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) changes: u64,
    /// Chains whose next state may differ from the present one.
    pub(crate) dirty: BTreeSet<ChainId>,
    /// Chains that were not changed because it was too early to demote anybody.
    suppressed: BTreeSet<ChainId>,
    /// Published chains whose record still lists departed members.
    pub(crate) unsettled: BTreeSet<ChainId>,
    pub(crate) due: BTreeSet<(Instant, Due)>,
    pub(crate) slots: SyncSlots,
    /// The last tick or heartbeat.
    attended: Instant,
    /// How often silence was found to say nothing.
    lapses: u64,
    /// A longer wait for the death of nodes than the rules say, and until when it counts.
    patience: (Duration, Instant),
    /// How long a lease lasts that is granted now.
    pub(crate) lease: Duration,
}

impl Cluster {
    /// The records of a new cluster; the manager writes them where none exist.
    ///
    /// # Errors
    /// A record that could not be loaded, as its name is too long.
    pub fn found(record: ClusterRecord) -> Result<[(RecordKey, Record); 2], DecodeError> {
        let routing = RoutingRecord { reserved: RoutingVersion::new(0) };
        let record = Record::Cluster(record);
        Record::decode(&RecordKey::Cluster, &record.encode())?;
        Ok([(RecordKey::Cluster, record), (RecordKey::Routing, Record::Routing(routing))])
    }

    /// Takes over at `now`, after the manager's lease was written. It publishes nothing and grants
    /// nothing until the first change, which `propose` gives at once, is committed (E271).
    ///
    /// `demotes_from` is when all leases are over that were granted before, by predecessors or, if
    /// it loads again within its term, by this manager, perhaps by longer rules (L3): what
    /// `StorageLeases::until` says. It is never before `now + D_s * (1 + e)`.
    ///
    /// # Errors
    /// Records that are incomplete or contradict each other.
    pub fn load(
        records: impl IntoIterator<Item = (RecordKey, Record)>,
        rules: Rules,
        now: Instant,
        demotes_from: Instant,
    ) -> Result<Self, LoadError> {
        let mut records: BTreeMap<RecordKey, Record> = records.into_iter().collect();
        if let Some((&key, _)) = records.iter().find(|(key, record)| !record.is_of(key)) {
            return Err(LoadError::OtherKind { key });
        }
        let mut take = |key| records.remove(&key).ok_or(LoadError::Missing { key });
        let cluster = take(RecordKey::Cluster)?;
        let routing = take(RecordKey::Routing)?;
        let (Record::Cluster(record), Record::Routing(routing)) = (cluster, routing) else {
            return Err(LoadError::OtherKind { key: RecordKey::Cluster });
        };
        let grace_until = demotes_from.max(now + rules.wait());
        let mut cluster = Self {
            lease: rules.times.storage(),
            grace_until,
            publisher: Publisher::new(record.id, record.timeline, routing.reserved),
            record,
            rules,
            nodes: BTreeMap::new(),
            targets: Map::default(),
            chains: Map::default(),
            tables: BTreeMap::new(),
            in_flight: None,
            changes: 0,
            dirty: BTreeSet::new(),
            suppressed: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            due: BTreeSet::from([(grace_until, Due::Grace)]),
            slots: SyncSlots::default(),
            attended: now,
            lapses: 0,
            patience: (Duration::ZERO, now),
        };
        for (key, record) in records {
            cluster.load_one(key, record, now)?;
        }
        cluster.publisher.info.validate()?;
        Ok(cluster)
    }

    /// Other rules from now on. Leases that were granted before count for as long as they were
    /// granted for; longer ones are granted when `set_lease` says that they are announced. Clocks
    /// are observed anew where another drift is allowed.
    ///
    /// Nodes learn of another interval with the answer to their next heartbeat, so who beats at the
    /// former one is not dead by the new wait: the longer of both counts until everybody could be
    /// heard, that is for the former wait and beat from `now` on.
    pub fn set_rules(&mut self, rules: Rules, now: Instant) {
        let until = now + self.wait(now) + self.rules.times.beat();
        if rules.wait() < self.wait(now) {
            self.patience = (self.wait(now), self.patience.1.max(until));
        }
        let restores = rules.restore_order && !self.rules.restore_order;
        if self.rules.times.drift_ppm() != rules.times.drift_ppm() {
            for node in self.nodes.values_mut() {
                node.clock = ClockCheck::new(&rules.times);
            }
        }
        self.lease = self.lease.min(rules.times.storage());
        self.rules = rules;
        if restores {
            self.mark_disordered();
        }
    }

    /// What may be granted from now on, as the holder of the primary's lease says
    /// (`StorageLeases::lasts`): after `load` and each renewal.
    pub fn set_lease(&mut self, lasts: Duration) {
        self.lease = lasts.min(self.rules.times.storage());
    }

    /// Until when a lease that is granted at `now` may be held (E277).
    pub(crate) fn lease_until(&self, now: Instant) -> Instant {
        now + self.rules.times.stretched(self.lease)
    }

    /// Published routing info. It is empty before the first change after `load` is committed.
    pub const fn routing(&self) -> &RoutingInfo {
        &self.publisher.info
    }

    /// The chains of one version of a table. Layouts name versions, and all are kept.
    pub fn table(&self, table: ChainTableId, version: ChainTableVersion) -> Option<&[ChainId]> {
        self.tables.get(&(table, version)).map(Vec::as_slice)
    }

    /// True while a change waits for `committed` or `abort`.
    pub const fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// True from the moment on at which no lease of a predecessor is held (L3).
    pub fn may_demote(&self, now: Instant) -> bool {
        self.grace_until <= now
    }

    /// The next change that events have made necessary, if there is one and none is in flight. The
    /// manager asks after each event and each `tick`.
    pub fn propose(&mut self, now: Instant) -> Option<Change> {
        if self.is_busy() {
            return None;
        }
        if !self.publisher.is_ready() {
            return Some(self.stage(Vec::new(), now));
        }
        let mut writes = Vec::new();
        let mut changed = BTreeSet::new();
        while writes.len() < CHANGE_WRITES_MAX
            && let Some(id) = self.next_dirty()
        {
            // A chain that waits for a slot may come up again; its next change is another one's.
            if changed.contains(&id) {
                continue;
            }
            if let Some((record, removed)) = self.evaluate(id, now) {
                changed.insert(id);
                writes.push((RecordKey::Chain(id), Some(Record::Chain(record))));
                writes.extend(removed.into_iter().map(|target| (RecordKey::Target(target), None)));
            }
        }
        let settling: Vec<ChainId> =
            self.unsettled.iter().filter(|id| !changed.contains(id)).copied().collect();
        for id in settling {
            let chain = &self.chains[&id];
            assert!(chain.withheld.is_none(), "E261: the departed of {id} may hold leases");
            let mut record = chain.record.clone();
            record.departed.clear();
            writes.push((RecordKey::Chain(id), Some(Record::Chain(record))));
            if CHANGE_WRITES_MAX <= writes.len() {
                break;
            }
        }
        let wanted = !writes.is_empty() || self.publisher.wants_reservation(RESERVED_STEP / 4);
        wanted.then(|| self.stage(writes, now))
    }

    /// The next chain to look at: one with news, or else one for which there is a slot to sync in.
    fn next_dirty(&mut self) -> Option<ChainId> {
        if self.dirty.is_empty() {
            self.dirty = self.slots.wake(&self.rules);
        }
        self.dirty.pop_first()
    }

    /// The next record of a chain, and members that leave it for good.
    fn evaluate(&mut self, id: ChainId, now: Instant) -> Option<(ChainRecord, Vec<TargetId>)> {
        let chain = self.chains.get(&id)?;
        if chain.withheld.is_some() {
            return None; // its publication makes it dirty again
        }
        if self.frozen_by(id).is_some() {
            reached!("R20: a chain waits for the timeline to be raised");
            return None; // so does a raised timeline, and another report
        }
        let moment = Moment { may_demote: self.may_demote(now), stopped: self.record.stopped };
        let views: Vec<View> = chain.record.members.iter().map(|m| self.view(m, now)).collect();
        self.queue_for_slots(id, &views);
        self.look_after_mover(id, &views);
        let chain = &self.chains[&id];
        if moment.may_demote || is_settled(&chain.record, &views, moment) {
            self.suppressed.remove(&id);
        } else {
            self.suppressed.insert(id);
        }
        #[cfg(any(test, feature = "planted"))]
        let chain = &planted::chain(chain, self.rules.planted);
        let Some(updated) = update(&chain.record, &views, moment) else {
            return self.restore_order(id, moment).map(|record| (record, Vec::new()));
        };
        let syncs = |record: &ChainRecord| {
            let mut members = record.members.iter();
            members.find(|m| m.state == PublicState::Syncing).map(|m| m.target)
        };
        let (before, after) = (syncs(&chain.record), syncs(&updated.record));
        if let Some(target) = after.filter(|_| before != after) {
            self.slots.promise(self.targets[&target].record.node);
        }
        Some((updated.record, updated.removed))
    }

    /// Chains that could sync a member but for a free slot are called when there is one.
    fn queue_for_slots(&mut self, id: ChainId, views: &[View]) {
        for (member, view) in self.chains[&id].record.members.iter().zip(views) {
            if member.state == PublicState::Waiting && !view.may_sync {
                reached!("E269: a target waits for a slot to sync in");
                self.slots.wait(self.targets[&member.target].record.node, id);
            }
        }
    }

    /// The change in flight is not in the KV and never will be. A manager that cannot tell drops
    /// this `Cluster` and loads another one.
    ///
    /// # Panics
    /// If none is in flight.
    pub fn abort(&mut self) {
        let in_flight = self.in_flight.take().expect("E270: a change is in flight");
        self.slots.forget_promises();
        // A chain that did not move asks for a slot again.
        in_flight.chains.iter().for_each(|id| self.slots.keep_none(*id));
        self.dirty.extend(in_flight.chains);
    }

    /// The change in flight is in the KV: it takes effect, and is published as far as leases let.
    ///
    /// # Panics
    /// If none is in flight.
    pub fn committed(&mut self, now: Instant) {
        let in_flight = self.in_flight.take().expect("E270: a change is in flight");
        self.slots.forget_promises();
        self.apply_all(in_flight.change.writes, now);
        self.dirty.extend(in_flight.chains);
        self.publisher.publish();
    }

    /// Lets time pass: nodes die, withheld versions are published. Call it at `next_due`, or often,
    /// and take in the heartbeats that have arrived before it.
    pub fn tick(&mut self, now: Instant) {
        self.attend(now);
        if !self.publisher.is_ready() {
            return; // what is due stays due
        }
        while let Some(&(at, due)) = self.due.first()
            && at <= now
        {
            self.due.pop_first();
            match due {
                Due::Grace => {
                    self.dirty.append(&mut self.suppressed);
                    if self.rules.restore_order {
                        self.mark_disordered();
                    }
                }
                Due::Node(node) => self.check_node(node, now),
                Due::Chain(chain) => self.check_withheld(chain, now),
            }
        }
        self.publisher.publish();
    }

    /// When `tick` is to be called, if nothing else happens before: something is due, or the
    /// manager would seem to be away (`LAPSE`).
    pub fn next_due(&self) -> Instant {
        let attends = self.attended + LAPSE / 2;
        self.due.first().map_or(attends, |&(at, _)| at.min(attends))
    }

    /// A node whose heartbeats ceased dies (L4); one that was heard meanwhile is looked at again.
    fn check_node(&mut self, id: NodeId, now: Instant) {
        let wait = self.wait(now);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let until = node.heard + wait;
        if now < until {
            self.look_again(id, now);
            return;
        }
        node.dead = true;
        let info = node.info();
        self.publisher.set_node(id, Some(info));
        self.mark_node_dirty(id);
    }

    /// The node was heard: it may be dead when it was silent for long enough, or when patience
    /// ends.
    pub(crate) fn look_again(&mut self, id: NodeId, now: Instant) {
        let dies = self.nodes[&id].heard + self.wait(now);
        let (_, patient) = self.patience;
        let at = if now < patient { dies.min(patient) } else { dies };
        self.due.insert((at, Due::Node(id)));
    }

    pub(crate) fn mark_node_dirty(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(&id) else { return };
        let chains = node.targets.iter().map(|target| self.targets[target].record.chain);
        self.dirty.extend(chains);
    }

    /// The silence after which a node is dead: no lease is granted for longer than the rules say,
    /// and patience with those who know other rules comes on top.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let (longer, until) = self.patience;
        if now < until { longer.max(self.rules.wait()) } else { self.rules.wait() }
    }
}

/// True if no member would be demoted if it were allowed.
fn is_settled(record: &ChainRecord, views: &[View], moment: Moment) -> bool {
    !moment.stopped
        && record.members.iter().zip(views).all(|(member, view)| {
            member.state == PublicState::Serving
                && view.local == Some(LocalState::UpToDate)
                && view.incarnation == member.incarnation
                && view.leaving == Leaving::No
                && !view.damaged
                && !view.outdated
        })
}

#[cfg(any(test, feature = "planted"))]
pub mod planted;
#[cfg(test)]
mod tests;
