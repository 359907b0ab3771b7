//! One replica on its store: brings events to the pure machine and does what it wants.
//!
//! Owner: a shard. Events are handled one at a time, each with what the lease and the store say in
//! the same turn; effects are begun in order, before the next event. What takes time goes on in
//! tasks that bring an event when it is done.
//!
//! Invariants
//!   E380  one step at a time: nothing that a step begins steps again before it returns
//!   E381  every update and read is answered once
//!   E384  the lease is dropped before anybody is told that the target is offline
//!
//! Crash: the store keeps records, chain version and incarnation. A new start is another
//! incarnation, which stands aside until the manager gives it a place (R5).

use core::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use engine_craq::planted::{Bug, is};
use engine_craq::{Digest, Effect, Event, Local, Peer, Replica, Space, Standing, Start, Walk};
use engine_runtime::{Env, Notify};
use engine_shard::Reading;
use engine_store::{ChunkKey, Fence, Head, Slot, Tag, TargetRecord};
use engine_types::{
    ChainId, ChainInfo, ChainVersion, ChunkId, CoreId, Map, PublicState, Status, Timeline,
};
use engine_wire::bodies::storage::TargetStatus;
use mgmt_cluster::chain::LocalState;
use mgmt_cluster::heartbeat::TargetReport;
use mgmt_cluster::lease::{Grant, GrantOutcome, StorageLease};

use crate::home::Home;
use crate::promise::Promise;
use crate::shard::Shard;
use crate::target::pause::Pause;

mod pause;
mod perform;
mod resync;

/// What a client is answered about an update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Updated {
    pub(crate) status: Status,
    pub(crate) version: u32,
    pub(crate) len: u32,
}

/// What a read finds, pinned.
pub(crate) enum Found<E: Env> {
    /// No such chunk.
    Absent,
    /// Version and length.
    Head { version: u32, len: u32 },
    /// The same and what of a range is data.
    Map { version: u32, len: u32, extents: Vec<(u32, u32)> },
    /// Bytes on their way.
    Bytes(Reading<E>),
    /// Why not.
    Refused(Status),
}

/// What a waiting read wants.
pub(crate) struct Wanted<E: Env> {
    pub(crate) chunk: ChunkId,
    pub(crate) what: What,
    pub(crate) found: Rc<Promise<Found<E>>>,
}

/// Of a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Bytes { offset: u32, len: u32 },
    Head,
    Map { offset: u32, len: u32 },
}

/// What a target has done since its shard started.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) reads: Cell<u64>,
    pub(crate) updates: Cell<u64>,
    pub(crate) refused: Cell<u64>,
    pub(crate) shipped_chunks: Cell<u64>,
    pub(crate) shipped_bytes: Cell<u64>,
    pub(crate) received_chunks: Cell<u64>,
}

/// Counts.
pub(crate) fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}

/// A chain version, and the own place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Installed {
    timeline: Timeline,
    version: ChainVersion,
    state: PublicState,
}

/// A waiting update.
pub(crate) struct Asked {
    chunk: ChunkId,
    tag: Tag,
    answer: Rc<Promise<Updated>>,
}

/// See the module.
pub(crate) struct Target<E: Env> {
    shard: Weak<Shard<E>>,
    pub(crate) home: Rc<Home<E>>,
    pub(crate) chain: ChainId,
    pub(crate) slot: Slot,
    pub(crate) own: Peer,
    replica: RefCell<Replica>,
    lease: RefCell<StorageLease>,
    stepping: Cell<bool>,
    effects: RefCell<Vec<Effect>>,
    updates: RefCell<Map<u64, Asked>>,
    reads: RefCell<Map<u64, Wanted<E>>>,
    /// What the store holds durably.
    installed: Cell<Installed>,
    /// What it is to hold.
    to_install: Cell<Installed>,
    installing: Cell<bool>,
    /// It caught up in this version.
    up_to_date: Cell<Option<ChainVersion>>,
    /// It was brought up to date by another replica in this start: what its store had lost before
    /// does not matter to it any more (S8).
    whole: Cell<bool>,
    /// Since it left by itself.
    pause: RefCell<Pause>,
    /// The node stops, or the store has failed.
    closed: Cell<bool>,
    /// Timeline of the routing info that has named it last: in this start, or as its store says.
    pub(crate) named: Cell<Option<Timeline>>,
    /// Pages of remembered requests that came, and those that are stored.
    learning: Cell<u64>,
    /// The dialogue that they are of.
    learning_walk: Cell<Option<Walk>>,
    /// There is no room for them (R16).
    waits_for_room: Cell<bool>,
    learnt_count: Cell<u64>,
    learnt: Notify,
    pub(crate) done: Done,
}

impl<E: Env> Target<E> {
    /// A target whose store has counted its start.
    pub(crate) fn new(
        shard: &Rc<Shard<E>>,
        home: &Rc<Home<E>>,
        slot: Slot,
        record: TargetRecord,
    ) -> Rc<Self> {
        let own = Peer { target: record.target, incarnation: record.incarnation };
        let timeline = home.store.superblock().timeline;
        let pendings = home.store.recovered(slot).into_iter().map(home_recovered).collect();
        let (version, reserve) = (record.chain_version, home.reserve);
        let fences = home.store.fences();
        let start = Start { own, version, timeline, pendings, fences, reserve };
        let installed = Installed { timeline, version, state: PublicState::Offline };
        Rc::new(Self {
            shard: Rc::downgrade(shard),
            home: home.clone(),
            chain: record.chain,
            slot,
            own,
            replica: RefCell::new(Replica::new(start)),
            lease: RefCell::new(StorageLease::new(own.target, own.incarnation)),
            stepping: Cell::new(false),
            effects: RefCell::default(),
            updates: RefCell::default(),
            reads: RefCell::default(),
            installed: Cell::new(installed),
            to_install: Cell::new(installed),
            installing: Cell::new(false),
            up_to_date: Cell::new(None),
            whole: Cell::new(false),
            pause: RefCell::default(),
            closed: Cell::new(false),
            named: Cell::new(record.named),
            learning: Cell::new(0),
            learning_walk: Cell::new(None),
            waits_for_room: Cell::new(false),
            learnt_count: Cell::new(0),
            learnt: Notify::default(),
            done: Done::default(),
        })
    }

    pub(crate) fn shard(&self) -> Option<Rc<Shard<E>>> {
        self.shard.upgrade()
    }

    pub(crate) fn key(&self, chunk: ChunkId) -> ChunkKey {
        ChunkKey { slot: self.slot, chunk }
    }

    /// The committed record of a chunk.
    pub(crate) fn head(&self, chunk: ChunkId) -> Option<Head> {
        let before = resync::before(chunk).map(|chunk| self.key(chunk));
        let behind = self.home.store.list(self.slot, before, 1);
        let found = behind.first().filter(|found| found.key.chunk == chunk);
        found.map(|found| found.head)
    }

    /// The chain version that it goes by.
    pub(crate) fn version(&self) -> ChainVersion {
        self.replica.borrow().version()
    }

    /// The timeline that its store has installed.
    pub(crate) fn timeline(&self) -> Timeline {
        self.home.store.superblock().timeline
    }

    /// The neighbours and the tail, each once.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        let replica = self.replica.borrow();
        let standing = replica.standing();
        let all = [standing.predecessor, standing.successor, standing.tail];
        let mut peers: Vec<Peer> = all.into_iter().flatten().collect();
        peers.sort_unstable();
        peers.dedup();
        // A former start of its own is nobody to speak with.
        peers.retain(|peer| peer.target != self.own.target);
        peers
    }

    /// Whether the lease covers the installed chain version at this moment (R8).
    pub(crate) fn is_leased(&self) -> bool {
        let now = self.home.env.now();
        let lease = self.lease.borrow();
        let any = is(Bug::LeaseOfAnyVersion);
        let version = if any { lease.version() } else { self.version() };
        lease.serves(now, version, self.own.incarnation)
    }

    /// Whether it may say what the chain has committed.
    pub(crate) fn is_leased_tail(&self) -> bool {
        let knows = self.replica.borrow().knows_all();
        knows && self.is_leased()
    }

    /// What the store knows of a chunk and a request.
    pub(crate) fn local(&self, chunk: ChunkId, tag: Option<Tag>) -> Local {
        let found = self.home.store.local(self.slot, chunk, tag);
        let committed = found.committed.map(|(version, digest)| (version, Digest(digest)));
        Local { committed, known: found.known, fenced: found.fenced }
    }

    /// Something happened.
    pub(crate) fn step(self: &Rc<Self>, event: Event) {
        if self.closed.get() {
            return self.refuse_after_close(&event);
        }
        assert!(!self.stepping.replace(true), "E380: {} steps within a step", self.own.target);
        let leased = self.is_leased();
        let mut effects = self.effects.take();
        self.replica.borrow_mut().step(event, leased, &mut effects);
        for effect in effects.drain(..) {
            // An effect before may have met a failed store: everybody was answered then, and the
            // payloads are gone.
            if self.closed.get() {
                break;
            }
            self.perform(effect);
        }
        *self.effects.borrow_mut() = effects;
        self.stepping.set(false);
    }

    /// An update of a client. Its stream is known to the shard.
    pub(crate) fn ask_update(self: &Rc<Self>, update: engine_craq::Update) -> Rc<Promise<Updated>> {
        let answer = Rc::new(Promise::default());
        let asked = Asked { chunk: update.chunk, tag: update.tag, answer: answer.clone() };
        self.updates.borrow_mut().insert(update.id.0, asked);
        self.measure_space();
        let local = self.local(update.chunk, Some(update.tag));
        self.step(Event::UpdateAsked { update, local });
        answer
    }

    /// A read of a client.
    pub(crate) fn ask_read(
        self: &Rc<Self>,
        id: u64,
        chain: ChainVersion,
        chunk: ChunkId,
        what: What,
    ) -> Rc<Promise<Found<E>>> {
        let found = Rc::new(Promise::default());
        let wanted = Wanted { chunk, what, found: found.clone() };
        self.reads.borrow_mut().insert(id, wanted);
        self.step(Event::ReadAsked { id: engine_craq::ReadId(id), chain, chunk });
        found
    }

    /// Tells the machine how much room there is (R18).
    pub(crate) fn measure_space(self: &Rc<Self>) {
        let space = self.home.store.space();
        let records = space.index_bytes_max.saturating_sub(space.index_bytes);
        self.step(Event::SpaceMeasured(Space { bytes: space.free, records }));
    }

    /// A version of the chain, from the routing info or an answer to a heartbeat.
    pub(crate) fn chain_arrived(self: &Rc<Self>, timeline: Timeline, chain: &ChainInfo) {
        if timeline < self.timeline() {
            engine_types::reached!("R20: routing info of an older timeline");
            return;
        }
        let before = self.version();
        if chain.version == before && self.differs(chain) {
            // Only a KV that came back from a backup gives a version out again (R20).
            let target = self.own.target;
            return tracing::error!(%target, version = %before, "two contents of a chain version");
        }
        self.step(Event::ChainArrived { timeline, chain: chain.clone() });
        if before != self.version() && self.is_leased() {
            // The lease of this version came first.
            self.step(Event::LeaseRenewed);
        }
    }

    /// Whether the same chain version was told with another content.
    fn differs(&self, chain: &ChainInfo) -> bool {
        let replica = self.replica.borrow();
        let known = *replica.standing() != Standing::NONE;
        known && *replica.standing() != Standing::new(self.own, chain)
    }

    /// Whether it was brought up to date in this start.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole.get()
    }

    /// A lease was granted.
    pub(crate) fn granted(self: &Rc<Self>, grant: Grant) {
        let now = self.home.env.now();
        let grant = if is(Bug::LeaseFromReceipt) { Grant { sent: now, ..grant } } else { grant };
        if self.lease.borrow_mut().granted(now, grant) == GrantOutcome::Extended {
            self.step(Event::LeaseRenewed);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Updates of revoked sessions that were admitted and have not ended.
    pub(crate) fn admitted(&self, fence: Fence) -> usize {
        self.replica.borrow().admitted(fence)
    }

    /// Whether something is admitted of revoked sessions.
    ///
    /// # Panics
    /// E390: the replica was not told, so that it would wait for a lease that nobody gives (E294).
    pub(crate) fn is_draining(&self, fences: &[Fence]) -> bool {
        let replica = self.replica.borrow();
        let mut open = fences.iter().filter(|fence| 0 < replica.admitted(**fence));
        let Some(fence) = open.next() else { return false };
        assert!(replica.is_told(*fence), "E390: {} was not told of {fence:?}", self.own.target);
        true
    }

    /// Stops serving for good: the node stops, or the store has failed (E384).
    pub(crate) fn close(&self) {
        self.lease.borrow_mut().drop_lease(self.home.env.now());
        self.closed.set(true);
        if let Some(shard) = self.shard() {
            shard.discard_all(self.own.target);
        }
        for (_, asked) in self.updates.take() {
            let status = Status::UnknownResult;
            asked.answer.tell(Updated { status, version: 0, len: 0 });
        }
        for (_, wanted) in self.reads.take() {
            wanted.found.tell(Found::Refused(Status::Draining));
        }
    }

    /// After the end nothing is asked of the machine, and nobody waits in vain.
    fn refuse_after_close(&self, event: &Event) {
        match event {
            Event::UpdateAsked { update, .. } => {
                if let Some(asked) = self.updates.borrow_mut().remove(&update.id.0) {
                    let status = Status::Draining;
                    asked.answer.tell(Updated { status, version: 0, len: 0 });
                }
                if let Some(shard) = self.shard() {
                    shard.discard(update.payload);
                }
            }
            Event::ReadAsked { id, .. } => {
                if let Some(wanted) = self.reads.borrow_mut().remove(&id.0) {
                    wanted.found.tell(Found::Refused(Status::Draining));
                }
            }
            Event::PayloadEnded { payload, .. } => {
                if let Some(shard) = self.shard() {
                    shard.discard(*payload);
                }
            }
            Event::Received(received) => {
                if let (Some(payload), Some(shard)) = (received.payload, self.shard()) {
                    shard.discard(payload);
                }
            }
            _ => {}
        }
    }

    /// For people.
    pub(crate) fn status(&self) -> TargetStatus {
        let report = self.report(CoreId::new(0));
        let replica = self.replica.borrow();
        let done = &self.done;
        TargetStatus {
            store: self.home.id.get(),
            target: self.own.target.get(),
            incarnation: self.own.incarnation.get(),
            reads: done.reads.get(),
            updates: done.updates.get(),
            refused: done.refused.get(),
            shipped_chunks: done.shipped_chunks.get(),
            shipped_bytes: done.shipped_bytes.get(),
            received_chunks: done.received_chunks.get(),
            chain: self.chain.get(),
            chain_version: replica.version().get(),
            in_flight: u32::try_from(replica.in_flight()).unwrap_or(u32::MAX),
            state: match replica.standing().state {
                PublicState::Serving => 1,
                PublicState::Syncing => 2,
                PublicState::Waiting => 3,
                PublicState::LastServing => 4,
                PublicState::Offline => 5,
            },
            leased: u8::from(self.is_leased()),
            local: match report.local {
                LocalState::UpToDate => 1,
                LocalState::Online => 2,
                LocalState::Offline => 3,
            },
            waits: u8::from(self.waits_for_room.get()),
        }
    }

    /// For the heartbeat.
    pub(crate) fn report(&self, core: CoreId) -> TargetReport {
        let replica = self.replica.borrow();
        let Installed { timeline, version, state } = self.installed.get();
        let failed = self.home.store.failure().is_some();
        let local = match state {
            _ if self.closed.get() || failed => LocalState::Offline,
            // It may not serve, and nobody is to believe that it does. One that served last
            // returns with the next start of its store.
            PublicState::Serving | PublicState::Syncing | PublicState::LastServing
                if replica.has_left() =>
            {
                LocalState::Offline
            }
            PublicState::Serving => LocalState::UpToDate,
            PublicState::Syncing if self.up_to_date.get() == Some(version) => LocalState::UpToDate,
            PublicState::Syncing
                if is(Bug::UpToDateRepeated) && self.up_to_date.get().is_some() =>
            {
                LocalState::UpToDate
            }
            _ if !self.pause.borrow().is_over(self.home.env.now()) => LocalState::Offline,
            _ => LocalState::Online,
        };
        TargetReport {
            target: self.own.target,
            incarnation: self.own.incarnation,
            store: self.home.id,
            chain: Some(self.chain),
            core,
            local,
            damaged: self.home.store.is_damaged() && !self.whole.get() && !is(Bug::DamageHidden),
            version,
            timeline,
        }
    }
}

fn home_recovered(found: engine_shard::Recovered) -> engine_craq::Recovered {
    engine_craq::Recovered {
        at: engine_craq::Version { chunk: found.chunk, version: found.version },
        base: found.base,
        removal: found.removal,
        tag: found.tag,
        digest: Digest(found.digest),
    }
}
