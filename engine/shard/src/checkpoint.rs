//! The checkpoint task: dumps the state into the idle half, then lets the journal's tail move.

use std::rc::Rc;

use engine_runtime::{Env, yield_now};
use engine_store::ChunkKey;
use engine_store::format::{self, CheckpointRef, Item, PageWriter, Pushed, StoreFlags};
use engine_store::planted;
use engine_store::store::Snapshot;
use engine_types::reached;

use crate::error::StoreError;
use crate::metrics::{Io, add};
use crate::store::Inner;

/// Records encoded between two yields: 30 ns each, well below a millisecond.
const DUMP_COUNT: usize = 4096;
/// Dumps that are begun again because the index grew meanwhile; then growth has to wait.
const ATTEMPTS_MAX: usize = 3;

/// Runs until the store stops or fails.
pub(crate) async fn run<E: Env>(inner: Rc<Inner<E>>) {
    loop {
        inner.keeper_wanted.until(|| is_due(&inner)).await;
        if inner.is_over() {
            return;
        }
        match make_room(&inner).await {
            Ok(()) => {}
            Err(StoreError::Memory(why)) => {
                tracing::warn!(%why, "a checkpoint waits for memory");
                inner.env.sleep_until(inner.env.now().saturating_add(MEMORY_PAUSE)).await;
            }
            Err(_) if inner.is_over() => return, // the end of the store came first
            Err(why) => {
                inner.device.fail(format!("checkpoint: {why}"));
                return;
            }
        }
        inner.ring_pressed.set(false);
        inner.progress.notify();
    }
}

/// A superblock with another tail when that helps who waits for room, else a checkpoint.
async fn make_room<E: Env>(inner: &Rc<Inner<E>>) -> Result<(), StoreError> {
    if inner.ring_pressed.get() && move_tail(inner).await? {
        return Ok(());
    }
    checkpoint(inner, false).await
}

/// Moves the ring's tail up to the start of the durable checkpoint, as far as images have been
/// released since (E184). Whether it moved.
pub(crate) async fn move_tail<E: Env>(inner: &Rc<Inner<E>>) -> Result<bool, StoreError> {
    let owner = inner.clone();
    let task = async move {
        // In the turn of checkpoints: none may become durable meanwhile.
        if owner.checkpoint_turn.take(1).await.is_err() {
            return owner.healthy().map(|()| false);
        }
        let found = owner.state.borrow().tail_alone();
        let result = match found {
            Some((_, tail)) => {
                owner.write_superblock(move |it| it.tail = tail).await.map(|()| true)
            }
            None => Ok(false),
        };
        if let (Some((start, tail)), Ok(true)) = (found, &result) {
            reached!("E184: the tail moved without a checkpoint");
            owner.state.borrow_mut().superblock_durable(start, tail);
            owner.journal_wanted.notify();
        }
        owner.checkpoint_turn.give(1);
        result
    };
    inner.env.spawn(task).await
}

fn is_due<E: Env>(inner: &Inner<E>) -> bool {
    let state = inner.state.borrow();
    let pressed = inner.ring_pressed.get() && state.can_tail_move();
    inner.is_over() || state.checkpoint_due() || pressed
}

/// Pause before a checkpoint that found no memory is tried again.
const MEMORY_PAUSE: core::time::Duration = core::time::Duration::from_millis(100);

/// Writes one checkpoint and the superblock that names it; one at a time.
pub(crate) async fn checkpoint<E: Env>(
    inner: &Rc<Inner<E>>,
    closing: bool,
) -> Result<(), StoreError> {
    let owner = inner.clone();
    let task = async move {
        if owner.checkpoint_turn.take(1).await.is_err() {
            return owner.healthy();
        }
        let result = write(&owner, closing).await;
        owner.checkpoint_turn.give(1);
        result
    };
    inner.env.spawn(task).await
}

async fn write<E: Env>(inner: &Rc<Inner<E>>, closing: bool) -> Result<(), StoreError> {
    for _ in 0..ATTEMPTS_MAX {
        let snapshot = take_snapshot(inner).await?;
        let start = snapshot.start;
        let Some(reference) = dump(inner, snapshot).await? else {
            reached!("E109: a checkpoint outgrew its half and is begun again");
            inner.state.borrow_mut().hold_growth(true);
            continue;
        };
        // The dump shows decisions that may not be durable yet: they are before it is named.
        let flushes = !planted!(CheckpointNotFlushed);
        if flushes && inner.state.borrow().has_group_room() && !inner.journal_ended.get() {
            let token = inner.state.borrow_mut().queue_marker();
            inner.durable(token).await.map_err(|_| {
                StoreError::OutOfService(inner.device.failure().unwrap_or_default())
            })?;
        }
        if flushes {
            inner.device.flush().await?;
        }
        // Only now: a tail taken earlier could be behind images that were released since.
        let tail = inner.state.borrow().tail_candidate(start);
        inner
            .write_superblock(move |superblock| {
                superblock.checkpoint = Some(reference);
                superblock.tail = tail;
                if closing {
                    superblock.flags = superblock.flags.with(StoreFlags::CLEAN);
                }
            })
            .await?;
        inner.state.borrow_mut().superblock_durable(start, tail);
        inner.state.borrow_mut().hold_growth(false);
        inner.journal_wanted.notify();
        add(&inner.device.counters.checkpoints, 1);
        return Ok(());
    }
    inner.device.fail("the checkpoint does not fit its half".to_owned());
    inner.healthy()
}

/// Asks the journal task for a moment between two groups.
async fn take_snapshot<E: Env>(inner: &Rc<Inner<E>>) -> Result<Snapshot, StoreError> {
    inner.snapshot_wanted.set(true);
    inner.journal_wanted.notify();
    loop {
        if let Some(snapshot) = inner.snapshot.take() {
            return Ok(snapshot);
        }
        inner.healthy()?;
        if inner.journal_ended.get() {
            return Err(StoreError::OutOfService("it is closed".to_owned()));
        }
        inner.snapshot_taken.notified().await;
    }
}

/// Writes the pages; nothing when they do not fit.
async fn dump<E: Env>(
    inner: &Rc<Inner<E>>,
    snapshot: Snapshot,
) -> Result<Option<CheckpointRef>, StoreError> {
    let (store, generation, half) = {
        let superblock = inner.superblock.borrow();
        let last = superblock.checkpoint;
        let generation = last.map_or(1, |last| last.generation + 1);
        (superblock.store, generation, last.map_or(0, |last| 1 - last.half))
    };
    let region = inner.layout.halves[usize::from(half)];
    let mut dump = Dump {
        inner: inner.clone(),
        writer: PageWriter::new(store, generation, half, region.len, snapshot.start)
            .with_requests_max(inner.layout.requests_max()),
        region: region.offset,
        pushed: 0,
    };
    for (slot, record) in snapshot.targets.into_iter().filter(|_| !planted!(TargetsNotDumped)) {
        if !dump.push(&Item::Target { slot, record }).await? {
            return Ok(None);
        }
    }
    for fence in snapshot.fences.into_iter().filter(|_| !planted!(FencesNotDumped)) {
        if !dump.push(&Item::Fence(fence)).await? {
            return Ok(None);
        }
    }
    for (put, lsn) in snapshot.pendings {
        if !dump.push(&Item::Pending { lsn, put }).await? {
            return Ok(None);
        }
    }
    let requests = planted!(RequestsNotDumped) || dump.requests().await?;
    if !requests || !dump.chunks().await? {
        return Ok(None);
    }
    dump.finish().await.map(Some)
}

struct Dump<E: Env> {
    inner: Rc<Inner<E>>,
    writer: PageWriter,
    region: u64,
    /// Items so far, chunks not counted.
    pushed: usize,
}

impl<E: Env> Dump<E> {
    async fn push(&mut self, item: &Item<'_>) -> Result<bool, StoreError> {
        self.pushed += 1;
        if self.pushed.is_multiple_of(DUMP_COUNT) {
            yield_now().await;
        }
        loop {
            match self.writer.push(item) {
                Pushed::Done => return Ok(true),
                Pushed::PageFull => self.write_page().await?,
                Pushed::HalfFull => return Ok(false),
            }
        }
    }

    /// Requests of channels, in turns: each as it is when its turn comes.
    async fn requests(&mut self) -> Result<bool, StoreError> {
        let mut after = None;
        loop {
            let turn: Vec<_> = {
                let state = self.inner.state.borrow();
                state.dedup().after(after).take(DUMP_COUNT).collect()
            };
            let Some((last, _)) = turn.last().copied() else { return Ok(true) };
            for (key, outcome) in turn {
                let (slot, tag) = (key.slot, key.tag(outcome.seq));
                if !self.push(&Item::Dedup { slot, tag, outcome }).await? {
                    return Ok(false);
                }
            }
            after = Some(last);
            yield_now().await;
        }
    }

    /// Committed records behind a cursor, in turns.
    async fn chunks(&mut self) -> Result<bool, StoreError> {
        let mut after: Option<ChunkKey> = None;
        loop {
            match self.turn(&mut after) {
                (Pushed::HalfFull, _) => return Ok(false),
                (Pushed::PageFull, _) => self.write_page().await?,
                (Pushed::Done, true) => return Ok(true),
                (Pushed::Done, false) => yield_now().await,
            }
        }
    }

    fn turn(&mut self, after: &mut Option<ChunkKey>) -> (Pushed, bool) {
        let state = self.inner.state.borrow();
        for (count, (key, record)) in state.index().after(*after).enumerate() {
            if count == DUMP_COUNT {
                return (Pushed::Done, false);
            }
            match self.writer.push_chunk(&key, record) {
                Pushed::Done => *after = Some(key),
                full => return (full, false),
            }
        }
        (Pushed::Done, true)
    }

    async fn write_page(&mut self) -> Result<(), StoreError> {
        let memory = &self.inner.page_memory;
        let mut buf = memory.take(self.inner.env.pool(), format::PAGE_BYTES).await?;
        let sealed = self.writer.seal();
        buf.extend_from_slice(sealed.bytes);
        let (position, bytes) = (self.region + sealed.offset, buf.freeze());
        memory.lent(&bytes);
        self.inner.device.write(Io::Checkpoint, position, bytes).await?;
        Ok(())
    }

    async fn finish(mut self) -> Result<CheckpointRef, StoreError> {
        let memory = &self.inner.page_memory;
        let mut buf = memory.take(self.inner.env.pool(), format::PAGE_BYTES).await?;
        let (sealed, reference, _) = self.writer.finish();
        buf.extend_from_slice(sealed.bytes);
        let (position, bytes) = (self.region + sealed.offset, buf.freeze());
        memory.lent(&bytes);
        self.inner.device.write(Io::Checkpoint, position, bytes).await?;
        Ok(reference)
    }
}
