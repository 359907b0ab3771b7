//! The roles that ship, as processes of a world: the KV, and managers over it.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use engine_runtime::sim::SimEnv;
use engine_runtime::{Env, Signal};
use engine_types::{Incarnation, NodeRole};
use meta_kv::OwnKv;
use meta_kv::engine::KvEngine;
use meta_kv::engine::memory::MemoryEngine;
use meta_kvd::{Remote, ServedEngine};

use super::cluster::Cluster;

/// Where every role listens.
pub(in crate::scenarios) const PORT: u16 = 7000;
/// Above every version of a former start of the store.
const START_JUMP: u64 = 1 << 20;

/// The store of the KV, which outlives its process.
#[derive(Default)]
pub(in crate::scenarios) struct Store {
    engine: RefCell<Arc<MemoryEngine>>,
    starts: Cell<u64>,
    restores: Cell<u64>,
}

impl Store {
    /// The keys as they are now.
    pub(in crate::scenarios) fn backup(&self) -> MemoryEngine {
        self.engine.borrow().restarted(0)
    }

    /// The next start finds the keys of a backup; versions go on from those of now.
    pub(in crate::scenarios) fn restore(&self, backup: &MemoryEngine) {
        let gone = self.engine.borrow().version() - backup.version();
        *self.engine.borrow_mut() = Arc::new(backup.restarted(gone));
        self.restores.set(self.restores.get() + 1);
    }
}

/// The kv role.
pub(in crate::scenarios) async fn serve_kv(env: SimEnv, cluster: Rc<Cluster>) {
    let store = &cluster.store;
    let engine = Arc::new(store.engine.borrow().restarted(START_JUMP));
    *store.engine.borrow_mut() = engine.clone();
    store.starts.set(store.starts.get() + 1);
    let role = meta_kvd::Role {
        listen: ([0, 0, 0, 0], PORT).into(),
        net: cluster.net(&env, NodeRole::Kv),
        engine,
        served: ServedEngine {
            store: 1,
            created: env.wall(),
            starts: store.starts.get(),
            restores: store.restores.get(),
        },
        bytes: Box::new(|| 0),
    };
    let never = core::future::pending();
    meta_kvd::run(&env, role, |_| (), never).await.expect("memory does not fail");
}

/// The mgmt role; SIGTERM makes it hand over and end.
pub(in crate::scenarios) async fn manage(env: SimEnv, kv: SocketAddr, cluster: Rc<Cluster>) {
    let signals = env.signals().expect("simulation always has them");
    let remote = Remote::new(&env, cluster.net(&env, NodeRole::Manager), kv);
    let start = cluster.manager_starts.get() + 1;
    cluster.manager_starts.set(start);
    let here = cluster.address_of(env.node());
    let role = mgmt_mgmtd::Role {
        listen: ([0, 0, 0, 0], PORT).into(),
        net: cluster.net(&env, NodeRole::Manager),
        kv: OwnKv::new(env.clone(), remote),
        me: env.node(),
        incarnation: Incarnation::new(start),
        addresses: vec![here.to_string()],
        name: "model".to_owned(),
        times: None,
    };
    let stopped = async { while signals.recv().await != Some(Signal::Terminate) {} };
    if let Err(error) = mgmt_mgmtd::run(&env, role, |_| (), stopped).await {
        cluster.found(format!("a manager ended: {error}"));
    }
}
