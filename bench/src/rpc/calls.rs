//! The subject: the RPC layer as its users see it, a client that calls and a service that echoes.
//!
//! The service hands the payload that it got back without a copy and with the checksums that came
//! with it, and answers reads from one buffer whose checksums are known, as a store does (W5).
//! Checksums of what a client sends are computed for every call, as a client must. Every answer is
//! checked for its length; the RPC layer has verified its checksums.
//!
//! Owner: the cores of client and server. Failure: a call that fails ends the row with its reason.

use core::net::SocketAddr;
use std::io;
use std::rc::Rc;

use engine_net::{Call, Client, Part, Request, Segment, Server, Service};
use engine_runtime::{Bytes, Env};
use engine_types::limits::CHECKSUM_BLOCK_BYTES_MAX;
use engine_types::{NodeRole, Status, crc32c};
use engine_wire::bodies::{self, EchoRequest, EchoResponse};

use super::shape::{LARGE_BYTES, Shape};
use crate::loopback::config;
use crate::meter::{ANSWER_TIME_MAX, Meter};

/// Bytes of a pattern, in memory of the core.
fn pattern<E: Env>(env: &E, bytes: usize) -> io::Result<Bytes<E::Memory>> {
    let mut buf = env.pool().alloc(bytes.max(1)).map_err(io::Error::other)?;
    for (byte, value) in buf.whole_mut()[..bytes].iter_mut().zip((0..=u8::MAX).cycle()) {
        *byte = value;
    }
    buf.set_len(bytes);
    Ok(buf.freeze())
}

/// Starts the server of this suite on `listener`.
///
/// # Errors
/// When the pool has no room for the bytes that reads are answered from.
pub(super) fn start_server<E: Env>(env: &E, listener: E::Listener) -> io::Result<Server<E>> {
    let stored = pattern(env, LARGE_BYTES)?;
    let blocks = stored.chunks(CHECKSUM_BLOCK_BYTES_MAX as usize);
    let crcs = blocks.map(|block| crc32c(block).get()).collect();
    let service = Rc::new(Echo { stored, crcs });
    Ok(Server::start(env, config(NodeRole::Storage), listener, service))
}

/// Answers with what came, with nothing, or with what it holds.
struct Echo<E: Env> {
    stored: Bytes<E::Memory>,
    crcs: Vec<u32>,
}

impl<E: Env> Service<E> for Echo<E> {
    async fn call(self: Rc<Self>, mut request: Request<E>) {
        let asked = request.body::<EchoRequest>().and_then(bodies::to_owned::<EchoRequest>);
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => return request.refuse(error.status()).await,
        };
        let mut last = None;
        loop {
            match request.next_segment().await {
                Ok(Some(segment)) => last = Some(segment),
                Ok(None) => break,
                Err(status) => return request.refuse(status).await,
            }
        }
        let body = EchoResponse { sequence: asked.sequence };
        match last {
            _ if asked.reply_bytes == 0 => request.respond(&body, &[]).await,
            Some(only) if only.bytes.len() == asked.reply_bytes as usize => {
                request.respond(&body, &[as_it_came(&only)]).await;
            }
            None if self.stored.len() == asked.reply_bytes as usize => {
                request.respond(&body, &[self.stored()]).await;
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

impl<E: Env> Echo<E> {
    fn stored(&self) -> Part<'_, E> {
        Part { crcs: Some(&self.crcs), ..Part::plain(self.stored.clone()) }
    }
}

/// The client's end: a handle per connection, and what their calls send.
pub(super) struct Callers<E: Env> {
    clients: Vec<Client<E>>,
    payload: Bytes<E::Memory>,
}

impl<E: Env> Callers<E> {
    /// Handles to the server at `address`; they connect with their first call.
    ///
    /// # Errors
    /// When the pool has no room for the payload.
    pub(super) fn new(env: &E, address: SocketAddr, shape: Shape) -> io::Result<Self> {
        let config = config(NodeRole::Client);
        let client = |_| Client::new(env, config.clone(), address);
        let clients = (0..shape.connections).map(client).collect();
        Ok(Self { clients, payload: pattern(env, shape.request_payload())? })
    }

    /// Closes the connections.
    pub(super) async fn close(&self, env: &E) {
        for client in &self.clients {
            client.close(env.now() + ANSWER_TIME_MAX).await;
        }
    }
}

/// Keeps the shape's calls in flight on every connection for one slice, a task for each.
pub(super) async fn flood<E: Env>(callers: Rc<Callers<E>>, shape: Shape, meter: Rc<Meter<E>>) {
    let mut tasks = Vec::new();
    for client in &callers.clients {
        for _ in 0..shape.depth {
            let caller = call_on(client.clone(), callers.payload.clone(), shape, meter.clone());
            tasks.push(meter.env().spawn(caller));
        }
    }
    for task in tasks {
        task.await;
    }
}

/// One call after the other.
async fn call_on<E: Env>(
    client: Client<E>,
    payload: Bytes<E::Memory>,
    shape: Shape,
    meter: Rc<Meter<E>>,
) {
    let parts = [Part::plain(payload)];
    let parts = if parts[0].bytes.is_empty() { &[] } else { parts.as_slice() };
    let expected = shape.answer_payload();
    let reply_bytes = u32::try_from(expected).expect("a message is below 4 GiB");
    let mut body = EchoRequest { sequence: 0, reply_bytes, delay_us: 0 };
    while !meter.stopping() {
        body.sequence += 1;
        let sent = meter.env().now();
        let call =
            Call::new(&body, sent + ANSWER_TIME_MAX).with_parts(parts).with_reply_room(reply_bytes);
        match client.call(call).await {
            Ok(reply) if reply.payload().len() == expected => {}
            Ok(reply) => {
                let found = reply.payload().len();
                return meter.fail(format_args!("answer of {found} bytes, expected {expected}"));
            }
            Err(error) => return meter.fail(error),
        }
        meter.completed(1);
        if shape.is_latency() {
            meter.answered(sent);
        }
    }
}
