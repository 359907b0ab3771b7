//! The storage role: what `emberfs storage serve` runs, and what simulation runs.

use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

use engine_net::NetConfig;
use engine_runtime::{CancelToken, CoreEnd, CoreSpec, Env, First, Receiver, Sender, first};
use engine_shard::StoreConfig;
use engine_types::{CoreId, NodeRole, StoreId};
use engine_wire::bodies::storage::ShardAt;
use mgmt_client::{Agent, AgentEnd, Follower, Managers};
use mgmt_cluster::registry::Registration;

use crate::fair::AdmissionSettings;
use crate::identity::Identity;
use crate::life::{Control, Given, Told};
use crate::node::Node;

/// One shard of a node.
#[derive(Clone, Debug)]
pub struct ShardSpec {
    /// The core that it runs on; nothing: the core that runs the node itself, for one shard alone.
    pub core: Option<CoreSpec>,
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Its stores, formatted.
    pub stores: Vec<PathBuf>,
}

/// What the role is given.
#[derive(Clone)]
pub struct Role {
    /// Its shards, at least one. Where the first one listens is where the node is found.
    pub shards: Vec<ShardSpec>,
    /// Who it is, and the cluster and secret that peers have to have.
    pub net: Rc<NetConfig>,
    /// The managers.
    pub managers: Vec<SocketAddr>,
    /// The file that keeps the node's name and counts its starts; made if it is not there.
    pub identity: PathBuf,
    /// `host:port` that others are told; empty for where the first shard listens.
    pub addresses: Vec<String>,
    /// Failure domain: targets of one chain lie in different ones.
    pub domain: String,
    /// Settings of every store.
    pub store: StoreConfig,
}

/// What an operator may set about the work behind clients' backs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes per second that one shard ships to replicas that catch up; 0: as fast as they go.
    /// 512 MiB are a sixth of what one fast device reads: clients keep the rest, and a device of
    /// 14 TiB that was replaced is filled by its sixteen peers in less than an hour.
    pub resync_bytes_per_second: u64,
    /// Bytes per second that one store verifies; 0: it is not scrubbed. 32 MiB a second read a
    /// device of 14 TiB in five days.
    pub scrub_bytes_per_second: u64,
    /// Turns between clients, resync and scrub.
    pub admission: AdmissionSettings,
}

impl Default for Settings {
    fn default() -> Self {
        let admission = AdmissionSettings::default();
        Self { resync_bytes_per_second: 512 << 20, scrub_bytes_per_second: 32 << 20, admission }
    }
}

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// A listener, a core or the identity file cannot be had.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What came of it.
        source: std::io::Error,
    },
    /// A store cannot be opened.
    #[error("store {path}: {why}")]
    Store {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// A shard has panicked: what it served was taken over by others, and its stores were not
    /// closed in order.
    #[error("shard {core} has panicked: {why}")]
    Panicked {
        /// Which.
        core: CoreId,
        /// What the panic said.
        why: String,
    },
    /// The managers do not let it take part.
    #[error("the cluster refuses this node: {why}")]
    Refused {
        /// In their words.
        why: String,
    },
}

/// Messages that wait for a shard: a grant per target and heartbeat, and little else.
const CONTROL_MAX: usize = 1024;
/// Messages of shards that wait for the node.
const TOLD_MAX: usize = 256;
/// How long a node that stops waits until the primary has heard of it.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// Serves the stores until `stop` ends; `ready` is told where the first shard listens. Afterwards
/// nothing is served, the managers know that, and the stores are closed.
///
/// # Errors
/// [`RoleError`].
pub async fn run<E: Env>(
    env: &E,
    role: Role,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<(), RoleError> {
    run_with(env, role, Settings::default(), ready, stop).await
}

/// The same with other settings than the default ones.
///
/// # Errors
/// As [`run`].
pub async fn run_with<E: Env>(
    env: &E,
    role: Role,
    settings: Settings,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<(), RoleError> {
    let identity = Identity::open(env, &role.identity).await;
    let mut identity = identity.map_err(|source| RoleError::Io {
        what: format!("identity file {}", role.identity.display()),
        source,
    })?;
    let managers = Managers::new(env, role.net.clone(), role.managers.clone());
    let follower = Follower::start(&managers);
    let node = Node::new(&managers, &follower);
    let (told, telling) = env.mailbox(TOLD_MAX);
    let first_address =
        start_shards(env, (&role, settings), &identity, &node, (told, &telling)).await?;
    ready(first_address);
    let addresses = match role.addresses.is_empty() {
        true => vec![first_address.to_string()],
        false => role.addresses.clone(),
    };
    let wanted = Registration {
        node: identity.node(),
        uuid: identity.uuid(),
        role: NodeRole::Storage,
        addresses,
        incarnation: identity.incarnation(),
        domain: role.domain.clone(),
    };
    let agent = Agent::new(&managers, wanted, node.clone());
    node.set_agent(&agent);
    let beating = CancelToken::default();
    let mut beats = env.spawn(agent.clone().run(beating.clone()));
    let mut registered = env.spawn({
        let (agent, node) = (agent.clone(), node.clone());
        async move {
            let name = agent.until_registered().await;
            let kept = identity.named(name).await;
            node.named(name);
            kept
        }
    });
    drop(env.spawn(node.clone().follow()));
    let hear = async { while telling.recv().await.map(|told| node.told(told)).is_some() {} };
    let ended = {
        let life = first(stop, first(&mut beats, first(hear, keep_name(&mut registered))));
        match life.await {
            First::Left(()) => None,
            First::Right(First::Left(end)) => Some(end),
            First::Right(First::Right(_)) => None,
        }
    };
    stop_shards(env, &node, &agent, &telling).await;
    beating.cancel();
    if let Some((core, why)) = node.panicked() {
        return Err(RoleError::Panicked { core, why });
    }
    let refused = |why: String| Err(RoleError::Refused { why });
    match ended {
        None | Some(AgentEnd::Stopped) => Ok(()),
        Some(AgentEnd::Replaced { why } | AgentEnd::ClockAway { why }) => refused(why),
        Some(AgentEnd::Unregistered) => refused("it is not registered any more".to_owned()),
        Some(AgentEnd::Refused(refusal)) => refused(refusal.to_string()),
    }
}

/// Ends only if the name cannot be kept: the next start is known by its uuid, so that is no reason
/// to stop.
async fn keep_name(kept: &mut (impl Future<Output = std::io::Result<()>> + Unpin)) {
    if let Err(error) = kept.await {
        tracing::warn!(%error, "the name of the node is not kept");
    }
    core::future::pending::<()>().await;
}

/// Starts every shard; gives where the first one listens.
async fn start_shards<E: Env>(
    env: &E,
    (role, settings): (&Role, Settings),
    identity: &Identity<E>,
    node: &Rc<Node<E>>,
    (told, telling): (Sender<Told>, &Receiver<Told>),
) -> Result<SocketAddr, RoleError> {
    let (uuid, incarnation) = (identity.uuid(), identity.incarnation());
    let mut shards = Vec::new();
    let mut first_address = None;
    for (index, spec) in role.shards.iter().enumerate() {
        let core = CoreId::new(u16::try_from(index).unwrap_or(u16::MAX));
        let (control, controlled) = env.mailbox(CONTROL_MAX);
        let (mut net, store) = ((*role.net).clone(), role.store.clone());
        // Shards of one node speak to each other, too: each is somebody of its own.
        let process = uuid.get().wrapping_add(u128::from(core.get()));
        net.local.identity.process = StoreId::new(process);
        net.local.identity.incarnation = incarnation;
        let given = Given { core, spec: spec.clone(), net, store, settings };
        let (told, told_of_panic) = (told.clone(), told.clone());
        match spec.core.clone() {
            None => drop(env.spawn(crate::life::run(env.clone(), given, controlled, told))),
            Some(place) => {
                let life = move |env| crate::life::run(env, given, controlled, told);
                let what = format!("shard {core}");
                let end = env.on_core(place, life);
                let end = end.map_err(|source| RoleError::Io { what, source })?;
                drop(env.spawn(watch(core, end, told_of_panic)));
            }
        }
        node.add_shard(env, core, control);
        let address = loop {
            match telling.recv().await {
                Some(Told::Started { core: started, address }) if started == core => break address,
                Some(Told::State { core, state }) => node.heard(core, state),
                Some(Told::Failed(error)) => return Err(error),
                Some(Told::Panicked { core, why }) => {
                    return Err(RoleError::Panicked { core, why });
                }
                Some(_) => {}
                None => unreachable!("one sender is kept here"),
            }
        };
        first_address = first_address.or(Some(address));
        shards.push(ShardAt { core: core.get(), port: address.port() });
    }
    node.tell_all(|| Control::Shards(shards.clone()));
    first_address.ok_or_else(|| RoleError::Io {
        what: "the node has no shard".to_owned(),
        source: std::io::ErrorKind::InvalidInput.into(),
    })
}

/// Leases first, then the managers, then what is in flight, then the stores.
async fn stop_shards<E: Env>(
    env: &E,
    node: &Rc<Node<E>>,
    agent: &Rc<Agent<E, Node<E>>>,
    telling: &Receiver<Told>,
) {
    tracing::info!("storage stops");
    node.tell_all(|| Control::Close);
    let closed = |told: &Told| match told {
        Told::Closed { core } => Some(*core),
        _ => None,
    };
    wait_for(node, telling, closed).await;
    agent.beat_heard(env.now() + FAREWELL_TIME).await;
    node.tell_all(|| Control::Stop);
    let ended = |told: &Told| match told {
        Told::Ended { core } => Some(*core),
        _ => None,
    };
    wait_for(node, telling, ended).await;
}

/// Until every shard has said it that is there to say something.
async fn wait_for<E: Env>(
    node: &Rc<Node<E>>,
    telling: &Receiver<Told>,
    said_by: impl Fn(&Told) -> Option<CoreId>,
) {
    let mut said = BTreeSet::new();
    while node.shards().any(|core| !said.contains(&core)) {
        let Some(told) = telling.recv().await else { return };
        said.extend(said_by(&told));
        node.told(told);
    }
}

/// Says when the core of a shard ends by a panic.
async fn watch(core: CoreId, end: impl Future<Output = CoreEnd>, told: Sender<Told>) {
    if let CoreEnd::Panicked(why) = end.await {
        let _nobody_listens = told.send(Told::Panicked { core, why }).await;
    }
}

#[cfg(test)]
mod tests;
