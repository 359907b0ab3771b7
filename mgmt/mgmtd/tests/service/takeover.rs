//! Managers and the KV that die, return, and hand over.

use core::time::Duration;

use engine_runtime::{Env, Signal};
use engine_types::ClusterId;
use mgmt_cluster::command::Command;
use mgmt_protocol::{Operation, StandingSaid, StatusAsk};

use crate::ground::{CLUSTER, Ground, MANAGERS, command, operation, summary};

/// Which manager is primary.
fn primary(ground: &Ground) -> Option<usize> {
    let found = std::rc::Rc::new(core::cell::Cell::new(None));
    let told = found.clone();
    ground.operate(move |env, managers| async move {
        for (index, address) in managers.addresses().into_iter().enumerate().take(2) {
            let deadline = env.now() + Duration::from_millis(500);
            let status = managers.call_at(address, &StatusAsk { summary: true }, deadline).await;
            if status.is_ok_and(|status| status.standing == StandingSaid::Primary) {
                told.set(Some(index));
            }
        }
    });
    found.get()
}

#[test]
fn a_planned_handover_pauses_nothing() {
    let ground = Ground::new(1);
    let models = ground.with_chains(5);
    ground.run(Duration::from_secs(5));
    for round in 0..4 {
        let before = primary(&ground).expect("somebody is primary");
        if round % 2 == 0 {
            ground.operate(|env, managers| async move {
                operation(&env, &managers, Operation::HandOver).await.unwrap();
            });
        } else {
            ground.sim.signal(MANAGERS[before], Signal::Terminate);
        }
        let end = ground.sim.now() + Duration::from_secs(6);
        let paused = ground.sim.run_while(Duration::from_secs(6), |sim| {
            sim.now() < end && models.iter().all(|model| model.serving() == 5)
        });
        let never = paused.unwrap() && end <= ground.sim.now();
        assert!(never, "round {round}: data I/O paused");
        assert_ne!(primary(&ground), Some(before), "round {round}");
        if round % 2 == 1 {
            ground.manage(MANAGERS[before], CLUSTER);
        }
    }
}

/// L5: the KV is away for six seconds, and nobody who reads or writes data notices.
#[test]
fn data_io_goes_on_while_the_kv_restarts() {
    let ground = Ground::new(2);
    let models = ground.with_chains(5);
    ground.run(Duration::from_secs(5));
    ground.crash_kv();
    let away = ground
        .sim
        .run_while(Duration::from_secs(6), |_| models.iter().all(|model| model.serving() == 5));
    assert!(!away.unwrap(), "a lease ran out");
    ground.serve_kv();
    let back = ground
        .sim
        .run_while(Duration::from_secs(20), |_| models.iter().all(|model| model.serving() == 5));
    assert!(!back.unwrap(), "a lease ran out");
    ground.operate(|env, managers| async move {
        command(&env, &managers, Command::StopChains(true)).await.unwrap();
        command(&env, &managers, Command::StopChains(false)).await.unwrap();
    });
}

#[test]
fn the_death_of_the_primary_is_survived_with_everything_that_was_done() {
    let ground = Ground::new(3);
    let models = ground.with_chains(5);
    for round in 0..3 {
        let before = primary(&ground).expect("somebody is primary");
        ground.sim.crash(MANAGERS[before]);
        ground.run(Duration::from_millis(10_500 + 100 * round));
        assert_eq!(primary(&ground), Some(1 - before), "L2: taken over after the lease");
        let back = ground
            .sim
            .run_while(Duration::from_secs(5), |_| models.iter().any(|model| model.serving() < 5));
        assert!(back.unwrap(), "leases are granted again");
        ground.manage(MANAGERS[before], CLUSTER);
        ground.operate(|env, managers| async move {
            let summary = summary(&env, &managers).await;
            assert_eq!((summary.chains, summary.nodes_alive), (5, 3));
        });
    }
}

#[test]
fn a_manager_of_another_cluster_does_not_touch_the_records() {
    let ground = Ground::without_managers(4);
    ground.manage(MANAGERS[0], CLUSTER);
    ground.run(Duration::from_secs(5));
    ground.sim.crash(MANAGERS[0]);
    let ended = ground.manage(MANAGERS[1], ClusterId::new(8));
    ground.run(Duration::from_secs(30));
    let told = ended.borrow().clone().unwrap_or_default();
    assert!(told.contains("OtherCluster"), "{told:?}");
}

/// L5: standbys renew the leases of unchanged targets, so that data I/O pauses for a fraction of
/// the time that a takeover takes.
#[test]
fn standbys_renew_leases_while_there_is_no_primary() {
    let ground = Ground::new(5);
    let models = ground.with_chains(5);
    ground.run(Duration::from_secs(5));
    let before = primary(&ground).expect("somebody is primary");
    ground.sim.crash(MANAGERS[before]);
    let crashed = ground.sim.now();
    let mut paused = Duration::ZERO;
    let step = Duration::from_millis(10);
    while ground.sim.now().saturating_since(crashed) < Duration::from_secs(20) {
        ground.run(step);
        if models.iter().any(|model| model.serving() < 5) {
            paused += step;
        }
    }
    assert!(paused < Duration::from_secs(2), "L5: data I/O paused for {paused:?}");
    assert_eq!(primary(&ground), Some(1 - before));
    // A node that dies now is found like any other.
    ground.crash_node(0);
    ground.run(Duration::from_millis(4_500));
    let routing = models[1].follower.borrow().clone().unwrap().routing();
    assert!(routing.chains.values().all(|chain| chain.serving().count() == 2));
}
