//! The kv role as it ships, started again on what its store holds whenever it ends.

use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{NodeRole, Rng, WallTime};
use meta_kv::engine::redb::{Birth, RedbEngine, RedbOptions};
use meta_kv::engine::simdisk::{SimDisk, Survival};
use meta_kvd::{Role, ServedEngine};

use super::ground::{Ground, PORT};

/// Small, so that worlds are.
const CACHE_BYTES: usize = 1 << 20;
/// Writes and flushes of a life before its disk may fail.
const FAIL_AFTER_MAX: u64 = 600;
/// Pause before a role that ended is started again, as a supervisor makes it.
const RESTART_PAUSE: Duration = Duration::from_millis(20);
/// Above every version of a former start of the store in memory.
const START_JUMP: u64 = 1 << 20;

/// The role, until the process ends.
pub(super) async fn run(env: SimEnv, ground: Rc<Ground>) {
    ground.kv_starts.set(ground.kv_starts.get() + 1);
    if !ground.setting.on_disk {
        let engine = Arc::new(ground.memory.borrow().restarted(START_JUMP));
        *ground.memory.borrow_mut() = engine.clone();
        let served = ServedEngine {
            store: 1,
            created: env.wall(),
            starts: ground.kv_starts.get(),
            restores: 0,
        };
        let role = Role {
            listen: ([0, 0, 0, 0], PORT).into(),
            net: ground.net(&env, NodeRole::Kv),
            engine,
            served,
            bytes: Box::new(|| 0),
        };
        let never = core::future::pending();
        if let Err(error) = meta_kvd::run(&env, role, |_| (), never).await {
            ground.found(format!("a store in memory ended: {error}"));
        }
        return;
    }
    loop {
        let disk = after_a_crash(&ground);
        *ground.disk.borrow_mut() = disk.clone();
        if let Err(error) = serve(&env, &ground, disk).await {
            tracing::debug!(%error, "the kv role ended");
        }
        env.sleep_until(env.now() + RESTART_PAUSE).await;
    }
}

/// The disk as a power loss leaves it, which may fail again later.
fn after_a_crash(ground: &Ground) -> SimDisk {
    let mut rng = ground.rng.borrow_mut();
    let survival = Survival::Random(Rng::new(rng.next_u64()));
    let disk = SimDisk::holding(ground.disk.borrow().crash(survival));
    if ground.suffers.get() && ground.setting.disk_fails && rng.chance(500) {
        let number = rng.below(FAIL_AFTER_MAX);
        disk.crash_at(usize::try_from(number).expect("a small number"));
    }
    disk
}

async fn serve(env: &SimEnv, ground: &Ground, disk: SimDisk) -> Result<(), String> {
    let device = Arc::new(disk.clone());
    if disk.crash(Survival::Everything).is_empty() {
        // It exists once it is named: creation is no matter of this scenario.
        let whole = SimDisk::new();
        let birth = Birth { store: 7, created: WallTime::from_nanos(1) };
        RedbEngine::create_on(Arc::new(whole.clone()), birth).map_err(|error| error.to_string())?;
        *ground.disk.borrow_mut() = whole;
        return Ok(());
    }
    let options = RedbOptions { cache_bytes: CACHE_BYTES, ..RedbOptions::default() };
    let engine = RedbEngine::open_on(device, options).map_err(|error| error.to_string())?;
    let identity = engine.identity();
    let role = Role {
        listen: ([0, 0, 0, 0], PORT).into(),
        net: ground.net(env, NodeRole::Kv),
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
