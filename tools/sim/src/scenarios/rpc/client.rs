//! The workload: a few lanes per client that call servers at random.

use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;

use engine_net::{Call, CallError, Client, Part as PayloadPart, Reply};
use engine_runtime::sim::SimEnv;
use engine_runtime::{Env, until};
use engine_types::{Rng, reached};
use engine_wire::bodies::{EchoRequest, EchoResponse};

use super::ledger::{End, pattern};
use super::server::net_config;
use super::{Part, Shared};

/// Calls that one client has in flight at once: more than a window.
const LANES: u64 = 4;
/// Calls of one lane while faults last, unless they end before.
const CALLS_UNDER_FAULTS: u64 = 12;
/// Calls of one lane in every later part.
const CALLS_AT_REST: u64 = 4;
/// Without faults a call takes milliseconds.
const DEADLINE_AT_REST: Duration = Duration::from_secs(3);
/// A draining server is asked to stop while calls are under way.
pub(super) const DRAIN_AFTER: Duration = Duration::from_millis(4);
const LOOK_PERIOD: Duration = Duration::from_millis(10);

#[derive(Clone)]
struct Lane {
    env: SimEnv,
    number: usize,
    shared: Rc<Shared>,
    servers: Rc<Vec<Client<SimEnv>>>,
}

/// One life of the client, through all parts of the scenario.
pub(super) async fn run(env: SimEnv, number: usize, servers: Vec<SocketAddr>, shared: Rc<Shared>) {
    shared.ledger.client_started(number);
    let pool = env.pool().clone();
    shared.ledger.watch(format!("client {}", env.node()), move || (pool.held(), 0));
    let config = net_config(&env);
    let client = |server: SocketAddr| Client::new(&env, config.clone(), server);
    let servers = Rc::new(servers.into_iter().map(client).collect());
    let lane = Lane { env: env.clone(), number, shared: shared.clone(), servers };
    for part in [Part::Faults, Part::Draining, Part::Quiet] {
        while shared.part.get() < part {
            env.sleep_until(env.now() + LOOK_PERIOD).await;
        }
        let lanes: Vec<_> =
            (0..LANES).map(|_| env.spawn(lane.clone().work(part, env.random()))).collect();
        for done in lanes {
            done.await;
        }
        if part != Part::Faults {
            shared.done.set(shared.done.get() + 1);
        }
    }
    while shared.part.get() < Part::Closing {
        env.sleep_until(env.now() + LOOK_PERIOD).await;
    }
    for server in lane.servers.iter() {
        server.close(env.now() + DEADLINE_AT_REST).await;
    }
    shared.done.set(shared.done.get() + 1);
    env.sleep_until(engine_types::Instant::NEVER).await;
}

impl Lane {
    async fn work(self, part: Part, seed: u64) {
        let mut rng = Rng::new(seed);
        let calls = if part == Part::Faults { CALLS_UNDER_FAULTS } else { CALLS_AT_REST };
        for _ in 0..calls {
            if self.shared.part.get() != part {
                return;
            }
            self.call(part, &mut rng).await;
            let pause = Duration::from_micros(rng.range(0..=20_000));
            if part == Part::Faults {
                self.env.sleep_until(self.env.now() + pause).await;
            }
        }
    }

    async fn call(&self, part: Part, rng: &mut Rng) {
        let env = &self.env;
        let index = usize::try_from(rng.below(self.servers.len() as u64)).expect("few servers");
        let bytes = size(rng);
        let mut payload = Vec::new();
        let mut buf = env.pool().alloc_wait(bytes).await.expect("a payload fits into the pool");
        let patience = match part {
            Part::Faults => Duration::from_micros(rng.range(500..=400_000)),
            _ => DEADLINE_AT_REST,
        };
        let deadline = env.now() + patience;
        let drained = part == Part::Draining && index == 0;
        let ledger = &self.shared.ledger;
        let number = ledger.begin(self.number, part, drained, deadline);
        if 0 < bytes {
            buf.extend_from_slice(&pattern(number, false, bytes));
            payload.push(PayloadPart::plain(buf.freeze()));
        }
        let reply_bytes = u32::try_from(size(rng)).expect("small");
        let delay_us = if rng.chance(300) { 0 } else { below_u32(rng, 8_000) };
        let body = EchoRequest { sequence: number, reply_bytes, delay_us };
        let call = Call::new(&body, deadline).with_parts(&payload).with_reply_room(reply_bytes);
        let waits = self.servers[index].call(call);
        let end = if part == Part::Faults && rng.chance(100) {
            reached!("T32: a caller stopped waiting by itself");
            let leave_at = env.now() + Duration::from_micros(rng.range(1..=4_000));
            until(env, leave_at, waits).await.ok()
        } else {
            Some(waits.await)
        };
        let end = match end {
            None => End::Dropped,
            Some(Ok(reply)) => self.answered(number, reply_bytes, &reply),
            Some(Err(error)) => failed(error),
        };
        ledger.end(number, end, env.now());
    }

    fn answered(&self, number: u64, bytes: u32, reply: &Reply<SimEnv>) -> End {
        let matches = match reply.body::<EchoResponse>() {
            Ok(body) => body.sequence.to_native() == number,
            Err(_) => false,
        };
        if !matches || reply.payload() != pattern(number, true, bytes as usize) {
            let what = format!("request {number:#x} got an answer that is not its own");
            self.shared.ledger.broken("T31 answers match", what);
        }
        End::Answered
    }
}

fn failed(error: CallError) -> End {
    match &error {
        CallError::Lost { .. } => reached!("T32: a connection was lost after sending"),
        CallError::DeadlineExceeded { sent: true } => reached!("T30: an answer came too late"),
        CallError::DeadlineExceeded { sent: false } => {
            reached!("T30: a deadline passed before sending");
        }
        CallError::Unreachable { .. } => reached!("T30: a server could not be reached"),
        _ => {}
    }
    End::Failed(error)
}

/// Bytes of a payload: mostly none or small, now and then bulk that needs credit (W3).
fn size(rng: &mut Rng) -> usize {
    let most = match rng.below(20) {
        0..10 => 0,
        10..16 => 4 << 10,
        16..19 => 30 << 10,
        _ => 150 << 10,
    };
    usize::try_from(rng.range(0..=most)).expect("small")
}

fn below_u32(rng: &mut Rng, bound: u64) -> u32 {
    u32::try_from(rng.below(bound)).expect("the bound is small")
}
