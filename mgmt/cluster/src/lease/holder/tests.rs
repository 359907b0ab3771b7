use alloc::string::ToString;

use engine_types::{Incarnation, NodeId};

use super::*;
use crate::lease::Observer;
use crate::lease::record::Contact;

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn contact(node: u32) -> Contact {
    let addresses = Vec::new();
    Contact { node: NodeId::new(node), incarnation: Incarnation::new(1), addresses }
}

/// Node 1 took the lease of a new cluster at 1 s.
fn holder() -> Holder {
    let mut observer = Observer::new(LeaseTimes::DEFAULT);
    observer.observe(at(1000), None);
    let taking = observer.begin_take(at(1000), contact(1)).unwrap();
    Holder::taken(taking, LeaseTimes::DEFAULT, at(1000))
}

fn renew(holder: &mut Holder, sent: u64, result: WriteResult) -> PrimaryLease {
    let write = holder.begin_renewal(at(sent)).unwrap();
    holder.renewed(&write, result);
    write.record
}

#[test]
fn validity_counts_from_before_the_write() {
    let mut holder = holder();
    assert!(holder.valid(at(10_999)) && !holder.valid(at(11_000)));
    assert_eq!(holder.renewal_due(), at(3000));
    assert_eq!(holder.demotes_from(), at(3020));
    let write = holder.begin_renewal(at(3000)).unwrap();
    assert_eq!(holder.valid_until(), at(11_000), "nothing is known of it yet");
    holder.renewed(&write, WriteResult::Committed);
    assert_eq!(holder.valid_until(), at(13_000));
    assert_eq!(holder.renewal_due(), at(5000));
}

#[test]
fn only_a_certain_success_prolongs() {
    let mut holder = holder();
    for (sent, result) in [(2000, WriteResult::Unknown), (3000, WriteResult::Failed)] {
        renew(&mut holder, sent, result);
        assert_eq!(holder.valid_until(), at(11_000), "{result:?}");
    }
    let first = holder.begin_renewal(at(4000)).unwrap();
    let second = holder.begin_renewal(at(5000)).unwrap();
    assert_eq!(
        (first.record.sequence, second.record.sequence),
        (1_000_000_003, 1_000_000_004),
        "E285"
    );
    holder.renewed(&first, WriteResult::Committed);
    assert_eq!(holder.valid_until(), at(11_000), "it was given up");
    holder.renewed(&second, WriteResult::Committed);
    assert_eq!(holder.valid_until(), at(15_000));
    // Late, but nobody took over.
    assert!(!holder.valid(at(30_000)));
    renew(&mut holder, 30_000, WriteResult::Committed);
    assert!(holder.valid(at(39_999)));
    renew(&mut holder, 31_000, WriteResult::Refused);
    assert!(holder.is_over() && !holder.valid(at(31_000)));
    assert_eq!(holder.begin_renewal(at(31_000)), None);
}

#[test]
fn e286_a_shorter_lease_cuts_at_once() {
    let mut holder = holder();
    let long = LeaseTimes::new(
        Duration::from_secs(1),
        Duration::from_secs(3),
        Duration::from_secs(20),
        10_000,
    );
    let long = long.unwrap();
    holder.set_times(long);
    assert_eq!(holder.storage(), Duration::from_secs(2), "not announced yet");
    renew(&mut holder, 2000, WriteResult::Unknown);
    assert_eq!(holder.storage(), Duration::from_secs(2), "perhaps not announced");
    let record = renew(&mut holder, 3000, WriteResult::Committed);
    assert_eq!((record.primary, record.storage), (long.primary(), holder.storage()));
    assert_eq!(holder.valid_until(), at(23_000));
    assert_eq!(holder.storage(), Duration::from_secs(3));
    holder.set_times(LeaseTimes::DEFAULT);
    let record = renew(&mut holder, 4000, WriteResult::Unknown);
    assert_eq!(holder.valid_until(), at(14_000), "E286: the record may be stored");
    assert_eq!(record.storage, Duration::from_secs(3), "leases that long may be out");
    assert_eq!(holder.storage(), Duration::from_secs(2));
}

#[test]
fn a_reload_within_the_term_waits_for_the_longest_lease_of_it() {
    let mut holder = holder();
    let leases = |holder: &Holder, now| {
        let StorageLeases { lasts, until } = holder.storage_leases(at(now));
        (lasts, until)
    };
    let second = Duration::from_secs(1);
    assert_eq!(leases(&holder, 1000), (2 * second, at(3020)));
    assert_eq!(leases(&holder, 5000), (2 * second, at(7020)));
    let minute = LeaseTimes::new(second, 60 * second, 10 * second, 10_000).unwrap();
    holder.set_times(minute);
    assert_eq!(leases(&holder, 5000).0, 2 * second, "not announced yet");
    renew(&mut holder, 5000, WriteResult::Committed);
    assert_eq!(leases(&holder, 6000), (60 * second, at(66_600)));
    // Leases of a minute were granted: shorter ones from now on do not end those.
    holder.set_times(LeaseTimes::DEFAULT);
    assert_eq!(leases(&holder, 6000), (2 * second, at(66_600)));
}

#[test]
fn a_release_ends_before_it_is_written() {
    let mut holder = holder();
    let stored = holder.record.clone();
    let write = holder.begin_release(at(2000));
    assert!(!holder.valid(at(2000)) && holder.is_over());
    assert_eq!(write.check(Some(&stored)), Ok(()));
    let again = holder.begin_release(at(2100));
    assert_eq!(again.check(Some(&stored)), Ok(()), "when the first was lost");
    let passed = LeaseConflict::Passed { term: Term::new(1), found: 1_000_000_002, released: true };
    assert_eq!(again.check(Some(&again.record)), Err(passed.clone()));
    assert_eq!(holder.guard(Some(&again.record)), Err(passed));
    let mut observer = Observer::new(LeaseTimes::DEFAULT);
    observer.observe(at(2200), Some(again.record.clone()));
    let taking = observer.begin_take(at(2200), contact(2)).unwrap();
    assert_eq!(
        taking.check(Some(&write.record)).unwrap_err().to_string(),
        "the lease record changed since it was observed: found Some((Term(1), 1000000001))"
    );
    let next = Holder::taken(taking, LeaseTimes::DEFAULT, at(2300));
    assert_eq!(
        (next.term(), next.demotes_from()),
        (Term::new(2), at(4320)),
        "L3: from when it was known"
    );
}

#[test]
fn new_addresses_survive_the_renewal_under_way() {
    let mut holder = holder();
    let write = holder.begin_renewal(at(2000)).unwrap();
    let new = alloc::vec![String::from("10.0.0.2:7000")];
    holder.set_addresses(new.clone());
    holder.renewed(&write, WriteResult::Committed);
    assert!(write.record.holder.addresses.is_empty());
    let next = holder.begin_renewal(at(4000)).unwrap();
    assert_eq!(next.record.holder.addresses, new);
}

#[test]
fn writes_of_a_former_primary_are_refused() {
    let mut old = holder();
    let mine = old.record.clone();
    assert_eq!(old.guard(Some(&mine)), Ok(()));
    assert_eq!(old.guard(None), Err(LeaseConflict::Gone { expected: Term::new(1) }));
    let mut theirs = mine.clone();
    theirs.term = Term::new(2);
    theirs.holder = contact(2);
    let error = old.guard(Some(&theirs)).unwrap_err();
    let text = "term-2 of node-2 start-1 is in force, expected term-1";
    assert_eq!(error.to_string(), text);
    let write = old.begin_renewal(at(2000)).unwrap();
    assert_eq!(write.check(Some(&theirs)), Err(error));
    // The same manager after a restart is another holder.
    theirs = mine;
    theirs.holder.incarnation = Incarnation::new(2);
    assert!(old.guard(Some(&theirs)).is_err());
}

/// L5: leases of standbys are as long as what is set, whatever was taken over, so that they end.
#[test]
fn standbys_grant_what_is_set() {
    let second = Duration::from_secs(1);
    let long = LeaseTimes::new(second, 30 * second, 10 * second, 10_000).unwrap();
    let mut observer = Observer::new(LeaseTimes::DEFAULT);
    let mut record = crate::lease::record::tests::record(2, 1, 1);
    (record.storage, record.standby) = (30 * second, 30 * second);
    observer.observe(at(0), Some(record));
    let taking = observer.begin_take(at(11_000), contact(1)).unwrap();
    let announced = (taking.record.storage, taking.record.standby);
    assert_eq!(announced, (30 * second, 2 * second));
    let mut holder = Holder::taken(taking, LeaseTimes::DEFAULT, at(12_000));
    // A standby granted 30 s shortly before 12 s by the former record.
    assert_eq!(holder.storage_leases(at(12_100)).until, at(42_300));
    let record = renew(&mut holder, 42_299, WriteResult::Committed);
    assert_eq!((record.storage, record.standby), (30 * second, 2 * second));
    let record = renew(&mut holder, 42_300, WriteResult::Committed);
    assert_eq!((record.storage, record.standby), (2 * second, 2 * second));
    holder.set_times(long);
    renew(&mut holder, 43_000, WriteResult::Unknown);
    holder.set_times(LeaseTimes::DEFAULT);
    let until = holder.storage_leases(at(43_500)).until;
    assert_eq!(until, at(73_800), "a standby may have read the record of unknown result");
}

/// Who takes over has not read the settings: what predecessors announced counts until it has, and
/// until their leases are over.
#[test]
fn a_predecessors_drift_bound_counts_until_the_clusters_is_known() {
    let mut observer = Observer::new(LeaseTimes::DEFAULT);
    let mut record = crate::lease::record::tests::record(2, 1, 1);
    record.drift_ppm = 30_000;
    observer.observe(at(0), Some(record));
    let taking = observer.begin_take(at(11_000), contact(1)).unwrap();
    let mut holder = Holder::taken(taking, LeaseTimes::DEFAULT, at(12_000));
    assert_eq!(holder.demotes_from(), at(14_060));
    assert_eq!(holder.storage_leases(at(13_000)).until, at(15_060));
    // Nobody has told it what the operator has set.
    assert_eq!(renew(&mut holder, 20_000, WriteResult::Committed).drift_ppm, 30_000);
    assert_eq!(holder.storage_leases(at(20_000)).until, at(22_060));
    let mut informed = holder.clone();
    informed.set_times(LeaseTimes::DEFAULT);
    assert_eq!(renew(&mut informed, 20_100, WriteResult::Committed).drift_ppm, 10_000);
    // Told early, it goes on until the leases are over.
    holder.informed = true;
    assert_eq!(renew(&mut holder, 14_059, WriteResult::Committed).drift_ppm, 30_000);
    assert_eq!(renew(&mut holder, 14_060, WriteResult::Committed).drift_ppm, 10_000);
}

#[test]
fn the_largest_drift_bound_of_a_term_counts() {
    let mut holder = holder();
    let second = Duration::from_secs(1);
    let loose = LeaseTimes::new(second, 2 * second, 10 * second, 30_000).unwrap();
    assert_eq!(renew(&mut holder, 4000, WriteResult::Committed).drift_ppm, 10_000);
    holder.set_times(loose);
    assert_eq!(holder.storage_leases(at(5000)).until, at(7060), "at once");
    assert_eq!(renew(&mut holder, 5000, WriteResult::Unknown).drift_ppm, 30_000);
    holder.set_times(LeaseTimes::DEFAULT);
    assert_eq!(renew(&mut holder, 6000, WriteResult::Committed).drift_ppm, 30_000);
    assert_eq!(holder.storage_leases(at(6000)).until, at(8060), "what was granted before");
}
