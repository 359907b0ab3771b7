//! A service without logic: it takes a request, reads what the service read for one, and answers
//! with so many bytes.
//!
//! Owner: a service's core, and the client's. Failure: a read that fails is refused, which ends
//! the client's slice.

use std::rc::Rc;

use engine_net::{Call, Client, Part, Request, Service, pooled};
use engine_runtime::Env;
use engine_types::Status;
use engine_wire::bodies::{self, MetaCallReply, MetaCallRequest, MetaReply as _};
use meta_kv::Source;

use super::replay::Replay;
use crate::meter::{ANSWER_TIME_MAX, Meter};

/// Channels are for changes; reads have none.
const NO_CHANNEL: u32 = 0;
/// Longest answer: attributes have some 200 bytes.
const ANSWER_BYTES_MAX: usize = 4096;

/// The service.
pub(super) struct Null<E: Env, S: Source> {
    pub(super) env: E,
    pub(super) replay: Rc<Replay<E, S>>,
}

impl<E: Env, S: Source> Service<E> for Null<E, S> {
    async fn call(self: Rc<Self>, mut request: Request<E>) {
        let asked = request.body::<MetaCallRequest>().and_then(bodies::to_owned::<MetaCallRequest>);
        // How long the answer is.
        let len = match asked.map(|asked| usize::try_from(asked.reserved).unwrap_or(usize::MAX)) {
            Ok(len) if len <= ANSWER_BYTES_MAX => len,
            Ok(_) => return request.refuse(Status::InvalidArgument).await,
            Err(error) => return request.refuse(error.status()).await,
        };
        if let Err(status) = request.collect_bytes().await {
            return request.refuse(status).await;
        }
        if let Err(error) = self.replay.read(NO_CHANNEL).await {
            eprintln!("bench: null service: {error}");
            return request.refuse(Status::Internal).await;
        }
        match pooled(&self.env, &[0x5a; ANSWER_BYTES_MAX][..len]).await {
            Some(bytes) => {
                let told = MetaCallReply::with_outcome(0);
                request.respond(&told, &[Part::plain(bytes)]).await;
            }
            None => request.refuse(Status::Internal).await,
        }
    }
}

/// What a client asks of it.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// As long as a real request.
    pub(super) request: Vec<u8>,
    /// Room for an answer, as a real client has it.
    pub(super) room: u32,
    /// As long as a real answer.
    pub(super) answer_bytes: usize,
}

/// Keeps `tasks` requests under way for one slice, on all services alike.
pub(super) async fn flood<E: Env>(
    clients: Vec<Client<E>>,
    ask: Ask,
    tasks: u32,
    meter: Rc<Meter<E>>,
) {
    let ask = Rc::new(ask);
    let worker = |task: u32| {
        let client = clients[task as usize % clients.len()].clone();
        let (ask, meter) = (ask.clone(), meter.clone());
        meter.env().clone().spawn(async move {
            while !meter.stopping() {
                let began = meter.env().now();
                if let Err(why) = call(meter.env(), &client, &ask).await {
                    return meter.fail(why);
                }
                meter.completed(1);
                meter.answered(began);
            }
        })
    };
    let workers: Vec<_> = (0..tasks).map(worker).collect();
    for worker in workers {
        worker.await;
    }
}

async fn call<E: Env>(env: &E, client: &Client<E>, ask: &Ask) -> Result<(), String> {
    let Some(bytes) = pooled(env, &ask.request).await else {
        return Err("the pool has no room for a request".to_owned());
    };
    let body = MetaCallRequest { reserved: ask.answer_bytes as u64 };
    let parts = [Part::plain(bytes)];
    let call = Call::new(&body, env.now() + ANSWER_TIME_MAX);
    let call = call.with_parts(&parts).with_reply_room(ask.room);
    let reply = client.call(call).await.map_err(|error| error.to_string())?;
    if reply.payload().len() != ask.answer_bytes {
        return Err(format!("{} bytes, expected {}", reply.payload().len(), ask.answer_bytes));
    }
    Ok(())
}
