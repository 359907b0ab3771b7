use super::*;

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn grant(version: u32, sent: u64) -> Grant {
    Grant {
        target: TargetId::new(5),
        incarnation: Incarnation::new(2),
        version: ChainVersion::new(version),
        sent: at(sent),
        lasts: Duration::from_secs(2),
    }
}

fn serves(lease: &StorageLease, now: u64, version: u32) -> bool {
    lease.serves(at(now), ChainVersion::new(version), Incarnation::new(2))
}

#[test]
fn a_lease_counts_from_the_sending() {
    let mut lease = StorageLease::new(TargetId::new(5), Incarnation::new(2));
    assert!(!serves(&lease, 0, 0) && !serves(&lease, 0, 1), "nothing survives a start");
    assert_eq!(lease.granted(at(1900), grant(7, 1000)), GrantOutcome::Extended);
    assert!(serves(&lease, 2999, 7) && !serves(&lease, 3000, 7));
    assert!(!serves(&lease, 2000, 6) && !serves(&lease, 2000, 8), "R4");
    assert!(!lease.serves(at(2000), ChainVersion::new(7), Incarnation::new(3)), "R5");
    // Long after its end: harmless.
    assert_eq!(lease.granted(at(60_000), grant(7, 1500)), GrantOutcome::Extended);
    assert!(!serves(&lease, 60_000, 7));
}

#[test]
fn answers_in_any_order_and_of_any_content() {
    let mut lease = StorageLease::new(TargetId::new(5), Incarnation::new(2));
    lease.granted(at(5000), grant(7, 5000));
    let foreign = [
        Grant { target: TargetId::new(6), ..grant(9, 5000) },
        Grant { incarnation: Incarnation::new(1), ..grant(9, 5000) },
        Grant { incarnation: Incarnation::new(3), ..grant(9, 5000) },
    ];
    for grant in foreign {
        assert_eq!(lease.granted(at(5000), grant), GrantOutcome::Foreign);
    }
    let lasts = STORAGE_LEASE_MAX + Duration::from_nanos(1);
    for nonsense in [grant(7, 5001), Grant { lasts, ..grant(7, 5000) }] {
        assert_eq!(lease.granted(at(5000), nonsense), GrantOutcome::Nonsense);
    }
    for (version, sent, outcome) in [
        (7, 4000, GrantOutcome::Older),
        (7, 5000, GrantOutcome::Older),
        (6, 5000, GrantOutcome::OldVersion),
    ] {
        assert_eq!(lease.granted(at(5000), grant(version, sent)), outcome);
    }
    assert_eq!(lease.until(), at(7000));
    assert_eq!(lease.granted(at(5000), grant(8, 4000)), GrantOutcome::Extended);
    assert_eq!((lease.version(), lease.until()), (ChainVersion::new(8), at(6000)));
}

#[test]
fn e289_what_was_given_up_never_comes_back() {
    let mut lease = StorageLease::new(TargetId::new(5), Incarnation::new(2));
    lease.granted(at(1000), grant(7, 1000));
    lease.give_up_before(ChainVersion::new(7));
    assert!(serves(&lease, 1000, 7), "it is the installed one");
    lease.give_up_before(ChainVersion::new(8));
    assert!(!serves(&lease, 1000, 7) && !serves(&lease, 1000, 8));
    assert_eq!(lease.granted(at(1100), grant(7, 1100)), GrantOutcome::OldVersion);
    assert_eq!(lease.granted(at(1100), grant(8, 1100)), GrantOutcome::Extended);
    lease.drop_lease(at(1100));
    assert!(!serves(&lease, 1100, 8));
}

#[test]
fn e289_a_dropped_lease_is_not_taken_from_late_answers() {
    let mut lease = StorageLease::new(TargetId::new(5), Incarnation::new(2));
    lease.granted(at(1000), grant(7, 1000));
    // A heartbeat left at 1.5 s, the store fails at 1.6 s, "offline" is sent, the answer arrives.
    lease.drop_lease(at(1600));
    for (version, sent) in [(7, 1500), (8, 1500), (8, 1600)] {
        assert_eq!(lease.granted(at(1700), grant(version, sent)), GrantOutcome::Dropped);
        assert!(!serves(&lease, 1700, version), "the manager counts on {version} being over");
    }
    assert_eq!(lease.granted(at(1700), grant(7, 1601)), GrantOutcome::Extended);
    lease.drop_lease(at(1500));
    assert_eq!(lease.granted(at(1700), grant(7, 1599)), GrantOutcome::Dropped, "never earlier");
}
