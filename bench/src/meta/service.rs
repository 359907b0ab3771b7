//! The core of a metadata service: the role that ships, over the served store; on the same core,
//! and on the same connection to the store, what it is measured beside.
//!
//! Owner: the main thread, which asks for slices and ends the core by not asking any more.

use core::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc;

use engine_net::Server;
use engine_runtime::{Env, Listener as _, Sender};
use engine_types::{ChainTableId, ChunkSize, NodeRole};
use meta_kv::OwnKv;
use meta_kvd::Remote;
use meta_metad::{Role, Settings};
use meta_schema::LayoutTemplate;

use super::null::Null;
use super::replay::{self, Averages, Replay};
use super::shape::Side;
use super::tape::{Noted, Tape};
use crate::loopback::config_of;
use crate::meter::{Taken, slice};
use crate::runtime::Main;
use crate::stats::Division;

/// The table of the one chain that there is.
pub(super) const TABLE: ChainTableId = ChainTableId::new(1);
/// Null services have numbers behind those of services.
const NULL_NUMBERS: u32 = 100;

/// What a service's core is to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// Note transactions from now on.
    Note,
    /// Replay from now on what was noted: transactions that commit, or those that only read.
    Load { changes: bool },
    /// Measure a slice with so many tasks.
    Slice(Side, u32),
}

/// What came of it.
pub(super) enum Told {
    Done,
    Loaded(Averages),
    Taken(Taken),
}

/// A question and where its answer goes.
pub(super) struct Order {
    pub(super) ask: Ask,
    pub(super) answer: mpsc::Sender<Result<Told, String>>,
}

/// A service's core, when it listens.
pub(super) struct Endpoint {
    pub(super) null: SocketAddr,
    pub(super) orders: Sender<Order>,
}

/// The core.
pub(super) struct ServiceCore {
    pub(super) number: u32,
    pub(super) kv: SocketAddr,
    pub(super) manager: SocketAddr,
    pub(super) division: Division,
    pub(super) ready: mpsc::Sender<Endpoint>,
}

impl Main for ServiceCore {
    type Output = Result<(), String>;

    async fn run<E: Env>(self, env: E) -> Result<(), String> {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let net = config_of(NodeRole::Meta, self.number);
        let remote = Remote::new(&env, net.clone(), self.kv);
        let tape = Rc::new(Tape::default());
        let chunk_size = ChunkSize::new(4 << 20).expect("a power of two");
        let role = Role {
            listen: any_port,
            net,
            kv: OwnKv::new(env.clone(), Noted::new(remote.clone(), tape.clone())),
            managers: vec![self.manager],
            number: self.number,
            process: std::process::id(),
            host: "bench".to_owned(),
            addresses: Vec::new(),
            settings: Settings {
                root_layout: LayoutTemplate { chunk_size, stripe: 1, table: TABLE },
                ..Settings::default()
            },
        };
        let (alive, ended) = env.mailbox::<()>(1);
        let serving = env.spawn({
            let env = env.clone();
            async move {
                let stop = async move {
                    let _nothing_is_sent = ended.recv().await;
                };
                meta_metad::run(&env, role, |_| {}, stop).await
            }
        });
        let replay = Replay::new(&env, remote, self.number);
        let null = Rc::new(Null { env: env.clone(), replay: replay.clone() });
        let listener = env.listen(any_port).map_err(|error| format!("null service: {error}"))?;
        let at = listener.address();
        let net = config_of(NodeRole::Meta, NULL_NUMBERS + self.number);
        let server = Server::start(&env, net, listener, null);
        let (orders, ordered) = env.mailbox::<Order>(1);
        drop(self.ready.send(Endpoint { null: at, orders }));
        while let Some(Order { ask, answer }) = ordered.recv().await {
            drop(answer.send(self.obey(&env, ask, &tape, &replay).await));
        }
        server.stop();
        drop(alive);
        serving.await.map_err(|error| format!("service {}: {error}", self.number))
    }
}

impl ServiceCore {
    async fn obey<E: Env>(
        &self,
        env: &E,
        ask: Ask,
        tape: &Tape,
        replay: &Rc<Replay<E, Remote<E>>>,
    ) -> Result<Told, String> {
        match ask {
            Ask::Note => {
                tape.begin();
                Ok(Told::Done)
            }
            Ask::Load { changes } => {
                let mut noted = tape.end();
                noted.retain(|taped| taped.commit.is_some() == changes);
                Ok(Told::Loaded(replay.load(noted)))
            }
            Ask::Slice(side, tasks) => {
                let whole = side == Side::Replay;
                let flood = |meter| replay::flood(replay.clone(), tasks, whole, meter);
                Ok(Told::Taken(slice(env, &self.division, 0, flood).await?.into()))
            }
        }
    }
}
