//! What follows from each class of status, from silence and from crashes.

use core::cell::Cell;
use core::time::Duration;

use engine_runtime::Env;
use engine_types::{Incarnation, NodeId, Retry, SessionId, Status};

use crate::testing::{Act, Asked, Ground, What, at, buffer, chain, chunk, ms};
use crate::{Op, StorageConfig, StorageError};

/// Does `act` with the first items, then serves.
fn first_ones(count: u32, act: Act) -> impl FnMut(&Asked) -> Act + 'static {
    let seen = Cell::new(0);
    move |_| {
        seen.set(seen.get() + 1);
        if seen.get() <= count { act.clone() } else { Act::Serve }
    }
}

/// What a replica may say, and whether it is worth another attempt.
const CLASSES: [(Status, bool); 18] = [
    (Status::InvalidArgument, false),
    (Status::NoSpace, false),
    (Status::StaleEpoch, false),
    (Status::OldRequest, false),
    (Status::TooLarge, false),
    (Status::UnsupportedKind, false),
    (Status::Busy, true),
    (Status::Aborted, true),
    (Status::BadChecksum, true),
    (Status::UpdateInFlight, true),
    (Status::NotLeased, true),
    (Status::Draining, true),
    (Status::Corrupt, true),
    (Status::Internal, true),
    (Status::DeadlineExceeded, true),
    (Status::WrongNode, true),
    (Status::StaleChain, true),
    (Status::Unrecognised(999), true),
];

/// An attempt after a pause of 10 ms, and the round trips of a simulated network.
const SOON: Duration = ms(40);

#[test]
fn updates_are_repeated_by_class_with_the_same_tag() {
    for (seed, (status, again)) in (10..).zip(CLASSES) {
        for act in [Act::Say(status), Act::Refuse(status)] {
            let ground = Ground::new(seed);
            ground.fake.script(first_ones(1, act));
            let (outcome, took) = ground.run(Ground::config(), |env, storage| async move {
                let before = env.now();
                let outcome = storage.write(at(0), 0, vec![buffer(&env, b"abc")]).await;
                (outcome, env.now().saturating_since(before))
            });
            let sent = ground.fake.updates();
            assert!(took < SOON, "{status}: {took:?}");
            if again {
                outcome.unwrap();
                assert_eq!(sent.len(), 2, "{status}");
                assert_eq!(sent[0], sent[1], "E372: {status}");
                assert_eq!(ground.fake.executed.borrow().len(), 1, "{status}");
            } else {
                let error = outcome.unwrap_err();
                assert_eq!((error.status(), error.retry()), (status, Retry::Never));
                assert!(!error.may_have_happened() && error.to_string().contains("target-10"));
                assert_eq!(sent.len(), 1, "{status}");
                assert!(ground.fake.fences().is_empty(), "{status}: its effect is known");
            }
        }
    }
}

#[test]
fn reads_go_to_another_replica_at_once() {
    for (seed, (status, again)) in (30..).zip(CLASSES) {
        let ground = Ground::new(seed);
        ground.fake.script(first_ones(1, Act::Say(status)));
        let (outcome, class) = ground.run(Ground::config(), move |_, storage| async move {
            let outcome = storage.read(chain(1), chunk(0), 0, 10).await;
            (outcome.map(|read| read.exists()), storage.metrics().retries(status.retry()))
        });
        assert_eq!(class, 1, "{status}");
        let log = ground.fake.log();
        if !again {
            assert_eq!((outcome.unwrap_err().status(), log.len()), (status, 1));
            continue;
        }
        assert!(!outcome.unwrap());
        assert_eq!(log.len(), 2, "{status}");
        let gap = log[1].when.saturating_since(log[0].when);
        match status.retry() {
            Retry::OtherTarget | Retry::IfIdempotent => {
                assert_ne!(log[0].target, log[1].target, "{status}");
                assert!(gap < ms(9), "{status}: {gap:?}");
            }
            _ => assert!(gap < SOON, "{status}: {gap:?}"),
        }
    }
}

#[test]
fn a_stale_chain_waits_for_the_version_that_a_replica_knows() {
    for op in [Op::Write, Op::Read, Op::Query] {
        let ground = Ground::new(50);
        let routing = ground.routing.clone();
        ground.fake.script(|asked| {
            let known = match asked.what {
                What::Read(item) => item.chain_version,
                What::Update(item) => item.chain_version,
                What::Query(item) => item.chain_version,
            };
            if known < 2 { Act::Stale(2) } else { Act::Serve }
        });
        ground.run(Ground::config(), move |env, storage| async move {
            let (later, published) = (env.clone(), routing.clone());
            drop(env.spawn(async move {
                later.sleep_until(later.now() + ms(300)).await;
                published.members(1, &[11, 12]);
            }));
            match op {
                Op::Write => drop(storage.write(at(0), 0, vec![buffer(&env, b"x")]).await.unwrap()),
                Op::Read => drop(storage.read(chain(1), chunk(0), 0, 1).await.unwrap()),
                _ => drop(storage.query(chain(1), chunk(0).inode, 0..5, false).await.unwrap()),
            }
            assert!(env.now().saturating_since(engine_types::Instant::ZERO) < ms(330));
        });
        let log = ground.fake.log();
        assert_eq!(log.len(), 2, "{op}: it waits for the event, and does not poll");
        assert!(0 < ground.routing.refreshes.get());
        if op == Op::Write {
            assert_eq!((log[0].target, log[1].target), (10, 11));
            let (first, second) = (log[0].update(), log[1].update());
            assert_eq!((first.channel, first.seq), (second.channel, second.seq), "E372");
        }
    }
}

#[test]
fn a_replica_that_is_behind_is_not_waited_for_by_reads() {
    let ground = Ground::new(51);
    ground.routing.members(1, &[10, 11, 12]);
    ground.fake.script(first_ones(1, Act::Stale(1)));
    ground.run(Ground::config(), |_, storage| async move {
        storage.read(chain(1), chunk(0), 0, 10).await.unwrap();
    });
    let log = ground.fake.log();
    assert_ne!(log[0].target, log[1].target);
    assert!(log[1].when.saturating_since(log[0].when) < ms(9));
}

#[test]
fn pauses_double_and_the_deadline_ends_them_with_a_full_report() {
    let ground = Ground::new(52);
    ground.fake.script(|_| Act::Say(Status::Busy));
    let error = ground.run(Ground::config(), |env, storage| async move {
        let deadline = env.now() + ms(3000);
        let write = storage.by(deadline).write(at(0), 0, vec![buffer(&env, b"x")]).await;
        assert!(deadline <= env.now() && env.now() < deadline + ms(20), "E375");
        write.unwrap_err()
    });
    let times: Vec<_> = ground.fake.log().iter().map(|asked| asked.when).collect();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1].saturating_since(pair[0])).collect();
    assert!(gaps[0] < ms(30), "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap < ms(280)), "{gaps:?}");
    assert!(14 < gaps.len() && gaps.len() < 32, "{gaps:?}");
    let text = error.to_string();
    assert!(text.contains("write of chunk-5.0 of chain-1"), "{text}");
    assert!(text.contains("target-10 on node-0 core-0"), "{text}");
    assert!(text.contains("last busy"), "{text}");
    assert!(!error.may_have_happened(), "nothing was done by who was busy");
    let StorageError::DeadlineExceeded { tried, .. } = error else { panic!("{error}") };
    assert_eq!(tried[0].count as usize, times.len());
}

#[test]
fn a_chain_without_replicas_is_waited_for() {
    let ground = Ground::new(53);
    ground.routing.change(|info| {
        let chain = info.chains.get_mut(&chain(1)).unwrap();
        chain.version = chain.version.next().unwrap();
        for member in &mut chain.members {
            member.state = engine_types::PublicState::LastServing;
        }
    });
    let routing = ground.routing.clone();
    ground.run(Ground::config(), move |env, storage| async move {
        let by = env.now() + ms(100);
        let error = storage.by(by).read(chain(1), chunk(0), 0, 1).await.unwrap_err();
        assert!(error.to_string().contains("waiting for a serving replica"), "{error}");
        assert_eq!(error.retry(), Retry::AfterBackoff);
        let (later, published) = (env.clone(), routing.clone());
        drop(env.spawn(async move {
            later.sleep_until(later.now() + ms(5500)).await;
            published.members(1, &[12]);
        }));
        let before = env.now();
        storage.read(chain(1), chunk(0), 0, 1).await.unwrap();
        let took = env.now().saturating_since(before);
        assert!(ms(5500) <= took && took < ms(5530), "at once when it is back: {took:?}");
    });
}

#[test]
fn a_frozen_replica_costs_one_read_its_patience() {
    let ground = Ground::new(54);
    ground.sim.run_for(ms(10)).unwrap(); // it listens
    ground.sim.freeze(NodeId::new(1), Duration::from_secs(3600));
    let slow = ground.run(Ground::config(), |env, storage| async move {
        let mut slow = 0;
        for _ in 0..60 {
            let before = env.now();
            storage.read(chain(1), chunk(0), 0, 1).await.unwrap();
            let took = env.now().saturating_since(before);
            assert!(took < ms(2100), "one patience, then another replica: {took:?}");
            slow += u32::from(ms(1000) < took);
            env.sleep_until(env.now() + ms(100)).await;
        }
        slow
    });
    assert!((1..=4).contains(&slow), "{slow} reads of 60 in 6 s were slow");
}

#[test]
fn who_refuses_connections_costs_no_patience() {
    let ground = Ground::new(59);
    ground.sim.kill(NodeId::new(1));
    ground.run(Ground::config(), |env, storage| async move {
        for _ in 0..60 {
            let before = env.now();
            storage.read(chain(1), chunk(0), 0, 1).await.unwrap();
            let took = env.now().saturating_since(before);
            assert!(took < SOON, "another replica at once: {took:?}");
            env.sleep_until(env.now() + ms(100)).await;
        }
    });
}

#[test]
fn a_head_that_has_left_is_replaced_as_soon_as_routing_says_so() {
    let ground = Ground::new(60);
    ground.sim.kill(NodeId::new(0));
    let routing = ground.routing.clone();
    let took = ground.run(Ground::config(), move |env, storage| async move {
        let (later, published) = (env.clone(), routing.clone());
        drop(env.spawn(async move {
            later.sleep_until(later.now() + ms(300)).await;
            published.members(1, &[11, 12]);
        }));
        let before = env.now();
        storage.write(at(0), 0, vec![buffer(&env, b"abc")]).await.unwrap();
        env.now().saturating_since(before)
    });
    assert!(ms(300) <= took && took < ms(300) + SOON, "{took:?}");
    assert_eq!(ground.fake.updates().len(), 1, "only the new head was asked");
}

#[test]
fn a_frozen_head_is_asked_again_and_replaced_by_routing() {
    let ground = Ground::new(55);
    let routing = ground.routing.clone();
    ground.fake.script(|asked| if asked.node == 0 { Act::ServeSilently } else { Act::Serve });
    ground.run(Ground::config(), move |env, storage| async move {
        let (later, published) = (env.clone(), routing.clone());
        drop(env.spawn(async move {
            later.sleep_until(later.now() + ms(7000)).await;
            published.members(1, &[11, 12]);
        }));
        let before = env.now();
        let made = storage.write(at(0), 0, vec![buffer(&env, b"abc")]).await.unwrap();
        assert_eq!(made.chunk_len, 3);
        let took = env.now().saturating_since(before);
        assert!(took < ms(10_300), "{took:?}");
    });
    let sent = ground.fake.updates();
    assert_eq!(sent.iter().map(|item| item.target).collect::<Vec<_>>(), [10, 10, 11]);
    assert!(sent.iter().all(|item| (item.channel, item.seq) == (sent[0].channel, sent[0].seq)));
    assert_eq!(ground.fake.executed.borrow().len(), 1, "done once, answered by the new head");
    assert!(ground.fake.fences().is_empty());
}

#[test]
fn a_crash_after_the_effect_leaves_it_unknown_until_the_new_head_answers() {
    let ground = Ground::new(56);
    let routing = ground.routing.clone();
    let served = Cell::new(false);
    ground.fake.script(move |asked| match asked.node {
        0 if !served.replace(true) => Act::Die,
        _ => Act::Serve,
    });
    ground.run(Ground::config(), move |env, storage| async move {
        let by = env.now() + ms(500);
        let write = storage.by(by).write(at(0), 0, vec![buffer(&env, b"a")]).await;
        let error = write.unwrap_err();
        assert!(error.may_have_happened(), "{error}");
        assert_eq!(error.retry(), Retry::IfIdempotent);
        assert!(error.to_string().ends_with("; it may have happened"), "{error}");
        routing.members(1, &[11, 12]);
        storage.write(at(0), 0, vec![buffer(&env, b"b")]).await.unwrap();
    });
    assert_eq!(ground.fake.content(1, 0).unwrap().1, b"b");
}

#[test]
fn a_revoked_session_ends_all_updates_and_no_read() {
    for by_routing in [false, true] {
        let ground = Ground::new(57);
        let routing = ground.routing.clone();
        if !by_routing {
            ground.fake.script(|asked| match asked.what {
                What::Update(_) => Act::Say(Status::Fenced),
                _ => Act::Serve,
            });
        }
        ground.run(Ground::config(), move |env, storage| async move {
            if by_routing {
                routing.change(|info| info.revoked_below = SessionId::new(78));
            }
            for _ in 0..3 {
                let error = storage.remove(at(0)).await.unwrap_err();
                assert!(matches!(error, StorageError::Fenced { .. }), "{error}");
                assert!(error.to_string().contains("session-77 was revoked"), "{error}");
            }
            assert!(storage.is_fenced());
            storage.read(chain(1), chunk(0), 0, 1).await.unwrap();
            assert!(env.now().saturating_since(engine_types::Instant::ZERO) < ms(100));
        });
        assert_eq!(ground.fake.updates().len(), usize::from(!by_routing), "E377");
    }
}

#[test]
fn shards_that_moved_are_found_again() {
    for told in [false, true] {
        let ground = Ground::with(58, 1, 2, 2);
        let config = StorageConfig { read_patience: ms(500), ..Ground::config() };
        let result = ground.begin(config, |env, storage| async move {
            for _ in 0..40 {
                for number in [1, 2] {
                    storage.read(chain(number), chunk(0), 0, 1).await.unwrap();
                }
                env.sleep_until(env.now() + ms(50)).await;
            }
            env.now()
        });
        ground.sim.run_for(ms(1000)).unwrap();
        assert_eq!(ground.fake.asked_shards.get(), 1, "asked once per start");
        ground.sim.kill(NodeId::new(0));
        ground.move_ports(0, &[7000, 7555]);
        ground.sim.run_for(ms(300)).unwrap();
        ground.start(0);
        if told {
            ground.routing.change(|info| {
                let node = info.nodes.get_mut(&NodeId::new(0)).unwrap();
                node.incarnation = Incarnation::new(2);
            });
        }
        ground.finish(&result);
        assert!(2 <= ground.fake.asked_shards.get(), "E376");
        let last = ground.fake.log().last().unwrap().when;
        let ended = last.saturating_since(engine_types::Instant::ZERO);
        assert!(ended < ms(5000), "found again soon: {ended:?}");
    }
}
