//! How a service is, and how much room there is, asked of one service without a session.

use core::net::SocketAddr;
use std::rc::Rc;

use engine_net::{Call, CallError, Client, NetConfig, Part, pooled};
use engine_runtime::Env;
use engine_types::{Instant, SessionId};
use engine_wire::bodies::{
    self, MetaCallReply, MetaCallRequest, MetaReply as _, MetaStatusRequest,
};
use meta_protocol::{
    Answer, Call as _, Caller, FsSpace, Operation, Record as _, Refusal, Request, ServiceStatus,
    StatusAsk, op,
};

/// Why a service does not say how it is.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// It cannot be asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// This process has no memory to ask with.
    #[error("no memory to send from")]
    Memory,
    /// Its answer makes no sense.
    #[error("its answer makes no sense: {0}")]
    Senseless(String),
    /// It does not do it.
    #[error("{0}")]
    Refused(String),
}

/// Asks the service at `address`, once.
///
/// # Errors
/// [`StatusError`].
pub async fn status<E: Env>(
    env: &E,
    net: Rc<NetConfig>,
    address: SocketAddr,
    by: Instant,
) -> Result<ServiceStatus, StatusError> {
    let client = Client::new(env, net, address);
    client.ready(by).await?;
    let asked = StatusAsk {};
    let bytes = pooled(env, &asked.encode()).await.ok_or(StatusError::Memory)?;
    let (body, parts) = (MetaStatusRequest::default(), [Part::plain(bytes)]);
    let call = Call::new(&body, by).with_parts(&parts).with_reply_room(asked.room());
    let reply = client.call(call).await?;
    ServiceStatus::decode(reply.payload()).map_err(senseless)
}

/// Asks the service at `address` for the room of the file system, once.
///
/// # Errors
/// [`StatusError`].
pub async fn space<E: Env>(
    env: &E,
    net: Rc<NetConfig>,
    address: SocketAddr,
    by: Instant,
) -> Result<FsSpace, StatusError> {
    let client = Client::new(env, net, address);
    client.ready(by).await?;
    let operation = Operation::StatFs(op::StatFs {});
    let asked =
        Request { caller: Caller::root(), session: SessionId::new(0), tag: None, operation };
    let bytes = pooled(env, &asked.encode()).await.ok_or(StatusError::Memory)?;
    let (body, parts) = (MetaCallRequest::default(), [Part::plain(bytes)]);
    let call = Call::new(&body, by).with_parts(&parts).with_reply_room(asked.room());
    let reply = client.call(call).await?;
    let told = reply.body::<MetaCallReply>().and_then(bodies::to_owned::<MetaCallReply>);
    match told.map_err(senseless)?.outcome() {
        0 => match Answer::decode(reply.payload()).map_err(senseless)? {
            Answer::Space(space) => Ok(space),
            other => Err(StatusError::Senseless(format!("{other:?}"))),
        },
        _ => {
            let refusal = Refusal::decode(reply.payload()).map_err(senseless)?;
            Err(StatusError::Refused(refusal.text))
        }
    }
}

fn senseless(error: impl core::fmt::Display) -> StatusError {
    StatusError::Senseless(error.to_string())
}
