//! Two nodes and what runs on them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use engine_net::{Call, CallError, Client, NetConfig, NetLimits, Part, Reply, Request, Service};
use engine_net::{Segment, Server};
use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_runtime::{Bytes, Env, Signal};
use engine_types::{ClusterId, Incarnation, Instant, NodeId, NodeRole, Status, StoreId};
use engine_wire::bodies::{self, EchoRequest, EchoResponse};
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};

pub(crate) const PORT: u16 = 7000;
pub(crate) const SERVER: NodeId = NodeId::new(0);
pub(crate) const CLIENT: NodeId = NodeId::new(1);

pub(crate) type SimBytes = Bytes<<SimEnv as Env>::Memory>;

/// A process of the test cluster.
pub(crate) fn config(node: NodeId, limits: NetLimits) -> Rc<NetConfig> {
    let identity = Identity {
        role: NodeRole::Storage,
        node,
        process: StoreId::new(u128::from(node.get()) + 1),
        incarnation: Incarnation::new(1),
    };
    let local = Local {
        cluster: ClusterId::new(7),
        identity,
        secret: ClusterSecret::new([7; 32]).unwrap(),
        versions: Versions::BUILD,
    };
    Rc::new(NetConfig { local, limits })
}

/// Answers with as many bytes as asked for, after the delay asked for; without a wish it sends
/// back the payload it got. Counts what it sees.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) executed: Cell<u64>,
    pub(crate) under_way: Cell<u64>,
    pub(crate) under_way_peak: Cell<u64>,
    pub(crate) cancelled: Cell<u64>,
    pub(crate) aborted: Cell<u64>,
    pub(crate) sequences: RefCell<Vec<u64>>,
    /// Set: requests are dropped without an answer.
    pub(crate) drops: Cell<bool>,
}

/// The byte that stands at `offset` of the payload with `sequence`.
pub(crate) fn pattern(sequence: u64, offset: usize) -> u8 {
    (sequence as usize).wrapping_mul(31).wrapping_add(offset.wrapping_mul(7) >> 3) as u8
}

pub(crate) fn payload(env: &SimEnv, sequence: u64, len: usize) -> SimBytes {
    let mut buf = env.pool().alloc(len).expect("test payloads fit the pool");
    buf.set_len(len);
    for (offset, byte) in buf.whole_mut()[..len].iter_mut().enumerate() {
        *byte = pattern(sequence, offset);
    }
    buf.freeze()
}

pub(crate) struct EchoService {
    env: SimEnv,
    echo: Rc<Echo>,
}

impl Service<SimEnv> for EchoService {
    async fn call(self: Rc<Self>, mut request: Request<SimEnv>) {
        let Self { env, echo } = &*self;
        echo.under_way.set(echo.under_way.get() + 1);
        echo.under_way_peak.set(echo.under_way_peak.get().max(echo.under_way.get()));
        let body = match request.body::<EchoRequest>() {
            Ok(body) => bodies::to_owned::<EchoRequest>(body).unwrap(),
            Err(error) => {
                echo.under_way.set(echo.under_way.get() - 1);
                return request.refuse(error.status()).await;
            }
        };
        let segments = request.collect().await;
        if body.delay_us != 0 {
            env.sleep_until(env.now() + Duration::from_micros(body.delay_us.into())).await;
        }
        echo.under_way.set(echo.under_way.get() - 1);
        if request.is_cancelled() {
            echo.cancelled.set(echo.cancelled.get() + 1);
        }
        let segments = match segments {
            Ok(segments) => segments,
            Err(status) => {
                echo.aborted.set(echo.aborted.get() + 1);
                return request.refuse(status).await;
            }
        };
        echo.executed.set(echo.executed.get() + 1);
        echo.sequences.borrow_mut().push(body.sequence);
        if echo.drops.get() {
            return;
        }
        let answer = EchoResponse { sequence: body.sequence };
        if body.reply_bytes == 0 {
            let parts = parts(&segments);
            return request.respond(&answer, &parts).await;
        }
        let bytes = payload(env, body.sequence, body.reply_bytes as usize);
        request.respond(&answer, &[Part::plain(bytes)]).await;
    }
}

/// The same payload again, piece by piece.
fn parts(segments: &[Segment<SimEnv>]) -> Vec<Part<'_, SimEnv>> {
    let part = |segment: &'_ Segment<SimEnv>| Part {
        bytes: segment.bytes.clone(),
        block_shift: segment.block_shift,
        phase: segment.phase,
        crcs: None,
    };
    segments.iter().map(part).collect()
}

/// A world with a server and a client, and what their tasks leave behind.
pub(crate) struct Ground {
    pub(crate) sim: Sim,
    pub(crate) echo: Rc<Echo>,
    pub(crate) server: Rc<RefCell<Option<Server<SimEnv>>>>,
    pub(crate) service: Rc<RefCell<Option<Rc<EchoService>>>>,
    pub(crate) limits: NetLimits,
}

impl Ground {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, NetLimits::default(), |_| {})
    }

    pub(crate) fn with(seed: u64, limits: NetLimits, edit: impl FnOnce(&mut SimConfig)) -> Self {
        let mut config = SimConfig::new(seed);
        edit(&mut config);
        let sim = Sim::new(config);
        assert_eq!(sim.add_node(NodeSpec::new("server")), SERVER);
        assert_eq!(sim.add_node(NodeSpec::new("client")), CLIENT);
        let ground = Self {
            sim,
            echo: Rc::default(),
            server: Rc::default(),
            service: Rc::default(),
            limits,
        };
        ground.start_server();
        ground
    }

    pub(crate) fn start_server(&self) {
        let (echo, handle) = (self.echo.clone(), self.server.clone());
        let kept = self.service.clone();
        let config = config(SERVER, self.limits.clone());
        let address = self.sim.address(SERVER, PORT);
        self.sim.start(SERVER, move |env| async move {
            let listener = env.listen(address).expect("the port is free");
            let service = Rc::new(EchoService { env: env.clone(), echo });
            *kept.borrow_mut() = Some(service.clone());
            let server = Server::start(&env, config, listener, service);
            *handle.borrow_mut() = Some(server.clone());
            let signals = env.signals().expect("simulated signals");
            while let Some(signal) = signals.recv().await {
                if signal == Signal::Terminate {
                    return server.drain(env.now() + Duration::from_secs(10)).await;
                }
            }
        });
    }

    /// Runs `main` on the client's node to its end and returns what it returned.
    pub(crate) fn client<T, F>(&self, main: impl FnOnce(SimEnv, Client<SimEnv>) -> F + 'static) -> T
    where
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let result = self.run_client(main);
        self.finish();
        result.take().expect("the client's main has ended")
    }

    /// Starts `main` on the client's node.
    pub(crate) fn run_client<T, F>(
        &self,
        main: impl FnOnce(SimEnv, Client<SimEnv>) -> F + 'static,
    ) -> Rc<RefCell<Option<T>>>
    where
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let result = Rc::new(RefCell::new(None));
        let slot = result.clone();
        let config = config(CLIENT, self.limits.clone());
        let address = self.sim.address(SERVER, PORT);
        self.sim.start(CLIENT, move |env| async move {
            let client = Client::new(&env, config, address);
            let value = main(env, client).await;
            *slot.borrow_mut() = Some(value);
        });
        result
    }

    /// Runs the world until the client's main has ended.
    pub(crate) fn finish(&self) {
        let limit = Duration::from_secs(600);
        match self.sim.run_while(limit, |sim| !sim.is_finished(CLIENT)) {
            Ok(true) => {}
            Ok(false) => panic!("no end after {limit:?}\n{}", self.sim.trace_tail()),
            Err(failure) => panic!("{failure}\n{}", self.sim.trace_tail()),
        }
    }
}

/// Runs a case in worlds with different seeds.
pub(crate) fn worlds(case: impl Fn(u64)) {
    for seed in 0..16 {
        case(seed);
    }
}

pub(crate) fn soon(env: &SimEnv) -> Instant {
    env.now() + Duration::from_secs(30)
}

pub(crate) fn request(sequence: u64, reply_bytes: u32, delay_us: u32) -> EchoRequest {
    EchoRequest { sequence, reply_bytes, delay_us }
}

/// Sends `len` bytes and wants them back, or wants `reply` bytes.
pub(crate) async fn echo(
    env: &SimEnv,
    client: &Client<SimEnv>,
    sequence: u64,
    len: usize,
    reply: u32,
) -> Result<Reply<SimEnv>, CallError> {
    let body = request(sequence, reply, 0);
    let room = if reply == 0 { u32::try_from(len).unwrap() } else { reply };
    let parts = if len == 0 { vec![] } else { vec![Part::plain(payload(env, sequence, len))] };
    let call = Call::new(&body, soon(env)).with_parts(&parts).with_reply_room(room);
    client.call(call).await
}

/// The answer belongs to the request, and its bytes are those of the pattern.
pub(crate) fn check(reply: &Reply<SimEnv>, sequence: u64, len: usize) {
    assert_eq!(reply.status(), Status::Ok);
    assert_eq!(reply.body::<EchoResponse>().unwrap().sequence, sequence);
    assert_eq!(reply.payload().len(), len);
    let right = |(offset, &byte): (usize, &u8)| byte == pattern(sequence, offset);
    assert!(reply.payload().iter().enumerate().all(right), "payload of {sequence}, {len} bytes");
}
