//! The limit `rpc`: calls of the same shape, handed on from server to server as replicas do it.
//!
//! The service answers reads from memory, with checksums that are known, and passes on what is
//! written with the checksums that came with it (W5), whole: then it answers. Nothing is stored.
//!
//! Owner: a core per server. Failure: a call that fails ends the slice with its reason.

use core::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc;

use engine_net::{Call, Client, Part, Request, Segment, Server, Service};
use engine_runtime::{Bytes, Env, Listener as _, Sender};
use engine_types::limits::CHECKSUM_BLOCK_BYTES_MAX;
use engine_types::{NodeRole, Rng, Status, crc32c};
use engine_wire::bodies::{self, EchoRequest, EchoResponse};

use super::shape::{LARGE_BYTES, SMALL_BYTES, Shape};
use crate::loopback::config_of;
use crate::meter::{ANSWER_TIME_MAX, Meter};
use crate::rpc::echo;
use crate::runtime::Main;
use crate::store::fill::random_bytes;

/// Where a server is reached. Dropping it ends the server.
pub(super) struct Endpoints {
    pub(super) rpc: SocketAddr,
    pub(super) tcp: SocketAddr,
    /// Nothing is ever sent: the server waits for its end.
    _alive: Sender<()>,
}

/// Serves until the endpoints that it puts into `ready` are dropped.
pub(super) struct Relay {
    pub(super) number: u32,
    /// Whom payload is handed on to.
    pub(super) next: Option<SocketAddr>,
    pub(super) ready: mpsc::Sender<Endpoints>,
}

impl Main for Relay {
    type Output = Result<(), String>;

    async fn run<E: Env>(self, env: E) -> Result<(), String> {
        let failed = |error| format!("rpc server: {error}");
        let net = config_of(NodeRole::Storage, self.number);
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bare = env.listen(any_port).map_err(failed)?;
        let listener = env.listen(any_port).map_err(failed)?;
        let stored = random_bytes(&env, &mut Rng::new(env.random()), LARGE_BYTES)?;
        let blocks = stored.chunks(CHECKSUM_BLOCK_BYTES_MAX as usize);
        let service = Handed {
            env: env.clone(),
            crcs: blocks.map(|block| crc32c(block).get()).collect(),
            small_crc: [crc32c(&stored[..SMALL_BYTES as usize]).get()],
            stored,
            next: self.next.map(|next| Client::new(&env, net.clone(), next)),
        };
        let (alive, ended) = env.mailbox::<()>(1);
        let tcp = bare.address();
        let _echo = env.spawn(echo::serve(env.clone(), bare));
        let server = Server::start(&env, net, listener, Rc::new(service));
        if self.ready.send(Endpoints { rpc: server.address(), tcp, _alive: alive }).is_ok() {
            ended.recv().await;
        }
        server.stop();
        Ok(())
    }
}

struct Handed<E: Env> {
    env: E,
    stored: Bytes<E::Memory>,
    crcs: Vec<u32>,
    small_crc: [u32; 1],
    next: Option<Client<E>>,
}

impl<E: Env> Service<E> for Handed<E> {
    async fn call(self: Rc<Self>, mut request: Request<E>) {
        let asked = request.body::<EchoRequest>().and_then(bodies::to_owned::<EchoRequest>);
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => return request.refuse(error.status()).await,
        };
        let mut segments: Vec<Segment<E>> = Vec::new();
        loop {
            match request.next_segment().await {
                Ok(Some(segment)) => segments.push(segment),
                Ok(None) => break,
                Err(status) => return request.refuse(status).await,
            }
        }
        if let Some(next) = &self.next
            && !segments.is_empty()
        {
            let parts: Vec<_> = segments.iter().map(as_it_came).collect();
            let call = Call::new(&asked, self.env.now() + ANSWER_TIME_MAX).with_parts(&parts);
            if let Err(error) = next.call(call).await {
                return request.refuse(error.status()).await;
            }
        }
        let body = EchoResponse { sequence: asked.sequence };
        let plain = |bytes, crcs| Part { crcs: Some(crcs), ..Part::plain(bytes) };
        match asked.reply_bytes {
            0 => request.respond(&body, &[]).await,
            SMALL_BYTES => {
                let bytes = self.stored.slice(0..SMALL_BYTES as usize);
                request.respond(&body, &[plain(bytes, &self.small_crc)]).await;
            }
            LARGE_BYTES => {
                request.respond(&body, &[plain(self.stored.clone(), &self.crcs)]).await;
            }
            _ => request.refuse(Status::InvalidArgument).await,
        }
    }
}

fn as_it_came<E: Env>(segment: &Segment<E>) -> Part<'_, E> {
    Part {
        bytes: segment.bytes.clone(),
        block_shift: segment.block_shift,
        phase: segment.phase,
        crcs: Some(segment.crcs.as_slice()),
    }
}

/// Keeps the shape's calls in flight for one slice, a task for each.
pub(super) async fn flood<E: Env>(
    client: Client<E>,
    payload: Bytes<E::Memory>,
    shape: Shape,
    meter: Rc<Meter<E>>,
) {
    let caller = |_| {
        let calls = calls(client.clone(), payload.clone(), shape, meter.clone());
        meter.env().spawn(calls)
    };
    let tasks: Vec<_> = (0..shape.depth).map(caller).collect();
    for task in tasks {
        task.await;
    }
}

/// One call after the other.
async fn calls<E: Env>(
    client: Client<E>,
    payload: Bytes<E::Memory>,
    shape: Shape,
    meter: Rc<Meter<E>>,
) {
    let parts = [Part::plain(payload)];
    let write = shape.work.is_write();
    let parts = if write { parts.as_slice() } else { &[] };
    let reply_bytes = if write { 0 } else { shape.work.bytes() };
    let mut body = EchoRequest { sequence: 0, reply_bytes, delay_us: 0 };
    while !meter.stopping() {
        body.sequence += 1;
        let sent = meter.env().now();
        let call =
            Call::new(&body, sent + ANSWER_TIME_MAX).with_parts(parts).with_reply_room(reply_bytes);
        match client.call(call).await {
            Ok(reply) if reply.payload().len() == reply_bytes as usize => {}
            Ok(reply) => {
                let found = reply.payload().len();
                return meter.fail(format_args!("answer of {found} bytes, not {reply_bytes}"));
            }
            Err(error) => return meter.fail(error),
        }
        meter.completed(1);
        meter.answered(sent);
    }
}
