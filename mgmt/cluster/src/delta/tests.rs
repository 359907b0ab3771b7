use std::vec;
use std::vec::Vec;

use std::collections::BTreeSet;

use engine_types::{
    ChainId, ChainInfo, ChainVersion, ClusterId, NodeId, Rng, RoutingInfo, RoutingVersion,
    SessionId, Timeline,
};

use super::{
    Delta, DeltaError, HISTORY_KEYS_MAX, History, Revoked, RevokedChange, RoutingKey,
    RoutingUpdate, revocation_keys, update_since,
};
use crate::command::Command;
use crate::testing::Small;

fn version(number: u64) -> RoutingVersion {
    RoutingVersion::new(number)
}

fn chain(info: &mut RoutingInfo, id: u32, version: u32) -> RoutingKey {
    let id = ChainId::new(id).expect("not 0");
    let version = ChainVersion::new(version);
    info.chains.insert(id, ChainInfo { version, members: Vec::new() });
    RoutingKey::Chain(id)
}

fn delta(info: &RoutingInfo, history: &History, since: u64) -> Delta {
    match update_since(info, history, version(since)) {
        RoutingUpdate::Delta(delta) => delta,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_delta_leads_on_from_every_version_it_covers() {
    let mut info = RoutingInfo::empty(ClusterId::new(1));
    let mut history = History::starting_at(version(0));
    let mut versions = vec![info.clone()];
    for number in 1..=20 {
        info.version = version(number.into());
        let mut keys = vec![chain(&mut info, number % 7 + 1, number)];
        if number % 5 == 0 {
            let gone = ChainId::new(number % 3 + 1).expect("not 0");
            info.chains.remove(&gone);
            keys = vec![RoutingKey::Chain(gone)];
            info.chains.remove(&ChainId::new(number % 7 + 1).expect("not 0"));
            keys.push(RoutingKey::Chain(ChainId::new(number % 7 + 1).expect("not 0")));
        }
        if number % 4 == 0 {
            info.revoked_below = SessionId::new(number.into());
            keys.push(RoutingKey::Revoked);
        }
        history.push(info.version, keys);
        versions.push(info.clone());
    }
    for (since, older) in versions.iter().enumerate() {
        for newer in &versions[since..versions.len() - 1] {
            let mut follower = newer.clone();
            let since = u64::try_from(since).unwrap();
            delta(&info, &history, since).apply(&mut follower).expect("it fits");
            assert_eq!(follower, info, "E267: from {since} at {}", newer.version);
        }
        if older.version == info.version {
            assert_eq!(update_since(&info, &history, older.version), RoutingUpdate::Current);
        }
    }
}

#[test]
fn a_delta_that_does_not_fit_changes_nothing() {
    let mut info = RoutingInfo::empty(ClusterId::new(1));
    info.version = version(5);
    let mut history = History::starting_at(version(2));
    let key = chain(&mut info, 1, 1);
    history.push(version(5), vec![key]);
    let fits = delta(&info, &history, 3);
    let mut early = RoutingInfo::empty(ClusterId::new(1));
    early.version = version(2);
    let before = early.clone();
    let (from, to) = (version(3), version(5));
    let expected = DeltaError::OtherVersion { found: version(2), from, to };
    assert_eq!(fits.clone().apply(&mut early), Err(expected));
    assert_eq!(early, before);
    let mut late = info.clone();
    assert!(fits.clone().apply(&mut late).is_err());
    let mut alien = RoutingInfo::empty(ClusterId::new(2));
    alien.version = version(4);
    let (found, expected) = (ClusterId::new(1), ClusterId::new(2));
    assert_eq!(fits.apply(&mut alien), Err(DeltaError::OtherCluster { found, expected }));
}

#[test]
fn who_is_older_than_the_history_gets_everything() {
    let mut info = RoutingInfo::empty(ClusterId::new(1));
    let mut history = History::starting_at(version(0));
    let many = || (0..30_000).map(|id| RoutingKey::Node(NodeId::new(id))).collect::<Vec<_>>();
    for number in 1..=4 {
        history.push(version(number), many());
        info.version = version(number);
    }
    assert!(history.keys <= HISTORY_KEYS_MAX, "E268: {} keys", history.keys);
    assert_eq!(history.base, version(2));
    assert_eq!(update_since(&info, &history, version(1)), RoutingUpdate::Full(&info));
    assert_eq!(delta(&info, &history, 2).nodes.len(), 30_000);
    // A version of a later primary is not known here.
    assert_eq!(update_since(&info, &history, version(9)), RoutingUpdate::Full(&info));
}

#[test]
fn e267_no_delta_leads_into_another_timeline() {
    let mut info = RoutingInfo::empty(ClusterId::new(1));
    let mut history = History::starting_at(version(0));
    for number in 1..=4 {
        info.version = version(number);
        let mut keys = vec![chain(&mut info, 1, u32::try_from(number).unwrap())];
        if number == 3 {
            info.timeline = Timeline::new(1);
            keys.push(RoutingKey::Timeline);
        }
        history.push(info.version, keys);
    }
    assert_eq!(update_since(&info, &history, version(2)), RoutingUpdate::Full(&info));
    let fits = delta(&info, &history, 3);
    let mut other = RoutingInfo::empty(ClusterId::new(1));
    other.version = version(3);
    let (found, expected) = (Timeline::new(1), Timeline::new(0));
    assert_eq!(fits.apply(&mut other), Err(DeltaError::OtherTimeline { found, expected }));
}

#[test]
fn versions_of_another_timeline_are_not_those_of_this_one() {
    let mut small = Small::empty();
    let (old, before) = (small.cluster.timeline(), small.cluster.routing().version);
    small.command(&Command::RaiseTimeline).expect("a new timeline");
    small.cluster.plan_revocation().expect("versions are left");
    small.cluster.publish_revoked(SessionId::new(1), BTreeSet::new());
    let info = small.cluster.routing();
    assert!(old < info.timeline && before < info.version);
    let update = |timeline, since| small.cluster.routing_update(timeline, since);
    // The numbers of the lost history may be any: older, the same, newer.
    for since in [version(0), before, info.version, version(140_000)] {
        assert_eq!(update(old, since), Some(RoutingUpdate::Full(info)), "{since}");
    }
    assert_eq!(update(info.timeline, info.version), Some(RoutingUpdate::Current));
    let last = RoutingVersion::new(info.version.get() - 1);
    assert!(matches!(update(info.timeline, last), Some(RoutingUpdate::Delta(_))));
}

#[test]
fn e267_revocations_are_added() {
    let mut rng = Rng::new(7);
    let mut info = RoutingInfo::empty(ClusterId::new(1));
    let mut history = History::starting_at(version(0));
    let mut versions = vec![info.clone()];
    for number in 1..=200 {
        let mut sessions = info.revoked.clone();
        let mut below = info.revoked_below.get();
        sessions.insert(SessionId::new(below + rng.below(50)));
        if rng.chance(100) {
            below += rng.below(20);
            sessions = sessions.split_off(&SessionId::new(below));
        }
        if rng.chance(20) {
            sessions.pop_first(); // another history: all are said
        }
        let next = Revoked { below: SessionId::new(below), sessions };
        info.version = version(number);
        history.push(info.version, revocation_keys(&info, &next));
        (info.revoked_below, info.revoked) = (next.below, next.sessions);
        versions.push(info.clone());
    }
    let mut whole = 0;
    for (since, older) in (0..200).zip(&versions) {
        let delta = delta(&info, &history, since);
        whole += u32::from(matches!(delta.revoked, Some(RevokedChange::Whole(_))));
        for follower in [older, &versions[(usize::try_from(since).unwrap() + 200) / 2]] {
            let mut follower = follower.clone();
            if follower.version < info.version {
                delta.clone().apply(&mut follower).expect("it fits");
                assert_eq!(follower, info, "E267: from {since}");
            }
        }
    }
    assert!(0 < whole && whole < 200, "{whole}");
    // One that is closed while a thousand revoked ones are listed is one entry.
    info.revoked = (10..1010).map(SessionId::new).collect();
    let mut next = Revoked { below: info.revoked_below, sessions: info.revoked.clone() };
    next.sessions.insert(SessionId::new(2000));
    let one = [RoutingKey::RevokedOne(SessionId::new(2000))];
    assert_eq!(revocation_keys(&info, &next), one);
}
