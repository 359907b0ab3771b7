//! Closes a gap in the futures of the foundationdb crate.
//!
//! Their poll asks "ready?" first and leaves the waker after; the callback is set once, at the
//! first poll. When the answer arrives on the network thread between the two steps of a later poll,
//! it wakes the waker of the poll before. That is enough while the same task polls, but an answer
//! is lost if the future has changed hands: moved into another task, or into a set that wakes each
//! member by its own waker. A second look after `Pending` closes it: the waker is in place then, so
//! an answer is either seen or still to come, and wakes it.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

#[cfg(test)]
mod tests;

/// A future that is asked once more before it counts as pending (E228).
pub(super) struct Recheck<F>(pub(super) F);

impl<F: Future + Unpin> Future for Recheck<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match Pin::new(&mut self.0).poll(cx) {
            Poll::Pending => Pin::new(&mut self.0).poll(cx),
            ready @ Poll::Ready(_) => ready,
        }
    }
}
