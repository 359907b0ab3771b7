//! The kv role: what `emberfs kv serve` runs, and what simulation runs.

use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::rc::Rc;

use engine_net::{NetConfig, Server};
use engine_runtime::{Env, First, first, until};
use engine_types::limits::DRAIN_TIME_MAX;
use meta_kv::Embedded;
use meta_kv::engine::KvEngine;

use crate::server::{KvService, ServedEngine};

/// Time after which a role that stops no longer waits for its engine to close.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);

/// What the role is given.
pub struct Role<G> {
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Who it is.
    pub net: Rc<NetConfig>,
    /// The open store.
    pub engine: G,
    /// What it tells of the store.
    pub served: ServedEngine,
    /// Bytes that the store takes on its disk.
    pub bytes: Box<dyn Fn() -> u64>,
}

/// Serves a store until `stop` ends; `ready` is told where it listens. Requests in flight are
/// answered before it returns, and the store is closed then.
///
/// # Errors
/// When it cannot listen, the engine gives no snapshot, or a write has failed: the store is to be
/// opened again then (E206), best by a new process.
pub async fn run<E: Env, G: KvEngine>(
    env: &E,
    role: Role<G>,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (store, mut committer) = Embedded::start(env, role.engine).map_err(io::Error::other)?;
    let listener = env.listen(role.listen)?;
    let service = KvService::new(env, store, role.served, role.bytes);
    let server = Server::start(env, role.net, listener, service.clone());
    tracing::info!(address = %server.address(), version = service.store().version(), "kv serves");
    ready(server.address());
    if let First::Right(()) = first(stop, &mut committer).await {
        let failure = service.store().failure().unwrap_or_else(|| "unknown".to_owned());
        server.drain(env.now() + DRAIN_TIME_MAX).await;
        return Err(io::Error::other(format!("the store has failed: {failure}")));
    }
    tracing::info!("kv drains");
    server.drain(env.now() + DRAIN_TIME_MAX).await;
    drop((server, service));
    if until(env, env.now() + CLOSE_TIME_MAX, committer).await.is_err() {
        tracing::warn!("kv stops although its last commits have not ended");
    }
    Ok(())
}
