//! An open store: its state, its tasks, and the handle that callers hold.
//!
//! Everything belongs to one core. State changes happen in synchronous calls of
//! [`engine_store::store::Store`]; the tasks here do the I/O between them:
//!
//! ```text
//! journal   queued decisions -> group -> write -> data writes -> flush -> durable -> callers
//! applier   ready images -> home blocks
//! checkpoint dumps the state, moves the journal's tail
//! space     claims, discards, compaction
//! scrubber  reads everything, slowly
//! ```
//!
//! Invariants
//!   E150  one group is in flight; the flush that makes it durable starts after its write and the
//!         data writes of its PUTs have completed (S11)
//!   E151  a caller's dropped future ends its waiting only: reads give their pin back, updates run
//!         to their end in tasks of their own (S5)
//!   E152  after a failed write or flush nothing is acknowledged any more
//!   E153  superblocks are written one at a time, each after the flush of what it names
//!   E157  what only a superblock tells (mount generation, timeline, marks) is in both copies
//!         before anything relies on it: the loss of one copy takes back no more than a checkpoint
//!
//! E154 is in `reserve`, E155 in `compaction`, E156 in `engine_store::store`.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::{Buf, Bytes, Env, Gate, Memory, Notify};
use engine_store::format::superblock::SUPERBLOCK_BYTES;
use engine_store::format::{Layout, StoreFlags, Superblock};
use engine_store::store::{ChunkState, Store, Token};
use engine_store::tables::Fences;
use engine_store::{ChunkKey, Fence, Outcome, Slot, Tag, TargetPhase, TargetRecord, UpdateError};
use engine_types::{ChunkVersion, Map, SessionId, Timeline};

use crate::compaction::Compaction;
use crate::config::StoreConfig;
use crate::device::{Device, Pending};
use crate::error::{DecisionError, StoreError};
use crate::metrics::{Io, Metrics};
use crate::reserve::Reserve;
use crate::waiters::Waiters;

/// The handle of an image: one sector of memory.
pub(crate) type Image<E> = Bytes<<E as Env>::Memory>;

/// Data writes of a queued PUT, and the pin they hold.
pub(crate) struct DataWrites<E: Env> {
    pub(crate) writes: Vec<Pending<E, ()>>,
    pub(crate) pin: engine_store::pins::Pin,
}

/// Pause of a target's removal while updates of it are under way: the time of some device reads.
const DROP_PAUSE: Duration = Duration::from_millis(1);

/// Shortest pause between two looks at the operations under way.
const WATCH_PAUSE_MIN: Duration = Duration::from_millis(100);
/// Chunks of a dropped target that are erased between two flushes.
const DROP_ROUND: usize = 1024;
/// Chunks that are erased in one turn, about a microsecond each.
const DROP_TURN: usize = 128;

/// An open chunk store. Clones are handles of the same one.
pub struct ChunkStore<E: Env> {
    pub(crate) inner: Rc<Inner<E>>,
}

impl<E: Env> Clone for ChunkStore<E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

pub(crate) struct Inner<E: Env> {
    pub(crate) env: E,
    pub(crate) device: Rc<Device<E>>,
    pub(crate) config: StoreConfig,
    pub(crate) layout: Layout,
    pub(crate) state: RefCell<Store<Image<E>>>,
    pub(crate) superblock: RefCell<Superblock>,
    /// One unit: writing a superblock (E153).
    pub(crate) superblock_turn: Gate,
    /// One unit: writing a checkpoint.
    pub(crate) checkpoint_turn: Gate,
    pub(crate) waiters: Waiters,
    pub(crate) data_writes: RefCell<Map<Token, DataWrites<E>>>,
    /// Memory that updates may use for merges, images and copies.
    pub(crate) update_memory: Gate,
    /// Something was queued for the journal, or a flush is wanted.
    pub(crate) journal_wanted: Notify,
    /// Images became ready, or room is wanted.
    pub(crate) apply_wanted: Notify,
    /// The keeper has something to do.
    pub(crate) keeper_wanted: Notify,
    /// Room was made: journal, overlay, blocks or a closed chunk.
    pub(crate) progress: Notify,
    pub(crate) flush_wanted: Cell<bool>,
    pub(crate) snapshot_wanted: Cell<bool>,
    pub(crate) snapshot: RefCell<Option<engine_store::store::Snapshot>>,
    pub(crate) snapshot_taken: Notify,
    pub(crate) ring_pressed: Cell<bool>,
    pub(crate) overlay_pressed: Cell<bool>,
    /// Everything is to be applied: the store closes.
    pub(crate) draining: Cell<bool>,
    pub(crate) compaction: Compaction,
    /// More blocks are to be freed than one turn may free.
    pub(crate) release_wanted: Cell<bool>,
    /// Updates that wait for decisions about others.
    pub(crate) undecided: Cell<usize>,
    /// Segments to claim, discard or empty.
    pub(crate) space_wanted: Notify,
    /// Kept between reads for its capacity, empty.
    pub(crate) pieces: RefCell<Vec<engine_store::read::Piece>>,
    /// Memory that nobody else gets (E154).
    pub(crate) group_memory: Reserve<E::Memory>,
    pub(crate) page_memory: Reserve<E::Memory>,
    pub(crate) superblock_memory: Reserve<E::Memory>,
    /// Kept between groups for its capacity.
    pub(crate) entry_bytes: RefCell<Vec<u8>>,
    /// What holes are read from.
    pub(crate) zeros: Bytes<E::Memory>,
    pub(crate) update_memory_max: u64,
    /// Somebody closes it.
    pub(crate) closing: Cell<bool>,
    /// Its last task has ended.
    pub(crate) closed: Cell<bool>,
    pub(crate) stopping: Cell<bool>,
    /// Nothing becomes durable any more.
    pub(crate) journal_ended: Cell<bool>,
    /// Tasks of the store that have not ended.
    pub(crate) tasks: Cell<usize>,
    pub(crate) task_ended: Notify,
}

/// Space of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes of the data area.
    pub total: u64,
    /// Bytes of blocks that records name.
    pub live: u64,
    /// Bytes that updates may still take.
    pub free: u64,
    /// Bytes of index memory in use.
    pub index_bytes: u64,
    /// The index budget.
    pub index_bytes_max: u64,
    /// Chunks.
    pub chunks: u64,
}

impl<E: Env> ChunkStore<E> {
    /// What a chunk is at this moment.
    pub fn state(&self, key: &ChunkKey) -> ChunkState {
        self.inner.state.borrow().state(key)
    }

    /// Every durable pending version, in chunk order.
    pub fn pendings(&self) -> Vec<(ChunkKey, ChunkVersion)> {
        self.inner.state.borrow().pendings()
    }

    /// The newest request of a channel, once its version is committed here (R16).
    pub fn outcome(&self, slot: Slot, tag: Tag) -> Option<Outcome> {
        self.inner.state.borrow().dedup().outcome(slot, tag)
    }

    /// The target of a slot.
    pub fn target(&self, slot: Slot) -> Option<TargetRecord> {
        self.inner.state.borrow().targets().get(slot).copied()
    }

    /// Whether a session is revoked.
    pub fn is_fenced(&self, session: SessionId) -> bool {
        self.inner.state.borrow().fences().is_fenced(session)
    }

    /// Every session below this one is revoked (L6).
    pub fn fenced_below(&self) -> SessionId {
        self.inner.state.borrow().fences().below()
    }

    /// Every revoked session.
    pub fn fences(&self) -> Fences {
        self.inner.state.borrow().fences().clone()
    }

    /// The superblock as it was written last.
    pub fn superblock(&self) -> Superblock {
        *self.inner.superblock.borrow()
    }

    /// Why the store has left service, if it has.
    pub fn failure(&self) -> Option<String> {
        self.inner.device.failure()
    }

    /// Everything counted since the store was opened.
    pub fn metrics(&self) -> Metrics {
        self.inner.device.counters.snapshot(self.inner.env.now())
    }

    /// Space in use and left.
    pub fn space(&self) -> Space {
        let state = self.inner.state.borrow();
        let usage = state.allocator().usage();
        Space {
            total: usage.bytes,
            live: usage.live,
            free: usage.free_for_writes,
            index_bytes: state.index().bytes(),
            index_bytes_max: state.index_budget(),
            chunks: state.index().len(),
        }
    }

    /// Makes the durable pending version the committed one, at once for reads; durable with a
    /// later group.
    ///
    /// # Errors
    /// `NotPending` unless exactly this version is pending and durable.
    pub fn commit(&self, key: &ChunkKey, version: ChunkVersion) -> Result<(), UpdateError> {
        self.inner.in_service()?;
        self.inner.state.borrow_mut().commit(key, version)?;
        self.inner.journal_wanted.notify();
        if self.inner.undecided.get() != 0 {
            self.inner.progress.notify();
        }
        Ok(())
    }

    /// Ends the durable pending version; returns when that is durable (R17).
    ///
    /// # Errors
    /// `NotPending` unless exactly this version is pending and durable.
    pub async fn abort(&self, key: &ChunkKey, version: ChunkVersion) -> Result<(), UpdateError> {
        self.start_abort(key, version)?.finish().await
    }

    /// Removes a chunk with all its versions; returns when that is durable. False: it was absent. A
    /// move of the chunk is waited for.
    ///
    /// # Errors
    /// `Busy` while an update of it is not durable yet.
    pub async fn erase(&self, key: &ChunkKey) -> Result<bool, UpdateError> {
        self.inner.in_service()?;
        self.inner.small_room().await?;
        while self.inner.state.borrow().is_moving(key) {
            self.inner.progress.notified().await;
            self.inner.small_room().await?;
        }
        let Some(deciding) = self.start_erase(key)? else { return Ok(false) };
        deciding.finish().await?;
        Ok(true)
    }

    /// Puts a target into a slot, changes it, or empties the slot; returns when that is durable.
    ///
    /// # Errors
    /// When the chain version would go down (R20), the table is full, or the slot is to be emptied
    /// while chunks or updates of its target are left: `drop_target` removes them.
    pub async fn set_target(
        &self,
        slot: Slot,
        record: Option<TargetRecord>,
    ) -> Result<(), DecisionError> {
        self.inner.in_service()?;
        self.inner.small_room().await?;
        if record.is_none() {
            return self.empty_slot(slot).await;
        }
        let token = self.inner.state.borrow_mut().set_target(slot, record)?;
        Ok(self.inner.durable(token).await?)
    }

    /// Empties a slot of which no chunk is left. From the first step on nothing is admitted to it,
    /// so that nothing comes between the steps (E156).
    async fn empty_slot(&self, slot: Slot) -> Result<(), DecisionError> {
        let Some(record) = self.target(slot) else { return Ok(()) };
        self.inner.state.borrow().check_empty(slot)?;
        if record.phase == TargetPhase::Active {
            let closed = Some(TargetRecord { phase: TargetPhase::Dropping, ..record });
            let token = self.inner.state.borrow_mut().set_target(slot, closed)?;
            self.inner.durable(token).await?;
        }
        while !self.inner.state.borrow_mut().forget_slot(slot) {
            engine_runtime::yield_now().await;
        }
        self.inner.small_room().await?;
        let token = self.inner.state.borrow_mut().set_target(slot, None)?;
        Ok(self.inner.durable(token).await?)
    }

    /// Revokes sessions; returns when that is durable (L6).
    ///
    /// # Errors
    /// When the table is full.
    pub async fn fence(&self, fence: Fence) -> Result<(), DecisionError> {
        self.inner.in_service()?;
        self.inner.small_room().await?;
        let token = self.inner.state.borrow_mut().fence(fence)?;
        Ok(self.inner.durable(token).await?)
    }

    /// Forgets the requests of a fenced session (R16).
    ///
    /// # Panics
    /// When the session is not fenced.
    ///
    /// # Errors
    /// `OutOfService`.
    pub async fn drop_session(&self, session: SessionId) -> Result<(), UpdateError> {
        self.inner.in_service()?;
        self.inner.small_room().await?;
        while !self.inner.state.borrow_mut().forget_session(session) {
            engine_runtime::yield_now().await;
        }
        // In the same turn: what is journaled is what is remembered.
        let token = self.inner.state.borrow_mut().drop_session(session);
        self.inner.durable(token).await
    }

    /// Remembers what another replica remembers of a channel (R15).
    ///
    /// # Errors
    /// `NoTarget` unless the slot holds an active target, `TooManySessions`, `OutOfService`.
    ///
    /// # Panics
    /// When tag and outcome do not belong together: the caller has compared them.
    pub async fn put_outcome(
        &self,
        slot: Slot,
        tag: Tag,
        outcome: Outcome,
    ) -> Result<(), UpdateError> {
        self.inner.in_service()?;
        self.inner.small_room().await?;
        let token = self.inner.state.borrow_mut().put_outcome(slot, tag, outcome)?;
        self.inner.durable(token).await
    }

    /// Drops a target: removes its chunks and everything remembered of it, then empties its slot.
    /// It is resumed by calling it again, also after a restart.
    ///
    /// # Errors
    /// As `set_target`; nothing is served of the target from the beginning on.
    pub async fn drop_target(&self, slot: Slot) -> Result<(), DecisionError> {
        let Some(record) = self.target(slot) else { return Ok(()) };
        let record = TargetRecord { phase: TargetPhase::Dropping, ..record };
        self.set_target(slot, Some(record)).await?;
        loop {
            let (keys, busy) = {
                let state = self.inner.state.borrow();
                (state.slot_keys(slot, DROP_ROUND), state.is_slot_busy(slot))
            };
            if keys.is_empty() && !busy {
                return self.set_target(slot, None).await;
            }
            if busy {
                // Updates under way come to their end first; then they are seen here.
                let pause = self.inner.env.now().saturating_add(DROP_PAUSE);
                self.inner.env.sleep_until(pause).await;
            }
            for turn in keys.chunks(DROP_TURN) {
                for key in turn {
                    self.inner.small_room().await?;
                    // Busy ones are met again in the next round.
                    let _ = self.inner.state.borrow_mut().erase(key);
                }
                engine_runtime::yield_now().await;
            }
            self.inner.journal_wanted.notify();
            self.inner.durable_point().await;
            self.inner.in_service()?;
        }
    }

    /// Notes a new timeline of the routing info (R20).
    ///
    /// # Errors
    /// When the store has left service.
    ///
    /// # Panics
    /// When it goes back: the caller has compared it.
    pub async fn set_timeline(&self, timeline: Timeline) -> Result<(), StoreError> {
        self.inner.writable()?;
        let known = self.superblock().timeline;
        assert!(known <= timeline, "R20: {timeline} after {known}");
        let raise = move |superblock: &mut Superblock| {
            superblock.timeline = superblock.timeline.max(timeline);
        };
        self.inner.write_superblock(raise).await?;
        self.inner.write_superblock(|_| {}).await // E157: the other copy
    }

    /// Takes the mark of damage away, once everything was fetched again from other replicas (S8).
    ///
    /// # Errors
    /// When the store has left service.
    pub async fn clear_damage(&self) -> Result<(), StoreError> {
        self.inner.writable()?;
        let clear = |superblock: &mut Superblock| {
            superblock.flags = superblock.flags.without(StoreFlags::DAMAGED);
        };
        self.inner.write_superblock(clear).await?;
        self.inner.write_superblock(|_| {}).await // E157: the other copy
    }

    /// Returns when every commit so far is durable.
    ///
    /// # Errors
    /// When the store has left service.
    pub async fn sync(&self) -> Result<(), UpdateError> {
        self.inner.in_service()?;
        let token = self.inner.state.borrow_mut().queue_marker();
        self.inner.durable(token).await
    }

    /// Whether the state holds together (S-a). For tests and the offline check only: it walks over
    /// every record in one turn, seconds of a large store in which its core does nothing else.
    ///
    /// # Errors
    /// What does not hold.
    pub fn audit(&self) -> Result<engine_store::store::StoreAudit, String> {
        self.inner.state.borrow().audit()
    }

    /// Ends the store in order: waits for what is queued, writes images home, writes a checkpoint
    /// and marks the superblock clean. A second call waits for the first.
    ///
    /// # Errors
    /// When the store has left service, or leaves it now.
    pub async fn close(&self) -> Result<(), StoreError> {
        let inner = self.inner.clone();
        if !inner.closing.replace(true) {
            // In a task: a caller that gives up must not leave the store half closed (E151).
            return self.inner.env.spawn(async move { inner.close().await }).await;
        }
        while !inner.closed.get() {
            inner.task_ended.notified().await;
        }
        inner.healthy()
    }
}

impl<E: Env> Inner<E> {
    /// Refuses work after a failure (E152) or the end.
    pub(crate) fn in_service(&self) -> Result<(), UpdateError> {
        let closing = self.draining.get() || self.stopping.get();
        if self.device.is_failed() || closing || self.config.read_only {
            return Err(UpdateError::OutOfService);
        }
        Ok(())
    }

    /// Refuses to go on with what was admitted before, once nothing becomes durable any more.
    pub(crate) fn in_service_to_end(&self) -> Result<(), UpdateError> {
        if self.device.is_failed() || self.journal_ended.get() {
            return Err(UpdateError::OutOfService);
        }
        Ok(())
    }

    /// Refuses administration after a failure, the end, and on a store that is only read.
    pub(crate) fn writable(&self) -> Result<(), StoreError> {
        self.healthy()?;
        let refused = |_| StoreError::OutOfService("it is closed, or open for reading".to_owned());
        self.in_service().map_err(refused)
    }

    pub(crate) fn healthy(&self) -> Result<(), StoreError> {
        self.device.failure().map_or(Ok(()), |why| Err(StoreError::OutOfService(why)))
    }

    /// Whether its tasks are to end.
    pub(crate) fn is_over(&self) -> bool {
        self.stopping.get() || self.device.is_failed()
    }

    /// Whether the store is a file that claims its space as it grows.
    pub(crate) fn is_sparse(&self) -> bool {
        self.device.geometry().kind == engine_runtime::FileKind::Regular
    }

    /// Waits until everything queued now is durable.
    pub(crate) async fn durable_point(&self) {
        if self.is_over() {
            return;
        }
        let token = self.state.borrow_mut().queue_marker();
        // An error says that the store has failed, which callers look at themselves.
        let _ = self.durable(token).await;
    }

    async fn close(self: &Rc<Self>) -> Result<(), StoreError> {
        let drained = match self.config.read_only {
            true => Ok(()),
            false => self.drain().await,
        };
        self.stopping.set(true);
        self.device.failed.notify();
        self.notify_all();
        while self.tasks.get() != 0 {
            self.task_ended.notified().await;
        }
        self.closed.set(true);
        self.task_ended.notify();
        drained?;
        self.healthy()
    }

    /// Brings everything home, writes a checkpoint and marks the store clean.
    async fn drain(self: &Rc<Self>) -> Result<(), StoreError> {
        self.draining.set(true);
        loop {
            self.healthy()?;
            while self.state.borrow().is_anything_under_way() && !self.is_over() {
                self.env.sleep_until(self.env.now().saturating_add(DROP_PAUSE)).await;
            }
            self.durable_point().await;
            self.healthy()?; // in the turn in which the waiting below begins
            if self.state.borrow().images_not_home() == 0 {
                break;
            }
            self.apply_wanted.notify();
            self.flush_wanted.set(true);
            self.journal_wanted.notify();
            self.progress.notified().await;
        }
        crate::checkpoint::checkpoint(self, true).await
    }

    /// Waits until the decision of `token`, made in this turn, is durable.
    pub(crate) async fn durable(&self, token: Token) -> Result<(), UpdateError> {
        let wait = self.waiters.wait(token);
        self.journal_wanted.notify();
        if self.device.is_failed() {
            return Err(UpdateError::OutOfService);
        }
        if self.journal_ended.get() {
            return Err(UpdateError::OutOfService);
        }
        wait.await.map_err(|_| UpdateError::OutOfService)
    }

    /// Waits for room in the next group for a decision without data.
    pub(crate) async fn small_room(&self) -> Result<(), UpdateError> {
        while !self.state.borrow().small_room() {
            self.in_service()?;
            self.progress.notified().await;
        }
        self.in_service()
    }

    pub(crate) fn notify_all(&self) {
        self.journal_wanted.notify();
        self.apply_wanted.notify();
        self.keeper_wanted.notify();
        self.space_wanted.notify();
        self.snapshot_taken.notify();
        self.progress.notify();
    }

    /// Waits until the store fails or stops, and says meanwhile when the device hangs; after a
    /// failure nobody is left waiting.
    pub(crate) async fn watch(self: Rc<Self>) {
        loop {
            let look = self.env.now().saturating_add(self.config.slow_io.max(WATCH_PAUSE_MIN));
            let over = core::pin::pin!(self.device.failed.until(|| self.is_over()));
            if engine_runtime::until(&self.env, look, over).await.is_ok() {
                break;
            }
            self.device.warn_of_hanging();
        }
        if self.device.is_failed() {
            self.abandon();
        }
    }

    /// The store has left service: nobody waits any more.
    pub(crate) fn abandon(&self) {
        self.waiters.lost();
        self.update_memory.close();
        self.notify_all();
    }

    /// Byte of the device at which a block of the data area starts.
    pub(crate) fn block_start(&self, block: engine_store::BlockAddress) -> u64 {
        self.layout.block_offset(block)
    }

    /// Runs a task of the store.
    pub(crate) fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        self.tasks.set(self.tasks.get() + 1);
        let inner = self.clone();
        drop(self.env.spawn(async move {
            task.await;
            inner.tasks.set(inner.tasks.get() - 1);
            inner.task_ended.notify();
        }));
    }

    /// Writes the superblock after `change`, in turn (E153), and flushes it.
    pub(crate) async fn write_superblock(
        self: &Rc<Self>,
        change: impl FnOnce(&mut Superblock) + 'static,
    ) -> Result<(), StoreError> {
        // In a task: a caller that gives up must not leave a turn or a write behind (E151).
        let inner = self.clone();
        self.env.spawn(async move { inner.write_superblock_in_turn(change).await }).await
    }

    async fn write_superblock_in_turn(
        &self,
        change: impl FnOnce(&mut Superblock),
    ) -> Result<(), StoreError> {
        if self.superblock_turn.take(1).await.is_err() {
            return self.healthy();
        }
        let result = self.write_superblock_now(change).await;
        self.superblock_turn.give(1);
        result
    }

    async fn write_superblock_now(
        &self,
        change: impl FnOnce(&mut Superblock),
    ) -> Result<(), StoreError> {
        let next = {
            let mut next = *self.superblock.borrow();
            change(&mut next);
            next.sequence += 1;
            next
        };
        let memory = &self.superblock_memory;
        let page = encode_superblock(memory.take(self.env.pool(), SUPERBLOCK_BYTES).await?, &next);
        memory.lent(&page);
        self.device.write(Io::Checkpoint, next.offset(), page).await?;
        self.device.flush().await?;
        *self.superblock.borrow_mut() = next;
        Ok(())
    }
}

/// Writes one copy of the superblock and flushes it. Copies alternate by sequence, so that the
/// other one stays whole.
pub(crate) async fn write_superblock<E: Env>(
    env: &E,
    device: &Device<E>,
    superblock: &Superblock,
) -> Result<(), StoreError> {
    let page = encode_superblock(env.pool().alloc_wait(SUPERBLOCK_BYTES).await?, superblock);
    device.write(Io::Checkpoint, superblock.offset(), page).await?;
    device.flush().await?;
    Ok(())
}

fn encode_superblock<M: Memory>(mut page: Buf<M>, superblock: &Superblock) -> Bytes<M> {
    page.set_len(SUPERBLOCK_BYTES);
    let place: &mut [u8; SUPERBLOCK_BYTES] =
        (&mut page[..]).try_into().expect("it has this length");
    superblock.encode(place);
    page.freeze()
}
