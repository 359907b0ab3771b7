//! Callers that wait for a decision to become durable.

use core::cell::RefCell;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use engine_store::store::Token;
use engine_types::Map;

/// The store left service before the decision was durable: whether it was is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

enum Waiter {
    Waiting(Option<Waker>),
    Done(Result<(), Lost>),
}

/// Who waits, by token. A token nobody asked for is not kept.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: RefCell<Map<Token, Waiter>>,
}

/// Takes the entry out again when the waiting is dropped.
struct Place<'a> {
    waiters: &'a Waiters,
    token: Token,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiters.forget(self.token);
    }
}

impl Waiters {
    /// Waits until [`done`](Self::done) or [`lost`](Self::lost). Called in the turn in which the
    /// token was made, so that nothing is missed: the entry is made at the call.
    pub(crate) fn wait(&self, token: Token) -> impl Future<Output = Result<(), Lost>> {
        self.expect(token);
        let place = Place { waiters: self, token };
        poll_fn(move |cx| {
            let place = &place; // the whole of it moves in here, with its drop
            place.waiters.poll(place.token, cx)
        })
    }

    /// The same in steps, for who keeps the place itself: makes the entry.
    pub(crate) fn expect(&self, token: Token) {
        self.waiting.borrow_mut().insert(token, Waiter::Waiting(None));
    }

    /// Looks at the entry. The place is not given up meanwhile.
    pub(crate) fn poll(&self, token: Token, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let mut waiting = self.waiting.borrow_mut();
        match waiting.get_mut(&token).expect("only its place removes a waiter") {
            Waiter::Done(result) => Poll::Ready(*result),
            Waiter::Waiting(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Gives the place up.
    pub(crate) fn forget(&self, token: Token) {
        self.waiting.borrow_mut().remove(&token);
    }

    /// The decisions of these tokens are durable; their callers go on in this order.
    pub(crate) fn done(&self, tokens: &[Token]) {
        tokens.iter().for_each(|token| self.end(*token, Ok(())));
    }

    /// Nothing becomes durable any more.
    pub(crate) fn lost(&self) {
        let mut tokens: Vec<_> = self.waiting.borrow().keys().copied().collect();
        tokens.sort_unstable();
        tokens.into_iter().for_each(|token| self.end(token, Err(Lost)));
    }

    fn end(&self, token: Token, result: Result<(), Lost>) {
        let mut waiting = self.waiting.borrow_mut();
        let Some(waiter) = waiting.get_mut(&token) else { return };
        if let Waiter::Waiting(waker) = core::mem::replace(waiter, Waiter::Done(result)) {
            drop(waiting);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}
