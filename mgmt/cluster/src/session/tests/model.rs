//! Random clients, storage nodes and takeovers against the promise itself: nothing of a fenced
//! session is admitted or committed anywhere (E293), although nodes freeze, come back, restart
//! beside their former selves, and learn of routing info late; although other news is published
//! between the plan of a revocation and its commit, answers arrive late and in any order, and the
//! KV comes back from a backup.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use engine_types::{Incarnation, NodeId, Rng, Timeline};

use super::super::*;
use super::{client, id, r};

/// What the driver does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    LeaseWithoutDrain,
    DrainedIsInstalled,
    StartsAreOne,
    TakeoverForgets,
    LeasesIgnored,
    NotPersisted,
    PublishedBetween,
    TimelineIgnored,
    NotLifted,
}

const LEASE: u64 = 60;

/// One start of a storage node; former starts may live on.
#[derive(Debug)]
struct Process {
    node: NodeId,
    start: u64,
    installed: usize,
    drained: usize,
    lease_until: u64,
    frozen: bool,
    admitted: Vec<SessionId>,
    /// Ends of leases in answers that are on their way.
    answers: Vec<u64>,
}

/// What stores refuse from one version on. Processes name it by its place in `Model::routing`.
#[derive(Clone)]
struct Shown {
    timeline: Timeline,
    version: u64,
    floor: SessionId,
    single: BTreeSet<SessionId>,
}

/// Rows and summary as the KV has them.
type Kv = (SessionSummary, BTreeMap<SessionId, SessionRecord>);

struct Model {
    bug: Bug,
    rng: Rng,
    now: u64,
    sessions: Sessions,
    kv: Kv,
    /// The KV as it was, and the version published then.
    backup: (Kv, u64),
    timeline: Timeline,
    /// Routing info of every version, in the order of publication.
    routing: Vec<Shown>,
    /// Every id that was ever given out.
    opened: BTreeSet<SessionId>,
    processes: Vec<Process>,
    live: BTreeSet<SessionId>,
    landed: u32,
    fenced: u32,
    passed_over: u32,
    between: u32,
    late: u32,
    restored: u32,
}

fn instant(now: u64) -> Instant {
    Instant::from_nanos(now)
}

fn load(kv: &Kv, timeline: Timeline, now: u64, leases_until: u64) -> Sessions {
    let timeout = Duration::from_nanos(300);
    Sessions::load(kv.0, kv.1.clone(), timeline, timeout, instant(now), instant(leases_until))
        .unwrap()
}

impl Model {
    fn new(seed: u64, bug: Bug) -> Self {
        let kv = (SessionSummary::default(), BTreeMap::new());
        let process = |node| Process {
            node: NodeId::new(node),
            start: 1,
            installed: 0,
            drained: 0,
            lease_until: 0,
            frozen: false,
            admitted: Vec::new(),
            answers: Vec::new(),
        };
        let timeline = Timeline::new(0);
        let single = BTreeSet::new();
        let first = Shown { timeline, version: 0, floor: id(0), single };
        Self {
            bug,
            rng: Rng::new(seed),
            now: 1,
            sessions: load(&kv, timeline, 1, 0),
            backup: (kv.clone(), 0),
            kv,
            timeline,
            routing: alloc::vec![first],
            opened: BTreeSet::new(),
            processes: (0..3).map(process).collect(),
            live: BTreeSet::new(),
            landed: 0,
            fenced: 0,
            passed_over: 0,
            between: 0,
            late: 0,
            restored: 0,
        }
    }

    fn newest(&self) -> &Shown {
        self.routing.last().unwrap()
    }

    /// The version that is kept for a revocation which is planned now: others may come before it.
    fn next_version(&mut self) -> RoutingVersion {
        r(self.newest().version + 1 + self.rng.below(3))
    }

    /// Other news is published while a change is under way, in a version below the one it names.
    fn publish_other(&mut self, at: Option<RoutingVersion>) {
        let mut shown = self.newest().clone();
        shown.version += 1;
        let kept = at.is_some_and(|at| at.get() <= shown.version);
        if !kept || self.bug == Bug::PublishedBetween {
            self.between += u32::from(at.is_some());
            self.routing.push(shown);
        }
    }

    /// Commits, or fails and leaves everything as it was; the world goes on meanwhile.
    fn finish(&mut self, change: SessionChange, at: RoutingVersion) -> bool {
        let at = Some(at).filter(|_| change.revokes);
        for _ in 0..self.rng.below(3) {
            self.publish_other(at);
            self.install();
            self.heartbeat();
            self.answer();
        }
        if self.rng.chance(100) {
            self.sessions.failed(change);
            return false;
        }
        for (session, record) in &change.put {
            self.kv.1.insert(*session, record.clone());
            if record.is_live() {
                self.live.insert(*session)
            } else {
                self.live.remove(session)
            };
        }
        change.remove.iter().for_each(|session| {
            self.kv.1.remove(session);
        });
        self.kv.0 = change.summary;
        let revokes = change.revokes;
        self.sessions.committed(change, instant(self.now));
        if revokes {
            let mut routing = RoutingInfo::empty(engine_types::ClusterId::new(1));
            self.sessions.publish(&mut routing);
            let timeline = self.timeline;
            let same = self.newest().timeline == timeline;
            let least = if same { self.newest().version + 1 } else { 0 };
            let version = at.map_or(least, |at| at.get().max(least));
            let (floor, single) = (routing.revoked_below, routing.revoked);
            self.routing.push(Shown { timeline, version, floor, single });
        }
        true
    }

    fn is_revoked(&self, installed: usize, session: SessionId) -> bool {
        let Shown { floor, single, .. } = &self.routing[installed];
        session < *floor || single.contains(&session)
    }

    fn step(&mut self) -> Result<(), String> {
        self.now += self.rng.below(3);
        match self.rng.below(100) {
            0..8 => self.open()?,
            8..14 => self.revoke(),
            14..22 => self.fence(),
            22..24 => {
                if let Some(change) = self.sessions.plan_sweep().unwrap() {
                    self.finish(change, r(0));
                }
            }
            24..26 => self.takeover(),
            26..29 => self.freeze_or_restart(),
            29..50 => self.heartbeat(),
            50..58 => self.install(),
            58..61 => self.answer(),
            61 if self.rng.chance(100) => self.restore(),
            61 => self.backup = (self.kv.clone(), self.newest().version),
            62..80 => self.admit()?,
            _ => self.land()?,
        }
        self.check()
    }

    /// The KV comes back as it was, and the operator raises the timeline. Versions are numbered as
    /// if the lost ones had not been.
    fn restore(&mut self) {
        let (kv, version) = self.backup.clone();
        self.kv = kv;
        self.timeline = Timeline::new(self.timeline.get() + 1);
        if self.bug == Bug::NotLifted {
            self.kv.0.timeline = self.timeline;
        }
        self.sessions = load(&self.kv, self.timeline, self.now, self.now + LEASE);
        let live = self.kv.1.iter().filter(|(_, record)| record.is_live());
        self.live = live.map(|(&session, _)| session).collect();
        self.restored += 1;
        let timeline = self.timeline;
        let mut shown = Shown { timeline, version: version + 1, ..self.newest().clone() };
        let mut routing = RoutingInfo::empty(engine_types::ClusterId::new(1));
        self.sessions.publish(&mut routing);
        (shown.floor, shown.single) = (routing.revoked_below, routing.revoked);
        self.routing.push(shown);
        loop {
            let at = self.next_version();
            let Some(change) = self.sessions.plan_lift(at).unwrap() else { break };
            if self.finish(change, at) {
                self.live.clear();
            }
        }
    }

    fn open(&mut self) -> Result<(), String> {
        let (opened, at) = (r(self.newest().version), self.next_version());
        let client = client(self.rng.below(8).into(), u32::try_from(self.now).unwrap());
        if let Ok(Opening::New(session, change)) = self.sessions.plan_open(client, opened, at)
            && self.finish(change, at)
            && !self.opened.insert(session)
        {
            return Err(format!("E291: {session} is opened twice"));
        }
        Ok(())
    }

    fn revoke(&mut self) {
        let live: Vec<_> = self.live.iter().copied().collect();
        let Some(&session) = self.rng.pick(&live) else { return };
        let _ = self.sessions.extend(session, instant(self.now));
        let at = self.next_version();
        let change = if self.rng.chance(500) {
            self.sessions.plan_expire(instant(self.now), at).unwrap()
        } else {
            self.sessions.plan_revoke(&[session], RevokeReason::Operator, at).unwrap()
        };
        if let Some(change) = change {
            self.finish(change, at);
        }
    }

    fn fence(&mut self) {
        let ignored = self.bug == Bug::LeasesIgnored;
        let now = if ignored { Instant::NEVER } else { instant(self.now) };
        if let Some(change) = self.sessions.plan_fence(now).unwrap() {
            let fenced = change.summary.fenced_to.get();
            let drained = |p: &Process| match &self.routing[p.drained] {
                shown if shown.timeline == self.timeline => shown.version,
                _ => 0,
            };
            let newest =
                |p: &Process| !self.processes.iter().any(|o| o.node == p.node && p.start < o.start);
            let passed = self.processes.iter().any(|p| newest(p) && drained(p) < fenced);
            if self.finish(change, r(0)) {
                self.fenced += 1;
                self.passed_over += u32::from(passed);
            }
        }
    }

    fn takeover(&mut self) {
        let forgets = self.bug == Bug::TakeoverForgets;
        let until = if forgets { self.now } else { self.now + LEASE };
        let mut kv = self.kv.clone();
        self.sessions = load(&kv, self.timeline, self.now, until);
        if self.bug == Bug::NotPersisted {
            // As if what is required of nodes were memory of the primary.
            kv.0.fenced_to = r(0);
            self.sessions.fences = Fences::new(r(0), instant(until));
            self.sessions.fences.raise(self.timeline);
        }
    }

    fn freeze_or_restart(&mut self) {
        let index = usize::try_from(self.rng.below(self.processes.len() as u64)).unwrap();
        let process = &mut self.processes[index];
        if self.rng.chance(700) {
            process.frozen = !process.frozen;
            return;
        }
        // The former start lives on beside the new one, for a while.
        let newest =
            |node| self.processes.iter().filter(move |p| p.node == node).map(|p| p.start).max();
        let node = self.processes[index].node;
        let start = newest(node).unwrap() + 1;
        let installed = usize::try_from(self.rng.below(self.routing.len() as u64)).unwrap();
        let admitted = Vec::new();
        let (lease_until, frozen) = (0, false);
        self.processes.push(Process {
            node,
            start,
            installed,
            drained: 0,
            lease_until,
            frozen,
            admitted,
            answers: Vec::new(),
        });
        if self.processes.len() > 9 {
            self.processes.remove(0);
        }
    }

    fn pick(&mut self) -> Option<usize> {
        let index = usize::try_from(self.rng.below(self.processes.len() as u64)).unwrap();
        Some(index).filter(|&index| !self.processes[index].frozen)
    }

    fn install(&mut self) {
        let Some(index) = self.pick() else { return };
        let newest = self.routing.len() as u64 - 1;
        let process = &mut self.processes[index];
        let version = self.rng.range(process.installed as u64..=newest);
        process.installed = usize::try_from(version).unwrap();
    }

    /// The process says what it has drained, and gets a lease if it may.
    fn heartbeat(&mut self) {
        let Some(index) = self.pick() else { return };
        let process = &self.processes[index];
        let stuck = process.admitted.iter().any(|&s| self.is_revoked(process.installed, s));
        let published = r(self.newest().version);
        let process = &mut self.processes[index];
        if !stuck || self.bug == Bug::DrainedIsInstalled {
            process.drained = process.installed;
        }
        let start = if self.bug == Bug::StartsAreOne { 1 } else { process.start };
        let (node, incarnation) = (process.node, Incarnation::new(start));
        let shown = &self.routing[process.drained];
        let ignored = self.bug == Bug::TimelineIgnored;
        let timeline = if ignored { self.timeline } else { shown.timeline };
        let drained = r(shown.version);
        let sent = self.now;
        self.now += self.rng.below(4);
        let fences = self.sessions.fences_mut();
        if fences.reported_in(node, incarnation, (timeline, drained), published).is_err() {
            return;
        }
        if fences.may_lease(node, incarnation).is_ok() || self.bug == Bug::LeaseWithoutDrain {
            fences.granted(node, instant(self.now + LEASE));
            let process = &mut self.processes[index];
            match self.rng.below(10) {
                0 => {}
                1..4 => process.answers.push(sent + LEASE),
                _ => process.lease_until = process.lease_until.max(sent + LEASE),
            }
        }
    }

    /// A late answer arrives: it counts from the sending.
    fn answer(&mut self) {
        let Some(index) = self.pick() else { return };
        let process = &mut self.processes[index];
        let Some(&until) = self.rng.pick(&process.answers) else { return };
        process.answers.retain(|&other| other != until);
        process.lease_until = process.lease_until.max(until);
        self.late += 1;
    }

    fn admit(&mut self) -> Result<(), String> {
        let Some(index) = self.pick() else { return Ok(()) };
        let opened: Vec<_> = self.opened.iter().copied().collect();
        let Some(&session) = self.rng.pick(&opened) else { return Ok(()) };
        let process = &self.processes[index];
        if process.lease_until <= self.now || self.is_revoked(process.installed, session) {
            return Ok(());
        }
        if self.sessions.fenced(session) {
            return Err(format!("E293: {session} is fenced and {process:?} admits"));
        }
        self.processes[index].admitted.push(session);
        Ok(())
    }

    /// An admitted write commits, or is dropped when there is no lease.
    fn land(&mut self) -> Result<(), String> {
        let Some(index) = self.pick() else { return Ok(()) };
        let process = &mut self.processes[index];
        let Some(session) = process.admitted.pop() else { return Ok(()) };
        if process.lease_until <= self.now {
            return Ok(());
        }
        self.landed += 1;
        if self.sessions.fenced(session) {
            return Err(format!("E293: {session} is fenced and {process:?} commits"));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let newest = self.routing.len() - 1;
        for &session in &self.opened {
            let live = self.live.contains(&session);
            if live == self.is_revoked(newest, session) {
                return Err(format!("{session}: live {live}, published otherwise"));
            }
            if live && self.sessions.fenced(session) {
                return Err(format!("{session} is live and fenced"));
            }
        }
        Ok(())
    }
}

fn run(seed: u64, bug: Bug) -> Result<Model, String> {
    let mut model = Model::new(seed, bug);
    for _ in 0..400 {
        model.step()?;
    }
    Ok(model)
}

#[test]
fn e293_nothing_of_a_fenced_session_happens() {
    let (mut landed, mut fenced, mut passed_over) = (0, 0, 0);
    let (mut between, mut late, mut restored) = (0, 0, 0);
    for seed in 0..150 {
        let model = run(seed, Bug::None).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        landed += model.landed;
        fenced += model.fenced;
        passed_over += model.passed_over;
        between += model.between;
        late += model.late;
        restored += model.restored;
    }
    let found = (landed, fenced, passed_over);
    let waited = fenced - passed_over;
    assert!(landed > 1000 && waited > 20 && passed_over > 20, "idle: {found:?}");
    let found = (between, late, restored);
    assert!(between > 500 && late > 500 && restored > 20, "idle: {found:?}");
}

#[test]
fn every_planted_bug_is_found() {
    let bugs = [
        Bug::LeaseWithoutDrain,
        Bug::DrainedIsInstalled,
        Bug::StartsAreOne,
        Bug::TakeoverForgets,
        Bug::LeasesIgnored,
        Bug::NotPersisted,
        Bug::PublishedBetween,
        Bug::TimelineIgnored,
        Bug::NotLifted,
    ];
    for bug in bugs {
        let found = (0..2000).find_map(|seed| run(seed, bug).err().map(|error| (seed, error)));
        match found {
            Some((seed, error)) => std::println!("{bug:?}: seed {seed}: {error}"),
            None => panic!("{bug:?} is not found"),
        }
    }
}
