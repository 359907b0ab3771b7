//! The journal task: the only writer of groups (E150).

use std::rc::Rc;

use engine_runtime::{Buf, Bytes, Env, until};
use engine_store::Entry;
use engine_store::format::group::fill;
use engine_store::format::{self, GroupIdentity};
use engine_store::planted;
use engine_store::store::{Group, RELEASE_COUNT_MAX};
use engine_types::reached;

use crate::metrics::{Io, add};
use crate::store::Inner;

/// PUTs that one turn logs again.
const RELOG_COUNT_MAX: usize = 64;

/// Runs until the store stops or fails.
pub(crate) async fn run<E: Env>(inner: Rc<Inner<E>>) {
    loop {
        wait_for_work(&inner).await;
        if inner.device.is_failed() {
            break;
        }
        if inner.stopping.get() && !inner.state.borrow().wants_group() {
            break;
        }
        if inner.snapshot_wanted.take() {
            // Between two groups, as a checkpoint's start must be.
            *inner.snapshot.borrow_mut() = Some(inner.state.borrow().snapshot());
            inner.snapshot_taken.notify();
        }
        if inner.state.borrow_mut().relog(RELOG_COUNT_MAX) == RELOG_COUNT_MAX {
            inner.flush_wanted.set(true); // there are more: another turn
        }
        let group = inner.state.borrow_mut().form_group();
        let done = match group {
            Some(group) => write_group(&inner, group).await,
            None if inner.stopping.get() => None,
            None => flush_alone(&inner).await,
        };
        if done.is_none() {
            break;
        }
    }
    inner.journal_ended.set(true);
    inner.abandon();
}

/// Waits until a group is worth writing: something urgent, a commit that has waited long enough, or
/// a wish for a flush.
async fn wait_for_work<E: Env>(inner: &Inner<E>) {
    let ready = || {
        let state = inner.state.borrow();
        inner.device.is_failed()
            || state.is_relog_due()
            || inner.stopping.get()
            || inner.flush_wanted.get()
            || inner.snapshot_wanted.get()
            || state.is_urgent() && state.has_group_room()
    };
    let any = || {
        let state = inner.state.borrow();
        state.wants_group() && (state.has_group_room() || press_ring(inner))
    };
    inner.journal_wanted.until(|| ready() || any()).await;
    if ready() {
        return;
    }
    let late = inner.env.now().saturating_add(inner.config.commit_delay);
    let urgent = core::pin::pin!(inner.journal_wanted.until(ready));
    if until(&inner.env, late, urgent).await.is_err() {
        reached!("S10: commits were written without a PUT to ride with");
    }
}

/// The ring is full: images have to go home, and its tail has to move.
fn press_ring<E: Env>(inner: &Inner<E>) -> bool {
    if !inner.ring_pressed.replace(true) {
        inner.keeper_wanted.notify();
        inner.apply_wanted.notify();
    }
    false
}

/// A flush without a group: it releases images that were written home.
async fn flush_alone<E: Env>(inner: &Rc<Inner<E>>) -> Option<()> {
    if !inner.flush_wanted.take() {
        return Some(());
    }
    let token = inner.state.borrow_mut().flush_started();
    inner.device.flush().await.ok()?;
    inner.state.borrow_mut().flush_done(token);
    after_flush(inner);
    Some(())
}

fn after_flush<E: Env>(inner: &Rc<Inner<E>>) {
    inner.progress.notify();
    inner.apply_wanted.notify();
    if inner.state.borrow().allocator().wants_work() {
        inner.space_wanted.notify();
    }
    if inner.state.borrow().checkpoint_due() || inner.ring_pressed.get() {
        inner.keeper_wanted.notify();
    }
}

async fn write_group<E: Env>(inner: &Rc<Inner<E>>, group: Group<Bytes<E::Memory>>) -> Option<()> {
    let bytes = encode(inner, &group).await?;
    let counters = &inner.device.counters;
    let puts = group.entries.iter().filter(|entry| matches!(entry, Entry::Put(_))).count();
    add(&counters.groups, 1);
    add(&counters.puts, puts as u64);
    add(&counters.images, group.images.len() as u64);
    let position = inner.layout.ring.offset + group.place.offset;
    let write = inner.device.start_write(Io::Journal, position, bytes);
    let data = take_data_writes(inner, &group);
    let mut whole = true;
    for writes in data {
        for write in writes.writes {
            if planted!(DataNotAwaited) {
                continue;
            }
            whole &= inner.device.finish(write).await.is_ok();
        }
        inner.state.borrow().give_pin(writes.pin);
    }
    whole &= inner.device.finish(write).await.is_ok();
    if !whole {
        return None;
    }
    inner.flush_wanted.set(false);
    let token = inner.state.borrow_mut().flush_started();
    if !planted!(ToldBeforeFlush) {
        inner.device.flush().await.ok()?;
    }
    {
        let mut state = inner.state.borrow_mut();
        state.flush_done(token);
        if state.group_durable(group.lsn).freed == RELEASE_COUNT_MAX {
            inner.release_wanted.set(true);
            inner.space_wanted.notify();
        }
    }
    inner.waiters.done(&group.tokens);
    after_flush(inner);
    Some(())
}

fn take_data_writes<E: Env>(
    inner: &Inner<E>,
    group: &Group<Bytes<E::Memory>>,
) -> Vec<crate::store::DataWrites<E>> {
    let mut data = inner.data_writes.borrow_mut();
    group.tokens.iter().filter_map(|token| data.remove(token)).collect()
}

/// The bytes of a group.
async fn encode<E: Env>(
    inner: &Inner<E>,
    group: &Group<Bytes<E::Memory>>,
) -> Option<Bytes<E::Memory>> {
    let memory = &inner.group_memory;
    let mut buf: Buf<E::Memory> = match memory.take(inner.env.pool(), group.bytes).await {
        Ok(buf) => buf,
        Err(why) => {
            inner.device.fail(format!("no memory for a journal group: {why}"));
            return None;
        }
    };
    let (identity, salt) = {
        let superblock = inner.superblock.borrow();
        let identity = GroupIdentity {
            store: superblock.store,
            mount_gen: superblock.mount_gen,
            lsn: group.lsn,
            prev_hash: group.place.prev_hash,
            applied_lsn: group.applied_lsn,
        };
        (identity, superblock.salt)
    };
    buf.set_len(group.bytes);
    let mut entries = inner.entry_bytes.take();
    entries.clear();
    group.entries.iter().for_each(|entry| format::encode(entry, &mut entries));
    let count = u32::try_from(group.entries.len()).expect("a group has at most 1 MiB of entries");
    let images = group.images.iter().map(|image| &image[..]);
    let header = fill(&mut buf, identity, salt, (&entries, count), images);
    inner.entry_bytes.replace(entries);
    inner.state.borrow_mut().group_encoded(group.lsn, header.hash(salt));
    let bytes = buf.freeze();
    memory.lent(&bytes);
    Some(bytes)
}
