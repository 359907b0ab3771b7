//! The manager: which chain version is next, who may know of it, who holds a lease (R4, R5, R10).

use engine_types::{Member, PublicState};

use super::node::{In, index_of, target};
use super::*;

#[derive(Debug)]
pub(super) struct Manager {
    /// As published.
    pub(super) chain: ChainInfo,
    /// Decided, to be published when those it demotes are out (R4).
    change: Option<(ChainInfo, Vec<usize>)>,
    /// A member that the operator wants out.
    pub(super) drain: Option<u64>,
}

impl Manager {
    pub(super) fn new() -> Self {
        let member = |index| Member {
            target: target(index),
            state: PublicState::Serving,
            incarnation: Incarnation::new(1),
        };
        let members = (0..NODES).map(member).collect();
        let chain = ChainInfo { version: ChainVersion::new(1), members };
        Self { chain, change: None, drain: None }
    }

    pub(super) fn all_serve(&self) -> bool {
        self.change.is_none() && self.chain.serving().count() == NODES
    }

    fn newest(&self) -> &ChainInfo {
        self.change.as_ref().map_or(&self.chain, |(chain, _)| chain)
    }
}

fn next(chain: &ChainInfo) -> ChainInfo {
    ChainInfo { version: chain.version.next().unwrap(), members: chain.members.clone() }
}

impl World {
    /// A node that can be reached learns the chain. Who is demoted learns it first.
    pub(super) fn deliver_routing(&mut self, index: usize) {
        let chain = match &self.manager.change {
            Some((chain, demoted)) if demoted.contains(&index) => chain,
            _ => &self.manager.chain,
        };
        let event = Event::ChainArrived { timeline: Timeline::new(1), chain: chain.clone() };
        if self.nodes[index].replica.is_some() && !self.nodes[index].isolated {
            self.nodes[index].inbox.push_back(In::Event(event));
        }
    }

    /// A heartbeat is answered: the lease of the published version.
    pub(super) fn grant(&mut self, index: usize) {
        let demoted = self.manager.change.as_ref().is_some_and(|(_, d)| d.contains(&index));
        let node = &mut self.nodes[index];
        let inherits = self.bug == Some(Bug::StartInherits);
        let serves = self.manager.chain.serving().any(|member| {
            member.target == target(index) && (member.incarnation == node.incarnation || inherits)
        });
        if demoted || !serves || !node.is_heard() {
            return;
        }
        node.lease = Some((self.manager.chain.version, node.incarnation));
        node.inbox.push_back(In::Event(Event::LeaseRenewed));
    }

    /// The manager looks at its members.
    pub(super) fn manage(&mut self) {
        if let Some((_, demoted)) = &self.manager.change {
            // Time passes.
            for index in demoted.clone() {
                if self.rng.chance(300) {
                    self.nodes[index].lease = None;
                }
            }
        }
        if let Some((chain, demoted)) = &self.manager.change {
            let out = |index: &usize| {
                self.nodes[*index].lease.is_none() || self.bug == Some(Bug::PublishedAtOnce)
            };
            if demoted.iter().all(out) {
                self.manager.chain = chain.clone();
                self.manager.change = None;
            }
            return;
        }
        let drain = self.manager.drain.take();
        let lost: Vec<usize> = self
            .manager
            .chain
            .serving()
            .map(|member| (index_of(member.target), member.incarnation))
            .filter(|(index, incarnation)| {
                let node = &self.nodes[*index];
                let other =
                    self.bug != Some(Bug::StartInherits) && node.incarnation != *incarnation;
                !node.is_heard() || other || drain == Some(*index as u64)
            })
            .map(|(index, _)| index)
            .collect();
        if lost.is_empty() {
            self.admit_members();
        } else {
            self.demote(&lost);
        }
    }

    /// Takes those who are lost out; the last ones may restart the chain (R10).
    fn demote(&mut self, lost: &[usize]) {
        let mut chain = next(&self.manager.chain);
        let serving = self.manager.chain.serving().count();
        let last = serving == lost.len();
        for member in &mut chain.members {
            if lost.contains(&index_of(member.target)) {
                member.state = if last { PublicState::LastServing } else { PublicState::Offline };
            } else if last && member.state == PublicState::Syncing {
                member.state = PublicState::Offline;
            }
        }
        chain.members.sort_by_key(|member| match member.state {
            PublicState::Serving => 0,
            PublicState::Syncing => 1,
            _ => 2,
        });
        self.manager.change = Some((chain, lost.to_vec()));
    }

    /// Restarts a chain, lets members sync, promotes who has synced.
    fn admit_members(&mut self) {
        let mut chain = next(self.manager.newest());
        let alive = |member: &Member, world: &Self| world.nodes[index_of(member.target)].is_heard();
        if chain.serving().next().is_none() {
            let any = self.bug == Some(Bug::RestartedByAnybody);
            let last = |m: &Member| (any || m.state == PublicState::LastServing) && alive(m, self);
            let able: Vec<usize> =
                (0..NODES).filter(|place| last(&chain.members[*place])).collect();
            let Some(&first) = self.rng.pick(&able) else { return };
            for member in &mut chain.members {
                member.state = PublicState::Offline;
            }
            chain.members.swap(0, first);
            let first = &mut chain.members[0];
            first.state = PublicState::Serving;
            first.incarnation = self.nodes[index_of(first.target)].incarnation;
            self.manager.chain = chain;
            return;
        }
        if chain.members.iter().any(|member| member.state == PublicState::Syncing) {
            return self.promote(chain);
        }
        let able = |m: &Member| m.state == PublicState::Offline && alive(m, self);
        let Some(place) = chain.members.iter().position(able) else { return };
        let serving = chain.serving().count();
        chain.members.swap(serving, place);
        let member = &mut chain.members[serving];
        member.state = PublicState::Syncing;
        member.incarnation = self.nodes[index_of(member.target)].incarnation;
        self.manager.chain = chain;
    }

    /// The syncing member serves, if it still is what it was; or it is out.
    fn promote(&mut self, mut chain: ChainInfo) {
        let place = chain.members.iter().position(|m| m.state == PublicState::Syncing).unwrap();
        let member = chain.members[place];
        let index = index_of(member.target);
        let node = &self.nodes[index];
        let same = node.is_heard() && node.incarnation == member.incarnation;
        if !same {
            chain.members[place].state = PublicState::Offline;
            self.manager.chain = chain;
            return;
        }
        // R11: what it says counts for the present chain version and start alone.
        if node.up_to_date != Some((self.manager.chain.version, member.incarnation)) {
            return;
        }
        chain.members[place].state = PublicState::Serving;
        self.manager.chain = chain;
    }
}
