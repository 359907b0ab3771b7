//! What a request and its answer may carry, and how they end.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use engine_net::{Call, CallError, Client, Part, Request, Server, Service};
use engine_runtime::sim::{NodeSpec, SimEnv};
use engine_runtime::{Env, Signal};
use engine_types::{Retry, Status, TraceId};
use engine_wire::Priority;
use engine_wire::bodies::{EchoRequest, EchoResponse, Ping};

use crate::ground::{
    CLIENT, Ground, PORT, SERVER, check, config, echo, payload, request, soon, worlds,
};

/// Sizes around every border: none, one byte, the small payload, the credit, segments, the largest.
const SIZES: [usize; 13] = [
    0,
    1,
    4096,
    (16 << 10) - 1,
    16 << 10,
    (16 << 10) + 1,
    64 << 10,
    (64 << 10) + 1,
    (256 << 10) - 1,
    256 << 10,
    (256 << 10) + 1,
    (1 << 20) + 4097,
    4 << 20,
];

#[test]
fn payload_of_every_size_goes_there_and_back() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.client(|env, client| async move {
            for (sequence, len) in (0..).zip(SIZES) {
                check(&echo(&env, &client, sequence, len, 0).await.unwrap(), sequence, len);
            }
        });
        assert_eq!(ground.echo.executed.get(), SIZES.len() as u64);
    });
}

#[test]
fn answers_of_every_size_land_in_the_room_that_was_reserved() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.client(|env, client| async move {
            for (sequence, len) in (0..).zip(SIZES).skip(1) {
                let reply = u32::try_from(len).unwrap();
                check(&echo(&env, &client, sequence, 0, reply).await.unwrap(), sequence, len);
            }
        });
    });
}

#[test]
fn many_requests_interleave_on_one_connection() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.client(|env, client| async move {
            let tasks: Vec<_> = (0..120u64)
                .map(|sequence| {
                    let (env, client) = (env.clone(), client.clone());
                    let len = [0, 10, 5000, 70_000, 600_000][sequence as usize % 5];
                    env.clone().spawn(async move {
                        check(&echo(&env, &client, sequence, len, 0).await.unwrap(), sequence, len);
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            assert_eq!(client.metrics().counters.connections, 1);
        });
    });
}

#[test]
fn parts_in_blocks_of_their_own_make_one_payload() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.client(|env, client| async move {
            let whole = payload(&env, 9, 700_000);
            // Pieces of different chunks: other block sizes, other places in their blocks.
            let cuts = [(0, 100, 12, 4000), (100, 300_000, 14, 77), (300_000, 700_000, 16, 65_535)];
            let parts: Vec<_> = cuts
                .map(|(start, end, block_shift, phase)| Part {
                    bytes: whole.slice(start..end),
                    block_shift,
                    phase,
                    crcs: None,
                })
                .into();
            let body = request(9, 0, 0);
            let call = Call::new(&body, soon(&env)).with_parts(&parts).with_reply_room(700_000);
            check(&client.call(call).await.unwrap(), 9, 700_000);
        });
    });
}

#[test]
fn e53_an_answer_that_does_not_fit_its_room_is_refused_by_its_server() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.client(|env, client| async move {
            let body = request(1, 5000, 0);
            let call = Call::new(&body, soon(&env)).with_reply_room(4999);
            let error = client.call(call).await.unwrap_err();
            assert!(matches!(error, CallError::Refused(Status::TooLarge)), "{error}");
            check(&echo(&env, &client, 2, 10, 0).await.unwrap(), 2, 10);
            assert_eq!(client.metrics().counters.connections, 1, "the connection goes on");
        });
    });
}

#[test]
fn a_dropped_request_is_answered_with_internal_and_an_unknown_kind_with_its_status() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.echo.drops.set(true);
        ground.client(|env, client| async move {
            let error = echo(&env, &client, 1, 100_000, 0).await.unwrap_err();
            assert!(matches!(error, CallError::Refused(Status::Internal)), "{error}");
            let body = Ping { sequence: 0 };
            let error = client.call(Call::new(&body, soon(&env))).await.unwrap_err();
            assert_eq!(error.status(), Status::UnsupportedKind, "{error}");
        });
    });
}

#[test]
fn e54_a_deadline_ends_the_waiting_and_the_server_learns_it() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.client(|env, client| async move {
            let body = request(1, 0, 500_000);
            let started = env.now();
            let deadline = started + Duration::from_millis(100);
            let error = client.call(Call::new(&body, deadline)).await.unwrap_err();
            assert!(matches!(error, CallError::DeadlineExceeded { sent: true }), "{error}");
            assert_eq!(error.retry(), Retry::IfIdempotent);
            assert!(env.now() >= deadline);
            let error = client.call(Call::new(&body, started)).await.unwrap_err();
            assert!(matches!(error, CallError::DeadlineExceeded { sent: false }), "{error}");
            assert_eq!(error.retry(), Retry::OtherTarget);
            // The slot is used again only after the late answer (E50, E51).
            for sequence in 2..20 {
                check(&echo(&env, &client, sequence, 10, 0).await.unwrap(), sequence, 10);
            }
            env.sleep_until(env.now() + Duration::from_secs(1)).await;
            assert_eq!(client.metrics().counters.connections, 1);
        });
        assert_eq!(ground.echo.cancelled.get(), 1);
        assert_eq!(ground.echo.executed.get(), 19, "the work went on");
    });
}

#[test]
fn e56_a_call_dropped_half_way_aborts_its_payload_and_harms_no_other() {
    let aborted = Cell::new(0);
    worlds(|seed| {
        let ground = Ground::with(seed, Default::default(), |sim| {
            sim.link.bandwidth = 20_000_000; // 4 MiB take 200 ms
        });
        ground.client(move |env, client| async move {
            check(&echo(&env, &client, 0, 10, 0).await.unwrap(), 0, 10);
            let dropped = Duration::from_millis(20 + seed * 10);
            let victim = echo(&env, &client, 1, 4 << 20, 0);
            let early = engine_runtime::until(&env, env.now() + dropped, victim).await;
            assert!(early.is_err(), "dropped before its end");
            for sequence in 2..10 {
                check(&echo(&env, &client, sequence, 100_000, 0).await.unwrap(), sequence, 100_000);
            }
            assert_eq!(client.metrics().counters.connections, 1);
            env.sleep_until(env.now() + Duration::from_secs(5)).await;
        });
        let echo = &ground.echo;
        assert_eq!(echo.under_way.get(), 0, "the handler of the aborted one has ended");
        let whole = u64::from(echo.sequences.borrow().contains(&1));
        assert_eq!(echo.executed.get(), 9 + whole);
        aborted.set(aborted.get() + echo.aborted.get());
    });
    assert!(0 < aborted.get(), "some world dropped it while its payload was on its way");
}

#[test]
fn e57_a_drain_answers_what_is_in_flight_and_refuses_what_comes() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.run_client(|env, client| async move {
            check(&echo(&env, &client, 0, 10, 0).await.unwrap(), 0, 10);
            let in_flight = {
                let (env, client) = (env.clone(), client.clone());
                env.clone().spawn(async move {
                    let slow = request(1, 0, 500_000);
                    client.call(Call::new(&slow, soon(&env))).await.map(|_| ())
                })
            };
            env.sleep_until(env.now() + Duration::from_millis(300)).await;
            let late = request(2, 0, 0);
            let deadline = env.now() + Duration::from_secs(1);
            let error = client.call(Call::new(&late, deadline)).await.unwrap_err();
            let refused = matches!(
                error,
                CallError::Refused(Status::Draining) | CallError::Unreachable { .. }
            );
            assert!(refused, "{error}");
            in_flight.await.expect("a drain answers what is in flight");
        });
        ground.sim.run_for(Duration::from_millis(200)).unwrap();
        ground.sim.signal(SERVER, Signal::Terminate);
        ground.finish();
        let drained = ground.sim.run_while(Duration::from_secs(20), |sim| !sim.is_finished(SERVER));
        assert_eq!(drained, Ok(true), "the server's main returns");
        assert_eq!(*ground.echo.sequences.borrow(), [0, 1]);
    });
}

#[test]
fn a_closed_client_ends_what_is_in_flight_first_and_takes_nothing_new() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.client(|env, client| async move {
            let slow = request(1, 0, 200_000);
            let call = {
                let (env, client) = (env.clone(), client.clone());
                env.clone().spawn(async move {
                    client.call(Call::new(&slow, soon(&env))).await.map(|_| ())
                })
            };
            env.sleep_until(env.now() + Duration::from_millis(100)).await;
            client.close(soon(&env)).await;
            call.await.expect("in flight when it was closed");
            let error = echo(&env, &client, 2, 0, 0).await.unwrap_err();
            assert!(matches!(error, CallError::Closed), "{error}");
        });
    });
}

#[test]
fn nobody_at_the_address_is_unreachable_at_the_deadline_and_says_why() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        ground.client(|env, _| async move {
            let nobody = "10.9.9.9:1".parse().unwrap();
            let client = Client::new(&env, config(CLIENT, Default::default()), nobody);
            let body = request(1, 0, 0);
            let deadline = env.now() + Duration::from_secs(2);
            let error = client.call(Call::new(&body, deadline)).await.unwrap_err();
            assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
            assert_eq!(error.retry(), Retry::OtherTarget);
        });
    });
}

/// Answers with what it was told beside the body, as bytes of payload.
struct Tells;

impl Service<SimEnv> for Tells {
    async fn call(self: Rc<Self>, request: Request<SimEnv>) {
        assert_eq!(request.trace(), TraceId::new(77));
        assert_eq!(request.class(), Priority::Resync);
        assert_eq!(request.reply_room(), 4096);
        assert_eq!(request.peer().node, CLIENT);
        let sequence = request.body::<EchoRequest>().unwrap().sequence.to_native();
        assert_eq!(request.capability().len(), usize::try_from(sequence).unwrap());
        assert!(request.capability().iter().all(|byte| *byte == 9));
        request.respond(&EchoResponse { sequence }, &[]).await;
    }
}

#[test]
fn trace_class_room_and_capability_travel_with_the_request() {
    worlds(|seed| {
        let ground = Ground::new(seed);
        let node = ground.sim.add_node(NodeSpec::new("tells"));
        let address = ground.sim.address(node, PORT);
        ground.sim.start(node, move |env| async move {
            let listener = env.listen(address).unwrap();
            let config = config(node, Default::default());
            let _server = Server::start(&env, config, listener, Rc::new(Tells));
            std::future::pending::<()>().await;
        });
        ground.client(move |env, _| async move {
            let client = Client::new(&env, config(CLIENT, Default::default()), address);
            // Beside the request, and in a buffer of its own.
            for len in [0, 16, 256] {
                let capability = vec![9; len];
                let body = request(len as u64, 0, 0);
                let call = Call::new(&body, soon(&env))
                    .with_trace(TraceId::new(77))
                    .with_class(Priority::Resync)
                    .with_reply_room(4096)
                    .with_capability(&capability);
                client.call(call).await.unwrap();
            }
        });
    });
}
