//! The space task: claims segments before they are needed, discards empty ones, and empties the
//! emptiest one when a class starves.

use std::io::ErrorKind;
use std::rc::Rc;

use engine_runtime::{Env, until, yield_now};
use engine_store::overlay::View;
use engine_store::planted;
use engine_store::read::{Source, pieces};
use engine_store::store::{MoveTicket, RELEASE_COUNT_MAX};
use engine_store::{ChunkKey, SEGMENT_BYTES, SegmentId};
use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::reached;

use crate::compaction::Blocker;
use crate::fetch::{Fetch, FetchError};
use crate::metrics::Io;
use crate::store::Inner;

/// How often a full host is asked again for space.
const RETRY_CLAIMS: core::time::Duration = core::time::Duration::from_secs(5);
/// How long a chunk in the way of compaction may stay in use: a chain commits within some flushes,
/// and a version that stays pending for longer may do so for hours (S9).
const BUSY_PATIENCE: core::time::Duration = core::time::Duration::from_millis(100);
/// Pause before a segment is tried again whose content could not be read or placed.
const RETRY_MOVE: core::time::Duration = core::time::Duration::from_secs(1);
/// Pause while the plans end that still use an emptied segment: the time of some device reads.
const VACATE_PAUSE: core::time::Duration = core::time::Duration::from_millis(1);
/// Records looked at between two yields while the owners of blocks are searched for.
const SCAN_COUNT: usize = 4096;

/// Runs until the store stops or fails.
pub(crate) async fn run<E: Env>(inner: Rc<Inner<E>>) {
    loop {
        claim(&inner).await;
        discard(&inner).await;
        if inner.release_wanted.take() {
            release(&inner).await;
            inner.progress.notify();
        }
        if let Some(round) = inner.compaction.begin() {
            compact(&inner, round).await;
            inner.compaction.end(round);
            inner.progress.notify();
            continue;
        }
        let late = inner.env.now().saturating_add(RETRY_CLAIMS);
        let wanted = core::pin::pin!(inner.space_wanted.until(|| has_work(&inner)));
        if until(&inner.env, late, wanted).await.is_err() {
            inner.state.borrow_mut().allocator_mut().retry_claims();
        }
        if inner.is_over() {
            return;
        }
    }
}

fn has_work<E: Env>(inner: &Inner<E>) -> bool {
    inner.is_over()
        || inner.compaction.is_wanted()
        || inner.release_wanted.get()
        || inner.state.borrow().allocator().wants_work()
}

/// Gives segments of a sparse file their space (V9).
pub(crate) async fn claim<E: Env>(inner: &Rc<Inner<E>>) {
    while !inner.is_over() {
        let Some(segment) = inner.state.borrow_mut().allocator_mut().next_claim() else { return };
        let position = inner.layout.segment_offset(segment);
        let result = inner.device.preallocate(position, u64::from(SEGMENT_BYTES)).await;
        match result {
            Ok(()) => inner.state.borrow_mut().allocator_mut().claimed(segment),
            Err(why) => {
                if why.source.kind() != ErrorKind::StorageFull {
                    tracing::warn!(%why, %segment, "claiming a segment failed");
                }
                inner.state.borrow_mut().allocator_mut().claim_failed(segment);
            }
        }
        inner.progress.notify();
    }
}

/// Gives the space of empty segments back.
async fn discard<E: Env>(inner: &Rc<Inner<E>>) {
    while !inner.is_over() {
        let Some(segment) = inner.state.borrow_mut().allocator_mut().next_discard() else {
            return;
        };
        if !inner.config.discard {
            inner.state.borrow_mut().allocator_mut().discarded(segment);
            inner.progress.notify();
            continue;
        }
        let position = inner.layout.segment_offset(segment);
        let result = inner.device.discard(position, u64::from(SEGMENT_BYTES)).await;
        if let Err(why) = &result {
            // A device that cannot discard keeps the old bytes; they are nobody's.
            tracing::debug!(%why, %segment, "discard failed");
        }
        if result.is_ok() && inner.is_sparse() {
            inner.state.borrow_mut().allocator_mut().unclaimed(segment);
        } else {
            inner.state.borrow_mut().allocator_mut().discarded(segment);
        }
        claim(inner).await;
        inner.progress.notify();
    }
}

/// Frees the blocks whose time has come, in turns.
async fn release<E: Env>(inner: &Rc<Inner<E>>) {
    while inner.state.borrow_mut().release_blocks() == RELEASE_COUNT_MAX {
        reached!("E112: more blocks became free than one turn frees");
        yield_now().await;
    }
}

/// Empties one segment, if any can be emptied.
async fn compact<E: Env>(inner: &Rc<Inner<E>>, round: u64) {
    release(inner).await;
    let is_empty = inner.compaction.look_again(&inner.state.borrow(), inner.env.now());
    if is_empty || inner.compaction.is_vacating() {
        if !is_empty {
            // A plan still uses its last blocks.
            inner.env.sleep_until(inner.env.now().saturating_add(VACATE_PAUSE)).await;
        }
        return; // who waits asks again, and is not told "full"
    }
    while !inner.is_over() {
        let candidate = inner.compaction.candidate(&inner.state.borrow());
        let Some(segment) = candidate else {
            inner.compaction.exhaust(round);
            break;
        };
        reached!("DESIGN 5: a segment is emptied for a starving class");
        inner.state.borrow_mut().allocator_mut().freeze(segment);
        let blocker = empty(inner, segment).await;
        if ended(inner, segment, blocker).await {
            break;
        }
        reached!("E155: a segment that could not be emptied was passed over");
    }
    discard(inner).await;
}

/// Whether the frozen segment is empty, or will be; otherwise it gives blocks again.
async fn ended<E: Env>(inner: &Rc<Inner<E>>, segment: SegmentId, blocker: Option<Blocker>) -> bool {
    inner.flush_wanted.set(true);
    inner.journal_wanted.notify();
    inner.durable_point().await;
    release(inner).await;
    let mut state = inner.state.borrow_mut();
    if state.allocator().is_vacating(segment) {
        reached!("E112: an emptied segment waits for plans that still use it");
        inner.compaction.vacate(segment);
        return true;
    }
    if !state.allocator_mut().thaw(segment) {
        return true;
    }
    // Without a reason a plan published a block of it after its owners had been looked for.
    let again = inner.env.now().saturating_add(RETRY_MOVE);
    inner.compaction.pass_over(segment, blocker.unwrap_or(Blocker::Failed(again)));
    false
}

/// Moves everything out of a frozen segment. What is in use is waited for, for a while; what cannot
/// be moved at all ends it at once, because the segment would stay.
async fn empty<E: Env>(inner: &Rc<Inner<E>>, segment: SegmentId) -> Option<Blocker> {
    let mut late = match move_owners(inner, segment).await {
        Ok(late) => late,
        Err(blocker) => return Some(blocker),
    };
    let end = inner.env.now().saturating_add(BUSY_PATIENCE);
    loop {
        let changed = inner.progress.notified();
        late.extend(inner.state.borrow().pending_owners(segment));
        late.sort_unstable();
        late.dedup();
        let mut busy = Vec::new();
        let mut first = None;
        for key in core::mem::take(&mut late) {
            match move_chunk(inner, &key, |block| block.segment() == segment).await {
                Moved::Done => {}
                Moved::Blocked(Blocker::Busy(key, version)) => {
                    busy.push(key);
                    first.get_or_insert(Blocker::Busy(key, version));
                }
                Moved::Blocked(why) => return Some(why),
            }
        }
        late = busy;
        let is_over = inner.is_over() || end <= inner.env.now();
        if first.is_none() || is_over {
            return first;
        }
        reached!("E155: compaction waits for an update of a chunk in its way");
        // The end of the time is seen above.
        let _ = until(&inner.env, end, changed).await;
    }
}

/// Moves every committed chunk with a block in `segment`; returns those that are in use.
async fn move_owners<E: Env>(
    inner: &Rc<Inner<E>>,
    segment: SegmentId,
) -> Result<Vec<ChunkKey>, Blocker> {
    let mut after: Option<ChunkKey> = None;
    let mut late = Vec::new();
    loop {
        let mut owners = Vec::new();
        let mut seen = 0;
        {
            let state = inner.state.borrow();
            for (key, record) in state.index().after(after).take(SCAN_COUNT) {
                seen += 1;
                after = Some(key);
                if record.blocks().any(|(_, block)| block.segment() == segment) {
                    owners.push(key);
                }
            }
        }
        for key in owners {
            if inner.is_over() {
                return Ok(late);
            }
            match move_chunk(inner, &key, |block| block.segment() == segment).await {
                Moved::Done => {}
                Moved::Blocked(Blocker::Busy(key, _)) => late.push(key),
                Moved::Blocked(why) => return Err(why),
            }
        }
        if seen < SCAN_COUNT {
            return Ok(late);
        }
        yield_now().await;
    }
}

/// What came of moving a chunk.
pub(crate) enum Moved {
    /// It has no such block any more, durably so with the next group.
    Done,
    /// It stays.
    Blocked(Blocker),
}

/// Copies places of a chunk to new blocks and switches, durably with the next group; leaves it
/// alone when it is busy.
pub(crate) async fn move_chunk<E: Env>(
    inner: &Rc<Inner<E>>,
    key: &ChunkKey,
    wanted: impl Fn(engine_store::BlockAddress) -> bool,
) -> Moved {
    let again = Blocker::Failed(inner.env.now().saturating_add(RETRY_MOVE));
    // The entries of many chunks share groups; they are durable when the caller waits.
    if inner.small_room().await.is_err() {
        return Moved::Blocked(again);
    }
    let begun = {
        let mut state = inner.state.borrow_mut();
        if let Some(version) = state.occupied_by(key) {
            return Moved::Blocked(Blocker::Busy(*key, version));
        }
        state.begin_move(key, |_, block| wanted(block))
    };
    let ticket = match begun {
        Ok(Some(ticket)) => ticket,
        Ok(None) => return Moved::Done,
        Err(_) => return Moved::Blocked(again),
    };
    let version = ticket.record.head.version;
    let copied = copy(inner, &ticket).await;
    {
        let mut state = inner.state.borrow_mut();
        if copied.is_ok() {
            state.finish_move(ticket);
        } else {
            state.cancel_move(ticket);
        }
    }
    inner.journal_wanted.notify();
    inner.progress.notify();
    match copied {
        Ok(()) => Moved::Done,
        Err(NotCopied::Damaged) => Moved::Blocked(Blocker::Damaged(*key, version)),
        Err(NotCopied::Failed) => Moved::Blocked(again),
    }
}

/// Why the content of a block was not copied.
enum NotCopied {
    /// It is not what was written.
    Damaged,
    /// The device or the pool did not give it, or did not take it.
    Failed,
}

/// Writes the verified content of each place to its new block.
async fn copy<E: Env>(inner: &Rc<Inner<E>>, ticket: &MoveTicket) -> Result<(), NotCopied> {
    let record = ticket.record.as_ref();
    for &(place, block) in &ticket.places {
        let start = u32::try_from(place).expect("at most 16 places") * BLOCK_BYTES_MAX;
        let end = start.saturating_add(BLOCK_BYTES_MAX).min(record.head.data_end);
        let mut planned = Vec::new();
        pieces(record, start..end, true, &mut planned);
        let fetch = Fetch::start(inner, Io::MoveRead, ticket.key, record, View::Committed, planned);
        let fetched = fetch.finish().await.map_err(|why| match why {
            FetchError::Corrupt { .. } => NotCopied::Damaged,
            FetchError::Io(_) | FetchError::Memory(_) => NotCopied::Failed,
        })?;
        for part in fetched {
            let (Source::Home(home), Some(bytes)) = (&part.piece.source, part.bytes) else {
                continue;
            };
            let position = inner.block_start(block) + u64::from(home.at());
            let write = inner.device.start_write(Io::Move, position, bytes);
            if !planted!(MovedBeforeCopied) {
                inner.device.finish(write).await.map_err(|_| NotCopied::Failed)?;
            }
        }
    }
    Ok(())
}
