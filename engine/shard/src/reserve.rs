//! Memory that the store keeps for itself: what makes others' memory free must not wait for it.
//!
//! Callers may hold all of a pool in buffers that only a durable group or a checkpoint lets go. So
//! one group, one checkpoint page and one superblock have memory of their own from the opening on.
//! Each is written one at a time (E150, E153), so one buffer is enough. It is used only when the
//! pool has nothing: buffers of the right size are cheaper to write.
//!
//! Invariants
//!   E154  a group, a checkpoint page or a superblock never waits for memory of callers

use core::cell::RefCell;

use engine_runtime::{Buf, Bytes, Memory, Pool, PoolExhausted};
use engine_types::reached;

/// One buffer; see the module.
pub(crate) struct Reserve<M: Memory> {
    len: usize,
    state: RefCell<State<M>>,
}

enum State<M: Memory> {
    Here(Buf<M>),
    /// Given out to be filled.
    Out,
    /// Being written; it comes back when the write has completed.
    Written(Bytes<M>),
}

impl<M: Memory> Reserve<M> {
    /// Takes `len` bytes of the pool for good.
    ///
    /// # Errors
    /// When the pool is smaller than that.
    pub(crate) async fn new(pool: &Pool<M>, len: usize) -> Result<Self, PoolExhausted> {
        let state = RefCell::new(State::Here(pool.alloc_wait(len).await?));
        Ok(Self { len, state })
    }

    /// An empty buffer of at least `len` bytes: from the pool, or the reserve. Its bytes are to be
    /// [`Self::lent`] before they are written.
    ///
    /// # Errors
    /// When there is none and never will be.
    pub(crate) async fn take(&self, pool: &Pool<M>, len: usize) -> Result<Buf<M>, PoolExhausted> {
        if let Ok(buf) = pool.alloc(len) {
            return Ok(buf);
        }
        if len <= self.len
            && let Some(buf) = self.own()
        {
            reached!("E154: the store used memory of its own");
            return Ok(buf);
        }
        pool.alloc_wait(len).await
    }

    /// These bytes, from the last [`Self::take`], are about to be written.
    pub(crate) fn lent(&self, bytes: &Bytes<M>) {
        let mut state = self.state.borrow_mut();
        if matches!(*state, State::Out) {
            *state = State::Written(bytes.clone());
        }
    }

    fn own(&self) -> Option<Buf<M>> {
        let mut state = self.state.borrow_mut();
        match core::mem::replace(&mut *state, State::Out) {
            State::Here(buf) => Some(buf),
            State::Written(bytes) => match bytes.try_into_buf() {
                Ok(mut buf) => {
                    buf.clear();
                    Some(buf)
                }
                Err(bytes) => {
                    *state = State::Written(bytes); // its write has not completed
                    None
                }
            },
            State::Out => None,
        }
    }
}
