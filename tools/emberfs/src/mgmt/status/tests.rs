use engine_types::{ClusterId, Incarnation, NodeId};
use mgmt_cluster::lease::{Contact, LeaseTimes, PrimaryLease, Term};
use mgmt_protocol::ClusterSummary;

use super::report::write;
use super::*;
use crate::testing::Paper;

fn contact(node: u32) -> Contact {
    let addresses = vec![format!("127.0.0.{node}:7200")];
    Contact { node: NodeId::new(node), incarnation: Incarnation::new(1), addresses }
}

fn manager(node: u32, standing: StandingSaid, term: u64, holder: u32) -> Found {
    let times = LeaseTimes::DEFAULT;
    let lease = PrimaryLease {
        holder: contact(holder),
        term: Term::new(term),
        sequence: 1,
        released: false,
        primary: times.primary(),
        storage: times.storage(),
        standby: times.storage(),
        drift_ppm: times.drift_ppm(),
    };
    let summary = ClusterSummary {
        name: "test".to_owned(),
        nodes: 3,
        nodes_alive: 2,
        chains: 10,
        chains_whole: 7,
        ..ClusterSummary::default()
    };
    let status = ManagerStatus {
        me: contact(node),
        cluster: ClusterId::new(1),
        standing,
        lease: Some(lease),
        since: Duration::from_secs(90),
        summary: (standing == StandingSaid::Primary).then_some(summary),
        trouble: String::new(),
    };
    Found { address: contact(node).addresses[0].parse().unwrap(), told: Ok(status) }
}

fn silent(node: u32) -> Found {
    let address = contact(node).addresses[0].parse().unwrap();
    Found { address, told: Err("Connection refused (os error 111)".to_owned()) }
}

#[test]
fn the_exit_code_says_whether_everything_is_served() {
    use StandingSaid::{Primary, Standby, TakingOver};
    let mut unserved = manager(1, Primary, 5, 1);
    if let Ok(ManagerStatus { summary: Some(summary), .. }) = &mut unserved.told {
        summary.chains_unserved = 1;
    }
    for (found, expected) in [
        (vec![manager(1, Primary, 5, 1), silent(2)], Exit::Ok),
        (vec![manager(1, Standby, 5, 2), manager(2, TakingOver, 5, 2)], Exit::Problem),
        (vec![unserved, manager(2, Standby, 5, 1)], Exit::Problem),
    ] {
        assert_eq!(judge(&found), expected);
    }
    // The later term counts, whoever answers first.
    let both = [manager(1, Primary, 5, 1), manager(2, Primary, 6, 2)];
    assert_eq!(primary(&both).map(|(address, _)| address), Some(both[1].address));
}

#[test]
fn a_primary_that_was_not_named_is_asked_too() {
    let found = [manager(1, StandingSaid::Standby, 5, 3), silent(2)];
    let expected: [SocketAddr; 1] = ["127.0.0.3:7200".parse().unwrap()];
    assert_eq!(named(&found), expected);
    let found = [manager(1, StandingSaid::Standby, 5, 3), manager(3, StandingSaid::Primary, 5, 3)];
    assert!(named(&found).is_empty());
}

#[test]
fn every_manager_has_a_row() {
    let found = [
        manager(1, StandingSaid::Standby, 5, 2),
        manager(2, StandingSaid::Primary, 5, 2),
        silent(3),
    ];
    let paper = Paper::default();
    write(&mut Output::to(paper.clone(), false), "c-1", &found).unwrap();
    let lines = paper.lines();
    for (at, begins) in [
        (0, "manager  address         standing"),
        (1, "node-1   127.0.0.1:7200  standby"),
        (2, "node-2   127.0.0.2:7200  primary"),
        (3, "-        127.0.0.3:7200  Connection refused"),
    ] {
        assert!(lines[at].starts_with(begins), "{lines:?}");
    }
    assert!(lines[2].ends_with("5  1 min"), "{lines:?}");
    assert!(lines.contains(&"chains    10: 7 whole, 3 degraded, 0 unserved".to_owned()));
    assert!(lines.contains(&"look      emberfs chain list --unwhole".to_owned()), "{lines:?}");

    let paper = Paper::default();
    write(&mut Output::to(paper.clone(), true), "c-1", &found[..1]).unwrap();
    let told: serde_json::Value = serde_json::from_str(&paper.lines()[0]).unwrap();
    assert!(told["primary"].is_null() && told["summary"].is_null(), "{told}");
    assert_eq!(told["managers"][0]["holder"], "node-2");
}

#[test]
fn an_address_is_not_told_twice() {
    let address: SocketAddr = "10.0.0.1:7200".parse().unwrap();
    let why = |text: &str| {
        let tried = vec![(address, text.to_owned())];
        reason(address, ManagerError::Unreachable { tried })
    };
    assert_eq!(why("10.0.0.1:7200 cannot be reached: not authenticated"), "not authenticated");
    assert_eq!(why("no memory to send from"), "no memory to send from");
}
