use super::*;
use crate::config::Value;

#[test]
fn the_defaults_are_those_of_leases_and_sessions() {
    let settings = schema().defaults();
    assert_eq!(lease_times(&settings), Ok(LeaseTimes::default()));
    assert_eq!(settings.duration(SESSION_TIMEOUT), SESSION_TIMEOUT_DEFAULT);
    assert_eq!(settings.get(LEASE_STORAGE), Some(Value::Duration(Duration::from_secs(2))));
    for name in [SYNCING_NODE_MAX, SYNCING_CLUSTER_MAX] {
        assert!(settings.number(name) > 0, "{name}");
    }
    assert!(settings.duration(ROUTING_POLL_TIME) > Duration::ZERO);
}

#[test]
fn times_that_contradict_each_other_are_refused() {
    let rows = [
        ("lease.storage = \"1500 ms\"", "storage lease: found 1.5s, expected 2s (two heartbeats)"),
        ("lease.primary = \"9 s\"", "lease.primary: found \"9 s\", expected \"10 s\" to \"5 min\""),
        (
            "lease.primary = \"1 min\"",
            "session.timeout is 60s, a takeover of the primary takes 63.",
        ),
        ("lease.drift = 1", "lease.drift: found 1, expected 2 to 100 thousandths"),
        ("syncing.cluster_max = 3", "syncing.cluster_max is 3, less than syncing.node_max"),
        ("lease.storag = 1", "did you mean \"lease.storage\"?"),
    ];
    for (text, expected) in rows {
        let error = schema().parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let text = "heartbeat.interval = \"500 ms\"\nlease.storage = \"1 s\"\nlease.drift = 5\n";
    let settings = schema().parse(text).unwrap();
    let times = lease_times(&settings).unwrap();
    assert_eq!((times.drift_ppm(), times.storage()), (5000, Duration::from_secs(1)));
}

#[test]
fn rules_are_what_is_set() {
    assert_eq!(rules(&schema().defaults()), Ok(Rules::default()));
    let text = "lease.storage = \"4 s\"\nsyncing.node_max = 7\nsyncing.cluster_max = 9\n\
                chain.restore_order = true\n";
    let rules = rules(&schema().parse(text).unwrap()).unwrap();
    assert_eq!(rules.times.storage(), Duration::from_secs(4));
    let found = (rules.syncing_per_node_max, rules.syncing_max, rules.restore_order);
    assert_eq!(found, (7, 9, true));
    // The history of routing info is bounded by its size (E268); no setting counts versions.
    assert!(schema().parse("routing.history = 100").is_err());
}
