//! Random clients, storage nodes and takeovers against the promise itself: nothing of a fenced
//! session is admitted or committed anywhere (E293), although nodes freeze, come back, restart
//! beside their former selves, and learn of routing info late.

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
}

struct Model {
    bug: Bug,
    rng: Rng,
    now: u64,
    sessions: Sessions,
    /// Rows and summary as the KV has them.
    kv: (SessionSummary, BTreeMap<SessionId, SessionRecord>),
    /// Routing info of every version: is a session revoked?
    routing: Vec<(SessionId, BTreeSet<SessionId>)>,
    processes: Vec<Process>,
    live: BTreeSet<SessionId>,
    landed: u32,
    fenced: u32,
    passed_over: u32,
}

fn instant(now: u64) -> Instant {
    Instant::from_nanos(now)
}

fn load(
    kv: &(SessionSummary, BTreeMap<SessionId, SessionRecord>),
    now: u64,
    leases_until: u64,
) -> Sessions {
    let timeout = Duration::from_nanos(300);
    Sessions::load(kv.0, kv.1.clone(), kv.0.timeline, timeout, instant(now), instant(leases_until))
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
        };
        Self {
            bug,
            rng: Rng::new(seed),
            now: 1,
            sessions: load(&kv, 1, 0),
            kv,
            routing: alloc::vec![(id(0), BTreeSet::new())],
            processes: (0..3).map(process).collect(),
            live: BTreeSet::new(),
            landed: 0,
            fenced: 0,
            passed_over: 0,
        }
    }

    fn next_version(&self) -> RoutingVersion {
        r(self.routing.len() as u64)
    }

    /// Commits, or fails and leaves everything as it was.
    fn finish(&mut self, change: SessionChange) -> bool {
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
            self.routing.push((routing.revoked_below, routing.revoked));
        }
        true
    }

    fn is_revoked(&self, installed: usize, session: SessionId) -> bool {
        let (floor, single) = &self.routing[installed];
        session < *floor || single.contains(&session)
    }

    fn step(&mut self) -> Result<(), String> {
        self.now += self.rng.below(3);
        match self.rng.below(100) {
            0..8 => self.open(),
            8..14 => self.revoke(),
            14..22 => self.fence(),
            22..24 => {
                if let Some(change) = self.sessions.plan_sweep().unwrap() {
                    self.finish(change);
                }
            }
            24..26 => self.takeover(),
            26..29 => self.freeze_or_restart(),
            29..50 => self.heartbeat(),
            50..62 => self.install(),
            62..80 => self.admit()?,
            _ => self.land()?,
        }
        self.check()
    }

    fn open(&mut self) {
        let (opened, at) = (r(self.routing.len() as u64 - 1), self.next_version());
        let client = client(self.rng.below(8).into(), u32::try_from(self.now).unwrap());
        if let Ok(Opening::New(_, change)) = self.sessions.plan_open(client, opened, at) {
            self.finish(change);
        }
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
            self.finish(change);
        }
    }

    fn fence(&mut self) {
        let ignored = self.bug == Bug::LeasesIgnored;
        let now = if ignored { Instant::NEVER } else { instant(self.now) };
        if let Some(change) = self.sessions.plan_fence(now).unwrap() {
            let fenced = usize::try_from(change.summary.fenced_to.get()).unwrap();
            let newest =
                |p: &Process| !self.processes.iter().any(|o| o.node == p.node && p.start < o.start);
            let passed = self.processes.iter().any(|p| newest(p) && p.drained < fenced);
            if self.finish(change) {
                self.fenced += 1;
                self.passed_over += u32::from(passed);
            }
        }
    }

    fn takeover(&mut self) {
        let forgets = self.bug == Bug::TakeoverForgets;
        let until = if forgets { self.now } else { self.now + LEASE };
        let mut kv = self.kv.clone();
        self.sessions = load(&kv, self.now, until);
        if self.bug == Bug::NotPersisted {
            // As if what is required of nodes were memory of the primary.
            kv.0.fenced_to = r(0);
            self.sessions.fences = Fences::new(r(0), instant(until));
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
        let published = r(self.routing.len() as u64 - 1);
        let process = &mut self.processes[index];
        if !stuck || self.bug == Bug::DrainedIsInstalled {
            process.drained = process.installed;
        }
        let start = if self.bug == Bug::StartsAreOne { 1 } else { process.start };
        let (node, incarnation) = (process.node, Incarnation::new(start));
        let drained = r(process.drained as u64);
        let sent = self.now;
        self.now += self.rng.below(4);
        let fences = self.sessions.fences_mut();
        if fences.reported_in(node, incarnation, (Timeline::new(0), drained), published).is_err() {
            return;
        }
        if fences.may_lease(node, incarnation).is_ok() || self.bug == Bug::LeaseWithoutDrain {
            fences.granted(node, instant(self.now + LEASE));
            if self.rng.chance(900) {
                self.processes[index].lease_until = sent + LEASE;
            }
        }
    }

    fn admit(&mut self) -> Result<(), String> {
        let Some(index) = self.pick() else { return Ok(()) };
        let newest = self.kv.0.next.get();
        let session = id(self.rng.below(newest + 1));
        let process = &self.processes[index];
        let opened = session < self.kv.0.next;
        if !opened || process.lease_until <= self.now || self.is_revoked(process.installed, session)
        {
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
        for raw in 0..self.kv.0.next.get() {
            let session = id(raw);
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
    for seed in 0..150 {
        let model = run(seed, Bug::None).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        landed += model.landed;
        fenced += model.fenced;
        passed_over += model.passed_over;
    }
    let found = (landed, fenced, passed_over);
    let waited = fenced - passed_over;
    assert!(landed > 1000 && waited > 20 && passed_over > 20, "idle: {found:?}");
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
    ];
    for bug in bugs {
        let found = (0..2000).find_map(|seed| run(seed, bug).err().map(|error| (seed, error)));
        match found {
            Some((seed, error)) => std::println!("{bug:?}: seed {seed}: {error}"),
            None => panic!("{bug:?} is not found"),
        }
    }
}
