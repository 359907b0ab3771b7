//! How a service is, asked of that one.

use core::net::SocketAddr;
use std::rc::Rc;

use engine_net::{Call, CallError, Client, NetConfig, Part, pooled};
use engine_runtime::Env;
use engine_types::Instant;
use engine_wire::bodies::MetaStatusRequest;
use meta_protocol::{Call as _, Record as _, ServiceStatus, StatusAsk};

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
    let told = ServiceStatus::decode(reply.payload());
    told.map_err(|error| StatusError::Senseless(error.to_string()))
}
