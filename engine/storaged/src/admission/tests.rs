use core::pin::{Pin, pin};

use super::*;

fn poll<T>(future: &mut Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn permit(polled: Poll<Option<Permit>>) -> Permit {
    match polled {
        Poll::Ready(Some(permit)) => permit,
        Poll::Ready(None) => panic!("refused"),
        Poll::Pending => panic!("it waits"),
    }
}

/// Work of cost 1 runs at once.
fn one() -> AdmissionSettings {
    AdmissionSettings { running_max: 1, ..AdmissionSettings::default() }
}

#[test]
fn who_waits_runs_when_work_has_ended() {
    let admission = Admission::new(one());
    let first = permit(poll(&mut pin!(admission.enter(Class::Client, 1, 1))));
    let mut second = pin!(admission.enter(Class::Client, 1, 1));
    let mut third = pin!(admission.enter(Class::Client, 2, 1));
    assert!(poll(&mut second).is_pending() && poll(&mut third).is_pending());
    assert_eq!(admission.load(), (2, 1));
    drop(first);
    let held = permit(poll(&mut second));
    assert!(poll(&mut third).is_pending());
    drop(held);
    drop(permit(poll(&mut third)));
    assert_eq!(admission.load(), (0, 0));
    assert!(admission.waiting.borrow().is_empty());
}

#[test]
fn who_goes_away_leaves_its_turn_to_others() {
    let admission = Admission::new(one());
    let first = permit(poll(&mut pin!(admission.enter(Class::Client, 1, 1))));
    let mut last = pin!(admission.enter(Class::Client, 3, 1));
    {
        let mut chosen = pin!(admission.enter(Class::Client, 1, 1));
        let mut waits = pin!(admission.enter(Class::Client, 2, 1));
        assert!(poll(&mut chosen).is_pending() && poll(&mut waits).is_pending());
        assert!(poll(&mut last).is_pending());
        drop(first); // one of them is chosen, and none is polled again
    }
    drop(permit(poll(&mut last)));
    assert_eq!(admission.load(), (0, 0));
    assert!(admission.waiting.borrow().is_empty());
}
