//! Where answers land that nobody waits for (E59).
//!
//! Each call brings room for its answer. Of the calls of one connection that were given up, one
//! room is kept, as large as the largest segment that may still come for any of them: a reader that
//! receives what nobody wants never waits for memory, and whoever gives up calls again and again
//! holds no more than that.

use engine_runtime::{Buf, Env, PoolExhausted, Reserved};

use crate::link::EndReason;

/// Memory for the payload of an answer.
pub(super) enum Room<E: Env> {
    /// Set aside; taken when the payload comes, so that it is warm.
    Reserved(Reserved<E::Memory>),
    /// Part of the payload has come.
    Landing(Buf<E::Memory>),
}

impl<E: Env> Room<E> {
    pub(super) fn into_buf(self) -> Result<Buf<E::Memory>, PoolExhausted> {
        match self {
            Self::Reserved(reserved) => reserved.into_buf(),
            Self::Landing(landing) => Ok(landing),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Reserved(reserved) => reserved.len(),
            Self::Landing(landing) => landing.capacity(),
        }
    }
}

/// What the calls of one connection share that were given up and may still be answered.
pub(super) struct Scrap<E: Env> {
    /// How many they are.
    calls: u32,
    /// Bytes of the largest segment that may come for one of them.
    segment: usize,
    /// None while the only segment lands that one of them waited for.
    room: Option<Room<E>>,
}

impl<E: Env> Default for Scrap<E> {
    fn default() -> Self {
        Self { calls: 0, segment: 0, room: None }
    }
}

impl<E: Env> Scrap<E> {
    /// A call was given up whose answer comes in segments of at most `segment` bytes; `room` was
    /// for all of it, and is none while a segment lands there.
    pub(super) fn join(&mut self, room: Option<Room<E>>, segment: usize) {
        self.calls += 1;
        self.segment = self.segment.max(segment);
        match room {
            Some(Room::Reserved(mut reserved)) => {
                reserved.shrink(segment);
                self.keep(Room::Reserved(reserved));
            }
            Some(landing) => self.keep(landing),
            None => {}
        }
    }

    /// Keeps `room` unless what is kept is enough.
    pub(super) fn keep(&mut self, room: Room<E>) {
        if self.room.as_ref().is_none_or(|kept| kept.bytes() < self.segment) {
            self.room = Some(room);
        }
    }

    /// Memory for a segment of any of them, to be given back with [`keep`](Self::keep).
    pub(super) fn take(&mut self) -> Result<Buf<E::Memory>, EndReason> {
        let room = self.room.take().expect("E59: kept by the calls, one task lands segments");
        room.into_buf().map_err(EndReason::Pool)
    }

    /// One of them was answered; the last one leaves nothing behind.
    pub(super) fn part(&mut self) {
        self.calls = self.calls.checked_sub(1).expect("E59: each call parts once");
        if self.calls == 0 {
            *self = Self::default();
        }
    }
}
