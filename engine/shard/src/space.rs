//! The space task: claims segments before they are needed, discards empty ones, and empties the
//! emptiest one when a class starves.

use std::io::ErrorKind;
use std::rc::Rc;

use engine_runtime::{Env, until, yield_now};
use engine_store::overlay::View;
use engine_store::planted;
use engine_store::read::{Source, pieces};
use engine_store::store::MoveTicket;
use engine_store::{ChunkKey, SEGMENT_BYTES, SegmentId};
use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::reached;

use crate::fetch::Fetch;
use crate::metrics::Io;
use crate::store::Inner;

/// How often a full host is asked again for space.
const RETRY_CLAIMS: core::time::Duration = core::time::Duration::from_secs(5);
/// Records looked at between two yields while the owners of blocks are searched for.
const SCAN_COUNT: usize = 4096;

/// Runs until the store stops or fails.
pub(crate) async fn run<E: Env>(inner: Rc<Inner<E>>) {
    loop {
        claim(&inner).await;
        discard(&inner).await;
        if inner.compaction_wanted.take() {
            compact(&inner).await;
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
        || inner.compaction_wanted.get()
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

/// Empties one segment.
async fn compact<E: Env>(inner: &Rc<Inner<E>>) {
    let Some(segment) = freeze_emptiest(inner) else {
        // Nothing to move: who waits asks again, and is told that the store is full.
        inner.starved.set(inner.starved.get() + 1);
        inner.progress.notify();
        return;
    };
    reached!("DESIGN 5: a segment is emptied for a starving class");
    if !move_owners(inner, segment).await {
        // Asking again would find the same segment.
        inner.starved.set(inner.starved.get() + 1);
    }
    // What could not be moved keeps the segment; otherwise it is empty once the moves are durable.
    inner.flush_wanted.set(true);
    inner.journal_wanted.notify();
    inner.durable_point().await;
    inner.state.borrow_mut().release_blocks();
    inner.state.borrow_mut().allocator_mut().thaw(segment);
    discard(inner).await;
    inner.progress.notify();
}

fn freeze_emptiest<E: Env>(inner: &Inner<E>) -> Option<SegmentId> {
    let mut state = inner.state.borrow_mut();
    state.release_blocks();
    let segment = state.allocator().compaction_candidate()?.segment;
    state.allocator_mut().freeze(segment);
    Some(segment)
}

/// Moves every committed chunk with a block in `segment`; whether any could be moved.
async fn move_owners<E: Env>(inner: &Rc<Inner<E>>, segment: SegmentId) -> bool {
    let mut after: Option<ChunkKey> = None;
    let mut moved = false;
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
                return moved;
            }
            moved |= move_chunk(inner, &key, |block| block.segment() == segment).await;
        }
        if seen < SCAN_COUNT {
            return moved;
        }
        yield_now().await;
    }
}

/// Copies places of a chunk to new blocks and switches; leaves it alone when it is busy.
pub(crate) async fn move_chunk<E: Env>(
    inner: &Rc<Inner<E>>,
    key: &ChunkKey,
    wanted: impl Fn(engine_store::BlockAddress) -> bool,
) -> bool {
    let begun = inner.state.borrow_mut().begin_move(key, |_, block| wanted(block));
    let Ok(Some(ticket)) = begun else { return false };
    let copied = copy(inner, &ticket).await;
    let token = {
        let mut state = inner.state.borrow_mut();
        if copied.is_none() {
            state.cancel_move(ticket);
            None
        } else {
            Some(state.finish_move(ticket))
        }
    };
    inner.progress.notify();
    let Some(token) = token else { return false };
    inner.durable(token).await.is_ok()
}

/// Writes the verified content of each place to its new block.
async fn copy<E: Env>(inner: &Rc<Inner<E>>, ticket: &MoveTicket) -> Option<()> {
    let record = ticket.record.as_ref();
    for &(place, block) in &ticket.places {
        let start = u32::try_from(place).expect("at most 16 places") * BLOCK_BYTES_MAX;
        let end = start.saturating_add(BLOCK_BYTES_MAX).min(record.head.data_end);
        let mut planned = Vec::new();
        pieces(record, start..end, true, &mut planned);
        let fetch = Fetch::start(inner, Io::Move, ticket.key, record, View::Committed, planned);
        let fetched = fetch.finish().await.ok()?;
        for part in fetched {
            let (Source::Home(home), Some(bytes)) = (&part.piece.source, part.bytes) else {
                continue;
            };
            let position = inner.block_start(block) + u64::from(home.at());
            let write = inner.device.start_write(Io::Move, position, bytes);
            if !planted!(MovedBeforeCopied) {
                inner.device.finish(write).await.ok()?;
            }
        }
    }
    Some(())
}
