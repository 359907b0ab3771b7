//! Commands on chains, targets and tables.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use engine_types::limits::{CHAIN_MEMBERS_MAX, CHAIN_TABLES_MAX, CHAINS_MAX, TARGETS_MAX};
use engine_types::{
    ChainId, ChainTableId, ChainTableVersion, ChainVersion, Instant, Member, NodeRole, PublicState,
    StoreId, TargetId,
};

use super::{CommandError, Loss, NewTarget, Plan, count};
use crate::chain::{self, LocalState};
use crate::cluster::{Chain, Cluster};
use crate::record::{
    ChainRecord, ClusterRecord, LastServer, Leaving, Record, RecordKey, TABLE_PART_CHAINS,
    TableRecord, TargetRecord, UNADOPTED,
};

impl Cluster {
    pub(super) fn target_record(&self, target: TargetId) -> Result<&TargetRecord, CommandError> {
        let known = self.targets.get(&target).ok_or(CommandError::NoTarget { target })?;
        Ok(&known.record)
    }

    /// A chain that may be changed now (E279).
    fn free_chain(&self, id: ChainId) -> Result<&ChainRecord, CommandError> {
        let Chain { record, withheld } =
            self.chains.get(&id).ok_or(CommandError::NoChain { chain: id })?;
        if withheld.is_some() {
            return Err(CommandError::Withheld { chain: id, version: record.version });
        }
        if let Some(target) = self.frozen_by(id) {
            return Err(CommandError::Ahead { chain: id, version: record.version, target });
        }
        Ok(record)
    }

    /// A member and its chain, which may be changed now.
    fn free_member(
        &self,
        target: TargetId,
    ) -> Result<(ChainId, ChainRecord, Member), CommandError> {
        let id = self.target_record(target)?.chain;
        let record = self.free_chain(id)?;
        let member = *record.member(target).ok_or(CommandError::NoTarget { target })?;
        Ok((id, record.clone(), member))
    }

    /// The record of a new target, with its id.
    fn new_target(
        &self,
        cluster: &mut ClusterRecord,
        chain: ChainId,
        new: &NewTarget,
    ) -> Result<(TargetId, TargetRecord), CommandError> {
        let node = self.node(new.node)?;
        if node.role != NodeRole::Storage {
            return Err(CommandError::NotStorage { node: new.node, found: node.role });
        }
        let id = TargetId::new(cluster.next_target);
        let next = cluster.next_target.checked_add(1);
        cluster.next_target = next.ok_or(CommandError::RunOut { what: "ids of targets" })?;
        let &NewTarget { node, core, store, disk } = new;
        let created = cluster.timeline;
        Ok((id, TargetRecord { node, core, store, chain, disk, created, leaving: Leaving::No }))
    }

    pub(super) fn create_chains(&self, wanted: &[Vec<NewTarget>]) -> Result<Plan, CommandError> {
        let targets: usize = wanted.iter().map(Vec::len).sum();
        count("chains", self.chains.len() + wanted.len(), 1, CHAINS_MAX)?;
        count("targets", self.targets.len() + targets, 1, TARGETS_MAX)?;
        let mut cluster = self.record.clone();
        let mut plan = Plan::default();
        for members in wanted {
            count("members of a chain", members.len(), 1, CHAIN_MEMBERS_MAX)?;
            let id = ChainId::new(cluster.next_chain);
            let id = id.ok_or(CommandError::RunOut { what: "ids of chains" })?;
            let next = cluster.next_chain.checked_add(1);
            cluster.next_chain = next.ok_or(CommandError::RunOut { what: "ids of chains" })?;
            let mut record = ChainRecord {
                version: ChainVersion::new(1),
                members: Vec::new(),
                last_serving: Vec::new(),
                preferred: Vec::new(),
                departed: Vec::new(),
            };
            let mut stores = BTreeSet::new();
            for new in members {
                if !stores.insert(new.store) {
                    return Err(CommandError::SameStore { store: new.store });
                }
                let (target, its) = self.new_target(&mut cluster, id, new)?;
                let state = PublicState::Serving;
                record.members.push(Member { target, state, incarnation: UNADOPTED });
                record.last_serving.push(LastServer { target, store: new.store });
                record.preferred.push(target);
                plan.targets.push(target);
                plan.put(RecordKey::Target(target), Record::Target(its));
            }
            plan.chains.push(id);
            plan.put(RecordKey::Chain(id), Record::Chain(record));
        }
        plan.put(RecordKey::Cluster, Record::Cluster(cluster));
        Ok(plan)
    }

    pub(super) fn set_table(
        &self,
        id: ChainTableId,
        chains: &[ChainId],
    ) -> Result<Plan, CommandError> {
        count("chains of a table", chains.len(), 1, CHAINS_MAX)?;
        if let Some(&chain) = chains.iter().find(|&chain| !self.chains.contains_key(chain)) {
            return Err(CommandError::NoChain { chain });
        }
        let tables = &self.publisher.info.tables;
        let former = tables.get(&id);
        count("chain tables", tables.len() + usize::from(former.is_none()), 1, CHAIN_TABLES_MAX)?;
        if former.is_some_and(|former| former.chains == chains) {
            return Ok(Plan::default());
        }
        let version = match former {
            Some(former) => former.version.next(),
            None => Some(ChainTableVersion::new(1)),
        };
        let version = version.ok_or(CommandError::RunOut { what: "versions of a table" })?;
        let mut plan = Plan::default();
        for (part, chains) in (0..).zip(chains.chunks(TABLE_PART_CHAINS)) {
            let record = Record::Table(TableRecord { chains: chains.to_vec() });
            plan.put(RecordKey::Table(id, version, part), record);
        }
        Ok(plan)
    }

    /// Adds a member, and lets it replace `old`.
    pub(super) fn add_target(
        &self,
        id: ChainId,
        new: &NewTarget,
        old: Option<TargetId>,
    ) -> Result<Plan, CommandError> {
        let record = self.free_chain(id)?;
        count("members of a chain", record.members.len() + 1, 1, CHAIN_MEMBERS_MAX)?;
        count("targets", self.targets.len() + 1, 1, TARGETS_MAX)?;
        for member in &record.members {
            if self.target_record(member.target)?.store == new.store {
                return Err(CommandError::SameStore { store: new.store });
            }
        }
        let mut cluster = self.record.clone();
        let (target, its) = self.new_target(&mut cluster, id, new)?;
        let mut next = record.clone();
        next.members.push(Member { target, state: PublicState::Offline, incarnation: UNADOPTED });
        next.version = next_version(record)?;
        let mut plan = Plan::default();
        if let Some(old) = old {
            let former = *self.target_record(old)?;
            if let Leaving::ReplacedBy(_) = former.leaving {
                return Err(CommandError::Leaves { target: old, found: former.leaving });
            }
            // Whoever waits for `old` to serve would wait for ever.
            if let Some(waiting) = self.replaced_by(record, old) {
                return Err(CommandError::Replaces { target: old, old: waiting });
            }
            let leaving = Leaving::ReplacedBy(target);
            let record = Record::Target(TargetRecord { leaving, ..former });
            plan.put(RecordKey::Target(old), record);
            let order = next.preferred.iter_mut().find(|target| **target == old);
            if let Some(place) = order {
                *place = target;
            }
        }
        plan.put(RecordKey::Cluster, Record::Cluster(cluster));
        plan.put(RecordKey::Target(target), Record::Target(its));
        plan.put(RecordKey::Chain(id), Record::Chain(next));
        plan.targets.push(target);
        plan.chains.push(id);
        Ok(plan)
    }

    pub(super) fn remove_target(&self, target: TargetId) -> Result<Plan, CommandError> {
        let (id, record, member) = self.free_member(target)?;
        if record.members.len() == 1 {
            return Err(CommandError::OnlyMember { target, chain: id });
        }
        if matches!(member.state, PublicState::Serving | PublicState::LastServing) {
            let expected = "expected one that is drained and holds nothing the chain needs";
            return Err(CommandError::State { target, found: member.state, expected });
        }
        if let Some(old) = self.replaced_by(&record, target) {
            return Err(CommandError::Replaces { target, old });
        }
        let mut next = record.clone();
        next.members.retain(|member| member.target != target);
        next.preferred.retain(|&other| other != target);
        next.version = next_version(&record)?;
        let mut plan = Plan::of(RecordKey::Chain(id), Record::Chain(next));
        plan.writes.push((RecordKey::Target(target), None));
        Ok(plan)
    }

    fn replaced_by(&self, record: &ChainRecord, new: TargetId) -> Option<TargetId> {
        let leaving = |m: &&Member| {
            self.targets.get(&m.target).map(|target| target.record.leaving)
                == Some(Leaving::ReplacedBy(new))
        };
        record.members.iter().find(leaving).map(|m| m.target)
    }

    pub(super) fn drain_target(&self, id: TargetId, drain: bool) -> Result<Plan, CommandError> {
        let former = *self.target_record(id)?;
        if let (Leaving::ReplacedBy(_), true) = (former.leaving, drain) {
            return Err(CommandError::Leaves { target: id, found: former.leaving });
        }
        let leaving = if drain { Leaving::Drained } else { Leaving::No };
        if leaving == former.leaving {
            return Ok(Plan::default());
        }
        let record = TargetRecord { leaving, ..former };
        Ok(Plan::of(RecordKey::Target(id), Record::Target(record)))
    }

    /// Another store in a target's place holds none of its data, so the target must not be one
    /// that the chain needs.
    pub(super) fn adopt_store(
        &self,
        target: TargetId,
        store: StoreId,
    ) -> Result<Plan, CommandError> {
        let (_, record, member) = self.free_member(target)?;
        let former = *self.target_record(target)?;
        if former.store == store {
            return Ok(Plan::default());
        }
        if matches!(member.state, PublicState::Serving | PublicState::LastServing) {
            let expected = "expected one whose data the chain does not need";
            return Err(CommandError::State { target, found: member.state, expected });
        }
        for other in &record.members {
            if self.target_record(other.target)?.store == store {
                return Err(CommandError::SameStore { store });
            }
        }
        let record = TargetRecord { store, ..former };
        Ok(Plan::of(RecordKey::Target(target), Record::Target(record)))
    }

    pub(super) fn set_order(&self, id: ChainId, order: &[TargetId]) -> Result<Plan, CommandError> {
        let record = self.free_chain(id)?;
        if !order.is_empty() {
            let named = |target| order.iter().filter(|&&other| other == target).count();
            let wrong = record.members.iter().find(|m| named(m.target) != 1).map(|m| m.target);
            let alien = order.iter().find(|&&target| record.member(target).is_none()).copied();
            if let Some(target) = wrong.or(alien) {
                return Err(CommandError::Order { chain: id, target });
            }
        }
        if record.preferred == order {
            return Ok(Plan::default());
        }
        let next = ChainRecord { preferred: order.to_vec(), ..record.clone() };
        Ok(Plan::of(RecordKey::Chain(id), Record::Chain(next)))
    }

    pub(super) fn rotate(&self, id: ChainId, now: Instant) -> Result<Plan, CommandError> {
        let record = self.free_chain(id)?;
        if !self.may_demote(now) {
            let left = self.grace_until.saturating_since(now);
            return Err(CommandError::TooEarly { left });
        }
        let why = if record.preferred.is_empty() {
            "it has no preferred order"
        } else if record.members.iter().map(|m| m.target).eq(record.preferred.iter().copied()) {
            "it is in its preferred order"
        } else {
            "not all of its members serve"
        };
        let next = chain::rotate(record).ok_or(CommandError::Rotation { chain: id, why })?;
        Ok(Plan::of(RecordKey::Chain(id), Record::Chain(next)))
    }

    pub(super) fn give_up_to(
        &self,
        target: TargetId,
        accepted: bool,
        now: Instant,
    ) -> Result<Plan, CommandError> {
        let (id, record, member) = self.free_member(target)?;
        if let Some(head) = record.info().head() {
            return Err(CommandError::Served { chain: id, serving: head });
        }
        let alive = |m: &Member| {
            let local = self.view(m, now).local;
            matches!(local, Some(LocalState::UpToDate | LocalState::Online))
        };
        let view = self.view(&member, now);
        let why = if self.record.stopped {
            "all chains are stopped"
        } else if !alive(&member) {
            "it is offline"
        } else if view.damaged {
            "its store is damaged and has to be mended first"
        } else {
            ""
        };
        if !why.is_empty() {
            return Err(CommandError::Unfit { target, why });
        }
        if !accepted {
            let last: Vec<TargetId> = record.last_serving.iter().map(|last| last.target).collect();
            let reachable = record.members.iter().filter(|m| last.contains(&m.target) && alive(m));
            let reachable = reachable.map(|m| m.target).collect();
            let loss = Loss { chain: id, version: record.version, target, last, reachable };
            return Err(CommandError::DataLoss(Box::new(loss)));
        }
        let mut next = record.clone();
        for other in &mut next.members {
            if other.target == target {
                other.state = PublicState::Serving;
                other.incarnation = view.incarnation;
            } else {
                other.state = PublicState::Offline;
            }
        }
        next.members.sort_by_key(|m| m.state != PublicState::Serving);
        next.last_serving = Vec::from([LastServer { target, store: view.store }]);
        next.version = next_version(&record)?;
        chain::check(&next);
        Ok(Plan::of(RecordKey::Chain(id), Record::Chain(next)))
    }
}

fn next_version(record: &ChainRecord) -> Result<ChainVersion, CommandError> {
    record.version.next().ok_or(CommandError::RunOut { what: "versions of a chain" })
}
