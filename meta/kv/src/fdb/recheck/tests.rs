use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Waker;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Wake;

use super::*;

/// Counts wakes.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counter() -> (Arc<Counter>, Waker) {
    let counter = Arc::new(Counter::default());
    (counter.clone(), Waker::from(counter))
}

/// A future with the crate's order of steps. The answer arrives in the poll numbered `arrives`,
/// between its two steps.
#[derive(Clone)]
struct Racing {
    polls: Rc<Cell<usize>>,
    ready: Rc<Cell<bool>>,
    arrives: usize,
    waker: Option<Waker>,
}

impl Racing {
    fn new(arrives: usize) -> Self {
        Self { polls: Rc::default(), ready: Rc::default(), arrives, waker: None }
    }
}

impl Future for Racing {
    type Output = u8;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u8> {
        self.polls.set(self.polls.get() + 1);
        if self.ready.get() {
            return Poll::Ready(7);
        }
        if self.polls.get() == self.arrives {
            self.ready.set(true);
            if let Some(waker) = self.waker.take() {
                waker.wake(); // the callback, on the network thread
            }
        }
        let first = self.waker.is_none() && self.polls.get() == 1;
        self.waker = Some(cx.waker().clone());
        if first && self.ready.get() {
            cx.waker().wake_by_ref(); // a callback that is set late is called at once
        }
        Poll::Pending
    }
}

/// Polls with one waker, then with another; true if the answer was seen or the second was woken.
fn answered(mut future: impl Future<Output = u8> + Unpin) -> bool {
    let (_, former) = counter();
    assert!(Pin::new(&mut future).poll(&mut Context::from_waker(&former)).is_pending());
    let (woken, latter) = counter();
    let seen = Pin::new(&mut future).poll(&mut Context::from_waker(&latter)).is_ready();
    seen || 0 < woken.0.load(Ordering::Relaxed)
}

/// E228
#[test]
fn an_answer_between_the_steps_of_a_poll_is_not_lost() {
    // Each poll with Recheck takes two: 2 is the end of the first, 3 and 4 are the second.
    for arrives in 2..=4 {
        assert!(answered(Recheck(Racing::new(arrives))), "{arrives}");
    }
    // Without it, the gap is real.
    assert!(!answered(Racing::new(2)), "the bare future is expected to lose the answer");
}

#[test]
fn an_answer_that_is_there_is_taken_at_once() {
    let racing = Racing::new(usize::MAX);
    racing.ready.set(true);
    let polls = racing.polls.clone();
    let mut future = Recheck(racing);
    let poll = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(poll, Poll::Ready(7));
    assert_eq!(polls.get(), 1, "a future that has answered is not polled again");
}
