//! Peers that die, freeze or cannot be reached; networks that lose, delay and cut.

use std::time::Duration;

use engine_net::{Call, CallError};
use engine_runtime::Env;
use engine_types::Status;

use crate::ground::{CLIENT, Ground, SERVER, check, echo, request, soon, worlds};

#[test]
fn a_server_that_dies_leaves_results_unknown_and_its_successor_is_found() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.run_client(|env, client| async move {
            check(&echo(&env, &client, 0, 10, 0).await.unwrap(), 0, 10);
            let body = request(1, 0, 2_000_000);
            let error = client.call(Call::new(&body, soon(&env))).await.unwrap_err();
            assert!(matches!(error, CallError::Lost { .. }), "{error}");
            assert_eq!(error.status(), Status::UnknownResult);
            check(&echo(&env, &client, 2, 10, 0).await.unwrap(), 2, 10);
            assert_eq!(client.metrics().counters.connections, 2);
        });
        ground.sim.run_for(Duration::from_millis(500)).unwrap();
        ground.sim.kill(SERVER);
        ground.sim.run_for(Duration::from_millis(500)).unwrap();
        ground.start_server();
        ground.finish();
    });
}

#[test]
fn a_machine_that_loses_power_is_noticed_by_its_silence() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.run_client(|env, client| async move {
            let body = request(1, 0, 60_000_000);
            let started = env.now();
            let call = Call::new(&body, started + Duration::from_secs(120));
            let error = client.call(call).await.unwrap_err();
            assert!(matches!(error, CallError::Lost { .. }), "{error}");
            let took = env.now().saturating_since(started);
            assert!(took < Duration::from_secs(40), "noticed after {took:?}");
        });
        ground.sim.run_for(Duration::from_millis(500)).unwrap();
        ground.sim.crash(SERVER);
        ground.finish();
    });
}

#[test]
fn a_lossy_slow_network_delays_and_loses_nothing() {
    worlds(|seed| {
        let ground = Ground::with(seed, Default::default(), |sim| {
            sim.link.loss_permille = 30;
            sim.link.duplicate_permille = 20;
            sim.link.reorder_permille = 50;
        });
        ground.client(|env, client| async move {
            for sequence in 0..30 {
                let len = [0, 4096, 100_000][sequence as usize % 3];
                let body = request(sequence, 0, 0);
                let reply = echo(&env, &client, sequence, len, 0).await;
                match reply {
                    Ok(reply) => check(&reply, sequence, len),
                    Err(error) => panic!("{body:?}: {error}"),
                }
            }
        });
    });
}

#[test]
fn a_partition_ends_and_work_goes_on() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.run_client(|env, client| async move {
            let mut done = 0u64;
            let until = env.now() + Duration::from_secs(90);
            for sequence in 0.. {
                if until < env.now() {
                    break;
                }
                let body = request(sequence, 0, 0);
                let deadline = env.now() + Duration::from_secs(1);
                let call = client.call(Call::new(&body, deadline)).await;
                done += u64::from(call.is_ok());
                env.sleep_until(env.now() + Duration::from_millis(100)).await;
            }
            check(&echo(&env, &client, 1, 100_000, 0).await.unwrap(), 1, 100_000);
            assert!(10 < done, "{done} calls before and after the partition");
        });
        ground.sim.run_for(Duration::from_secs(2)).unwrap();
        ground.sim.partition(&[SERVER], &[CLIENT]);
        ground.sim.run_for(Duration::from_secs(40)).unwrap();
        ground.sim.heal_all();
        ground.finish();
    });
}

#[test]
fn an_idle_connection_is_kept_alive_by_pings() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.client(|env, client| async move {
            check(&echo(&env, &client, 0, 10, 0).await.unwrap(), 0, 10);
            env.sleep_until(env.now() + Duration::from_secs(120)).await;
            check(&echo(&env, &client, 1, 10, 0).await.unwrap(), 1, 10);
            let counters = client.metrics().counters;
            assert_eq!(counters.connections, 1);
            assert!(10 < counters.pings, "{} pings in two minutes", counters.pings);
        });
    });
}
