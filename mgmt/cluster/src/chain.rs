//! The state table: what a chain becomes when its members report, die, return or have to leave.
//!
//! `update` takes the committed record and what is known of each member, and gives the next record
//! or nothing. It is 3FS's table (a test holds it as data, row by row) with three deviations:
//!   R5   a serving member whose store started anew counts as offline first; only members of a
//!        fresh chain adopt their first incarnation
//!   R10  if all serving members are lost in one step, each of them becomes last-serving, not the
//!        first alone, and only the recorded set may restart the chain
//!   R11  "up-to-date" of a syncing member counts for the committed chain version and its
//!        incarnation only; of a waiting one it counts as "online"
//!
//! Order: serving, syncing, last-serving, waiting, offline; within a class members keep their
//! order, and who is promoted joins at the end.
//!
//! Reordering members that all serve is *not* done in one step. H of [H, M, T] holds a pending
//! write alone; in [T, M, H] it is the tail, and a tail commits its pendings when it installs a
//! version (R6): a reader would see what no other replica has. `rotate` therefore moves one member
//! out, and it returns through syncing, which finds equal digests.
//!
//! Invariants
//!   E262  every result keeps E260, has at most one syncing member and never mixes last-serving
//!         with serving members
//!   E263  a member that serves in the result served before with the same incarnation, or adopted
//!         its first one, or was syncing and up to date, or belongs to the last serving set
//!   E264  without leave to demote (L3), every serving member stays
//!   E265  leaving members never take the last serving member with them
//!   E266  the version rises with every change

use alloc::vec::Vec;

use engine_types::{ChainVersion, Incarnation, Member, PublicState, StoreId, TargetId, reached};

use crate::record::{ChainRecord, LastServer, Leaving, UNADOPTED};

/// What a node says about its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LocalState {
    /// It has everything that was acknowledged while it was a member.
    UpToDate,
    /// It is there, and may have missed something.
    Online,
    /// It cannot be used, or nobody heard of it.
    Offline,
}

/// What the manager knows of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Nothing, while silence says nothing: a new primary has not heard of it yet (L3), or its
    /// live node has yet to create it.
    pub local: Option<LocalState>,
    /// The start of its store that reported.
    pub incarnation: Incarnation,
    /// The chain version it has installed.
    pub version: ChainVersion,
    /// True if its store installed that version in an earlier timeline (R20), also if it is not
    /// there any more.
    pub outdated: bool,
    /// True if its store lost something: it may be synced, but is no source (S8).
    pub damaged: bool,
    /// Its registered store.
    pub store: StoreId,
    /// Whether it is to leave.
    pub leaving: Leaving,
    /// True if a slot for syncing it is free.
    pub may_sync: bool,
}

impl View {
    fn alive(&self) -> bool {
        matches!(self.local, Some(LocalState::UpToDate | LocalState::Online))
    }

    fn is_leaving(&self) -> bool {
        self.leaving != Leaving::No
    }
}

/// What holds for all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// False while leases that a predecessor granted may be held (L3).
    pub may_demote: bool,
    /// True while the operator wants all chains shut down.
    pub stopped: bool,
}

/// A changed chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The next record; `departed` is left empty, as leases are not known here.
    pub record: ChainRecord,
    /// Replaced members that left it and whose targets are to be forgotten.
    pub removed: Vec<TargetId>,
}

/// What becomes of `chain`, or nothing if it stays as it is. `views` belong to its members, in
/// their order.
///
/// # Panics
/// If there is not one view per member: the caller made both from one record.
pub fn update(chain: &ChainRecord, views: &[View], moment: Moment) -> Option<Updated> {
    assert_eq!(chain.members.len(), views.len(), "E262: one view per member");
    let step = Step::new(chain, views, moment);
    let (states, removed) = step.next_states();
    let record = step.record(&states, &removed)?;
    Some(Updated { record, removed })
}

/// One step towards the preferred order: the first member that stands where another belongs goes
/// to the end, offline. Nothing unless all members serve and the order differs.
pub fn rotate(chain: &ChainRecord) -> Option<ChainRecord> {
    let all_serve = chain.serving().count() == chain.members.len();
    let complete = chain.preferred.len() == chain.members.len()
        && chain.members.iter().all(|member| chain.preferred.contains(&member.target));
    if !all_serve || !complete {
        return None;
    }
    let wrong = chain.members.iter().zip(&chain.preferred).position(|(m, &t)| m.target != t)?;
    let mut next = chain.clone();
    let mut member = next.members.remove(wrong);
    member.state = PublicState::Offline;
    next.members.push(member);
    next.version = chain.version.next()?;
    next.last_serving.retain(|last| last.target != member.target);
    next.departed.clear();
    check(&next);
    Some(next)
}

/// One update of one chain.
struct Step<'a> {
    chain: &'a ChainRecord,
    views: &'a [View],
    moment: Moment,
    /// Chains restored from a backup are lifted above this version (R20).
    lift: Option<ChainVersion>,
}

/// A member's index, next state and incarnation.
type Next = (usize, PublicState, Incarnation);

impl<'a> Step<'a> {
    fn new(chain: &'a ChainRecord, views: &'a [View], moment: Moment) -> Self {
        let outdated = views.iter().filter(|view| view.outdated);
        let lift = outdated.map(|view| view.version).filter(|&v| chain.version <= v).max();
        Self { chain, views, moment, lift: lift.filter(|_| moment.may_demote) }
    }

    fn members(&self) -> impl Iterator<Item = (usize, &'a Member, &'a View)> {
        self.chain.members.iter().zip(self.views).enumerate().map(|(i, (m, v))| (i, m, v))
    }

    /// True if a serving member goes on serving, as far as itself is concerned.
    fn stays(&self, member: &Member, view: &View) -> bool {
        if !self.moment.may_demote || view.local.is_none() {
            return true; // E264
        }
        let known = member.incarnation == UNADOPTED || member.incarnation == view.incarnation;
        if view.alive() && !known {
            reached!("R5: a serving target started anew");
        }
        view.alive() && known && !view.damaged && !self.is_behind(view)
    }

    /// Who has installed less than another may have been left behind by a version that the restored
    /// KV does not know (R20). It leaves the last serving set in the step that lifts the chain, as
    /// it is not outdated any more when it has installed what comes of that.
    fn is_behind(&self, view: &View) -> bool {
        view.outdated && self.lift.is_some_and(|lift| view.version < lift)
    }

    /// Serving members that go on, and those that are asked to leave although they could.
    fn split_serving(&self) -> (Vec<usize>, Vec<usize>) {
        let serving = self.members().filter(|(_, m, _)| m.state == PublicState::Serving);
        let able: Vec<usize> =
            serving.filter(|(_, m, v)| self.stays(m, v)).map(|(index, ..)| index).collect();
        let remains = able.iter().any(|&index| !self.views[index].is_leaving());
        able.iter().partition(|&&index| {
            let replaced = |new| able.iter().any(|&i| self.chain.members[i].target == new);
            !self.moment.may_demote
                || match self.views[index].leaving {
                    Leaving::No => true,
                    Leaving::Drained => !remains, // E265
                    Leaving::ReplacedBy(new) => !replaced(new),
                }
        })
    }

    /// The next state of each member that stays one, in the order of classes, and who is removed.
    fn next_states(&self) -> (Vec<Next>, Vec<TargetId>) {
        if self.moment.stopped && self.moment.may_demote {
            return (self.stopped_states(), Vec::new());
        }
        let (kept, left) = self.split_serving();
        let promoted: Vec<usize> =
            self.members().filter(|(_, m, v)| self.promotes(m, v)).map(|(i, ..)| i).collect();
        let restarted = if kept.is_empty() && promoted.is_empty() && left.is_empty() {
            self.members().find(|(_, m, v)| self.restarts(m, v)).map(|(index, ..)| index)
        } else {
            None
        };
        let lead: Vec<usize> = kept.iter().chain(&promoted).copied().chain(restarted).collect();
        let may_sync = !kept.is_empty()
            && !self
                .members()
                .any(|(i, m, _)| m.state == PublicState::Syncing && !lead.contains(&i));
        let mut states: Vec<Next> = lead
            .iter()
            .map(|&index| (index, PublicState::Serving, self.served_by(index)))
            .collect();
        let mut removed = Vec::new();
        let mut slot = may_sync;
        for (index, member, view) in self.members().filter(|(index, ..)| !lead.contains(index)) {
            if self.is_replaced(member, view, &kept) {
                removed.push(member.target);
                continue;
            }
            let state = self.follows(member, view, &lead, slot);
            slot &= state != PublicState::Syncing;
            states.push((index, state, self.start_of(member, view, state)));
        }
        states.sort_by_key(|&(_, state, _)| class(state));
        (states, removed)
    }

    /// A planned stop: who serves is remembered, nobody else does anything.
    fn stopped_states(&self) -> Vec<Next> {
        let mut states: Vec<Next> = self
            .members()
            .map(|(index, member, view)| {
                let state = match member.state {
                    _ if self.is_behind(view) => PublicState::Offline,
                    PublicState::Serving | PublicState::LastServing => PublicState::LastServing,
                    _ => PublicState::Offline,
                };
                (index, state, member.incarnation)
            })
            .collect();
        states.sort_by_key(|&(_, state, _)| class(state));
        states
    }

    /// A syncing member that has caught up, in this version and as this start (R11).
    fn promotes(&self, member: &Member, view: &View) -> bool {
        let current = view.version == self.chain.version && view.incarnation == member.incarnation;
        member.state == PublicState::Syncing
            && view.local == Some(LocalState::UpToDate)
            && current
            && !view.outdated
            && !view.damaged
            && !view.is_leaving()
    }

    /// A member of the last serving set that may restart the chain (R10).
    fn restarts(&self, member: &Member, view: &View) -> bool {
        member.state == PublicState::LastServing
            && view.alive()
            && !view.damaged
            && !self.is_behind(view)
            && self.chain.served_last(member.target, view.store)
    }

    /// A replaced member that holds nothing the chain needs: its successor serves. It is removed
    /// in a step without demotions: those may wait (R4), and until then the published version
    /// lists it.
    fn is_replaced(&self, member: &Member, view: &View, kept: &[usize]) -> bool {
        let Leaving::ReplacedBy(new) = view.leaving else { return false };
        self.moment.may_demote
            && member.state == PublicState::Offline
            && kept.len() == self.chain.serving().count()
            && kept.iter().any(|&index| self.chain.members[index].target == new)
    }

    /// The incarnation a serving member serves as.
    fn served_by(&self, index: usize) -> Incarnation {
        let (member, view) = (&self.chain.members[index], &self.views[index]);
        let adopts = member.state == PublicState::LastServing
            || (member.incarnation == UNADOPTED && view.alive() && !view.damaged);
        if adopts { view.incarnation } else { member.incarnation }
    }

    /// The state of a member that does not serve next.
    fn follows(&self, member: &Member, view: &View, lead: &[usize], slot: bool) -> PublicState {
        use PublicState as P;
        let serves = !lead.is_empty();
        let remembered = !serves && !self.is_behind(view);
        let alive = view.alive() && !view.is_leaving();
        match (member.state, view.local) {
            (P::Serving | P::LastServing, _) if remembered => P::LastServing,
            (P::Serving, _) => P::Offline,
            (P::Syncing, None) if serves => P::Syncing,
            (P::Syncing | P::Waiting, None) => P::Waiting,
            (P::Syncing, _) if alive && serves => P::Syncing,
            // Up to date says nothing of who did not sync: it would say so for ever, and wait.
            (P::Waiting, Some(_)) if alive && slot && view.may_sync => P::Syncing,
            _ if alive => P::Waiting,
            _ => P::Offline,
        }
    }

    /// The incarnation recorded with a state other than serving. It changes together with the
    /// state or for syncing, whose cursor belongs to it (R12); a change of it alone would raise
    /// the version for nothing.
    fn start_of(&self, member: &Member, view: &View, state: PublicState) -> Incarnation {
        let moves = state == PublicState::Syncing || state != member.state;
        if moves && view.alive() && matches!(state, PublicState::Syncing | PublicState::Waiting) {
            view.incarnation
        } else {
            member.incarnation
        }
    }

    /// The record of these states, or nothing if it equals the present one.
    fn record(&self, states: &[Next], removed: &[TargetId]) -> Option<ChainRecord> {
        let members: Vec<Member> = states
            .iter()
            .map(|&(index, state, incarnation)| Member {
                target: self.chain.members[index].target,
                state,
                incarnation,
            })
            .collect();
        if members == self.chain.members && self.lift.is_none() {
            return None;
        }
        // A chain whose versions have run out stays as it is: 2^32 changes are 136 years of one
        // per second, and reports above half of that are refused.
        let version = self.lift.unwrap_or(self.chain.version).max(self.chain.version).next()?;
        let mut last_serving: Vec<LastServer> = states
            .iter()
            .filter(|(_, state, _)| *state == PublicState::Serving)
            .map(|&(index, ..)| LastServer {
                target: self.chain.members[index].target,
                store: self.views[index].store,
            })
            .collect();
        if last_serving.is_empty() {
            last_serving.clone_from(&self.chain.last_serving);
            let behind =
                |target| self.members().any(|(_, m, v)| m.target == target && self.is_behind(v));
            last_serving.retain(|last| !behind(last.target));
        }
        let preferred =
            self.chain.preferred.iter().filter(|target| !removed.contains(target)).copied();
        let preferred = preferred.collect();
        let record =
            ChainRecord { version, members, last_serving, preferred, departed: Vec::new() };
        check(&record);
        assert!(self.chain.version < record.version, "E266: the version rises");
        Some(record)
    }
}

/// Place of a state in the order of members.
const fn class(state: PublicState) -> u8 {
    match state {
        PublicState::Serving => 0,
        PublicState::Syncing => 1,
        PublicState::LastServing => 2,
        PublicState::Waiting => 3,
        PublicState::Offline => 4,
    }
}

/// Asserts E260 and E262 of a record that this crate made.
///
/// # Panics
/// If one of them does not hold.
pub(crate) fn check(record: &ChainRecord) {
    if let Some(fault) = fault(record) {
        panic!("{fault}: {record:?}");
    }
}

/// What contradicts E260 or E262 in a record.
pub(crate) fn fault(record: &ChainRecord) -> Option<&'static str> {
    let count = |state| record.members.iter().filter(|m| m.state == state).count();
    let serving = count(PublicState::Serving);
    let listed = |target| record.last_serving.iter().any(|last| last.target == target);
    let remembered = |member: &Member| {
        let last = if 0 < serving { PublicState::Serving } else { PublicState::LastServing };
        listed(member.target) == (member.state == last)
    };
    if 1 < count(PublicState::Syncing) {
        Some("E262: two members are syncing")
    } else if serving == 0 && 0 < count(PublicState::Syncing) {
        Some("E262: a member syncs from nobody")
    } else if 0 < serving && 0 < count(PublicState::LastServing) {
        Some("E262: a member is last-serving beside one that serves")
    } else if !record.members.is_sorted_by_key(|member| class(member.state)) {
        Some("E262: members do not stand in the order of their states")
    } else if !record.members.iter().all(remembered) {
        Some("E260: the last serving set is not who served last")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
