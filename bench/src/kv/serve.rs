//! The server's core: the kv role, as `emberfs kv serve` runs it.

use core::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};

use engine_runtime::{Env, Sender};
use engine_types::NodeRole;
use meta_kv::KvEngine;
use meta_kvd::{Role, ServedEngine};

use crate::loopback;
use crate::runtime::Main;

/// Where a server is reached. Dropping it ends the server.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// Nothing is ever sent: the server waits for its end.
    _alive: Sender<()>,
}

/// Serves until the endpoint that it puts into `ready` is dropped.
pub(crate) struct Serve<G> {
    pub(crate) engine: Arc<G>,
    pub(crate) ready: mpsc::Sender<Endpoint>,
}

impl<G: KvEngine> Main for Serve<G> {
    type Output = Result<(), String>;

    async fn run<E: Env>(self, env: E) -> Result<(), String> {
        let Self { engine, ready } = self;
        let (alive, ended) = env.mailbox::<()>(1);
        let role = Role {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            net: loopback::config(NodeRole::Kv),
            engine,
            served: ServedEngine { store: 1, created: env.wall(), starts: 1, restores: 0 },
            bytes: Box::new(|| 0),
        };
        let listens = move |address| {
            // Without anybody to reach it, the server ends at once.
            let _ = ready.send(Endpoint { address, _alive: alive });
        };
        let stop = async move {
            let _nothing_is_sent = ended.recv().await;
        };
        let served = meta_kvd::run(&env, role, listens, stop).await;
        served.map_err(|error| format!("server: {error}"))
    }
}
