//! Decisions that count in memory at once, and the wait until they are durable: for who goes on in
//! the same turn, as a replica does.

use core::future::poll_fn;
use std::rc::Rc;

use engine_runtime::Env;
use engine_store::store::Token;
use engine_store::{ChunkKey, UpdateError};
use engine_types::ChunkVersion;

use crate::store::{ChunkStore, Inner};

/// A decision that was taken and is not durable yet. Dropping it ends the waiting only: it is in
/// the journal's queue already.
#[must_use = "that it is durable is told by `finish`"]
pub struct Deciding<E: Env> {
    inner: Rc<Inner<E>>,
    token: Token,
}

impl<E: Env> Deciding<E> {
    /// In the turn in which the token was made.
    fn new(inner: &Rc<Inner<E>>, token: Token) -> Result<Self, UpdateError> {
        inner.waiters.expect(token);
        let deciding = Self { inner: inner.clone(), token };
        inner.journal_wanted.notify();
        inner.in_service_to_end()?;
        Ok(deciding)
    }

    /// Returns when the decision is durable.
    ///
    /// # Errors
    /// `OutOfService`: the store has failed, and whether the decision is durable is unknown.
    pub async fn finish(self) -> Result<(), UpdateError> {
        let Self { inner, token } = &self;
        let result = poll_fn(|cx| inner.waiters.poll(*token, cx)).await;
        result.map_err(|_| UpdateError::OutOfService)
    }
}

impl<E: Env> Drop for Deciding<E> {
    fn drop(&mut self) {
        self.inner.waiters.forget(self.token);
    }
}

impl<E: Env> core::fmt::Debug for Deciding<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Deciding").field(&self.token).finish()
    }
}

impl<E: Env> ChunkStore<E> {
    /// Ends the durable pending version in this turn (R17): nothing of it is seen any more, and the
    /// chunk takes its next update, which is behind the abort in the journal.
    ///
    /// # Errors
    /// `NotPending` unless exactly this version is pending and durable, `OutOfService`.
    pub fn start_abort(
        &self,
        key: &ChunkKey,
        version: ChunkVersion,
    ) -> Result<Deciding<E>, UpdateError> {
        self.inner.in_service()?;
        let token = self.inner.state.borrow_mut().abort(key, version)?;
        Deciding::new(&self.inner, token)
    }

    /// Removes a chunk with all its versions in this turn. Nothing: it was absent.
    ///
    /// # Errors
    /// `Busy` while an update of the chunk is not durable yet, while its blocks are being moved,
    /// and while too many decisions wait for the next group: all three end by themselves, and
    /// [`Self::erase`] waits for the last two. `OutOfService`.
    pub fn start_erase(&self, key: &ChunkKey) -> Result<Option<Deciding<E>>, UpdateError> {
        self.inner.in_service()?;
        let token = {
            let mut state = self.inner.state.borrow_mut();
            if !state.small_room() {
                let pending = state.committed(key).map(|record| record.head.version);
                return Err(UpdateError::Busy { key: *key, pending: pending.unwrap_or_default() });
            }
            state.erase(key)?
        };
        token.map(|token| Deciding::new(&self.inner, token)).transpose()
    }
}
