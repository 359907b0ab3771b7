//! Peers that die, freeze or cannot be reached; networks that lose, delay and cut.

use std::rc::Rc;
use std::time::Duration;

use engine_net::{Call, CallError, NetLimits, Part};
use engine_runtime::Env;
use engine_types::Status;

use crate::ground::{CLIENT, Ground, SERVER, check, echo, payload, request, soon, worlds};

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

/// Who can ask somebody else learns of a refusal at once; who has to have this peer goes on.
#[test]
fn readiness_ends_with_an_attempt_that_fails_and_calls_with_their_deadline() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.sim.kill(SERVER);
        ground.run_client(|env, client| async move {
            let started = env.now();
            for _ in 0..3 {
                let error = client.ready(soon(&env)).await.unwrap_err();
                assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
            }
            let took = env.now().saturating_since(started);
            assert!(took < Duration::from_millis(500), "three attempts took {took:?}");
            // It waits on while attempts fail, and is answered when the server is there.
            check(&echo(&env, &client, 0, 10, 0).await.unwrap(), 0, 10);
            assert!(Duration::from_secs(2) < env.now().saturating_since(started));
            client.ready(soon(&env)).await.unwrap();
        });
        ground.sim.run_for(Duration::from_secs(3)).unwrap();
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

#[test]
fn a_slow_answer_is_no_silence() {
    worlds(|seed| {
        let ground = Ground::with(seed, NetLimits::default(), |sim| sim.link.bandwidth = 200_000);
        ground.client(|env, client| async move {
            // 4 MiB take 21 s, more than the silence after which a peer counts as gone.
            let body = request(1, 4 << 20, 0);
            let deadline = env.now() + Duration::from_secs(120);
            let call = Call::new(&body, deadline).with_reply_room(4 << 20);
            check(&client.call(call).await.unwrap(), 1, 4 << 20);
            assert_eq!(client.metrics().counters.connections, 1);
        });
    });
}

#[test]
fn a_deadline_holds_also_while_the_peer_is_frozen() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.run_client(|env, client| async move {
            check(&echo(&env, &client, 0, 10, 0).await.unwrap(), 0, 10);
            env.sleep_until(env.now() + Duration::from_secs(1)).await;
            let calls: Vec<_> = (1..40)
                .map(|sequence| {
                    let (env, client) = (env.clone(), client.clone());
                    env.clone().spawn(async move {
                        let parts = [Part::plain(payload(&env, sequence, 1 << 20))];
                        let body = request(sequence, 0, 0);
                        let deadline = env.now() + Duration::from_secs(2);
                        let call = Call::new(&body, deadline).with_parts(&parts);
                        client.call(call.with_reply_room(1 << 20)).await.map(|_| ()).unwrap_err()
                    })
                })
                .collect();
            let started = env.now();
            for call in calls {
                let error = call.await;
                assert!(matches!(error, CallError::DeadlineExceeded { .. }), "{error}");
            }
            let took = env.now().saturating_since(started);
            assert!(took < Duration::from_secs(3), "the last one ended after {took:?}");
        });
        ground.sim.run_for(Duration::from_millis(500)).unwrap();
        ground.sim.freeze(SERVER, Duration::from_secs(10));
        ground.finish();
    });
}

#[test]
fn the_workers_of_a_dead_client_end() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.run_client(|env, client| async move {
            for sequence in 0..20 {
                let (env, client) = (env.clone(), client.clone());
                drop(env.clone().spawn(async move {
                    let body = request(sequence, 0, 3_000_000);
                    client.call(Call::new(&body, soon(&env))).await.map(|_| ())
                }));
            }
            env.sleep_until(env.now() + Duration::from_secs(60)).await;
        });
        ground.sim.run_for(Duration::from_secs(1)).unwrap();
        assert_eq!(ground.echo.under_way.get(), 20);
        ground.sim.kill(CLIENT);
        ground.sim.run_for(Duration::from_secs(40)).unwrap();
        let server = ground.server.borrow().clone().unwrap();
        assert_eq!(server.connection_count(), 0);
        let service = ground.service.borrow().clone().unwrap();
        // This one, the slot it came from, and the task that accepts.
        assert_eq!(Rc::strong_count(&service), 3, "no worker waits for a dead client");
    });
}
