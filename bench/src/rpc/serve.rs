//! The server's core: the bare echo and the RPC server, side by side for all rows of a pair.

use core::net::{Ipv4Addr, SocketAddr};
use std::io;
use std::sync::mpsc;

use engine_runtime::{Env, Listener as _, Sender};

use super::{calls, echo};
use crate::runtime::Main;

/// Where a server is reached. Dropping it ends the server.
pub(super) struct Endpoints {
    pub(super) echo: SocketAddr,
    pub(super) rpc: SocketAddr,
    /// Nothing is ever sent: the server waits for its end.
    _alive: Sender<()>,
}

/// Serves until the endpoints that it puts into `ready` are dropped. Fails when it cannot listen,
/// or its pool is too small.
pub(super) struct Serve {
    pub(super) ready: mpsc::Sender<Endpoints>,
}

impl Main for Serve {
    type Output = Result<(), String>;

    async fn run<E: Env>(self, env: E) -> Result<(), String> {
        serve(env, self.ready).await
    }
}

async fn serve<E: Env>(env: E, ready: mpsc::Sender<Endpoints>) -> Result<(), String> {
    let (alive, ended) = env.mailbox::<()>(1);
    let start = || -> io::Result<_> {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bare = env.listen(any_port)?;
        let server = calls::start_server(&env, env.listen(any_port)?)?;
        Ok((bare, server))
    };
    let (bare, server) = start().map_err(|error| format!("server: {error}"))?;
    let endpoints = Endpoints { echo: bare.address(), rpc: server.address(), _alive: alive };
    let _echo = env.spawn(echo::serve(env.clone(), bare));
    if ready.send(endpoints).is_ok() {
        ended.recv().await;
    }
    server.stop();
    Ok(())
}
