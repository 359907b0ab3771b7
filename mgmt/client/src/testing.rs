//! Managers that answer from a script, in a simulated world.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_net::{NetConfig, NetLimits, Part, Request, Server, Service};
use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_runtime::{CancelToken, Env};
use engine_types::{ClusterId, Incarnation, Instant, NodeId, NodeRole, Status, StoreId};
use engine_wire::Kind;
use engine_wire::bodies::{Body, MgmtReply};
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};
use mgmt_cluster::lease::Contact;
use mgmt_protocol::{
    Answer, Beat, BeatAnswer, Call, Done, ManagerStatus, Message, Operation, Question, Refusal,
    RefusalCode, Register, Registered, RoutingAsk, RoutingTold, SessionAsk, SessionTold,
    StandingSaid, StatusAsk,
};

use crate::Managers;

pub(crate) const PORT: u16 = 7000;
pub(crate) const CLUSTER: ClusterId = ClusterId::new(7);

/// What a manager was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Status,
    Register(Register),
    Beat(Beat),
    Routing(RoutingAsk),
    Session(SessionAsk),
    Operation(Operation),
    Question(Question),
}

/// What it does then.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Registered(Registered),
    Beat(BeatAnswer),
    Routing(RoutingTold),
    Session(SessionTold),
    Done(Done),
    Answer(Answer),
    Refuse(Refusal),
    /// Says nothing.
    Silence,
    /// The process ends.
    Crash,
    /// The same after a while.
    Later(Duration, Box<Self>),
}

pub(crate) fn refuse(code: RefusalCode) -> Told {
    Told::Refuse(Refusal::new(code, format!("{code:?}")))
}

type Script = Box<dyn FnMut(&Asked) -> Told>;

/// A manager: its script, and what it was asked, with the time on its clock.
pub(crate) struct Manager {
    pub(crate) address: SocketAddr,
    script: RefCell<Script>,
    log: RefCell<Vec<(Instant, Asked)>>,
    /// Says nothing to anybody, whatever the script says.
    pub(crate) silent: Cell<bool>,
    crash: RefCell<CancelToken>,
}

impl Manager {
    pub(crate) fn script(&self, script: impl FnMut(&Asked) -> Told + 'static) {
        *self.script.borrow_mut() = Box::new(script);
    }

    /// What it was asked, but for its status.
    pub(crate) fn log(&self) -> Vec<(Instant, Asked)> {
        let log = self.log.borrow();
        log.iter().filter(|(_, asked)| *asked != Asked::Status).cloned().collect()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.log().into_iter().map(|(_, asked)| asked).collect()
    }

    pub(crate) fn beats(&self) -> Vec<(Instant, Beat)> {
        let beat = |(at, asked)| match asked {
            Asked::Beat(beat) => Some((at, beat)),
            _ => None,
        };
        self.log().into_iter().filter_map(beat).collect()
    }

    fn contact(&self) -> Contact {
        let addresses = vec![self.address.to_string()];
        Contact { node: NodeId::new(9), incarnation: Incarnation::new(1), addresses }
    }

    /// A refusal that names this manager as primary.
    pub(crate) fn is_primary(&self) -> Told {
        let primary = Some(self.contact());
        let refusal = Refusal::new(RefusalCode::NotPrimary, "not primary");
        Told::Refuse(Refusal { primary, ..refusal })
    }
}

struct Scripted {
    env: SimEnv,
    manager: Rc<Manager>,
}

impl Service<SimEnv> for Scripted {
    async fn call(self: Rc<Self>, request: Request<SimEnv>) {
        match request.kind() {
            Kind::MGMT_STATUS => self.status(request).await,
            Kind::MGMT_REGISTER => self.serve(request, Asked::Register).await,
            Kind::MGMT_BEAT => self.serve(request, Asked::Beat).await,
            Kind::MGMT_ROUTING => self.serve(request, Asked::Routing).await,
            Kind::MGMT_SESSION => self.serve(request, Asked::Session).await,
            Kind::MGMT_COMMAND => self.serve(request, Asked::Operation).await,
            Kind::MGMT_QUERY => self.serve(request, Asked::Question).await,
            _ => request.refuse(Status::UnsupportedKind).await,
        }
    }
}

impl Scripted {
    async fn status(&self, mut request: Request<SimEnv>) {
        let asked = StatusAsk::decode(&collected(&mut request).await).unwrap();
        assert!(!asked.summary, "a probe makes nobody count chains");
        self.manager.log.borrow_mut().push((self.env.now(), Asked::Status));
        if self.manager.silent.get() {
            core::future::pending::<()>().await;
        }
        let status = ManagerStatus {
            me: self.manager.contact(),
            cluster: CLUSTER,
            standing: StandingSaid::Standby,
            lease: None,
            since: Duration::from_secs(1),
            summary: None,
            trouble: String::new(),
        };
        self.tell::<StatusAsk>(request, 0, &status.encode()).await;
    }

    async fn serve<C: Call>(&self, mut request: Request<SimEnv>, asked: fn(C) -> Asked) {
        let payload = collected(&mut request).await;
        let asked = asked(C::decode(&payload).unwrap());
        self.manager.log.borrow_mut().push((self.env.now(), asked.clone()));
        let mut told = (self.manager.script.borrow_mut())(&asked);
        while let Told::Later(pause, then) = told {
            self.env.sleep_until(self.env.now() + pause).await;
            told = *then;
        }
        let answer = match told {
            _ if self.manager.silent.get() => core::future::pending().await,
            Told::Silence => core::future::pending().await,
            Told::Crash => {
                self.manager.crash.borrow().cancel();
                core::future::pending().await
            }
            Told::Refuse(refusal) => {
                let outcome = refusal.code.code();
                return self.tell::<C>(request, outcome, &refusal.encode()).await;
            }
            Told::Registered(told) => told.encode(),
            Told::Beat(told) => told.encode(),
            Told::Routing(told) => told.encode(),
            Told::Session(told) => told.encode(),
            Told::Done(told) => told.encode(),
            Told::Answer(told) => told.encode(),
            Told::Later(..) => unreachable!("taken apart above"),
        };
        self.tell::<C>(request, 0, &answer).await;
    }

    async fn tell<C: Call>(&self, request: Request<SimEnv>, outcome: u16, bytes: &[u8]) {
        let mut buf = self.env.pool().alloc(bytes.len()).unwrap();
        buf.extend_from_slice(bytes);
        let body = C::Told::with_outcome(outcome);
        assert_eq!(<C::Told as Body>::KIND, <C::Ask as Body>::KIND);
        request.respond(&body, &[Part::plain(buf.freeze())]).await;
    }
}

async fn collected(request: &mut Request<SimEnv>) -> Vec<u8> {
    let segments = request.collect().await.unwrap();
    segments.iter().flat_map(|segment| segment.bytes.to_vec()).collect()
}

fn net(role: NodeRole, node: NodeId) -> Rc<NetConfig> {
    let process = StoreId::new(node.get().into());
    let identity = Identity { role, node, process, incarnation: Incarnation::new(1) };
    let secret = ClusterSecret::new([7; 32]).unwrap();
    let local = Local { cluster: CLUSTER, identity, secret, versions: Versions::BUILD };
    Rc::new(NetConfig { local, limits: NetLimits::default() })
}

/// A world of managers, numbered from 0, and one client behind them.
pub(crate) struct Ground {
    pub(crate) sim: Sim,
    managers: BTreeMap<u32, Rc<Manager>>,
    pub(crate) client: NodeId,
}

impl Ground {
    /// All managers run, and refuse as standbys that know no primary.
    pub(crate) fn new(seed: u64, count: u32) -> Self {
        let sim = Sim::new(SimConfig::new(seed));
        let mut managers = BTreeMap::new();
        for number in 0..count {
            let node = sim.add_node(NodeSpec::new(&format!("manager-{number}")));
            assert_eq!(node.get(), number);
            let manager = Manager {
                address: sim.address(node, PORT),
                script: RefCell::new(Box::new(|_| refuse(RefusalCode::NotPrimary))),
                log: RefCell::default(),
                silent: Cell::new(false),
                crash: RefCell::default(),
            };
            managers.insert(number, Rc::new(manager));
        }
        let client = sim.add_node(NodeSpec::new("client"));
        let ground = Self { sim, managers, client };
        for number in 0..count {
            ground.start(number);
        }
        ground
    }

    pub(crate) fn manager(&self, number: u32) -> Rc<Manager> {
        self.managers[&number].clone()
    }

    /// Starts a manager that has ended.
    pub(crate) fn start(&self, number: u32) {
        let manager = self.manager(number);
        let crash = CancelToken::default();
        *manager.crash.borrow_mut() = crash.clone();
        let node = NodeId::new(number);
        self.sim.start(node, move |env| async move {
            let listener = env.listen(manager.address).unwrap();
            let service = Rc::new(Scripted { env: env.clone(), manager });
            let _server = Server::start(&env, net(NodeRole::Manager, node), listener, service);
            crash.cancelled().await;
        });
    }

    /// Ends the process of a manager.
    pub(crate) fn kill(&self, number: u32) {
        self.sim.kill(NodeId::new(number));
    }

    /// Starts `main` on the client's node, with all managers known; the cell says that it ended.
    pub(crate) fn client<F: Future<Output = ()> + 'static>(
        &self,
        main: impl FnOnce(SimEnv, Managers<SimEnv>) -> F + 'static,
    ) -> Rc<Cell<bool>> {
        let seeds = self.managers.values().map(|manager| manager.address).collect();
        self.client_of(seeds, main)
    }

    /// The same with other addresses.
    pub(crate) fn client_of<F: Future<Output = ()> + 'static>(
        &self,
        seeds: Vec<SocketAddr>,
        main: impl FnOnce(SimEnv, Managers<SimEnv>) -> F + 'static,
    ) -> Rc<Cell<bool>> {
        let done = Rc::new(Cell::new(false));
        let (seen, node) = (done.clone(), self.client);
        self.sim.start(node, move |env| async move {
            let managers = Managers::new(&env, net(NodeRole::Storage, node), seeds);
            main(env, managers).await;
            seen.set(true);
        });
        done
    }

    pub(crate) fn run(&self, duration: Duration) {
        self.sim.run_for(duration).unwrap();
    }

    pub(crate) fn run_ms(&self, millis: u64) {
        self.run(Duration::from_millis(millis));
    }

    pub(crate) fn finish(&self, done: &Cell<bool>) {
        self.sim.run_while(Duration::from_secs(3600), |_| !done.get()).unwrap();
        assert!(done.get(), "the client did not end: {}", self.sim.trace_tail());
    }
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
