//! What the processes of one world share with its checks.
//!
//! Owned by the world's thread. Nothing here is borrowed across a wait.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use engine_net::NetConfig;
use engine_runtime::sim::SimEnv;
use engine_types::{ChunkSize, ClusterId, NodeRole, Rng, SessionId};
use meta_kv::engine::memory::MemoryEngine;
use meta_kv::engine::simdisk::SimDisk;
use meta_kv::{Faults, Faulty};
use meta_kvd::Remote;
use meta_model::{Binding, Step};
use meta_protocol::{Answer, Refusal, Request};
use meta_schema::LayoutTemplate;

use super::bug::Bug;
use super::chunks::{Shelf, TABLE};
use super::setting::Setting;
use super::writer::Deeds;
use crate::check::{CheckFailure, Verdict};
use crate::scenarios::kv::net_config;
use crate::world::World;

/// Where every role listens.
pub(super) const PORT: u16 = 7000;
pub(super) const CLUSTER: ClusterId = ClusterId::new(1);
/// The session of who looks at everything in the end.
pub(super) const AUDITOR: SessionId = SessionId::new(1);
/// Sessions of services are above those of clients.
const SERVICES: u64 = 1 << 32;

type Trouble = Faulty<SimEnv, Remote<SimEnv>>;

/// Of files whose directory says nothing: small chunks.
pub(super) fn layout() -> LayoutTemplate {
    let chunk_size = ChunkSize::new(4096).expect("a power of two");
    LayoutTemplate { chunk_size, stripe: 3, table: TABLE }
}

/// An operation of a client.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    /// Nanoseconds of the wall, which is the same everywhere.
    pub(super) began: i64,
    pub(super) ended: Option<i64>,
    pub(super) found: Option<Result<Answer, Refusal>>,
    /// What it read, if it changed nothing.
    pub(super) version: Option<u64>,
}

/// Everything that outlives a process.
pub(super) struct Ground {
    pub(super) setting: Setting,
    pub(super) bug: Option<Bug>,
    pub(super) kv: SocketAddr,
    pub(super) services: Vec<SocketAddr>,
    pub(super) shelf: Rc<Shelf>,
    /// The store of the KV: a disk, or memory.
    pub(super) disk: RefCell<SimDisk>,
    pub(super) memory: RefCell<Arc<MemoryEngine>>,
    pub(super) kv_starts: Cell<u64>,
    pub(super) rng: RefCell<Rng>,
    /// Steps that were not begun, by client.
    pub(super) steps: RefCell<Vec<VecDeque<Step>>>,
    pub(super) binding: RefCell<Binding>,
    pub(super) asked: RefCell<Vec<Asked>>,
    /// Versions that requests read, by service and number.
    pub(super) versions: RefCell<BTreeMap<(usize, u32), u64>>,
    pub(super) deeds: RefCell<Deeds>,
    /// Sessions of clients that died, and of these those that were pruned.
    pub(super) dead: RefCell<BTreeSet<SessionId>>,
    pub(super) pruned: RefCell<BTreeSet<SessionId>>,
    sessions: RefCell<BTreeMap<u32, SessionId>>,
    service_sessions: RefCell<BTreeMap<usize, SessionId>>,
    next_session: Cell<u64>,
    next_number: Cell<u32>,
    faulty: RefCell<BTreeMap<usize, Trouble>>,
    /// Faults happen.
    pub(super) suffers: Cell<bool>,
    pub(super) finished: RefCell<BTreeSet<u32>>,
    /// Everything that the store holds in the end.
    pub(super) dump: RefCell<Vec<(Vec<u8>, Vec<u8>)>>,
    /// How often it was read.
    pub(super) looks: Cell<u64>,
    pub(super) wants_dump: Cell<bool>,
    broken: RefCell<Option<String>>,
}

impl Ground {
    pub(super) fn new(
        world: &World,
        setting: Setting,
        bug: Option<Bug>,
        steps: Vec<VecDeque<Step>>,
    ) -> Self {
        let address = |node| world.sim().address(node, PORT);
        let shelf = Rc::new(Shelf::default());
        shelf.delay_max.set(setting.chunk_delay);
        shelf.bug.set(bug);
        Self {
            bug,
            kv: address(world.role("kv")[0]),
            services: world.role("meta").into_iter().map(address).collect(),
            shelf,
            disk: RefCell::default(),
            memory: RefCell::new(Arc::new(MemoryEngine::new())),
            kv_starts: Cell::new(0),
            rng: RefCell::new(world.sim().random("meta")),
            steps: RefCell::new(steps),
            binding: RefCell::default(),
            asked: RefCell::default(),
            versions: RefCell::default(),
            deeds: RefCell::default(),
            dead: RefCell::default(),
            pruned: RefCell::default(),
            sessions: RefCell::default(),
            service_sessions: RefCell::default(),
            next_session: Cell::new(AUDITOR.get()),
            next_number: Cell::new(0),
            faulty: RefCell::default(),
            suffers: Cell::new(false),
            finished: RefCell::default(),
            dump: RefCell::default(),
            looks: Cell::new(0),
            wants_dump: Cell::new(false),
            broken: RefCell::default(),
            setting,
        }
    }

    pub(super) fn net(&self, env: &SimEnv, role: NodeRole) -> Rc<NetConfig> {
        net_config(env, role)
    }

    /// All clients have done what they wanted: their sessions end.
    pub(super) fn all_end(&self) {
        for session in self.sessions.borrow().values() {
            self.shelf.fence(*session);
            self.dead.borrow_mut().insert(*session);
        }
    }

    /// A number that no other attempt has.
    pub(super) fn number(&self) -> u32 {
        self.next_number.set(self.next_number.get() + 1);
        self.next_number.get()
    }

    /// A client starts: its session, and nothing of its former one happens at the chunks.
    pub(super) fn client_starts(&self, client: u32) -> SessionId {
        self.next_session.set(self.next_session.get() + 1);
        let session = SessionId::new(self.next_session.get());
        if let Some(former) = self.sessions.borrow_mut().insert(client, session) {
            self.shelf.fence(former);
            self.dead.borrow_mut().insert(former);
        }
        session
    }

    /// A service starts: its session, which ends the one before.
    pub(super) fn service_starts(&self, number: usize) -> SessionId {
        self.next_session.set(self.next_session.get() + 1);
        let session = SessionId::new(SERVICES + self.next_session.get());
        if let Some(former) = self.service_sessions.borrow_mut().insert(number, session) {
            self.shelf.fence(former);
        }
        session
    }

    /// The trouble of the service `number`, which it has while faults happen.
    pub(super) fn faulty(&self, number: usize, trouble: Trouble) {
        if self.suffers.get() {
            trouble.set(self.setting.trouble);
        }
        self.faulty.borrow_mut().insert(number, trouble);
    }

    /// Sessions that are over and not pruned yet.
    pub(super) fn unpruned(&self) -> Vec<SessionId> {
        self.dead.borrow().difference(&self.pruned.borrow()).copied().collect()
    }

    /// Trouble between services and store begins, or ends.
    pub(super) fn suffer(&self, suffers: bool) {
        self.suffers.set(suffers);
        let faults = if suffers { self.setting.trouble } else { Faults::default() };
        for trouble in self.faulty.borrow().values() {
            trouble.set(faults);
        }
        let dead = if suffers { self.setting.dead_chains.clone() } else { BTreeSet::new() };
        self.shelf.set_dead(dead);
        if !suffers {
            self.shelf.delay_max.set(Duration::from_millis(1));
        }
    }

    /// Something that must not be.
    pub(super) fn found(&self, what: String) {
        self.broken.borrow_mut().get_or_insert(what);
    }

    pub(super) fn verdict(&self) -> Verdict {
        match self.broken.borrow().clone() {
            None => Ok(()),
            Some(what) => Err(CheckFailure { check: "T110 processes go on", what }),
        }
    }

    /// Nothing of the world is kept.
    pub(super) fn clear(&self) {
        self.faulty.borrow_mut().clear();
        self.shelf.close();
    }
}
