//! What is sent arrives: in order, whole, at once.

use std::time::Duration;

use engine_runtime::{Env, all};

use crate::ground::{Ground, shard, stream_len, worlds};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn messages_arrive_in_order_under_delays_and_losses() {
    worlds(|seed| {
        let ground = Ground::with(seed, 2, |sim| {
            sim.link.jitter = Duration::from_millis(2);
            sim.link.reorder_permille = 50;
            sim.link.loss_permille = 5;
        });
        ground.until_whole();
        let (one, two) = (ground.shard(0), ground.shard(1));
        for _ in 0..200 {
            for _ in 0..one.env.random() % 20 {
                assert!(one.say(shard(1)));
            }
            assert!(two.say(shard(0)));
            ground.run(Duration::from_micros(seed * 40));
        }
        // A long run in one turn, more than one request takes.
        for _ in 0..2000 {
            assert!(one.say(shard(1)));
        }
        let before = ground.log.arrived.get();
        ground.until(SOON, "all there", |ground| before + 2000 <= ground.log.arrived.get());
        assert_eq!((ground.log.ups.get(), ground.log.downs.get()), (2, 0), "{seed}");
    });
}

#[test]
fn payloads_of_any_size_arrive_whole_and_interleaved() {
    worlds(|seed| {
        let ground = Ground::new(seed, 2);
        ground.until_whole();
        for (from, to) in [(0, 1), (1, 0)] {
            let one = ground.shard(from);
            drop(one.env.clone().spawn(async move {
                let to = shard(to);
                while !one.is_up(to) {
                    one.env.sleep_until(one.env.now() + Duration::from_millis(1)).await;
                }
                let streams: Vec<_> = (0..24).map(|_| one.begin(to).unwrap()).collect();
                let whole = streams.iter().map(|stream| {
                    let give_up = stream.0 % 5 == 0 && 1 < stream_len(stream.0);
                    one.stream(to, *stream, give_up)
                });
                assert!(all(whole).await.into_iter().all(|whole| whole));
            }));
        }
        ground.until(SOON, "all there", |ground| {
            ground.log.complete.get() + ground.log.given_up.get() == 48
        });
        assert_eq!(ground.log.downs.get(), 0);
    });
}

#[test]
fn a_single_message_takes_one_way_through_the_network() {
    worlds(|seed| {
        let ground = Ground::with(seed, 2, |sim| {
            sim.link.jitter = Duration::ZERO;
            sim.net.partial_permille = 0;
        });
        ground.until_whole();
        ground.run(Duration::from_millis(100));
        let one = ground.shard(0);
        let (sent, before) = (ground.sim.now(), ground.log.arrived.get());
        assert!(one.say(shard(1)));
        ground.until(SOON, "there", |ground| before < ground.log.arrived.get());
        let took = ground.sim.now().saturating_since(sent);
        // 30 us of network, and some turns of two executors.
        assert!(took < Duration::from_micros(100), "{took:?}");
    });
}

/// Each brings its bytes in pieces, and none lets go of them before it is whole.
#[test]
fn many_streams_that_run_beside_each_other_all_end() {
    for seed in 0..3 {
        let ground = Ground::new(seed, 2);
        ground.until_whole();
        let one = ground.shard(0);
        one.pause.set(Duration::from_millis(5));
        drop(one.env.clone().spawn(async move {
            let to = shard(1);
            let streams: Vec<_> = (0..320).filter_map(|_| one.begin(to)).collect();
            let large = streams.into_iter().filter(|stream| stream_len(stream.0) == 1 << 20);
            all(large.map(|stream| one.stream(to, stream, false))).await;
        }));
        ground.until(SOON, "all there", |ground| ground.log.complete.get() == 40);
        assert_eq!(ground.log.downs.get(), 0);
    }
}
