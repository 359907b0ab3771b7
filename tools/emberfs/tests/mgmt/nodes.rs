//! Storage nodes that hold states only, on a thread of the test.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use engine_runtime::monoio::MonoioEnv;
use engine_runtime::{CancelToken, CoreSpec, Env};
use engine_types::{
    ChainVersion, CoreId, Incarnation, Instant, NodeId, NodeRole, PublicState, StoreId, TargetId,
    Timeline,
};
use engine_wire::handshake::Identity;
use mgmt_client::{Agent, Follower, Managers, NodeState, Report};
use mgmt_cluster::chain::LocalState;
use mgmt_cluster::heartbeat::{Move, ShardReport, TargetReport};
use mgmt_cluster::lease::{Grant, StorageLease};
use mgmt_cluster::registry::Registration;

use crate::support::net;

/// What the nodes of a test have come to, for its own thread.
#[derive(Default)]
pub(crate) struct Seen {
    /// Nodes to run; the thread starts what is missing.
    pub(crate) wanted: usize,
    /// By position: the id, leases granted, and how an agent ended.
    pub(crate) nodes: Vec<(Option<NodeId>, u64, Option<String>)>,
}

/// Ends the nodes when its test fails.
pub(crate) struct Stop(pub(crate) &'static AtomicBool);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs as many nodes as `seen` wants until `stop`.
pub(crate) fn run(
    cluster: &str,
    managers: Vec<SocketAddr>,
    seen: &'static Mutex<Seen>,
    stop: &'static AtomicBool,
) {
    let cluster = cluster.to_owned();
    let spec = CoreSpec { pool_bytes: 32 << 20, ..CoreSpec::new("nodes") };
    engine_runtime::monoio::run(spec, move |env| async move {
        let mut models: Vec<Rc<Model>> = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let wanted = seen.lock().unwrap().wanted;
            for index in models.len()..wanted {
                models.push(start(&env, &cluster, managers.clone(), index));
            }
            let now = models
                .iter()
                .map(|model| (model.id.get(), model.grants.get(), model.end.borrow().clone()));
            seen.lock().unwrap().nodes = now.collect();
            env.sleep_until(env.now() + Duration::from_millis(20)).await;
        }
    })
    .unwrap();
}

fn start(env: &MonoioEnv, cluster: &str, seeds: Vec<SocketAddr>, index: usize) -> Rc<Model> {
    let uuid = StoreId::new(index as u128 + 1);
    let identity = Identity {
        role: NodeRole::Storage,
        node: NodeId::default(),
        process: uuid,
        incarnation: Incarnation::new(1),
    };
    let managers = Managers::new(env, net(cluster, identity), seeds);
    let wanted = Registration {
        node: None,
        uuid,
        role: NodeRole::Storage,
        addresses: vec![format!("127.0.0.1:{}", 20_000 + index)],
        incarnation: Incarnation::new(1),
        domain: format!("rack-{index}"),
    };
    let follower = Follower::start(&managers);
    let model = Rc::new(Model {
        env: env.clone(),
        follower,
        id: Cell::new(None),
        grants: Cell::new(0),
        end: RefCell::new(None),
        targets: RefCell::default(),
    });
    let agent = Agent::new(&managers, wanted, model.clone());
    let (told, known) = (agent.clone(), model.clone());
    drop(env.spawn(async move { known.id.set(Some(told.until_registered().await)) }));
    let ended = model.clone();
    drop(env.spawn(async move {
        let end = agent.run(CancelToken::default()).await;
        *ended.end.borrow_mut() = Some(format!("{end:?}"));
    }));
    model
}

struct Model {
    env: MonoioEnv,
    follower: Rc<Follower<MonoioEnv>>,
    id: Cell<Option<NodeId>>,
    grants: Cell<u64>,
    end: RefCell<Option<String>>,
    targets: RefCell<BTreeMap<TargetId, (StorageLease, ChainVersion, bool)>>,
}

impl NodeState for Model {
    fn report(&self) -> Report {
        let routing = self.follower.routing();
        let mut targets = self.targets.borrow_mut();
        let incarnation = Incarnation::new(1);
        let mine = routing.targets.iter().filter(|(_, info)| Some(info.node) == self.id.get());
        let reports = mine.map(|(&target, info)| {
            let fresh = || (StorageLease::new(target, incarnation), ChainVersion::new(0), true);
            let &mut (_, version, serves) = targets.entry(target).or_insert_with(fresh);
            TargetReport {
                target,
                incarnation,
                store: info.store,
                core: CoreId::new(0),
                local: if serves { LocalState::UpToDate } else { LocalState::Online },
                damaged: false,
                version,
                timeline: routing.timeline,
                chain: Some(info.chain),
            }
        });
        Report {
            timeline: routing.timeline,
            drained: routing.version,
            shards: vec![ShardReport { core: CoreId::new(0), progress: self.env.now().nanos() }],
            targets: reports.collect(),
        }
    }

    fn granted(&self, grant: Grant, now: Instant) {
        if let Some((lease, _, _)) = self.targets.borrow_mut().get_mut(&grant.target) {
            lease.granted(now, grant);
            self.grants.set(self.grants.get() + 1);
        }
    }

    async fn install(&self, _: Timeline, moves: Vec<Move>) -> bool {
        let mut installed = false;
        for Move { target, info, .. } in moves {
            let mut targets = self.targets.borrow_mut();
            let Some((lease, version, serves)) = targets.get_mut(&target) else { continue };
            if *version < info.version {
                *version = info.version;
                lease.give_up_before(info.version);
                let member = info.members.iter().find(|member| member.target == target);
                let state = member.map(|member| member.state);
                *serves = matches!(state, Some(PublicState::Serving | PublicState::Syncing));
                installed = true;
            }
        }
        installed
    }
}
