//! The role, started again on what its disk holds whenever it ends.

use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use engine_net::{NetConfig, NetLimits};
use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{ClusterId, Incarnation, NodeRole, Rng, StoreId, WallTime, reached};
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};
use meta_kv::engine::redb::{Birth, RedbEngine, RedbOptions};
use meta_kv::engine::simdisk::{SimDisk, Survival};
use meta_kvd::{Role, ServedEngine};

use super::{PORT, Shared};

/// Small, so that worlds are.
const CACHE_BYTES: usize = 1 << 20;
/// Writes and flushes of a life before its disk may fail: some tens of commits.
const FAIL_AFTER_MAX: u64 = 400;
/// Pause before a role that ended is started again, as a supervisor makes it.
const RESTART_PAUSE: Duration = Duration::from_millis(20);

pub(in crate::scenarios) fn net_config(env: &SimEnv, role: NodeRole) -> Rc<NetConfig> {
    let limits = NetLimits {
        handshake_time: Duration::from_millis(200),
        connect_time: Duration::from_millis(200),
        frame_time: Duration::from_millis(600),
        keepalive_idle: Duration::from_millis(100),
        keepalive_time: Duration::from_millis(300),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(100),
        ..NetLimits::default()
    };
    let process = StoreId::new(u128::from(env.random()));
    let incarnation = Incarnation::new(env.random());
    let identity = Identity { role, node: env.node(), process, incarnation };
    let secret = ClusterSecret::new([1; 32]).expect("not all zero");
    let cluster = ClusterId::new(1);
    let local = Local { cluster, identity, secret, versions: Versions::BUILD };
    Rc::new(NetConfig { local, limits })
}

/// The disk as a power loss leaves it, which may fail again later.
fn after_a_crash(shared: &Shared) -> SimDisk {
    let mut rng = shared.rng.borrow_mut();
    let survival = Survival::Random(Rng::new(rng.next_u64()));
    let disk = SimDisk::holding(shared.disk.borrow().crash(survival));
    if shared.faults.get() && rng.chance(500) {
        let number = rng.below(FAIL_AFTER_MAX);
        disk.crash_at(usize::try_from(number).expect("a small number"));
    }
    disk
}

/// The role on one disk, until the disk or the process ends.
pub(super) async fn run(env: SimEnv, shared: Rc<Shared>) {
    loop {
        let disk = after_a_crash(&shared);
        *shared.disk.borrow_mut() = disk.clone();
        if let Err(error) = serve(&env, &shared, disk).await {
            reached!("E206: a kv role ended because its disk failed");
            tracing::debug!(%error, "the kv role ended");
        }
        env.sleep_until(env.now() + RESTART_PAUSE).await;
    }
}

async fn serve(env: &SimEnv, shared: &Shared, disk: SimDisk) -> Result<(), String> {
    let device = Arc::new(disk.clone());
    if disk.crash(Survival::Everything).is_empty() {
        // What exists once it is named; a crash inside creation is the tests' of the directory.
        let whole = SimDisk::new();
        let birth = Birth { store: 7, created: WallTime::from_nanos(1) };
        RedbEngine::create_on(Arc::new(whole.clone()), birth).map_err(|error| error.to_string())?;
        *shared.disk.borrow_mut() = whole;
        return Ok(());
    }
    let options = RedbOptions { cache_bytes: CACHE_BYTES, ..RedbOptions::default() };
    let engine = RedbEngine::open_on(device, options).map_err(|error| error.to_string())?;
    let identity = engine.identity();
    shared.starts.set(shared.starts.get() + 1);
    let role = Role {
        listen: ([0, 0, 0, 0], PORT).into(),
        net: net_config(env, NodeRole::Kv),
        engine,
        served: ServedEngine {
            store: identity.store,
            created: identity.created,
            starts: identity.starts,
            restores: identity.restores,
        },
        bytes: Box::new(|| 0),
    };
    let never = core::future::pending();
    meta_kvd::run(env, role, |_| (), never).await.map_err(|error| error.to_string())
}
