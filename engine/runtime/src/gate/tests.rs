use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use super::{Closed, Gate};

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn e33_waiters_are_served_in_order_and_a_large_demand_is_not_starved() {
    let gate = Gate::new(4);
    assert!(gate.try_take(3));
    let mut large = Box::pin(gate.take(4));
    let mut small = Box::pin(gate.take(1));
    assert_eq!(poll(large.as_mut()), Poll::Pending);
    assert_eq!(poll(small.as_mut()), Poll::Pending, "one unit is free, but the line has a head");
    assert!(!gate.try_take(1), "nobody overtakes the line");
    assert_eq!(gate.demand(), 5);
    gate.give(3);
    assert_eq!(poll(small.as_mut()), Poll::Pending);
    assert_eq!(poll(large.as_mut()), Poll::Ready(Ok(())));
    drop(large);
    assert_eq!(poll(small.as_mut()), Poll::Pending);
    gate.give(1);
    assert_eq!(poll(small.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(gate.free(), 0);
}

#[test]
fn a_dropped_waiter_takes_nothing_and_lets_the_next_one_in() {
    let gate = Gate::new(1);
    let mut large = Box::pin(gate.take(2));
    let mut small = Box::pin(gate.take(1));
    assert_eq!(poll(large.as_mut()), Poll::Pending);
    assert_eq!(poll(small.as_mut()), Poll::Pending);
    drop(large);
    assert_eq!(poll(small.as_mut()), Poll::Ready(Ok(())));
}

#[test]
fn closing_fails_those_who_wait_and_those_who_come() {
    let gate = Gate::new(0);
    let mut waiter = Box::pin(gate.take(1));
    assert_eq!(poll(waiter.as_mut()), Poll::Pending);
    gate.close();
    assert_eq!(poll(waiter.as_mut()), Poll::Ready(Err(Closed)));
    drop(waiter);
    gate.give(1);
    assert_eq!(poll(Box::pin(gate.take(1)).as_mut()), Poll::Ready(Err(Closed)));
}
