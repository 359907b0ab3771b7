//! Room for work: a counted window that slows down whoever fills it (DESIGN 4.5).
//!
//! Owner: one pool, connection or server, on one core. The unit is whatever the owner counts:
//! requests, bytes, credit. Waiters are served in the order in which they came (E33), so a large
//! demand is not starved by small ones.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};
use std::collections::VecDeque;

#[cfg(test)]
mod tests;

/// The gate was closed: its connection or server is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("closed")]
pub struct Closed;

struct Waiting {
    ticket: u64,
    amount: u64,
    waker: Waker,
}

/// A window of `free` units; taking waits in line.
#[derive(Default)]
pub struct Gate {
    free: Cell<u64>,
    closed: Cell<bool>,
    next_ticket: Cell<u64>,
    waiting: RefCell<VecDeque<Waiting>>,
}

impl Gate {
    /// A window with `free` units.
    pub fn new(free: u64) -> Self {
        Self { free: Cell::new(free), ..Self::default() }
    }

    /// Units that can be taken now.
    pub fn free(&self) -> u64 {
        self.free.get()
    }

    /// Units that the whole line of waiters wants.
    pub fn demand(&self) -> u64 {
        self.waiting.borrow().iter().map(|waiting| waiting.amount).sum()
    }

    /// Takes at once, if nobody waits in line and there is room.
    pub fn try_take(&self, amount: u64) -> bool {
        let taken =
            self.waiting.borrow().is_empty() && !self.closed.get() && amount <= self.free.get();
        if taken {
            self.free.set(self.free.get() - amount);
        }
        taken
    }

    /// Takes, waiting in line. Dropping the future leaves the line and takes nothing.
    ///
    /// # Errors
    /// [`Closed`] when the gate is or gets closed.
    pub async fn take(&self, amount: u64) -> Result<(), Closed> {
        if self.try_take(amount) {
            return Ok(());
        }
        let mut place = Place { gate: self, ticket: None };
        poll_fn(|cx| place.poll(amount, cx.waker())).await
    }

    /// Gives back or adds units.
    pub fn give(&self, amount: u64) {
        self.free.set(self.free.get() + amount);
        self.wake_first();
    }

    /// Fails every waiter, now and later.
    pub fn close(&self) {
        self.closed.set(true);
        for waiting in self.waiting.borrow().iter() {
            waiting.waker.wake_by_ref();
        }
    }

    fn wake_first(&self) {
        if let Some(head) = self.waiting.borrow().front()
            && head.amount <= self.free.get()
        {
            head.waker.wake_by_ref();
        }
    }
}

struct Place<'a> {
    gate: &'a Gate,
    ticket: Option<u64>,
}

impl Place<'_> {
    fn poll(&mut self, amount: u64, waker: &Waker) -> Poll<Result<(), Closed>> {
        let gate = self.gate;
        if gate.closed.get() {
            return Poll::Ready(Err(Closed));
        }
        let mut waiting = gate.waiting.borrow_mut();
        let first = match self.ticket {
            None => waiting.is_empty(),
            Some(mine) => waiting.front().is_some_and(|head| head.ticket == mine),
        };
        if first && amount <= gate.free.get() {
            gate.free.set(gate.free.get() - amount);
            return Poll::Ready(Ok(())); // dropping this place wakes the next in line
        }
        match self.ticket {
            None => {
                let ticket = gate.next_ticket.get();
                gate.next_ticket.set(ticket + 1);
                waiting.push_back(Waiting { ticket, amount, waker: waker.clone() });
                self.ticket = Some(ticket);
            }
            Some(mine) => {
                if let Some(entry) = waiting.iter_mut().find(|entry| entry.ticket == mine) {
                    entry.waker.clone_from(waker);
                }
            }
        }
        Poll::Pending
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(mine) = self.ticket {
            self.gate.waiting.borrow_mut().retain(|entry| entry.ticket != mine);
            self.gate.wake_first();
        }
    }
}
