//! The service: checks what it gets, counts it, answers with a pattern.

use core::time::Duration;
use std::rc::Rc;

use engine_net::{NetConfig, NetLimits, Part, Request, Server, Service};
use engine_runtime::sim::SimEnv;
use engine_runtime::{Env, Signal};
use engine_types::{ClusterId, Incarnation, NodeRole, Status, StoreId, reached};
use engine_wire::bodies::{EchoRequest, EchoResponse};
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};

use super::ledger::pattern;
use super::{PORT, Shared};

/// In proportion to faults of a few hundred milliseconds.
const DRAIN_TIME: Duration = Duration::from_millis(800);

/// Small windows, so that they are full often; short times, so that worlds are.
pub(super) fn net_config(env: &SimEnv) -> Rc<NetConfig> {
    let limits = NetLimits {
        requests: 6,
        credit_bytes: 1 << 20,
        credit_bytes_idle: 256 << 10,
        handshake_time: Duration::from_millis(200),
        connect_time: Duration::from_millis(200),
        frame_time: Duration::from_millis(600),
        keepalive_idle: Duration::from_millis(100),
        keepalive_time: Duration::from_millis(300),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(100),
        ..NetLimits::default()
    };
    let identity = Identity {
        role: NodeRole::Storage,
        node: env.node(),
        process: StoreId::new(u128::from(env.random())),
        incarnation: Incarnation::new(env.random()),
    };
    let secret = ClusterSecret::new([1; 32]).expect("not all zero");
    let cluster = ClusterId::new(1);
    let local = Local { cluster, identity, secret, versions: Versions::BUILD };
    Rc::new(NetConfig { local, limits })
}

struct Echo {
    env: SimEnv,
    shared: Rc<Shared>,
}

/// One life of the server, until it is asked to stop.
pub(super) async fn run(env: SimEnv, shared: Rc<Shared>) {
    let signals = env.signals().expect("simulation always has them");
    let listener = env.listen(([0, 0, 0, 0], PORT).into()).expect("the port is free");
    let service = Rc::new(Echo { env: env.clone(), shared: shared.clone() });
    let server = Server::start(&env, net_config(&env), listener, service);
    let (watched, pool) = (server.clone(), env.pool().clone());
    let name = format!("server {}", env.node());
    shared.ledger.watch(name, move || (pool.held(), watched.connection_count()));
    while let Some(signal) = signals.recv().await {
        if signal == Signal::Terminate {
            break;
        }
    }
    server.drain(env.now() + DRAIN_TIME).await;
}

impl Service<SimEnv> for Echo {
    async fn call(self: Rc<Self>, mut request: Request<SimEnv>) {
        let (number, reply_bytes, delay_us) = match request.body::<EchoRequest>() {
            Ok(body) => {
                (body.sequence.to_native(), body.reply_bytes.to_native(), body.delay_us.to_native())
            }
            Err(error) => return request.refuse(error.status()).await,
        };
        let expected = request.payload_len() as usize;
        let segments = match request.collect().await {
            Ok(segments) => segments,
            Err(status) => {
                reached!("T31: a payload was given up before its end");
                return request.refuse(status).await;
            }
        };
        let payload: Vec<u8> =
            segments.iter().flat_map(|segment| segment.bytes.iter().copied()).collect();
        drop(segments);
        if payload != pattern(number, false, expected) {
            let what = format!("request {number:#x} brought a payload of another");
            self.shared.ledger.broken("T31 requests arrive as they were sent", what);
        }
        self.shared.ledger.executed(number);
        if 0 < delay_us {
            self.env.sleep_until(self.env.now() + Duration::from_micros(delay_us.into())).await;
        }
        if reply_bytes == 0 {
            return request.respond(&EchoResponse { sequence: number }, &[]).await;
        }
        let Ok(mut buf) = self.env.pool().alloc(reply_bytes as usize) else {
            return request.refuse(Status::Internal).await;
        };
        buf.extend_from_slice(&pattern(number, true, reply_bytes as usize));
        let parts = [Part::plain(buf.freeze())];
        request.respond(&EchoResponse { sequence: number }, &parts).await;
    }
}
