//! A storage node as it ships. It formats its stores at its first start, and looks at them when the
//! world is over.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use core::time::Duration;
use engine_runtime::sim::SimEnv;
use engine_runtime::{Env, Signal};
use engine_shard::ChunkStore;
use engine_storaged::{Role, ShardSpec};
use engine_types::NodeRole;

use super::audit;
use super::ground::Ground;

/// Pause before a role that ended is started again, as a supervisor makes it.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// The path of a store.
pub(super) fn path(number: usize) -> PathBuf {
    PathBuf::from(format!("store-{number}"))
}

/// The process of node `index`.
pub(super) async fn run(env: SimEnv, ground: Rc<Ground>, index: usize) {
    if !ground.is_over.get() {
        format(&env, &ground, index).await;
        let how = serve(&env, &ground, index).await;
        ground.tell_end(format!("node {index} at {}: {how}", env.world_now()));
        return env.sleep_until(env.now() + RESTART_PAUSE).await;
    }
    let found = audit::look(&env, &ground).await;
    ground.audits.borrow_mut().insert(index, found);
    core::future::pending().await
}

async fn format(env: &SimEnv, ground: &Ground, index: usize) {
    for number in 0..ground.setting.stores {
        if ground.stores.borrow().contains_key(&(index, number)) {
            continue;
        }
        let made = ChunkStore::format(env, &path(number), &ground.setting.create()).await;
        let made = made.expect("nothing fails before there are chains");
        ground.stores.borrow_mut().insert((index, number), made.store);
    }
}

async fn serve(env: &SimEnv, ground: &Ground, index: usize) -> String {
    let signals = env.signals().expect("simulation always has them");
    let shard = ShardSpec {
        core: None,
        listen: ground.cluster.address_of(env.node()),
        stores: (0..ground.setting.stores).map(path).collect(),
    };
    let role = Role {
        shards: vec![shard],
        net: ground.cluster.net(env, NodeRole::Storage),
        managers: ground.managers.clone(),
        identity: Path::new("identity").to_owned(),
        addresses: Vec::new(),
        domain: format!("rack-{index}"),
        store: ground.setting.config.clone(),
    };
    let stop = async move { while signals.recv().await != Some(Signal::Terminate) {} };
    match engine_storaged::run(env, role, |_| (), stop).await {
        Ok(()) => "in order".to_owned(),
        Err(error) => error.to_string(),
    }
}
