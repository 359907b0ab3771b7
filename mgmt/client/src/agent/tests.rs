//! A node that holds replicas, before scripted managers.

use engine_runtime::sim::SimEnv;
use engine_types::{ChainId, ChainInfo, ChainVersion, Incarnation, NodeRole, StoreId, TargetId};
use mgmt_cluster::heartbeat::{HeartbeatAnswer, Lease};
use mgmt_protocol::{Beat, BeatAnswer, Registered};

use super::*;
use crate::testing::{Asked, Ground, Manager, Told, ms, refuse};

const NODE: NodeId = NodeId::new(5);
const BEAT: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(2);
const TARGET: TargetId = TargetId::new(71);

/// A node with one target.
struct Node {
    env: SimEnv,
    version: Cell<u32>,
    reports: RefCell<Vec<Instant>>,
    granted: RefCell<Vec<(Grant, Instant)>>,
    installs: RefCell<Vec<(Timeline, u32, Instant)>>,
    configs: RefCell<Vec<ConfigVersion>>,
    /// How long it takes to install something.
    install_time: Cell<Duration>,
}

impl NodeState for Node {
    fn report(&self) -> Report {
        self.reports.borrow_mut().push(self.env.now());
        let drained = RoutingVersion::new(self.version.get().into());
        Report { timeline: Timeline::new(1), drained, ..Report::default() }
    }

    fn granted(&self, grant: Grant, now: Instant) {
        assert!(grant.sent <= now);
        self.granted.borrow_mut().push((grant, now));
    }

    async fn install(&self, timeline: Timeline, moves: Vec<Move>) -> bool {
        self.env.sleep_until(self.env.now() + self.install_time.get()).await;
        let version = moves[0].info.version.get();
        self.installs.borrow_mut().push((timeline, version, self.env.now()));
        self.version.replace(version.max(self.version.get())) < version
    }

    fn configured(&self, version: ConfigVersion) {
        self.configs.borrow_mut().push(version);
    }
}

fn registration() -> Registration {
    Registration {
        node: None,
        uuid: StoreId::new(99),
        role: NodeRole::Storage,
        addresses: vec!["10.0.0.9:7000".into()],
        incarnation: Incarnation::new(4),
        domain: "rack".into(),
    }
}

fn registered() -> Told {
    Told::Registered(Registered { node: NODE, beat: BEAT })
}

/// The answer of a manager that grants what is asked for.
fn answer(beat: &Beat, by_standby: bool) -> BeatAnswer {
    let heartbeat = &beat.heartbeat;
    let chain = ChainId::new(3).unwrap();
    let version = ChainVersion::new(u32::try_from(heartbeat.drained.get()).unwrap());
    let incarnation = Incarnation::new(1);
    let answer = HeartbeatAnswer {
        sequence: heartbeat.sequence,
        sent: heartbeat.sent,
        lease: LEASE,
        routing: RoutingVersion::new(1),
        timeline: Timeline::new(1),
        leases: vec![Lease { target: TARGET, incarnation, chain, version }],
        moves: Vec::new(),
        unknown: Vec::new(),
        fenced: None,
    };
    BeatAnswer { answer, beat: BEAT, config: ConfigVersion::new(2), by_standby }
}

fn serve(asked: &Asked) -> Told {
    match asked {
        Asked::Register(_) => registered(),
        Asked::Beat(beat) => Told::Beat(answer(beat, false)),
        other => panic!("{other:?}"),
    }
}

fn stand_by(asked: &Asked) -> Told {
    match asked {
        Asked::Beat(beat) => Told::Beat(answer(beat, true)),
        _ => refuse(RefusalCode::NotPrimary),
    }
}

type Place<T> = Rc<RefCell<Option<T>>>;

/// A world with a node in it.
struct World {
    ground: Ground,
    node: Place<Rc<Node>>,
    agent: Place<Rc<Agent<SimEnv, Node>>>,
    stop: CancelToken,
    end: Place<AgentEnd>,
}

impl World {
    fn new(seed: u64, count: u32) -> Self {
        let ground = Ground::new(seed, count);
        ground.manager(0).script(serve);
        let world = Self {
            ground,
            node: Rc::default(),
            agent: Rc::default(),
            stop: CancelToken::default(),
            end: Rc::default(),
        };
        let (node, agent, end) = (world.node.clone(), world.agent.clone(), world.end.clone());
        let stop = world.stop.clone();
        world.ground.client(move |env, managers| async move {
            let state = Rc::new(Node {
                env,
                version: Cell::new(1),
                reports: RefCell::default(),
                granted: RefCell::default(),
                installs: RefCell::default(),
                configs: RefCell::default(),
                install_time: Cell::new(ms(10)),
            });
            *node.borrow_mut() = Some(state.clone());
            let runs = Agent::new(&managers, registration(), state);
            *agent.borrow_mut() = Some(runs.clone());
            let ended = runs.run(stop).await;
            *end.borrow_mut() = Some(ended);
            core::future::pending().await
        });
        world
    }

    fn manager(&self, number: u32) -> Rc<Manager> {
        self.ground.manager(number)
    }

    fn node(&self) -> Rc<Node> {
        self.node.borrow().clone().unwrap()
    }

    fn agent(&self) -> Rc<Agent<SimEnv, Node>> {
        self.agent.borrow().clone().unwrap()
    }

    fn run_ms(&self, millis: u64) {
        self.ground.run_ms(millis);
        if let Some(agent) = &*self.agent.borrow() {
            assert!(agent.flights.borrow().len() <= 8, "heartbeats in flight are bounded");
        }
    }

    /// Runs for a while in which the node always holds a lease.
    fn run_leased(&self, millis: u64) {
        for _ in 0..millis / 10 {
            self.run_ms(10);
            let until = self.lease_until();
            assert!(self.now() < until, "{} is not before {until}", self.now());
        }
    }

    fn lease_until(&self) -> Instant {
        let node = self.node();
        let granted = node.granted.borrow();
        let until = granted.iter().map(|(grant, _)| grant.sent + grant.lasts);
        until.max().unwrap_or(Instant::ZERO)
    }

    fn now(&self) -> Instant {
        self.ground.sim.node_now(self.ground.client)
    }
}

#[test]
fn a_node_registers_and_sends_heartbeats_on_schedule() {
    let world = World::new(1, 1);
    world.run_ms(20_500);
    let manager = world.manager(0);
    assert_eq!(manager.asked()[0], Asked::Register(Register { wanted: registration() }));
    let beats = manager.beats();
    assert_eq!(beats.len(), 21);
    for ((first_at, first), (second_at, second)) in beats.iter().zip(&beats[1..]) {
        let (first, second) = (&first.heartbeat, &second.heartbeat);
        assert!(first.sequence < second.sequence);
        assert!((ms(990)..ms(1010)).contains(&second.sent.saturating_since(first.sent)));
        assert!((ms(990)..ms(1010)).contains(&second_at.saturating_since(*first_at)));
    }
    let heartbeat = &beats[0].1.heartbeat;
    assert_eq!((heartbeat.node, heartbeat.incarnation), (NODE, Incarnation::new(4)));
    assert_eq!((heartbeat.timeline, heartbeat.drained.get()), (Timeline::new(1), 1));
    assert_eq!(world.agent().node(), Some(NODE));
    assert_eq!(*world.node().configs.borrow(), [ConfigVersion::new(2)], "told once");
    world.stop.cancel();
    world.run_ms(5000);
    assert_eq!(*world.end.borrow(), Some(AgentEnd::Stopped));
    assert_eq!(manager.beats().len(), 21);
}

/// E331
#[test]
fn a_lease_counts_from_before_the_report() {
    let world = World::new(2, 1);
    let mut lie = 0;
    world.manager(0).script(move |asked| match asked {
        Asked::Beat(beat) => {
            let mut told = answer(beat, false);
            lie += 1;
            match lie % 4 {
                0 => told.answer.sent += ms(1),
                1 => told.answer.sequence += 1,
                _ => {}
            }
            Told::Later(ms(700), Box::new(Told::Beat(told)))
        }
        asked => serve(asked),
    });
    world.run_ms(10_000);
    let (node, beats) = (world.node(), world.manager(0).beats());
    let (granted, reports) = (node.granted.borrow(), node.reports.borrow());
    assert!(5 < granted.len() && granted.len() < beats.len());
    for (grant, now) in granted.iter() {
        let Grant { target, incarnation, version, sent, lasts } = *grant;
        assert_eq!((target, incarnation), (TARGET, Incarnation::new(1)));
        assert_eq!((version, lasts), (ChainVersion::new(1), LEASE));
        assert!(ms(700) <= now.saturating_since(sent), "late answers count, but not for more");
        let sending = beats.iter().find(|(_, beat)| beat.heartbeat.sent == sent);
        assert!(sending.is_some(), "as the heartbeat said");
        let report = reports.iter().find(|&&at| sent <= at).unwrap();
        assert!(report.saturating_since(sent) < ms(1), "the report follows");
    }
}

/// E336
#[test]
fn heartbeats_go_on_while_answers_hang() {
    let world = World::new(3, 1);
    world.run_ms(2500);
    let manager = world.manager(0);
    let before = manager.beats().len();
    manager.script(|_| Told::Silence);
    world.run_ms(10_000);
    let beats = manager.beats()[before..].to_vec();
    assert_eq!(beats.len(), 10, "and no more: there is nobody else");
    for ((_, first), (_, second)) in beats.iter().zip(&beats[1..]) {
        let gap = second.heartbeat.sent.saturating_since(first.heartbeat.sent);
        assert!((ms(990)..ms(1010)).contains(&gap), "{gap:?}");
    }
    manager.script(serve);
    world.run_ms(1000);
    world.run_leased(3000);
}

/// L5: a dead primary costs no lease if a standby renews it, and nobody forgets the primary.
#[test]
fn a_standby_renews_leases_while_the_primary_is_silent() {
    let world = World::new(4, 3);
    world.manager(2).script(stand_by);
    world.run_ms(3000);
    world.run_leased(3000);
    assert_eq!(world.manager(2).beats(), [], "the primary answers");
    world.manager(0).silent.set(true);
    let before = (world.manager(0).beats().len(), world.manager(1).beats().len());
    world.run_leased(20_000);
    let to_primary = world.manager(0).beats().len() - before.0;
    assert!((19..=21).contains(&to_primary), "each scheduled one: {to_primary}");
    assert!(19 <= world.manager(2).beats().len());
    let to_other = world.manager(1).beats().len() - before.1;
    assert!(to_other <= 1, "who renewed it before comes second: {to_other}");
    assert_eq!(world.agent().managers.primary(), Some(world.manager(0).address));
    world.manager(0).silent.set(false);
    world.run_leased(2000);
    let before = world.manager(2).beats().len();
    world.run_leased(5000);
    assert_eq!(world.manager(2).beats().len(), before, "back at the primary");
    // And another primary is found, though the standby goes on.
    world.ground.kill(0);
    world.manager(1).script(serve);
    let named = world.manager(1);
    world.manager(2).script(move |_| named.is_primary());
    world.run_leased(5000);
    assert_eq!(world.agent().managers.primary(), Some(world.manager(1).address));
}

#[test]
fn refusals_send_a_heartbeat_on_and_nobody_is_overrun() {
    for code in [RefusalCode::NotPrimary, RefusalCode::NotReady, RefusalCode::KvUnavailable] {
        let world = World::new(5, 3);
        world.run_ms(1500);
        for number in 0..3 {
            world.manager(number).script(move |_| refuse(code));
        }
        let sent = |world: &World| {
            let beats = (0..3).map(|number| world.manager(number).beats().len());
            beats.sum::<usize>()
        };
        world.run_ms(1000);
        let before = sent(&world);
        world.run_ms(10_000);
        let each_second = (sent(&world) - before) / 10;
        assert!((15..=25).contains(&each_second), "{code:?}: {each_second} heartbeats a second");
        world.manager(1).script(serve);
        world.run_ms(250);
        world.run_leased(2000);
    }
}

#[test]
fn nothing_runs_hot_while_all_managers_are_down() {
    let world = World::new(6, 3);
    world.run_ms(1500);
    for number in 0..3 {
        world.ground.kill(number);
    }
    for _ in 0..60 {
        world.run_ms(1000);
    }
    world.manager(1).script(serve);
    world.ground.start(1);
    world.run_ms(1500);
    world.run_leased(5000);
    world.stop.cancel();
    world.run_ms(10);
    assert_eq!(world.agent().flights.borrow().len(), 0);
}

/// E338
#[test]
fn what_is_told_is_installed_and_said_at_once() {
    let world = World::new(7, 1);
    world.run_ms(1500);
    let manager = world.manager(0);
    let wanted = Rc::new(Cell::new(7));
    let wants = wanted.clone();
    manager.script(move |asked| {
        let Asked::Beat(beat) = asked else { panic!("{asked:?}") };
        let mut told = answer(beat, false);
        if beat.heartbeat.drained.get() < u64::from(wants.get()) {
            let info = ChainInfo { version: ChainVersion::new(wants.get()), members: Vec::new() };
            let chain = ChainId::new(3).unwrap();
            told.answer.moves = vec![Move { target: TARGET, chain, info }];
        }
        Told::Beat(told)
    });
    world.run_ms(1500);
    let node = world.node();
    let installs = node.installs.borrow().clone();
    assert_eq!((installs.len(), installs[0].0, installs[0].1), (1, Timeline::new(1), 7));
    let after = |at: Instant| {
        let beats = manager.beats();
        let beat = beats.iter().find(|(_, beat)| at <= beat.heartbeat.sent).unwrap();
        beat.1.heartbeat.clone()
    };
    let next = after(installs[0].2);
    assert!(next.sent.saturating_since(installs[0].2) < ms(8), "at once");
    assert_eq!(next.drained.get(), 7);
    let granted = node.granted.borrow().last().unwrap().0;
    assert_eq!(granted.version, ChainVersion::new(7));
    // While one is installed, the newest waits.
    node.install_time.set(ms(2500));
    wanted.set(8);
    world.run_ms(1200);
    wanted.set(9);
    world.run_ms(6500);
    let versions: Vec<u32> = node.installs.borrow().iter().map(|install| install.1).collect();
    assert_eq!(versions[..3], [7, 8, 9]);
    assert!(versions[3..].iter().all(|&version| version == 9), "{versions:?}");
    let gap = |a: usize, b: usize| {
        let installs = node.installs.borrow();
        installs[b].2.saturating_since(installs[a].2)
    };
    assert!(ms(2500) <= gap(1, 2), "one at a time");
}

#[test]
fn an_agent_ends_when_the_node_must_not_go_on() {
    type End = fn(&AgentEnd) -> bool;
    let rows: [(RefusalCode, RefusalCode, End); 5] = [
        (RefusalCode::OtherStart, RefusalCode::OtherStart, |end| {
            *end == AgentEnd::Replaced { why: "OtherStart".into() }
        }),
        (RefusalCode::OtherStart, RefusalCode::Unregistered, |end| *end == AgentEnd::Unregistered),
        (RefusalCode::Unregistered, RefusalCode::Conflict, |end| *end == AgentEnd::Unregistered),
        (RefusalCode::ClockAway, RefusalCode::Conflict, |end| {
            *end == AgentEnd::ClockAway { why: "ClockAway".into() }
        }),
        (
            RefusalCode::OtherStart,
            RefusalCode::InvalidArgument,
            |end| matches!(end, AgentEnd::Refused(why) if why.code == RefusalCode::InvalidArgument),
        ),
    ];
    for (to_beat, to_register, ends) in rows {
        let world = World::new(8, 2);
        world.run_ms(1500);
        world.manager(0).script(move |asked| match asked {
            Asked::Beat(_) => refuse(to_beat),
            _ => refuse(to_register),
        });
        world.run_ms(2500);
        let end = world.end.borrow().clone();
        assert!(end.as_ref().is_some_and(ends), "{to_beat:?}, {to_register:?}: {end:?}");
        let before = world.manager(0).asked().len();
        world.run_ms(5000);
        assert_eq!(world.manager(0).asked().len(), before, "{to_beat:?}: nothing is said any more");
    }
}

/// E337: a restored KV knows an older start only (R20).
#[test]
fn a_node_that_was_forgotten_registers_again() {
    let world = World::new(9, 1);
    world.run_ms(1500);
    let known = Rc::new(Cell::new(false));
    let knows = known.clone();
    world.manager(0).script(move |asked| match asked {
        Asked::Register(wanted) => {
            assert_eq!(wanted.wanted.node, Some(NODE), "under its id");
            knows.set(true);
            registered()
        }
        Asked::Beat(_) if !knows.get() => refuse(RefusalCode::OtherStart),
        asked => serve(asked),
    });
    world.run_ms(3000);
    assert!(known.get() && world.end.borrow().is_none());
    world.run_leased(3000);
}

#[test]
fn other_refusals_end_nothing() {
    let world = World::new(10, 1);
    for code in RefusalCode::ALL.iter().copied().chain([RefusalCode::Unrecognised(999)]) {
        let ends = [RefusalCode::OtherStart, RefusalCode::Unregistered, RefusalCode::ClockAway];
        if ends.contains(&code) {
            continue;
        }
        world.manager(0).script(move |asked| match asked {
            Asked::Beat(_) => refuse(code),
            asked => serve(asked),
        });
        world.run_ms(3000);
        assert_eq!(*world.end.borrow(), None, "{code:?}");
    }
    world.manager(0).script(serve);
    world.run_ms(1500);
    world.run_leased(3000);
}

#[test]
fn a_node_that_stops_is_heard_before() {
    let world = World::new(11, 1);
    world.run_ms(1500);
    let (agent, heard) = (world.agent(), Rc::new(Cell::new(None)));
    let (asks, seen) = (agent.clone(), heard.clone());
    let env = agent.managers.env().clone();
    let before = world.manager(0).beats().len();
    let clock = env.clone();
    drop(env.spawn(async move { seen.set(Some(asks.beat_heard(clock.now() + ms(100)).await)) }));
    world.run_ms(100);
    assert_eq!(heard.take(), Some(true));
    assert_eq!(world.manager(0).beats().len(), before + 1);
    for _ in 0..1000 {
        agent.beat_now();
        world.run_ms(1);
    }
    let sent = world.manager(0).beats().len() - before;
    assert!(sent < 220, "{sent} in a second");
    world.manager(0).silent.set(true);
    let (asks, seen, clock) = (agent.clone(), heard.clone(), env.clone());
    drop(env.spawn(async move { seen.set(Some(asks.beat_heard(clock.now() + ms(100)).await)) }));
    world.run_ms(200);
    assert_eq!(heard.take(), Some(false));
}

#[test]
fn registering_goes_on_until_it_succeeds() {
    let world = World::new(12, 2);
    world.manager(0).script(|_| refuse(RefusalCode::NotReady));
    world.run_ms(20_000);
    assert_eq!(world.agent().node(), None);
    let mut times = 0;
    world.manager(0).script(move |asked| {
        times += 1;
        if times < 3 { refuse(RefusalCode::UnknownResult) } else { serve(asked) }
    });
    world.run_ms(3000);
    assert_eq!(world.agent().node(), Some(NODE));
    let world = World::new(13, 1);
    world.manager(0).script(|_| refuse(RefusalCode::OtherStart));
    world.run_ms(1000);
    let why = "OtherStart".to_owned();
    assert_eq!(*world.end.borrow(), Some(AgentEnd::Replaced { why }));
}
