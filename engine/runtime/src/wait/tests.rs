//! `until` needs an environment: the conformance suite has its cases.

use core::cell::Cell;
use core::future::{Future, pending, ready};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Wake;

use super::{CancelToken, First, Notify, all, first};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    fn poll<F: Future>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn wakes() -> Arc<Wakes> {
    Arc::default()
}

#[test]
fn the_first_answer_wins_and_the_first_argument_a_tie() {
    let task = wakes();
    let poll = |answer: Poll<First<u8, u8>>| answer;
    assert_eq!(poll(task.poll(pin!(first(ready(1), pending())))), Poll::Ready(First::Left(1)));
    assert_eq!(poll(task.poll(pin!(first(pending(), ready(2))))), Poll::Ready(First::Right(2)));
    assert_eq!(poll(task.poll(pin!(first(ready(1), ready(2))))), Poll::Ready(First::Left(1)));
    assert_eq!(poll(task.poll(pin!(first(pending(), pending())))), Poll::Pending);
}

#[test]
fn all_waits_end_side_by_side_and_keep_their_order() {
    let task = wakes();
    let gates = [Notify::default(), Notify::default()];
    let waits = gates.iter().zip([1, 2]).map(|(gate, value)| {
        let opened = gate.notified();
        async move {
            opened.await;
            value
        }
    });
    let mut both = pin!(all(waits));
    assert!(task.poll(both.as_mut()).is_pending());
    gates[1].notify();
    assert!(task.poll(both.as_mut()).is_pending());
    gates[0].notify();
    assert_eq!(task.poll(both.as_mut()), Poll::Ready(vec![1, 2]));
    assert_eq!(task.poll(pin!(all(Vec::<core::future::Ready<u8>>::new()))), Poll::Ready(vec![]));
}

#[test]
fn a_notification_wakes_everybody_who_waits_now() {
    let notify = Notify::default();
    let (one, two) = (wakes(), wakes());
    let (mut a, mut b) = (pin!(notify.notified()), pin!(notify.notified()));
    assert!(one.poll(a.as_mut()).is_pending());
    assert!(one.poll(a.as_mut()).is_pending(), "polled twice, woken once");
    assert!(two.poll(b.as_mut()).is_pending());
    notify.notify();
    assert_eq!((one.count(), two.count()), (1, 1));
    let mut late = pin!(notify.notified());
    assert!(one.poll(late.as_mut()).is_pending(), "it came after");
    assert!(one.poll(a.as_mut()).is_ready());
    assert!(two.poll(b.as_mut()).is_ready());
    notify.notify();
    assert_eq!((one.count(), two.count()), (2, 1));
}

#[test]
fn a_notification_between_the_call_and_the_first_poll_counts() {
    let notify = Notify::default();
    let mut waiting = pin!(notify.notified());
    notify.notify();
    assert!(wakes().poll(waiting.as_mut()).is_ready());
}

#[test]
fn until_looks_again_after_every_notification() {
    let notify = Notify::default();
    let value = Rc::new(Cell::new(0));
    let task = wakes();
    let mut waiting = pin!(notify.until(|| value.get() == 2));
    for expected in [false, false, true] {
        assert_eq!(task.poll(waiting.as_mut()).is_ready(), expected, "at {}", value.get());
        value.set(value.get() + 1);
        notify.notify();
    }
    assert_eq!(task.count(), 2);
    assert!(task.poll(pin!(notify.until(|| true))).is_ready(), "holds already");
}

#[test]
fn a_cancellation_is_seen_by_every_clone_and_stays() {
    let token = CancelToken::default();
    let clone = token.clone();
    let task = wakes();
    let mut waiting = pin!(clone.cancelled());
    assert!(!clone.is_cancelled());
    assert!(task.poll(waiting.as_mut()).is_pending());
    token.cancel();
    token.cancel();
    assert!(clone.is_cancelled());
    assert_eq!(task.count(), 1);
    assert!(task.poll(waiting.as_mut()).is_ready());
    assert!(task.poll(pin!(token.cancelled())).is_ready());
}
