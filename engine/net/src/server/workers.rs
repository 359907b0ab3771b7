//! The tasks that run the handlers of one connection.
//!
//! A task per request would cost an allocation each, so tasks are kept: one that has answered
//! takes the next request, or waits in line for one. There are never more than the window has
//! slots, and those that idle when the peer pings (it has nothing to ask) end.
//!
//! Invariant
//!   E58  a request in the queue has a worker that is awake for it: one was woken or started when
//!        it came, and a worker looks at the queue before it waits

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};
use std::collections::VecDeque;
use std::rc::Rc;

use engine_runtime::Env;

use crate::request::{Request, Service};

/// The waiting requests and workers of one connection.
pub(super) struct Workers<E: Env> {
    queue: RefCell<VecDeque<Request<E>>>,
    /// Workers that wait, by ticket; the last one to wait is the first to work, so that the memory
    /// it uses is warm.
    waiting: RefCell<Vec<(u64, Waker)>>,
    next_ticket: Cell<u64>,
    /// Raised to end the workers that wait.
    round: Cell<u64>,
    /// The connection has ended: workers end after the request they have.
    closed: Cell<bool>,
}

impl<E: Env> Default for Workers<E> {
    fn default() -> Self {
        Self {
            queue: RefCell::default(),
            waiting: RefCell::default(),
            next_ticket: Cell::new(0),
            round: Cell::new(0),
            closed: Cell::new(false),
        }
    }
}

impl<E: Env> Workers<E> {
    /// Hands a request to a worker that waits, or to a new one.
    pub(super) fn dispatch<S: Service<E>>(
        self: &Rc<Self>,
        env: &E,
        service: &Rc<S>,
        request: Request<E>,
    ) {
        self.queue.borrow_mut().push_back(request);
        let waiting = self.waiting.borrow_mut().pop();
        match waiting {
            Some((_, waker)) => waker.wake(),
            None => drop(env.spawn(work(self.clone(), service.clone()))),
        }
    }

    /// Drops the requests that wait: their connection has ended.
    pub(super) fn clear(&self) {
        // Taken first: dropping a request may look at this queue.
        let waiting = self.queue.take();
        drop(waiting);
    }

    /// Ends every worker as soon as it has nothing to do.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.rest();
    }

    /// Ends the workers that have nothing to do.
    pub(super) fn rest(&self) {
        self.round.set(self.round.get() + 1);
        for (_, waker) in self.waiting.take() {
            waker.wake();
        }
    }

    /// The next request; `None` when the worker has waited long enough.
    async fn next(&self) -> Option<Request<E>> {
        let round = self.round.get();
        let mut place = Place { workers: self, ticket: None };
        poll_fn(|cx| {
            place.leave();
            if let Some(request) = self.queue.borrow_mut().pop_front() {
                return Poll::Ready(Some(request));
            }
            if self.closed.get() || self.round.get() != round {
                return Poll::Ready(None);
            }
            place.enter(cx.waker());
            Poll::Pending
        })
        .await
    }
}

/// A place among those who wait.
struct Place<'a, E: Env> {
    workers: &'a Workers<E>,
    ticket: Option<u64>,
}

impl<E: Env> Place<'_, E> {
    fn enter(&mut self, waker: &Waker) {
        let workers = self.workers;
        let ticket = workers.next_ticket.get();
        workers.next_ticket.set(ticket + 1);
        workers.waiting.borrow_mut().push((ticket, waker.clone()));
        self.ticket = Some(ticket);
    }

    /// Gives the place up if no dispatch has taken it: the next one must wake somebody else (E58).
    fn leave(&mut self) {
        if let Some(mine) = self.ticket.take() {
            let mut waiting = self.workers.waiting.borrow_mut();
            if let Some(index) = waiting.iter().rposition(|(ticket, _)| *ticket == mine) {
                waiting.remove(index);
            }
        }
    }
}

impl<E: Env> Drop for Place<'_, E> {
    fn drop(&mut self) {
        self.leave();
    }
}

async fn work<E: Env, S: Service<E>>(workers: Rc<Workers<E>>, service: Rc<S>) {
    while let Some(request) = workers.next().await {
        service.clone().call(request).await;
    }
}
