//! What clients and predecessors do with data: one number per target, which is how many
//! acknowledged writes of its chain it has. Done from outside, at instants of the world, with
//! stores whose process runs and is not frozen; paths between stores never fail, which lets more
//! happen.
//!
//! A write is begun on every serving member of a version, and on the one that syncs once it was
//! told that it has caught up; later it is acknowledged if all of them may still serve that version
//! as the starts that began it.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_types::{
    ChainId, ChainVersion, Incarnation, Instant, PublicState, Rng, TargetId, reached,
};

use super::bug::Bug;
use super::check::Moment;
use super::cluster::Cluster;
use super::node::{Able, Host};
use crate::check::{Verdict, fail};

/// Chance that a chain that could begins a write at an instant, permille.
const WRITES: u32 = 150;
/// Chance that a write under way is tried to be acknowledged, permille.
const ACKNOWLEDGES: u32 = 400;
/// Chance that a session writes at an instant, permille.
const ADMISSIONS: u32 = 250;
/// Sessions that write: the newest ones, some of them over.
const SESSIONS: usize = 6;
/// Longest work on an admitted write.
const ADMITTED_MS_MAX: u64 = 2_500;
/// Longest copying of a target.
const COPY_MS_MAX: u64 = 1_500;

const T81: &str = "T81 no stale read, no write lost";

/// One start of a target that takes a write.
type Taker = (TargetId, Incarnation);

#[derive(Debug)]
struct Write {
    number: u64,
    version: ChainVersion,
    takers: Vec<Taker>,
}

/// A copy under way.
#[derive(Debug)]
struct Copy {
    version: ChainVersion,
    incarnation: Incarnation,
    done: Instant,
}

/// Clients and predecessors.
#[derive(Debug)]
pub(super) struct Data {
    rng: Rng,
    writes: BTreeMap<ChainId, Write>,
    attempts: u64,
    copies: BTreeMap<TargetId, Copy>,
    /// Acknowledged writes of each chain.
    pub(super) acknowledged: BTreeMap<ChainId, u64>,
}

impl Data {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            rng,
            writes: BTreeMap::new(),
            attempts: 0,
            copies: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
        }
    }

    /// One instant.
    pub(super) fn act(&mut self, cluster: &Cluster, moment: &Moment) -> Verdict {
        self.acknowledge(cluster, moment);
        self.read(cluster, moment)?;
        self.begin(cluster, moment);
        self.copy(cluster, moment);
        self.admit(cluster, moment);
        Ok(())
    }

    /// Any target that may serve has the last acknowledged write, and no damage.
    pub(super) fn read(&self, cluster: &Cluster, moment: &Moment) -> Verdict {
        for able in moment.able.iter().filter(|able| moment.acts[able.node]) {
            let disk = cluster.nodes[able.node].disk.borrow();
            let durable = &disk.targets[&able.target];
            let state = durable.member(able.target).map(|member| member.state);
            if state != Some(PublicState::Serving) && !cluster.has(Bug::OldVersion) {
                let what =
                    format!("{} is {state:?} in {} and may serve", able.target, able.version);
                return fail(T81, what);
            }
            let acknowledged = self.acknowledged.get(&able.chain).copied().unwrap_or(0);
            if durable.data != acknowledged || durable.damaged {
                let (target, version) = (able.target, able.version);
                let what = format!(
                    "{} {version}: {target} of {} reads {} of {acknowledged} writes, damaged: {}",
                    able.chain, cluster.nodes[able.node].machine, durable.data, durable.damaged
                );
                return fail(T81, what);
            }
        }
        Ok(())
    }

    fn begin(&mut self, cluster: &Cluster, moment: &Moment) {
        for able in &moment.able {
            let head =
                cluster.nodes[able.node].disk.borrow().targets[&able.target].installed.head();
            if head != Some(able.target) || self.writes.contains_key(&able.chain) {
                continue;
            }
            if !self.rng.chance(WRITES) {
                continue;
            }
            let Some(takers) = takers(cluster, moment, able) else { continue };
            self.attempts += 1;
            for &(target, _) in &takers {
                moment.with_live(cluster, target, |live| live.pending = Some(self.attempts));
            }
            let write = Write { number: self.attempts, version: able.version, takers };
            self.writes.insert(able.chain, write);
        }
    }

    fn acknowledge(&mut self, cluster: &Cluster, moment: &Moment) {
        for (chain, write) in core::mem::take(&mut self.writes) {
            if !self.rng.chance(ACKNOWLEDGES) {
                self.writes.insert(chain, write);
                continue;
            }
            let now = moment.able.iter().filter(|able| able.chain == chain);
            let now = now.filter(|able| able.version == write.version);
            let same = |able: &Able| takers(cluster, moment, able).as_ref() == Some(&write.takers);
            if !now.into_iter().any(same) {
                reached!("R4: a write of a version that ended is not acknowledged");
                continue;
            }
            let acknowledged = self.acknowledged.entry(chain).or_default();
            *acknowledged += 1;
            cluster.count();
            for (target, _) in write.takers {
                let has = moment.with_live(cluster, target, |live| live.pending.take());
                if has == Some(Some(write.number)) {
                    let mut disk = cluster.nodes[moment.places[&target]].disk.borrow_mut();
                    disk.targets.get_mut(&target).expect("it is there").data = *acknowledged;
                }
            }
        }
    }

    /// A predecessor that serves brings a syncing member up to date.
    fn copy(&mut self, cluster: &Cluster, moment: &Moment) {
        for &(target, node) in &moment.syncing {
            let Some(copied) = self.copied(cluster, moment, target, node) else {
                self.copies.remove(&target);
                continue;
            };
            let disk = cluster.nodes[node].disk.borrow();
            let durable = &disk.targets[&target];
            let (version, incarnation) = (durable.installed.version, durable.incarnation());
            drop(disk);
            let same = |copy: &Copy| copy.version == version && copy.incarnation == incarnation;
            match self.copies.get(&target).filter(|copy| same(copy)) {
                None => {
                    let ms = self.rng.range(20..=COPY_MS_MAX);
                    let done = moment.now + Duration::from_millis(ms);
                    self.copies.insert(target, Copy { version, incarnation, done });
                }
                Some(copy) if copy.done <= moment.now => {
                    let (data, source) = copied;
                    moment.with_live(cluster, source, |live| {
                        live.sync_done = Some((target, version));
                    });
                    moment.with_live(cluster, target, |live| live.synced = Some(version));
                    let mut disk = cluster.nodes[node].disk.borrow_mut();
                    let durable = disk.targets.get_mut(&target).expect("looked at above");
                    durable.data = data;
                    durable.damaged = false;
                    self.copies.remove(&target);
                    if let Some(host) = cluster.nodes[node].host() {
                        host.beat_now();
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// What `target` would get now, and from whom; nothing if it cannot be copied to now.
    fn copied(
        &self,
        cluster: &Cluster,
        moment: &Moment,
        target: TargetId,
        node: usize,
    ) -> Option<(u64, TargetId)> {
        let disk = cluster.nodes[node].disk.borrow();
        let durable = &disk.targets[&target];
        let version = durable.installed.version;
        let own = durable.member(target)?.incarnation == durable.incarnation();
        let source = durable.installed.tail()?;
        let done =
            moment.with_live(cluster, target, |live| live.offline || live.synced == Some(version));
        if !own || done != Some(false) || !moment.works(cluster, node) {
            return None;
        }
        let able = moment.able.iter().find(|able| able.target == source)?;
        drop(disk);
        let works = moment.works(cluster, able.node) && able.version == version;
        let data = cluster.nodes[able.node].disk.borrow().targets[&source].data;
        works.then_some((data, source))
    }

    /// Sessions write through stores; those that ended try as well.
    fn admit(&mut self, cluster: &Cluster, moment: &Moment) {
        for (index, node) in cluster.nodes.iter().enumerate() {
            if let Some(host) = node.host().filter(|_| moment.works(cluster, index)) {
                host.admitted.borrow_mut().retain(|&(_, until)| moment.now < until);
            }
        }
        if !self.rng.chance(ADMISSIONS) {
            return;
        }
        let sessions = cluster.sessions.borrow();
        let newest = sessions.len().saturating_sub(SESSIONS);
        let session = self.rng.pick(&sessions[newest..]).copied();
        let able = self.rng.pick(&moment.able).copied();
        let (Some(session), Some(able)) = (session, able) else { return };
        let works = moment.works(cluster, able.node);
        let Some(host) = cluster.nodes[able.node].host().filter(|_| works) else { return };
        let revoked = host.follower.routing().is_revoked(session);
        if !revoked || cluster.has(Bug::RevokedAdmitted) {
            let ms = self.rng.range(1..=ADMITTED_MS_MAX);
            let until = moment.now + Duration::from_millis(ms);
            host.admitted.borrow_mut().push((session, until));
        }
    }
}

/// Who takes a write that `head` begins, if all of them are there and may serve its version.
fn takers(cluster: &Cluster, moment: &Moment, head: &Able) -> Option<Vec<Taker>> {
    let disk = cluster.nodes[head.node].disk.borrow();
    let info = disk.targets[&head.target].installed.clone();
    drop(disk);
    let tail = info.tail()?;
    let done = moment.with_live(cluster, tail, |live| live.sync_done).flatten();
    let mut takers = Vec::new();
    for member in &info.members {
        let target = member.target;
        let told = done == Some((target, info.version));
        let serves = member.state == PublicState::Serving;
        let follows = member.state == PublicState::Syncing && told;
        if !serves && !follows {
            continue;
        }
        let node = *moment.places.get(&target)?;
        let durable = cluster.nodes[node].disk.borrow().targets[&target].clone();
        let here = durable.installed.version == info.version && moment.works(cluster, node);
        let (able, up_to_date) = moment.with_live(cluster, target, |live| {
            let able = |able: &&Able| able.target == target && able.version == info.version;
            (moment.able.iter().any(|a| able(&a)), live.synced == Some(info.version))
        })?;
        if !here || (serves && !able) || (!serves && !up_to_date) {
            return None;
        }
        takers.push((target, durable.incarnation()));
    }
    Some(takers)
}

/// Whether the process takes turns.
pub(super) fn takes_turns(host: &Rc<Host>) -> bool {
    !host.stuck.get()
}
