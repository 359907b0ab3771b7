//! One attempt at one service, and what its end means.

use core::net::SocketAddr;
use std::rc::Rc;

use engine_net::{Call, CallError, Part, Reply};
use engine_runtime::{Bytes, Env};
use engine_types::{Instant, Retry, Status};
use engine_wire::bodies::{self, MetaCallReply, MetaCallRequest, MetaReply as _};
use meta_protocol::{Answer, Record as _, Refusal};

use crate::servers::Server;

/// What an attempt came to.
pub(super) enum Verdict {
    Done(Answer),
    Refused(Refusal),
    Again(Failed),
    /// The service and this client do not understand each other.
    Senseless {
        address: SocketAddr,
        why: String,
    },
}

/// It is to be asked again, here or elsewhere.
pub(super) struct Failed {
    pub(super) address: SocketAddr,
    pub(super) why: String,
    /// What was sent may have been done, or be done yet.
    pub(super) may_have_happened: bool,
    /// Others are better asked for a while.
    pub(super) avoid: bool,
    /// No connection could be made.
    pub(super) unreachable: bool,
}

/// Asks `server`, with time for a connection and for the answer; `sends` is told just before
/// anything is sent.
pub(super) async fn attempt<E: Env>(
    server: &Rc<Server<E>>,
    bytes: &Bytes<E::Memory>,
    room: u32,
    (connect_by, by): (Instant, Instant),
    sends: impl FnOnce(),
) -> Verdict {
    let _in_flight = server.enter();
    let client = server.client();
    let address = client.peer();
    if let Err(error) = client.ready(connect_by).await {
        let why = error.to_string();
        let (may_have_happened, avoid, unreachable) = (false, true, true);
        return Verdict::Again(Failed { address, why, may_have_happened, avoid, unreachable });
    }
    sends();
    let (body, parts) = (MetaCallRequest::default(), [Part::plain(bytes.clone())]);
    let call = Call::new(&body, by).with_parts(&parts).with_reply_room(room);
    match client.call(call).await {
        Ok(reply) => told(address, &reply),
        Err(error) => failed(address, &error),
    }
}

fn told<E: Env>(address: SocketAddr, reply: &Reply<E>) -> Verdict {
    let senseless = |why: String| Verdict::Senseless { address, why };
    let told = reply.body::<MetaCallReply>().and_then(bodies::to_owned::<MetaCallReply>);
    match told.map(|told| told.outcome()) {
        Err(error) => senseless(format!("its answer: {error}")),
        Ok(0) => match Answer::decode(reply.payload()) {
            Ok(answer) => Verdict::Done(answer),
            Err(error) => senseless(format!("its answer: {error}")),
        },
        Ok(outcome) => match Refusal::decode(reply.payload()) {
            Ok(refusal) => Verdict::Refused(refusal),
            Err(error) => senseless(format!("its refusal {outcome}: {error}")),
        },
    }
}

/// What it means that there is no answer. Whatever may have happened is asked again: the tag makes
/// it once, and what has none changes nothing.
fn failed(address: SocketAddr, error: &CallError) -> Verdict {
    let why = error.to_string();
    let (may_have_happened, avoid) = match error {
        // Of an older version: others may know it.
        CallError::Refused(Status::UnsupportedKind | Status::UnsupportedVersion) => (false, true),
        // The store behind it has trouble, or its time was short: others stand on the same store.
        CallError::Refused(Status::UnknownResult | Status::DeadlineExceeded) => (true, false),
        CallError::Refused(Status::TooLarge) | CallError::Wire(_) => {
            return Verdict::Senseless { address, why };
        }
        other => match other.retry() {
            Retry::Never => return Verdict::Senseless { address, why },
            Retry::IfIdempotent => (true, true),
            Retry::AfterBackoff | Retry::SameTarget => (false, false),
            Retry::OtherTarget | Retry::RefreshRouting => (false, true),
        },
    };
    let unreachable = matches!(error, CallError::Unreachable { .. });
    Verdict::Again(Failed { address, why, may_have_happened, avoid, unreachable })
}
