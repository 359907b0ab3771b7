//! The applier: writes images of committed versions to their home blocks.
//!
//! It waits until a backlog has gathered, so that overwrites of one sector meet in memory, or until
//! somebody needs the room, or the store is idle.

use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;

use engine_runtime::{Env, until};
use engine_store::store::ApplyTicket;
use engine_types::{SECTOR_BYTES, reached};

use crate::device::Pending;
use crate::metrics::Io;
use crate::store::Inner;

/// After this time without pressure what is ready is applied anyway, so that little is left for
/// recovery and the journal's tail can move: the time in which a burst of updates is over.
const IDLE: Duration = Duration::from_millis(100);

/// Pause when every ready image waits for plans that are older than its commit: the time of some
/// device reads.
const PAUSE: Duration = Duration::from_millis(1);

/// Runs until the store stops or fails.
pub(crate) async fn run<E: Env>(inner: Rc<Inner<E>>) {
    loop {
        let late = inner.env.now().saturating_add(IDLE);
        let wanted = core::pin::pin!(inner.apply_wanted.until(|| is_due(&inner)));
        let idle = until(&inner.env, late, wanted).await.is_err();
        if inner.device.is_failed() || inner.stopping.get() {
            break;
        }
        let target = if idle || is_pressed(&inner) { 0 } else { inner.config.apply_backlog / 2 };
        if !apply_down_to(&inner, target).await && !idle {
            reached!("S4: images wait for older plans");
            inner.env.sleep_until(inner.env.now().saturating_add(PAUSE)).await;
        }
    }
}

fn is_pressed<E: Env>(inner: &Inner<E>) -> bool {
    inner.ring_pressed.get() || inner.overlay_pressed.get() || inner.draining.get()
}

fn is_due<E: Env>(inner: &Inner<E>) -> bool {
    let backlog = inner.state.borrow().overlay().ready_count();
    inner.device.is_failed()
        || inner.stopping.get()
        || inner.config.apply_backlog <= backlog
        || is_pressed(inner) && 0 < backlog
}

/// Applies until at most `target` images are ready, then asks for the flush that releases them.
/// Says whether there was any.
async fn apply_down_to<E: Env>(inner: &Rc<Inner<E>>, target: usize) -> bool {
    let mut any = false;
    let mut under_way = VecDeque::with_capacity(inner.config.apply_inflight_max);
    while target < inner.state.borrow().overlay().ready_count() && !inner.device.is_failed() {
        if inner.config.apply_inflight_max <= under_way.len() {
            end_oldest(inner, &mut under_way).await;
            continue;
        }
        let Some(write) = start_one(inner) else { break };
        under_way.push_back(write);
        any = true;
    }
    while !under_way.is_empty() {
        end_oldest(inner, &mut under_way).await;
    }
    if any || inner.state.borrow().overlay().applied_count() != 0 {
        inner.flush_wanted.set(true);
        inner.journal_wanted.notify();
    }
    inner.ring_pressed.set(false);
    inner.overlay_pressed.set(false);
    any
}

/// An image write under way.
type Write<E> = (ApplyTicket, Pending<E, ()>);

/// Waits for the write that was submitted first.
async fn end_oldest<E: Env>(inner: &Inner<E>, under_way: &mut VecDeque<Write<E>>) {
    let Some((ticket, write)) = under_way.pop_front() else { return };
    let written = inner.device.finish(write).await.is_ok();
    inner.state.borrow_mut().apply_ended(ticket, written);
}

/// Submits the write of the oldest image that may go; nothing when there is none.
fn start_one<E: Env>(inner: &Inner<E>) -> Option<Write<E>> {
    let apply = inner.state.borrow_mut().next_apply()?;
    let at = u64::from(apply.sector_in_block) * u64::from(SECTOR_BYTES);
    let position = inner.block_start(apply.block) + at;
    let write = inner.device.start_write(Io::Apply, position, apply.image);
    Some((apply.ticket, write))
}
