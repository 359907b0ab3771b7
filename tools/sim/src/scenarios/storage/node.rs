//! A storage node as it ships. It formats its stores at its first start, and looks at them when the
//! world is over.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use core::time::Duration;
use engine_net::NetConfig;
use engine_runtime::sim::SimEnv;
use engine_runtime::{Env, Signal, first};
use engine_shard::{ChunkStore, StoreError};
use engine_storaged::{AdmissionSettings, Role, Settings, ShardSpec};
use engine_types::NodeRole;

use super::audit;
use super::ground::Ground;

/// Pause before a role that ended is started again, as a supervisor makes it.
const RESTART_PAUSE: Duration = Duration::from_millis(200);
/// Time in which connections that were closed have ended.
const AT_REST_AFTER: Duration = Duration::from_millis(500);
/// Room for answers of managers.
const HELD_AT_REST_MAX: usize = 8 << 20;
/// How often a node looks whether a store of it was taken away.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The path of a store.
pub(super) fn path(number: usize) -> PathBuf {
    PathBuf::from(format!("store-{number}"))
}

/// The process of node `index`.
pub(super) async fn run(env: SimEnv, ground: Rc<Ground>, index: usize) {
    if !ground.is_over.get() {
        ground.starts(index);
        if let Err(why) = format(&env, &ground, index).await {
            ground.tell_end(format!("node {index} at {}: {why}", env.world_now()));
            return env.sleep_until(env.now() + RESTART_PAUSE).await;
        }
        let how = serve(&env, &ground, index).await;
        ground.tell_end(format!("node {index} at {}: {how}", env.world_now()));
        return env.sleep_until(env.now() + RESTART_PAUSE).await;
    }
    let found = audit::look(&env, &ground).await;
    ground.audits.borrow_mut().insert(index, found);
    core::future::pending().await
}

/// Makes the stores that are not there: at first, and after one was taken away.
async fn format(env: &SimEnv, ground: &Ground, index: usize) -> Result<(), StoreError> {
    for number in 0..ground.setting.stores {
        if ground.stores.borrow().contains_key(&(index, number)) {
            continue;
        }
        let made = ChunkStore::format(env, &path(number), &ground.setting.create()).await?;
        ground.stores.borrow_mut().insert((index, number), made.store);
    }
    Ok(())
}

async fn serve(env: &SimEnv, ground: &Ground, index: usize) -> String {
    let signals = env.signals().expect("simulation always has them");
    let shard = ShardSpec {
        core: None,
        listen: ground.cluster.address_of(env.node()),
        stores: (0..ground.setting.stores).map(path).collect(),
    };
    let usual = ground.cluster.net(env, NodeRole::Storage);
    let limits = ground.setting.limits(&usual.limits);
    let role = Role {
        shards: vec![shard],
        net: Rc::new(NetConfig { local: usual.local.clone(), limits }),
        managers: ground.managers.clone(),
        identity: Path::new("identity").to_owned(),
        addresses: Vec::new(),
        domain: format!("rack-{index}"),
        store: ground.setting.config.clone(),
    };
    let terminated = async move { while signals.recv().await != Some(Signal::Terminate) {} };
    let taken = async {
        while !ground.is_to_end(index) {
            env.sleep_until(env.now() + LOOK_EVERY).await;
        }
    };
    let stop = async {
        let _either = first(terminated, taken).await;
    };
    let settings = Settings {
        resync_bytes_per_second: ground.setting.resync,
        scrub_bytes_per_second: ground.setting.scrub,
        admission: AdmissionSettings {
            running_max: ground.setting.running_max,
            ..AdmissionSettings::default()
        },
    };
    match engine_storaged::run_with(env, role, settings, |_| (), stop).await {
        Ok(()) => {
            // T99: what clients and other nodes sent has come back. Connections to managers, which
            // the process keeps until it exits, hold room for their answers. Before faults have
            // stopped a process that ends may hold what it cannot send to who is cut off.
            env.sleep_until(env.now() + AT_REST_AFTER).await;
            let held = env.pool().held();
            if ground.is_over.get() && HELD_AT_REST_MAX < held {
                ground.find(format!("node {index} has ended and holds {held} bytes of its pool"));
            }
            "in order".to_owned()
        }
        Err(error) => error.to_string(),
    }
}
