//! The state of one store, and every change of it as a synchronous call.
//!
//! Owner: one shard. The driver asks ([`Store::admit`]), does the I/O that the answer names, and
//! reports completions; nothing here waits. `T` is the driver's handle of a 4 KiB image.
//!
//! ```text
//! admit -> (fetches) -> assemble -> log -> form_group -> [data || group] -> flush -> durable
//!                                                                                     | ack
//! commit: index switched, COMMIT queued -> next group durable -> old blocks free, images ready
//! ```
//!
//! Invariants
//!   E140  a chunk has at most one update between `admit` and its commit or abort (R2); everything
//!         else that would change its record waits or is refused
//!   E141  what a plan reserved (blocks, image room, ring room, record room) is held until it is
//!         logged or given up after its last I/O (S5)
//!   E142  decisions without data (commit, abort, erase, ...) are in the very next group, so their
//!         LSN is known when they are taken
//!   E143  a block or image that a decision drops is released no earlier than the group of that
//!         decision is durable and every plan older than it has ended (S1, S4)
//!   E144  growth is admitted only while the index and all that was promised stay within the
//!         budget; a commit never fails for memory
//!   E145  a version is committed only after it is durable; reads see committed versions, or
//!         durable pending ones when asked for
//!   E149  images of undecided versions take at most half of the overlay and a quarter of the ring,
//!         unless they are one version's: what is decided always finds room
//!   E156  a slot is emptied when no chunk of it is left and nothing of it under way; nothing is
//!         remembered of requests to a slot without an active target. So a slot's next target
//!         inherits neither chunks nor answers

use alloc::collections::{BTreeSet, VecDeque};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use engine_types::{ChunkVersion, Map, Set};

use crate::address::{BlockAddress, BlockClass, ChunkKey, Lsn, Slot};
use crate::allocator::Allocator;
use crate::entry::{Entry, Put};
use crate::format::checkpoint::pending_bytes;
use crate::index::{INDEX_BYTES_MAX, Index};
use crate::overlay::Overlay;
use crate::pins::{Pin, Pins, User};
use crate::record::{RecordRef, removal_digest};
use crate::ring::Ring;
use crate::tables::{Dedup, Fences, Targets};

mod admit;
mod apply;
mod audit;
mod checkpoint;
mod commit;
mod growth;
mod journal;
mod moves;

pub use admit::{Admission, Logged, Refusal, Ticket, Wait};
pub use apply::{Apply, ApplyTicket};
pub use audit::StoreAudit;
pub use checkpoint::Snapshot;
pub use commit::is_dead;
pub(crate) use commit::outcome;
pub use journal::{Durable, Group, RELEASE_COUNT_MAX};
pub use moves::MoveTicket;

/// Names a queued decision, so that the driver can tell its caller when it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A pending version.
#[derive(Clone, Debug)]
struct Pending {
    put: Rc<Put>,
    /// Group that holds its newest PUT; nothing while it is queued.
    lsn: Option<Lsn>,
    /// Whether its first group is durable.
    durable: bool,
    /// It is queued to be logged again (S9).
    relogging: bool,
    /// Promised for its commit (E144).
    index_bytes: u64,
}

/// What recovery could still bring back of a chunk whose newest commit or abort is not durable, or
/// a read under way may still see (S4).
#[derive(Clone, Copy, Debug)]
struct Undurable {
    /// Group of the newest such decision.
    lsn: Lsn,
    /// Plans below this number may read with one of those records.
    pin: u64,
    /// Highest end of data that any of those records names.
    named_end: u32,
}

/// A PUT that waits for a group.
#[derive(Clone, Debug)]
struct QueuedPut<T> {
    put: Rc<Put>,
    images: Vec<T>,
    token: Token,
    /// Of the ring, promised at admission; none for what is logged again.
    ring_bytes: u64,
    /// Length of its entry; it is asked for whenever a group may be formed.
    entry_bytes: usize,
}

/// The parts a store is made of, from format or recovery.
pub struct Parts<T> {
    /// Committed records.
    pub index: Index,
    /// Blocks.
    pub allocator: Allocator,
    /// Unreleased images.
    pub overlay: Overlay<T>,
    /// The journal.
    pub ring: Ring,
    /// Targets.
    pub targets: Targets,
    /// Revoked sessions.
    pub fences: Fences,
    /// Newest requests.
    pub dedup: Dedup,
    /// Pending versions with the group of their PUT; all durable.
    pub pending: Vec<(Rc<Put>, Lsn)>,
}

/// See the module.
pub struct Store<T> {
    index: Index,
    /// Bytes that the index may take; beyond it no growth is admitted. The index itself goes on: a
    /// durable version is never refused its commit (E144).
    index_budget: u64,
    allocator: Allocator,
    overlay: Overlay<T>,
    ring: Ring,
    targets: Targets,
    fences: Fences,
    dedup: Dedup,
    /// In a cell, because reads are planned while records are lent.
    pins: RefCell<Pins>,
    /// Chunks between `admit` and `log`.
    preparing: Map<ChunkKey, ChunkVersion>,
    moving: Set<ChunkKey>,
    pending: Map<ChunkKey, Pending>,
    undurable: Map<ChunkKey, Undurable>,
    /// The same by group and plan: the order in which they become durable.
    undurable_order: BTreeSet<(Lsn, u64, ChunkKey)>,
    /// Wishes for a group, whatever is in it.
    markers: Vec<Token>,
    small: Vec<(Entry, Token)>,
    small_bytes: usize,
    /// Somebody waits for one of them: it is no commit.
    small_urgent: bool,
    puts: VecDeque<QueuedPut<T>>,
    /// Group being written: its LSN and the chunks with a PUT in it.
    in_flight: Option<(Lsn, Vec<(ChunkKey, ChunkVersion)>)>,
    durable: Lsn,
    next_token: u64,
    promised: Promised,
    /// Bytes that the pending versions take in a checkpoint.
    pending_bytes: u64,
    /// Images of versions that are neither committed nor aborted, from their admission on (E149).
    undecided_images: usize,
    /// A checkpoint outgrew its half: the index may not grow until the next one is written.
    growth_held: bool,
    scratch_lsns: Vec<Lsn>,
}

/// Room set aside between admission and publication.
#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    /// Index bytes that commits of versions to come or pending add.
    index_bytes: u64,
    /// Images that are not in the overlay yet.
    images: usize,
    /// Bytes of groups to come for admitted updates.
    ring_bytes: u64,
}

/// What a chunk is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkState {
    /// The committed version and its length.
    pub committed: Option<(ChunkVersion, u32)>,
    /// The durable pending version, and its length unless it is a removal.
    pub pending: Option<(ChunkVersion, Option<u32>)>,
}

impl<T: Clone> Store<T> {
    /// A store from its parts.
    pub fn new(parts: Parts<T>) -> Self {
        let durable = parts.ring.last();
        let mut index = parts.index;
        let index_budget = index.budget();
        index.set_budget(INDEX_BYTES_MAX);
        let mut store = Self {
            index,
            index_budget,
            allocator: parts.allocator,
            overlay: parts.overlay,
            ring: parts.ring,
            targets: parts.targets,
            fences: parts.fences,
            dedup: parts.dedup,
            pins: RefCell::new(Pins::new()),
            preparing: Map::default(),
            moving: Set::default(),
            pending: Map::default(),
            undurable: Map::default(),
            undurable_order: BTreeSet::new(),
            markers: Vec::new(),
            small: Vec::new(),
            small_bytes: 0,
            small_urgent: false,
            puts: VecDeque::new(),
            in_flight: None,
            durable,
            next_token: 0,
            promised: Promised::default(),
            pending_bytes: 0,
            undecided_images: 0,
            growth_held: false,
            scratch_lsns: Vec::new(),
        };
        for (put, lsn) in parts.pending {
            let index_bytes = store.index_growth(&put.key, put.record.as_ref());
            store.promised.index_bytes += index_bytes;
            store.pending_bytes += pending_bytes(&put) as u64;
            store.undecided_images += put.images.len();
            let (lsn, durable, relogging) = (Some(lsn), true, false);
            let pending = Pending { put: put.clone(), lsn, durable, relogging, index_bytes };
            assert!(store.pending.insert(put.key, pending).is_none(), "E140: one pending version");
        }
        store
    }

    /// The committed record of a chunk.
    pub fn committed(&self, key: &ChunkKey) -> Option<RecordRef<'_>> {
        self.index.get(key)
    }

    /// The durable pending PUT of a chunk.
    pub fn pending(&self, key: &ChunkKey) -> Option<&Rc<Put>> {
        self.pending.get(key).filter(|pending| pending.durable).map(|pending| &pending.put)
    }

    /// What a chunk is.
    pub fn state(&self, key: &ChunkKey) -> ChunkState {
        ChunkState {
            committed: self.index.get(key).map(|r| (r.head.version, r.head.len)),
            pending: self
                .pending(key)
                .map(|put| (put.version, put.record.as_ref().map(|r| r.head.len))),
        }
    }

    /// Digest of `version` of a chunk while it is pending, else of what is committed, and of the
    /// removal when that is nothing (R13).
    pub fn digest(&self, key: &ChunkKey, version: ChunkVersion) -> u64 {
        if let Some(put) = self.pending(key).filter(|put| put.version == version) {
            return put.digest();
        }
        let removal = || removal_digest(key.chunk, version);
        self.index.get(key).map_or_else(removal, |record| record.digest(key.chunk))
    }

    /// Every durable pending version, in chunk order.
    pub fn pendings(&self) -> Vec<(ChunkKey, ChunkVersion)> {
        let durable = self.pending.values().filter(|pending| pending.durable);
        let mut all: Vec<_> = durable.map(|p| (p.put.key, p.put.version)).collect();
        all.sort_unstable();
        all
    }

    /// The durable pending PUTs of a target, in chunk order.
    pub fn pending_puts(&self, slot: Slot) -> Vec<Rc<Put>> {
        let own = self.pending.values().filter(|p| p.durable && p.put.key.slot == slot);
        let mut all: Vec<_> = own.map(|pending| pending.put.clone()).collect();
        all.sort_unstable_by_key(|put| put.key);
        all
    }

    /// Chunks of a target with a durable pending version, in chunk order.
    pub fn pending_keys(&self, slot: Slot) -> Vec<ChunkKey> {
        let all = self.pendings().into_iter().map(|(key, _)| key);
        all.filter(|key| key.slot == slot).collect()
    }

    /// Whether an update or move of this target is under way that has not come to its end.
    pub fn is_slot_busy(&self, slot: Slot) -> bool {
        self.preparing.keys().chain(&self.moving).any(|key| key.slot == slot)
            || self.pending.values().any(|p| !p.durable && p.put.key.slot == slot)
    }

    /// Whether the blocks of a chunk are being moved.
    pub fn is_moving(&self, key: &ChunkKey) -> bool {
        self.moving.contains(key)
    }

    /// Whether any update or move is between its admission and its end.
    pub fn is_anything_under_way(&self) -> bool {
        !self.preparing.is_empty() || !self.moving.is_empty()
    }

    /// Committed records.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Holds the growth of the index back while a checkpoint is dumped (E109), or no longer.
    pub const fn hold_growth(&mut self, held: bool) {
        self.growth_held = held;
    }

    /// Bytes that the index may take.
    pub const fn index_budget(&self) -> u64 {
        self.index_budget
    }

    /// Blocks, for figures.
    pub fn allocator(&self) -> &Allocator {
        &self.allocator
    }

    /// Blocks, for claims and discards.
    pub fn allocator_mut(&mut self) -> &mut Allocator {
        &mut self.allocator
    }

    /// Unreleased images.
    pub fn overlay(&self) -> &Overlay<T> {
        &self.overlay
    }

    /// The journal.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Targets.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Revoked sessions.
    pub fn fences(&self) -> &Fences {
        &self.fences
    }

    /// Newest requests of channels.
    pub fn dedup(&self) -> &Dedup {
        &self.dedup
    }

    /// A plan begins that reads or writes home blocks (S4).
    pub fn take_pin(&self) -> Pin {
        self.pins.borrow_mut().take()
    }

    /// Whether a plan of `user` may begin (E181).
    pub fn room_for(&self, user: User) -> bool {
        self.pins.borrow().room_for(user)
    }

    /// The last I/O of a plan has completed.
    pub fn give_pin(&self, pin: Pin) {
        self.pins.borrow_mut().give(pin);
    }

    /// Plans whose last I/O has not completed.
    pub fn plans_under_way(&self) -> usize {
        self.pins.borrow().in_flight()
    }

    /// Newest durable group.
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// Whether anything waits for a group.
    pub fn wants_group(&self) -> bool {
        !self.small.is_empty() || !self.puts.is_empty() || !self.markers.is_empty()
    }

    /// Whether a PUT or another decision somebody waits for is queued, rather than commits alone.
    pub fn is_urgent(&self) -> bool {
        !self.puts.is_empty() || !self.markers.is_empty() || self.small_urgent
    }

    /// Images of committed versions that are not released.
    pub fn images_not_home(&self) -> usize {
        let placed = self.pending.values().filter(|pending| pending.lsn.is_some());
        self.overlay.count() - placed.map(|pending| pending.put.images.len()).sum::<usize>()
    }

    /// Whether a decision is not durable yet.
    pub fn is_anything_undurable(&self) -> bool {
        self.wants_group() || self.in_flight.is_some()
    }

    /// The LSN that a decision queued now will have (E142).
    fn next_lsn(&self) -> Lsn {
        self.ring.next_lsn()
    }

    /// Wishes for a group, be it an empty one: what it follows is final then.
    pub fn queue_marker(&mut self) -> Token {
        let token = self.token();
        self.markers.push(token);
        token
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    /// Blocks that `old` names and `new` does not.
    fn dropped(
        old: Option<RecordRef<'_>>,
        new: Option<RecordRef<'_>>,
    ) -> Vec<(BlockAddress, BlockClass)> {
        let Some(old) = old else { return Vec::new() };
        let kept = |block| new.is_some_and(|new| new.blocks().any(|(_, b)| b == block));
        let gone = old.blocks().filter(|&(_, block)| !kept(block));
        gone.map(|(_, block)| (block, old.head.class)).collect()
    }
}
