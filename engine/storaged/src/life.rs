//! The life of one shard on its core: opens its stores, serves, and stops in order.

use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use engine_craq::Event;
use engine_net::{NetConfig, Server};
use engine_runtime::{CancelToken, Env, First, Listener as _, Receiver, Sender, first, until};
use engine_shard::StoreConfig;
use engine_types::limits::DRAIN_TIME_MAX;
use engine_types::{CoreId, Instant, NodeId, RoutingInfo, SessionId, Timeline};
use engine_wire::bodies::storage::ShardAt;
use mgmt_cluster::heartbeat::Move;
use mgmt_cluster::lease::Grant;

use crate::home::Home;
use crate::role::{RoleError, Settings, ShardSpec};
use crate::shard::{Shard, ShardState};
use crate::target::Target;

/// A shard says how it is at least so often: a heartbeat a second finds something fresh, and a
/// shard that hangs is found by its silence (L5b).
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// What the node tells a shard.
pub(crate) enum Control {
    /// Where all shards of the node listen.
    Shards(Vec<ShardAt>),
    /// The node's name.
    Registered(NodeId),
    /// Newer routing info.
    Routing(Arc<RoutingInfo>),
    /// A lease.
    Granted(Grant),
    /// Versions to install.
    Moved { timeline: Timeline, moves: Vec<Move> },
    /// Sessions of which nothing can happen any more (R16), of those that were asked for.
    Ended(Vec<SessionId>),
    /// Drop all leases, and say that all targets are offline.
    Close,
    /// Answer what is in flight, close the stores and end.
    Stop,
}

/// What a shard tells the node.
pub(crate) enum Told {
    /// It listens.
    Started { core: CoreId, address: SocketAddr },
    /// It cannot start.
    Failed(RoleError),
    /// How it is.
    State { core: CoreId, state: ShardState },
    /// All its leases are dropped; a state that says so was sent before.
    Closed { core: CoreId },
    /// Its stores are closed.
    Ended { core: CoreId },
    /// It has panicked, on a core of its own: it says nothing any more.
    Panicked { core: CoreId, why: String },
}

/// What a shard is given.
pub(crate) struct Given {
    pub(crate) core: CoreId,
    pub(crate) spec: ShardSpec,
    pub(crate) net: NetConfig,
    pub(crate) store: StoreConfig,
    pub(crate) settings: Settings,
}

/// Runs a shard until it is told to stop, or nobody is left to tell it.
pub(crate) async fn run<E: Env>(
    env: E,
    given: Given,
    control: Receiver<Control>,
    told: Sender<Told>,
) {
    let (shard, server) = match start(&env, given).await {
        Ok(started) => started,
        Err(error) => {
            let _ = told.send(Told::Failed(error)).await;
            return;
        }
    };
    let core = shard.core;
    if told.send(Told::Started { core, address: server.address() }).await.is_err() {
        return;
    }
    let stop = CancelToken::default();
    let rate = shard.settings.scrub_bytes_per_second;
    let scrubs = shard.homes.iter().map(|home| {
        let (shard, home, stop) = (shard.clone(), home.clone(), stop.clone());
        env.spawn(async move {
            let _stopped = first(stop.cancelled(), shard.scrub(home, rate)).await;
        })
    });
    let scrubs: Vec<_> = scrubs.collect();
    let mut reports = env.spawn(report(shard.clone(), told.clone(), stop.clone()));
    while let Some(control) = control.recv().await {
        match control {
            Control::Shards(shards) => shard.set_shards(shards),
            Control::Registered(node) => shard.registered(node),
            Control::Routing(routing) => shard.follow(routing),
            Control::Granted(grant) => shard.granted(grant),
            Control::Moved { timeline, moves } => shard.moved(timeline, &moves),
            Control::Ended(sessions) => drop(env.spawn(shard.clone().ended(sessions))),
            Control::Close => {
                for target in shard.all_targets() {
                    target.close();
                }
                let state = shard.state();
                let _ = told.send(Told::State { core, state }).await;
                let _ = told.send(Told::Closed { core }).await;
            }
            Control::Stop => break,
        }
    }
    stop.cancel();
    (&mut reports).await;
    for scrub in scrubs {
        scrub.await;
    }
    server.drain(env.now() + DRAIN_TIME_MAX).await;
    if let Some(links) = shard.links() {
        links.close();
    }
    for home in &shard.homes {
        if let Err(error) = home.store.close().await {
            tracing::error!(store = %home.id, %error, "a store was not closed in order");
        }
    }
    let _ = told.send(Told::Ended { core }).await;
}

async fn start<E: Env>(env: &E, given: Given) -> Result<(Rc<Shard<E>>, Server<E>), RoleError> {
    let Given { core, spec, net, store, settings } = given;
    let net = Rc::new(net);
    let mut homes = Vec::new();
    let mut found = Vec::new();
    for path in &spec.stores {
        let opened = Home::open(env, path, &store).await;
        match opened {
            Ok((home, targets)) => {
                found
                    .extend(targets.into_iter().map(|(slot, record)| (home.clone(), slot, record)));
                homes.push(home);
            }
            Err(why) => {
                close_all(&homes).await;
                return Err(RoleError::Store { path: path.display().to_string(), why });
            }
        }
    }
    let listener = match env.listen(spec.listen) {
        Ok(listener) => listener,
        Err(source) => {
            close_all(&homes).await;
            return Err(RoleError::Io {
                what: format!("cannot listen on {}", spec.listen),
                source,
            });
        }
    };
    let shard = Shard::new(env, core, net.clone(), homes, settings);
    for (home, slot, record) in found {
        let target = Target::new(&shard, &home, slot, record);
        target.measure_space();
        shard.targets.borrow_mut().insert(record.target, target);
    }
    tracing::info!(%core, address = %listener.address(), "shard serves");
    let server = Server::start(env, net, listener, shard.clone());
    Ok((shard, server))
}

async fn close_all<E: Env>(homes: &[Rc<Home<E>>]) {
    for home in homes {
        let _ = home.store.close().await;
    }
}

/// Tells the node how the shard is, whenever that changes, and at a steady pace the predecessors
/// how much room there is (R18).
async fn report<E: Env>(shard: Rc<Shard<E>>, told: Sender<Told>, stop: CancelToken) {
    let mut space_due = Instant::ZERO;
    loop {
        let wanted = shard.report_wanted().notified();
        let now = shard.env.now();
        for target in shard.all_targets() {
            target.measure_space();
            if space_due <= now {
                target.step(Event::SpaceDue);
            }
        }
        if space_due <= now {
            space_due = now + REPORT_EVERY;
            shard.log_load();
        }
        let state = shard.state();
        let core = shard.core;
        if told.send(Told::State { core, state }).await.is_err() || stop.is_cancelled() {
            return;
        }
        let due = shard.env.now() + REPORT_EVERY;
        let waited = until(&shard.env, due, wanted);
        if let First::Left(()) = first(stop.cancelled(), waited).await {
            return;
        }
    }
}
