//! The end of submitted work, as a future.

use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::rc::Rc;

struct Shared<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// The end of submitted work. Dropping it detaches the work (E34); work of a process that has died
/// never ends.
pub struct Join<T> {
    shared: Rc<RefCell<Shared<T>>>,
}

/// The other end: what the work has to fulfil.
pub(super) struct Promise<T> {
    shared: Rc<RefCell<Shared<T>>>,
}

pub(super) fn promise<T>() -> (Promise<T>, Join<T>) {
    let shared = Rc::new(RefCell::new(Shared { value: None, waker: None }));
    (Promise { shared: shared.clone() }, Join { shared })
}

impl<T> Join<T> {
    /// Work that has ended already.
    pub(super) fn ready(value: T) -> Self {
        Self { shared: Rc::new(RefCell::new(Shared { value: Some(value), waker: None })) }
    }
}

impl<T> Promise<T> {
    /// Whether nobody waits any more.
    pub(super) fn is_abandoned(&self) -> bool {
        Rc::strong_count(&self.shared) == 1
    }

    pub(super) fn set(self, value: T) {
        let mut shared = self.shared.borrow_mut();
        shared.value = Some(value);
        if let Some(waker) = shared.waker.take() {
            waker.wake();
        }
    }
}

impl<T> Unpin for Join<T> {}

impl<T> Future for Join<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut shared = self.shared.borrow_mut();
        if let Some(value) = shared.value.take() {
            return Poll::Ready(value);
        }
        match &mut shared.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
