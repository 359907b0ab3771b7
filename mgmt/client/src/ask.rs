//! One question to one manager: its bytes out, the bytes of the answer in.

use engine_net::{CallError, Client, Part, Reply};
use engine_runtime::{Env, until, yield_now};
use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_types::{Instant, Retry, Status};
use engine_wire::bodies::{self, MgmtReply};
use mgmt_protocol::{Call, Message, Refusal, RefusalCode};

/// Copies of this many bytes give way to others: 256 KiB take about 20 us.
const COPY_BYTES: usize = 256 << 10;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The manager said no.
    Refused(Refusal),
    /// Nothing was done.
    NotDone(String),
    /// It was sent, and may have been done.
    Unknown(String),
    /// The answer makes no sense, or this process cannot say what it was asked to.
    Malformed(String),
    /// The question is larger than a payload.
    TooLarge { found: usize, limit: usize },
    /// This process has closed its connections.
    Closed,
}

/// Asks, once.
pub(crate) async fn ask<E: Env, C: Call>(
    env: &E,
    client: &Client<E>,
    asked: &C,
    deadline: Instant,
) -> Result<C::Answer, Failed> {
    let payload = asked.encode();
    let (found, limit) = (payload.len(), PAYLOAD_BYTES_MAX as usize);
    if limit < found {
        return Err(Failed::TooLarge { found, limit });
    }
    let mut parts = Vec::with_capacity(1);
    if !payload.is_empty() {
        match until(env, deadline, pooled::<E>(env, &payload)).await {
            Ok(Some(part)) => parts.push(part),
            Ok(None) | Err(_) => return Err(Failed::NotDone("no memory to send from".into())),
        }
    }
    let body = C::Ask::default();
    let call = engine_net::Call::new(&body, deadline).with_parts(&parts).with_reply_room(C::ROOM);
    match client.call(call).await {
        Ok(reply) => answer::<C, E>(&reply),
        Err(error) => Err(failed(&error)),
    }
}

async fn pooled<E: Env>(env: &E, bytes: &[u8]) -> Option<Part<'static, E>> {
    let mut buf = env.pool().alloc_wait(bytes.len()).await.ok()?;
    for piece in bytes.chunks(COPY_BYTES) {
        buf.extend_from_slice(piece);
        if piece.len() == COPY_BYTES {
            yield_now().await;
        }
    }
    Some(Part::plain(buf.freeze()))
}

fn answer<C: Call, E: Env>(reply: &Reply<E>) -> Result<C::Answer, Failed> {
    let senseless = |why: String| Failed::Malformed(format!("answer to {}: {why}", C::NAME));
    let told = reply.body::<C::Told>().and_then(bodies::to_owned::<C::Told>);
    let told = told.map_err(|error| senseless(error.to_string()))?;
    match told.outcome() {
        0 => C::Answer::decode(reply.payload()).map_err(|error| senseless(error.to_string())),
        outcome => Err(Failed::Refused(refusal(outcome, reply.payload()))),
    }
}

/// The code alone decides: a text that is missing or damaged takes nothing from it.
fn refusal(outcome: u16, payload: &[u8]) -> Refusal {
    let code = RefusalCode::from_code(outcome);
    match Refusal::decode(payload) {
        Ok(told) => Refusal { code, ..told },
        Err(_) => Refusal::new(code, format!("refused as {code:?}, without a reason")),
    }
}

/// What a call means that failed below this layer.
fn failed(error: &CallError) -> Failed {
    let why = error.to_string();
    match error {
        CallError::Closed => Failed::Closed,
        CallError::Wire(_) => Failed::Malformed(why),
        CallError::Refused(Status::UnsupportedKind | Status::UnsupportedVersion) => {
            Failed::Refused(Refusal::new(RefusalCode::Unsupported, why))
        }
        // The answer found no room, so it was done.
        CallError::Refused(Status::TooLarge) => Failed::Unknown(why),
        // A payload that is given up half-way for lack of memory counts for nothing (R3).
        CallError::Pool(_) => Failed::NotDone(why),
        other => match other.retry() {
            Retry::Never => Failed::Malformed(why),
            Retry::IfIdempotent => Failed::Unknown(why),
            Retry::SameTarget
            | Retry::OtherTarget
            | Retry::RefreshRouting
            | Retry::AfterBackoff => Failed::NotDone(why),
        },
    }
}
