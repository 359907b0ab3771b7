//! Waiting for room: what an update that is not admitted yet sets in motion, and how long it waits.

use core::time::Duration;

use engine_runtime::{Env, until};
use engine_store::UpdateError;
use engine_store::pins::{PLANS_MAX, READS_MAX, User};
use engine_store::store::Wait;
use engine_types::{Instant, reached};

use crate::error::ReadError;
use crate::metrics::add;
use crate::store::Inner;

/// Pause before room is looked for again that reads hold: they tell nobody of their end.
const PAUSE: Duration = Duration::from_millis(1);

/// How long one update has waited.
#[derive(Default)]
pub(crate) struct Patience {
    /// When the waiting for others began.
    began: Option<Instant>,
    /// The round of compaction that this update has asked for.
    asked: Option<u64>,
}

impl Patience {
    /// Does what helps, and waits until asking again is worth it. Called in the turn of the
    /// refusal, so that no notice is missed.
    ///
    /// # Errors
    /// When waiting does not help: `NoSpace`, `TooManyPending`.
    pub(crate) async fn wait<E: Env>(
        &mut self,
        inner: &Inner<E>,
        wait: Wait,
    ) -> Result<(), UpdateError> {
        add(&inner.device.counters.waits, 1);
        match wait {
            Wait::Claim => inner.space_wanted.notify(),
            Wait::Release { needed } => return self.wait_for_release(inner, needed).await,
            Wait::Compaction { needed }
                if self.asked.is_some_and(|round| inner.compaction.is_exhausted(round)) =>
            {
                // What others drop may empty a segment.
                return self.wait_for_release(inner, needed).await;
            }
            Wait::Compaction { .. } => {
                self.asked = Some(inner.compaction.ask(self.asked));
                inner.space_wanted.notify();
                inner.progress.notified().await;
                return Ok(());
            }
            Wait::Ring => {
                inner.ring_pressed.set(true);
                inner.apply_wanted.notify();
                inner.keeper_wanted.notify();
            }
            Wait::Overlay => {
                inner.overlay_pressed.set(true);
                inner.apply_wanted.notify();
            }
            Wait::Decisions { pending } => return self.wait_for_decisions(inner, pending).await,
            Wait::Plans => return self.wait_for_plans(inner).await,
            Wait::Move => {}
        }
        self.began = None;
        inner.progress.notified().await;
        Ok(())
    }

    /// Dropped blocks become free with the group of the decision that dropped them.
    async fn wait_for_release<E: Env>(
        &mut self,
        inner: &Inner<E>,
        needed: u64,
    ) -> Result<(), UpdateError> {
        let late = self.late(inner) <= inner.env.now(); // a read does not come to its end
        if late || !inner.state.borrow().is_anything_dropped() {
            return Err(inner.state.borrow().no_space(needed));
        }
        inner.flush_wanted.set(true);
        inner.journal_wanted.notify();
        let again = inner.env.now().saturating_add(PAUSE);
        let _ = until(&inner.env, again, inner.progress.notified()).await; // asked again either way
        Ok(())
    }

    /// Only callers can end this, and they may be gone: the wait is bounded.
    async fn wait_for_decisions<E: Env>(
        &mut self,
        inner: &Inner<E>,
        pending: usize,
    ) -> Result<(), UpdateError> {
        let late = self.late(inner);
        inner.undecided.set(inner.undecided.get() + 1);
        let ended = until(&inner.env, late, inner.progress.notified()).await;
        inner.undecided.set(inner.undecided.get() - 1);
        if ended.is_err() {
            reached!("E149: pending versions held all room for too long");
            return Err(UpdateError::TooManyPending { max: pending });
        }
        Ok(())
    }

    /// A device that does not answer may keep plans for ever.
    async fn wait_for_plans<E: Env>(&mut self, inner: &Inner<E>) -> Result<(), UpdateError> {
        if self.late(inner) <= inner.env.now() {
            return Err(UpdateError::TooManyPlans { max: PLANS_MAX });
        }
        inner.env.sleep_until(inner.env.now().saturating_add(PAUSE)).await;
        Ok(())
    }

    fn late<E: Env>(&mut self, inner: &Inner<E>) -> Instant {
        let began = *self.began.get_or_insert(inner.env.now());
        began.saturating_add(inner.config.room_wait)
    }
}

impl<E: Env> Inner<E> {
    /// Refuses a read when too many are under way (E181).
    pub(crate) fn room_for_read(&self) -> Result<(), ReadError> {
        if self.state.borrow().room_for(User::Read) {
            return Ok(());
        }
        reached!("E181: a read was refused");
        Err(ReadError::TooManyReads { max: READS_MAX })
    }

    /// Waits until the store itself may begin another plan (E181), or is over.
    pub(crate) async fn room_for_own(&self) {
        while !self.state.borrow().room_for(User::Store) && !self.is_over() {
            self.env.sleep_until(self.env.now().saturating_add(PAUSE)).await;
        }
    }
}
