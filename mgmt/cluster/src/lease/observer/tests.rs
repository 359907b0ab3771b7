use core::time::Duration;

use engine_types::{Incarnation, NodeId};

use super::*;
use crate::lease::record::tests::record;

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn me() -> Contact {
    let addresses = alloc::vec!["b:2".into()];
    Contact { node: NodeId::new(2), incarnation: Incarnation::new(8), addresses }
}

#[test]
fn a_record_must_stay_unchanged_for_the_stretched_lease() {
    let mut observer = Observer::new(LeaseTimes::DEFAULT);
    assert_eq!(observer.begin_take(at(99_000), me()), Err(TooEarly::NotObserved));
    observer.observe(at(1000), Some(record(1, 4, 1)));
    observer.observe(at(6000), Some(record(1, 4, 1)));
    assert_eq!(observer.may_take_at(), Some(at(11_100)), "counted from the first time");
    observer.observe(at(7000), Some(record(1, 4, 2)));
    assert_eq!(observer.may_take_at(), Some(at(17_100)));
    let early = observer.begin_take(at(17_099), me());
    let (term, until, now) = (Term::new(4), at(17_100), at(17_099));
    assert_eq!(early, Err(TooEarly::MayBeValid { term, until, now }));
    let taking = observer.begin_take(at(17_100), me()).unwrap();
    assert_eq!((taking.record.term, taking.record.sequence), (Term::new(5), at(17_100).nanos()));
    assert_eq!(taking.expected, Some(record(1, 4, 2)));
    assert_eq!(taking.check(Some(&record(1, 4, 2))), Ok(()));
    let found = Some((Term::new(4), 3));
    assert_eq!(taking.check(Some(&record(1, 4, 3))), Err(LeaseConflict::Changed { found }));
    assert_eq!(taking.check(None), Err(LeaseConflict::Changed { found: None }));
    assert!(taking.is_stored(Some(&taking.record)) && !taking.is_stored(None));
    let again = observer.begin_take(at(17_200), me()).unwrap();
    assert!(!again.is_stored(Some(&taking.record)), "E285: that was sent earlier");
}

#[test]
fn the_length_is_the_holders() {
    let mut observer = Observer::new(LeaseTimes::DEFAULT);
    let mut long = record(1, 4, 1);
    long.primary = Duration::from_secs(100);
    observer.observe(at(0), Some(long));
    assert_eq!(observer.may_take_at(), Some(at(101_000)));
}

/// The holder's clock is off by what its settings allow, which a standby has not read.
#[test]
fn the_larger_drift_bound_counts() {
    let second = Duration::from_secs(1);
    let of = |ppm| LeaseTimes::new(second, 2 * second, 10 * second, ppm).unwrap();
    let mut observer = Observer::new(of(10_000));
    let mut loose = record(1, 4, 1);
    loose.drift_ppm = 30_000;
    observer.observe(at(0), Some(loose));
    assert_eq!(observer.may_take_at(), Some(at(10_300)));
    let taking = observer.begin_take(at(10_300), me()).unwrap();
    assert_eq!(taking.record.drift_ppm, 30_000, "its leases may still run");
    observer.set_times(of(50_000));
    assert_eq!(observer.may_take_at(), Some(at(10_500)), "its own is larger");
    let taking = observer.begin_take(at(10_500), me()).unwrap();
    assert_eq!(taking.record.drift_ppm, 50_000);
}

#[test]
fn nobody_waits_for_a_holder_that_has_ended() {
    let mut observer = Observer::new(LeaseTimes::DEFAULT);
    let mut released = record(1, 4, 1);
    released.released = true;
    observer.observe(at(1000), Some(released));
    assert!(observer.begin_take(at(1000), me()).is_ok());
    // An earlier start of the same manager, proven dead by the operating system.
    observer.observe(at(2000), Some(record(2, 5, 1)));
    assert!(observer.begin_take(at(2000), me()).is_err());
    observer.predecessor_ended(&me());
    assert!(observer.begin_take(at(2000), me()).is_ok());
    // The proof is about that holder only, and about no later start.
    observer.observe(at(3000), Some(record(1, 6, 1)));
    observer.predecessor_ended(&me());
    assert!(observer.begin_take(at(3000), me()).is_err());
    let same = Contact { incarnation: Incarnation::new(3), ..me() };
    observer.observe(at(4000), Some(record(2, 7, 1)));
    observer.predecessor_ended(&same);
    assert!(observer.begin_take(at(4000), same).is_err());
}

#[test]
fn a_standby_stands_in_when_a_renewal_is_overdue() {
    let mut observer = Observer::new(LeaseTimes::DEFAULT);
    assert_eq!(observer.stands_in(at(99_000)), None);
    observer.observe(at(1000), None);
    assert_eq!(observer.stands_in(at(99_000)), None, "nobody said for how long");
    observer.observe(at(2000), Some(record(1, 4, 1)));
    observer.observe(at(4000), Some(record(1, 4, 1)));
    assert_eq!(observer.stands_in(at(4499)), None);
    assert_eq!(observer.stands_in(at(4500)), Some(&record(1, 4, 1)));
    observer.observe(at(4600), Some(record(1, 4, 2)));
    assert_eq!(observer.stands_in(at(7099)), None, "it lives");
    let mut released = record(1, 4, 3);
    released.released = true;
    observer.observe(at(7099), Some(released.clone()));
    assert_eq!(observer.stands_in(at(7099)), Some(&released), "nobody holds it");
}
