//! Room for requests of one kind: so many are worked on, so many wait in line, others are told to
//! ask elsewhere. A service that is asked for more than it can do answers those that it has.

use engine_runtime::{Env, Gate, until};
use engine_types::{Instant, Status};

use core::cell::Cell;

/// See the module.
pub(crate) struct Room {
    gate: Gate,
    limit: u32,
    waiting: Cell<u32>,
    waiting_max: u32,
}

/// Room of one request, given back when it is dropped.
pub(crate) struct Taken<'a>(&'a Room);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.gate.give(1);
    }
}

/// While a request waits.
struct Waiting<'a>(&'a Cell<u32>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Room {
    pub(crate) fn new(limit: u32, waiting_max: u32) -> Self {
        let gate = Gate::new(limit.into());
        Self { gate, limit, waiting: Cell::new(0), waiting_max }
    }

    /// Requests that have room.
    pub(crate) fn in_use(&self) -> u32 {
        let free = u32::try_from(self.gate.free()).expect("no more than there was");
        self.limit - free
    }

    /// Room, in line.
    ///
    /// # Errors
    /// `Busy` when too many wait, `DeadlineExceeded` when none came in time: nothing was done.
    pub(crate) async fn take<E: Env>(&self, env: &E, by: Instant) -> Result<Taken<'_>, Status> {
        if self.gate.try_take(1) {
            return Ok(Taken(self));
        }
        if self.waiting_max <= self.waiting.get() {
            engine_types::reached!("E458: a request is sent away");
            return Err(Status::Busy);
        }
        self.waiting.set(self.waiting.get() + 1);
        let _waiting = Waiting(&self.waiting);
        match until(env, by, self.gate.take(1)).await {
            Ok(taken) => {
                taken.expect("it is never closed");
                Ok(Taken(self))
            }
            Err(_) => Err(Status::DeadlineExceeded),
        }
    }
}
