//! Limits: requests in flight, credit, memory. What reaches a limit waits; nothing is lost.

use std::rc::Rc;
use std::time::Duration;

use engine_net::{Call, CallError, Client, NetConfig, NetLimits, Part};
use engine_runtime::sim::{NodeSpec, SimConfig};
use engine_runtime::{Env, until};
use engine_types::limits::SEGMENT_BYTES_MAX;
use engine_types::{NodeId, NodeRole};
use engine_wire::bodies::EchoRequest;

use crate::ground::{Ground, PORT, SERVER, check, config, echo, payload, request, soon, worlds};

#[test]
fn e51_no_more_requests_are_in_flight_than_the_window_grants() {
    worlds(|seed| {
        let limits = NetLimits { requests: 5, ..NetLimits::default() };
        let ground = Ground::with(seed, limits, |_| {});
        ground.client(|env, client| async move {
            let calls: Vec<_> = (0..60)
                .map(|sequence| {
                    let (env, client) = (env.clone(), client.clone());
                    env.clone().spawn(async move {
                        let body = request(sequence, 0, 1000);
                        client.call(Call::new(&body, soon(&env))).await.map(|_| ())
                    })
                })
                .collect();
            for call in calls {
                call.await.unwrap();
            }
        });
        assert_eq!(ground.echo.under_way_peak.get(), 5);
    });
}

#[test]
fn a_call_that_waits_for_the_window_beyond_its_deadline_was_not_sent() {
    worlds(|seed| {
        let limits = NetLimits { requests: 1, ..NetLimits::default() };
        let ground = Ground::with(seed, limits, |_| {});
        ground.client(|env, client| async move {
            let first = {
                let (env, client) = (env.clone(), client.clone());
                env.clone().spawn(async move {
                    let body = request(1, 0, 400_000);
                    client.call(Call::new(&body, soon(&env))).await.map(|_| ())
                })
            };
            env.sleep_until(env.now() + Duration::from_millis(100)).await;
            let body = request(2, 0, 0);
            let deadline = env.now() + Duration::from_millis(100);
            let error = client.call(Call::new(&body, deadline)).await.unwrap_err();
            assert!(matches!(error, CallError::DeadlineExceeded { sent: false }), "{error}");
            first.await.unwrap();
        });
        assert_eq!(*ground.echo.sequences.borrow(), [1]);
    });
}

#[test]
fn e52_bulk_of_many_clients_never_holds_more_than_the_budget_and_all_of_it_arrives() {
    worlds(|seed| {
        let limits =
            NetLimits { credit_bytes: 8 << 20, credit_bytes_idle: 1 << 20, ..NetLimits::default() };
        let ground = Ground::with(seed, limits.clone(), |_| {});
        let others: Vec<NodeId> =
            (0..3).map(|n| ground.sim.add_node(NodeSpec::new(&format!("other-{n}")))).collect();
        let address = ground.sim.address(SERVER, PORT);
        for &node in &others {
            let config = config(node, limits.clone());
            ground.sim.start(node, move |env| async move {
                let client = Client::new(&env, config, address);
                for sequence in 0..6 {
                    check(
                        &echo(&env, &client, sequence, 3 << 20, 0).await.unwrap(),
                        sequence,
                        3 << 20,
                    );
                }
            });
        }
        ground.client(|env, client| async move {
            let calls: Vec<_> = (0..8)
                .map(|sequence| {
                    let (env, client) = (env.clone(), client.clone());
                    env.clone().spawn(async move {
                        echo(&env, &client, sequence, 2 << 20, 0).await.map(|_| ())
                    })
                })
                .collect();
            for call in calls {
                call.await.unwrap();
            }
        });
        let finished = |node: &NodeId| ground.sim.is_finished(*node);
        let ended = ground
            .sim
            .run_while(Duration::from_secs(60), |_| !others.iter().all(finished))
            .unwrap_or_else(|failure| panic!("{failure}"));
        assert!(ended, "every client ends");
        assert_eq!(ground.echo.executed.get(), 8 + 3 * 6);
    });
}

#[test]
fn memory_returns_to_rest_after_work_of_all_kinds() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.client(|env, client| async move {
            for round in 0..3u64 {
                for (sequence, len) in [0, 4096, 100_000, 1 << 20].into_iter().enumerate() {
                    let sequence = round * 10 + sequence as u64;
                    check(&echo(&env, &client, sequence, len, 0).await.unwrap(), sequence, len);
                }
            }
            client.close(soon(&env)).await;
            env.sleep_until(env.now() + Duration::from_secs(20)).await;
            assert_eq!(env.pool().held(), 0, "all buffers are back");
        });
    });
}

#[test]
fn an_exhausted_pool_slows_down_and_loses_nothing() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.client(|env, client| async move {
            check(&echo(&env, &client, 0, 10, 0).await.unwrap(), 0, 10);
            let mine = payload(&env, 1, 1 << 20);
            // Everything but what one call needs is held elsewhere for a while.
            let pool = env.pool().clone();
            let mut held = Vec::new();
            while let Ok(buf) = pool.alloc(1 << 20) {
                held.push(buf);
            }
            let release = env.now() + Duration::from_millis(300);
            let freed = {
                let env = env.clone();
                env.clone().spawn(async move {
                    env.sleep_until(release).await;
                    drop(held);
                })
            };
            let body = request(1, 0, 0);
            let parts = [Part::plain(mine)];
            let call = Call::new(&body, soon(&env)).with_parts(&parts).with_reply_room(1 << 20);
            check(&client.call(call).await.unwrap(), 1, 1 << 20);
            assert!(env.now() >= release, "it waited for memory");
            freed.await;
        });
    });
}

#[test]
fn w2_what_clients_hold_never_keeps_another_storage_node_waiting() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        let address = ground.sim.address(SERVER, PORT);
        for number in 0..3 {
            let node = ground.sim.add_node(NodeSpec::new(&format!("client-{number}")));
            let mut config = NetConfig::clone(&config(node, NetLimits::default()));
            config.local.identity.role = NodeRole::Client;
            ground.sim.start(node, move |env| async move {
                // More than the share of clients, held for an hour: bulk, and small payloads.
                let client = Client::new(&env, Rc::new(config), address);
                for (sequence, len) in
                    (0..8).map(|n| (n, 3 << 20)).chain((8..120).map(|n| (n, 40_000)))
                {
                    let (env, client) = (env.clone(), client.clone());
                    drop(env.clone().spawn(async move {
                        let body = EchoRequest { sequence, reply_bytes: 1, delay_us: u32::MAX };
                        let bytes = payload(&env, sequence, len);
                        let hour = env.now() + Duration::from_secs(3_000);
                        let parts = [Part::plain(bytes)];
                        let call = Call::new(&body, hour).with_parts(&parts).with_reply_room(16);
                        let _ = client.call(call).await;
                    }));
                }
                core::future::pending::<()>().await;
            });
        }
        ground.client(|env, client| async move {
            env.sleep_until(env.now() + Duration::from_secs(5)).await;
            for (sequence, len) in [(0, 2 << 20), (1, 30_000), (2, 4 << 20)] {
                check(&echo(&env, &client, sequence, len, 0).await.unwrap(), sequence, len);
            }
        });
    });
}

/// A follower of routing info gives up a question that may wait for seconds each time somebody has
/// heard of something newer.
#[test]
fn calls_that_are_given_up_share_one_room_for_their_answers() {
    const CALLS: u64 = 16;
    const ROOM: u32 = 1 << 20;
    worlds(|seed| {
        // Answers take 300 ms each on the wire, so that some are given up while they land.
        let slow = |sim: &mut SimConfig| sim.link.bandwidth = 4 << 20;
        let ground = Ground::with(seed, NetLimits::default(), slow);
        ground.client(move |env, client| async move {
            check(&echo(&env, &client, 0, 10, 0).await.unwrap(), 0, 10);
            let (idle, mut peak) = (env.pool().held(), 0);
            for sequence in 1..=CALLS {
                let delay = if sequence % 2 == 0 { 2_000_000 } else { 0 };
                let body = request(sequence, ROOM, delay);
                let call = Call::new(&body, soon(&env)).with_reply_room(ROOM);
                let patience = Duration::from_millis(30 + env.random() % 200);
                let given_up = until(&env, env.now() + patience, client.call(call)).await;
                if let Ok(told) = given_up {
                    check(&told.unwrap(), sequence, ROOM as usize);
                }
                peak = peak.max(env.pool().held());
            }
            // One room for those given up, one that lands, and what a connection reads into.
            let limit = idle + (ROOM + SEGMENT_BYTES_MAX) as usize + (128 << 10);
            assert!(peak <= limit, "{peak} bytes held between calls, {idle} idle");
            env.sleep_until(env.now() + Duration::from_secs(20)).await;
            check(&echo(&env, &client, 99, 100_000, 0).await.unwrap(), 99, 100_000);
            let held = env.pool().held();
            assert!(held <= idle + (128 << 10), "{held} bytes held in the end, {idle} idle");
            let counters = client.metrics().counters;
            assert_eq!(counters.connections, 1, "late answers end no connection");
            assert!(8 < counters.abandoned, "{} of {CALLS} were given up", counters.abandoned);
        });
    });
}
