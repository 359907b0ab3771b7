use std::vec;
use std::vec::Vec;

use engine_types::{
    ChainId, ChainInfo, ChainVersion, ClusterId, NodeId, RoutingInfo, RoutingVersion, SessionId,
};

use super::{
    Delta, DeltaError, HISTORY_KEYS_MAX, History, RoutingKey, RoutingUpdate, update_since,
};

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
