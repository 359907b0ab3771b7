//! What is possible for times and counters.

use super::{Change, Moment, When};

#[test]
fn e462_times_are_marked_and_stay() {
    let mut time = Moment::new(When { earliest: 10, latest: 20 });
    assert!(!time.clone().see(9) && !time.clone().see(21));
    assert!(time.see(15), "within the bounds");
    assert!(!time.clone().see(16), "seen, and nothing happened since");
    time.mark(When { earliest: 30, latest: 40 });
    assert!(!time.clone().see(15), "marked: it has to be now");
    assert!(time.see(30));
    time.mark(When { earliest: 5, latest: 12 });
    assert!(!time.clone().see(12), "the clock of this server is behind: times do not go back");
    assert!(time.see(30));
}

#[test]
fn e462_an_event_overrides_a_time_that_was_named() {
    let mut time = Moment::named(1_000_000);
    time.mark(When::at(50));
    assert!(!time.clone().see(1_000_000));
    assert!(time.see(50));
}

#[test]
fn what_is_left_open_allows_both() {
    for seen in [15, 35] {
        let mut time = Moment::new(When::at(15));
        time.may_mark(When { earliest: 30, latest: 40 });
        assert!(time.see(seen), "{seen}");
    }
    let mut time = Moment::new(When::at(15));
    time.may_mark(When { earliest: 30, latest: 40 });
    assert!(!time.see(14) && !time.see(41));
}

#[test]
fn e463_counters_rise_when_something_changed() {
    let mut change = Change::default();
    assert!(change.see(7));
    assert!(change.see(7));
    assert!(!change.clone().see(6), "it fell");
    change.rise();
    change.rise();
    assert!(!change.clone().see(7), "it stayed");
    assert!(change.see(8), "two changes may count as one");
}
