//! Waiting within one core: deadlines, cancellation, wake-ups.
//!
//! Only waits are raced here, never raw I/O (V2): what is given up is the answer, not the work.

use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Poll, Waker};
use std::rc::Rc;

use engine_types::Instant;

use crate::env::Env;

#[cfg(test)]
mod tests;

/// The deadline passed before the wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("deadline passed")]
pub struct Elapsed;

/// Waits for `wait`, but not beyond `at`. An answer that is there wins over a deadline that has
/// passed as well.
///
/// # Errors
/// [`Elapsed`] when the deadline came first; `wait` is dropped then.
pub async fn until<E: Env, F: Future>(env: &E, at: Instant, wait: F) -> Result<F::Output, Elapsed> {
    let mut wait = pin!(wait);
    let mut sleep = pin!(env.sleep_until(at));
    poll_fn(|cx| {
        if let Poll::Ready(answer) = wait.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        sleep.as_mut().poll(cx).map(|()| Err(Elapsed))
    })
    .await
}

/// Lets every task run that is ready now, then goes on (E38).
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The first of two waits to end; the other is dropped. The first argument wins a tie.
pub async fn first<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> First<A, B> {
    let mut a = pin!(a);
    let mut b = pin!(b);
    poll_fn(|cx| {
        if let Poll::Ready(answer) = a.as_mut().poll(cx) {
            return Poll::Ready(First::Left(answer));
        }
        b.as_mut().poll(cx).map(First::Right)
    })
    .await
}

/// Which of two waits ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First<A, B> {
    /// The first argument.
    Left(A),
    /// The second argument.
    Right(B),
}

/// All of some waits, side by side; their results in the order given. Each is polled when any of
/// them is woken, so this is for some tens of them.
pub async fn all<F: Future>(waits: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waits: Vec<Pin<Box<F>>> = waits.into_iter().map(Box::pin).collect();
    let mut results: Vec<Option<F::Output>> = waits.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut open = false;
        for (wait, result) in waits.iter_mut().zip(&mut results) {
            if result.is_none() {
                match wait.as_mut().poll(cx) {
                    Poll::Ready(value) => *result = Some(value),
                    Poll::Pending => open = true,
                }
            }
        }
        if open { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    results.into_iter().map(|result| result.expect("all have ended")).collect()
}

/// Wakes tasks of this core that wait for a condition they check themselves.
#[derive(Clone, Default)]
pub struct Notify {
    inner: Rc<NotifyInner>,
}

#[derive(Default)]
struct NotifyInner {
    round: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Notify {
    /// Wakes every task that waits now.
    pub fn notify(&self) {
        self.inner.round.set(self.inner.round.get() + 1);
        // Taken first: a waker may run code that waits again.
        let mut waiting = self.inner.waiting.take();
        for waker in waiting.drain(..) {
            waker.wake();
        }
        let mut now = self.inner.waiting.borrow_mut();
        if now.is_empty() {
            *now = waiting; // keeps its memory
        }
    }

    /// Waits for the next [`notify`](Self::notify) after this call (not after the first poll).
    pub fn notified(&self) -> impl Future<Output = ()> + use<> {
        let inner = self.inner.clone();
        let round = inner.round.get();
        poll_fn(move |cx| {
            if inner.round.get() != round {
                return Poll::Ready(());
            }
            let mut waiting = inner.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
    }

    /// Waits until `condition` holds, looking again after every notification.
    pub async fn until(&self, mut condition: impl FnMut() -> bool) {
        loop {
            let notified = self.notified();
            if condition() {
                return;
            }
            notified.await;
        }
    }
}

/// A request to stop, given once and seen by every clone.
#[derive(Clone, Default)]
pub struct CancelToken {
    cancelled: Rc<Cell<bool>>,
    notify: Notify,
}

impl CancelToken {
    /// Asks everybody who holds a clone to stop.
    pub fn cancel(&self) {
        self.cancelled.set(true);
        self.notify.notify();
    }

    /// Whether it was asked.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// Waits until it is asked.
    pub async fn cancelled(&self) {
        self.notify.until(|| self.is_cancelled()).await;
    }
}
