//! A small cluster for the model test: nodes with clocks of their own, a network that delays, loses
//! and reorders, a KV, primaries that take over at any moment, and clients that write and read.
//!
//! Beside the primary there are standbys, which renew leases whenever they are asked (`standby`).
//!
//! What a node does here is what `heartbeat` says a node owes. Data is one number per target: how
//! many acknowledged writes of its chain it has. A write is acknowledged when every serving member
//! of one version, and a syncing one that has caught up (R11), has it under a valid lease.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use engine_types::{
    ChainId, ChainInfo, ChainVersion, ClusterId, CoreId, Incarnation, Instant, NodeId, NodeRole,
    PublicState, Rng, RoutingInfo, RoutingVersion, StoreId, TargetId, Timeline,
};

use super::super::planted::Planted;
use super::super::{Change, Cluster};
use super::check::Checker;
use super::standby::{Grants, Reads};
use crate::chain::LocalState;
use crate::command::{Command, NewTarget};
use crate::heartbeat::{Heartbeat, HeartbeatAnswer, ShardReport, TargetReport};
use crate::lease::{Holder, LeaseWrite, PrimaryLease};
use crate::record::{ClusterRecord, Record, RecordKey};
use crate::registry::{Registered, Registration};
use crate::rules::Rules;
use crate::session::{Fences, SessionSummary};
use crate::standby::{GrantRecord, Renewal};

pub(super) const MS: u64 = 1_000_000;
pub(super) const NODES: u32 = 4;

/// A process that holds targets.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) up: bool,
    /// It does nothing, but its clock goes on.
    pub(super) frozen: bool,
    /// Nothing reaches the manager or comes from it.
    pub(super) cut: bool,
    /// The newest process.
    pub(super) start: u64,
    /// A former process that still has stores open, and its last heartbeat.
    pub(super) former: Option<(u64, u64)>,
    /// What each process has drained.
    pub(super) drained: BTreeMap<u64, (Timeline, RoutingVersion)>,
    pub(super) registered: bool,
    pub(super) sequence: u64,
    /// Nanoseconds of its clock per 10,000 of the manager's.
    pub(super) rate: u64,
    pub(super) shift: u64,
    pub(super) progress: u64,
    pub(super) stuck: bool,
}

/// A target in its store.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) host: u32,
    pub(super) store: StoreId,
    /// The process that has it open.
    pub(super) owner: u64,
    pub(super) start: u64,
    pub(super) chain: ChainId,
    pub(super) installed: ChainInfo,
    pub(super) timeline: u32,
    /// Version, start, and until when on the host's clock.
    pub(super) lease: Option<(ChainVersion, u64, u64)>,
    pub(super) data: u64,
    /// It caught up in this version as this start.
    pub(super) synced: Option<(ChainVersion, u64)>,
    /// It told this target so in this version, and needs its acks from then on (R11).
    pub(super) sync_done: Option<(TargetId, ChainVersion)>,
    pub(super) offline: bool,
    /// The last heartbeat that said it is offline.
    pub(super) said_offline: u64,
    pub(super) damaged: bool,
}

#[derive(Debug)]
pub(super) enum Event {
    Beat { host: u32, regular: bool },
    FormerBeat { host: u32, start: u64 },
    FormerDies { host: u32, start: u64 },
    AtManager(Box<Heartbeat>),
    AtStandby(Box<Heartbeat>),
    StandbyCommits { beat: Box<Heartbeat>, reads: Box<Reads>, renewal: Box<Renewal> },
    AtHost { host: u32, start: u64, answer: Box<HeartbeatAnswer> },
    Pushed { host: u32, routing: Box<RoutingInfo> },
    Decided { term: u64, number: u64 },
    Told { term: u64, result: Told },
    Renew { term: u64 },
    Renewed { term: u64, write: Box<LeaseWrite> },
    Fence { term: u64 },
    Fenced { term: u64, to: RoutingVersion, known: Grants },
    Tick { term: u64 },
    Takeover,
    Fault,
    Clients,
}

/// What the primary learns of its transaction.
#[derive(Debug)]
pub(super) enum Told {
    Committed,
    Failed,
    Unknown,
    /// Grant records were not as it knew them.
    Granted(Grants),
}

/// Everything.
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: u64,
    events: BTreeMap<(u64, u64), Event>,
    count: u64,
    pub(super) kv: BTreeMap<RecordKey, Record>,
    pub(super) cluster: Option<Cluster>,
    /// The change in flight, with the grants that its transaction must find.
    pub(super) change: Option<(Change, BTreeMap<NodeId, Option<GrantRecord>>)>,
    /// It is decided, and the primary has not heard of it.
    pub(super) untold: bool,
    pub(super) lease: Option<PrimaryLease>,
    pub(super) holder: Option<Holder>,
    pub(super) grants: Grants,
    /// The grants that the primary knows of.
    pub(super) known: Grants,
    /// Sessions are not modelled: their worlds are in `session`. Here the version that is fenced
    /// just rises, and nobody may hold a lease who has not drained it.
    pub(super) summary: SessionSummary,
    pub(super) fences: Fences,
    pub(super) goal: Option<RoutingVersion>,
    /// The primary does nothing before.
    pub(super) paused: u64,
    pub(super) term: u64,
    pub(super) hosts: Vec<Host>,
    pub(super) slots: BTreeMap<TargetId, Slot>,
    pub(super) acked: BTreeMap<ChainId, u64>,
    pub(super) check: Checker,
    pub(super) planted: Option<Planted>,
    pub(super) faults: bool,
    pub(super) follower: RoutingInfo,
    pub(super) rules: Rules,
}

type Outcome = Result<(), String>;

impl World {
    pub(super) fn new(seed: u64, planted: Option<Planted>) -> Self {
        let mut rng = Rng::new(seed);
        let id = ClusterId::new(7);
        let founded = Cluster::found(ClusterRecord::new(id, "model".into()));
        let kv = BTreeMap::from(founded.expect("a short name"));
        let host = |rng: &mut Rng| Host {
            up: true,
            frozen: false,
            cut: false,
            start: 1,
            former: None,
            drained: BTreeMap::new(),
            registered: false,
            sequence: 0,
            rate: *rng.pick(&[9_902, 10_000, 10_099]).unwrap(),
            shift: rng.below(1 << 40),
            progress: 0,
            stuck: false,
        };
        let hosts = (0..NODES).map(|_| host(&mut rng)).collect();
        let rules = Rules { syncing_per_node_max: 1, syncing_max: 2, planted, ..Rules::default() };
        let restore_order = rng.chance(200);
        let mut world = Self {
            rng,
            now: 10_000 * MS,
            events: BTreeMap::new(),
            count: 0,
            kv,
            cluster: None,
            change: None,
            untold: false,
            lease: None,
            holder: None,
            grants: Grants::new(),
            known: Grants::new(),
            summary: SessionSummary::new(Timeline::new(0)),
            fences: Fences::new(RoutingVersion::new(0), Instant::ZERO),
            goal: None,
            paused: 0,
            term: 0,
            hosts,
            slots: BTreeMap::new(),
            acked: BTreeMap::new(),
            check: Checker::default(),
            planted,
            faults: true,
            follower: RoutingInfo::empty(id),
            rules: Rules { restore_order, ..rules },
        };
        for host in 0..NODES {
            let at = world.rng.below(1000);
            world.after(at, Event::Beat { host, regular: true });
        }
        world.after(0, Event::Takeover);
        world.after(500, Event::Clients);
        world.after(4000, Event::Fault);
        world
    }

    pub(super) fn after(&mut self, ms: u64, event: Event) {
        self.count += 1;
        self.events.insert((self.now + ms * MS, self.count), event);
    }

    /// Runs for `ms`; what is wrong ends it.
    pub(super) fn run(&mut self, ms: u64) -> Outcome {
        let end = self.now + ms * MS;
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.take(event)?;
            self.manage()?;
            self.check_all()?;
        }
        self.now = end;
        Ok(())
    }

    fn check_all(&mut self) -> Outcome {
        let leases = self.leases();
        let safe = self.check.leases(&leases).and_then(|()| self.check_fenced());
        safe.map_err(|why| format!("at {} ms: {why}", self.now / MS))
    }

    pub(super) fn clock(&self, host: u32) -> u64 {
        let host = &self.hosts[host as usize];
        host.shift + self.now / 10_000 * host.rate
    }

    pub(super) fn instant(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    /// Every target that could serve now, with its start and version.
    fn leases(&self) -> Vec<(ChainId, TargetId, u64, ChainVersion)> {
        let usable = self.slots.iter().filter(|(_, slot)| self.serves(slot));
        usable.map(|(&id, slot)| (slot.chain, id, slot.start, slot.installed.version)).collect()
    }

    /// True if a slot holds a lease that it may use. A frozen host may wake up any moment.
    pub(super) fn serves(&self, slot: &Slot) -> bool {
        let lease = slot.lease.is_some_and(|(version, start, until)| {
            version == slot.installed.version
                && start == slot.start
                && self.clock(slot.host) < until
        });
        lease && self.hosts[slot.host as usize].up && !slot.offline
    }

    fn take(&mut self, event: Event) -> Outcome {
        match event {
            Event::AtManager(_) | Event::Tick { .. } | Event::Told { .. } | Event::Renew { .. }
                if self.now < self.paused =>
            {
                self.after(self.paused.saturating_sub(self.now) / MS + 1, event);
            }
            Event::Beat { host, regular } => self.beat(host, regular),
            Event::FormerBeat { host, start } => self.former_beat(host, start),
            Event::FormerDies { host, start } => self.former_dies(host, start),
            Event::AtManager(beat) => self.at_manager(&beat),
            Event::AtStandby(beat) => self.at_standby(beat),
            Event::StandbyCommits { beat, reads, renewal } => {
                self.standby_commits(&beat, &reads, *renewal);
            }
            Event::AtHost { host, start, answer } => self.at_host(host, start, &answer),
            Event::Pushed { host, routing } => self.pushed(host, &routing),
            Event::Decided { term, number } if term == self.term => self.decided(number)?,
            Event::Told { term, result } if term == self.term => self.told(result),
            Event::Renew { term } if term == self.term => self.renew(),
            Event::Renewed { term, write } if term == self.term => self.renewed(&write),
            Event::Fence { term } if term == self.term => self.fence(),
            Event::Fenced { term, to, known } if term == self.term => self.fenced(to, &known),
            Event::Tick { term } if term == self.term => {
                if let Some(cluster) = &mut self.cluster {
                    cluster.tick(Instant::from_nanos(self.now));
                    self.after(40, Event::Tick { term });
                }
            }
            Event::Takeover => self.take_over(),
            Event::Fault => self.fault()?,
            Event::Clients => {
                self.clients()?;
                let next = self.rng.range(20..=120);
                self.after(next, Event::Clients);
            }
            _ => {} // of a former primary
        }
        Ok(())
    }

    /// A host says what it has.
    fn beat(&mut self, host: u32, regular: bool) {
        if regular {
            self.after(1000, Event::Beat { host, regular });
        }
        let node = &mut self.hosts[host as usize];
        if !node.registered {
            return;
        }
        node.sequence += u64::from(node.up && !node.frozen && !node.cut);
        let (start, sequence) = (node.start, node.sequence);
        self.send_beat(host, start, sequence);
    }

    /// One of its processes says what it has.
    pub(super) fn send_beat(&mut self, host: u32, start: u64, sequence: u64) {
        let clock = self.clock(host);
        let node = &mut self.hosts[host as usize];
        if !node.up || node.frozen || node.cut {
            return;
        }
        node.progress += u64::from(!node.stuck);
        let (progress, newest) = (node.progress, node.start);
        let (timeline, drained) = node.drained.get(&start).copied().unwrap_or_default();
        let mut targets = Vec::new();
        for (&target, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.host == host) {
            let has = slot.owner == start;
            if !has && start < newest {
                continue;
            }
            if slot.offline && has {
                slot.said_offline = sequence;
                slot.lease = None;
            }
            let state = slot.installed.members.iter().find(|m| m.target == target);
            let caught_up = slot.synced == Some((slot.installed.version, slot.start));
            let local = match state.map(|m| m.state) {
                _ if slot.offline || !has => LocalState::Offline,
                Some(PublicState::Serving) => LocalState::UpToDate,
                Some(PublicState::Syncing) if caught_up => LocalState::UpToDate,
                _ => LocalState::Online,
            };
            targets.push(TargetReport {
                target,
                incarnation: Incarnation::new(slot.start),
                store: slot.store,
                chain: Some(slot.chain),
                core: CoreId::new(0),
                local,
                damaged: slot.damaged && self.planted != Some(Planted::HideDamage),
                version: slot.installed.version,
                timeline: Timeline::new(slot.timeline),
            });
        }
        let beat = Heartbeat {
            node: NodeId::new(host + 1),
            incarnation: Incarnation::new(start),
            sequence,
            sent: Instant::from_nanos(clock),
            drained,
            timeline,
            shards: Vec::from([ShardReport { core: CoreId::new(0), progress }]),
            targets,
        };
        if self.rng.chance(if self.faults { 250 } else { 50 }) {
            let delay = self.delay();
            self.after(delay, Event::AtStandby(Box::new(beat.clone())));
        }
        if !self.rng.chance(50) || !self.faults {
            let delay = self.delay();
            self.after(delay, Event::AtManager(Box::new(beat)));
        }
    }

    /// Most messages are fast, some take seconds.
    pub(super) fn delay(&mut self) -> u64 {
        let slow = self.faults && self.rng.chance(60);
        if slow { self.rng.below(3000) } else { self.rng.below(40) }
    }

    fn at_manager(&mut self, beat: &Heartbeat) {
        let now = self.instant();
        let Some(cluster) = &mut self.cluster else { return };
        if !self.holder.as_ref().is_some_and(|holder| holder.valid(now)) {
            return;
        }
        let Ok(answer) = cluster.heartbeat(beat, &mut self.fences, now) else { return };
        let host = beat.node.get() - 1;
        if beat.timeline < answer.timeline || beat.drained < answer.routing {
            self.push_to(host);
        }
        self.answer(beat, answer);
    }

    pub(super) fn answer(&mut self, beat: &Heartbeat, answer: HeartbeatAnswer) {
        let host = beat.node.get() - 1;
        if self.hosts[host as usize].cut || (self.faults && self.rng.chance(50)) {
            return;
        }
        let delay = self.delay();
        let (start, answer) = (beat.incarnation.get(), Box::new(answer));
        self.after(delay, Event::AtHost { host, start, answer });
    }

    fn at_host(&mut self, host: u32, start: u64, answer: &HeartbeatAnswer) {
        let node = &self.hosts[host as usize];
        let runs = node.start == start || node.former.is_some_and(|(former, _)| former == start);
        if !node.up || node.frozen || !runs {
            return;
        }
        let timeline = answer.timeline.get();
        for step in &answer.moves {
            self.install((host, start), Some(step.target), step.chain, &step.info, timeline);
        }
        let longer = if self.planted == Some(Planted::LongLeases) { 2 } else { 1 };
        let until = answer.sent.nanos() + longer * u64::try_from(answer.lease.as_nanos()).unwrap();
        for lease in &answer.leases {
            let Some(slot) = self.slots.get_mut(&lease.target) else { continue };
            let fits = slot.host == host
                && slot.owner == start
                && slot.start == lease.incarnation.get()
                && slot.installed.version == lease.version
                && !slot.offline
                && slot.said_offline < answer.sequence;
            if fits {
                let kept = slot.lease.filter(|&(version, start, _)| {
                    version == lease.version && start == lease.incarnation.get()
                });
                let until = kept.map_or(until, |(.., former)| until.max(former));
                slot.lease = Some((lease.version, lease.incarnation.get(), until));
            }
        }
    }

    /// Routing info arrives; now and then what it revokes takes longer to drain.
    fn pushed(&mut self, host: u32, routing: &RoutingInfo) {
        let node = &mut self.hosts[host as usize];
        if !node.up || node.frozen {
            return;
        }
        let start = node.start;
        if !self.faults || self.rng.chance(700) {
            let drained = node.drained.entry(start).or_default();
            *drained = (*drained).max((routing.timeline, routing.version));
        }
        for (&chain, info) in &routing.chains {
            self.install((host, start), None, chain, info, routing.timeline.get());
        }
    }

    /// Targets that a process of `host` has in `chain` learn a version; one of them, or all.
    fn install(
        &mut self,
        (host, start): (u32, u64),
        only: Option<TargetId>,
        chain: ChainId,
        info: &ChainInfo,
        timeline: u32,
    ) {
        let mut changed = false;
        for (&id, slot) in &mut self.slots {
            let here = slot.host == host && slot.owner == start;
            let meant = here && slot.chain == chain && only.is_none_or(|o| o == id);
            if meant && !slot.offline && slot.installed.version < info.version {
                slot.installed = info.clone();
                slot.timeline = slot.timeline.max(timeline);
                changed = true;
            }
        }
        if changed && self.rng.chance(700) {
            self.after(1, Event::Beat { host, regular: false });
        }
    }

    /// A manager loads what the KV holds. The former one has stopped.
    fn take_over(&mut self) {
        self.term += 1;
        self.change = None;
        self.untold = false;
        let until = self.take_lease();
        let mut kv = self.kv.clone();
        let early = if self.planted == Some(Planted::NoGrace) { 5000 * MS } else { 0 };
        if let (Some(Planted::ReuseVersions), Some(Record::Routing(routing))) =
            (self.planted, kv.get_mut(&RecordKey::Routing))
        {
            *routing = crate::record::RoutingRecord::default();
        }
        let now = Instant::from_nanos(self.now.saturating_sub(early));
        let believed = if 0 < early { now } else { until };
        let mut cluster =
            Cluster::load(kv, self.rules.clone(), now, believed).expect("records fit together");
        let holder = self.holder.as_ref().expect("it was taken");
        cluster.set_lease(holder.storage_leases(now).lasts);
        self.fences = Fences::new(self.summary.fenced_to, until);
        self.fences.raise(cluster.timeline());
        self.cluster = Some(cluster);
        self.check.new_primary();
        for host in &mut self.hosts {
            // Who was not known must register anew; the others just go on.
            host.registered &= host.up;
        }
        let term = self.term;
        self.after(10, Event::Tick { term });
        self.after(2000, Event::Renew { term });
        self.after(700, Event::Fence { term });
    }

    /// What a manager does after each event: register who waits, propose, push what is new.
    fn manage(&mut self) -> Outcome {
        let now = self.instant();
        let busy = self.is_busy() || now.nanos() < self.paused;
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let published = self.check.published;
        if !busy {
            let mut change = cluster.propose(now);
            if change.is_none() && cluster.publisher.is_ready() {
                change = register(cluster, &mut self.hosts, now)?;
            }
            if change.is_none() && cluster.publisher.is_ready() && self.slots.is_empty() {
                change = create_chains(cluster, &mut self.rng, now)?;
            }
            let slow = self.faults && self.rng.chance(300);
            self.in_flight(change, if slow { 2500 } else { 60 });
        }
        let Some(cluster) = &self.cluster else { return Ok(()) };
        self.check.published(cluster)?;
        if published != self.check.published {
            self.follow()?;
            self.push();
        }
        Ok(())
    }

    /// Somebody keeps his routing info by deltas, and asks now and then only.
    fn follow(&mut self) -> Outcome {
        if self.rng.chance(500) {
            return Ok(());
        }
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let short = self.planted == Some(Planted::ShortDelta);
        self.check.follow(cluster, &mut self.follower, short)
    }

    fn push(&mut self) {
        for host in 0..NODES {
            self.push_to(host);
        }
    }

    fn push_to(&mut self, host: u32) {
        let lost = self.hosts[host as usize].cut || (self.faults && self.rng.chance(300));
        if let Some(cluster) = self.cluster.as_ref().filter(|_| !lost) {
            let routing = Box::new(cluster.routing().clone());
            let delay = self.delay();
            self.after(delay, Event::Pushed { host, routing });
        }
    }

    /// The KV decides; the primary hears of it later, or not.
    fn decided(&mut self, number: u64) -> Outcome {
        let Some((change, expected)) = self.change.take() else { return Ok(()) };
        assert_eq!(change.number, number, "one change is in flight");
        let chance = if self.faults { self.rng.below(100) } else { 99 };
        let ignores = self.planted == Some(Planted::IgnoreGrants);
        let moved = if ignores { Grants::new() } else { self.moved(&expected) };
        let result = match chance {
            0..=5 => Told::Failed,
            // Nobody knows: it is in the KV or not.
            6..=9 if moved.is_empty() && self.rng.chance(500) => {
                self.write(&change)?;
                Told::Unknown
            }
            6..=9 => Told::Unknown,
            // The standby came between reading and writing: a conflict, and the next attempt reads.
            _ if !moved.is_empty() && self.rng.chance(300) => Told::Failed,
            _ if !moved.is_empty() => Told::Granted(moved),
            _ => {
                self.write(&change)?;
                Told::Committed
            }
        };
        self.untold = true;
        let (term, ms) = (self.term, self.rng.below(30));
        self.after(ms, Event::Told { term, result });
        Ok(())
    }

    fn told(&mut self, result: Told) {
        self.untold = false;
        let now = self.instant();
        let Some(cluster) = &mut self.cluster else { return };
        match result {
            Told::Committed => cluster.committed(now),
            Told::Failed => cluster.abort(),
            Told::Granted(moved) => {
                cluster.abort();
                self.learn(moved);
            }
            Told::Unknown => {
                self.cluster = None;
                self.after(1, Event::Takeover);
            }
        }
        if let Some(cluster) = &self.cluster {
            self.fences.raise(cluster.timeline());
        }
    }

    pub(super) fn write(&mut self, change: &Change) -> Outcome {
        for (key, record) in &change.writes {
            let mut record = record.clone();
            if let Some(Record::Chain(chain)) = &mut record
                && self.planted == Some(Planted::ForgetDeparted)
            {
                chain.departed.clear();
            }
            match record {
                Some(record) => {
                    // The KV holds bytes.
                    assert_eq!(RecordKey::decode(&key.encode()), Ok(*key));
                    let decoded = Record::decode(key, &record.encode());
                    assert_eq!(decoded.as_ref(), Ok(&record));
                    self.kv.insert(*key, record);
                }
                None => drop(self.kv.remove(key)),
            }
        }
        self.adopt_slots(change);
        for (key, record) in &change.writes {
            if let (RecordKey::Chain(id), Some(Record::Chain(record))) = (key, record) {
                let former = self.check.newest(*id).cloned();
                self.check.committed(*id, record)?;
                self.check_newcomers(*id, former.as_ref(), record)?;
            }
        }
        Ok(())
    }

    /// Who begins to serve must have every acknowledged write.
    fn check_newcomers(
        &mut self,
        id: ChainId,
        former: Option<&crate::record::ChainRecord>,
        record: &crate::record::ChainRecord,
    ) -> Outcome {
        let acked = self.acked.entry(id).or_default();
        for member in record.serving() {
            let was = former.and_then(|former| former.member(member.target));
            let serves = was.is_some_and(|m| m.state == PublicState::Serving);
            let slot = self.slots.get(&member.target).expect("created with its record");
            if self.check.given_up.remove(&(id, member.target)) {
                *acked = slot.data; // the operator accepted it
            } else if !serves && slot.start == member.incarnation.get() && slot.data < *acked {
                let (target, data) = (member.target, slot.data);
                return Err(format!("R10: {target} serves with {data} of {acked} writes"));
            }
        }
        Ok(())
    }

    /// Targets come into being and go with their records.
    fn adopt_slots(&mut self, change: &Change) {
        for (key, record) in &change.writes {
            match (key, record) {
                (RecordKey::Target(id), Some(Record::Target(record))) => {
                    let host = record.node.get() - 1;
                    let fresh = Slot {
                        host,
                        store: record.store,
                        owner: self.hosts[host as usize].start,
                        start: 1,
                        chain: record.chain,
                        installed: ChainInfo { version: ChainVersion::new(0), members: Vec::new() },
                        timeline: 0,
                        lease: None,
                        data: 0,
                        synced: None,
                        sync_done: None,
                        offline: false,
                        said_offline: 0,
                        damaged: false,
                    };
                    self.slots.entry(*id).or_insert(fresh);
                }
                (RecordKey::Target(id), None) => drop(self.slots.remove(id)),
                _ => {}
            }
        }
    }

    /// The transaction of a change begins, and is decided after `ms` at most.
    pub(super) fn in_flight(&mut self, change: Option<Change>, ms: u64) {
        let Some(change) = change else { return };
        let (term, number) = (self.term, change.number);
        let known = |node: &NodeId| (*node, self.known.get(node).copied());
        let expected = change.demoted.iter().map(known).collect();
        self.change = Some((change, expected));
        let ms = self.rng.range(1..=ms);
        self.after(ms, Event::Decided { term, number });
    }

    /// True while the operator would have to wait.
    pub(super) fn is_busy(&self) -> bool {
        self.change.is_some() || self.untold || self.cluster.is_none()
    }

    pub(super) fn at(&self) -> Instant {
        self.instant()
    }
}

/// The next process that is up and not registered.
fn register(
    cluster: &mut Cluster,
    hosts: &mut [Host],
    now: Instant,
) -> Result<Option<Change>, String> {
    for (node, host) in (1..).zip(hosts) {
        let node = NodeId::new(node);
        if !host.up || host.frozen || host.cut || host.registered {
            // Ids are given in order, and a host is meant to be the node of its number.
            if cluster.nodes.contains_key(&node) {
                continue;
            }
            break;
        }
        let wanted = Registration {
            node: cluster.nodes.contains_key(&node).then_some(node),
            uuid: StoreId::new(node.get().into()),
            role: NodeRole::Storage,
            addresses: Vec::from([format!("host-{node}:1")]),
            incarnation: Incarnation::new(host.start),
            domain: String::new(),
        };
        match cluster.register(&wanted, now).map_err(|why| format!("{why}"))? {
            Registered::Known(_) => host.registered = true,
            Registered::New(given, change) => {
                // Ids are given in order, so the first to come are 1, 2, ...
                return if given == node { Ok(Some(change)) } else { Err(format!("{given}")) };
            }
        }
    }
    Ok(None)
}

fn create_chains(
    cluster: &mut Cluster,
    rng: &mut Rng,
    now: Instant,
) -> Result<Option<Change>, String> {
    if cluster.nodes.len() < NODES as usize {
        return Ok(None);
    }
    let chain = |rng: &mut Rng, chain: u32| {
        let first = u32::try_from(rng.below(NODES.into())).unwrap();
        let members = u32::try_from(rng.range(2..=3)).unwrap();
        let target = |member: u32| NewTarget {
            node: NodeId::new((first + member) % NODES + 1),
            core: CoreId::new(0),
            store: StoreId::new(u128::from(chain * 10 + member + 1)),
            disk: 0,
        };
        (0..members).map(target).collect()
    };
    let chains = (0..3).map(|index| chain(rng, index)).collect();
    let accepted = cluster.command(&Command::CreateChains(chains), now);
    Ok(accepted.map_err(|why| format!("{why}"))?.change)
}

/// Milliseconds of `count` seconds.
pub(super) const fn seconds(count: u64) -> u64 {
    count * 1000
}
